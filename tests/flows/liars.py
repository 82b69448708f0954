"""Servers that are slow, dead or lie: each makes one address of a ``Site`` misbehave in its own way."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Final

from tests.flows.site import Site, send, send_part

Lie = Callable[[BaseHTTPRequestHandler, Site, bytes], None]


def promises_more_than_it_sends(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send_part(request, content, broken=True)


def says_that_the_file_is_huge(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    start, end = _range(request)
    part = content[start : end + 1]
    send(request, 206, part, "video/mp4", {"Content-Range": f"bytes {start}-{end}/{10**12}"})


def changes_its_mind_about_the_size(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    start, end = _range(request)
    total = len(content) + len(site.asked)
    send(request, 206, content[start : end + 1], "video/mp4", {"Content-Range": f"bytes {start}-{end}/{total}"})


def sends_another_range(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 206, content[:100], "video/mp4", {"Content-Range": f"bytes 7-106/{len(content)}"})


def sends_nonsense_for_a_range(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 206, content[:100], "video/mp4", {"Content-Range": "bytes all of them, I promise"})


def calls_a_page_a_video(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 200, b"<html><body>buy this</body></html>", "video/mp4")


def sends_noise(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 200, os.urandom(50_000), "video/mp4")


def sends_nothing(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 200, b"", "video/mp4")


def sends_a_playlist_of_local_files(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 200, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n\0", "video/mp4")


def never_ends(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    _endless(request, site, "video/mp4", content + os.urandom(100_000))


def sends_noise_for_ever(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    _endless(request, site, "video/mp4", os.urandom(100_000))


def is_an_endless_page(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    _endless(request, site, "text/html", b"<p>more</p>" * 10_000)


def drips(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(content[:2000])
    while not site.ended.wait(0.05):
        request.wfile.write(b"\0" * 64)


def redirects_in_a_circle(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()


def resets_the_connection(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    raise ConnectionResetError


def is_gone(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 404, b"no", "text/plain")


def is_broken(request: BaseHTTPRequestHandler, site: Site, content: bytes) -> None:
    send(request, 500, b"no", "text/plain")


LIES: Final[tuple[Lie, ...]] = (
    promises_more_than_it_sends,
    says_that_the_file_is_huge,
    changes_its_mind_about_the_size,
    sends_another_range,
    sends_nonsense_for_a_range,
    calls_a_page_a_video,
    sends_noise,
    sends_nothing,
    sends_a_playlist_of_local_files,
    sends_noise_for_ever,
    is_an_endless_page,
    drips,
    redirects_in_a_circle,
    resets_the_connection,
    is_gone,
    is_broken,
)


def tell(site: Site, path: str, lie: Lie, content: bytes) -> str:
    """Let a path of a site lie about some content; its address."""
    site.answers[path] = lambda request: lie(request, site, content)
    return site.address + path


def _range(request: BaseHTTPRequestHandler) -> tuple[int, int]:
    first, last = request.headers["Range"].removeprefix("bytes=").split("-")
    return int(first), int(last)


def _endless(request: BaseHTTPRequestHandler, site: Site, kind: str, part: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.end_headers()
    while not site.ended.is_set():
        request.wfile.write(part)
