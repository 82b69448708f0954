"""The sticks of a skin that nobody drew: what their caps look like, where they rest and how far they go.

A family's layout says about where a stick is. What tells where exactly is that one picture, a disc, moves about there:
drawn where it fits each frame best, over what is behind it, it should explain these frames. Middle, size and look are
those that leave the least, found by descent; how far it goes is how far it was then seen from where it rests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from templates.scene import Box

WORKING_WIDTH: Final = 200  # px of the whole overlay; no finer pictures are read by
MARGIN: Final = 0.35  # of a stick's reach around it: so far off its middle may be
OFF: Final = 0.7  # of its reach: how far its middle is looked for
FURTHEST: Final = 0.8  # of its reach: how far a cap may go from its middle
SHARES: Final = (0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)  # a cap's size, of a stick's whole reach
LIVELY: Final = 120  # frames in which it moved most
FRAMES: Final = 80  # to measure looks in
SEARCH_FRAMES: Final = 28  # for what is tried often
SEARCH_REACH: Final = 16.0  # px; a stick that reaches further is searched for in a smaller picture
STARTS: Final = (-0.4, 0.0, 0.4)  # of a stick's reach: where descents to its middle start, along either axis
STEPS: Final = (0.2, 0.1, 0.05)  # of a stick's reach: how far a middle is moved
ROUNDS: Final = 3  # of looks measured anew where they were found
ERROR: Final = 60.0  # of 255: beyond it all errors count alike
TILTED_TRIES: Final = 8  # frames in which another look of a tilted stick is looked for
TILTED_LOOKS: Final = 0.85  # of the misfit that one look leaves: what two must come to, since they always fit better
GAIN: Final = 0.995  # of the misfit: what a step must leave at most
SIZE_PRICE: Final = 0.15  # on a flat pad a disc larger than the cap explains as much
LOOK_FRAMES: Final = 3  # at least, to measure a look in
NO_MISFIT: Final = 1e-6  # of 255: where nothing moves, not even the game, everything explains it
CLICKED_ERROR: Final = 0.1  # of full scale: a clicked stick is this much further from its looks than it is usually
CLICKED_LOOK: Final = 0.7  # of the misfit without it: what its clicked look must leave
CLICKED_FRAMES: Final = 2
UNEXPLAINED: Final = 0.93  # of what moves in the sticks' reaches: if that is left, it is the game
TRAVELLED: Final = 98  # percentile of how far it was seen from where it rests
LEAST_TRAVEL: Final = 0.1  # of a cap's size; a stick that was seen to move less was hardly used

AROUND: Final = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Cap:
    """A stick's cap, in pixels of the box. middle: (x, y) where it rests; travel: how far it goes from there.

    looks: (side, side, 3) uint8, of which only the disc counts: at rest, then while tilted, where that differs.
    clicked: the same while it is clicked, None where that was not seen.
    """

    middle: Point
    travel: float
    looks: tuple[np.ndarray, ...]
    clicked: np.ndarray | None

    @property
    def side(self) -> int:
        """Of its square, in pixels."""
        return len(self.looks[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Looks (side, side, 3) float32 of a stick that rests around ``middle``, and how badly they explain its frames.

    which: (N,) the look that fits each frame best, corners: (N, 2) where.
    """

    middle: Point
    looks: tuple[np.ndarray, ...]
    misfit: float
    which: np.ndarray
    corners: np.ndarray

    @classmethod
    def of(cls, view: _Surroundings, middle: Point, looks: tuple[np.ndarray, ...]) -> _Fit:
        """Looks where they fit the frames best."""
        which, corners, _ = view.place(looks, middle)
        return cls(middle, looks, view.misfit(looks, which, corners), which, corners)

    @property
    def side(self) -> int:
        """Of the looks, in pixels."""
        return len(self.looks[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Surroundings:
    """What is around a stick: frames (N, h, w, 3) float32, their rest picture, and what of it is no button (h, w).

    middle: where the layout has the stick, reach: how far from there its cap is seen; both in pixels of these.
    """

    frames: np.ndarray
    rest: np.ndarray
    counts: np.ndarray
    middle: Point
    reach: float

    def in_order(self) -> np.ndarray:
        """The frames' numbers (N,), those last in which it moved most."""
        rows, columns = np.indices(self.rest.shape[:2]) + 0.5
        near = (np.hypot(columns - self.middle[0], rows - self.middle[1]) <= self.reach) & self.counts
        return np.asarray(np.argsort((np.abs(self.frames - self.rest).mean(3) * near).mean((1, 2))))

    def only(self, numbers: np.ndarray) -> _Surroundings:
        """With some of its frames."""
        return replace(self, frames=self.frames[numbers])

    def place(self, looks: Sequence[np.ndarray], middle: Point) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which look fits each frame best and where: (N,) index, (N, 2) corner x, y, (N,) squared error."""
        side = len(looks[0])
        mask = np.dstack([disc(side).astype(np.float32)] * 3)
        height, width = self.rest.shape[:2]
        rows, columns = np.indices((height - side + 1, width - side + 1)) + side / 2
        beyond = np.hypot(columns - middle[0], rows - middle[1]) > FURTHEST * self.reach
        which, corners, costs = [], [], []
        for frame in self.frames:
            found = np.stack([cv2.matchTemplate(frame, look, cv2.TM_SQDIFF, mask=mask) for look in looks])
            found[:, beyond] = np.inf
            index, y, x = np.unravel_index(int(found.argmin()), found.shape)
            which.append(index)
            corners.append((x, y))
            costs.append(found[index, y, x])
        return np.array(which), np.array(corners), np.maximum(costs, 0)

    def misfit(self, looks: Sequence[np.ndarray], which: np.ndarray, corners: np.ndarray) -> float:
        """How far the frames are from looks at their places, over the median of the frames that are elsewhere."""
        side = len(looks[0])
        inside = disc(side) > 0
        hidden = np.zeros(self.frames.shape[:3], bool)
        drawn = self.frames.copy()
        for index, (x, y), covered, picture in zip(which, corners, hidden, drawn, strict=True):
            covered[y : y + side, x : x + side] = inside
            picture[y : y + side, x : x + side][inside] = looks[index][inside]
        behind = _median_where(self.frames, ~hidden, self.rest)
        error = np.abs(self.frames - np.where(hidden[..., None], drawn, behind))
        return float(np.minimum(error, ERROR)[:, self.counts].mean()) + NO_MISFIT


def find_caps(crops: np.ndarray, rest: np.ndarray, boxes: Mapping[str, Box], buttons: Sequence[Box]) -> dict[str, Cap]:
    """The caps of the sticks in (N, h, w, 3) uint8 crops around their rest picture; none where the game moves as much.

    boxes: by stick, about what it sweeps. buttons: what lights up by itself, and is not looked at.
    Two sticks of a pad have the same share of what they sweep, and as many looks.
    """
    fine = min(1.0, WORKING_WIDTH / rest.shape[1])
    views = {name: _look_around(crops, rest, box, buttons, fine) for name, box in boxes.items()}
    seen = {name: view for name, view in views.items() if view is not None}
    searched = {name: _smaller(_mixed(view, SEARCH_FRAMES)) for name, view in seen.items()}
    chosen = _choose({name: (_search(view), _unexplained(view)) for name, view in searched.items()})
    fits: dict[str, _Fit] = {}
    for name, fit in chosen.items():
        factor = seen[name].reach / searched[name].reach
        view = _mixed(seen[name], FRAMES)
        fits[name] = _refine(view, _Fit.of(view, *_enlarged(fit, factor)))
    return _finish(fits, seen, boxes, fine)


def _finish(
    fits: Mapping[str, _Fit], views: Mapping[str, _Surroundings], boxes: Mapping[str, Box], scale: float
) -> dict[str, Cap]:
    """Caps in pixels of the box, each with how far the one of them goes that goes furthest for its size."""
    places = {name: views[name].place(fit.looks, fit.middle)[1] + fit.side / 2 for name, fit in fits.items()}
    away = {name: np.hypot(*(place - fits[name].middle).T) for name, place in places.items()}
    furthest = max((float(np.percentile(away[name], TRAVELLED)) / fit.side for name, fit in fits.items()), default=0.0)
    caps: dict[str, Cap] = {}
    for name, fit in fits.items():
        x, y, w, h = boxes[name]
        view, travel = views[name], max(furthest, LEAST_TRAVEL) * fit.side
        _, whole = _enlarged(fit, 1 / scale)
        middle = tuple(
            side + (at - expected) / scale
            for side, at, expected in zip((x + w / 2, y + h / 2), fit.middle, view.middle, strict=True)
        )
        clicked = _clicked_look(view, fit)
        looks = tuple(look.round().astype(np.uint8) for look in whole)
        grown = None if clicked is None else cv2.resize(clicked, looks[0].shape[:2]).round().astype(np.uint8)
        caps[name] = Cap((middle[0], middle[1]), travel / scale, looks, grown)
    return caps


def _mixed(view: _Surroundings, count: int) -> _Surroundings:
    """Some of its frames: half of them those in which it moved most, and as many spread over all.

    Those in which it rests tell how large a cap is there, the others where that is gone.
    """
    order = view.in_order()
    lively = order[-LIVELY:][:: max(1, 2 * LIVELY // count)]
    return view.only(np.unique(np.concatenate([lively, order[:: max(1, 2 * len(order) // count)]])))


def _smaller(view: _Surroundings) -> _Surroundings:
    """The same, small enough to try much."""
    scale = min(1.0, SEARCH_REACH / view.reach)
    height, width = view.rest.shape[:2]
    size = round(width * scale), round(height * scale)
    rest, *frames = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (view.rest, *view.frames))
    counts = cv2.resize(view.counts.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    middle = view.middle[0] * scale, view.middle[1] * scale
    return _Surroundings(np.stack(frames), rest, counts, middle, view.reach * scale)


def _enlarged(fit: _Fit, factor: float) -> tuple[Point, tuple[np.ndarray, ...]]:
    """A fit's middle and looks in a picture that is ``factor`` times as large."""
    side = max(3, round(fit.side * factor))
    looks = tuple(cv2.resize(look, (side, side), interpolation=cv2.INTER_LINEAR) for look in fit.looks)
    return (fit.middle[0] * factor, fit.middle[1] * factor), looks


def _look_around(
    crops: np.ndarray, rest: np.ndarray, box: Box, buttons: Sequence[Box], scale: float
) -> _Surroundings | None:
    """What is around a stick's box, ``scale`` times as large; None where nothing of it is in the picture."""
    x, y, w, h = box
    reach = min(w, h) / 2
    far = (1 + MARGIN) * reach
    left, top = (max(0, round(side)) for side in (x + w / 2 - far, y + h / 2 - far))
    right, bottom = (
        min(size, round(side)) for size, side in zip(rest.shape[1::-1], (x + w / 2 + far, y + h / 2 + far), strict=True)
    )
    size = max(0, round((right - left) * scale)), max(0, round((bottom - top) * scale))
    if min(size) < 8:
        return None
    counts = np.ones(rest.shape[:2], bool)
    for button in buttons:
        bx, by, bw, bh = (round(side) for side in button)
        counts[max(by, 0) : by + bh, max(bx, 0) : bx + bw] = False
    window = (slice(top, bottom), slice(left, right))
    smaller = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (rest[window], *crops[:, *window])]
    kept = cv2.resize(counts[window].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    middle = ((x + w / 2 - left) * scale, (y + h / 2 - top) * scale)
    frames = np.stack(smaller[1:]).astype(np.float32)
    return _Surroundings(frames, smaller[0].astype(np.float32), kept, middle, reach * scale)


def _search(view: _Surroundings) -> dict[tuple[float, int], _Fit]:
    """By share of the reach and number of looks, the fit that a descent from the layout's middle ends in."""
    fits: dict[tuple[float, int], _Fit] = {}
    lively = view.only(view.in_order()[len(view.frames) // 2 :])
    for share in SHARES:
        side = max(3, round(share * 2 * view.reach))
        if side >= min(view.rest.shape[:2]):  # cut off by the edge of the box
            continue
        tilted = _tilted_look(lively, side)
        for others in [()] if tilted is None else [(), (tilted,)]:
            fit = _descend(view, side, others)
            if fit is not None:
                fits[share, 1 + len(others)] = fit
    return fits


def _descend(view: _Surroundings, side: int, others: tuple[np.ndarray, ...]) -> _Fit | None:
    """The middle, and the look that the rest picture has there, that explains the frames best beside other looks."""
    grid = [(x * view.reach, y * view.reach) for x in STARTS for y in STARTS]
    tries = [_fit_at(view, (view.middle[0] + dx, view.middle[1] + dy), side, others) for dx, dy in grid]
    best = min((fit for fit in tries if fit is not None), key=lambda fit: fit.misfit, default=None)
    if best is None:
        return None
    for step in STEPS:
        by, moved = max(1, round(step * view.reach)), True
        while moved:
            moved = False
            for dx, dy in AROUND:
                fit = _fit_at(view, (best.middle[0] + by * dx, best.middle[1] + by * dy), side, others)
                if fit is not None and fit.misfit < GAIN * best.misfit:
                    best, moved = fit, True
    return best


def _fit_at(view: _Surroundings, middle: Point, side: int, others: tuple[np.ndarray, ...]) -> _Fit | None:
    """What the rest picture's look at a place leaves; None beyond the surroundings."""
    x, y = (round(at - side / 2) for at in middle)
    height, width = view.rest.shape[:2]
    inside = x >= 0 and y >= 0 and x + side <= width and y + side <= height
    if not inside or np.hypot(middle[0] - view.middle[0], middle[1] - view.middle[1]) > OFF * view.reach:
        return None
    look = view.rest[y : y + side, x : x + side]
    return _Fit.of(view, (x + side / 2, y + side / 2), (look, *others))


def _refine(view: _Surroundings, fit: _Fit) -> _Fit:
    """With its looks measured where they were found, each moved by a pixel where that explains more."""
    for _ in range(ROUNDS):
        before = fit.misfit
        for index in range(len(fit.looks)):
            for dx, dy in ((0, 0), *AROUND):
                tried = _measured_anew(view, fit, index, dx, dy)
                if tried is not None and tried.misfit < GAIN * fit.misfit:
                    fit = tried
        if fit.misfit == before:
            break
    return fit


def _measured_anew(view: _Surroundings, fit: _Fit, index: int, dx: int, dy: int) -> _Fit | None:
    """With one look as the median of what is ``dx``, ``dy`` beside where it was found."""
    height, width = view.rest.shape[:2]
    places = fit.corners + np.array((dx, dy))
    inside = (fit.which == index) & (places >= 0).all(1) & (places + fit.side <= (width, height)).all(1)
    if inside.sum() < LOOK_FRAMES:
        return None
    look = _median_at(view.frames[inside], places[inside], fit.side)
    middle = (fit.middle[0] + dx, fit.middle[1] + dy) if index == 0 else fit.middle
    return _Fit.of(view, middle, (*fit.looks[:index], look, *fit.looks[index + 1 :]))


def _choose(found: Mapping[str, tuple[dict[tuple[float, int], _Fit], float]]) -> dict[str, _Fit]:
    """Each stick's fit of the share and the number of looks that leave least, relative to the least of each.

    found: by stick, what ``_search`` found, and the misfit of no stick at all. None where no look explains more than
    the game would.
    """
    found = {name: each for name, each in found.items() if each[0]}
    least = {name: min(fit.misfit for fit in fits.values()) for name, (fits, _) in found.items()}
    if not found or np.mean([least[name] / none for name, (_, none) in found.items()]) > UNEXPLAINED:
        return {}

    def misfit(kind: tuple[float, int]) -> float:
        total = sum(fits[kind].misfit / least[name] for name, (fits, _) in found.items())
        return total * (1 + SIZE_PRICE * kind[0]) / (1 if kind[1] == 1 else TILTED_LOOKS)

    both = set.intersection(*(set(fits) for fits, _ in found.values()))
    best = min(both, key=misfit, default=None)
    return {} if best is None else {name: fits[best] for name, (fits, _) in found.items()}


def _unexplained(view: _Surroundings) -> float:
    """The misfit of no stick at all."""
    return float(np.minimum(np.abs(view.frames - np.median(view.frames, 0)), ERROR)[:, view.counts].mean()) + NO_MISFIT


def _tilted_look(view: _Surroundings, side: int) -> np.ndarray | None:
    """What recurs away from the middle of a stick's reach: (side, side, 3) float32, or None where there is no room.

    Of a few frames the place that differs most from rest is taken for the stick; what is found again with the least
    error is it, and the median of where it is found is its look.
    """
    frames, rest = view.frames, view.rest
    height, width = rest.shape[:2]
    rows, columns = np.indices((height - side + 1, width - side + 1)) + side / 2
    far = np.hypot(columns - view.middle[0], rows - view.middle[1])
    away = (far > side / 2) & (far <= view.reach)
    if not away.any():
        return None
    patches: list[tuple[float, np.ndarray]] = []
    for frame in frames[:: max(1, len(frames) // TILTED_TRIES)]:
        apart = cv2.boxFilter(np.abs(frame - rest).mean(2) * view.counts, -1, (side, side), anchor=(0, 0))
        apart = np.where(away, apart[: height - side + 1, : width - side + 1], -1)
        y, x = np.unravel_index(int(apart.argmax()), apart.shape)
        patch = frame[y : y + side, x : x + side]
        _, corners, costs = view.place((patch,), view.middle)
        nearest = np.argsort(costs)[: max(1, len(frames) // 2)]
        look = np.median([frames[i, v : v + side, u : u + side] for i in nearest for u, v in corners[i : i + 1]], 0)
        patches.append((float(costs[nearest].sum()), look.astype(np.float32)))
    return min(patches, key=lambda each: each[0])[1]


def _clicked_look(view: _Surroundings, fit: _Fit) -> np.ndarray | None:
    """What a stick looks like while it is clicked: (side, side, 3) float32, or None where that was not seen.

    Wherever it stands, it then fits none of its other looks. What is found in its place must explain these frames.
    """
    _, corners, costs = view.place(fit.looks, fit.middle)
    misfit = np.sqrt(costs / (3 * disc(fit.side).sum())) / 255
    usual, most = float(np.median(misfit)), float(np.sort(misfit)[-CLICKED_FRAMES])
    if most < usual + CLICKED_ERROR:
        return None
    lit = misfit >= (usual + most) / 2
    used = view.only(np.flatnonzero(lit))
    middle = np.round(np.array(fit.middle) - fit.side / 2).astype(int)
    without = used.misfit(fit.looks, *used.place(fit.looks, fit.middle)[:2])
    tries: list[tuple[float, np.ndarray]] = []
    for places in (np.tile(middle, (len(used.frames), 1)), corners[lit]):
        look = _median_at(used.frames, places, fit.side)
        for _ in range(2):
            look = _median_at(used.frames, used.place((look,), fit.middle)[1], fit.side)
        looks = (*fit.looks, look)
        tries.append((used.misfit(looks, *used.place(looks, fit.middle)[:2]), look))
    least, look = min(tries, key=lambda each: each[0])
    return look if least <= CLICKED_LOOK * without else None


def _median_at(frames: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """The median (side, side, 3) float32 of what frames (N, h, w, 3) show at their places (N, 2)."""
    shown = [frame[y : y + side, x : x + side] for frame, (x, y) in zip(frames, corners, strict=True)]
    return np.asarray(np.median(shown, 0), np.float32)


def _median_where(frames: np.ndarray, seen: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """The median (h, w, 3) of (N, h, w, 3) frames where they are ``seen`` (N, h, w); ``otherwise`` where never."""
    in_order = np.sort(np.where(seen[..., None], frames, np.inf), axis=0)
    count = seen.sum(0)
    middle = np.maximum(count - 1, 0) // 2
    chosen = np.take_along_axis(in_order, middle[None, ..., None], 0)[0]
    return np.where(count[..., None] > 0, chosen, otherwise)


def disc(side: int) -> np.ndarray:
    """(side, side) uint8, 1 inside the circle."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
