"""Where an overlay lights up: patches of pixels that come on and go off together, and with nothing around them.

A game behind a pad changes everywhere at once, or in shapes that never come back. A button lights up in one shape,
all of it or nothing, whatever is drawn there: its place and its size need no layout to be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from templates.scene import Box

WORKING_WIDTH: Final = 320  # px; wider crops are looked at in this size
SURROUNDINGS: Final = 0.15  # of the width: what a pixel's change is compared with
SEEN: Final = 0.04  # of full scale, or twice what is usual: a pixel that lights up changes this much more
SEEN_FRAMES: Final = 2
LINKED: Final = 0.6  # of the frames in which either of two neighbours is on, both are
LEAST_AREA: Final = 0.0004  # of the box
GAME: Final = 3.0  # standard deviations between on and off that count a half: behind a lit button nothing moves
CODED: Final = 2.0  # of 255: what an encoder leaves unsure
LEAST_QUALITY: Final = 0.15

GAME_WORKING_WIDTH: Final = 200  # px
MOVING: Final = 0.02  # of full scale, or MOVING_NOISE times what is usual: a pixel that departs so much from rest moves
MOVING_NOISE: Final = 2.5
GAME_WIDTH: Final = 5  # px of the working width: a game is no thinner


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A patch that lights up. box: in pixels of the crops; lit: (N,) bool, in which of them.

    apart: how far its two looks are from each other, in standard deviations of either. quality: in [0, 1], of that and
    of how sharply it is bounded.
    """

    box: Box
    lit: np.ndarray
    apart: float
    quality: float


def find_regions(crops: np.ndarray, rest: np.ndarray) -> list[Region]:
    """The regions of (N, h, w, 3) uint8 crops around their rest picture (h, w, 3)."""
    scale = min(1.0, WORKING_WIDTH / rest.shape[1])
    if scale < 1:
        size = (WORKING_WIDTH, round(rest.shape[0] * scale))
        rest, *smaller = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (rest, *crops))
        crops = np.stack(smaller)
    change = np.stack([_stand_out(crop, rest) for crop in crops])
    lit = _lit_pixels(change)
    labels, boxes = _components(lit)
    regions: list[Region] = []
    for label, (x, y, w, h) in boxes:
        around = (slice(max(y - 4, 0), y + h + 4), slice(max(x - 4, 0), x + w + 4))
        inside = labels[around] == label
        frames = lit[:, *around][:, inside].mean(1) > 0.5
        if frames.sum() >= SEEN_FRAMES:
            apart = _measure_apart(crops[:, *around][:, inside].astype(np.float32), frames)
            quality = _sharpness(change[frames][:, *around], inside) ** 3 * apart / (apart + GAME)
            if quality >= LEAST_QUALITY:
                regions.append(Region((x / scale, y / scale, w / scale, h / scale), frames, apart, quality))
    return regions


def find_game(crops: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Where the game is seen beside a pad: (h, w) bool of (N, h, w, 3) uint8 crops around their rest picture.

    It departs from rest, and is joined to the edge of the box by what does.
    """
    scale = min(1.0, GAME_WORKING_WIDTH / rest.shape[1])
    size = round(rest.shape[1] * scale), round(rest.shape[0] * scale)
    small = cv2.resize(rest, size, interpolation=cv2.INTER_AREA)
    apart = np.zeros(small.shape[:2], np.float32)
    for crop in crops:
        apart += cv2.absdiff(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), small).mean(2, dtype=np.float32)
    apart /= 255 * len(crops)
    moving = (apart > max(MOVING, MOVING_NOISE * float(np.quantile(apart, 0.3)))).astype(np.uint8)
    wide = cv2.morphologyEx(moving, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (GAME_WIDTH,) * 2))
    framed = cv2.copyMakeBorder(wide, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, joined, _, _ = cv2.floodFill(framed, None, (0, 0), 2)
    joined = cv2.resize(joined[1:-1, 1:-1], rest.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(joined == 2)


def _stand_out(crop: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How much more each pixel departs from rest than its surroundings do: (h, w) uint8."""
    apart = cv2.blur(cv2.absdiff(crop, rest).astype(np.float32).mean(2), (3, 3))
    side = int(rest.shape[1] * SURROUNDINGS) | 1
    beyond = apart - cv2.blur(apart, (side, side), borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.maximum(beyond, 0).round().astype(np.uint8))


def _lit_pixels(change: np.ndarray) -> np.ndarray:
    """In which frames each pixel is nearer to its most than to its usual change: (N, h, w) bool."""
    in_order = np.sort(change.reshape(len(change), -1).T.copy(), 1).astype(np.float32)
    usual, most = in_order[:, len(change) // 2], in_order[:, -SEEN_FRAMES]
    lights_up = most >= usual + np.maximum(SEEN * 255, 2 * usual)
    threshold = np.where(lights_up, (usual + most) / 2, np.inf)
    return np.asarray(change >= threshold.reshape(change.shape[1:]))


def _components(lit: np.ndarray) -> tuple[np.ndarray, list[tuple[int, tuple[int, int, int, int]]]]:
    """Neighbours that are lit in the same frames, joined: labels (h, w), and each label's box."""
    height, width = lit.shape[1:]

    def linked(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        both, either = (a & b).sum(0), (a | b).sum(0)
        return np.asarray((both > 0) & (both >= LINKED * either))

    # Pixels on even places, what joins them between.
    links = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    links[::2, ::2] = lit.any(0)
    links[::2, 1::2] = linked(lit[:, :, :-1], lit[:, :, 1:])
    links[1::2, ::2] = linked(lit[:, :-1], lit[:, 1:])
    count, found = cv2.connectedComponents(links, connectivity=4)
    labels = found[::2, ::2]
    area = np.bincount(labels.ravel(), minlength=count)
    least = max(6, LEAST_AREA * height * width)
    large = np.flatnonzero(area >= least)
    boxes = []
    for label in large[large > 0]:
        rows, columns = np.nonzero(labels == label)
        x, y = int(columns.min()), int(rows.min())
        boxes.append((int(label), (x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y)))
    return labels, boxes


def _measure_apart(pixels: np.ndarray, frames: np.ndarray) -> float:
    """How far pixels (N, P, 3) are apart in some frames (N,) and in the others, in standard deviations of either."""
    on, off = pixels[frames], pixels[~frames]
    spread = math.sqrt(float((on.var(0) + off.var(0)).mean() / 2)) + CODED
    return float(np.abs(on.mean(0) - off.mean(0)).mean()) / spread


def _sharpness(change: np.ndarray, inside: np.ndarray) -> float:
    """How much of the change (n, h, w) ends at the edge of what is inside (h, w), in [0, 1]."""
    mask = inside.astype(np.uint8)
    ring = (cv2.dilate(mask, np.ones((7, 7), np.uint8)) > 0) & (cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0)
    within = float(change[:, inside].mean())
    beside = float(change[:, ring].mean()) if ring.any() else 0.0
    return max((within - beside) / (within + CODED), 0.0)
