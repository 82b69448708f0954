"""The small frames of one video on their way to the disk: blacked out, packed, and looked at once more.

They wait in a spool file until the whole video is calibrated, since only then is it known which are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import BinaryIO, Final

import cv2
import numpy as np
import pyarrow as pa

from extraction.leak import (
    MIN_PAIRS,
    Mask,
    choose_pairs,
    find_leak,
    find_strength,
    label_changes,
    picture_changes,
    widen_masks,
)
from extraction.shards import FRAME_SIDE, Labels, join_blobs

log = logging.getLogger(__name__)

JPEG_QUALITY: Final = 90
# Around the overlay's box: skins bleed, and a placement is some pixels off.
MASK_MARGIN: Final = 0.04
MASK_MARGIN_PX: Final = 4


def mask_box(box_xywh: tuple[int, int, int, int], frame_wh: tuple[int, int]) -> Mask:
    """Rows and columns of the small frame that an overlay may touch: its box and a margin, rounded out."""
    spans = []
    for start, length, frame in zip(box_xywh[:2], box_xywh[2:], frame_wh, strict=True):
        margin = MASK_MARGIN * length + MASK_MARGIN_PX
        low, high = (FRAME_SIDE * (end / frame) for end in (start - margin, start + length + margin))
        spans.append(slice(max(0, int(np.floor(low))), max(0, int(np.ceil(high)))))
    columns, rows = spans
    return rows, columns


def black_out(picture: np.ndarray, masks: Sequence[Mask]) -> np.ndarray:
    """The picture itself, changed in place."""
    for mask in masks:
        picture[mask] = 0
    return picture


def encode_jpeg(bgr: np.ndarray) -> bytes:
    """(H, W, 3) uint8, blue first, as a JPEG."""
    ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert ok, "a uint8 picture always encodes"
    return bytes(data.tobytes())


class SpooledFrames:
    """The small frames of a video, as JPEGs in a spool, each blacked out by the masks that held when it was packed."""

    def __init__(self, spool: BinaryIO, jpeg_bytes: np.ndarray, masks: list[Mask]) -> None:
        self.masks = masks
        self._spool = spool
        self._bytes = jpeg_bytes
        self._starts = np.concatenate([[0], jpeg_bytes.cumsum()])
        self._widened = False

    def close_leak(self, labels: Labels) -> bool:
        """Widen the masks over pixels that tell the labels; False where they lie too far off."""
        pairs = choose_pairs(labels.buttons, labels.sticks)
        if len(pairs) < MIN_PAIRS:
            return True
        pixels = np.empty((len(pairs), FRAME_SIDE, FRAME_SIDE), np.int8)
        for moved, row in zip(pixels, pairs.tolist(), strict=True):
            moved[:] = picture_changes(self._grey(row - 1), self._grey(row))
        strength = find_strength(pixels, label_changes(labels.buttons, labels.sticks)[pairs - 1])
        leak = find_leak(strength, self.masks)
        if not leak.any():
            return True
        wider = widen_masks(self.masks, leak)
        if wider is None:
            return False
        log.info("%d pixels beside the overlay told the labels; masks widened to %s", leak.sum(), wider)
        self.masks, self._widened = wider, True
        return True

    def load(self, rows: slice) -> pa.Array:
        """Consecutive frames as JPEGs."""
        if self._widened:
            jpegs = [
                encode_jpeg(black_out(self._decode(row, cv2.IMREAD_COLOR), self.masks))
                for row in range(rows.start, rows.stop)
            ]
            return join_blobs(b"".join(jpegs), np.array([len(jpeg) for jpeg in jpegs], np.int64))
        self._spool.seek(int(self._starts[rows.start]))
        return join_blobs(self._spool.read(int(self._bytes[rows].sum())), self._bytes[rows])

    def _grey(self, row: int) -> np.ndarray:
        return self._decode(row, cv2.IMREAD_GRAYSCALE)

    def _decode(self, row: int, how: int) -> np.ndarray:
        self._spool.seek(int(self._starts[row]))
        return np.asarray(cv2.imdecode(np.frombuffer(self._spool.read(int(self._bytes[row])), np.uint8), how))
