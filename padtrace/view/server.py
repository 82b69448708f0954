"""The page and what it asks for. It listens on this machine alone, and reads only what belongs to the dataset.

A path is made of nothing in a request but a video id that has been checked. A foreign site that a browser
has open cannot ask: its Host header is refused, its reads are not readable to it, and what writes (PUT, DELETE) is
no simple request, which a browser would announce first and find refused.
"""

from __future__ import annotations

import base64
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import pyarrow.parquet as pq
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from extraction.layout import choose_layout
from extraction.logs import Log
from extraction.records import SourceError
from padtrace.dataset.marks import Span, load_marks, save_marks
from padtrace.reports import Placed, Report, find_reports, open_actions, read_report, read_rows, report_path
from padtrace.view.pictures import KeptFrames, OverlayCrops, find_source
from padtrace.view.timeline import find_doubts, read_labels, summarise
from templates.catalogue import Template
from templates.controls import BUTTONS, CONTROLS
from templates.draw import rasterise
from templates.sprites import Sprite, cut_sprites

HOST: Final = "127.0.0.1"
PAGE: Final = Path(__file__).with_name("page")
PAD_WIDTH: Final = 480  # px
MOST_LABELS, MOST_PICTURES = 2048, 128  # frames of one answer
OPEN_VIDEOS: Final = 4
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


Start = Annotated[int, Query(description="The first frame.")]
Stop = Annotated[int, Query(description="The frame after the last.")]


class Note(BaseModel):
    """What a person says about a span."""

    note: str = Field("", max_length=2000)


@dataclass(eq=False)
class OpenVideo:
    """One video that a page looks at. What is read from disk is read when it is asked for.

    Whoever reads holds a lock: ``crops_lock`` for ``crops``, ``log_lock`` for ``log``, which take their time, and
    ``lock`` for all else, so that the next picture does not wait for them.
    """

    folder: Path
    report: Report
    lock: threading.Lock = field(default_factory=threading.Lock)
    crops_lock: threading.Lock = field(default_factory=threading.Lock)
    log_lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def actions(self) -> pq.ParquetFile:
        return open_actions(self.folder, self.report)

    @cached_property
    def log(self) -> Log:
        """All labels of the video."""
        return Log.of_table(open_actions(self.folder, self.report).read())

    @cached_property
    def kept(self) -> KeptFrames:
        return KeptFrames(self.folder, self.report)

    @cached_property
    def source(self) -> Path | None:
        return find_source(self.folder, self.report)

    @cached_property
    def crops(self) -> OverlayCrops:
        assert self.source is not None
        return OverlayCrops(self.source, self.report.placements)


