"""Training pairs of XFeat: a drawing over plain grey, and the same drawing as a game shows it.

Both are places of 256 x 192 px, upright and of nearly one size, so that where each corner of the one lies in the other
is known exactly. The game stands still, as the median of a video does; some buttons are held. Pair i depends on
(seed, i) alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from extraction.xfeat import find_corners
from synthetic.backgrounds import Backgrounds
from synthetic.states import draw_states
from templates.catalogue import Template
from templates.draw import draw, rasterise

WINDOW_WH: Final = (256, 192)
DRAWN_WIDTH: Final = 320  # px; drawings are made this wide and then scaled
LOOKS: Final = 3  # of each drawing: at rest, and with something held
WIDTHS: Final = (64.0, 400.0)  # px of a drawing in a window
OCTAVES: Final = 0.3  # either way between the two; pictures are searched in steps of half an octave
CORNERS: Final = 96  # of a pair that are learned from
OTHERS: Final = 96  # corners of the game, which are like none of these
GREY: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as OpenCV


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """pictures: (2, 192, 256) uint8, the drawing and the game with it. points: (2, CORNERS, 2) float32, where the same
    corners are in both, ``known`` of them. others: (OTHERS, 2) float32, corners of the game, ``others_known`` of them.
    All in pixels, pixel i covers [i, i + 1).
    """

    pictures: np.ndarray
    points: np.ndarray
    known: int
    others: np.ndarray
    others_known: int


class PairMaker:
    """Makes pairs of drawings and games."""

    def __init__(self, templates: Mapping[str, Template], games: Backgrounds, seed: int) -> None:
        self._templates = [templates[name] for name in sorted(templates)]
        self._games = games
        self._seed = seed
        self._looks = lru_cache(maxsize=None)(self._draw_looks)

    def make(self, index: int) -> Pair:
        """Pair ``index``."""
        rng = np.random.default_rng((self._seed, index))
        looks = self._looks(int(rng.integers(len(self._templates))))
        colour, alpha = _repaint(rng, looks)
        shown = 0 if rng.random() < 0.6 else int(rng.integers(1, LOOKS))
        unit = float(np.exp(rng.uniform(*np.log(WIDTHS)))) / DRAWN_WIDTH
        units = unit * 2 ** rng.uniform(-OCTAVES, OCTAVES) * np.exp(rng.normal(0, 0.02, 2))
        aim = rng.uniform(0.15, 0.85, 2) * colour.shape[2:0:-1]  # what both windows show near their middle
        first = _place(rng, np.array([unit, unit]), aim)
        second = _place(rng, units, aim)
        clean, clean_alpha = _lay(colour[0], first), _lay(alpha[0], first)
        drawn = _over(np.full(clean.shape, rng.uniform(10, 230), np.float32), clean, clean_alpha, 1.0)
        game = _draw_game(rng, self._games)
        seen_alpha = _lay(alpha[shown], second)
        seen = _over(game, _lay(colour[shown], second), seen_alpha, min(1.0, rng.uniform(0.3, 1.3)))
        seen = _spoil(rng, seen, float(units[0]) * DRAWN_WIDTH)
        corners = _corners_in(drawn.astype(np.uint8), cv2.dilate(clean_alpha, np.ones((5, 5))) > 0.05)
        moved = (corners - first[:, 2]) / np.diag(first[:, :2]) * np.diag(second[:, :2]) + second[:, 2]
        inside = ((moved > 2) & (moved < np.array(WINDOW_WH) - 2)).all(1)
        chosen = rng.permutation(np.flatnonzero(inside))[:CORNERS]
        others = rng.permutation(_corners_in(seen, cv2.dilate(seen_alpha, np.ones((9, 9))) < 0.05))[:OTHERS]
        points = np.stack([_filled(corners[chosen], CORNERS), _filled(moved[chosen], CORNERS)])
        pictures = np.stack([drawn.round().astype(np.uint8), seen])
        return Pair(pictures, points, len(chosen), _filled(others, OTHERS), len(others))

    def _draw_looks(self, which: int) -> tuple[np.ndarray, np.ndarray]:
        """Grey and alpha, premultiplied, (LOOKS, h, w) uint8 each."""
        rng = np.random.default_rng((self._seed, 3, which))
        states = draw_states(rng, 400, 20.0)[:: 400 // LOOKS][:LOOKS]
        states.buttons[0], states.sticks[0], states.triggers[0] = False, 0, 0
        drawn = draw(rasterise(self._templates[which], DRAWN_WIDTH), states).numpy()
        grey = np.einsum("c,nchw->nhw", GREY, drawn[:, :3])
        return (255 * grey).round().astype(np.uint8), (255 * drawn[:, 3]).round().astype(np.uint8)


def _repaint(rng: np.random.Generator, looks: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Grey in 0..255 and alpha in 0..1 of a drawing; half of them paler, some inverted, in both alike."""
    alpha = looks[1].astype(np.float32) / 255
    colour: np.ndarray = looks[0].astype(np.float32)
    if rng.random() < 0.5:
        gain = float(rng.uniform(0.6, 1.0))
        low = float(rng.uniform(0, 1 - gain)) * 255
        colour = gain * (255 * alpha - colour if rng.random() < 0.3 else colour) + low * alpha
    return colour, alpha


