"""The sticks of a skin that nobody drew: what their caps look like, where they rest and how far they go.

A family's layout says about where a stick is. What moves there as one, before what stands still, is its cap
(``layers``); how far it goes is how far it was then seen from where it rests. Both sticks of a pad mostly wear the same
cap, so that of one is tried on the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from extraction.layers import SURE_FLOORS, Frames, Seen, Sprite, anneal, gain_of, look_for, warped, with_another_look
from templates.scene import Box

WORKING_WIDTH: Final = 200  # px of the whole overlay; no finer pictures are learned from
SEARCH_REACH: Final = 12.0  # px; a stick that reaches further is looked for in a smaller picture first
MARGIN: Final = 0.35  # of a stick's reach around it: so far off its middle may be
SQUARE: Final = 1.8  # of a stick's reach: what its cap fits in
DISCS: Final = (0.4, 0.65)  # of what a stick sweeps: a cap's diameter to begin with
LIVELY: Final = 120  # frames in which it moved most
SEARCH_FRAMES: Final = 60
FRAMES: Final = 80  # to learn the whole cap from
SPARE: Final = 4  # px around a cap in its square
FINE_FLOORS: Final = SURE_FLOORS[1:5]
BETTER: Final = 1.1  # times the gain of one look: what two must come to, since they always fit better
UNLIKE: Final = 30.0  # of 255: so much a second look differs from the first
SEEN_OFTEN: Final = 0.1  # of the frames: so often a second look is seen
AWAY: Final = 0.15  # of its reach: further from where it rests a stick is used ...
HARDLY: Final = 0.1  # ... hardly, in fewer of the frames
TILTED: Final = 0.3  # of how far it goes: from here on a stick is tilted
GAME_SHARE: Final = 0.4  # of a stick's circle: with more of it joined to the edge it has no pad around it
ERROR: Final = 60.0  # of 255: beyond it all errors count alike
FILLED: Final = 0.9  # of what a stick sweeps: what covers more must leave no more than WELL of what moves, or it is
WELL: Final = 0.6  # the game that shines through
WIDEST: Final = 2.0  # of its reach: what is as wide as all that a stick sweeps is no cap
LOOKS_AROUND: Final = 3  # where the layout has a stick, then where it was found
NEAR: Final = 0.25  # of its reach: a stick found so near to where it was looked for is all in sight
SURE: Final = 0.5  # of the posterior mass about a place
RESTING: Final = 0.15  # of how far it goes: so tightly the places lie where it rests
CENTRAL: Final = 0.2  # weight of what is seen at the furthest, against 1 more in the middle, before both are squared
ELSEWHERE: Final = 0.8  # of its reach: what rests further from where the layout has the stick is something else
UNEXPLAINED: Final = 0.93  # of what moves in the sticks' reaches: if that is left, it is the game
CLICKED_ERROR: Final = 0.1  # of full scale: a clicked stick is this much further from its looks than it is usually
CLICKED_LOOK: Final = 0.7  # of the misfit without it: what its clicked look must leave
CLICKED_FRAMES: Final = 2
STEP: Final = 0.3  # of its reach: places so near to each other a stick gets to by moving
TRAVELLED: Final = 98  # percentile of how far along x and along y it was seen from where it rests
LEAST_TRAVEL: Final = 0.1  # of a cap's size; a stick that was seen to move less was hardly used

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Cap:
    """A stick's cap, in pixels of the box. middle: (x, y) where it rests; travel: how far it goes from there.

    looks: (side, side, 4) uint8 RGBA: at rest, then while tilted, where that differs. clicked: the same while it is
    clicked, None where that was not seen. behind: the same of what it hides at rest, a little larger.
    """

    middle: Point
    travel: float
    looks: tuple[np.ndarray, ...]
    clicked: np.ndarray | None
    behind: np.ndarray

    @property
    def side(self) -> int:
        """Of its square, in pixels."""
        return len(self.looks[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Surroundings:
    """What is around a stick: pictures (N, h, w, 3) float32, their rest picture, and which pixels count (h, w).

    middle: where the layout has the stick, reach: how far from there its cap is seen; both in pixels of these.
    """

    pictures: np.ndarray
    rest: np.ndarray
    counts: np.ndarray
    middle: Point
    reach: float

    def mixed(self, count: int) -> _Surroundings:
        """Some of its pictures: half of them those in which it moved most, and as many spread over all."""
        rows, columns = np.indices(self.rest.shape[:2]) + 0.5
        near = (np.hypot(columns - self.middle[0], rows - self.middle[1]) <= self.reach) & self.counts
        order = np.argsort((np.abs(self.pictures - self.rest).mean(3) * near).mean((1, 2)))
        lively = order[-LIVELY:][:: max(1, 2 * LIVELY // count)]
        chosen = np.unique(np.concatenate([lively, order[:: max(1, 2 * len(order) // count)]]))
        return replace(self, pictures=self.pictures[chosen])

    def smaller(self, scale: float) -> _Surroundings:
        """The same, ``scale`` times as large."""
        height, width = self.rest.shape[:2]
        size = round(width * scale), round(height * scale)
        rest, *pictures = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (self.rest, *self.pictures))
        counts = cv2.resize(self.counts.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        middle = self.middle[0] * scale, self.middle[1] * scale
        return _Surroundings(np.stack(pictures), rest, counts, middle, self.reach * scale)

    def frames(self, side: int) -> Frames:
        """As layers are learned from."""
        return Frames.of(self.pictures, self.rest, self.counts, self.middle, self.reach, side)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A cap learned from frames, and where it was seen."""

    frames: Frames
    sprite: Sprite
    seen: Seen

    @property
    def middle(self) -> Point:
        """Of the cap where it rests, in its frames' pixels."""
        return _rests(self.sprite, self.seen)

    @property
    def off(self) -> np.ndarray:
        """How far (x, y) from where it was looked for it rests."""
        return np.subtract(self.middle, self.frames.middle)


