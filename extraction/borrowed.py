"""Caps of sticks that a video does not tell: those of the family's drawing that dips deepest where they were.

Behind lines and glass a game shows as much as the cap does, and no layer is learned of it. A drawing's cap still fits
best where the real one is: its misfit has a deep and narrow dip there, in most frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch

from extraction.caps import Cap, near_each_other
from extraction.course import LEAST_SPREAD, PLACES, SIDE
from extraction.evidence import only_stick
from extraction.stick_fits import COMPARED_TRAVEL, MARGIN_PX, shrunk
from extraction.sticks import Squares
from templates.catalogue import Template
from templates.controls import States
from templates.draw import draw, premultiply, rasterise, to_straight
from templates.scene import Box

DEEP: Final = 1.0  # standard deviations of the misfit: how much farther below its mean the dip is than its peak above
DEEPER: Final = 0.5  # than those of any drawing that is seen elsewhere
USED: Final = (0.05, 0.9)  # part of the frames in which a stick is away from where it is most often
AWAY: Final = 0.3  # of full tilt, at least


@dataclass(frozen=True, slots=True, eq=False)
class Borrowed:
    """A drawing, and its caps by stick."""

    drawing: Template
    caps: dict[str, Cap]


def borrow_caps(crops: np.ndarray, boxes: Mapping[str, Box], drawings: Sequence[Template]) -> Borrowed | None:
    """The caps of the drawing that is surely seen moving in (N, h, w, 3) uint8 crops; None where none is.

    boxes: by stick, what it sweeps, in pixels of the crops.
    """
    tried: list[tuple[Borrowed, list[_Look]]] = []
    for drawing in drawings:
        if all(name in drawing.scene.sticks and name not in drawing.scene.undrawn for name in boxes):
            caps = {name: _cap_of(drawing, name, box) for name, box in boxes.items()}
            tried.append((Borrowed(drawing, caps), [_look_for(crops, boxes[name], cap) for name, cap in caps.items()]))
    if not tried:
        return None
    (borrowed, best), *others = sorted(tried, key=lambda each: -_depth(each[1]))
    rival = max((_depth(each) for _, each in others if _elsewhere(best, each)), default=-np.inf)
    is_clear = _depth(best) >= max(DEEP, rival + DEEPER)
    return borrowed if is_clear and all(USED[0] < _part_away(look.places) < USED[1] for look in best) else None


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """How a cap was seen. depth: of its dips, see DEEP. places: (N, 2) where they are, in units of travel."""

    depth: float
    places: np.ndarray


def _depth(looks: Sequence[_Look]) -> float:
    return float(np.mean([look.depth for look in looks]))


def _elsewhere(some: Sequence[_Look], others: Sequence[_Look]) -> bool:
    """Whether two drawings' caps were seen in different places."""
    apart = [float(np.median(np.hypot(*(a.places - b.places).T))) for a, b in zip(some, others, strict=True)]
    return max(apart) > AWAY


def _cap_of(drawing: Template, stick: str, box: Box) -> Cap:
    """A drawing's cap at rest, as large as what the stick sweeps tells, in the middle of that."""
    geometry = drawing.scene.sticks[stick]
    scale = box[2] / drawing.scene.boxes[stick][2]
    raster = rasterise(drawing, max(1, round(drawing.scene.canvas[0] * scale)))
    picture = draw(only_stick(raster, stick, 0), States.rest())[0].permute(1, 2, 0).numpy()
    side = max(3, round(max(geometry.size) * raster.scale) + 2 * MARGIN_PX)
    x, y = (at * raster.scale - side / 2 for at in geometry.centre)
    cut = cv2.warpAffine(picture, np.array([[1, 0, -x], [0, 1, -y]]), (side, side))
    look = to_straight(torch.from_numpy(cut.transpose(2, 0, 1))[None])[0]
    middle = box[0] + box[2] / 2, box[1] + box[3] / 2
    travel = float(np.mean(geometry.travel)) * raster.scale
    return Cap(middle, travel, (look,), None, np.zeros_like(look))


def _look_for(crops: np.ndarray, box: Box, cap: Cap) -> _Look:
    """How a cap is seen in crops."""
    reach = cap.travel * PLACES[-1] + cap.side / 2 + MARGIN_PX
    height, width = crops.shape[1:3]
    x0, y0 = (max(0, int(at - reach)) for at in cap.middle)
    x1, y1 = (min(size, int(np.ceil(at + reach))) for at, size in zip(cap.middle, (width, height), strict=True))
    if min(x1 - x0, y1 - y0) < cap.side / 2:
        return _Look(-np.inf, np.zeros((len(crops), 2)))
    shrink = min(1.0, COMPARED_TRAVEL / cap.travel)
    size = max(1, round((x1 - x0) * shrink)), max(1, round((y1 - y0) * shrink))
    places = np.stack([shrunk(each, size) for each in _placed(cap, (x0, y0), (x1 - x0, y1 - y0))])
    squares = Squares.of(torch.from_numpy(places.transpose(0, 3, 1, 2))[None])
    windows = np.stack([shrunk(crop[y0:y1, x0:x1], size) for crop in crops]).astype(np.float32) / 255
    errors = squares.of_frames(torch.from_numpy(windows.transpose(0, 3, 1, 2)))[:, 0] / squares.weight[0]
    fits = errors.numpy()
    spread = fits.std(1) + LEAST_SPREAD
    depth = float(np.median((2 * fits.mean(1) - fits.min(1) - fits.max(1)) / spread))
    rows, columns = np.divmod(fits.argmin(1), SIDE)
    return _Look(depth, np.stack([PLACES[columns], PLACES[rows]], 1))


def _placed(cap: Cap, corner: tuple[int, int], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A cap at each of its places in a window of the crops: (h, w, 4) float32, premultiplied."""
    picture = premultiply(cap.looks[0]).transpose(1, 2, 0)
    for y in PLACES:
        for x in PLACES:
            at = np.add(cap.middle, np.multiply((x, y), cap.travel)) - corner - cap.side / 2
            yield cv2.warpAffine(picture, np.array([[1, 0, at[0]], [0, 1, at[1]]]), size)


def _part_away(places: np.ndarray) -> float:
    """Part of the frames in which places (N, 2) are far from where most are."""
    return float(1 - near_each_other(places, AWAY).mean(1).max())