def serve(folder: Path, templates: Mapping[str, Template], port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the page for the dataset in ``folder`` until interrupted. ``on_ready`` hears its address.

    SourceError where there is no dataset or the port is taken. Port 0 is any free one.
    """
    app = make_app(folder, templates)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise SourceError(f"expected port {port} to be free, found it taken; choose another with --port") from error
        listener.listen()
        on_ready(f"http://{HOST}:{listener.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):  # the way to end it
            uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listener])


def make_app(folder: Path, templates: Mapping[str, Template]) -> FastAPI:
    """The page for one dataset; SourceError where there is none in ``folder``."""
    find_reports(folder)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_harden)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    app.exception_handler(SourceError)(_tell)
    app.include_router(_make_api(folder, templates), prefix="/api/videos")
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


async def _harden(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    return response


async def _tell(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=409)


def _make_api(folder: Path, templates: Mapping[str, Template]) -> APIRouter:
    api = APIRouter()
    writing = threading.Lock()

    @lru_cache(OPEN_VIDEOS)
    def open_version(path: Path, written_ns: int) -> OpenVideo:
        return OpenVideo(folder, read_report(path))

    def find(video_id: str) -> OpenVideo:
        """A video; an answer of 404 where there is none."""
        try:
            path = report_path(folder, video_id)
            return open_version(path, path.stat().st_mtime_ns)
        except (ValueError, FileNotFoundError) as error:
            raise HTTPException(404, "no such video in this dataset") from error

    @contextmanager
    def opened(video_id: str) -> Iterator[OpenVideo]:
        """A video, locked."""
        video = find(video_id)
        with video.lock:
            yield video

    @api.get("")
    def list_videos() -> list[dict[str, Any]]:
        return [_list(path) for path in find_reports(folder)]

    @api.get("/{video_id}")
    def describe(video_id: str) -> dict[str, Any]:
        with opened(video_id) as video:
            return _describe(video)

    @api.get("/{video_id}/pad/{place}")
    def pad(video_id: str, place: int) -> dict[str, Any]:
        with opened(video_id) as video:
            if not 0 <= place < len(video.report.placements):
                raise HTTPException(404, "no such placement")
            placed = video.report.placements[place]
        return make_pad(_drawing_of(placed, templates))

    @api.get("/{video_id}/labels")
    def labels(video_id: str, start: Start, stop: Stop) -> dict[str, Any]:
        with opened(video_id) as video:
            return read_labels(video.actions, *_span(video, start, stop, MOST_LABELS))

    @api.get("/{video_id}/frames")
    def frames(video_id: str, start: Start, stop: Stop) -> Response:
        with opened(video_id) as video:
            return _pack(video.kept.read(*_span(video, start, stop, MOST_PICTURES)))

    @api.get("/{video_id}/overlays")
    def overlays(video_id: str, start: Start, stop: Stop) -> Response:
        with opened(video_id) as video:
            if video.source is None:
                raise HTTPException(404, "the source video is not at hand")
            times = read_rows(video.actions, *_span(video, start, stop, MOST_PICTURES), ["timestamp"])
        with video.crops_lock:
            return _pack(video.crops.read(times["timestamp"].to_pylist()))

    @api.get("/{video_id}/spans")
    def spans(video_id: str) -> dict[str, Any]:
        with opened(video_id) as video:
            return {"chunks": _describe_chunks(video.report), "marks": _marks(folder, video_id)}

    @api.get("/{video_id}/overview")
    def overview(video_id: str) -> dict[str, Any]:
        video = find(video_id)
        with video.log_lock:
            return summarise(video.log)

    @api.get("/{video_id}/doubts")
    def doubts(video_id: str, below: Annotated[float, Query(ge=0, le=1)]) -> list[dict[str, Any]]:
        video = find(video_id)
        with video.log_lock:
            return find_doubts(video.log, below)

    @api.put("/{video_id}/marks/{start}-{stop}")
    def mark(video_id: str, start: int, stop: int, note: Note) -> list[dict[str, Any]]:
        with opened(video_id) as video, writing:
            first, end = _span(video, start, stop, video.report.frames)
            others = [
                span for span in load_marks(folder, video_id) if (span.start_frame, span.end_frame) != (first, end)
            ]
            save_marks(folder, video_id, [*others, Span(start_frame=first, end_frame=end, note=note.note)])
            return _marks(folder, video_id)

    @api.delete("/{video_id}/marks/{start}-{stop}")
    def unmark(video_id: str, start: int, stop: int) -> list[dict[str, Any]]:
        with opened(video_id), writing:
            spans = load_marks(folder, video_id)
            save_marks(
                folder, video_id, [span for span in spans if (span.start_frame, span.end_frame) != (start, stop)]
            )
            return _marks(folder, video_id)

    return api


def make_pad(template: Template) -> dict[str, Any]:
    """A pad as JSON: size in pixels, and its sprites from below to above, pictures as PNG data addresses.

    ``pictures`` holds each picture once; ``choice`` says which one to show, as ``Sprite.pictures`` is numbered.
    """
    raster = rasterise(template, PAD_WIDTH)
    width, height = raster.size_wh
    return {"width": width, "height": height, "sprites": [_sprite_as_json(each) for each in cut_sprites(raster)]}


def _sprite_as_json(sprite: Sprite) -> dict[str, Any]:
    addresses = [_png_address(picture) for picture in sprite.pictures]
    pictures = list(dict.fromkeys(addresses))
    return {
        "x": sprite.x,
        "y": sprite.y,
        "controls": sprite.controls,
        "pictures": pictures,
        "choice": [pictures.index(address) for address in addresses],
        "stick": sprite.stick,
        "reach": sprite.reach,
        "squeeze": sprite.squeeze,
    }


def _png_address(rgba: np.ndarray) -> str:
    ok, data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    assert ok, "a uint8 picture always encodes"
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def _drawing_of(placed: Placed, templates: Mapping[str, Template]) -> Template:
    """The template that was read, or another of its family: a layout that was fitted by hand draws nothing itself."""
    if placed.template in templates:
        return templates[placed.template]
    if any(template.family == placed.family for template in templates.values()):
        return choose_layout(templates.values(), placed.family, placed.box[2:])
    raise SourceError(
        f"expected the template {placed.template} or another of its family, {placed.family}, found none; "
        "name the folder of imported templates with --templates"
    )


def _list(path: Path) -> dict[str, Any]:
    """One line of the list of videos. A video whose report is broken is listed with what is wrong."""
    try:
        report = read_report(path)
    except SourceError as error:
        return {"id": path.parent.name, "title": path.parent.name, "problem": str(error)}
    return {
        "id": report.video_id,
        "title": report.origin.title or report.video_id,
        "family": report.placements[0].family if report.placements else None,
        "seconds": report.video.duration,
        "chunks": len(report.chunks),
        "kept": sum(chunk.kept for chunk in report.chunks),
    }


def _describe(video: OpenVideo) -> dict[str, Any]:
    """What the page needs before its first picture; no longer for a longer video."""
    report = video.report
    kept = (rows.start for rows, chunk in zip(report.spans, report.chunks, strict=True) if chunk.kept)
    return {
        "id": report.video_id,
        "source": report.source,
        "game": report.origin.game,
        "title": report.origin.title or report.video_id,
        "frames": report.frames,
        "fps": report.video.fps or 60.0,
        "first": next(kept, 0),
        "reason": report.reason,
        "shown": report.shown,
        "placements": [
            placed.model_dump(include={"template", "family", "start", "end"}) for placed in report.placements
        ],
        "has_source": bool(report.placements) and video.source is not None,
        "buttons": BUTTONS,
        "controls": CONTROLS,
    }


def _describe_chunks(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "start_frame": rows.start,
            "end_frame": rows.stop,
            "start_s": chunk.start,
            "kept": chunk.kept,
            "reason": chunk.reason,
            "detail": chunk.detail,
            "active": round(chunk.active_frames / chunk.frames, 3) if chunk.frames else 0.0,
        }
        for chunk, rows in zip(report.chunks, report.spans, strict=True)
    ]


def _marks(folder: Path, video_id: str) -> list[dict[str, Any]]:
    return [span.model_dump() for span in load_marks(folder, video_id)]


def _span(video: OpenVideo, start: int, stop: int, most: int) -> tuple[int, int]:
    """A span of frames of a video, not empty and not too long; else an answer of 422."""
    if not 0 <= start < stop <= video.report.frames or stop - start > most:
        raise HTTPException(422, f"expected 1 to {most} frames among {video.report.frames}, found {start} to {stop}")
    return start, stop


def _pack(pictures: Sequence[bytes]) -> Response:
    """Pictures in one answer: the length of each as uint32, little-endian, then all of them."""
    lengths = struct.pack(f"<{len(pictures)}I", *map(len, pictures))
    return Response(b"".join((lengths, *pictures)), media_type="application/octet-stream")