def find_caps(
    crops: np.ndarray, rest: np.ndarray, boxes: Mapping[str, Box], buttons: Sequence[Box], game: np.ndarray
) -> dict[str, Cap]:
    """The caps of the sticks in (N, h, w, 3) uint8 crops around their rest picture; none where the game moves as much.

    boxes: by stick, about what it sweeps. What is not looked at: buttons, which light up by themselves, and game,
    (h, w) bool, what is beside the pad.
    """
    fine = min(1.0, WORKING_WIDTH / rest.shape[1])
    rests = boxes
    for _ in range(LOOKS_AROUND):
        looked = rests
        views = {name: _look_around(crops, rest, box, buttons, game, fine) for name, box in looked.items()}
        seen = {name: view for name, view in views.items() if view is not None}
        scales = {name: min(1.0, SEARCH_REACH / view.reach) for name, view in seen.items()}
        found = _search({name: view.mixed(SEARCH_FRAMES).smaller(scales[name]) for name, view in seen.items()})
        rests = {name: _shifted(looked[name], each.off / scales[name] / fine) for name, each in found.items()}
        if all(np.hypot(*each.off) <= NEAR * each.frames.reach for each in found.values()):
            break
    there = {name: each for name, each in found.items() if _apart(rests[name], boxes[name]) <= ELSEWHERE}
    caps = {name: each for name, each in there.items() if not _fills_all(each) or _unexplained([each]) <= WELL}
    whole = {name: _enlarge(each, seen[name], 1 / scales[name]) for name, each in caps.items()}
    whole = {name: each for name, each in whole.items() if each.sprite.extent < WIDEST * each.frames.reach}
    if _unexplained(whole.values()) > UNEXPLAINED:
        return {}
    return _finish(whole, seen, looked, fine)


def _apart(box: Box, other: Box) -> float:
    """How far the middles of two squares of one size are apart, in half sides."""
    return float(np.hypot(box[0] - other[0], box[1] - other[1])) / (box[2] / 2)


def _shifted(box: Box, by: np.ndarray) -> Box:
    """A box moved by x, y."""
    return box[0] + float(by[0]), box[1] + float(by[1]), box[2], box[3]


