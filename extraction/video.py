"""Video file -> frames with their own presentation times. The only place that decodes.

A frame's time is its own (``pts`` x time base): neither a constant rate nor the declared frame count is
trusted. Frames come upright, the display rotation of phone videos is applied. Turning a whole frame into
RGB costs more than half of what decoding does, so a ``DecodedFrame`` converts only what is asked of it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from extraction.planes import PLANAR_420, cut_planes, halved, resize, rgb_of
from extraction.records import SourceError

LOOK_MARGIN: Final = 0.12  # of a box, around it
TIMES_FALLBACK: Final = "remux it, for example into an mp4"
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video says about itself; its frames are the truth.

    width, height: pixels of the upright frame. fps, duration_s, frames: as declared, None where nothing is.
    start_s: time of the first frame in seconds; seldom exactly 0.
    rotation: degrees counterclockwise that were applied to make it upright; 0, 90, 180 or 270.
    """

    width: int
    height: int
    fps: float | None
    start_s: float
    duration_s: float | None
    frames: int | None
    rotation: int
    codec: str


@dataclass(frozen=True, slots=True)
class _Converters:
    """Scalers, one per use: each keeps its tables from frame to frame. Not safe to share between threads."""

    full: VideoReformatter = field(default_factory=VideoReformatter)
    crop: VideoReformatter = field(default_factory=VideoReformatter)
    shrink: VideoReformatter = field(default_factory=VideoReformatter)
    thumbnail: VideoReformatter = field(default_factory=VideoReformatter)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """One decoded frame, converted on request, on the thread that decodes.

    index: 0-based, in decode order. pts_s: the frame's own presentation time in seconds.
    """

    index: int
    pts_s: float
    _frame: av.VideoFrame
    _quarters: int
    _converters: _Converters

    @property
    def size_wh(self) -> tuple[int, int]:
        """Upright width and height in pixels."""
        wide, high = self._frame.width, self._frame.height
        return (high, wide) if self._quarters % 2 else (wide, high)

    @property
    def is_key(self) -> bool:
        """Whether it was decoded without any other frame."""
        return bool(self._frame.key_frame)

    def rgb(self) -> np.ndarray:
        """The whole upright frame: (H, W, 3) uint8."""
        return self._upright(rgb_of(self._converters.full, self._frame))

    def crop(self, x: int, y: int, w: int, h: int) -> np.ndarray:
        """The box of the upright frame, which must lie inside it: (h, w, 3) uint8.

        Equal to that part of ``rgb()`` where the box is even; odd sides round colour to the next pixel.
        """
        width, height = self.size_wh
        if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
            raise ValueError(f"expected a box inside {width}x{height}, found {(x, y, w, h)}")
        if self._frame.format.name not in PLANAR_420:
            return np.ascontiguousarray(self.rgb()[y : y + h, x : x + w])
        cx, cy, cw, ch = self._coded_box(x, y, w, h)
        # Grow to even sides: a colour sample belongs to 2 x 2 pixels.
        x0, y0 = cx & ~1, cy & ~1
        x1, y1 = cx + cw + (cx + cw) % 2, cy + ch + (cy + ch) % 2
        cut = rgb_of(self._converters.crop, cut_planes(self._frame, x0, y0, x1, y1))
        return self._upright(cut[cy - y0 : cy - y0 + ch, cx - x0 : cx - x0 + cw])

    def crop_around(self, box_xywh: Sequence[int]) -> np.ndarray:
        """A box and a margin around it for a person to look at, as far as the frame goes: (h, w, 3) uint8."""
        sides = []
        for start, length, frame in zip(box_xywh[:2], box_xywh[2:], self.size_wh, strict=True):
            margin = round(LOOK_MARGIN * length)
            low, high = max(start - margin, 0), min(start + length + margin, frame)
            sides.append((low, high - low))
        (x, width), (y, height) = sides
        return self.crop(x, y, width, height)

    def thumbnail(self, side: int) -> np.ndarray:
        """The whole upright frame, squeezed to (side, side, 3) uint8, area-averaged."""
        small = self._frame
        if small.format.name in PLANAR_420:  # to scale before conversion is a third cheaper, to halve first another
            while min(small.width, small.height) >= 2 * side and not (small.width % 4 or small.height % 4):
                small = halved(small)
            small = resize(self._converters.shrink, small, side, small.format.name)
        return self._upright(resize(self._converters.thumbnail, small, side, "rgb24").to_ndarray())

    def _upright(self, coded: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(coded, self._quarters))

    def _coded_box(self, x: int, y: int, w: int, h: int) -> tuple[int, int, int, int]:
        """A box of the upright frame in the frame as it is coded."""
        wide, high = self._frame.width, self._frame.height
        match self._quarters:
            case 0:
                return (x, y, w, h)
            case 1:
                return (wide - y - h, x, h, w)
            case 2:
                return (wide - x - w, high - y - h, w, h)
            case _:
                return (y, high - x - w, h, w)


