"""The command line, console script ``padtrace``.

Libraries that take seconds to import (torch, OpenCV, PyArrow) are imported inside the commands that use
them, so that ``--help`` and a usage error answer at once. Exit codes: 0 done, 1 at least one source
failed, 2 wrong usage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extraction.records import SourceError
from flows.arguments import check_family, parse_box
from flows.cli_templates import templates_app
from flows.cli_train import train_app
from flows.options import AsJson, Debug, Device, DeviceOption, TemplatesDir, resolve_device
from flows.sources import find_videos
from flows.tables import benchmark_tables, localisation_tables, scan_progress, scan_table
from flows.terminal import Faults, faults_told, live, out, part_done, print_json, progress_bar, wrong_usage
from flows.wording import (
    card_line,
    funnel_table,
    outcome_line,
    packing_line,
    placement_lines,
    scan_line,
    scan_tally,
    stats_tables,
    tally_line,
)

if TYPE_CHECKING:
    from extraction.extract import ExtractOptions, Outcome
    from flows.extract import Extractor
    from flows.scan import Scanned

app = typer.Typer(
    help="Reads the controller overlay in gameplay videos and writes frame-action training data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
export_app = typer.Typer(help="A dataset in other layouts.", no_args_is_help=True)
import_app = typer.Typer(help="Recordings with logs of their own.", no_args_is_help=True)
app.add_typer(templates_app, name="templates")
app.add_typer(export_app, name="export")
app.add_typer(import_app, name="import")
app.add_typer(train_app, name="train")


Sources = Annotated[list[str], typer.Argument(metavar="SOURCE", help="Video files, or folders of videos.")]
DatasetDir = Annotated[Path, typer.Argument(metavar="DIR", help="What `extract --out` wrote.")]
MinInliers = Annotated[int, typer.Option(min=3, help="Matches that an overlay must have.")]
SampleFrames = Annotated[int, typer.Option(min=1, help="Frames that are searched for the overlay.")]
ActiveFraction = Annotated[
    float, typer.Option(min=0, max=1, help="Part of a chunk that must hold an action for it to be kept.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Tell of a file that cannot be read, and go on.")]


def main() -> None:
    """The console script."""
    app(prog_name="padtrace")


@app.command()
def extract(
    sources: Sources,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the dataset is written.")],
    templates: TemplatesDir = None,
    device: DeviceOption = Device.AUTO,
    no_frames: Annotated[bool, typer.Option("--no-frames", help="Write labels only, no pictures.")] = False,
    box: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Where the overlay is, in pixels; needs --family.")
    ] = None,
    family: Annotated[str | None, typer.Option(metavar="NAME", help="Which pad it shows; needs --box.")] = None,
    pad: Annotated[
        int, typer.Option(min=1, help="Which one to read where `locate` tells of several pads at once.")
    ] = 1,
    min_inliers: MinInliers = 20,
    sample_frames: SampleFrames = 25,
    active_fraction: ActiveFraction = 0.5,
    percentile: Annotated[
        float, typer.Option(min=50, max=100, help="Percentile of stick deflection that becomes 1.")
    ] = 99.0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read the overlays of videos and write frame-action shards.

    Run again, it does only what is not done yet. A video without an overlay is an answer, not an error.
    """
    if (box is None) != (family is None):
        raise wrong_usage("--box and --family go together: where the overlay is, and which pad it shows")
    if box is not None and pad != 1:
        raise wrong_usage("--box and --pad exclude each other: a box is the one pad that is read")
    by_hand = None if box is None else parse_box(box)
    faults = Faults(debug)
    outcomes: list[Outcome] = []
    with faults.told(), progress_bar() as bar:
        videos = list(_videos(sources, faults))
        if videos:
            options = _options(
                min_inliers=min_inliers,
                sample_frames=sample_frames,
                active_fraction=active_fraction,
                percentile=percentile,
                frames=not no_frames,
                box=by_hand,
                family=family,
                pad=pad,
            )
            extractor = _open_extractor(out_dir, templates, device, options)
            for video in videos:
                with faults.told():
                    with part_done(bar, video.name) as tell:
                        outcomes.append(extractor.run(video, tell))
                    if not as_json:
                        out.print(outcome_line(outcomes[-1]), markup=False)
    if as_json:
        print_json([{"status": each.status, "folder": str(each.folder), **each.report} for each in outcomes])
    else:
        out.print(tally_line(outcomes, faults.count, out_dir), markup=False)
    faults.exit()


