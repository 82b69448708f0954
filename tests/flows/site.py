"""A video site on this machine: feeds that list videos, files, and everything that goes wrong with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """What each path answers. ``asked``: (path, headers) of every request so far."""

    address: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refuses_until: float = 0.0
    """Unix time until which videos are answered with 429."""
    ended: threading.Event = field(default_factory=threading.Event)

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked == path for asked, _ in self.asked)

    def feed(self, path: str, videos: list[tuple[str, str]], more: str = "") -> str:
        """An RSS feed of (title, path), each with ``more`` XML; returns its address."""
        items = "".join(
            f"<item><title>{escape(title)}</title><link>{escape(self.address + video)}</link>{more}</item>"
            for title, video in videos
        )
        names = 'version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
        body = f'<?xml version="1.0"?><rss {names}><channel><title>Feed</title>{items}</channel></rss>'
        self.answers[path] = lambda request: send(request, 200, body.encode(), "application/rss+xml")
        return self.address + path

    def video(self, path: str, content: bytes) -> str:
        """A video file that can be asked for in parts."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            if (left := self.refuses_until - time.time()) > 0:
                send(request, 429, b"slow down", "text/plain", {"Retry-After": str(int(left) + 1)})
            else:
                send_part(request, content)

        self.answers[path] = answer
        return self.address + path

    def fails(self, path: str, status: int) -> str:
        """Nothing but a status."""
        self.answers[path] = lambda request: send(request, status, b"no", "text/plain")
        return self.address + path

    def breaks_off(self, path: str, content: bytes) -> str:
        """A video whose first two answers (to look, to fetch) end in the middle of the file."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            send_part(request, content, broken=self.count(path) <= 2)

        self.answers[path] = answer
        return self.address + path

    def never_ends(self, path: str) -> str:
        """A video that sends a few bytes now and then, for ever."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Type", "video/mp4")
            request.end_headers()
            while not self.ended.wait(0.2):
                request.wfile.write(b"\0" * 16)

        self.answers[path] = answer
        return self.address + path


@contextmanager
def open_site() -> Iterator[Site]:
    """A site on a free port, until the block ends."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            site.asked.append((self.path, dict(self.headers)))
            answer = site.answers.get(self.path, lambda request: send(request, 404, b"no", "text/plain"))
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.ended.set()
        server.shutdown()
        server.server_close()


def send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
) -> None:
    """A whole answer."""
    request.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def send_part(request: BaseHTTPRequestHandler, content: bytes, broken: bool = False) -> None:
    """A file, or the range of it that was asked for; ``broken``: only half of that."""
    asked = request.headers.get("Range", "").removeprefix("bytes=")
    first, _, last = asked.partition("-")
    start, end = int(first or 0), min(int(last or len(content)), len(content) - 1)
    request.send_response(206 if asked else 200)
    request.send_header("Content-Type", "video/mp4")
    request.send_header("Accept-Ranges", "bytes")
    request.send_header("Content-Length", str(end + 1 - start))
    if asked:
        request.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
    request.end_headers()
    part = content[start : end + 1]
    request.wfile.write(part[: len(part) // 2] if broken else part)
