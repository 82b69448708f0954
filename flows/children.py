"""Functions in processes of their own, which end when they are told to, crash alone, and are replaced."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from flows.faults import Kind, VideoFault

RECYCLE: Final = 50  # calls after which a process is replaced: memory of the libraries in it grows

P = ParamSpec("P")
T = TypeVar("T")


class Children:
    """Processes that run one function each at a time."""

    def __init__(self, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._running: set[ProcessFuture[Any]] = set()
        self._pool = ProcessPool(count, max_tasks=RECYCLE, initializer=_end_with_parent, context=spawn)

    def run(self, timeout_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(...)`` in a process, where one is free; its exceptions come back.

        VideoFault where it takes longer than ``timeout_s`` seconds, or where its process dies.
        """
        future = self._pool.schedule(function, args=args, kwargs=kwargs, timeout=timeout_s)
        self._running.add(future)
        try:
            return future.result()
        except TimeoutError:
            raise VideoFault(Kind.TIMEOUT, f"expected it to end within {timeout_s:g} s, it did not") from None
        except ProcessExpired as error:
            raise VideoFault(Kind.CRASH, f"expected it to end, its process died with code {error.exitcode}") from None
        finally:
            self._running.discard(future)

    def stop(self) -> None:
        """End all processes at once, whatever they do; who waits for one gets a CancelledError."""
        for future in list(self._running):
            future.cancel()  # type: ignore[no-untyped-call]
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _end_with_parent() -> None:
    """Let this process die when its parent does, even by SIGKILL: nobody would hear its result."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
