"""A cap before what is behind it, learned from frames in which it is elsewhere each time.

Two layers, as in Jojic and Frey, Learning Flexible Sprites in Video Layers (CVPR 2001): in each frame the cap, in one
of its looks, hides a part of what stands still. Which pixels it covers, what it looks like, what is behind it, and
where it was are learned together by expectation-maximisation, from doubt to precision. What a cap explains is told by
likelihoods, so that a faint cap on a calm pad counts for more than a game that happens to look alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

FLOORS: Final = (40.0, 30.0, 22.0, 16.0, 12.0, 9.0, 7.0, 6.0, 5.0, 5.0, 5.0, 5.0)  # of 255: least deviation, in rounds
SURE_FLOORS: Final = FLOORS[4:]  # for what is about known
SHAPED_FROM: Final = 16.0  # of 255: from this floor on it is learned which pixels are the cap's
TRUST: Final = 0.15  # of the pixels' likelihoods: neighbours share the game behind them
TRIMMED: Final = 0.12  # of the frames, those explained least, teach nothing: clicks, flashes
FURTHEST: Final = 0.8  # of the reach: how far the cap may be from the middle
FULL, NOTHING = 1.1, 1.35  # of the reach: up to where pixels count fully, and from where on not at all
SHARP: Final = 12.0  # of 255: a cap is known better than this, or than twice the variance of what stands still
STILL: Final = 0.3  # quantile of the pixels' variance that counts as standing still
TELLING: Final = 0.05  # of what most is told by: a pixel that the cap explains by so much is the cap's
LEAST_TELLING: Final = 0.02  # nats a frame
LEAST_CAP: Final = 6  # pixels
GUESS: Final = 20.0  # of 255: how well a cap is known at first, and what is behind it where that is never seen
ONCE: Final = 0.1  # frames that such a guess counts as
BESIDE: Final = 2  # px beyond the cap: what a look may cover
OUTLIERS: Final = 0.1  # quantile of the frames whose gain counts as the next one's, at either end
TRIES: Final = 3  # of another look
BADLY: Final = (0.05, 0.4)  # quantiles of how well frames are explained: where another look is looked for

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """N pictures of a cap's surroundings: colours (N, 3, H, W) in 0..255, rest (3, H, W) their median.

    weights: (H, W) in [0, 1], how much a pixel counts. middle: about where the cap rests, in these pixels; reach: how
    far from there it is seen. side: of the square that a cap fits in. allowed: (P, Q) log prior of the square's corner.
    """

    colours: Tensor
    rest: Tensor
    weights: Tensor
    middle: Point
    reach: float
    side: int
    allowed: Tensor

    @classmethod
    def of(
        cls, pictures: np.ndarray, rest: np.ndarray, counts: np.ndarray, middle: Point, reach: float, side: int
    ) -> Self:
        """pictures: (N, h, w, 3), rest: (h, w, 3), counts: (h, w) bool. Beyond their edges nothing counts."""
        height, width = rest.shape[:2]
        need = math.ceil(FURTHEST * reach + side / 2)
        room = (middle[0], width - middle[0], middle[1], height - middle[1])
        edges = [max(0, math.ceil(need - each)) for each in room]  # left, right, top, bottom
        rows, columns = np.indices((height, width)) + 0.5
        far = np.hypot(columns - middle[0], rows - middle[1]) / reach
        weights = (((NOTHING - far) / (NOTHING - FULL)).clip(0, 1) * counts).astype(np.float32)
        colours = functional.pad(_channels_first(pictures), edges, mode="replicate")
        x, y = middle[0] + edges[0], middle[1] + edges[2]
        down, across = (torch.arange(size - side + 1) + side / 2 for size in colours.shape[2:])
        near = torch.hypot(across[None] - x, down[:, None] - y) <= FURTHEST * reach
        return cls(
            colours,
            functional.pad(_channels_first(rest[None]), edges, mode="replicate")[0],
            functional.pad(torch.from_numpy(weights), edges),
            (x, y),
            reach,
            side,
            torch.where(near, 0.0, -torch.inf),
        )

    def only(self, numbers: Tensor) -> Frames:
        """Some of them."""
        return replace(self, colours=self.colours[numbers])

    def patches(self, corners: Tensor) -> Tensor:
        """What the frames show at corners (N, 2) x, y: (N, 3, side, side)."""
        s = self.side
        return torch.stack(
            [frame[:, y : y + s, x : x + s] for frame, (x, y) in zip(self.colours, corners.tolist(), strict=True)]
        )

    def alone(self) -> Tensor:
        """Log likelihood (N,) of what they show without any cap."""
        apart = self.colours - self.colours.median(0).values
        taught = torch.ones(len(apart))
        for _ in range(4):
            noise = ((apart**2).mean(1) * taught[:, None, None]).sum(0) / taught.sum() + FLOORS[-1] ** 2
            told = -(_doubt(apart, noise) * self.weights).sum((1, 2))
            taught = _well_told(told)
        return told


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A cap and what is behind it; colours in 0..255.

    mask: (s, s), 1 where the cap covers. looks: (K, 3, s, s), spread: (K, s, s) their variance, masks: (K, s, s) what
    each of them alone is seen to cover: where it is seen in the square differs by some pixels from look to look.
    behind: (3, H, W). noise: (H, W) its variance. filled: (3, H, W) what is taken for behind where it is never seen.
    """

    mask: Tensor
    masks: Tensor
    looks: Tensor
    spread: Tensor
    behind: Tensor
    noise: Tensor
    filled: Tensor

    @classmethod
    def at(cls, frames: Frames, middle: Point, mask: Tensor) -> Self:
        """What the rest picture shows under a mask (s, s) around a place."""
        side = frames.side
        height, width = frames.rest.shape[1:]
        x = min(max(round(middle[0] - side / 2), 0), width - side)
        y = min(max(round(middle[1] - side / 2), 0), height - side)
        hole = np.zeros((height, width), np.uint8)
        hole[y : y + side, x : x + side] = cv2.dilate(mask.numpy().astype(np.uint8), np.ones((3, 3), np.uint8))
        picture = frames.rest.permute(1, 2, 0).numpy().clip(0, 255).astype(np.uint8)
        filled = torch.from_numpy(cv2.inpaint(picture, hole, 2, cv2.INPAINT_TELEA)).permute(2, 0, 1).float()
        noise = ((frames.colours - frames.rest) ** 2).mean(1).median(0).values
        look = frames.rest[None, :, y : y + side, x : x + side].clone()
        return cls(mask, mask[None], look, torch.full((1, side, side), GUESS**2), filled, noise, filled)

    def moved_to(self, frames: Frames, middle: Point, scale: float = 1.0) -> Sprite:
        """The same cap, all its looks in the middle of the square, among other frames ``scale`` times as large."""
        layers = self._centred(frames.side, scale)
        most = layers[:, 0].amax((1, 2), keepdim=True)  # however small, something is left
        masks = (layers[:, 0] >= most / 2).float()
        return replace(Sprite.at(frames, middle, masks.amax(0)), masks=masks, looks=layers[:, 1:4], spread=layers[:, 4])

    def enlarged(self, before: Frames, frames: Frames, middle: Point, scale: float) -> Sprite:
        """The same in the same frames ``scale`` times as large, with what was learned of what is behind."""
        to = np.array([[scale, 0, 0], [0, scale, 0]])
        to[:, 2] = np.subtract(frames.middle, np.multiply(before.middle, scale))
        height, width = frames.rest.shape[1:]
        behind = warped(torch.cat([self.behind, self.noise[None]]), to, (width, height))
        return replace(self.moved_to(frames, middle, scale), behind=behind[:3], noise=behind[3], filled=behind[:3])

    def unlikeness(self) -> float:
        """How far its two looks differ where they lie on each other: mean of 0..255."""
        one, other = self._centred(self.mask.shape[0])
        both = (one[0] > 0.5) & (other[0] > 0.5)
        return float((one[1:4] - other[1:4]).abs().mean(0)[both].mean())

    def _centred(self, side: int, scale: float = 1.0) -> Tensor:
        """Mask, colours and variance of each look in the middle of a square of its own: (K, 5, side, side)."""
        moved: list[Tensor] = []
        for mask, look, spread, (x, y) in zip(self.masks, self.looks, self.spread, self.centres.tolist(), strict=True):
            to = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]])
            moved.append(warped(torch.cat([mask[None], look, spread[None]]), to, (side, side)))
        return torch.stack(moved)

    def only(self, numbers: Sequence[int]) -> Sprite:
        """With some of its looks."""
        some = list(numbers)
        return replace(self, masks=self.masks[some], looks=self.looks[some], spread=self.spread[some])

    @property
    def extent(self) -> int:
        """Of the smallest square about what it covers."""
        return int((self._ends[:, 1] - self._ends[:, 0]).max())

    @property
    def centres(self) -> Tensor:
        """Of what each look covers, (K, 2) x, y in the square."""
        return self._ends.float().mean(1)

    @property
    def _ends(self) -> Tensor:
        """First and last column and row of what each look covers: (K, 2, 2)."""
        covered = [torch.nonzero(mask).flip(1) for mask in self.masks]
        return torch.stack([torch.stack([at.amin(0), at.amax(0) + 1]) for at in covered])


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Where a cap was in N frames. shares: (N, K, P, Q) of look and corner, told: (N,) log likelihood of each frame.

    doubt: (N, H, W) what each pixel of what is behind costs, in nats.
    """

    shares: Tensor
    told: Tensor
    doubt: Tensor

    @property
    def which(self) -> Tensor:
        """The likeliest look of each frame (N,)."""
        return self.shares.flatten(2).amax(2).argmax(1)

    @property
    def certainty(self) -> Tensor:
        """The mass within a pixel of the likeliest corner (N,)."""
        mass = functional.avg_pool2d(self.shares, 3, 1, 1, divisor_override=1)
        return mass.flatten(1).amax(1)

    @property
    def corners(self) -> Tensor:
        """The likeliest corner of each frame, (N, 2) x, y, of its likeliest look."""
        return _highest(self.shares[torch.arange(len(self.told)), self.which])


def anneal(frames: Frames, sprite: Sprite, floors: Sequence[float] = FLOORS) -> tuple[Sprite, Seen]:
    """A cap learned from about where it starts, and where it was seen."""
    for floor in floors:
        sprite = _learn(frames, sprite, look_for(frames, sprite, floor), floor)
    return sprite, look_for(frames, sprite, floors[-1])


def gain_of(seen: Seen, alone: Tensor) -> float:
    """How much a cap explains beyond ``Frames.alone``, nats a frame; a few frames do not decide."""
    gain = seen.told - alone
    return float(gain.clamp(gain.quantile(OUTLIERS), gain.quantile(1 - OUTLIERS)).mean())


def with_another_look(frames: Frames, sprite: Sprite, seen: Seen) -> tuple[Sprite, Seen]:
    """A cap with one more look: what is seen in its shape where it explains least."""
    order = seen.told.argsort()
    first, last = (round(share * len(order)) for share in BADLY)
    badly = order[first : max(last, first + TRIES)]
    used = frames.only(badly)
    unlike = ((used.colours - sprite.behind) ** 2).sum(1) * used.weights
    patches = used.patches(_highest(_correlate(unlike[:, None], sprite.mask[None]) + used.allowed))
    tries = [
        anneal(
            frames,
            replace(
                sprite,
                masks=torch.cat([sprite.masks, sprite.masks[:1]]),
                looks=torch.cat([sprite.looks, patch[None]]),
                spread=torch.cat([sprite.spread, torch.full_like(sprite.spread[:1], GUESS**2)]),
            ),
            SURE_FLOORS,
        )
        for patch in patches[:: max(1, len(patches) // TRIES)][:TRIES]
    ]
    return max(tries, key=lambda each: float(each[1].told.mean()))


def look_for(frames: Frames, sprite: Sprite, floor: float = FLOORS[-1]) -> Seen:
    """Where the cap is in each frame, if no colour is known better than to ``floor``."""
    noise = sprite.noise + floor**2
    doubt = _doubt(frames.colours - sprite.behind, noise) * frames.weights
    squares = (frames.colours**2).sum(1, keepdim=True) * frames.weights
    weighted = frames.colours * frames.weights
    gains = []
    hidden = _correlate(doubt[:, None], sprite.mask[None])
    for look, spread in zip(sprite.looks, sprite.spread + floor**2, strict=True):
        sharp = sprite.mask / spread
        constant = (look**2).sum(0) * sharp + 3 * torch.log(spread) * sprite.mask
        error = _correlate(squares, sharp[None]) - 2 * _correlate(weighted, look * sharp)
        gains.append(hidden - (error + _correlate(frames.weights[None, None], constant[None])) / 2)
    odds = TRUST * torch.stack(gains, 1) + frames.allowed
    told = torch.logsumexp(odds.flatten(1), 1) / TRUST - doubt.sum((1, 2))
    return Seen(torch.softmax(odds.flatten(1), 1).reshape(odds.shape), told, doubt)


def _learn(frames: Frames, sprite: Sprite, seen: Seen, floor: float) -> Sprite:
    """The layers that explain best what was seen where."""
    taught = _well_told(seen.told)[:, None, None]
    covered = functional.conv_transpose2d(seen.shares.sum(1)[:, None], sprite.mask[None, None])[:, 0]
    free = (1 - covered.clamp(0, 1)) * taught
    often = free.sum(0) + ONCE
    behind = ((frames.colours * free[:, None]).sum(0) + ONCE * sprite.filled) / often
    noise = ((((frames.colours - behind) ** 2).mean(1) * free).sum(0) + ONCE * GUESS**2) / often
    still = float(noise[frames.weights > 0].quantile(STILL))
    most = max(SHARP**2, 2 * still)
    squares = (frames.colours**2).sum(1, keepdim=True)
    layers = torch.cat([frames.colours * frames.weights, squares * frames.weights, seen.doubt[:, None]], 1)
    looks, spreads, told = [], [], []
    for shares in (seen.shares * taught[:, None]).unbind(1):
        times = _gather(frames.weights.expand(len(shares), 1, -1, -1), shares)[0] + 1e-3
        gathered = _gather(layers, shares)
        look = gathered[:3] / times
        spread = ((gathered[3] / times - (look**2).sum(0)) / 3).clamp_min(0)
        trusted = spread.clamp_max(most)
        known = trusted + floor**2
        told.append(gathered[4] - times * 1.5 * (torch.log(known) + spread / known))
        looks.append(look)
        spreads.append(trusted)
    mask, masks = sprite.mask, sprite.masks
    if floor <= SHAPED_FROM:
        mask = _shape(torch.stack(told).sum(0) / taught.sum(), mask)
        near = functional.max_pool2d(mask[None], 2 * BESIDE + 1, 1, BESIDE)[0]
        worn = seen.shares.sum((0, 2, 3)).clamp_min(1)
        masks = torch.stack([_shape(near * each / times, mask) for each, times in zip(told, worn, strict=True)])
    return Sprite(mask, masks, torch.stack(looks), torch.stack(spreads), behind, noise, sprite.filled)


def _shape(told: Tensor, otherwise: Tensor) -> Tensor:
    """The largest patch of pixels that the cap explains, made convex: (s, s), 0 or 1."""
    smooth = cv2.GaussianBlur(told.numpy(), (0, 0), 0.7)
    telling = (smooth > max(LEAST_TELLING, TELLING * float(np.quantile(smooth, 0.95)))).astype(np.uint8)
    outlines, _ = cv2.findContours(telling, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return otherwise
    shape = np.zeros_like(telling)
    cv2.drawContours(shape, [cv2.convexHull(max(outlines, key=cv2.contourArea))], -1, 1, -1)
    return torch.from_numpy(shape).float() if shape.sum() >= LEAST_CAP else otherwise


def _doubt(apart: Tensor, noise: Tensor) -> Tensor:
    """Negative log likelihood (N, H, W) of colours (N, 3, H, W) off by so much, but for a constant."""
    return (3 * torch.log(noise) + (apart**2).sum(1) / noise) / 2


def _well_told(told: Tensor) -> Tensor:
    """1 for the frames that teach, 0 for those that are explained least."""
    return (told >= told.quantile(TRIMMED)).float()


def _highest(maps: Tensor) -> Tensor:
    """Where maps (N, P, Q) are highest: (N, 2) x, y."""
    at = maps.flatten(1).argmax(1)
    return torch.stack([at % maps.shape[2], at // maps.shape[2]], 1)


def _correlate(pictures: Tensor, kernel: Tensor) -> Tensor:
    """(N, C, H, W) and (C, s, s) -> (N, P, Q), a value for every corner."""
    return functional.conv2d(pictures, kernel[None])[:, 0]


def _gather(pictures: Tensor, shares: Tensor) -> Tensor:
    """What is seen in the square where it is, summed over frames: (N, C, H, W) and (N, P, Q) -> (C, s, s)."""
    count, channels = pictures.shape[:2]
    kernels = shares[:, None].expand(-1, channels, -1, -1).flatten(0, 1)[:, None]
    apart = pictures.reshape(1, count * channels, *pictures.shape[2:])
    found = functional.conv2d(apart, kernels, groups=count * channels)
    gathered: Tensor = found.reshape(count, channels, *found.shape[2:]).sum(0)
    return gathered


def warped(pictures: Tensor, to: np.ndarray, size_wh: tuple[int, int]) -> Tensor:
    """Pictures (C, h, w) where a map (2, 3) puts them in others (C, H, W); a pixel covers [i, i + 1) in both."""
    centred = to.copy()
    centred[:, 2] += (to[:, :2].sum(1) - 1) / 2
    found = [cv2.warpAffine(each.numpy(), centred, size_wh, borderMode=cv2.BORDER_REPLICATE) for each in pictures]
    return torch.from_numpy(np.stack(found))


def _channels_first(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32))
