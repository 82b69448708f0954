"""Address -> the few keyframes that show what its video looks like, for a small part of its bytes.

Runs in a process of its own (``children.py``), as everything does that reads what strangers send.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from yt_dlp.extractor import gen_extractor_classes

from extraction.records import SourceError
from extraction.remux import copy_keyframes
from flows.channels import Channel
from flows.download import (
    DownloadOptions,
    Listed,
    classify,
    describe_entry,
    entries_of,
    open_ydl,
    plain,
    refuse,
    resolve,
)
from flows.faults import Kind, VideoFault
from flows.ranges import Budget, MeteredYoutubeDL, RangeFile

MAX_LISTED: Final = 1000  # videos of one list


@dataclass(frozen=True, slots=True)
class Limits:
    """What one address may cost, and where that is not worth it.

    min_bytes: smaller files, and with it all that cannot be read by ranges, are not looked at.
    """

    max_bytes: int
    timeout_s: float
    min_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What an address gave: either ``listed``, the videos of a list, or ``keyframes``, a small video of them.

    Neither where the video is not worth it. fetched_bytes: what it cost, pages included. total_bytes: size of the whole
    video file, None where its host does not say. note: what limits the answer, or "".
    """

    fetched_bytes: int
    title: str = ""
    listed: tuple[Listed, ...] = ()
    keyframes: Path | None = None
    total_bytes: int | None = None
    note: str = ""


def glimpse(
    url: str, target: Path, count: int, limits: Limits, options: DownloadOptions, channel: Channel | None = None
) -> Glimpse:
    """List what is at an address or, if it is one video, copy ``count`` of its keyframes to ``target``.

    VideoFault, with the bytes it cost, where neither is possible, or not within the limits, or ``channel`` does not
    ask for the video.
    """
    budget = Budget(limits.max_bytes, time.monotonic() + limits.timeout_s)
    try:
        with open_ydl(options, limited(options, limits.timeout_s), partial(MeteredYoutubeDL, budget=budget)) as ydl:
            assert isinstance(ydl, MeteredYoutubeDL)
            opened = _open(ydl, url, channel)
            if isinstance(opened, Glimpse):
                return opened
            with opened.file as file:
                if limits.min_bytes and not (file.has_ranges and (file.size or 0) >= limits.min_bytes):
                    return Glimpse(budget.fetched)
                return _copy(budget, opened, url, target, count)
    except SourceError as error:
        raise VideoFault(Kind.CORRUPT, str(error), fetched_bytes=budget.fetched) from None
    except Exception as error:
        fault = error if isinstance(error, VideoFault) else classify(error)
        raise VideoFault(fault.kind, fault.detail, fault.wait_s, budget.fetched) from None


@dataclass(frozen=True, slots=True)
class _Opened:
    file: RangeFile
    title: str = ""


def _open(ydl: MeteredYoutubeDL, url: str, channel: Channel | None) -> _Opened | Glimpse:
    """The video file at an address, or the videos that are listed there."""
    if not _is_known_site(url):
        file = RangeFile(ydl, url, {})
        if not file.is_text():
            return _Opened(file)
        file.close()
    found = resolve(ydl, url)
    if "entries" in found:
        listed = tuple(describe_entry(entry) for entry in entries_of(ydl, found))
        if not listed:
            raise VideoFault(Kind.SITE_CHANGED, f"expected videos at {url}, found none; open it in a browser")
        return Glimpse(ydl.budget.fetched, listed=listed)
    refuse(found, channel)
    video = ydl.process_ie_result(found, download=False)
    if not video or "url" not in video:
        raise VideoFault(Kind.UNSUPPORTED, f"expected one video at {url}, found none; open it in a browser")
    return _Opened(RangeFile(ydl, video["url"], video.get("http_headers") or {}), plain(video.get("title")))


def _copy(budget: Budget, opened: _Opened, url: str, target: Path, count: int) -> Glimpse:
    file = opened.file
    try:
        copy_keyframes(file, url, target, count, in_passing=not file.has_ranges)
    except SourceError as error:
        if file.fault is not None:
            raise file.fault from error
        if not file.cut_short:
            raise
        ranges = "" if file.has_ranges else " from its start, as its server sends no byte ranges"
        raise VideoFault(
            Kind.TOO_LARGE, f"expected frames of {url} within {budget.max_bytes / 2**20:g} MiB{ranges}, found too few"
        ) from error
    if file.fault is not None:
        raise file.fault
    notes = []
    if not file.has_ranges:
        notes.append("its server sends no byte ranges")
    if file.cut_short:
        notes.append(f"only the first {budget.max_bytes / 2**20:g} MiB were looked at")
    return Glimpse(budget.fetched, opened.title, keyframes=target, total_bytes=file.size, note="; ".join(notes))


def limited(options: DownloadOptions, timeout_s: float) -> dict[str, object]:
    """What yt-dlp has to be told: which format is enough, and how long to wait."""
    low = f"[height<=?{options.max_height}]"
    whole = "[protocol~='^https?$']"  # one file, and not a list of pieces
    return {
        "format": f"bv*{whole}{low}/b{whole}{low}/wv*{whole}",
        # As sharp as allowed. Slow rather than fast: as many keyframes, a smaller index.
        "format_sort": [f"res:{options.max_height}", "+fps", "vcodec:h264"],
        "playlist_items": f"1:{MAX_LISTED}",
        "socket_timeout": min(20.0, timeout_s),
        "retries": 1,
        "extractor_retries": 1,
    }


def _is_known_site(url: str) -> bool:
    """Whether yt-dlp knows the site; any other address may be a video file itself."""
    return any(each.ie_key() != "Generic" and each.suitable(url) for each in gen_extractor_classes())
