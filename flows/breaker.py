"""A circuit breaker per host, in the store: when a host says wait, all workers wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from flows.faults import Kind, VideoFault
from flows.ledger import make_key
from padtrace.dataset.store import Store

log = logging.getLogger(__name__)

LONGEST_WAIT_S: Final = 3600.0


class _Refusal(BaseModel):
    """until: Unix time from which the host may be asked again. count: refusals since it last answered."""

    until: float
    count: int


class Breaker:
    """Open: nobody asks the host. Closed: everybody may."""

    def __init__(self, store: Store, first_wait_s: float = 60.0) -> None:
        """``first_wait_s``: how long to wait where the host does not say; doubles with every refusal."""
        self._store = store
        self._first_wait_s = first_wait_s

    def wait(self, url: str, stop: threading.Event) -> float:
        """Wait until the host of an address may be asked, or ``stop`` is set. Returns the seconds waited."""
        started = time.monotonic()
        while (left := self.left(url)) > 0 and not stop.is_set():
            stop.wait(min(left, 5.0))
        return time.monotonic() - started

    def open(self, url: str, wait_s: float | None) -> float:
        """The host refused, and said to wait so long, or not how long. Returns the seconds until it closes."""
        now = time.time()
        last = self._read(url) or _Refusal(until=0.0, count=0)
        # Several workers hear the same refusal: it counts once.
        count = last.count if last.until > now else last.count + 1
        wait_s = min(LONGEST_WAIT_S, self._first_wait_s * 2 ** (count - 1)) if wait_s is None else wait_s
        until = max(now + wait_s, last.until)
        self._store.put(_name(url), _Refusal(until=until, count=count).model_dump_json().encode())
        return until - now

    def close(self, url: str) -> None:
        """The host answered."""
        if self._read(url):
            self._store.remove(_name(url))

    @contextmanager
    def told(self, url: str) -> Iterator[None]:
        """Let a block ask the host; what it answers decides whether the breaker is open."""
        try:
            yield
        except VideoFault as fault:
            if fault.kind is Kind.THROTTLED:
                seconds = self.open(url, fault.wait_s)
                log.warning("%s refuses; it is asked again in %.0f s", urlsplit(url).hostname, seconds)
            elif fault.kind is not Kind.NETWORK:
                self.close(url)
            raise
        self.close(url)

    def left(self, url: str) -> float:
        """Seconds until the host of an address may be asked."""
        refusal = self._read(url)
        return max(0.0, refusal.until - time.time()) if refusal else 0.0

    def _read(self, url: str) -> _Refusal | None:
        data = self._store.read(_name(url))
        return None if data is None else _Refusal.model_validate_json(data)


def _name(url: str) -> str:
    return f"hosts/{make_key('host', urlsplit(url).hostname or '')}.json"
