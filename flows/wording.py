"""Results -> what a person reads in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extraction.extract import Outcome


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
    names = ", ".join(dict.fromkeys(place["template"] for place in report["placements"]))
    kept = sum(chunk["kept"] for chunk in report["chunks"])
    return f"{report['source']}: {names}, {kept} of {len(report['chunks'])} chunks kept, see {outcome.folder}"


def tally_line(outcomes: Sequence[Outcome], failed: int, out_dir: Path) -> str:
    """The last line: ``2 extracted, 1 without overlay, 3 done before, 0 failed``."""
    counts = Counter(outcome.status for outcome in outcomes)
    line = (
        f"{counts['extracted']} extracted, {counts['no_overlay']} without overlay, "
        f"{counts['already_done']} done before, {failed} failed"
    )
    nothing_new = 0 < counts["already_done"] == len(outcomes) + failed
    return f"{line}; nothing to do in {out_dir}" if nothing_new else line