class VideoReader:
    """One pass over one video, in order. A context manager; opening it decodes the first frame.

    After ``frames()`` is exhausted, ``decoded``, ``untimed`` (frames left out because they have no
    presentation time), ``damaged`` (packets that did not decode) and ``cut_short`` tell how it went.
    Raises SourceError where there is nothing to decode.
    """

    def __init__(self, path: Path, sparse: bool = False) -> None:
        """``sparse``: for a few frames here and there; frames that no other refers to are skipped."""
        self.path = path
        self._container = _open(path)
        try:
            self._stream = first_video_stream(self._container, path)
            self._stream.thread_type = "AUTO"
            self._stream.codec_context.thread_count = os.cpu_count() or 1  # FFmpeg's own choice, one more, is slower
            if sparse:
                self._stream.codec_context.skip_frame = "NONREF"
                self._stream.thread_type = "SLICE"  # threads by frame run ahead, which the next seek throws away
            self._converters = _Converters()
            self.decoded = self.untimed = self.damaged = 0
            self._stopped = False
            self._last_s = -math.inf
            decoder = self._decode()
            first = next(decoder, None)
            if first is None:
                raise SourceError(self._why_nothing())
            self._frames: Iterator[DecodedFrame] = chain([first], decoder)
            self.info = self._describe(first)
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def cut_short(self) -> bool:
        """Whether decoding ended before the declared end.

        That is: the file broke off, or its last frame came a second and 5% too early while fewer than 99%
        of its declared frames came. One sign alone misleads: a last frame may be held for long, and some
        containers count empty frames.
        """
        if self._stopped:
            return True
        complete = self.info.frames is not None and self.decoded + self.untimed >= 0.99 * self.info.frames
        early = self._last_s - self.info.start_s < 0.95 * (self.info.duration_s or 0.0) - 1.0
        return early and not complete

    def frames(self) -> Iterator[DecodedFrame]:
        """The frames in decode order, once."""
        return self._frames

    def skip_towards(self, pts_s: float, from_s: float) -> None:
        """Go on from the last keyframe before a time, if that is ahead of ``from_s``, where one stands.

        FFmpegError where the container cannot be sought.
        """
        time_base = self._stream.time_base
        assert time_base is not None
        target = int(pts_s / time_base)
        index = self._stream.index_entries
        entry = index.search_timestamp(target)
        if entry < 0 or index[entry].timestamp * time_base > from_s:
            self._container.seek(target, stream=self._stream)
            self._frames = self._decode()

    def _decode(self) -> Iterator[DecodedFrame]:
        """Frames that have a time. What does not decode is counted and left out."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFmpegError:
                self._stopped = True
                return
            try:
                frames = packet.decode()
            except FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                if not isinstance(frame, av.VideoFrame):
                    continue
                if frame.pts is None or frame.time_base is None:
                    self.untimed += 1
                    continue
                quarters = round(frame.rotation / 90) % 4
                pts_s = float(frame.pts * frame.time_base)
                self._last_s = pts_s
                yield DecodedFrame(self.decoded, pts_s, frame, quarters, self._converters)
                self.decoded += 1

    def _describe(self, first: DecodedFrame) -> VideoInfo:
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        width, height = first.size_wh
        return VideoInfo(
            width=width,
            height=height,
            fps=float(rate) if rate else None,
            start_s=first.pts_s,
            duration_s=duration_of(self._container, stream),
            frames=stream.frames or None,
            rotation=first._quarters * 90,
            codec=stream.codec_context.name,
        )

    def _why_nothing(self) -> str:
        if self.untimed:
            return f"expected frames with presentation times in {self.path}, found none; {TIMES_FALLBACK}"
        return f"expected a video in {self.path}, found no frame that decodes; download or export it again"


def probe(path: Path) -> VideoInfo:
    """What a video says about itself; SourceError where nothing decodes."""
    with VideoReader(path) as video:
        return video.info


def read_frames(path: Path) -> Iterator[DecodedFrame]:
    """Every frame that decodes, in decode order; SourceError where there is none."""
    with VideoReader(path) as video:
        yield from video.frames()


def sample_frames(path: Path, count: int = 25) -> list[tuple[float, np.ndarray]]:
    """At most ``count`` distinct frames spread over the video: (pts_s, (H, W, 3) uint8 rgb), by time.

    A long video is sampled by seeking; a short one, or one that cannot be sought, is decoded through.
    """
    with VideoReader(path) as video:
        info = video.info
        if info.duration_s is not None and info.duration_s * (info.fps or 0) > 8 * count:
            times = info.start_s + info.duration_s * (np.arange(count) + 0.5) / count
            samples = _sample_by_seeking(path, times.tolist())
            if 2 * len(samples) >= count:
                return samples  # fewer: the container cannot be sought, or its end is missing
        return thin_out(video.frames(), count, lambda frame: (frame.pts_s, frame.rgb()))


def read_frame_at(path: Path, time_s: float) -> tuple[float, np.ndarray] | None:
    """The first frame at or after a time, else the last: (pts_s, (H, W, 3) uint8 rgb). None where it cannot be sought.

    -inf and inf ask for the first and the last frame. Frames that no other frame refers to may be passed over.
    """
    with VideoReader(path, sparse=True) as video:
        if time_s > video.info.start_s:
            end_s = None if video.info.duration_s is None else video.info.start_s + video.info.duration_s
            target_s = end_s if math.isinf(time_s) else time_s
            if target_s is None:
                return None
            try:
                video.skip_towards(target_s, -math.inf)
            except FFmpegError:
                return None
        last = None
        for frame in video.frames():
            last = frame
            if frame.pts_s >= time_s:
                break
        return None if last is None else (last.pts_s, last.rgb())


def _sample_by_seeking(path: Path, times: Sequence[float]) -> list[tuple[float, np.ndarray]]:
    """For each of increasing times a frame near it: the keyframe before, where it is a new one, else one that comes
    a step after the last.

    So a long video costs one decoded frame a sample, and one with few keyframes is still sampled all over.
    """
    samples: list[tuple[float, np.ndarray]] = []
    position_s = -math.inf
    step_s = (times[-1] - times[0]) / max(1, len(times) - 1)
    with VideoReader(path, sparse=True) as video:
        for target_s in times:
            try:
                video.skip_towards(target_s, position_s)
            except FFmpegError:
                return samples
            for frame in video.frames():
                if frame.pts_s > position_s and (frame.is_key or frame.pts_s >= min(target_s, position_s + step_s)):
                    samples.append((frame.pts_s, frame.rgb()))
                    position_s = frame.pts_s
                    break
    return samples


def thin_out(items: Iterable[T], count: int, take: Callable[[T], S]) -> list[S]:
    """At most ``count`` items spread evenly over all that come, each as ``take`` makes it.

    Every n-th is kept; n doubles whenever twice as many as wanted are, so memory stays bounded.
    """
    kept: list[S] = []
    every = 1
    for position, item in enumerate(items):
        if position % every == 0:
            kept.append(take(item))
            if len(kept) > 2 * count:
                kept, every = kept[::2], every * 2
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int))
    return [kept[i] for i in chosen]


def duration_of(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Declared seconds."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    return None


def require_file(path: Path) -> None:
    """SourceError where there is no regular file; a pipe would block whoever opens it."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise SourceError(f"expected a video file at {path}, found {found}; check the path")


def _open(path: Path) -> av.container.InputContainer:
    require_file(path)
    try:
        # Local files only: a playlist in a video's clothes must not reach the network.
        return av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"})
    except (FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        raise SourceError(
            f"expected a video in {path}, found data that cannot be opened ({reason}); download or export it again"
        ) from error


def first_video_stream(container: av.container.InputContainer, path: Path | str) -> av.VideoStream:
    """The first moving picture; the cover of an audio file is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    found = "only sound" if container.streams.audio else "no video stream"
    raise SourceError(f"expected a video in {path}, found {found}; name a file with pictures")
