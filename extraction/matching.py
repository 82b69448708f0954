"""A family's layout on what lights up in a box: which region is which control's.

Pads of one family differ in how large their buttons are, how far apart and where; four face buttons or four directions
still make one figure. So each such group goes onto regions as a figure whose members are alike, and all of them
about where the layout has them. Shoulders come in pairs, mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np

from extraction.regions import Region
from templates.controls import DPAD, STICKS, THUMB_OF
from templates.scene import Box, Scene

SINGLE: Final = ("back", "start", "guide", "left_thumb", "right_thumb")
PAIRS: Final = (("left_shoulder", "right_shoulder"), ("left_trigger", "right_trigger"))


class _Alike(NamedTuple):
    """How much larger and how much wider for its height a region usually is than expected, natural logarithms."""

    size: float
    shape: float


QUALITY_PRICE: Final = 2.0  # of the logarithm of a region's quality
HELD: Final = 0.35  # of the frames, in which it is lit, cost 1: a button is up most of the time
UNMATCHED: Final = 3.5  # the price of a control without a region
LONELY: Final = 1.0  # of a region for a control that has no group
SHARED: Final = 0.5  # of the smaller of two regions: so much of it lies on the other one, if both are in one place
CONFIRMED: Final = 1.0  # is taken off for each further region that is where and what a group expects
SIZE_USUAL: Final = -0.3  # natural logarithm: what lights up is smaller than what is drawn
# How far the layout may go as a whole, of the box's width, and how it may be stretched, with the usual.
SHIFT, SHIFT_USUAL, STRETCH, STRETCH_USUAL, SQUEEZE = 0.12, 0.06, 0.25, 0.1, 0.2
# A figure: how far it usually is from where the whole layout has it, of the width; how much wider it may be, with the
# usual; how much larger its members usually are; how far these are from their places, of the distance of neighbours.
FIGURE_SHIFT, FIGURE_WIDER, FIGURE_WIDER_USUAL, FIGURE_SIZE, FIGURE_NEAR = 0.04, 0.7, 0.3, 0.7, 0.2
# A pair of shoulders: how far it usually goes, of the width, in what sizes (they are drawn in any), how far it is from
# a mirror image, of the width, and how unlike the sizes of both pairs are.
PAIR_SHIFT, PAIR_SIZE, PAIR_NEAR, PAIRS_SIZE = 0.11, 2.0, 0.03, 1.2
# Of the width: how far triggers usually are from where the layout has them beside the bumpers. They may be right
# beside them, too, nearer to the middle, at a price.
OFFSET_USUAL, BESIDE, BESIDE_PRICE = (0.07, 0.1), 0.15, 1.0

# Members of a figure may be turned, pairs are mirrored. Where the layout is right as it is, how far a control may be
# from its region, of its own size and of the box's width.
FIGURE_ALIKE, PAIR_ALIKE, ALIKE_IN_PLACE = _Alike(0.4, math.inf), _Alike(0.4, 0.5), _Alike(1.0, math.inf)
NEAR_OWN, NEAR_WIDTH = 0.3, 0.03

_Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """A layout fitted to regions. boxes: of all controls, in pixels; regions: of those that light up somewhere."""

    boxes: dict[str, Box]
    regions: dict[str, Region]


def match_layout(regions: Sequence[Region], scene: Scene, size_wh: tuple[int, int]) -> Matched:
    """A family's layout on what lights up in a box of ``size_wh`` pixels, each control on a region of its own.

    A control without a region is where its group has it, and a group without any where the whole layout has it.
    """
    width = size_wh[0]
    scale = np.array(size_wh) / scene.canvas
    boxes = {name: np.array(box) * np.tile(scale, 2) for name, box in scene.boxes.items()}
    targets, pairs = _Targets.of(regions), _shoulders_on_top(scene)
    figures = {
        # In a box of other proportions a figure keeps its own.
        names: _lay_figure(targets, _array(scene.boxes[name] for name in names) * math.sqrt(scale.prod()))
        for names in _figures(scene, {name for pair in pairs for name in pair})
    }
    boxes, taken = _put_figures(targets, figures, boxes, size_wh)
    free = targets.without(taken.values())
    shoulders = _fit_pairs(free, [{name: boxes[name] for name in pair} for pair in pairs], width)
    taken |= _assign({name: free.costs(box[None], PAIR_NEAR * width, PAIR_ALIKE)[0] for name, box in shoulders.items()})
    lit = {name: regions[i] for name, i in taken.items()}
    return Matched(_boxes(boxes | shoulders, lit), lit)


def match_in_place(regions: Sequence[Region], scene: Scene, boxes: Mapping[str, np.ndarray], width: int) -> Matched:
    """The same for a layout that is right as it is: ``boxes`` (4,) of all controls in pixels."""
    targets = _Targets.of(regions)
    costs = {}
    for name in buttons_in_place(scene):
        smaller = _boxes_at(_centres(boxes[name]), boxes[name][2:] * math.exp(SIZE_USUAL))
        costs[name] = targets.costs(smaller[None], NEAR_OWN * _sizes(boxes[name]) + NEAR_WIDTH * width, ALIKE_IN_PLACE)[
            0
        ]
    lit = {name: regions[i] for name, i in _assign(costs).items()}
    return Matched(_boxes(boxes, lit), lit)


def buttons_in_place(scene: Scene) -> list[str]:
    """The buttons that light up where they are; a stick's click is seen wherever the stick is."""
    with_stick = {THUMB_OF[stick] for stick in scene.sticks if scene.boxes.get(THUMB_OF[stick]) == scene.boxes[stick]}
    return [name for name in scene.boxes if name not in STICKS and name not in with_stick]


