"""The ledger beside a dataset -> what its channel lists named, for its statistics."""

from __future__ import annotations

from pathlib import Path

from flows.funnel import drop_reason
from flows.ledger import Ledger
from padtrace.dataset.store import open_store
from padtrace.stats import ListedVideo


def listed_videos(folder: Path) -> list[ListedVideo]:
    """Every video of the channel lists that a dataset was made from; none where it was not made from such.

    A listing that names no length counts by what was downloaded.
    """
    if not (folder / "ledger").is_dir():
        return []
    return [
        ListedVideo(
            channel=row.channel,
            hours=row.hours_listed or row.hours_downloaded,
            video_id=row.video_id,
            dropped="" if row.video_id else drop_reason(row),
        )
        for row in Ledger(open_store(str(folder))).rows()
    ]
