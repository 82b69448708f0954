"""Rows of a ledger -> how far the videos came, and why the rest was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flows.ledger import Row, Status


@dataclass(frozen=True, slots=True)
class Funnel:
    """stages: from wide to narrow, videos and then hours of video. dropped: videos by the reason that they gave no
    hours, or not yet; the most frequent first.
    """

    stages: dict[str, float]
    dropped: dict[str, int]


def make_funnel(rows: Iterable[Row]) -> Funnel:
    """The funnel of some videos."""
    rows = list(rows)
    scanned = [row for row in rows if row.status in (Status.DONE, Status.NO_OVERLAY)]
    done = [row for row in scanned if row.status is Status.DONE]
    stages = {
        "listed": len(rows),
        "scanned": len(scanned),
        "downloaded": sum(row.hours_downloaded > 0 for row in rows),
        "with_overlay": len(done),
        "hours_downloaded": round(sum(row.hours_downloaded for row in rows), 6),
        "hours_decoded": round(sum(row.hours_decoded for row in done), 6),
        "hours_kept": round(sum(row.hours_kept for row in done), 6),
    }
    reasons = Counter(drop_reason(row) for row in rows if row.status is not Status.DONE)
    return Funnel(stages, dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))))


def by_channel(rows: Iterable[Row]) -> dict[str, Funnel]:
    """The funnel of each channel."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.channel, []).append(row)
    return {name: make_funnel(group) for name, group in sorted(groups.items())}


def order_by_yield(names: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """Channels, those first whose scans found overlays most often; one that was never scanned counts as a half."""
    funnels = by_channel(rows)

    def expected(name: str) -> float:
        stages = funnels[name].stages if name in funnels else {"with_overlay": 0, "scanned": 0}
        return (stages["with_overlay"] + 1) / (stages["scanned"] + 2)

    return sorted(names, key=expected, reverse=True)


def drop_reason(row: Row) -> str:
    """Why a video gave no hours, or not yet."""
    return row.status.value if row.kind is None else f"{row.status.value}: {row.kind.value}"