def _search(views: Mapping[str, _Surroundings]) -> dict[str, _Found]:
    """What each stick's cap is, by what explains most: from a disc in its place, or like the other one's."""
    frames = {name: view.frames(round(SQUARE * view.reach) | 1) for name, view in views.items()}
    alone = {name: each.alone() for name, each in frames.items()}

    def likelier(name: str, *found: _Found) -> _Found:
        return max(found, key=lambda each: gain_of(each.seen, alone[name]))

    found: dict[str, _Found] = {}
    for name, each in frames.items():
        one = likelier(name, *(_Found(each, *anneal(each, _disc(each, share))) for share in DISCS))
        two = _Found(each, *with_another_look(each, one.sprite, one.seen))
        often = float(two.seen.shares[:, 1].sum((1, 2)).mean()) >= SEEN_OFTEN
        unlike = two.sprite.unlikeness() >= UNLIKE
        usual = gain_of(one.seen, alone[name])
        better = gain_of(two.seen, alone[name]) > usual + (BETTER - 1) * abs(usual)
        found[name] = two if often and unlike and better else one
    best = dict(found)
    for name, other in zip(found, reversed(found), strict=True):
        if name == other:
            continue
        scale = frames[name].reach / frames[other].reach
        alike = found[other].sprite.moved_to(frames[name], frames[name].middle, scale)
        shared = _Found(frames[name], *anneal(frames[name], alike, SURE_FLOORS))
        # What little moves about a stick that is hardly used tells less of its cap than the other one's does.
        other_tells = _is_hardly_used(found[name]) and gain_of(found[other].seen, alone[other]) > 0
        best[name] = shared if other_tells else likelier(name, found[name], shared)
    return best


def _is_hardly_used(found: _Found) -> bool:
    """Whether a stick was seen away from where it rests in a few of its frames only."""
    return bool((np.hypot(*_away(found.sprite, found.seen).T) > AWAY * found.frames.reach).mean() < HARDLY)


def _disc(frames: Frames, share: float) -> Sprite:
    """What the rest picture shows in a disc about the middle, ``share`` of what the stick sweeps."""
    across = torch.arange(frames.side) + 0.5 - frames.side / 2
    mask = torch.hypot(across[None], across[:, None]) <= share * frames.reach
    return Sprite.at(frames, frames.middle, mask.float())


def _enlarge(found: _Found, view: _Surroundings, scale: float) -> _Found:
    """What was found in small pictures, in the whole ones, ``scale`` times as large."""
    side = math.ceil(found.sprite.extent * scale) + SPARE
    frames = view.mixed(FRAMES).frames(side)
    x, y = (
        at + scale * (rests - expected)
        for at, rests, expected in zip(frames.middle, found.middle, found.frames.middle, strict=True)
    )
    return _Found(frames, *anneal(frames, found.sprite.enlarged(found.frames, frames, (x, y), scale), FINE_FLOORS))


def _places(sprite: Sprite, seen: Seen) -> np.ndarray:
    """The middle of the cap in each frame: (N, 2)."""
    return np.asarray((seen.corners + sprite.centres[seen.which]).numpy())


def _rests(sprite: Sprite, seen: Seen) -> Point:
    """Where the middle of a cap is when it is let go: where it is often, and rather in the middle of all its places."""
    sure = seen.certainty.numpy() > SURE
    places = _places(sprite, seen)[sure if sure.any() else slice(None)]
    (x, y), radius = cv2.minEnclosingCircle(places)
    near = near_each_other(places, max(RESTING * radius, 1.0))
    central = 1 + CENTRAL - np.hypot(*(places - (x, y)).T) / max(radius, 1.0)
    x, y = places[near[(near.sum(1) * central**2).argmax()]].mean(0).tolist()
    return x, y


def near_each_other(places: np.ndarray, within: float) -> np.ndarray:
    """Which of some places (N, 2) are so near to which: (N, N) bool."""
    return np.asarray(np.hypot(*(places[:, None] - places).transpose(2, 0, 1)) <= within)


def _away(sprite: Sprite, seen: Seen) -> np.ndarray:
    """How far it was seen from there: (N, 2); 0 where it might be anywhere, as one that is drawn while tilted only."""
    away = _places(sprite, seen) - _rests(sprite, seen)
    return np.where(seen.certainty.numpy()[:, None] > SURE, away, 0)


def _travel_of(away: np.ndarray) -> float:
    """How far a stick goes, by how far (N, 2) it was seen along x and along y: gates are round or square."""
    return float(np.percentile(np.abs(away), TRAVELLED, axis=0).max()) if len(away) else 0.0


def _by_steps(away: np.ndarray, reach: float) -> np.ndarray:
    """Of where it was seen (N, 2) what it gets to by small steps from where it rests; all, if that is the lesser part.

    What lies apart is the game: a scene that stays for a while may look like the cap somewhere. A digital stick jumps.
    """
    near = near_each_other(away, STEP * reach)
    got_to = np.hypot(*away.T) <= STEP * reach
    while (further := near[got_to].any(0) & ~got_to).any():
        got_to |= further
    used = np.hypot(*away.T) > AWAY * reach
    return away[got_to] if (got_to & used).sum() >= (~got_to).sum() else away


