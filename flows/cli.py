"""The command line, console script ``padtrace``.

Libraries that take seconds to import (torch, OpenCV, PyArrow) are imported inside the commands that use
them, so that ``--help`` and a usage error answer at once. Exit codes: 0 done, 1 at least one source
failed, 2 wrong usage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from extraction.records import SourceError
from flows.arguments import check_family, parse_box, parse_moves, parse_states
from flows.sources import find_videos
from flows.tables import benchmark_tables, localisation_tables, scan_progress, scan_table
from flows.terminal import Faults, live, out, print_json, progress_bar, wrong_usage
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
    import numpy as np
    from rich.progress import Progress

    from extraction.extract import ExtractOptions, Outcome
    from flows.extract import Extractor
    from flows.scan import Scanned

app = typer.Typer(
    help="Reads the controller overlay in gameplay videos and writes frame-action training data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
templates_app = typer.Typer(help="The overlays that padtrace knows.", no_args_is_help=True)
train_app = typer.Typer(help="Training on synthetic pictures.", no_args_is_help=True)
export_app = typer.Typer(help="A dataset in other layouts.", no_args_is_help=True)
import_app = typer.Typer(help="Recordings with logs of their own.", no_args_is_help=True)
app.add_typer(templates_app, name="templates")
app.add_typer(export_app, name="export")
app.add_typer(import_app, name="import")
app.add_typer(train_app, name="train")


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Recipe(StrEnum):
    PAPER = "paper"
    CPU = "cpu"


class Program(StrEnum):
    INPUT_OVERLAY = "input-overlay"
    RETROSPY = "retrospy"
    VSCVIEW = "vscview"
    GAMEPADVIEWER = "gamepadviewer"
    OPEN_JOYSTICK_DISPLAY = "open-joystick-display"


Sources = Annotated[list[str], typer.Argument(metavar="SOURCE", help="Video files, or folders of videos.")]
TemplatesDir = Annotated[
    Path | None, typer.Option("--templates", metavar="DIR", help="Imported templates, besides the library.")
]
DatasetDir = Annotated[Path, typer.Argument(metavar="DIR", help="What `extract --out` wrote.")]
DeviceOption = Annotated[Device, typer.Option(help="Where the network runs.")]
MinInliers = Annotated[int, typer.Option(min=3, help="Matches that an overlay must have.")]
SampleFrames = Annotated[int, typer.Option(min=1, help="Frames that are searched for the overlay.")]
ActiveFraction = Annotated[
    float, typer.Option(min=0, max=1, help="Part of a chunk that must hold an action for it to be kept.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Tell of a file that cannot be read, and go on.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log what happens.")]


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
                    outcomes.append(_extract_one(extractor, video, bar))
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
            help="Keep extractions here, one that is there already is used, and draw DIR/benchmark/CASE/*.png.",
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
        if by_hand or out_dir is not None:
            raise wrong_usage("--localisation goes with neither --by-hand nor --out: nothing is read or kept")
        return _score_localisation(cases, templates, as_json, debug)
    faults = Faults(debug)
    with faults.told(), tempfile.TemporaryDirectory(prefix="padtrace-") as temporary, progress_bar() as bar:
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
    faults.exit()


def _score_localisation(cases: list[Path], templates: Path | None, as_json: bool, debug: bool) -> None:
    """``padtrace benchmark --localisation``."""
    faults = Faults(debug)
    with faults.told(), progress_bar() as bar:
        from flows.localisation import run_localisation
        from templates.catalogue import all_templates

        task = bar.add_task("", total=1.0)
        report = run_localisation(
            cases,
            all_templates(templates),
            _options(),
            on_failure=faults.tell,
            on_progress=lambda case, part: bar.update(task, description=case, completed=part),
        )
        if as_json:
            print_json(report.as_json())
        else:
            for part in localisation_tables(report):
                out.print(part, highlight=False)
    faults.exit()


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
    faults = Faults(debug)
    with faults.told(), progress_bar() as bar:
        from padtrace.dataset.pack import pack as pack_shards
        from padtrace.dataset.store import open_store

        task = bar.add_task("packing", total=1.0)
        packing = pack_shards(
            open_store(store),
            faults.tell if skip_bad else None,
            lambda part: bar.update(task, completed=part),
        )
        if as_json:
            print_json(asdict(packing))
        else:
            out.print(packing_line(packing), markup=False)
    faults.exit()


@export_app.command("nitrogen")
def export_nitrogen(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset of `extract`.")],
    out_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Where the folders are written.")],
    skip_bad: SkipBad = False,
    debug: Debug = False,
) -> None:
    """Write the labels of a dataset in the folder layout of the public NitroGen release: 20 s a folder, no pictures."""
    faults = Faults(debug)
    with faults.told(), progress_bar() as bar:
        from padtrace.dataset.nitrogen import export_nitrogen

        task = bar.add_task("exporting", total=1.0)
        count = export_nitrogen(
            dataset,
            out_dir,
            faults.tell if skip_bad else None,
            lambda part: bar.update(task, completed=part),
        )
        out.print(f"{count} chunks in {out_dir / 'actions'}", markup=False)
    faults.exit()


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
    faults = Faults(debug)
    with faults.told(), progress_bar() as bar:
        for recording in recordings:
            with faults.told():
                out.print(outcome_line(_import_one(recording, out_dir, active_fraction, bar)), markup=False)
    faults.exit()


@app.command()
def status(
    store: Annotated[str, typer.Argument(metavar="DIR", help="Output of scheduled runs: a folder or s3://...")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what came of the videos of scheduled runs: how far each came, and why the rest was dropped."""
    faults = Faults(debug)
    with faults.told():
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
    faults.exit()


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
    faults = Faults(debug)
    with faults.told():
        from flows.listed import listed_videos
        from padtrace.card import read_release, write_card
        from padtrace.stats import measure_dataset

        release = read_release(dataset)
        with progress_bar() as bar:
            task = bar.add_task(dataset.name, total=1.0)
            found = measure_dataset(
                dataset,
                listed_videos(dataset),
                on_failure=faults.tell,
                on_progress=lambda part: bar.update(task, completed=part),
            )
        card = card_folder and write_card(card_folder, dataset, found, release)
        if as_json:
            print_json(found.as_json())
        else:
            for table in stats_tables(found):
                out.print(table, highlight=False)
            if card:
                out.print(card_line(card, dataset), markup=False)
    faults.exit()


