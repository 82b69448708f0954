"""Channel lists: TOML files that say which videos are wanted.

[[channel]]
name = "Speedruns"
url = "https://www.youtube.com/@speedruns"   # channel, playlist, feed or video
game = "Hollow Knight"
after = 2024-01-01
max_minutes = 240
families = ["xbox_one", "dualsense"]
"""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from extraction.records import SourceError
from flows.faults import Kind

# A channel's root lists its tabs, not its videos.
_CHANNEL_ROOT: Final = re.compile(r"(https?://(?:www\.)?youtube\.com/(?:@[^/?#]+|(?:channel|c|user)/[^/?#]+))/?")


class Channel(BaseModel):
    """Where videos come from, and which of them are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=80)
    """What it is called in reports; unique in its list."""
    url: str
    """A channel, a playlist, a feed or one video: whatever yt-dlp lists."""
    game: str = ""
    """What is played; goes into the shards."""
    after: date | None = None
    """Only videos uploaded on this day or later."""
    before: date | None = None
    """Only videos uploaded on this day or earlier."""
    max_videos: int = Field(1000, ge=1)
    """How many videos a listing looks at, from its top."""
    min_minutes: float = Field(0.0, ge=0)
    """Shorter videos are skipped."""
    max_minutes: float = Field(360.0, gt=0)
    """Longer videos are skipped."""
    families: tuple[str, ...] = ()
    """Families of pads that its overlays show; empty: any."""

    def refuses(self, duration_s: float | None, uploaded: date | None) -> Kind | None:
        """Why a video is not wanted; None where it is, or where that is not known."""
        if duration_s is not None and duration_s < 60 * self.min_minutes:
            return Kind.TOO_SHORT
        if duration_s is not None and duration_s > 60 * self.max_minutes:
            return Kind.TOO_LONG
        if uploaded is not None and not (self.after or date.min) <= uploaded <= (self.before or date.max):
            return Kind.OUT_OF_DATES
        return None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an http or https address")
        if parts.username or parts.password:
            raise ValueError("an address must not carry a password; use a cookies file")
        root = _CHANNEL_ROOT.fullmatch(url)
        return f"{root[1]}/videos" if root else url

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.after and self.before and self.after > self.before:
            raise ValueError("after is later than before")
        return self


class ChannelList(BaseModel):
    """A whole list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: tuple[Channel, ...] = Field(min_length=1)

    @field_validator("channel")
    @classmethod
    def _names_are_unique(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [channel.name for channel in channels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} stands there twice")
        return channels


def read_channels(path: Path) -> tuple[Channel, ...]:
    """The channels of a list, in its order; SourceError where it cannot be read or is malformed."""
    try:
        return ChannelList.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).channel
    except OSError as error:
        raise SourceError(f"expected a channel list at {path}, found: {error.strerror}; check the path") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceError(f"{path} is not a channel list: {error}; correct it") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SourceError(f"{path} is not a channel list: {where}: {first['msg']}; correct it") from error
