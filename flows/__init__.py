"""What a person or a schedule starts. The only package that may import Prefect.

cli.py        the command line, console script ``padtrace``
cli_templates.py  its commands for templates
cli_train.py  its commands for training
options.py    options that several commands share
arguments.py  what is written on it -> values
sources.py    what was named on it -> video files
extract.py    extraction with one set of templates and weights, video after video
scan.py       many files and addresses: is there an overlay, which, where
keyframes.py  address -> a few keyframes of its video, for a small part of its bytes
ranges.py     a file on a server, read by byte ranges, counted
recording.py  a recorder's pictures -> a video
plots.py      one case's sticks, onsets and worst moments as pictures
benchmark.py  ground-truth cases: extractions against their logs
localisation.py  where overlays are found, against where they are
tables.py     a benchmark's report, a scan's rows -> what a person reads
confidence.py brings confidence to scale, on evaluation clips
wording.py    results -> what a person reads
terminal.py   one-sentence errors, logs, progress bars
unknown.py    what is said of videos whose skin no template draws
bench.py      ``make bench``: speed and memory on this machine
runtimes.py   the parser's network in other runtimes, for the same

channels.py   channel lists: which videos are wanted
faults.py     what can go wrong with a video, and what follows
ledger.py     what happened to each video, and who works on it
download.py   channel -> its videos, address -> video file (yt-dlp)
children.py   functions in processes of their own
breaker.py    who may ask which host, and when
publish.py    one downloaded video -> its files in the store
run.py        one run over a list: what its videos share, what is done to each
nightly.py    the Prefect flows over that
serve.py      Prefect's server, schedules and worker in one process
funnel.py     rows of the ledger -> how far the videos came
listed.py     the same rows, for the statistics of the dataset
"""
