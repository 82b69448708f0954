"""The page of a dataset, and Debian's Chromium to look at it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from padtrace.view.server import HOST, make_app
from templates.catalogue import library

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 60_000  # a busy machine


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the page of a dataset, served by a thread."""
    config = uvicorn.Config(make_app(folder, library()), log_level="warning", lifespan="off")
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def wait_until_ready(page: Page) -> None:
    """Until the current frame, its labels and its pad are drawn."""
    page.wait_for_selector("body[data-state=ready]", timeout=PATIENCE_MS)


def frame_of(page: Page) -> int:
    """The current frame."""
    return int(page.input_value("#position"))


def wait_for_frame(page: Page, frame: int) -> None:
    expect(page.locator("body")).to_have_attribute("data-frame", str(frame), timeout=PATIENCE_MS)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Playwright's own waiting evaluates strings, which the page's policy forbids."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


def shade_of(page: Page, canvas: str) -> int:
    """The grey near the corner of a canvas."""
    shade: int = page.evaluate(
        "id => document.getElementById(id).getContext('2d').getImageData(9, 9, 1, 1).data[0]", canvas
    )
    return shade
