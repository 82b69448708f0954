"""Channel -> its videos, address -> video file. What talks to video sites does it through the yt-dlp opened here.

Both functions run in a process of their own (``children.py``): yt-dlp is not made for threads, its memory
grows, and a read from a host that sends a byte a minute cannot be interrupted otherwise. What is secret
stays with the machine: ``PADTRACE_COOKIES`` names a cookies file, ``PADTRACE_PROXY`` is an address.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError, RequestError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PlaylistEntries,
    UnsupportedError,
    UserNotLive,
    unsmuggle_url,
)

from extraction.records import SourceError
from flows.channels import Channel
from flows.faults import Kind, VideoFault
from flows.ledger import make_key

log = logging.getLogger(__name__)

KNOWN_IN_A_ROW: Final = 30  # a channel lists its newest first: after so many known ones, older ones are known too
_NEWEST_FIRST: Final = re.compile(r"https?://(www\.)?youtube\.com/.+/(videos|streams|shorts)/?")
_HOUR_S: Final = 3600.0


class DownloadOptions(BaseModel):
    """What is fetched, and how politely."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_height: int = Field(720, ge=144)
    """Lines of the picture at most."""
    min_fps: int = Field(50, ge=1)
    """Preferred frame rate; slower formats are taken where there is no other."""
    max_gib: float = Field(16.0, gt=0)
    """Larger files are given up."""
    keep_free_gib: float = Field(5.0, ge=0)
    """Space to leave on the disk of the working folder; the run stops below it."""
    rate_limit_mib: float | None = Field(None, gt=0)
    """Mebibytes per second at most."""
    sleep_s: float = Field(10.0, ge=0)
    """Pause before a download; up to twice as long."""
    sleep_requests_s: float = Field(0.75, ge=0)
    """Pause between the requests that find out about a video."""
    timeout_s: float = Field(2 * _HOUR_S, gt=0)
    """Longer downloads are given up."""
    js_runtime: Literal["deno", "node"] = "deno"
    """What runs a site's JavaScript; without one YouTube offers degraded formats."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One video of a channel. ``key``: its name in the ledger. ``hours``: as listed, 0 where that is not told."""

    key: str
    url: str
    title: str
    hours: float


@dataclass(frozen=True, slots=True)
class Download:
    """A video file, whole, and where it came from."""

    path: Path
    url: str
    title: str
    format_id: str
    fps: float | None
    width: int | None
    height: int | None


def list_videos(channel: Channel, known: frozenset[str], options: DownloadOptions) -> list[Listed]:
    """The videos of a channel that are not known yet, as it lists them; VideoFault where it lists nothing."""
    found: dict[str, Listed] = {}
    in_a_row = 0
    ydl = open_ydl(options, {"playlist_items": f"1:{channel.max_videos}"})
    try:
        for entry in entries_of(ydl, resolve(ydl, channel.url)):
            video = describe_entry(entry)
            found.setdefault(video.key, video)
            in_a_row = in_a_row + 1 if video.key in known else 0
            if in_a_row >= KNOWN_IN_A_ROW and _NEWEST_FIRST.match(channel.url):
                break
    except Exception as error:
        raise classify(error) from None
    if not found:
        raise VideoFault(Kind.SITE_CHANGED, f"expected videos at {channel.url}, found none; open it in a browser")
    return [video for video in found.values() if video.key not in known]


