"""Where an overlay lights up: patches of pixels that come on and go off together, and with nothing around them.

A game behind a pad changes everywhere at once, or in shapes that never come back. A button lights up in one shape,
all of it or nothing, whatever is drawn there: its place and its size need no layout to be seen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from templates.controls import STICKS, THUMB_OF
from templates.scene import Box, Scene

WORKING_WIDTH: Final = 320  # px; wider crops are looked at in this size
SURROUNDINGS: Final = 0.15  # of the width: what a pixel's change is compared with
SEEN: Final = 0.04  # of full scale, or twice what is usual: a pixel that lights up changes this much more
SEEN_FRAMES: Final = 2
LINKED: Final = 0.6  # of the frames in which either of two neighbours is on, both are
LEAST_AREA: Final = 0.0004  # of the box
GAME: Final = 3.0  # standard deviations between on and off that count a half: behind a lit button nothing moves
CODED: Final = 2.0  # of 255: what an encoder leaves unsure
LEAST_QUALITY: Final = 0.15

SHOULDERS: Final = ("left_shoulder", "left_trigger", "right_shoulder", "right_trigger")
# How far a control may be from its region: of its own size and of the box's width; and how much larger or smaller
# (natural logarithms). What lights up is smaller than what is drawn. Shoulders are drawn in any size.
NEAR_OWN, NEAR_WIDTH, SIZE_USUAL, SIZE_SPREAD, SHOULDER_SPREAD = 0.3, 0.03, -0.3, 1.0, 2.0
QUALITY_PRICE: Final = 2.0  # of the logarithm of a region's quality
UNMATCHED: Final = 3.5  # the price of a control without a region
NEIGHBOURS: Final = 3  # the median of whose moves a control without a region makes
# How far the layout may go as a whole, of the box's width, and how it may be stretched (logarithms), with the usual.
SHIFT, SHIFT_USUAL, STRETCH, STRETCH_USUAL, SQUEEZE = 0.12, 0.06, 0.25, 0.1, 0.2
# Shoulders go together, mirrored: of the width, sideways, up and down; and nearer together, in shares of the layout's.
SHOULDER_SHIFT, SHOULDER_USUAL, SHOULDER_GAPS = (0.1, 0.15), 0.08, (0.4, 0.7, 1.0, 1.4)
SHOULDER_PRICE: Final = 0.5


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


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """A layout fitted to regions. boxes: of all controls, in pixels; regions: of those that light up somewhere."""

    boxes: dict[str, Box]
    regions: dict[str, Region]


def match_layout(regions: Sequence[Region], scene: Scene, size_wh: tuple[int, int]) -> Matched:
    """A family's layout on what lights up in a box of ``size_wh`` pixels, each control on a region of its own.

    The layout goes and stretches as a whole to where most controls but the shoulders find a region; then the shoulders
    go together. A control without a region stands to the nearest one that has one as the layout says.
    """
    width, height = size_wh
    family = _array(scene.boxes.values()) * np.tile([width / scene.canvas[0], height / scene.canvas[1]], 2)
    boxes = dict(zip(scene.boxes, family, strict=True))
    buttons = buttons_in_place(scene)
    top = min(_centres(boxes[name])[1] for name in buttons if name not in SHOULDERS)
    shoulders = [name for name in buttons if name in SHOULDERS and _centres(boxes[name])[1] < top]
    others = [name for name in buttons if name not in shoulders]  # on a fight stick all are in one row
    targets = _Targets.of(regions, width)
    stretch, shift = _fit_whole(targets, _array(boxes[name] for name in others), size_wh)
    boxes = {name: _move(box, stretch, shift) for name, box in boxes.items()}
    if shoulders:
        taken = _assign(targets.costs(_array(boxes[name] for name in others), SIZE_SPREAD))
        left = targets.without(i for i in taken if i is not None)
        boxes |= _fit_shoulders(left, {name: boxes[name] for name in shoulders}, width)
    costs = [
        targets.costs(_array(boxes[name] for name in names), spread)
        for names, spread in ((others, SIZE_SPREAD), (shoulders, SHOULDER_SPREAD))
    ]
    found = _assign(np.concatenate(costs))
    lit = {name: regions[i] for name, i in zip([*others, *shoulders], found, strict=True) if i is not None}
    return Matched(_beside_matched(boxes, lit), lit)


def match_in_place(regions: Sequence[Region], scene: Scene, boxes: Mapping[str, np.ndarray], width: int) -> Matched:
    """The same for a layout that is right as it is: ``boxes`` (4,) of all controls in pixels."""
    buttons = buttons_in_place(scene)
    found = _assign(_Targets.of(regions, width).costs(_array(boxes[name] for name in buttons), SIZE_SPREAD))
    lit = {name: regions[i] for name, i in zip(buttons, found, strict=True) if i is not None}
    return Matched(_beside_matched(boxes, lit), lit)


def buttons_in_place(scene: Scene) -> list[str]:
    """The buttons that light up where they are; a stick's click is seen wherever the stick is."""
    with_stick = {THUMB_OF[stick] for stick in scene.sticks if scene.boxes.get(THUMB_OF[stick]) == scene.boxes[stick]}
    return [name for name in scene.boxes if name not in STICKS and name not in with_stick]


