"""Many sources -> a row for each video: is there an overlay, which, and where.

    file, folder ----------------------------\\
                                              > match against all templates -> row
    address -> list -> address -> keyframes -/

Addresses are asked by several processes at a time, matching is done by few: it fills the cores by itself. Nothing
that one source does stops the others.
"""

from __future__ import annotations

import csv
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.extract import ExtractOptions
from extraction.records import SourceError
from flows.breaker import Breaker
from flows.channels import Channel
from flows.children import Children
from flows.download import DownloadOptions
from flows.faults import Kind, VideoFault
from flows.keyframes import Glimpse, Limits, glimpse
from flows.publish import templates_of
from flows.sources import find_videos
from padtrace.dataset.store import open_store

MATCH_TIMEOUT_S: Final = 900.0  # the first one may have to make the keypoints of the whole library
GRACE_S: Final = 15.0  # until a process that ought to have ended by itself is ended
PATIENCE_S: Final = 60.0  # a host that refuses for longer is not asked again
REFUSALS: Final = 3  # of one video
MAX_DEPTH: Final = 2  # lists of lists: a channel's tabs


class ScanOptions(BaseModel):
    """How much is fetched, and how politely."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_once: int = Field(8, ge=1, le=64)
    """Addresses that are asked at the same time."""
    max_mib: float = Field(32.0, gt=0)
    """What one video may cost; where it ends, what has come decides."""
    timeout_s: float = Field(120.0, gt=0)
    """What one video may take until its frames are there."""
    download: DownloadOptions = DownloadOptions()
    """Height of the picture, pauses between requests."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """One video's row.

    placements: as in the report of an extraction, boxes in pixels of ``size``, the frames that were looked at.
    reason: why there is none; a ``Reason``, or the ``Kind`` of fault for which nobody knows, which ``error`` explains.
    note: what limits the answer. fetched_bytes: what it cost, None where that is not known; a file costs 0.
    total_bytes: size of the whole video at an address, None where its host does not say.
    """

    source: str
    title: str = ""
    placements: tuple[dict[str, Any], ...] = ()
    reason: str | None = None
    error: str | None = None
    note: str = ""
    size: tuple[int, int] | None = None
    fetched_bytes: int | None = 0
    total_bytes: int | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The row; ``overlay`` is null where nobody knows."""
        return {**asdict(self), "overlay": None if self.error else bool(self.placements)}


Match = Callable[[Path, str | None, ExtractOptions], dict[str, Any]]


def match(video: Path, templates: str | None, options: ExtractOptions) -> dict[str, Any]:
    """``placements``, ``reason`` and ``size`` of one video file; SourceError where it cannot be read."""
    from extraction.video import probe
    from flows.extract import locate_video

    found = locate_video(video, templates_of(templates), options)
    info = probe(video)
    return {
        "placements": tuple(found["placements"]),
        "reason": found["reason"] and str(found["reason"]),
        "size": (info.width, info.height),
    }


@dataclass(frozen=True, slots=True)
class _Item:
    """A file or an address that is to be looked at; ``depth``: how many lists it was found in."""

    where: Path | str
    title: str = ""
    depth: int = 0


@dataclass
class _Cost:
    """What an item has cost so far."""

    started: float = field(default_factory=time.monotonic)
    fetched_bytes: int | None = 0

    def add(self, size: int | None) -> None:
        self.fetched_bytes = None if size is None or self.fetched_bytes is None else self.fetched_bytes + size