@app.command()
def view(
    dataset: DatasetDir,
    templates: TemplatesDir = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is; 0 for any free port.")] = 8377,
    debug: Debug = False,
) -> None:
    """Serve a page on this machine to look at a dataset, and to mark what is wrong, until interrupted."""
    faults = Faults(debug)
    with faults.told():
        from padtrace.view.server import serve
        from templates.catalogue import all_templates

        serve(dataset, all_templates(templates), port, lambda address: out.print(f"open {address} (Ctrl-C ends it)"))
    faults.exit()


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
    faults = Faults(debug)
    with faults.told():
        import flows.serve

        flows.serve.serve(deployments, port)
    faults.exit()


@templates_app.command("list")
def list_templates(templates: TemplatesDir = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the overlays that padtrace knows."""
    faults = Faults(debug)
    with faults.told():
        from templates.catalogue import all_templates

        scenes = [template.scene for template in all_templates(templates).values()]
        rows = [{"id": scene.id, "family": scene.family, "known": list(scene.known)} for scene in scenes]
        if as_json:
            print_json(rows)
        else:
            table = Table("family", "controls", "templates: FAMILY/...", title=f"{len(scenes)} templates")
            for family in dict.fromkeys(scene.family for scene in scenes):
                members = [scene for scene in scenes if scene.family == family]
                names = ", ".join(scene.id.removeprefix(f"{family}/") for scene in members)
                table.add_row(family, str(max(len(scene.known) for scene in members)), names)
            out.print(table)
    faults.exit()


@templates_app.command("show")
def show_template(
    template_id: Annotated[str, typer.Argument(metavar="ID", help="As `padtrace templates list` names it.")],
    state: Annotated[
        str, typer.Option(metavar="STATE", help="What is held: south,left_trigger=0.7,j_left=0.5:-1 (up is negative).")
    ] = "",
    png: Annotated[Path | None, typer.Option("-o", metavar="PNG", help="Draw it into this file.")] = None,
    width: Annotated[int, typer.Option(min=16, max=4096, help="Width of the drawing in pixels.")] = 512,
    templates: TemplatesDir = None,
    debug: Debug = False,
) -> None:
    """Describe one overlay; with -o, draw it in a state."""
    states = parse_states(state)
    faults = Faults(debug)
    with faults.told():
        from templates.catalogue import all_templates

        known = all_templates(templates)
        if template_id not in known:
            raise wrong_usage(f"no template is called {template_id}; `padtrace templates list` names them")
        scene = known[template_id].scene
        if png is None:
            out.print(f"{scene.id}: family {scene.family}, canvas {scene.canvas[0]:g} x {scene.canvas[1]:g}")
            out.print(f"shows {', '.join(scene.known)}")
            for note in scene.notes:
                out.print(f"note: {note}", markup=False)
        else:
            from templates.draw import draw_rgba

            _write_png(png, draw_rgba(known[template_id], states, width))
            out.print(f"wrote {png}", markup=False)
    faults.exit()


@templates_app.command("sheet")
def templates_sheet(
    png: Annotated[Path, typer.Option("-o", metavar="PNG", help="Draw it into this file.")],
    state: Annotated[str, typer.Option(metavar="STATE", help="What is held; see `padtrace templates show`.")] = "",
    templates: TemplatesDir = None,
    debug: Debug = False,
) -> None:
    """Draw all overlays into one picture, by family."""
    states = parse_states(state)
    faults = Faults(debug)
    with faults.told():
        import torch

        from templates.catalogue import all_templates
        from templates.sheet import contact_sheet

        torch.set_num_threads(1)  # hundreds of small pictures, for which threads only wait for each other
        _write_png(png, contact_sheet(all_templates(templates).values(), states=states))
        out.print(f"wrote {png}", markup=False)
    faults.exit()


@templates_app.command("import")
def import_templates(
    program: Annotated[Program, typer.Argument(metavar="PROGRAM", help=f"Its program: {', '.join(Program)}.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A skin's file or folder, or a folder of skins.")],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the templates are written.")],
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which pad it shows; guessed from names where absent.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Import skins of another program as templates."""
    faults = Faults(debug)
    with faults.told():
        from templates.catalogue import save_template
        from templates.importers import import_skins

        for skin in import_skins(program.value, path, family):
            folder = save_template(skin.scene, skin.pictures, out_dir)
            out.print(f"{skin.scene.id} ({skin.scene.family}) -> {folder}", markup=False)
            for note in skin.scene.notes:
                out.print(f"  note: {note}", markup=False)
    faults.exit()


@templates_app.command("from-video")
def template_from_video(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video that shows the overlay at work.")],
    box: Annotated[str, typer.Option(metavar="X,Y,W,H", help="Where the overlay is, in pixels.")],
    family: Annotated[str, typer.Option(metavar="NAME", help="Which pad it shows.")],
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the template is written.")],
    move: Annotated[
        str, typer.Option(metavar="MOVES", help="Shift fitted controls, pixels right and down: south=0:-4,j_left=2:1.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Make a template of an overlay that no program's skin describes, from a video that shows it.

    Look at fitted.png beside the template: every box must lie on its control. Where one does not, run again
    with --move.
    """
    by_hand, moves = parse_box(box), parse_moves(move)
    faults = Faults(debug)
    with faults.told():
        from extraction.adopt import adopt
        from extraction.layout import choose_layout
        from templates.catalogue import library, save_template

        check_family(family, library())
        layout = choose_layout(library().values(), family, by_hand[2:])
        adopted = adopt(video, by_hand, layout, moves)
        folder = save_template(adopted.scene, adopted.pngs, out_dir)
        _write_png(folder / "fitted.png", adopted.fitted)
        out.print(f"{adopted.scene.id} ({family}) -> {folder}", markup=False)
        out.print(f"look at {folder / 'fitted.png'}: every box must lie on its control", markup=False)
        for note in adopted.scene.notes:
            out.print(f"  note: {note}", markup=False)
    faults.exit()


@train_app.command("parser")
def train_parser(
    config: Annotated[Recipe, typer.Option(help="cpu: two cores. paper: as published.")] = Recipe.CPU,
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the run, resumed if it is there; default runs/CONFIG."),
    ] = None,
    device: DeviceOption = Device.AUTO,
    debug: Debug = False,
) -> None:
    """Train the parser on pictures that are rendered as it goes.

    The games behind them are those that `python -m synthetic.backgrounds` has recorded.
    """
    faults = Faults(debug)
    with faults.told(), progress_bar() as bar:
        from synthetic.backgrounds import EVAL_PATH, TRAIN_PATH, Backgrounds
        from synthetic.split import training_templates
        from synthetic.training import CONFIGS, train

        recipe = CONFIGS[config.value]
        task = bar.add_task("training", total=recipe.samples)
        weights = train(
            recipe,
            training_templates(),
            Backgrounds(TRAIN_PATH),
            Backgrounds(EVAL_PATH),
            run or Path("runs") / config.value,
            device=_resolve_device(device),
            on_progress=lambda done, _, line: bar.update(task, completed=done, description=f"loss {line['loss']:.3f}"),
        )
        out.print(f"wrote {weights}", markup=False)
    faults.exit()


@train_app.command("xfeat")
def train_xfeat(
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run, resumed if it is there.")] = Path(
        "runs/xfeat"
    ),
    device: DeviceOption = Device.AUTO,
    debug: Debug = False,
) -> None:
    """Train XFeat to find drawings again in games, on pairs that are rendered as it goes.

    The games are those that `python -m synthetic.backgrounds` has recorded.
    """
    faults = Faults(debug)
    with faults.told(), progress_bar() as bar:
        from synthetic.backgrounds import EVAL_PATH, TRAIN_PATH, Backgrounds
        from synthetic.split import training_templates
        from synthetic.xfeat import Recipe, train

        recipe = Recipe()
        task = bar.add_task("training", total=recipe.pairs)
        weights = train(
            recipe,
            training_templates(),
            Backgrounds(TRAIN_PATH),
            Backgrounds(EVAL_PATH),
            run,
            device=_resolve_device(device),
            on_progress=lambda done, line: bar.update(
                task, completed=done, description=f"loss {line['descriptors']:.3f}"
            ),
        )
        out.print(f"wrote {weights}", markup=False)
    faults.exit()


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
    return Extractor(out_dir, known, _resolve_device(device), options)


def _extract_one(extractor: Extractor, video: Path, bar: Progress) -> Outcome:
    task = bar.add_task(video.name, total=1.0)
    try:
        return extractor.run(video, lambda part: bar.update(task, completed=part))
    finally:
        bar.remove_task(task)


def _import_one(recording: Path, out_dir: Path, active_fraction: float, bar: Progress) -> Outcome:
    from padtrace.dataset.recording import import_recording

    task = bar.add_task(recording.name, total=1.0)
    try:
        return import_recording(recording, out_dir, active_fraction, lambda part: bar.update(task, completed=part))
    finally:
        bar.remove_task(task)


def _resolve_device(device: Device) -> str:
    """cpu or cuda; asking for a GPU that is not there is wrong usage."""
    import torch

    if device is Device.CUDA and not torch.cuda.is_available():
        raise wrong_usage("--device cuda needs a GPU and a CUDA build of torch, found none; use --device cpu")
    return "cuda" if device is not Device.CPU and torch.cuda.is_available() else "cpu"


def _write_png(path: Path, picture: np.ndarray) -> None:
    """Write an (H, W, 3 or 4) uint8 picture, RGB or RGBA; OSError where that is not possible."""
    import cv2

    order = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    ok, data = cv2.imencode(".png", cv2.cvtColor(picture, order), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert ok, "a uint8 picture always encodes"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