def download(url: str, channel: Channel, folder: Path, stem: str, options: DownloadOptions) -> Download:
    """Fetch a video as ``folder/stem.*``, going on with what is there of it; VideoFault where that fails.

    The site is asked once: whether the video is wanted is decided on the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (free_gib := shutil.disk_usage(folder).free / 2**30) < options.keep_free_gib:
        raise VideoFault(
            Kind.DISK_FULL,
            f"expected {options.keep_free_gib:g} GiB free at {folder}, found {free_gib:.1f}; "
            "free space and start the run again",
        )

    def check(info: Mapping[str, Any], *, incomplete: bool) -> None:
        refuse(info, channel)

    def watch(progress: Mapping[str, Any]) -> None:
        if (progress.get("downloaded_bytes") or 0) > options.max_gib * 2**30:
            raise VideoFault(Kind.TOO_LARGE, f"expected at most {options.max_gib:g} GiB, found more")

    parameters = {
        "format": _format(options),
        "format_sort": [f"res:{options.max_height}", "fps", "vcodec:h264"],
        "paths": {"home": str(folder)},
        "outtmpl": {"default": f"{stem}.%(ext)s"},
        "overwrites": False,
        "noplaylist": True,
        "match_filter": check,
        "progress_hooks": [watch],
        "sleep_interval": options.sleep_s,
        "max_sleep_interval": 2 * options.sleep_s,
    }
    try:
        info = open_ydl(options, parameters).extract_info(url)
    except Exception as error:
        raise classify(error) from None
    files = (info or {}).get("requested_downloads")
    if not files:
        raise VideoFault(Kind.UNSUPPORTED, f"expected one video at {url}, found {(info or {}).get('_type', 'none')}")
    return Download(
        path=Path(files[0]["filepath"]),
        url=info.get("webpage_url") or url,
        title=plain(info.get("title")),
        format_id=str(files[0].get("format_id") or info.get("format_id") or ""),
        fps=info.get("fps"),
        width=info.get("width"),
        height=info.get("height"),
    )


def classify(error: Exception) -> VideoFault:
    """What an error of yt-dlp means. An error that is nobody's known fault is raised again."""
    causes = list(_causes(error))
    if fault := next((cause for cause in causes if isinstance(cause, VideoFault)), None):
        return fault
    detail = re.sub(r"^ERROR:\s*|\s*; please report this issue.*", "", str(error), flags=re.DOTALL)
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return VideoFault(Kind.DISK_FULL, "expected room for a video, found a full disk; free space, start again")
    if http := next((cause for cause in causes if isinstance(cause, HTTPError)), None):
        extracting = any(isinstance(cause, ExtractorError) for cause in causes)
        return VideoFault(_kind_of_status(http.status, extracting), detail, _retry_after(http))
    for types, kind in _TYPES:
        if any(isinstance(cause, types) for cause in causes):
            return VideoFault(kind, detail)
    for pattern, kind, wait_s in _WORDINGS:
        if re.search(pattern, detail, re.IGNORECASE):
            return VideoFault(kind, detail, wait_s)
    if extractor := next((cause for cause in causes if isinstance(cause, ExtractorError)), None):
        return VideoFault(Kind.UNSUPPORTED if extractor.expected else Kind.SITE_CHANGED, detail)
    if isinstance(error, DownloadError | RequestError):
        return VideoFault(Kind.NETWORK, detail)
    raise error


_TYPES: Final[tuple[tuple[tuple[type[Exception], ...], Kind], ...]] = (
    ((TransportError, ContentTooShortError, ConnectionError, TimeoutError), Kind.NETWORK),
    ((GeoRestrictedError,), Kind.REGION_LOCKED),
    ((UnsupportedError,), Kind.UNSUPPORTED),
    ((UserNotLive,), Kind.LIVE),
)
# Sites say in words what went wrong; the first that fits decides. Seconds to wait where they say that, too.
_WORDINGS: Final[tuple[tuple[str, Kind, float | None], ...]] = (
    (r"rate-limited|try again later", Kind.THROTTLED, _HOUR_S),
    (r"not a bot|captcha|too many requests", Kind.THROTTLED, None),
    (r"confirm your age|age.restricted|inappropriate for some", Kind.AGE_RESTRICTED, None),
    (r"in your (country|region|location)|geo.?restrict", Kind.REGION_LOCKED, None),
    (r"private video|video is private|members.only|join this channel|log ?in|sign in", Kind.PRIVATE, None),
    (r"\bDRM\b", Kind.PROTECTED, None),
    (r"premieres in|will begin|not (currently )?live|is offline", Kind.LIVE, None),
    (r"unavailable|removed|terminated|no longer (available|exists)|does not exist|deleted", Kind.REMOVED, None),
    (r"no video formats|format is not available", Kind.UNSUPPORTED, None),
)


def _kind_of_status(status: int, extracting: bool) -> Kind:
    """What an HTTP status means; ``extracting``: it came before the media itself was asked for."""
    match status:
        case 429:
            return Kind.THROTTLED
        case 404 | 410:
            return Kind.REMOVED
        case 401 | 407:
            return Kind.PRIVATE
        case 403:  # media addresses expire; pages do not
            return Kind.PRIVATE if extracting else Kind.NETWORK
        case 451:
            return Kind.REGION_LOCKED
        case _:
            return Kind.NETWORK if status >= 500 or status == 408 else Kind.UNSUPPORTED