def _shoulders_on_top(scene: Scene) -> list[list[str]]:
    """The pairs of shoulders above all other buttons; on a fight stick all are in one row."""
    middles = {name: _centres(np.array(scene.boxes[name]))[1] for name in buttons_in_place(scene)}
    top = min(y for name, y in middles.items() if not any(name in pair for pair in PAIRS))
    return [[name for name in pair if middles.get(name, top) < top] for pair in PAIRS]


def _figures(scene: Scene, shoulders: Collection[str]) -> list[_Names]:
    """The other buttons in groups: directions, face buttons with all that is among them, and single ones."""
    others = [name for name in buttons_in_place(scene) if name not in shoulders]
    directions = tuple(name for name in others if name in DPAD)
    face = tuple(name for name in others if name not in DPAD + SINGLE)
    return [group for group in (directions, face, *((name,) for name in others if name in SINGLE)) if group]


@dataclass(frozen=True, slots=True, eq=False)
class _Targets:
    """Regions to go to. boxes: (m, 4); prices: (m,) of choosing each."""

    boxes: np.ndarray
    prices: np.ndarray

    @classmethod
    def of(cls, regions: Sequence[Region]) -> _Targets:
        prices = [(region.lit.mean() / HELD) ** 2 - QUALITY_PRICE * math.log(region.quality) for region in regions]
        return cls(_array(region.box for region in regions), np.array(prices))

    def without(self, taken: Iterable[int]) -> _Targets:
        """The same, of which nobody may choose some, nor what lies on them: no two buttons share a place."""
        prices, chosen = self.prices.copy(), self.boxes[[*taken]]
        low = np.maximum(self.boxes[:, None, :2], chosen[:, :2])
        high = np.minimum(*(boxes[..., :2] + boxes[..., 2:] for boxes in (self.boxes[:, None], chosen)))
        shared = (high - low).clip(0).prod(-1)
        smaller = np.minimum(self.boxes[:, None, 2:].prod(-1), chosen[:, 2:].prod(-1))
        prices[(shared > SHARED * smaller).any(1)] = np.inf
        return _Targets(self.boxes, prices)

    def costs(self, boxes: np.ndarray, near: np.ndarray | float, alike: _Alike) -> np.ndarray:
        """(..., n, 4) what should light up -> (..., n, m): how badly each region fits it.

        By its place, where ``near`` (pixels, (...,) or one for all) costs 1, by size and shape, and by its price.
        """
        apart = np.square(_centres(boxes)[..., None, :] - _centres(self.boxes)).sum(-1)
        larger = np.log(_sizes(self.boxes) / _sizes(boxes)[..., None])
        wider = np.log(_shapes(self.boxes) / _shapes(boxes)[..., None])
        place = apart / np.square(np.asarray(near))[..., None, None]
        return np.asarray(place + (larger / alike.size) ** 2 + (wider / alike.shape) ** 2 + self.prices)


