"""The one pass over a video: what its frames say by themselves and in their course, and their small pictures.

One thread decodes, the others read overlays and pack pictures, a batch of frames at a time. Sticks are found a batch
late, since the frames behind tell of them, too. What only the whole video tells is left to ``extract``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import BinaryIO, Final, Protocol, Self

import cv2
import numpy as np

from extraction.course import ANYWHERE, SIDE, find_sticks, look_back, smooth
from extraction.leak import Mask
from extraction.presence import find_visible
from extraction.records import Placement, Readings
from extraction.shards import FRAME_SIDE
from extraction.spool import black_out, encode_jpeg
from extraction.video import DecodedFrame, VideoReader
from templates.controls import BUTTONS, CONTROLS

BATCH: Final = 64  # frames that go to the parser together
WORKERS: Final = os.cpu_count() or 1  # batches that are read at once


class PlacedReader(Protocol):
    """Reads one placement's crops, in portions and from several threads."""

    @property
    def box_xywh(self) -> tuple[int, int, int, int]: ...
    def read(self, before: np.ndarray, crops: Sequence[np.ndarray]) -> Readings: ...


class Reader(Protocol):
    """What ``extraction.parse.Parser`` offers to this stage."""

    @property
    def version(self) -> str: ...
    def open(self, placement: Placement, frame_wh: tuple[int, int]) -> PlacedReader: ...


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What the pass over the video gathered on T frames.

    pts_s: (T,) float64. place: (T,) int16 index of the placement, -1 for none. logits: (T, 17) float16.
    sticks: (T, 2, 2) float32, not calibrated, NaN where unknown. certainty: (T, 2) float16, of the sticks.
    gone, residual: (T, 17) float16, as in ``Readings``.
    agreement: (T,) float32 with the rest picture.
    jpeg_bytes: (T,) int64 length of each frame in the spool, in order; all 0 without frames.
    """

    pts_s: np.ndarray
    place: np.ndarray
    logits: np.ndarray
    sticks: np.ndarray
    certainty: np.ndarray
    gone: np.ndarray
    residual: np.ndarray
    agreement: np.ndarray
    jpeg_bytes: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """What was gathered on the frames of all parts in order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def rows_by_place(self) -> list[np.ndarray]:
        """For each placement that frames show, which do: (T,) bool each."""
        return [self.place == place for place in np.unique(self.place[self.place >= 0])]

    def without_hidden(self) -> Self:
        """No placement, and no sticks, where the overlay is not to be seen in the place where it was found."""
        visible = np.zeros(len(self.place), bool)
        for rows in self.rows_by_place():
            visible[rows] = find_visible(self.agreement[rows], self.pts_s[rows])
        return replace(
            self,
            place=np.where(visible, self.place, np.int16(-1)),
            sticks=np.where(visible[:, None, None], self.sticks, np.float32(np.nan)),
        )


@dataclass(slots=True)
class _Batch:
    """Consecutive frames under one placement; -1 for none. ``before``: the crop ahead of the first, if there is one."""

    place: int
    before: np.ndarray | None = None
    pts_s: list[float] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    thumbnails: list[np.ndarray] = field(default_factory=list)


def gather(
    video: VideoReader,
    placements: Sequence[Placement],
    parser: Reader,
    masks: Sequence[Mask],
    spool: BinaryIO | None,
    on_progress: Callable[[float], None] | None,
) -> Gathered:
    """Read all frames of a video that was just opened.

    masks: what is black in the pictures of all frames. spool: where these go as JPEGs, one after the other; None where
    none are wanted. on_progress: hears the part of the video that is decoded, in [0, 1].
    """
    readers = [parser.open(place, (video.info.width, video.info.height)) for place in placements]
    shown = shown_by(placements)
    gathered: list[Gathered] = []
    pending: deque[tuple[_Batch, Future[Readings], Future[list[bytes]]]] = deque()
    told = ANYWHERE  # of the sticks, by the batches before

    def collect() -> None:
        nonlocal told
        batch, reading, packing = pending.popleft()
        after = ANYWHERE
        if pending and pending[0][0].before is not None:
            after = look_back(pending[0][1].result().places, pending[0][0].pts_s)
        if batch.before is None:
            told = ANYWHERE
        readings = reading.result()
        masses, told = smooth(readings.places, batch.pts_s, told, after)
        jpegs = packing.result()
        if spool is not None:
            spool.writelines(jpegs)
        lengths = np.array([len(jpeg) for jpeg in jpegs] or [0] * len(batch.pts_s), np.int64)
        sticks = find_sticks(masses, readings.fits)
        gathered.append(_decide(batch, readings, sticks, shown[batch.place], lengths))

    with ThreadPoolExecutor(WORKERS) as pool:
        for batch in _batches(video, placements, readers, spool is not None, on_progress):
            reading = pool.submit(_read_batch, readers, batch)
            pending.append((batch, reading, pool.submit(_pack_batch, batch, masks)))
            if len(pending) > WORKERS + 1:  # the sticks of one batch wait for the next
                collect()
        while pending:
            collect()
    return Gathered.join(gathered)


