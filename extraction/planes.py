"""Coded frames, cut or made smaller before they are turned into RGB: that is what costs.

Upright is the business of ``video``; here a frame lies as it is coded.
"""

from __future__ import annotations

from typing import Final

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

# Planes of 8 bits, colour at half size both ways: what a crop can be cut from before it is converted.
PLANAR_420: Final = ("yuv420p", "yuvj420p")


def rgb_of(converter: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    """A frame as it is coded: (H, W, 3) uint8."""
    return converter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def resize(converter: VideoReformatter, frame: av.VideoFrame, side: int, pix_fmt: str) -> av.VideoFrame:
    """A frame area-averaged to a square."""
    return converter.reformat(frame, side, side, pix_fmt, interpolation=Interpolation.AREA, threads=1)


def halved(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame with planes at 4:2:0 and sides that 4 divides, each 2 x 2 pixels averaged."""
    half = av.VideoFrame(frame.width // 2, frame.height // 2, frame.format.name)
    for source, target in zip(_planes(frame), _planes(half), strict=True):
        cv2.resize(source, target.shape[::-1], dst=target, interpolation=cv2.INTER_AREA)
    half.colorspace, half.color_range = frame.colorspace, frame.color_range
    return half


def _planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """The planes of a frame, without what its rows are padded with; to read and to write."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def cut_planes(frame: av.VideoFrame, x0: int, y0: int, x1: int, y1: int) -> av.VideoFrame:
    """The box [x0, x1) x [y0, y1), even corners, of a frame with planes at 4:2:0.

    At the far edge of a frame with odd sides, the last row and column are repeated.
    """
    luma, *chroma = _planes(frame)
    w, h = x1 - x0, y1 - y0
    planes = [luma[y0:y1, x0:x1]]
    planes += [plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] for plane in chroma]
    shapes = [(h, w), (h // 2, w // 2), (h // 2, w // 2)]
    packed = np.concatenate([_padded(*pair).ravel() for pair in zip(planes, shapes, strict=True)])
    cut = av.VideoFrame.from_ndarray(packed.reshape(h * 3 // 2, w), format=frame.format.name)
    cut.colorspace, cut.color_range = frame.colorspace, frame.color_range
    return cut


def _padded(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if plane.shape == shape:
        return plane
    return np.pad(plane, [(0, want - have) for want, have in zip(shape, plane.shape, strict=True)], "edge")