def _worn(sprite: Sprite, seen: Seen) -> Sprite:
    """With its look at rest and that while tilted, if these are two; else with the one that is seen more often."""
    if len(sprite.looks) == 1:
        return sprite
    away, second = _away(sprite, seen), seen.which.numpy() == 1
    tilted = np.hypot(*away.T) > TILTED * _travel_of(away)
    far, near = (float(second[some].mean()) if some.any() else 0.5 for some in (tilted, ~tilted))
    if min(far, 1 - near) > 0.5:
        return sprite
    return sprite.only([1, 0] if min(1 - far, near) > 0.5 else [int(second.mean() > 0.5)])


def _fills_all(found: _Found) -> bool:
    """Whether a cap is as large as what its stick sweeps."""
    return found.sprite.extent > FILLED * 2 * found.frames.reach


def _unexplained(found: Iterable[_Found]) -> float:
    """What the caps leave of what moves, as a share; a stick that never moves has no say."""
    left, moving = 0.0, 1e-6
    for each in found:
        weights, colours = each.frames.weights, each.frames.colours
        left += _error(colours - _drawn(each.frames, each.sprite, each.seen), weights)
        moving += _error(colours - colours.median(0).values, weights)
    return left / moving


def _error(apart: Tensor, weights: Tensor) -> float:
    """The sum of (N, 3, H, W) as far as pixels count."""
    return float((apart.abs().clamp_max(ERROR) * weights).sum())


def _drawn(frames: Frames, sprite: Sprite, seen: Seen) -> Tensor:
    """The frames as the layers tell them: (N, 3, H, W)."""
    pictures = sprite.behind.expand(len(seen.told), -1, -1, -1).clone()
    for picture, look, (x, y) in zip(pictures, seen.which.tolist(), seen.corners.tolist(), strict=True):
        covered = sprite.masks[look] > 0
        picture[:, y : y + frames.side, x : x + frames.side][:, covered] = sprite.looks[look][:, covered]
    return pictures


def _finish(
    found: Mapping[str, _Found], views: Mapping[str, _Surroundings], boxes: Mapping[str, Box], fine: float
) -> dict[str, Cap]:
    """Caps in pixels of the box, each with how far the one of them goes that goes furthest for its size."""
    away: dict[str, np.ndarray] = {}
    rests: dict[str, Point] = {}
    clicks: dict[str, Tensor | None] = {}
    told: dict[str, Sprite] = {}
    for name, each in found.items():
        frames = views[name].frames(each.frames.side)
        seen = look_for(frames, each.sprite)
        misfit = _misfit(frames, each.sprite, seen)
        fits = (misfit < misfit.median() + CLICKED_ERROR).numpy()  # a click that it does not know is found anywhere
        rests[name], away[name] = _rests(each.sprite, seen), _by_steps(_away(each.sprite, seen)[fits], frames.reach)
        told[name] = _worn(each.sprite, seen)
        clicks[name] = _clicked_look(frames, told[name], look_for(frames, told[name]))
    furthest = max((_travel_of(away[name]) / told[name].extent for name in found), default=0.0)
    caps: dict[str, Cap] = {}
    for name, sprite in told.items():
        x, y, w, h = boxes[name]
        middle = tuple(
            side + (at - expected) / fine
            for side, at, expected in zip((x + w / 2, y + h / 2), rests[name], found[name].frames.middle, strict=True)
        )
        clicked = clicks[name]
        caps[name] = Cap(
            (middle[0], middle[1]),
            max(furthest, LEAST_TRAVEL) * sprite.extent / fine,
            tuple(_rgba(sprite, i, look, fine) for i, look in enumerate(sprite.looks)),
            None if clicked is None else _rgba(sprite, 0, clicked, fine),
            _behind(sprite, rests[name], fine),
        )
    return caps


def _rgba(sprite: Sprite, number: int, look: Tensor, scale: float) -> np.ndarray:
    """A look (3, s, s) as RGBA in the mask of one of the sprite's, 1 / scale times as large: (side, side, 4) uint8."""
    x, y = sprite.centres[number].tolist()
    return _picture(torch.cat([look, 255 * sprite.masks[number : number + 1]]), (x, y), sprite.extent, scale)