def _place(rng: np.random.Generator, units: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """Drawing -> window, (2, 3): its point ``aim`` comes near the middle."""
    at = np.array(WINDOW_WH) * (0.5 + rng.uniform(-0.22, 0.22, 2))
    return np.column_stack([np.diag(units), at - units * aim])


def _lay(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(h, w) float32 -> (192, 256) in its place, nothing around it."""
    units, shift = np.diag(place[:, :2]), place[:, 2]
    if units.min() < 0.8:  # sampling would skip pixels
        size = np.maximum(np.round(units * picture.shape[::-1]).astype(int), 1)
        small = cv2.resize(picture, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
        units, picture = units * picture.shape[::-1] / size, small
    matrix = np.column_stack([np.diag(units), shift + units / 2 - 0.5])  # pixel centres
    return np.asarray(cv2.warpAffine(picture, matrix, WINDOW_WH))


def _over(behind: np.ndarray, colour: np.ndarray, alpha: np.ndarray, opacity: float) -> np.ndarray:
    return (behind * (1 - opacity * alpha) + opacity * colour).clip(0, 255)


def _draw_game(rng: np.random.Generator, games: Backgrounds) -> np.ndarray:
    """(192, 256) float32 grey: a place of one game, or the median of several, in which it fades."""
    count = int(rng.choice([1, 1, 3, 5, 9]))
    crops = games.sample_pairs(rng, count)[:, 0].astype(np.float32) @ GREY
    still = np.median(crops, 0)
    zoom = float(rng.uniform(0.4, 1.0))
    height, width = (round(zoom * side) for side in still.shape)
    y, x = (int(rng.integers(most - side + 1)) for most, side in zip(still.shape, (height, width), strict=True))
    return np.asarray(cv2.resize(still[y : y + height, x : x + width], WINDOW_WH, interpolation=cv2.INTER_LINEAR))


def _spoil(rng: np.random.Generator, seen: np.ndarray, width_px: float) -> np.ndarray:
    """What scaling, capture and encoding do to a drawing ``width_px`` wide: float32 in 0..255 -> uint8."""
    small = 1.0
    if rng.random() < 0.4:  # a small overlay, enlarged to be looked at
        small = max(float(rng.uniform(0.3, 1)), 85 / width_px) if width_px > 85 else 1.0
    if small < 1:
        seen = cv2.resize(seen, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        seen = cv2.GaussianBlur(seen, (0, 0), float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.3:
        seen = seen + rng.normal(0, rng.uniform(0.5, 4), seen.shape).astype(np.float32)
    picture = seen.clip(0, 255).round().astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(25, 90))]
        picture = np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_GRAYSCALE))
    return np.asarray(picture if small == 1 else cv2.resize(picture, WINDOW_WH, interpolation=cv2.INTER_CUBIC))


def _corners_in(grey: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Corners of a uint8 picture in a mask, (N, 2) float32."""
    corners = find_corners(grey)
    columns, rows = corners.astype(int).T
    return np.asarray(corners[where[rows, columns]])


def _filled(points: np.ndarray, count: int) -> np.ndarray:
    """(count, 2), the rest zero."""
    return np.pad(points, ((0, count - len(points)), (0, 0))).astype(np.float32)
