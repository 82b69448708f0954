"""Training windows of the proposer: what 25 sampled frames show of a place of 160 x 120 px, with or without a pad.

Beside live pads there are the things that they are mistaken for: games, which stand still in parts, pads of a size
that the network does not answer to, pads that nobody holds, icons, bars, text, chats, pictures and webcams.
Window i depends on (seed, i) alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import torch

from extraction.propose import EXTENT, EXTENTS, STRIDE, WINDOW_WH, extent_of, map_still
from synthetic.backgrounds import draw_colour_matrix
from synthetic.pads import draw_pad
from synthetic.states import draw_states
from synthetic.takes import TAKE_FRAMES, TAKE_WH
from templates.catalogue import Template
from templates.controls import States
from templates.draw import Raster, draw, rasterise

Takes = Sequence[np.ndarray]  # each (25, 360, 640, 3) uint8

RASTER_WIDTH: Final = 128  # px; pads are drawn this wide and then scaled
PADS_SHARE: Final = 0.2
PADS_KEPT: Final = 24  # windows of one random pad
DOUBTFUL: Final = (44.0, 170.0)  # px; of an extent between these and EXTENTS either answer is right
LEAST_LIVE: Final = 3  # frames in which a pad must differ from rest to be told from a picture of one
VISIBLE_LEVELS, VISIBLE_SHARE = 10, 0.04  # of 255; of the box
IGNORED, ABSENT, PRESENT = -1, 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """maps: (5, 120, 160) uint8. present: (15, 20) int8, of each cell whether a pad is centred there, -1 either way.

    box: (4,) float32, centre x, y and size of the pad in pixels of the window. family: its number, -1 for none.
    """

    maps: np.ndarray
    present: np.ndarray
    box: np.ndarray
    family: int


@dataclass(frozen=True, slots=True, eq=False)
class Pad:
    """A pad in 25 states: (25, h, w, 4) float32, premultiplied, colours in 0..255, alpha in 0..1."""

    pictures: np.ndarray
    family: str
    live: bool


class WindowMaker:
    """Makes windows of drawings over takes; ``families`` says which number each family has."""

    def __init__(self, templates: Mapping[str, Template], takes: Takes, families: Sequence[str], seed: int) -> None:
        self._templates = [templates[name] for name in sorted(templates)]
        self._takes = takes
        self._families = {family: i for i, family in enumerate(families)}
        self._seed = seed
        self._raster = lru_cache(maxsize=512)(self._rasterise)
        self._random = lru_cache(maxsize=8)(self._draw_random)

    def warm_up(self) -> None:
        """Draw all templates, so that processes that are forked from this one need not."""
        for which in range(len(self._templates)):
            self._raster(which)

    def make(self, index: int) -> Window:
        """Window ``index``."""
        rng = np.random.default_rng((self._seed, index))
        frames = draw_background(rng, self._takes)
        for _ in range(rng.choice([0, 1, 2, 4], p=[0.45, 0.25, 0.2, 0.1])):
            _DISTRACTORS[rng.integers(len(_DISTRACTORS))](rng, frames, self._takes)
        present = np.full((WINDOW_WH[1] // STRIDE, WINDOW_WH[0] // STRIDE), ABSENT, np.int8)
        box, family = np.zeros(4, np.float32), -1
        if rng.random() < 0.8:
            pad = self.draw_pad(rng, index)
            box = _draw_box(rng, pad)
            before = frames.copy()
            paste(frames, pad, box, draw_opacity(rng))
            present, family = _mark(box, pad.live), self._families.get(pad.family, -1)
            if not is_visible(before, frames, box):
                present[present == PRESENT] = IGNORED
        _blacken(rng, frames, box if (present != ABSENT).any() else None)
        return Window(map_still(spoil(rng, frames)), present, box, family)

    def draw_pad(self, rng: np.random.Generator, index: int) -> Pad:
        """A drawing of the library in other colours or a random pad, as somebody plays on it, or nobody does."""
        if rng.random() < PADS_SHARE:
            template, raster = self._random(index // PADS_KEPT)
        else:
            which = int(rng.integers(len(self._templates)))
            template, raster = self._templates[which], self._raster(which)
        states = draw_hands(rng)
        return play(template, _repaint(raster, rng) if rng.random() < 0.7 else raster, states)

    def _rasterise(self, which: int) -> Raster:
        return rasterise(self._templates[which], RASTER_WIDTH)

    def _draw_random(self, number: int) -> tuple[Template, Raster]:
        template = draw_pad(np.random.default_rng((self._seed, 7, number)))
        return template, rasterise(template, RASTER_WIDTH)


def draw_hands(rng: np.random.Generator) -> States:
    """What a player does at 25 moments; one of five times nothing at all."""
    if rng.random() < 0.2:
        return States.rest(TAKE_FRAMES)
    per_s = float(np.exp(rng.uniform(np.log(0.2), np.log(3))))
    fps = 20.0
    every = max(1, round(fps / per_s))
    return draw_states(rng, TAKE_FRAMES * every, fps)[::every]


def play(template: Template, raster: Raster, states: States) -> Pad:
    """A template in 25 states."""
    with torch.inference_mode():
        drawn = draw(raster, states).permute(0, 2, 3, 1).numpy()
        change = np.abs(drawn - draw(raster, States.rest()).permute(0, 2, 3, 1).numpy()).max((1, 2, 3))
    drawn[..., :3] *= 255
    return Pad(drawn, template.family, bool((change > 0.15).sum() >= LEAST_LIVE))


def draw_opacity(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else float(rng.uniform(0.35, 1))


def draw_background(rng: np.random.Generator, takes: Takes) -> np.ndarray:
    """25 frames of a place of a game, recoloured: (25, 120, 160, 3) uint8. Some stand still, some are all different."""
    zoom = float(np.exp(rng.uniform(np.log(0.45), np.log(2))))
    width, height = round(WINDOW_WH[0] / zoom), round(WINDOW_WH[1] / zoom)
    x = round(rng.beta(0.6, 0.6) * (TAKE_WH[0] - width))
    y = round(rng.beta(0.6, 0.6) * (TAKE_WH[1] - height))
    fate = rng.random()
    which = np.full(TAKE_FRAMES, rng.integers(len(takes)))
    when = rng.permutation(TAKE_FRAMES) if fate > 0.1 else np.zeros(TAKE_FRAMES, int)  # a menu, a pause
    if fate > 0.9:  # scenes that change
        which[rng.random(TAKE_FRAMES) < rng.uniform(0.2, 1)] = rng.integers(len(takes))
    shrink = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    crops = [cv2.resize(takes[g][t, y : y + height, x : x + width], WINDOW_WH, interpolation=shrink)
             for g, t in zip(which.tolist(), when.tolist(), strict=True)]  # fmt: skip
    tall = np.concatenate(crops)
    if rng.random() < 0.5:
        tall = np.ascontiguousarray(tall[:, ::-1])
    if rng.random() < 0.7:
        tall = cv2.transform(tall, draw_colour_matrix(rng))
    return tall.reshape(TAKE_FRAMES, WINDOW_WH[1], WINDOW_WH[0], 3)


def paste(frames: np.ndarray, pad: Pad, box: np.ndarray, opacity: float) -> None:
    """Draw a pad over (25, h, w, 3) uint8 frames, in place. box: centre x, y and size in their pixels."""
    height, width = frames.shape[1:3]
    low, high = np.floor(box[:2] - box[2:] / 2 - 1).astype(int), np.ceil(box[:2] + box[2:] / 2 + 1).astype(int)
    (x0, y0), (x1, y1) = low.clip(0, (width, height)), high.clip(0, (width, height))
    if x1 <= x0 or y1 <= y0:
        return
    scale = box[2:] / (pad.pictures.shape[2], pad.pictures.shape[1])
    shift = box[:2] - box[2:] / 2 - (x0, y0) + scale / 2 - 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    for frame, picture in zip(frames, pad.pictures, strict=True):
        if scale.min() < 0.8:  # sampling would skip pixels
            size = np.maximum(np.round(scale * picture.shape[1::-1]).astype(int), 1)
            small = cv2.resize(picture, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
            exact = np.array([[1.0, 0, box[0] - box[2] / 2 - x0], [0, 1.0, box[1] - box[3] / 2 - y0]])
            seen = cv2.warpAffine(small, exact, (int(x1 - x0), int(y1 - y0)))
        else:
            seen = cv2.warpAffine(picture, matrix, (int(x1 - x0), int(y1 - y0)))
        place = frame[y0:y1, x0:x1]
        place[:] = (place * (1 - opacity * seen[..., 3:]) + opacity * seen[..., :3]).clip(0, 255)


def is_visible(before: np.ndarray, after: np.ndarray, box: np.ndarray) -> bool:
    """Whether a pad drawn over (25, h, w, 3) uint8 frames can be told from what was there."""
    height, width = after.shape[1:3]
    (x0, y0), (x1, y1) = ((box[:2] + sign * box[2:] / 2).astype(int).clip(0, (width, height)) for sign in (-1, 1))
    change = np.abs(after[::8, y0:y1, x0:x1].astype(np.int16) - before[::8, y0:y1, x0:x1]).max(-1)
    return bool((change > VISIBLE_LEVELS).mean() > VISIBLE_SHARE) if change.size else False


def spoil(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """What capture and encoding do: (25, h, w, 3) uint8 -> the same."""
    if rng.random() < 0.3:
        sigma = float(rng.uniform(0.3, 0.9))
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(20, 85))]
        frames = np.stack([_recode(frame, quality) for frame in frames])
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(0.5, 4), (4, *frames.shape[1:])).astype(np.int16)
        frames = np.stack([cv2.add(frame, noise[rng.integers(4)], dtype=cv2.CV_8U) for frame in frames])
    return frames


def _recode(frame: np.ndarray, quality: list[int]) -> np.ndarray:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", frame, quality)[1], cv2.IMREAD_COLOR))


def _draw_box(rng: np.random.Generator, pad: Pad) -> np.ndarray:
    """Centre and size of a pad in the window, squeezed a little; mostly of a size that the network answers to."""
    reach = EXTENTS if rng.random() < 0.8 else (24.0, 320.0)
    extent = float(np.exp(rng.uniform(*np.log(reach))))
    if rng.random() < 0.35:  # as a second look cuts it out
        extent = EXTENT * float(np.exp(rng.normal(0, 0.12)))
    size = np.array(pad.pictures.shape[2:0:-1], float) * (np.exp(rng.normal(0, 0.05)), 1)
    size *= extent / extent_of(size)
    spread = 0.06 if rng.random() < 0.35 else 0.22
    centre = np.array(WINDOW_WH) * (0.5 + rng.normal(0, spread, 2))
    return np.concatenate([centre, size]).astype(np.float32)


def _mark(box: np.ndarray, live: bool) -> np.ndarray:
    """Which cells should say that a pad is centred there."""
    width, height = WINDOW_WH
    rows, columns = np.indices((height // STRIDE, width // STRIDE))
    apart = np.hypot((columns + 0.5) * STRIDE - box[0], (rows + 0.5) * STRIDE - box[1])
    extent = extent_of(box[2:])
    low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
    shown = np.prod((np.minimum(high, (width, height)) - np.maximum(low, 0)).clip(0)) / np.prod(box[2:])
    present = np.full(rows.shape, ABSENT, np.int8)
    if not live or not DOUBTFUL[0] < extent < DOUBTFUL[1]:
        return present
    present[apart < 0.25 * extent] = IGNORED
    if EXTENTS[0] <= extent <= EXTENTS[1] and shown > 0.75:
        present[apart < max(0.09 * extent, 0.75 * STRIDE)] = PRESENT
    return present


def _blacken(rng: np.random.Generator, frames: np.ndarray, box: np.ndarray | None) -> None:
    """Outside of the video's frame, on one or two sides, is black; not over a pad."""
    if rng.random() < 0.45:
        return
    width, height = WINDOW_WH
    low = box[:2] - box[2:] / 2 if box is not None else np.array([width, height]) * rng.uniform(0, 0.9, 2)
    high = box[:2] + box[2:] / 2 if box is not None else np.array([width, height]) * rng.uniform(0.1, 1, 2)
    across, down = rng.integers(3), rng.integers(3)
    if across == 1 and low[0] > 1:
        frames[:, :, : int(low[0] * rng.beta(2, 1))] = 0
    if across == 2 and high[0] < width - 1:
        frames[:, :, width - int((width - high[0]) * rng.beta(2, 1)) :] = 0
    if down == 1 and low[1] > 1:
        frames[:, : int(low[1] * rng.beta(2, 1))] = 0
    if down == 2 and high[1] < height - 1:
        frames[:, height - int((height - high[1]) * rng.beta(2, 1)) :] = 0


