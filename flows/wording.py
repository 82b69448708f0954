"""Results -> what a person reads in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from extraction.extract import Outcome
    from flows.funnel import Funnel
    from padtrace.dataset.pack import Packing


def placement_lines(found: dict[str, Any]) -> str:
    """One line for each placement in what ``locate`` found in one source, or why there is none."""
    lines = []
    for place in found["placements"]:
        x, y, width, height = place["box"]
        lines.append(
            f"{found['source']}: {place['template']} ({place['family']}) at {x},{y} size {width}x{height}, "
            f"{place['start']:.1f} to {place['end']:.1f} s, {place['inliers']} inliers"
        )
    return "\n".join(lines) or f"{found['source']}: no overlay ({found['reason']})"


def outcome_line(outcome: Outcome) -> str:
    """What became of one video."""
    report = outcome.report
    if outcome.status == "already_done":
        return f"{report['source']}: done before, see {outcome.folder}"
    if outcome.status == "no_overlay":
        return (
            f"{report['source']}: no overlay ({report['reason']}); if it shows one, import its skin with "
            "`padtrace templates import` or say where it is with --box and --family"
        )
    names = dict.fromkeys(place["template"] for place in report["placements"])
    kept = sum(chunk["kept"] for chunk in report["chunks"])
    said = ", ".join([*names, f"{kept} of {len(report['chunks'])} chunks kept"])
    return f"{report['source']}: {said}, see {outcome.folder}"


def packing_line(packing: Packing) -> str:
    """What packing came to."""
    return (
        f"{packing.chunks} chunks, {packing.seconds / 3600:.2f} hours, in {packing.files} files; "
        f"{packing.written} of them written now"
    )


def tally_line(outcomes: Sequence[Outcome], failed: int, out_dir: Path) -> str:
    """The last line: ``2 extracted, 1 without overlay, 3 done before, 0 failed``."""
    counts = Counter(outcome.status for outcome in outcomes)
    line = (
        f"{counts['extracted']} extracted, {counts['no_overlay']} without overlay, "
        f"{counts['already_done']} done before, {failed} failed"
    )
    nothing_new = 0 < counts["already_done"] == len(outcomes) + failed
    return f"{line}; nothing to do in {out_dir}" if nothing_new else line


def funnel_table(funnel: Funnel) -> Table:
    """How far the videos of scheduled runs came, and why the rest did not."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for stage, count in funnel.stages.items():
        table.add_row(stage.replace("_", " "), f"{count:.2f}" if stage.startswith("hours") else str(count))
    if funnel.dropped:
        table.add_section()
    for reason, count in funnel.dropped.items():
        table.add_row(reason.replace("_", " "), str(count))
    return table
