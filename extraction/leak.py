"""Do pixels outside the mask still tell the labels? Then the mask becomes wider, or the video is dropped.

What an overlay leaves outside its box (a glow, a shadow, what the codec smeared) changes in the very frame in which
the label changes, close to the mask and not farther away. What the game does in answer spreads over the picture. So
the check correlates changes of pixels with changes of labels, and looks for pixels beside the mask that follow them
much more closely than those farther out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

Mask = tuple[slice, slice]  # rows, columns

PAIRS: Final = 800  # pairs of consecutive frames that are compared
MIN_PAIRS: Final = 64  # of fewer nothing can be said
NEAR_PX: Final = 16  # beside a mask, in the small frame
FAR_PX: Final = 40
WIDEN_PX: Final = 10  # farther than this a mask is not widened
LIMIT: Final = 8.0  # of correlation times the root of the pairs; some 60,000 pixels times 21 labels reach 5.5 by chance
RATIO: Final = 1.5  # how much closer than the surroundings
CLIP: Final = 16  # grey levels; a cut in the game must not outweigh all else


def choose_pairs(buttons: np.ndarray, sticks: np.ndarray) -> np.ndarray:
    """The later frames of pairs to compare: (N,) increasing, half of them where labels change, spread evenly.

    buttons: (T, 17) bool. sticks: (T, 2, 2), NaN where unknown.
    """
    changing = np.abs(label_changes(buttons, sticks)).max(1) > 0.2
    chosen = [np.flatnonzero(changing) + 1, np.flatnonzero(~changing) + 1]
    spread = [rows[np.unique(np.linspace(0, len(rows) - 1, PAIRS // 2).astype(int))] for rows in chosen if len(rows)]
    return np.sort(np.concatenate(spread)) if spread else np.zeros(0, np.int64)


def label_changes(buttons: np.ndarray, sticks: np.ndarray) -> np.ndarray:
    """What each label does from frame to frame: (T - 1, 21), 17 buttons and 4 axes."""
    axes = np.nan_to_num(sticks.reshape(len(sticks), 4))
    return np.asarray(np.diff(np.concatenate([buttons.astype(np.float32), axes], axis=1), axis=0))


def find_strength(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How closely each pixel follows any label: (256, 256), about normal units where nothing does.

    pixels: (N, 256, 256) int8, changes of grey. labels: (N, 21), changes of labels at the same frames.
    """
    centred = labels - labels.mean(0)
    spread = np.linalg.norm(centred, axis=0)
    centred = centred[:, spread > 0] / spread[spread > 0]
    strength: np.ndarray = np.zeros(pixels.shape[1:], np.float32)
    if centred.shape[1]:
        for row in range(len(strength)):  # a row at a time keeps memory low
            moved = pixels[:, row].astype(np.float32)
            moved -= moved.mean(0)
            size = np.linalg.norm(moved, axis=0)
            strength[row] = np.abs(centred.T @ moved).max(0) / np.maximum(size, 1e-6) * np.sqrt(len(pixels))
    return strength


def find_leak(strength: np.ndarray, masks: Sequence[Mask]) -> np.ndarray:
    """Pixels beside the masks that tell the labels: (256, 256) bool."""
    distance = _distance(strength.shape, masks)
    near = (distance > 0) & (distance <= NEAR_PX)
    around = strength[(distance > NEAR_PX) & (distance <= FAR_PX)]
    usual = float(np.quantile(around, 0.95)) if around.size else 0.0
    return np.asarray(near & (strength > max(LIMIT, RATIO * usual)))


def widen_masks(masks: Sequence[Mask], leak: np.ndarray) -> list[Mask] | None:
    """Masks that cover the leaking pixels too, and one pixel more; None where these lie too far off."""
    if (_distance(leak.shape, masks)[leak] > WIDEN_PX).any():
        return None
    owner = np.argmin([_distance(leak.shape, [mask]) for mask in masks], axis=0)
    return [_cover(mask, leak & (owner == i)) for i, mask in enumerate(masks)]


def picture_changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(256, 256) int8 change of grey, limited."""
    return np.asarray(np.clip(after.astype(np.int16) - before, -CLIP, CLIP), np.int8)


def _distance(shape: tuple[int, ...], masks: Sequence[Mask]) -> np.ndarray:
    """Of each pixel to the nearest mask; 0 inside."""
    free = np.ones(shape, np.uint8)
    for mask in masks:
        free[mask] = 0
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_C, 3))


def _cover(mask: Mask, leak: np.ndarray) -> Mask:
    if not leak.any():
        return mask
    spans = []
    for axis, span in enumerate(mask):
        places = np.flatnonzero(leak.any(1 - axis))
        low, high = min(span.start, int(places[0]) - 1), max(span.stop, int(places[-1]) + 2)
        spans.append(slice(max(low, 0), min(high, leak.shape[axis])))
    rows, columns = spans
    return rows, columns