def _behind(sprite: Sprite, middle: Point, scale: float) -> np.ndarray:
    """What a cap that rests in a place hides, and a pixel around it, as RGBA 1 / scale times as large."""
    x, y = sprite.centres[0].tolist()
    side = sprite.masks.shape[1]
    grown = functional.max_pool2d(sprite.masks[:1], 3, 1, 1)
    cut = warped(sprite.behind, np.array([[1, 0, x - middle[0]], [0, 1, y - middle[1]]]), (side, side))
    return _picture(torch.cat([cut, 255 * grown]), (x, y), sprite.extent + 2, scale)


def _picture(layers: Tensor, middle: Point, extent: int, scale: float) -> np.ndarray:
    """A square of some extent about the middle of layers (4, s, s), 1 / scale times as large: (side, side, 4) uint8."""
    side = max(3, round(extent / scale))
    to = np.array([[1 / scale, 0, side / 2 - middle[0] / scale], [0, 1 / scale, side / 2 - middle[1] / scale]])
    return np.asarray(warped(layers, to, (side, side)).permute(1, 2, 0).numpy().round().clip(0, 255), np.uint8)


def _clicked_look(frames: Frames, sprite: Sprite, seen: Seen) -> Tensor | None:
    """What a stick looks like while it is clicked: (3, s, s), or None where that was not seen.

    Wherever it stands, it then fits none of its other looks. What is found in its place must explain these frames.
    """
    misfit = _misfit(frames, sprite, seen)
    usual, most = float(misfit.median()), float(misfit.sort().values[-CLICKED_FRAMES])
    if most < usual + CLICKED_ERROR:
        return None
    lit = torch.nonzero(misfit >= (usual + most) / 2)[:, 0]
    used = frames.only(lit)
    rests = (torch.tensor(_rests(sprite, seen)) - sprite.centres[0]).round().int().expand(len(lit), -1)
    tries: list[tuple[Seen, Sprite]] = []
    for corners in (rests, seen.corners[lit]):
        for _ in range(3):
            clicked = replace(sprite.only([0]), looks=used.patches(corners).median(0).values[None])
            there = look_for(used, clicked)
            corners = there.corners
        tries.append((there, clicked))
    there, clicked = max(tries, key=lambda each: float(each[0].told.mean()))
    explains = float(_misfit(used, clicked, there).mean()) <= CLICKED_LOOK * float(misfit[lit].mean())
    return clicked.looks[0] if explains else None


def _misfit(frames: Frames, sprite: Sprite, seen: Seen) -> Tensor:
    """How far what frames show is from the cap in its likeliest place: (N,), of full scale."""
    apart, masks = frames.patches(seen.corners) - sprite.looks[seen.which], sprite.masks[seen.which]
    return ((apart**2).mean(1) * masks).sum((1, 2)).div(masks.sum((1, 2))).sqrt() / 255


def _look_around(
    crops: np.ndarray, rest: np.ndarray, box: Box, buttons: Sequence[Box], game: np.ndarray, scale: float
) -> _Surroundings | None:
    """What is around a stick's box, ``scale`` times as large; None where nothing of it is in the picture or counts."""
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
    middle = ((x + w / 2 - left) * scale, (y + h / 2 - top) * scale)
    rows, columns = np.indices(size[::-1]) + 0.5
    circle = np.hypot(columns - middle[0], rows - middle[1]) <= reach * scale
    counts = (~game).astype(np.uint8)
    window = (slice(top, bottom), slice(left, right))
    beside = cv2.resize(counts[window], size, interpolation=cv2.INTER_NEAREST) == 0
    if beside[circle].mean() > GAME_SHARE:
        counts[:] = 1
    for button in buttons:
        bx, by, bw, bh = (round(side) for side in button)
        counts[max(by, 0) : by + bh, max(bx, 0) : bx + bw] = 0
    smaller = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (rest[window], *crops[:, *window])]
    kept = cv2.resize(counts[window], size, interpolation=cv2.INTER_NEAREST) > 0
    if not kept[circle].any():
        return None
    pictures = np.stack(smaller[1:]).astype(np.float32)
    return _Surroundings(pictures, smaller[0].astype(np.float32), kept, middle, reach * scale)