@dataclass(frozen=True, slots=True, eq=False)
class _Targets:
    """Regions to go to. boxes: (m, 4); prices: (m,) of choosing each; width: of the crops."""

    boxes: np.ndarray
    prices: np.ndarray
    width: int

    @classmethod
    def of(cls, regions: Sequence[Region], width: int) -> _Targets:
        prices = -QUALITY_PRICE * np.log([region.quality for region in regions])
        return cls(_array(region.box for region in regions), prices, width)

    def without(self, taken: Iterable[int]) -> _Targets:
        """The same, some of which nobody may choose."""
        prices = self.prices.copy()
        prices[list(taken)] = np.inf
        return _Targets(self.boxes, prices, self.width)

    def costs(self, boxes: np.ndarray, spread: float) -> np.ndarray:
        """(..., n, 4) controls -> (..., n, m): how badly each fits each region, in place, in size, and by its price."""
        own = _sizes(boxes)[..., None]
        apart = np.square(_centres(boxes)[..., None, :] - _centres(self.boxes)).sum(-1)
        larger = np.log(_sizes(self.boxes) / own)
        near = NEAR_OWN * own + NEAR_WIDTH * self.width
        return np.asarray(apart / near**2 + ((larger - SIZE_USUAL) / spread) ** 2 + self.prices)


def _fit_whole(targets: _Targets, boxes: np.ndarray, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """How to stretch controls (n, 4), and then to shift them, (2,) each, so that most of them are near a region."""
    width = size_wh[0]
    steps, logs = np.linspace(-SHIFT, SHIFT, 13), np.linspace(-STRETCH, STRETCH, 7)
    shifts = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    best, found = math.inf, (np.ones(2), np.zeros(2))
    for log in ((x, y) for x in logs for y in logs if abs(x - y) < SQUEEZE):
        stretch = np.exp(log)
        middle = np.array(size_wh) / 2 * (1 - stretch)
        moved = _move(boxes, stretch, (middle + shifts * width)[:, None])
        cost = np.minimum(targets.costs(moved, SIZE_SPREAD).min(2, initial=UNMATCHED), UNMATCHED).sum(1)
        cost += np.square(shifts / SHIFT_USUAL).sum(1) + np.square(np.array(log) / STRETCH_USUAL).sum()
        if cost.min() < best:
            best, found = cost.min(), (stretch, middle + shifts[cost.argmin()] * width)
    return found


def _fit_shoulders(targets: _Targets, boxes: Mapping[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """The shoulders moved to where most of them are near a region. They go as one, the right ones as in a mirror."""
    drawn = np.array([*boxes.values()])
    outwards = np.array([-1 if name.startswith("left") else 1 for name in boxes])
    gaps = drawn[:, 1] - [np.mean([box[1] for other, box in boxes.items() if other[:4] == name[:4]]) for name in boxes]
    best, found = math.inf, drawn
    steps = (np.linspace(-reach, reach, 13) * width for reach in SHOULDER_SHIFT)
    for x, y, gap in itertools.product(*steps, SHOULDER_GAPS):
        price = SHOULDER_PRICE * ((x**2 + y**2) / (SHOULDER_USUAL * width) ** 2 + math.log(gap) ** 2)
        if price >= best:
            continue
        moved = drawn.copy()
        moved[:, 0] += x * outwards
        moved[:, 1] += y + (gap - 1) * gaps
        costs = targets.costs(moved, SHOULDER_SPREAD)
        price += sum(UNMATCHED if i is None else costs[row, i] for row, i in enumerate(_assign(costs)))
        if price < best:
            best, found = price, moved
    return dict(zip(boxes, found, strict=True))


def _assign(costs: np.ndarray) -> list[int | None]:
    """The cheapest choice of a column of its own for each row of (n, m), or of none for ``UNMATCHED``.

    An assignment is a transport of ones, which OpenCV's earth mover's distance solves.
    """
    rows = len(costs)
    cheapest = np.unique(np.argsort(costs, 1)[:, :rows])  # at most as many are taken by others
    near = cheapest[costs[:, cheapest].min(0, initial=UNMATCHED) < UNMATCHED]
    if not len(near):
        return [None] * rows
    none = np.full((rows, rows), UNMATCHED)
    choices = np.minimum(np.concatenate([costs[:, near], none], 1), 2 * UNMATCHED).astype(np.float32)
    each, any_of = (np.ones((count, 1), np.float32) for count in choices.shape)
    flow = np.asarray(cv2.EMD(each, any_of, cv2.DIST_USER, cost=choices)[2])
    chosen = flow.argmax(1)
    return [int(near[i]) if i < len(near) and choices[row, i] < UNMATCHED else None for row, i in enumerate(chosen)]


def _beside_matched(boxes: Mapping[str, np.ndarray], regions: Mapping[str, Region]) -> dict[str, Box]:
    """Boxes of the regions; of the other buttons their own, moved as the nearest controls with a region are."""
    centres = {name: _centres(box) for name, box in boxes.items()}
    moves = {name: _centres(np.array(region.box)) - centres[name] for name, region in regions.items()}
    placed: dict[str, Box] = {}
    for name, box in boxes.items():
        moved = box.copy()
        if moves and name not in STICKS:
            nearest = sorted(moves, key=lambda other: float(np.hypot(*(centres[other] - centres[name]))))[:NEIGHBOURS]
            moved[:2] += np.median([moves[other] for other in nearest], 0)
        x, y, w, h = moved.tolist()
        placed[name] = regions[name].box if name in regions else (x, y, w, h)
    return placed


def _move(boxes: np.ndarray, stretch: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) stretched about the origin and shifted."""
    return np.concatenate(np.broadcast_arrays(boxes[..., :2] * stretch + shift, boxes[..., 2:] * stretch), -1)


def _centres(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (..., 2)."""
    return np.asarray(boxes[..., :2] + boxes[..., 2:] / 2)


def _sizes(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...), the geometric mean of the sides."""
    return np.asarray(np.sqrt(np.maximum(boxes[..., 2] * boxes[..., 3], 1)))


def _array(boxes: Iterable[Sequence[float] | np.ndarray]) -> np.ndarray:
    """(n, 4)."""
    return np.array([*boxes], float).reshape(-1, 4)
