"""A file on a server, read by byte ranges. Every byte is counted, and nothing that the server says is believed."""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from yt_dlp import YoutubeDL
from yt_dlp.networking import Request, Response
from yt_dlp.networking.exceptions import HTTPError, RequestError, TransportError

from extraction.remux import READ_AHEAD
from flows.faults import Kind, VideoFault

BLOCK: Final = READ_AHEAD  # bytes asked for at least
MAX_BLOCK: Final = 1024 * 1024
PIECE: Final = 1024  # bytes after which the time is looked at: a host may send one a second
TRIES: Final = 3

T = TypeVar("T")


@dataclass(slots=True)
class Budget:
    """What one address may cost: bytes, and seconds until ``deadline`` (monotonic clock)."""

    max_bytes: int
    deadline: float
    fetched: int = 0

    @property
    def left(self) -> int:
        """Bytes that may still be fetched."""
        return self.max_bytes - self.fetched

    def count(self, size: int) -> None:
        """Some bytes came. VideoFault where time is over."""
        self.fetched += size
        if time.monotonic() > self.deadline:
            raise VideoFault(Kind.TIMEOUT, f"expected it to answer in time, found {self.fetched} bytes by then")


class MeteredYoutubeDL(YoutubeDL):  # type: ignore[misc]
    """yt-dlp within a budget: whatever it reads, pages and videos, is counted."""

    def __init__(self, parameters: dict[str, Any], budget: Budget) -> None:
        self.budget = budget
        super().__init__(parameters)

    def urlopen(self, request: Request | str) -> Response:
        """The answer to a request, within the budget."""
        try:
            return _Metered(super().urlopen(request), self.budget)
        except HTTPError as error:
            error.response = _Metered(error.response, self.budget)
            raise


class _Metered(Response):  # type: ignore[misc]
    """An answer whose body is counted. VideoFault where it is larger than the budget, or comes too late."""

    def __init__(self, answer: Response, budget: Budget) -> None:
        super().__init__(answer, answer.url, answer.headers, answer.status, answer.reason, answer.extensions)
        self._budget = budget

    def read(self, size: int | None = None) -> bytes:
        """At most ``size`` bytes, all that are left where None; fewer only at the end."""
        parts: list[bytes] = []
        left = self._budget.left + 1 if size is None else size
        while left > 0 and (part := self.fp.read(min(left, PIECE))):
            self._budget.count(len(part))
            if self._budget.left < 0:
                raise VideoFault(
                    Kind.TOO_LARGE, f"expected at most {self._budget.max_bytes / 2**20:g} MiB at {self.url}, found more"
                )
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


class RangeFile(io.RawIOBase):
    """A file on a server. Where that knows no ranges, it is read from its start, and what has come is kept.

    size: bytes in all, None where the server does not say. has_ranges: whether the server knows ranges.
    cut_short: whether the budget ended it: beyond, the file seems to be at its end.
    fault: what ended it where the server fails, or contradicts itself: VideoFault, or an error of yt-dlp.
    Opening raises that; reading does not, since FFmpeg reads on after an error, or takes it for a broken video.
    """

    def __init__(self, ydl: MeteredYoutubeDL, url: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._ydl, self._url, self._headers = ydl, url, headers
        self.cut_short = False
        self.fault: VideoFault | RequestError | None = None
        self._pos = self._start = 0
        self._block = BLOCK
        self._window: bytes = b""
        self.has_ranges, self.size = self._tried(self._begin)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = self._pos + self._ydl.budget.left if self.size is None else self.size
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._pos, io.SEEK_END: end}[whence]
        self._pos = max(0, origin + offset)
        return self._pos

    def tell(self) -> int:
        return self._pos

    def readinto(self, buffer: Any) -> int:
        if self.fault is not None:
            return 0
        try:
            data = self._read_at(self._pos, len(buffer))
        except (VideoFault, RequestError) as fault:
            self.fault = fault
            return 0
        buffer[: len(data)] = data
        self._pos += len(data)
        return len(data)

    def is_text(self) -> bool:
        """Whether it begins as a page does, and no video: without a byte 0."""
        return b"\0" not in self._read_at(0, 512)

    def close(self) -> None:
        if not self.closed and not self.has_ranges:
            self._stream.close()
        super().close()

    def _begin(self) -> tuple[bool, int | None]:
        """Ask for the first bytes: whether the server knows ranges, and the size of the file."""
        answer = self._ask(0, BLOCK)
        if answer.status == 206:
            with answer:
                size = self._total(answer, 0)
                self._window = answer.read(min(BLOCK, size))
            return True, size
        self._stream, self._kept = answer, bytearray()
        length = answer.get_header("Content-Length", "")
        return False, int(length) if re.fullmatch(r"\d{1,18}", length) else None

    def _read_at(self, pos: int, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        return self._ranged(pos, size) if self.has_ranges else self._streamed(pos, size)

    def _ranged(self, pos: int, size: int) -> bytes:
        """What the window holds, or else a new window: larger the longer one reads on without a jump."""
        offset = pos - self._start
        if not 0 <= offset < len(self._window):
            self._block = min(2 * self._block, MAX_BLOCK) if offset == len(self._window) else BLOCK
            assert self.size is not None
            wanted = min(max(size, self._block), self.size - pos)
            allowed = min(wanted, self._ydl.budget.left)
            self.cut_short |= allowed < wanted
            self._window = self._fetch(pos, allowed) if allowed > 0 else b""
            self._start, offset = pos, 0
        return self._window[offset : offset + size]

    def _streamed(self, pos: int, size: int) -> bytes:
        """The same of a file that comes as a whole."""
        missing = pos + size - len(self._kept)
        while missing > 0 and not self._stream.closed:
            part = self._stream.read(min(missing, self._ydl.budget.left))
            self._kept += part
            missing -= len(part)
            if missing > 0:
                self.cut_short = self._ydl.budget.left <= 0
                self._stream.close()
        return bytes(self._kept[pos : pos + size])

    def _fetch(self, start: int, size: int) -> bytes:
        """A range."""

        def fetch() -> bytes:
            with self._ask(start, size) as answer:
                if answer.status != 206 or self._total(answer, start) != self.size:
                    raise self._contradicts(f"bytes from {start} on of {self.size}", answer)
                data: bytes = answer.read(size)
                return data

        data = self._tried(fetch)
        if len(data) != size:
            raise VideoFault(Kind.CORRUPT, f"expected {size} bytes of {self._url}, found {len(data)}")
        return data

    def _tried(self, request: Callable[[], T]) -> T:
        """A request, made again where the connection breaks."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(TransportError):
                return request()
        return request()

    def _ask(self, start: int, size: int) -> Response:
        headers = {**self._headers, "Range": f"bytes={start}-{start + size - 1}", "Accept-Encoding": "identity"}
        return self._ydl.urlopen(Request(self._url, headers=headers))

    def _total(self, answer: Response, start: int) -> int:
        """The size of the whole file, from an answer that begins at ``start``."""
        said = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", answer.get_header("Content-Range", "").strip())
        if said is None or int(said[1]) != start:
            raise self._contradicts(f"bytes from {start} on", answer)
        return int(said[2])

    def _contradicts(self, asked: str, answer: Response) -> VideoFault:
        found = answer.get_header("Content-Range") or f"status {answer.status}"
        return VideoFault(Kind.CORRUPT, f"expected {asked} of {self._url}, found {found!r:.80}")