class Scan:
    """One run over sources: files, folders and addresses. A context manager: it has processes and files.

    expected: how many rows there will be, as far as that is known by now.
    """

    def __init__(
        self,
        sources: Sequence[str],
        options: ScanOptions,
        locating: ExtractOptions,
        templates: Path | None = None,
        match: Match = match,
    ) -> None:
        self._sources = sources
        self._options = options
        self._locating = locating
        self._templates = None if templates is None else str(templates)
        self._match = match
        self._seen: set[Path | str] = set()
        self._names = itertools.count()
        self._stop = threading.Event()
        self._fetchers = Children(options.at_once)
        self._matchers = Children(max(1, (os.cpu_count() or 1) // 2))  # matching uses about two cores
        self._threads = ThreadPoolExecutor(options.at_once)
        self._folder = TemporaryDirectory(prefix="padtrace-scan-", ignore_cleanup_errors=True)
        self._breaker = Breaker(open_store(f"{self._folder.name}/hosts"))
        self.expected = len(sources)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._fetchers.stop()
        self._matchers.stop()
        self._threads.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def rows(self) -> Iterator[Scanned]:
        """A row for each video, as they are done."""
        running: set[Future[Scanned | tuple[_Item, ...]]] = set()

        def start(items: Sequence[_Item]) -> None:
            new = {item.where: item for item in items if item.where not in self._seen}
            self._seen |= new.keys()
            self.expected += len(new) - 1
            running.update(self._threads.submit(self._settle, item) for item in new.values())

        for source in self._sources:
            try:
                start(_items(source))
            except SourceError as error:
                yield Scanned(source, reason=Kind.UNSUPPORTED, error=str(error))
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                answer = future.result()
                if isinstance(answer, Scanned):
                    yield answer
                else:
                    start(answer)

    def _settle(self, item: _Item) -> Scanned | tuple[_Item, ...]:
        """The row of an item, or what it lists."""
        cost = _Cost()
        row = Scanned(str(item.where), item.title)
        try:
            answer = (
                self._look_at_file(row, item.where) if isinstance(item.where, Path) else self._look(row, item, cost)
            )
        except VideoFault as fault:
            cost.add(fault.fetched_bytes)
            answer = replace(row, reason=fault.kind.value, error=fault.detail)
        except SourceError as error:
            answer = replace(row, reason=Kind.CORRUPT.value, error=str(error))
        except CancelledError:  # the run ends
            answer = replace(row, reason=Kind.TIMEOUT.value, error="expected time to look at it, the scan was ended")
        except Exception as error:  # a bug that one video brings out must not stop the others
            answer = replace(row, reason=Kind.CRASH.value, error=f"{type(error).__name__}: {error}")
        if not isinstance(answer, Scanned):
            return answer
        return replace(answer, fetched_bytes=cost.fetched_bytes, seconds=round(time.monotonic() - cost.started, 3))

    def _look(self, row: Scanned, item: _Item, cost: _Cost) -> Scanned | tuple[_Item, ...]:
        """The same of an address."""
        target = Path(self._folder.name) / f"{next(self._names)}.mkv"
        try:
            seen = self._glimpse(str(item.where), target, cost)
            if not seen.listed:
                row = replace(row, title=seen.title or item.title, total_bytes=seen.total_bytes, note=seen.note)
                return self._look_at_file(row, target)
        finally:
            target.unlink(missing_ok=True)
        if item.depth == MAX_DEPTH:
            raise VideoFault(Kind.UNSUPPORTED, "expected a video, found lists within lists; name the inner one")
        return tuple(_Item(video.url, video.title, item.depth + 1) for video in seen.listed)

    def _look_at_file(self, row: Scanned, video: Path) -> Scanned:
        return replace(row, **self._matchers.run(MATCH_TIMEOUT_S, self._match, video, self._templates, self._locating))

    def _glimpse(self, url: str, target: Path, cost: _Cost) -> Glimpse:
        """Ask the host of an address when that may be asked; a short refusal is waited for."""
        options = self._options
        refusals = 0
        while True:
            if (left_s := self._breaker.left(url)) > PATIENCE_S:
                raise VideoFault(Kind.THROTTLED, f"its host refuses for another {left_s:.0f} s; scan it then", None, 0)
            self._breaker.wait(url, self._stop)
            try:
                with self._breaker.told(url):
                    seen = self._fetchers.run(
                        options.timeout_s + GRACE_S,
                        glimpse,
                        url,
                        target,
                        self._locating.sample_frames,
                        Limits(int(options.max_mib * 2**20), options.timeout_s),
                        options.download,
                    )
            except VideoFault as fault:
                refusals += 1
                if fault.kind is not Kind.THROTTLED or refusals == REFUSALS:
                    raise
                cost.add(fault.fetched_bytes)
            else:
                cost.add(seen.fetched_bytes)
                return seen


def _items(source: str) -> list[_Item]:
    """What a source names; SourceError where it names nothing."""
    if "://" not in source:
        return [_Item(path) for path in find_videos(source)]
    try:
        return [_Item(Channel(name="scan", url=source).url)]
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise SourceError(f"{source} is not an address that can be scanned: {message}; correct it") from error


CSV_COLUMNS: Final = (
    *("source", "overlay", "template", "family", "x", "y", "width", "height", "inliers"),
    *("reason", "error", "note", "fetched_bytes", "total_bytes", "seconds"),
)


def write_csv(rows: Sequence[Scanned], path: Path) -> None:
    """Write all rows as ``CSV_COLUMNS``, whole or not at all; of several overlays the one with most inliers."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            best = max(row.placements, key=lambda place: int(place["inliers"]), default={})
            sides = zip(("x", "y", "width", "height"), best.get("box", ()), strict=False)
            writer.writerow({**best, **dict(sides), **row.as_json()})
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