@app.command()
def locate(
    sources: Sources,
    templates: TemplatesDir = None,
    min_inliers: MinInliers = 20,
    sample_frames: SampleFrames = 25,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say where the overlay is, and which one it is."""
    faults = Faults(debug)
    found: list[dict[str, Any]] = []
    with faults.told():
        from flows.extract import locate_video
        from templates.catalogue import all_templates

        known = all_templates(templates)
        options = _options(min_inliers=min_inliers, sample_frames=sample_frames)
        for video in _videos(sources, faults):
            with faults.told():
                found.append(locate_video(video, known, options))
                if not as_json:
                    out.print(placement_lines(found[-1]), markup=False)
    if as_json and found:
        print_json(found[0] if len(sources) == 1 and len(found) == 1 else found)
    faults.exit()


@app.command()
def scan(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Video files, folders, addresses of videos, playlists and channels."),
    ],
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Addresses that are asked at the same time.")] = 8,
    templates: TemplatesDir = None,
    min_inliers: MinInliers = 20,
    sample_frames: SampleFrames = 25,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table with a row for each video.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say whether videos show an overlay at all, which, and where.

    Of a video at an address only the pictures that are looked at are fetched. Boxes are in pixels of these.
    """
    faults = Faults(debug)
    rows: list[Scanned] = []
    with faults.told():
        from flows.scan import Scan, ScanOptions, write_csv

        if templates is not None:
            from templates.catalogue import all_templates

            all_templates(templates)  # what is wrong with them is told before anything is fetched
        locating = _options(min_inliers=min_inliers, sample_frames=sample_frames)
        with (
            Scan(sources, ScanOptions(at_once=at_once), locating, templates) as run,
            live(lambda height: scan_progress(rows, run.expected, height)),
        ):
            try:
                for row in run.rows():
                    rows.append(row)
                    with faults.told():
                        if row.error is not None:
                            raise SourceError(f"{row.source}: {row.error}")
                    if row.error is None and not as_json and not out.is_terminal:
                        out.print(scan_line(row), markup=False)
            except KeyboardInterrupt as stopped:  # what is known by now is worth telling
                with faults.told():
                    raise SourceError(f"expected {run.expected} videos, found an end after {len(rows)}") from stopped
        if csv is not None:
            write_csv(rows, csv)
    if as_json:
        print_json([row.as_json() for row in rows])
    elif rows:
        if out.is_terminal:
            out.print(scan_table(rows))
        out.print(scan_tally(rows), markup=False, highlight=False)
    faults.exit()


@app.command()
def benchmark(
    cases: Annotated[list[Path], typer.Argument(metavar="CASE", help="Folders of ground-truth cases.")],
    templates: TemplatesDir = None,
    device: DeviceOption = Device.AUTO,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Keep extractions here, one that is there already is used, and draw DIR/benchmark/CASE/*.png. With "
            "--localisation: keep what was found in DIR/localisation/CASE.json, and use it again.",
        ),
    ] = None,
    by_hand: Annotated[
        bool,
        typer.Option(
            "--by-hand", help="Do not look for overlays: take each case's own box and family; in DIR/by-hand."
        ),
    ] = False,
    localisation: Annotated[
        bool,
        typer.Option(
            "--localisation", help="Score only where overlays are found, by width and opacity; cases need no log."
        ),
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Score extractions against the logs that the overlays were drawn from."""
    if localisation:
        if by_hand:
            raise wrong_usage("--localisation does not go with --by-hand: it is about what is found")
        return _score_localisation(cases, templates, out_dir and out_dir / "localisation", as_json, debug)
    with (
        faults_told(debug) as faults,
        tempfile.TemporaryDirectory(prefix="padtrace-") as temporary,
        progress_bar() as bar,
    ):
        from flows.benchmark import PUBLISHED, run_benchmark

        # Readings by hand would take the place of those that found their overlays.
        kept = out_dir / "by-hand" if out_dir is not None and by_hand else out_dir
        extractor = _open_extractor(kept or Path(temporary), templates, device, _options())
        task = bar.add_task("", total=1.0)
        report = run_benchmark(
            cases,
            extractor,
            by_hand=by_hand,
            plots=kept and kept / "benchmark",
            on_failure=faults.tell,
            on_progress=lambda case, part: bar.update(task, description=case, completed=part),
        )
        if as_json:
            print_json(report.as_json())
        else:
            for part in benchmark_tables(report, PUBLISHED):
                out.print(part, highlight=False)


def _score_localisation(
    cases: list[Path], templates: Path | None, kept: Path | None, as_json: bool, debug: bool
) -> None:
    """``padtrace benchmark --localisation``."""
    with faults_told(debug) as faults, progress_bar() as bar:
        from flows.localisation import run_localisation
        from templates.catalogue import all_templates

        task = bar.add_task("", total=1.0)
        report = run_localisation(
            cases,
            all_templates(templates),
            _options(),
            kept=kept,
            on_failure=faults.tell,
            on_progress=lambda case, part: bar.update(task, description=case, completed=part),
        )
        if as_json:
            print_json(report.as_json())
        else:
            for part in localisation_tables(report):
                out.print(part, highlight=False)


@app.command()
def pack(
    store: Annotated[str, typer.Argument(metavar="DIR", help="A dataset of `extract`: a folder or s3://...")],
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Pack the shards of a dataset into files of 100 to 500 MB, and index their chunks, for training.

    The shards stay. Run again after more videos, it packs only these. Python reads it with padtrace.dataset.
    """
    with faults_told(debug) as faults, progress_bar() as bar:
        from padtrace.dataset.pack import pack as pack_shards
        from padtrace.dataset.store import open_store

        with part_done(bar, "packing") as tell:
            packing = pack_shards(open_store(store), faults.tell if skip_bad else None, tell)
        if as_json:
            print_json(asdict(packing))
        else:
            out.print(packing_line(packing), markup=False)


@export_app.command("nitrogen")
def export_nitrogen(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset of `extract`.")],
    out_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Where the folders are written.")],
    skip_bad: SkipBad = False,
    debug: Debug = False,
) -> None:
    """Write the labels of a dataset in the folder layout of the public NitroGen release: 20 s a folder, no pictures."""
    with faults_told(debug) as faults, progress_bar() as bar:
        from padtrace.dataset.nitrogen import export_nitrogen

        with part_done(bar, "exporting") as tell:
            count = export_nitrogen(dataset, out_dir, faults.tell if skip_bad else None, tell)
        out.print(f"{count} chunks in {out_dir / 'actions'}", markup=False)


@import_app.command("recording")
def import_recording(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders with frames/*.png, actions.jsonl and metadata.json.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the dataset is written.")],
    active_fraction: ActiveFraction = 0.5,
    debug: Debug = False,
) -> None:
    """Make shards of a recorder's pictures and log. In its log positive y is up; in the shards negative y is."""
    with faults_told(debug) as faults, progress_bar() as bar:
        from padtrace.dataset.recording import import_recording

        for recording in recordings:
            with faults.told():
                with part_done(bar, recording.name) as tell:
                    outcome = import_recording(recording, out_dir, active_fraction, tell)
                out.print(outcome_line(outcome), markup=False)


@app.command()
def status(
    store: Annotated[str, typer.Argument(metavar="DIR", help="Output of scheduled runs: a folder or s3://...")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what came of the videos of scheduled runs: how far each came, and why the rest was dropped."""
    with faults_told(debug):
        from flows.funnel import by_channel, make_funnel
        from flows.ledger import Ledger
        from padtrace.dataset.store import open_store

        rows = Ledger(open_store(store)).rows()
        if as_json:
            channels = {name: asdict(funnel) for name, funnel in by_channel(rows).items()}
            videos = [row.model_dump(mode="json") for row in rows]
            print_json({**asdict(make_funnel(rows)), "channels": channels, "videos": videos})
        else:
            out.print(funnel_table(make_funnel(rows)))


@app.command()
def stats(
    dataset: DatasetDir,
    card_folder: Annotated[
        Path | None,
        typer.Option(
            "--card",
            metavar="FOLDER",
            help="Write a dataset card there: README.md, its plots, and stats.json. DIR/release.toml holds what only "
            "its owner knows.",
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a dataset holds: hours, games, families, buttons, sticks, confidence, rejects."""
    with faults_told(debug) as faults:
        from flows.listed import listed_videos
        from padtrace.card import read_release, write_card
        from padtrace.stats import measure_dataset

        release = read_release(dataset)
        with progress_bar() as bar, part_done(bar, dataset.name) as tell:
            found = measure_dataset(dataset, listed_videos(dataset), on_failure=faults.tell, on_progress=tell)
        card = card_folder and write_card(card_folder, dataset, found, release)
        if as_json:
            print_json(found.as_json())
        else:
            for table in stats_tables(found):
                out.print(table, highlight=False)
            if card:
                out.print(card_line(card, dataset), markup=False)


@app.command()
def view(
    dataset: DatasetDir,
    templates: TemplatesDir = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is; 0 for any free port.")] = 8377,
    debug: Debug = False,
) -> None:
    """Serve a page on this machine to look at a dataset, and to mark what is wrong, until interrupted."""
    with faults_told(debug):
        from padtrace.view.server import serve
        from templates.catalogue import all_templates

        serve(dataset, all_templates(templates), port, lambda address: out.print(f"open {address} (Ctrl-C ends it)"))


@app.command()
def serve(
    deployments: Annotated[
        Path, typer.Option("--file", metavar="YAML", help="The deployments: what runs, and when.")
    ] = Path("prefect.yaml"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where Prefect's pages are.")] = 4200,
    debug: Debug = False,
) -> None:
    """Run the scheduled flows on this machine: Prefect's server, the schedules and a worker, until interrupted.

    To start one by hand: prefect deployment run extract/extract. Prefect wants the flow's name and its deployment's.
    """
    with faults_told(debug):
        import flows.serve

        flows.serve.serve(deployments, port)


def _videos(sources: Sequence[str], faults: Faults) -> Iterator[Path]:
    """Every video that the sources name; a source that names none is told, and the rest goes on."""
    for source in sources:
        with faults.told():
            yield from find_videos(source)


def _options(**given: Any) -> ExtractOptions:
    from extraction.extract import ExtractOptions

    return ExtractOptions(**given)


def _open_extractor(out_dir: Path, templates: Path | None, device: Device, options: ExtractOptions) -> Extractor:
    from flows.extract import Extractor
    from templates.catalogue import all_templates

    known = all_templates(templates)
    if options.family is not None:
        check_family(options.family, known)
    return Extractor(out_dir, known, resolve_device(device), options)
