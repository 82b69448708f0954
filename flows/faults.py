"""What can go wrong with a video, and what follows from it."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Why a video was not read, or not yet."""

    # May go better next time.
    NETWORK = "network"
    THROTTLED = "throttled"
    SITE_CHANGED = "site_changed"
    LIVE = "live"
    # Final.
    REMOVED = "removed"
    PRIVATE = "private"
    AGE_RESTRICTED = "age_restricted"
    REGION_LOCKED = "region_locked"
    PROTECTED = "protected"
    UNSUPPORTED = "unsupported"
    CORRUPT = "corrupt"
    TIMEOUT = "timeout"
    CRASH = "crash"
    TOO_LARGE = "too_large"
    # Not wanted.
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    OUT_OF_DATES = "out_of_dates"
    DUPLICATE = "duplicate"
    # The machine's fault.
    DISK_FULL = "disk_full"

    @property
    def is_transient(self) -> bool:
        """Whether a later run tries again."""
        return self in (Kind.NETWORK, Kind.SITE_CHANGED)

    @property
    def is_retried(self) -> bool:
        """Whether the same run tries again after a wait."""
        return self in (Kind.NETWORK, Kind.THROTTLED)

    @property
    def is_postponed(self) -> bool:
        """Whether the video stays queued, as if nothing had been tried."""
        return self in (Kind.THROTTLED, Kind.LIVE, Kind.DISK_FULL)

    @property
    def is_unwanted(self) -> bool:
        """Whether the video is fine, but not what was asked for."""
        return self in (Kind.TOO_SHORT, Kind.TOO_LONG, Kind.OUT_OF_DATES, Kind.DUPLICATE)

    @property
    def stops_the_run(self) -> bool:
        """Whether every other video would meet the same."""
        return self in (Kind.THROTTLED, Kind.DISK_FULL)


class VideoFault(Exception):
    """One video was not read. ``detail`` is one sentence without secrets.

    ``wait_s``: how long the host said to wait, None where it did not. ``fetched_bytes``: what it cost, None where
    that is not known. Travels between processes.
    """

    def __init__(self, kind: Kind, detail: str, wait_s: float | None = None, fetched_bytes: int | None = None) -> None:
        super().__init__(kind, detail, wait_s, fetched_bytes)
        self.kind = kind
        self.detail = redact(detail)
        self.wait_s = wait_s
        self.fetched_bytes = fetched_bytes

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.detail}"


# Environment variables whose values must never be written anywhere.
SECRETS: Final = ("PADTRACE_PROXY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")


def redact(text: str) -> str:
    """``text`` on one line, without secrets, credentials in addresses, or the parameters of addresses."""
    for value in filter(None, (os.environ.get(name) for name in SECRETS)):
        text = text.replace(value, "***")
    text = _CREDENTIALS.sub("", text)
    return " ".join(_QUERY.sub(r"\1?...", text).split())[:500]