def _retry_after(error: HTTPError) -> float | None:
    """Seconds that a host says to wait, as a number or as a date."""
    said = error.response.headers.get("Retry-After") or ""
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made from, outermost first."""
    seen: set[int] = set()
    waiting: list[object] = [error, error.__context__]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            exc_info = getattr(each, "exc_info", None) or (None, None, None)
            waiting += [exc_info[1], getattr(each, "cause", None), each.__cause__]


def open_ydl(
    options: DownloadOptions, parameters: Mapping[str, Any], kind: Callable[[dict[str, Any]], YoutubeDL] = YoutubeDL
) -> YoutubeDL:
    """yt-dlp without a voice of its own: faults are raised, warnings logged."""
    common = {
        "quiet": True,
        "noprogress": True,
        "logger": _Log(),
        "retries": 10,
        "fragment_retries": 10,
        "extractor_retries": 3,
        "retry_sleep_functions": {"http": lambda n: min(2.0**n, 30.0), "fragment": lambda n: min(2.0**n, 30.0)},
        "socket_timeout": 30,
        "throttledratelimit": 100 * 1024,
        "sleep_interval_requests": options.sleep_requests_s,
        "js_runtimes": {options.js_runtime: {}},
    }
    if options.rate_limit_mib:
        common["ratelimit"] = options.rate_limit_mib * 2**20
    if proxy := os.environ.get("PADTRACE_PROXY"):
        common["proxy"] = proxy
    if cookies := os.environ.get("PADTRACE_COOKIES"):
        common["cookiefile"] = _read_cookies(Path(cookies))
    return kind({**common, **parameters})


def _read_cookies(path: Path) -> io.StringIO:
    """The cookies as a stream: a file would be written back, by several processes at once."""
    try:
        return io.StringIO(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(
            f"expected a cookies file at {path}, found: {error.strerror}; correct PADTRACE_COOKIES"
        ) from error


def _format(options: DownloadOptions) -> str:
    """One file that needs no merging: pictures alone where they are offered, else the smallest that has them."""
    low, fast = f"[height<=?{options.max_height}]", f"[fps>={options.min_fps}]"
    return f"bv*[vcodec^=avc1]{fast}{low}/bv*{fast}{low}/bv*{low}/b"


def resolve(ydl: YoutubeDL, url: str) -> dict[str, Any]:
    """What an address stands for: a list (it has ``entries``), a video with its formats, or nothing ({})."""
    result: dict[str, Any] = ydl.extract_info(url, download=False, process=False) or {}
    while result.get("_type") in ("url", "url_transparent"):
        result = ydl.extract_info(result["url"], download=False, ie_key=result.get("ie_key"), process=False) or {}
    return result


def entries_of(ydl: YoutubeDL, result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a list holds, page by page as it is asked for; a video is a list of one. No entry is looked into."""
    if "entries" in result:
        yield from (entry for _, entry in PlaylistEntries(ydl, result).get_requested_items() if entry)
    elif result:
        yield result


def refuse(info: Mapping[str, Any], channel: Channel | None) -> None:
    """VideoFault where a video is not over, or not what a channel's entry asks for."""
    if info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
        raise VideoFault(Kind.LIVE, f"{info['live_status']}; it is tried again in the next run")
    if channel and (kind := channel.refuses(info.get("duration"), _upload_date(info))):
        raise VideoFault(kind, f"{info.get('duration')} s, uploaded {info.get('upload_date')}; not asked for")


def describe_entry(info: Mapping[str, Any]) -> Listed:
    """A video in a listing, or one that was named itself."""
    url, _ = unsmuggle_url(info.get("webpage_url") or info.get("url"))
    site, name = info.get("ie_key") or info.get("extractor_key"), info.get("id")
    # The generic extractor names a video by the last part of its address, which is not unique.
    key = make_key(site, name) if site and site != "Generic" and name else make_key("url", url)
    return Listed(key, url, plain(info.get("title")), (info.get("duration") or 0.0) / 3600)


def plain(text: object) -> str:
    """A title from the network on one line, without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text or "")).strip()[:200]


def _upload_date(info: Mapping[str, Any]) -> date | None:
    day = info.get("upload_date")
    return datetime.strptime(day, "%Y%m%d").date() if day else None


class _Log:
    """What yt-dlp says, as logs; its errors are raised besides."""

    def debug(self, message: str) -> None:
        log.debug(message)

    def info(self, message: str) -> None:
        log.info(message)

    def warning(self, message: str) -> None:
        log.info(message)

    def error(self, message: str) -> None:
        log.info(message)
