"""Results -> what a person reads in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from extraction.records import Reason

if TYPE_CHECKING:
    from extraction.extract import Outcome
    from flows.funnel import Funnel
    from flows.scan import Scanned
    from padtrace.card import Card
    from padtrace.dataset.pack import Packing
    from padtrace.stats import Share, Stats

UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def placement_lines(found: dict[str, Any]) -> str:
    """One line for each placement in what ``locate`` found in one source, or why there is none."""
    lines = []
    for place in found["placements"]:
        x, y, width, height = place["box"]
        lines.append(
            f"{found['source']}: {place['template']} ({place['family']}) at {x},{y} size {width}x{height}, "
            f"{place['start']:.1f} to {place['end']:.1f} s, pad {place['pad']}, {place['inliers']} inliers, "
            f"seen in {place['support']} of {place['sampled']} frames"
        )
    if lines and found["detail"]:
        lines.append(f"{found['source']}: {found['detail']}")
    return "\n".join(lines) or f"{found['source']}: no overlay ({no_overlay_words(found)})"


def no_overlay_words(found: dict[str, Any]) -> str:
    """Why a source shows none; what is suspected to be one is named."""
    return f"{found['reason']}: {found['detail']}" if found["reason"] == Reason.UNKNOWN_SKIN else str(found["reason"])


def outcome_line(outcome: Outcome) -> str:
    """What became of one video."""
    report = outcome.report
    if outcome.status == "already_done":
        return f"{report['source']}: done before, see {outcome.folder}"
    if report.get("reason") == Reason.NO_SUCH_PAD:
        return f"{report['source']}: {report['detail']}; `padtrace locate` tells which there are"
    if outcome.status == "no_overlay":
        return (
            f"{report['source']}: no overlay ({no_overlay_words(report)}); if it shows one, import its skin with "
            "`padtrace templates import` or say where it is with --box and --family"
        )
    names = dict.fromkeys(place["template"] for place in report["placements"])
    kept = sum(chunk["kept"] for chunk in report["chunks"])
    doubt = [report["detail"]] if report["detail"] else []
    said = ", ".join([*names, *doubt, f"{kept} of {len(report['chunks'])} chunks kept"])
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


def scan_line(row: Scanned) -> str:
    """One line for a video that was scanned."""
    boxes = "".join(" at {},{} size {}x{}".format(*place["box"]) for place in row.placements[:1])
    cost = f"{bytes_words(row)} fetched, " if bytes_words(row) else ""
    return f"{row.source}: {found_words(row)}{boxes}, {cost}{row.seconds:.1f} s"


def found_words(row: Scanned) -> str:
    """Which overlays a video shows, or why none is known."""
    found = ", ".join(f"{place['template']} ({place['family']})" for place in row.placements)
    note = f" ({row.note})" if row.note else ""
    return (f"{row.reason}: {row.error}" if row.error is not None else found or str(row.reason)) + note


def bytes_words(row: Scanned) -> str:
    """What a video cost; "" where that is nothing, as a file does."""
    return "?" if row.fetched_bytes is None else size_words(row.fetched_bytes) if row.fetched_bytes else ""


def size_words(size: int) -> str:
    """Bytes with at most three digits and a unit: 41 MB, 1.3 MB, 0 MB."""
    return next(
        (f"{size / unit:.{0 if size >= 10 * unit else 1}f} {name}" for unit, name in UNITS if size >= unit), f"{size} B"
    )


def scan_tally(rows: Sequence[Scanned]) -> str:
    """The last line: ``206 videos, 3 with an overlay (1.5%), 41 MB fetched of 18 GB``."""
    found = sum(bool(row.placements) for row in rows)
    failed = sum(row.error is not None for row in rows)
    line = f"{len(rows)} {'video' if len(rows) == 1 else 'videos'}, {found} with an overlay ({found / len(rows):.1%})"
    if fetched := sum(row.fetched_bytes or 0 for row in rows):
        line += f", {size_words(fetched)} fetched of {size_words(sum(row.total_bytes or 0 for row in rows))}"
    return f"{line}, {failed} failed" if failed else line


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