def _repaint(raster: Raster, rng: np.random.Generator) -> Raster:
    """The same pad in other clothes: each part's colours turned by themselves or all alike, the body gone or thin."""
    alike = rng.random() < 0.5
    matrix = _draw_paint(rng)
    bare = rng.random() < 0.2
    layers = []
    for i, layer in enumerate(raster.layers):
        images = torch.einsum("ij,njhw->nihw", matrix if alike else _draw_paint(rng), layer.images)
        if bare and i == 0 and layer.part.kind == "static":
            images = images * float(rng.choice([0.0, rng.uniform(0.1, 0.6)]))
        layers.append(replace(layer, images=images))
    return replace(raster, layers=tuple(layers))


def _draw_paint(rng: np.random.Generator) -> torch.Tensor:
    """A 4 x 4 matrix of premultiplied colours: channels changed over, made grey, inverted, dimmed, or left."""
    paint = torch.eye(4)
    paint[:3, :3] = torch.eye(3)[torch.from_numpy(rng.permutation(3))] * float(rng.uniform(0.6, 1))
    if rng.random() < 0.3:
        paint[:3, :3] = paint[:3, :3].mean(0, keepdim=True).expand(3, 3)
    if rng.random() < 0.35:
        paint[:3, :3] *= -1
        paint[:3, 3] = 1
    if rng.random() < 0.3:  # towards one colour
        share = float(rng.uniform(0.2, 0.9))
        paint[:3, :3] *= 1 - share
        paint[:3, 3] = paint[:3, 3] * (1 - share) + share * torch.from_numpy(rng.random(3)).float()
    return paint