@dataclass(frozen=True, slots=True, eq=False)
class _Poses:
    """p ways to put n controls on regions, each with some region in the very place of some control.

    boxes: (p, n, 4), what should light up. at: (p, 2), the middle of a figure; how far a pair went, outwards and down.
    scale: (p,), natural logarithm, how much wider a figure is, how much larger a pair. near: (p,), how near a region
    should be, in pixels. prices: (p,), less than ``nothing``, that of no region at all. takes: (p, m), which regions.
    """

    boxes: np.ndarray
    at: np.ndarray
    scale: np.ndarray
    near: np.ndarray
    prices: np.ndarray
    takes: np.ndarray
    nothing: float

    @classmethod
    def of(
        cls,
        targets: _Targets,
        boxes: np.ndarray,
        at: np.ndarray,
        scale: np.ndarray,
        near: np.ndarray,
        unusual: np.ndarray,
        alike: _Alike,
    ) -> _Poses:
        """The ways that are worth it. unusual: (p,), a price."""
        costs = targets.costs(boxes, near, alike)
        each = costs.min(-1, initial=UNMATCHED)
        takes = ((costs == each[..., None]) & (costs < UNMATCHED)).any(1)
        prices = each.sum(-1) - CONFIRMED * ((each < UNMATCHED).sum(-1) - 1) + (LONELY if each.shape[1] == 1 else 0)
        prices += unusual
        nothing = UNMATCHED * boxes.shape[1]
        worth = prices < nothing
        return cls(boxes[worth], at[worth], scale[worth], near[worth], prices[worth], takes[worth], nothing)

    def none(self) -> _Poses:
        """No way at all."""
        return _Poses(
            self.boxes[:0], self.at[:0], self.scale[:0], self.near[:0], self.prices[:0], self.takes[:0], self.nothing
        )


def _lay_figure(targets: _Targets, drawn: np.ndarray) -> _Poses:
    """Controls (n, 4) moved, in all widths, and in the size of a region, so that one of them is where a region is."""
    centres, sizes = _centres(drawn), _sizes(drawn)
    middle = centres.mean(0)
    apart = np.hypot(*np.moveaxis(centres[:, None] - centres, -1, 0))
    pitch = apart[apart > 0].min() if len(drawn) > 1 else sizes[0]
    widths = np.linspace(-FIGURE_WIDER, FIGURE_WIDER, 19) if len(drawn) > 1 else np.zeros(1)
    wider, member, region = (
        each.ravel() for each in np.meshgrid(widths, *map(np.arange, (len(drawn), len(targets.boxes))), indexing="ij")
    )
    offsets = np.exp(wider)[:, None, None] * (centres - middle)
    at = _centres(targets.boxes)[region] - offsets[np.arange(len(wider)), member]
    larger = _sizes(targets.boxes)[region] / sizes[member]
    boxes = _boxes_at(at[:, None] + offsets, larger[:, None, None] * drawn[:, 2:])
    near = FIGURE_NEAR * pitch * np.exp(wider)
    unusual = np.square((np.log(larger) - wider - SIZE_USUAL) / FIGURE_SIZE)
    return _Poses.of(targets, boxes, at, wider, near, unusual, FIGURE_ALIKE)


def _lay_pair(targets: _Targets, drawn: np.ndarray, outwards: np.ndarray, width: float) -> _Poses:
    """Controls (n, 4) moved in mirror image, and in the size of a region, so that one of them is where a region is."""
    member, region = (
        each.ravel() for each in np.meshgrid(*map(np.arange, (len(drawn), len(targets.boxes))), indexing="ij")
    )
    sides = np.stack([outwards, np.ones(len(drawn))], 1)  # a move's signs
    moved = (_centres(targets.boxes)[region] - _centres(drawn)[member]) * sides[member]
    larger = np.log(_sizes(targets.boxes)[region] / _sizes(drawn)[member])
    sizes = np.repeat(targets.boxes[region, None, 2:], len(drawn), 1)
    boxes = _boxes_at(_centres(drawn) + moved[:, None] * sides, sizes)
    near = np.full(len(member), PAIR_NEAR * width)
    unusual = np.square((larger - SIZE_USUAL) / PAIR_SIZE)
    return _Poses.of(targets, boxes, moved, larger, near, unusual, PAIR_ALIKE)


