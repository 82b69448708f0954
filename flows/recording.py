"""A recorder's pictures, one PNG per frame -> a video that padtrace reads like any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np

from extraction.logs import Log
from extraction.records import SourceError

TICK: Final = Fraction(1, 1_000_000)  # s, the time base of the written video


def encode_recording(pictures: Path, log: Log, video: Path) -> None:
    """Write the folder ``pictures`` as a lossless video whose frames have the times of ``log``, counted from the first.

    A picture is named by the ``frame_id`` of its line, as ``12.png`` or ``frame_000012.png``; every line needs its
    picture and every picture its line, all of one size, else SourceError.
    """
    frames = _match_pictures(pictures, log)
    ticks = np.round((log.time_s - log.time_s[0]) / float(TICK)).astype(np.int64)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264rgb", rate=_rate(log), options={"qp": "0", "preset": "ultrafast"})
        stream.pix_fmt = "rgb24"
        stream.time_base = stream.codec_context.time_base = TICK
        for tick, rgb in zip(ticks.tolist(), _read_pictures(frames), strict=True):
            if tick == 0:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _match_pictures(pictures: Path, log: Log) -> list[Path]:
    """The pictures in the order of the log's lines."""
    named = {int(digits[1]): path for path in pictures.glob("*.png") if (digits := re.search(r"(\d+)$", path.stem))}
    wanted = log.frame_index.tolist()
    if missing := [frame for frame in wanted if frame not in named]:
        raise SourceError(
            f"expected a picture for each line of the log in {pictures}, found none for frame_id {missing[0]} "
            f"({len(missing)} in all); add them or delete their lines"
        )
    if surplus := sorted(set(named) - set(wanted)):
        raise SourceError(
            f"expected a line of the log for each picture in {pictures}, found none for {named[surplus[0]].name} "
            f"({len(surplus)} in all); delete those pictures"
        )
    return [named[frame] for frame in wanted]


def _read_pictures(paths: list[Path]) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB, all of the size of the first."""
    size: tuple[int, ...] | None = None
    for path in paths:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise SourceError(f"expected a PNG picture at {path}, found data that does not decode; record it again")
        if size is not None and bgr.shape != size:
            raise SourceError(
                f"expected every picture as large as the first ({size[1]}x{size[0]}), "
                f"found {bgr.shape[1]}x{bgr.shape[0]} at {path}; record them at one size"
            )
        size = bgr.shape
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _rate(log: Log) -> Fraction:
    """Roughly the pictures per second; the encoder wants one, the times do not follow it."""
    step_s = float(np.median(np.diff(log.time_s))) if len(log) > 1 else 1.0
    return Fraction(min(max(round(1 / step_s), 1), 1000))