def shown_by(placements: Sequence[Placement]) -> np.ndarray:
    """Which controls each placement shows: (N + 1, 19) bool; the last row is "no placement"."""
    shown = np.zeros((len(placements) + 1, len(CONTROLS)), bool)
    for i, place in enumerate(placements):
        shown[i] = np.isin(CONTROLS, place.template.scene.known)
    return shown


def _batches(
    video: VideoReader,
    placements: Sequence[Placement],
    readers: Sequence[PlacedReader],
    pictures: bool,
    on_progress: Callable[[float], None] | None,
) -> Iterator[_Batch]:
    """Frames in order, ``BATCH`` at a time; a batch ends where the placement changes."""
    batch = _Batch(-1)
    for frame in video.frames():
        place = _place_of(frame, video, placements)
        if batch.pts_s and (place != batch.place or len(batch.pts_s) == BATCH):
            yield batch
            if on_progress is not None and video.info.duration_s:
                done = (frame.pts_s - video.info.start_s) / video.info.duration_s
                on_progress(min(max(done, 0.0), 1.0))
            batch = _Batch(place, batch.crops[-1] if batch.crops and place == batch.place else None)
        batch.place = place
        batch.pts_s.append(frame.pts_s)
        if place >= 0:
            batch.crops.append(frame.crop(*readers[place].box_xywh))
        if pictures:
            batch.thumbnails.append(frame.thumbnail(FRAME_SIDE))
    if batch.pts_s:
        yield batch


def _place_of(frame: DecodedFrame, video: VideoReader, placements: Sequence[Placement]) -> int:
    """Index of the placement that covers a frame; -1 for none, or where the picture changed its size."""
    if frame.size_wh == (video.info.width, video.info.height):
        for i, place in enumerate(placements):
            if place.start_s <= frame.pts_s < place.end_s:
                return i
    return -1


def _read_batch(readers: Sequence[PlacedReader], batch: _Batch) -> Readings:
    if batch.place < 0:
        length = len(batch.pts_s)
        return Readings(
            np.zeros((length, len(BUTTONS)), np.float32),
            np.zeros((length, 2, SIDE, SIDE), np.float32),
            np.full((length, 2, SIDE, SIDE), np.nan, np.float32),
            np.full((length, len(BUTTONS)), np.nan, np.float32),
            np.zeros((length, len(BUTTONS)), np.float32),
            np.zeros(length, np.float32),
        )
    before = batch.crops[0] if batch.before is None else batch.before
    return readers[batch.place].read(before, batch.crops)


def _pack_batch(batch: _Batch, masks: Sequence[Mask]) -> list[bytes]:
    """Black out every placement's box, whenever it holds (a span's ends are not exact), and pack as JPEG."""
    return [encode_jpeg(cv2.cvtColor(black_out(each, masks), cv2.COLOR_RGB2BGR)) for each in batch.thumbnails]


def _decide(
    batch: _Batch,
    readings: Readings,
    sticks: tuple[np.ndarray, np.ndarray],
    shown: np.ndarray,
    jpeg_bytes: np.ndarray,
) -> Gathered:
    """Labels of one batch, as far as they do not need the whole video.

    sticks: their places and certainty, of ``find_sticks``. shown: (19,) bool.
    """
    place, certainty = sticks
    known = np.broadcast_to(shown, (len(batch.pts_s), len(shown)))
    known_sticks = known[:, len(BUTTONS) :]
    return Gathered(
        pts_s=np.array(batch.pts_s),
        place=np.full(len(batch.pts_s), batch.place, np.int16),
        logits=readings.logits.astype(np.float16),
        sticks=np.where(known_sticks[:, :, None], place, np.float32(np.nan)),
        certainty=certainty.astype(np.float16),
        gone=readings.gone.astype(np.float16),
        residual=readings.residual.astype(np.float16),
        agreement=readings.agreement,
        jpeg_bytes=jpeg_bytes,
    )
