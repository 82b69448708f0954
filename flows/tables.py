"""A benchmark's report, or a scan's rows -> the tables that a person reads, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.wording import bytes_words, found_words
from templates.controls import BUTTONS

if TYPE_CHECKING:
    from extraction.score import Scores
    from flows.benchmark import Group as Cases
    from flows.benchmark import Report, Result
    from flows.localisation import Localisation
    from flows.scan import Scanned

KINDS: Final = {False: "Drawings that the weights were trained on", True: "Drawings that the weights never saw"}
COLUMNS: Final = (
    ("R2", "stick_r2_mean"),
    ("acc", "button_accuracy"),
    ("F1", "macro_f1"),
    ("press", "onset_f1"),
    ("±1", "onset_f1_within_1"),
    ("rel", "release_f1"),
    ("±1", "release_f1_within_1"),
    ("ph/m", "phantoms_per_minute"),
    ("ECE", "calibration_error"),
    ("cov", "coverage"),
)
CASE_COLUMNS: Final = COLUMNS[:4]
LEGEND: Final = """\
R2: sticks. acc: frames in which a button is right. F1: of pressed frames.
press, rel: F1 of the frames where presses begin and end, exact; ±1: within one.
ph/m: presses per minute that nobody made. ECE: calibration error of confidence.
cov: part that was read. box: error in px. lag: frames of overlay behind log."""


def benchmark_tables(report: Report, published: dict[str, Any]) -> Iterator[Table | str]:
    """By family and by control for each kind of drawing, then by case, then what the columns mean."""
    for unseen, title in KINDS.items():
        overall = report.overall(unseen)
        if overall is not None:
            yield _family_table(title, report, report.by_family(unseen), overall, published)
            yield _trust_lines(overall.scores)
            yield _control_table(overall.scores)
    if report.results:
        yield _case_table(report.results)
        yield LEGEND


def localisation_tables(report: Localisation) -> Iterator[Table | str]:
    """The share found by width and opacity, each way of looking, then what was missed or placed falsely."""
    columns = {name: report.shares(name) for name in report.FEATURES}
    if any(columns.values()):
        grid = _table("Found: box with an IoU of at least 0.9, right family")
        for name in ("width", "opacity", *report.FEATURES):
            grid.add_column(name, justify="right")
        for shares in zip(*columns.values(), strict=True):
            found = (f"{share.found} of {share.cases}" for share in shares)
            grid.add_row(f"{shares[0].width_px} px", f"{shares[0].opacity:g}", *found)
        yield grid
    if wrong := [each for each in report.findings if each.false or (each.expects and not each.found)]:
        table = _table("Missed, or placed falsely")
        for name in ("case", "by", "width", "opacity", "placed", "IoU", "false"):
            table.add_column(name, justify="left" if name in ("case", "by", "placed") else "right", overflow="fold")
        for each in wrong:
            placed = ", ".join(each.templates) or f"none ({each.reason})"
            figures = (each.width_px, each.opacity, placed, min(each.iou, default=None), each.false)
            table.add_row(each.name, each.features, *("-" if value is None else _short(value) for value in figures))
        yield table
    false = {name: sum(each.false > 0 for each in report.without_overlay(name)) for name in report.FEATURES}
    cases = len(report.without_overlay(report.FEATURES[0]))
    counts = ", ".join(f"{name} {count}" for name, count in false.items())
    yield f"clips without an overlay: {cases}; with a false placement: {counts}"


def _short(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def scan_table(rows: Sequence[Scanned]) -> Table:
    """One row for each video that was scanned."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("video", overflow="fold", ratio=3)
    table.add_column("overlay", overflow="fold", ratio=3)
    table.add_column("box", no_wrap=True)
    table.add_column("fetched", justify="right", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    for row in rows:
        places = row.placements
        style = "green" if places else "red" if row.error is not None else "dim"
        boxes = "\n".join("{},{} {}x{}".format(*place["box"]) for place in places)
        table.add_row(
            Text(row.title or row.source), Text(found_words(row), style), boxes, bytes_words(row), f"{row.seconds:.0f}"
        )
    return table


def scan_progress(rows: Sequence[Scanned], expected: int, height: int) -> Group:
    """The latest rows that fit on ``height`` lines, and how many of all are done."""
    latest = scan_table(rows[-max(1, (height - 6) // 2) :])  # a row often takes two lines
    return Group(latest, ProgressBar(max(expected, 1), len(rows), width=40), Text(f"{len(rows)} of {expected} videos"))


def _family_table(
    title: str, report: Report, families: dict[str, Cases], overall: Cases, published: dict[str, Any]
) -> Table:
    """One row per family, then the mean over all cases, there and at their offsets, then what others published."""
    table = _table(title + (", box and family given by hand" if report.by_hand else ""))
    table.add_column("family", no_wrap=True)
    for name in ("n", *(name for name, _ in COLUMNS)):
        table.add_column(name, justify="right", no_wrap=True)
    for family, group in families.items():
        table.add_row(family, str(group.cases), *_figures(group.scores, COLUMNS))
    table.add_section()
    table.add_row("all cases", str(overall.cases), *_figures(overall.scores, COLUMNS))
    table.add_row("at best lag", "", *_figures(overall.at_offset, COLUMNS))
    table.add_section()
    for key, name in (("mean", "published"), ("worst_family", "worst family")):
        table.add_row(name, "", *(_figure(published[key].get(field), field) for _, field in COLUMNS))
    return table


def _trust_lines(scores: Scores) -> str:
    """What the table has no room for."""
    lines = [f"impossible states: {scores.impossible_states} of {scores.frames} frames"]
    if scores.frames_right is not None:
        lines.append(f"wrong in something: {1 - scores.frames_right:.3f} of the frames")
    if scores.errors_caught is not None:
        lines[-1] += f", {scores.errors_caught:.3f} of them among the 5% least confident"
    return "\n".join(lines)


def _control_table(scores: Scores) -> Table:
    """Buttons in two columns, and the axes beside them."""
    table = _table("")
    for name in ("button", "acc", "F1", "button", "acc", "F1", "axis", "R2"):
        table.add_column(name, justify="left" if name in ("button", "axis") else "right", no_wrap=True)
    rows = [
        (name, _figure(scores.buttons[name].accuracy), _figure(scores.buttons[name].f1))
        for name in BUTTONS
        if name in scores.buttons
    ]
    half = (len(rows) + 1) // 2
    axes = [(name, _figure(value)) for name, value in scores.stick_r2.items()]
    for left, right, axis in zip_longest(rows[:half], rows[half:], axes):
        table.add_row(*(left or ("", "", "")), *(right or ("", "", "")), *(axis or ("", "")))
    return table


def _case_table(results: Sequence[Result]) -> Table:
    """One row per case, and one more where readings and log agree better at another offset."""
    table = _table("Cases")
    for name in ("case", "overlay"):
        table.add_column(name, overflow="fold")
    for name in ("box", "lag", *(name for name, _ in CASE_COLUMNS)):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        found = ", ".join(result.templates) or f"none ({result.reason})"
        off = "-" if result.box_error_px is None else f"{result.box_error_px:.0f}"
        lag = "-" if result.offset is None else f"{result.offset.frames:+d}" if result.offset.frames else "0"
        table.add_row(result.name, found, off, lag, *_figures(result.scores, CASE_COLUMNS))
        if result.offset is not None and result.offset.frames:
            table.add_row("", "at that lag", "", "", *_figures(result.offset.scores, CASE_COLUMNS))
    return table


def _table(title: str) -> Table:
    return Table(box=SIMPLE_HEAD, padding=0, title=title or None, title_justify="left", title_style="bold")


def _figures(scores: Scores | None, columns: Sequence[tuple[str, str]]) -> list[str]:
    """One cell for each of ``columns``."""
    return [_figure(None if scores is None else getattr(scores, field), field) for _, field in columns]


def _figure(value: float | None, field: str = "") -> str:
    """At most five characters, and three decimals; one decimal for a figure that is no part of 1."""
    if value is None:
        return "-"
    texts = [f"{value:.{decimals}f}" for decimals in range(1 if field == "phantoms_per_minute" else 3, -1, -1)]
    return next((text for text in texts if len(text) <= 5), texts[-1])
