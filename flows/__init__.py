"""What a person or a schedule starts. The only package that may import Prefect.

cli.py        the command line, console script ``padtrace``
sources.py    what was named on the command line -> video files
benchmark.py  ground-truth cases: extraction against the log
bench.py      ``make bench``: speed and memory on this machine
"""