def _put_figures(
    targets: _Targets, figures: Mapping[_Names, _Poses], boxes: Mapping[str, np.ndarray], size_wh: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Boxes (4,) of a layout where its figures light up, and the regions that their members take."""
    stretch, shift, chosen = _fit_whole(figures, boxes, size_wh)
    placed = {name: _move(box, stretch, shift) for name, box in boxes.items()}
    costs: dict[str, np.ndarray] = {}
    for names, i in chosen.items():
        members, near = figures[names].boxes[i], figures[names].near[i]
        placed |= dict(zip(names, members, strict=True))
        costs |= dict(zip(names, targets.costs(members, near, FIGURE_ALIKE), strict=True))
    taken = _assign(costs)
    robbed = [names for names in chosen if not taken.keys() & set(names)]
    if not robbed:
        return placed, taken
    # Two figures went to one region, as a button in the middle and a face button: one of them is elsewhere.
    left = {names: poses.none() if names in robbed else poses for names, poses in figures.items()}
    return _put_figures(targets, left, boxes, size_wh)


def _fit_whole(
    figures: Mapping[_Names, _Poses], boxes: Mapping[str, np.ndarray], size_wh: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, dict[_Names, int]]:
    """How to stretch the layout, and then to shift it, (2,) each, so that all figures have good poses near by.

    And which poses these are, of the figures that have one.
    """
    width = size_wh[0]
    steps, logs = np.linspace(-SHIFT, SHIFT, 13), np.linspace(-STRETCH, STRETCH, 7)
    shifts = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    middles = {names: _centres(_array(boxes[name] for name in names)).mean(0) for names in figures}
    best = math.inf
    found: tuple[np.ndarray, np.ndarray, dict[_Names, int]] = np.ones(2), np.zeros(2), {}
    for log in (np.array((x, y)) for x in logs for y in logs if abs(x - y) < SQUEEZE):
        stretch = np.exp(log)
        moves = np.array(size_wh) / 2 * (1 - stretch) + shifts * width
        cost = np.square(shifts / SHIFT_USUAL).sum(1) + np.square(log / STRETCH_USUAL).sum()
        prices = {}
        for names, poses in figures.items():
            off = (poses.at - (middles[names] * stretch + moves)[:, None]) / (FIGURE_SHIFT * width)
            wider = (poses.scale - log.mean()) / FIGURE_WIDER_USUAL
            prices[names] = np.square(off).sum(-1) + wider**2 + poses.prices
            cost += prices[names].min(1, initial=poses.nothing)
        if cost.min() < best:
            best, i = float(cost.min()), int(cost.argmin())
            worth = [names for names in figures if prices[names][i].min(initial=math.inf) < figures[names].nothing]
            found = stretch, moves[i], {names: int(prices[names][i].argmin()) for names in worth}
    return found


def _fit_pairs(targets: _Targets, pairs: Sequence[Mapping[str, np.ndarray]], width: float) -> dict[str, np.ndarray]:
    """Bumpers and triggers where most of them light up; a pair of which none does goes with the other."""
    outwards = [np.array([-1.0 if name.startswith("left") else 1.0 for name in pair]) for pair in pairs]
    drawn = [_array(pair.values()) for pair in pairs]
    poses = [_lay_pair(targets, each, sides, width) for each, sides in zip(drawn, outwards, strict=True)]
    went = [np.concatenate([each.at, [[np.nan, np.nan]]]) for each in poses]
    bumpers, triggers = went[0][:, None], went[1][None]
    bumpers, triggers = np.where(np.isnan(bumpers), triggers, bumpers), np.where(np.isnan(triggers), bumpers, triggers)
    costs = np.add.outer(*(np.append(each.prices, each.nothing) for each in poses))
    costs[:-1, :-1] += np.square(np.subtract.outer(poses[0].scale, poses[1].scale) / PAIRS_SIZE)
    costs[:-1, :-1] += _price_offset((triggers - bumpers)[:-1, :-1] / width, _offset(*pairs) / width)
    costs[:-1, :-1][poses[0].takes.astype(int) @ poses[1].takes.astype(int).T > 0] = np.inf
    costs += np.nan_to_num(np.square((bumpers + triggers) / 2 / (PAIR_SHIFT * width)).sum(-1))
    best = np.unravel_index(int(costs.argmin()), costs.shape)
    placed: dict[str, np.ndarray] = {}
    for pair, each, i, sides, move in zip(pairs, poses, best, outwards, (bumpers[best], triggers[best]), strict=True):
        if i < len(each.prices):
            placed |= dict(zip(pair, each.boxes[i], strict=True))
        elif not np.isnan(move).any():
            sideways = zip(pair.items(), sides * move[0], strict=True)
            placed |= {name: box + np.array([x, move[1], 0, 0]) for (name, box), x in sideways}
    return placed


def _offset(bumpers: Mapping[str, np.ndarray], triggers: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far the layout has triggers from their bumpers, (2,), outwards and down; 0 where it has not both."""
    offsets = [
        (_centres(triggers[trigger]) - _centres(bumpers[bumper])) * (sign, 1)
        for bumper, trigger, sign in zip(*PAIRS, (-1, 1), strict=True)
        if bumper in bumpers and trigger in triggers
    ]
    return np.mean(offsets, 0) if offsets else np.zeros(2)


def _price_offset(further: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The price of triggers that are further (..., 2) from the bumpers than ``drawn`` (2,), in shares of the width."""
    if not drawn.any():
        return np.zeros(further.shape[:-1])
    offset = drawn + further
    prices = np.square(further / OFFSET_USUAL).sum(-1)
    if abs(drawn[1]) > abs(drawn[0]):
        beside = BESIDE_PRICE + np.square((offset - [-BESIDE, 0]) / OFFSET_USUAL).sum(-1)
        prices = np.minimum(prices, beside)
    return np.asarray(prices)


def _assign(costs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The cheapest choice of a column of its own for each control's (m,) costs, for those to whom one is worth it.

    An assignment is a transport of ones, which OpenCV's earth mover's distance solves.
    """
    if not costs:
        return {}
    rows = np.array([*costs.values()])
    cheapest = np.unique(np.argsort(rows, 1)[:, : len(rows)])  # at most as many are taken by others
    near = cheapest[rows[:, cheapest].min(0, initial=UNMATCHED) < UNMATCHED]
    if not len(near):
        return {}
    none = np.full((len(rows), len(rows)), UNMATCHED)
    choices = np.minimum(np.concatenate([rows[:, near], none], 1), 2 * UNMATCHED).astype(np.float32)
    each, any_of = (np.ones((count, 1), np.float32) for count in choices.shape)
    chosen = np.asarray(cv2.EMD(each, any_of, cv2.DIST_USER, cost=choices)[2]).argmax(1)
    worth = (chosen < len(near)) & (choices[np.arange(len(rows)), chosen] < UNMATCHED)
    return {name: int(near[i]) for name, i, some in zip(costs, chosen, worth, strict=True) if some}


def _boxes(boxes: Mapping[str, np.ndarray], lit: Mapping[str, Region]) -> dict[str, Box]:
    """Boxes of the regions and, of the other controls, their own."""
    placed: dict[str, Box] = {}
    for name, box in boxes.items():
        x, y, w, h = box.tolist()
        placed[name] = lit[name].box if name in lit else (x, y, w, h)
    return placed


def _move(boxes: np.ndarray, stretch: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) stretched about the origin and shifted."""
    return np.concatenate(np.broadcast_arrays(boxes[..., :2] * stretch + shift, boxes[..., 2:] * stretch), -1)


def _boxes_at(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(..., 2) middles and sizes -> (..., 4)."""
    return np.concatenate([centres - sizes / 2, sizes], -1)


def _centres(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (..., 2)."""
    return np.asarray(boxes[..., :2] + boxes[..., 2:] / 2)


def _sizes(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...), the geometric mean of the sides."""
    return np.asarray(np.sqrt(np.maximum(boxes[..., 2] * boxes[..., 3], 1)))


def _shapes(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...), width for height."""
    return np.asarray(np.maximum(boxes[..., 2], 1) / np.maximum(boxes[..., 3], 1))


def _array(boxes: Iterable[Sequence[float] | np.ndarray]) -> np.ndarray:
    """(n, 4)."""
    return np.array([*boxes], float).reshape(-1, 4)
