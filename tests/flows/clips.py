"""Tiny clips: cut from the sample by its packets, so that each shows the overlay, or drawn without one."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

SAMPLE = Path(__file__).resolve().parents[2] / "sample" / "video.mp4"


def cut_sample(target: Path, seconds: float, note: str = "") -> bytes:
    """The first seconds of the sample, with its overlay; another ``note`` makes another content."""
    with av.open(str(SAMPLE)) as source, av.open(str(target), "w", options={"movflags": "+faststart"}) as output:
        output.metadata["comment"] = note
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None and float(packet.pts * packet.time_base) < seconds:
                packet.stream = stream
                output.mux(packet)
    return target.read_bytes()


def draw_plain(target: Path, seed: int) -> bytes:
    """Two seconds of moving blocks, without an overlay."""
    rng = np.random.default_rng(seed)
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for _ in range(60):
            blocks = rng.integers(0, 255, (18, 32, 3)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(blocks, format="rgb24")))
        container.mux(stream.encode())
    return target.read_bytes()