def _draw_ink(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
    return (red,) * 3 if rng.random() < 0.4 else (red, green, blue)


def _draw_place(rng: np.random.Generator, least: float, most: float) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a box in the window."""
    w, h = np.exp(rng.uniform(np.log(least), np.log(most), 2))
    x, y = rng.uniform(-0.3 * w, WINDOW_WH[0] - 0.7 * w), rng.uniform(-0.3 * h, WINDOW_WH[1] - 0.7 * h)
    return int(x), int(y), int(x + w) + 1, int(y + h) + 1


def _blend(frames: np.ndarray, painted: np.ndarray, opacity: float) -> None:
    """Frames as they were painted, as far as the paint is opaque."""
    tall = (painted.reshape(-1, *painted.shape[2:]), frames.reshape(-1, *frames.shape[2:]))
    frames[:] = cv2.addWeighted(tall[0], opacity, tall[1], 1 - opacity, 0).reshape(frames.shape)


def _icons(rng: np.random.Generator, frames: np.ndarray, takes: Takes) -> None:
    """Round and square icons in a row, a cross or anywhere, as touch buttons and a game's own; some flash together."""
    painted = frames.copy()
    count, size = int(rng.integers(1, 9)), float(np.exp(rng.uniform(np.log(4), np.log(22))))
    start, step = rng.uniform((0, 0), WINDOW_WH), rng.normal(0, 2.6 * size, 2) * (1, rng.choice([0, 0.3, 1]))
    lit = rng.random(TAKE_FRAMES) < rng.choice([0, 0, 0.1])
    for i in range(count):
        x, y = (int(side) for side in (start + i * step if rng.random() < 0.8 else rng.uniform((0, 0), WINDOW_WH)))
        fill, edge, flash = _draw_ink(rng), _draw_ink(rng), _draw_ink(rng)
        line, is_round, marked = int(rng.choice([-1, 1, 2])), rng.random() < 0.7, rng.random() < 0.5
        for frame, is_lit in zip(painted, lit, strict=True):
            colour = flash if is_lit else fill
            if is_round:
                cv2.circle(frame, (x, y), int(size), colour, line, cv2.LINE_AA)
            else:
                cv2.rectangle(frame, (x - int(size), y - int(size)), (x + int(size), y + int(size)), colour, line)
            if marked:
                cv2.putText(
                    frame, chr(65 + i), (x - int(size / 2), y + int(size / 2)), 0, size / 24, edge, 1, cv2.LINE_AA
                )
    _blend(frames, painted, draw_opacity(rng))


def _bars(rng: np.random.Generator, frames: np.ndarray, takes: Takes) -> None:
    """Health bars, with what is left of them, and digits."""
    painted = frames.copy()
    x0, y0, x1, y1 = _draw_place(rng, 8, 120)
    y1 = min(y1, y0 + int(rng.uniform(4, 24)))
    back, fill = _draw_ink(rng), _draw_ink(rng)
    left = np.sort(rng.uniform(0, 1, TAKE_FRAMES))[::-1] if rng.random() < 0.6 else np.full(TAKE_FRAMES, rng.random())
    for frame, part in zip(painted, left, strict=True):
        cv2.rectangle(frame, (x0, y0), (x1, y1), back, -1)
        cv2.rectangle(frame, (x0 + 1, y0 + 1), (x0 + int(part * (x1 - x0)), y1 - 1), fill, -1)
    _blend(frames, painted, draw_opacity(rng))


def _text(rng: np.random.Generator, frames: np.ndarray, takes: Takes) -> None:
    """Lines of text that stand, count or scroll, with or without a panel: titles, scores, chats."""
    painted = frames.copy()
    x0, y0, x1, y1 = _draw_place(rng, 20, 150)
    size, ink = float(rng.uniform(0.25, 0.8)), _draw_ink(rng)
    panel = _draw_ink(rng) if rng.random() < 0.5 else None
    lines = ["".join(chr(c) for c in rng.integers(33, 123, rng.integers(2, 14))) for _ in range(TAKE_FRAMES + 8)]
    moves = rng.choice([0, 0, 1])
    for i, frame in enumerate(painted):
        if panel is not None:
            cv2.rectangle(frame, (x0, y0), (x1, y1), panel, -1)
        for row, y in enumerate(range(y0 + int(24 * size), max(y1, y0 + int(26 * size)), max(4, int(32 * size)))):
            cv2.putText(frame, lines[(row + i * moves) % len(lines)], (x0 + 2, y), 0, size, ink, 1, cv2.LINE_AA)
    _blend(frames, painted, draw_opacity(rng))


def _insert(rng: np.random.Generator, frames: np.ndarray, takes: Takes) -> None:
    """A webcam, a map or a picture: another place of another game in a box or a disc, that moves or stands."""
    other = draw_background(rng, takes)
    x0, y0, x1, y1 = _draw_place(rng, 16, 130)
    if rng.random() < 0.5:
        other[:] = other[:1]
    mask = np.zeros(frames.shape[1:3], np.uint8)
    if rng.random() < 0.6:
        cv2.rectangle(mask, (x0, y0), (x1, y1), 1, -1)
    else:
        centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    frames[:] = np.where(mask[..., None] > 0, other, frames)
    if rng.random() < 0.6:
        edge, line = _draw_ink(rng), int(rng.integers(1, 4))
        for frame in frames:
            cv2.rectangle(frame, (x0, y0), (x1, y1), edge, line)


def _shapes(rng: np.random.Generator, frames: np.ndarray, takes: Takes) -> None:
    """A logo: a few polygons."""
    painted = frames.copy()
    x0, y0, x1, y1 = _draw_place(rng, 12, 120)
    for _ in range(rng.integers(1, 6)):
        points = rng.uniform((x0, y0), (x1, y1), (int(rng.integers(3, 7)), 2)).astype(np.int32)
        ink, filled = _draw_ink(rng), rng.random() < 0.6
        for frame in painted:
            if filled:
                cv2.fillPoly(frame, [points], ink, cv2.LINE_AA)
            else:
                cv2.polylines(frame, [points], True, ink, 2, cv2.LINE_AA)
    _blend(frames, painted, draw_opacity(rng))


_DISTRACTORS: Final = (_icons, _icons, _bars, _text, _insert, _shapes)
