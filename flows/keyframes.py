"""Address -> the few keyframes that show what its video looks like, for a small part of its bytes.

Runs in a process of its own (``children.py``), as everything does that reads what strangers send.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from yt_dlp.extractor import gen_extractor_classes

from extraction.records import SourceError
from extraction.video import copy_keyframes
from flows.download import (
    DownloadOptions,
    Listed,
    classify,
    describe_entry,
    entries_of,
    open_ydl,
    plain,
    refuse_live,
    resolve,
)
from flows.faults import Kind, VideoFault
from flows.ranges import Budget, MeteredYoutubeDL, RangeFile

MAX_LISTED: Final = 1000  # videos of one list


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What an address gave: either ``listed``, the videos of a list, or ``keyframes``, a small video of them.

    fetched_bytes: what it cost, pages included. total_bytes: size of the whole video file, None where its host does
    not say. note: what limits the answer, or "".
    """

    fetched_bytes: int
    title: str = ""
    listed: tuple[Listed, ...] = ()
    keyframes: Path | None = None
    total_bytes: int | None = None
    note: str = ""


def glimpse(url: str, target: Path, count: int, options: DownloadOptions, max_bytes: int, timeout_s: float) -> Glimpse:
    """List what is at an address or, if it is one video, copy ``count`` of its keyframes to ``target``.

    VideoFault, with the bytes it cost, where neither is possible, or not within ``max_bytes`` and ``timeout_s``.
    """
    budget = Budget(max_bytes, time.monotonic() + timeout_s)
    try:
        with open_ydl(options, _parameters(options, timeout_s), partial(MeteredYoutubeDL, budget=budget)) as ydl:
            assert isinstance(ydl, MeteredYoutubeDL)
            return _glimpse(ydl, url, target, count)
    except SourceError as error:
        raise VideoFault(Kind.CORRUPT, str(error), fetched_bytes=budget.fetched) from None
    except Exception as error:
        fault = error if isinstance(error, VideoFault) else classify(error)
        raise VideoFault(fault.kind, fault.detail, fault.wait_s, budget.fetched) from None


def _glimpse(ydl: MeteredYoutubeDL, url: str, target: Path, count: int) -> Glimpse:
    if not _is_known_site(url):
        with RangeFile(ydl, url, {}) as file:
            if not file.is_text():
                return _copy(ydl, file, url, target, count)
    found = resolve(ydl, url)
    if "entries" in found:
        listed = tuple(describe_entry(entry) for entry in entries_of(ydl, found))
        if not listed:
            raise VideoFault(Kind.SITE_CHANGED, f"expected videos at {url}, found none; open it in a browser")
        return Glimpse(ydl.budget.fetched, listed=listed)
    refuse_live(found)
    video = ydl.process_ie_result(found, download=False)
    if not video or "url" not in video:
        raise VideoFault(Kind.UNSUPPORTED, f"expected one video at {url}, found none; open it in a browser")
    headers: Mapping[str, str] = video.get("http_headers") or {}
    with RangeFile(ydl, video["url"], headers) as file:
        return _copy(ydl, file, url, target, count, plain(video.get("title")))


def _copy(ydl: MeteredYoutubeDL, file: RangeFile, url: str, target: Path, count: int, title: str = "") -> Glimpse:
    budget = ydl.budget
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
    return Glimpse(budget.fetched, title, keyframes=target, total_bytes=file.size, note="; ".join(notes))


def _parameters(options: DownloadOptions, timeout_s: float) -> dict[str, object]:
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
