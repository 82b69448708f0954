"""A recorder's pictures, one PNG per frame -> a video that padtrace reads like any other."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from extraction.logs import Log
from padtrace.dataset.recording import match_pictures, read_pictures

TICK: Final = Fraction(1, 1_000_000)  # s, the time base of the written video


def encode_recording(pictures: Path, log: Log, video: Path) -> None:
    """Write the folder ``pictures`` as a lossless video whose frames have the times of ``log``, counted from the first.

    A picture is named by the ``frame_id`` of its line, as ``12.png`` or ``frame_000012.png``; every line needs its
    picture and every picture its line, all of one size, else SourceError.
    """
    frames = match_pictures(pictures, log)
    ticks = np.round((log.time_s - log.time_s[0]) / float(TICK)).astype(np.int64)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264rgb", rate=_rate(log), options={"qp": "0", "preset": "ultrafast"})
        stream.pix_fmt = "rgb24"
        stream.time_base = stream.codec_context.time_base = TICK
        for tick, rgb in zip(ticks.tolist(), read_pictures(frames), strict=True):
            if tick == 0:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = tick, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _rate(log: Log) -> Fraction:
    """Roughly the pictures per second; the encoder wants one, the times do not follow it."""
    step_s = float(np.median(np.diff(log.time_s))) if len(log) > 1 else 1.0
    return Fraction(min(max(round(1 / step_s), 1), 1000))
