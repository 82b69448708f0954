"""Results -> what a person reads in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from extraction.extract import Outcome
    from flows.funnel import Funnel
    from padtrace.card import Card
    from padtrace.stats import Share, Stats


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


def stats_tables(stats: Stats) -> Iterator[Table | str]:
    """What a dataset holds."""
    totals = _bare("", "hours", "videos")
    totals.add_row("listed", f"{stats.hours_listed:.2f}", str(stats.videos_listed))
    totals.add_row("decoded, with an overlay", f"{stats.hours_decoded:.2f}", str(stats.videos_decoded))
    totals.add_row("kept", f"{stats.hours_kept:.2f}", "")
    totals.add_row("  of it: confidence below 0.5", f"{stats.hours_unsure:.2f}", "")
    totals.add_row("  of it: marked as wrong", f"{stats.hours_marked:.2f}", "")
    yield totals
    yield (
        f"Frames that hold an action: {_percent(stats.frames_active, stats.frames_decoded)} of {stats.frames_decoded} "
        f"decoded, {_percent(stats.frames_active_kept, stats.frames_kept)} of {stats.frames_kept} kept."
    )
    for title, shares in (("game", stats.games), ("channel", stats.channels), ("family", stats.families)):
        if shares:
            yield _share_table(title, shares)
    yield _use_table(stats)
    if stats.rejects or stats.dropped:
        dropped = _bare("dropped", "hours", "chunks", "videos")
        for reason, loss in sorted(stats.rejects.items()):
            dropped.add_row(_plain(reason), f"{loss.hours:.2f}", str(loss.chunks or ""), str(loss.videos or ""))
        for reason, count in sorted(stats.dropped.items()):
            dropped.add_row(_plain(reason), "", "", str(count))
        yield dropped


def card_line(card: Card, dataset: Path) -> str:
    """Where the card is, and what its owner has not said yet."""
    if not card.missing:
        return f"wrote {card.readme}"
    return f"wrote {card.readme}; it lacks {', '.join(card.missing)}: write them into {dataset / 'release.toml'}"


def _share_table(title: str, shares: dict[str, Share]) -> Table:
    from padtrace.plots import largest

    table = _bare(title, "kept", "decoded", "videos")
    for name, share in largest(shares):
        table.add_row(_plain(name), f"{share.hours_kept:.2f}", f"{share.hours_decoded:.2f}", str(share.videos))
    return table


def _use_table(stats: Stats) -> Table:
    """Buttons and sticks in kept frames; a control that no overlay shows has no numbers."""
    table = _bare("control", "used", "per minute", "hours known")
    for name, use in stats.controls.items():
        numbers = (f"{use.share:.1%}", f"{use.per_minute:.1f}") if use.hours_known else ("", "")
        table.add_row(name, *numbers, f"{use.hours_known:.2f}")
    return table


def _bare(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _plain(name: str) -> str:
    """A name from outside, without the markup of tables."""
    return escape(name.replace("_", " "))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
