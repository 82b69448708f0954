"""What happened to each video: one small JSON file per video in the store, and nothing else to keep in step.

    ledger/<key>.json              its row; written first when it is listed, last when it is settled
    claims/<key>/<generation>.json who works on it, and when it last said so
    contents/<hash>.json           which video brought this content first

A claim is taken by creating its next generation, which exactly one worker can do. Its owner renews it
while it works and removes it when the row is written. A claim that was not renewed for a lease belongs to
a dead worker: the next generation may be created. So the number of a generation also counts the workers
that died over a video. Whoever gets a claim reads the row again, since it may have been settled just before.

Limits: clocks of the workers must agree to within the lease. A worker that sleeps past its lease (a closed
lid) may find its video taken; it notices before it writes the row. Both then wrote the same files, since
what extraction writes depends on the video alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Self

from pydantic import BaseModel, ConfigDict

from extraction.records import SourceError
from flows.faults import Kind, VideoFault
from padtrace.dataset.store import Store

MAX_ATTEMPTS: Final = 3  # runs that try a video whose fault may pass, and workers that may die over it


class Status(StrEnum):
    QUEUED = "queued"
    SKIPPED = "skipped"
    FAILED = "failed"
    NO_OVERLAY = "no_overlay"
    DONE = "done"


class Row(BaseModel):
    """One video. The file's name is its ``key``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    channel: str
    url: str
    title: str = ""
    status: Status = Status.QUEUED
    kind: Kind | None = None
    """Why it was skipped, failed, or is still queued."""
    detail: str = ""
    attempts: int = 0
    """Runs that tried it and failed."""
    video_id: str | None = None
    """Its name below ``videos/`` in the store."""
    template: str | None = None
    """The overlay that was found."""
    hours_listed: float = 0.0
    """As its channel's listing says; 0 where that does not."""
    hours_downloaded: float = 0.0
    hours_decoded: float = 0.0
    hours_kept: float = 0.0
    updated: datetime

    @property
    def is_settled(self) -> bool:
        """Whether no later run looks at it again."""
        if self.status is Status.FAILED:
            assert self.kind is not None
            return not self.kind.is_transient or self.attempts >= MAX_ATTEMPTS
        return self.status is not Status.QUEUED

    def changed(self, **fields: object) -> Self:
        """The row with other values, stamped now."""
        return self.model_copy(update={**fields, "updated": datetime.now(UTC)})

    def after(self, fault: VideoFault) -> Self:
        """The row once a fault has ended an attempt."""
        if fault.kind.is_postponed:
            return self.changed(kind=fault.kind, detail=fault.detail)
        status = Status.SKIPPED if fault.kind.is_unwanted else Status.FAILED
        return self.changed(status=status, kind=fault.kind, detail=fault.detail, attempts=self.attempts + 1)


def make_key(site: str, name: str) -> str:
    """A plain, unique file name for a video that ``site`` calls ``name`` (an id, an address), whatever that holds."""
    last = name.rstrip("/").rsplit("/", 1)[-1]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", last).strip("-")[:40].strip("-") or "video"
    return f"{readable}-{hashlib.sha256(f'{site}:{name}'.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's hold on one video."""

    key: str
    generation: int


class Ledger:
    """All rows and claims in one store."""

    def __init__(self, store: Store, lease_s: float = 600.0) -> None:
        """``lease_s``: how long a claim lives without being renewed."""
        self.store = store
        self._lease_s = lease_s
        self._owner = f"{socket.gethostname()}:{os.getpid()}"

    def keys(self) -> set[str]:
        """Keys of all rows."""
        return {name.removesuffix(".json") for name in self.store.names("ledger")}

    def rows(self) -> list[Row]:
        """All rows, by key; SourceError where one is malformed."""
        return [_parse(name, data) for name, data in sorted(self.store.read_all("ledger").items())]

    def read(self, key: str) -> Row | None:
        """One row."""
        data = self.store.read(f"ledger/{key}.json")
        return None if data is None else _parse(f"{key}.json", data)

    def write(self, row: Row) -> None:
        """Replace a row."""
        self.store.put(f"ledger/{row.key}.json", _dump(row))

    def queue(self, rows: Iterable[Row]) -> int:
        """Write the rows whose videos are new; how many these are."""
        return sum(self.store.create(f"ledger/{row.key}.json", _dump(row)) for row in rows)

    def first_with_content(self, digest: str, key: str) -> str:
        """The key of the video that brought this content first, now or before."""
        name = f"contents/{digest}.json"
        if self.store.create(name, key.encode()):
            return key
        return (self.store.read(name) or key.encode()).decode()

    @contextmanager
    def claim(self, key: str) -> Iterator[Claim | None]:
        """Hold a video while the block runs; None where a living worker holds it."""
        claim = self._take(key)
        if claim is None:
            yield None
            return
        ended = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(claim, ended), daemon=True)
        renewer.start()
        try:
            yield claim
        finally:
            ended.set()
            renewer.join()
            self._release(claim)

    def holds(self, claim: Claim) -> bool:
        """Whether nobody has taken the video over."""
        generations = self._generations(claim.key)
        return bool(generations) and generations[-1] == claim.generation

    def _take(self, key: str) -> Claim | None:
        generations = self._generations(key)
        latest = generations[-1] if generations else 0
        if latest:
            last = self.store.read(_claim_name(Claim(key, latest)))
            if last is not None and self._is_alive(last):
                return None
        claim = Claim(key, latest + 1)
        return claim if self.store.create(_claim_name(claim), self._stamp()) else None

    def _renew(self, claim: Claim, ended: threading.Event) -> None:
        while not ended.wait(self._lease_s / 3):
            try:
                if self.holds(claim):
                    self.store.put(_claim_name(claim), self._stamp())
            except OSError:  # the store is out of reach; the next round may find it
                continue

    def _release(self, claim: Claim) -> None:
        """Remove the claim and those of its dead predecessors, unless it was taken over."""
        generations = self._generations(claim.key)
        if generations and generations[-1] == claim.generation:
            for generation in generations:  # the latest goes last: until then nobody can take it
                self.store.remove(_claim_name(Claim(claim.key, generation)))

    def _generations(self, key: str) -> list[int]:
        return sorted(int(name.removesuffix(".json")) for name in self.store.names(f"claims/{key}"))

    def _stamp(self) -> bytes:
        return _Stamp(owner=self._owner, renewed=datetime.now(UTC)).model_dump_json().encode()

    def _is_alive(self, data: bytes) -> bool:
        stamp = _Stamp.model_validate_json(data)
        return (datetime.now(UTC) - stamp.renewed).total_seconds() < self._lease_s


class _Stamp(BaseModel):
    """The content of a claim."""

    owner: str
    renewed: datetime


def _claim_name(claim: Claim) -> str:
    return f"claims/{claim.key}/{claim.generation}.json"


def _dump(row: Row) -> bytes:
    return row.model_dump_json(indent=1).encode() + b"\n"


def _parse(name: str, data: bytes) -> Row:
    try:
        return Row.model_validate_json(data)
    except ValueError as error:
        raise SourceError(
            f"expected a row in ledger/{name}, found something else; remove the file to have the video done again"
        ) from error
