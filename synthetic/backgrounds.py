"""What lies behind an overlay: pairs of neighbouring game frames, real and made up.

``harvest`` plays games and keeps crops of their pictures in one array file, which stays on the machine:
it is only trained and evaluated on. The games of training and of evaluation are disjoint (see ``games``).
``python -m synthetic.backgrounds`` makes both files in some two minutes; it needs ale-py and vizdoom.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from synthetic.games import EVAL_GAMES, TRAIN_GAMES, Game, open_game
from synthetic.states import draw_states
from templates.controls import States

log = logging.getLogger(__name__)

SIZE_WH: Final = (208, 160)
TRAIN_PATH: Final = Path(".cache/backgrounds/train.npy")
EVAL_PATH: Final = Path(".cache/backgrounds/eval.npy")
PROCEDURAL_SHARE: Final = 0.2

_VIDEO_WH: Final = (1280, 720)
_CROP_WIDTHS: Final = (100, 520)  # px of the video: about an overlay's width
_CROPS_PER_PICTURE: Final = 2
_PLAIN: Final = 6.0  # standard deviation, of 255, below which a crop shows next to nothing


class Backgrounds:
    """Pairs of frames to draw overlays on: from a harvested file, or all made up without one."""

    def __init__(self, path: Path | None) -> None:
        """``path``: a file that ``harvest`` wrote; None is no file, an absent file is a warning."""
        self._pairs: np.ndarray | None = None
        if path is not None and path.exists():
            self._pairs = np.load(path, mmap_mode="r")
        elif path is not None:
            log.warning("no game pictures at %s: made-up ones take their place; run synthetic.backgrounds", path)

    def sample_pairs(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, 2, 160, 208, 3) uint8 RGB: [previous, current] frames, flipped and recoloured at random."""
        real = np.zeros(count, bool) if self._pairs is None else rng.random(count) >= PROCEDURAL_SHARE
        pairs = np.empty((count, 2, SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
        pairs[~real] = procedural(rng, int((~real).sum()), SIZE_WH[1], SIZE_WH[0])
        if self._pairs is not None:
            pairs[real] = self._pairs[rng.integers(len(self._pairs), size=int(real.sum()))]
        # A 30 fps game in a 60 fps video repeats its frames; a scene cut replaces everything.
        fate = rng.random(count)
        still, cut = fate < 0.1, fate > 0.97
        pairs[still, 1] = pairs[still, 0]
        pairs[cut, 1] = pairs[rng.integers(count, size=int(cut.sum())), 0]
        return _jitter(rng, pairs)


def procedural(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """(count, 2, height, width, 3) uint8: flat, gradient, noise, stripes or checkers, moving a little."""
    reach = 8
    painters = (_flat, _gradient, _noise, _stripes)
    pairs = np.empty((count, 2, height, width, 3), np.uint8)
    for i in range(count):
        painter = painters[rng.integers(len(painters))]
        texture = painter(rng, height + 2 * reach, width + 2 * reach)
        steps = rng.integers(-reach, reach + 1, (2, 2)) if rng.random() < 0.7 else np.zeros((2, 2), int)
        for frame, (dx, dy) in enumerate(steps):
            pairs[i, frame] = texture[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return pairs


def harvest(
    out: Path,
    seed: int,
    games: Sequence[str],
    pairs: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Play every game for about ``pairs / len(games)`` crops of frame pairs and write them to ``out``.

    The file is an array (pairs, 2, 160, 208, 3) uint8. The same arguments make the same pictures.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    width, height = SIZE_WH
    array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(pairs, 2, height, width, 3))
    bounds = np.linspace(0, pairs, len(games) + 1).round().astype(int)
    for i, name in enumerate(games):
        rng = np.random.default_rng((seed, i))
        array[bounds[i] : bounds[i + 1]] = _harvest_game(rng, name, int(bounds[i + 1] - bounds[i]))
        if on_progress:
            on_progress(i + 1, len(games))
    array.flush()
    os.replace(partial, out)
    return out


def harvest_all(on_progress: Callable[[int, int], None] | None = None) -> None:
    """Write ``TRAIN_PATH`` and ``EVAL_PATH``; a file that exists is kept."""
    for path, seed, games, pairs in ((TRAIN_PATH, 1, TRAIN_GAMES, 2400), (EVAL_PATH, 2, EVAL_GAMES, 300)):
        if not path.exists():
            # Twice as much of each Doom map: it shows more than an Atari game does.
            doom = [name for name in games if name.startswith("doom")]
            harvest(path, seed, [*games, *doom], pairs, on_progress)


def to_video(picture: np.ndarray, size_wh: tuple[int, int], aspect: float, smooth: bool) -> np.ndarray:
    """A game's picture as a video frame: scaled to ``aspect`` (width / height), with black bars beside it."""
    width, height = size_wh
    shown = (min(width, round(height * aspect)), min(height, round(width / aspect)))
    if picture.shape[1::-1] == size_wh == shown:
        return picture
    scaled = cv2.resize(picture, shown, interpolation=cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST)
    frame = np.zeros((height, width, 3), np.uint8)
    x, y = (width - shown[0]) // 2, (height - shown[1]) // 2
    frame[y : y + shown[1], x : x + shown[0]] = scaled
    return frame


def draw_aspect(rng: np.random.Generator, picture: np.ndarray) -> float:
    """How a streamer shows it: 4:3, filling 16:9, or as the pixels are."""
    own = picture.shape[1] / picture.shape[0]
    return float(rng.choice([4 / 3, 16 / 9, 16 / 9])) if own < 1.5 else own


def _harvest_game(rng: np.random.Generator, name: str, count: int) -> np.ndarray:
    """(count, 2, H, W, 3) crops of one game."""
    crops = np.empty((count, 2, SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    with open_game(name, int(rng.integers(2**31))) as game:
        states = draw_states(rng, 6000, 60.0)
        game.step(states[:1], int(game.hz * rng.uniform(1, 4)))
        aspect, smooth = draw_aspect(rng, game.picture()), bool(rng.random() < 0.6)
        for i in range(0, count, _CROPS_PER_PICTURE):
            _play_on(rng, game, states)
            before = game.picture()
            game.step(states[rng.integers(len(states), size=1)], int(rng.integers(1, 3)))
            frames = [to_video(picture, _VIDEO_WH, aspect, smooth) for picture in (before, game.picture())]
            for j in range(i, min(i + _CROPS_PER_PICTURE, count)):
                crops[j] = _cut_crop(rng, frames)
    return crops


def _play_on(rng: np.random.Generator, game: Game, states: States) -> None:
    """Play for one to three seconds: a few states, each held for some time."""
    for row in rng.integers(len(states), size=4):
        game.step(states[row : row + 1], int(game.hz * rng.uniform(0.2, 0.8)))


def _cut_crop(rng: np.random.Generator, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same place of every frame, at SIZE_WH; black ones are many, so each gets one more try."""
    x, y, w, h = _draw_crop(rng)
    if frames[0][y : y + h, x : x + w].std() < _PLAIN:
        x, y, w, h = _draw_crop(rng)
    return [_shrink(frame[y : y + h, x : x + w]) for frame in frames]


def _draw_crop(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """x, y, width, height in the video: anywhere, but mostly near the bottom and the corners."""
    width = round(float(np.exp(rng.uniform(*np.log(_CROP_WIDTHS)))))
    height = round(width * SIZE_WH[1] / SIZE_WH[0])
    across, down = rng.beta(0.5, 0.5), rng.beta(1.2, 0.5)
    return round(across * (_VIDEO_WH[0] - width)), round(down * (_VIDEO_WH[1] - height)), width, height


def _shrink(crop: np.ndarray) -> np.ndarray:
    return cv2.resize(crop, SIZE_WH, interpolation=cv2.INTER_AREA if crop.shape[1] > SIZE_WH[0] else cv2.INTER_LINEAR)


def _jitter(rng: np.random.Generator, pairs: np.ndarray) -> np.ndarray:
    """Flip, brighten and turn the hue of each pair, both frames alike."""
    out = np.empty_like(pairs)
    for i, pair in enumerate(pairs):
        flipped = pair[:, :, ::-1] if rng.random() < 0.5 else pair
        # cv2 takes the two frames as one tall picture.
        tall = np.ascontiguousarray(flipped).reshape(-1, pair.shape[2], 3)
        out[i] = cv2.transform(tall, draw_colour_matrix(rng)).reshape(pair.shape)
    return out


def draw_colour_matrix(rng: np.random.Generator) -> np.ndarray:
    """(3, 4): hue turned about the grey axis, saturation, gain and offset."""
    angle = rng.normal(0, 0.5)
    third = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * third + np.sin(angle) * cross
    saturation = rng.uniform(0.4, 1.3)
    matrix = (saturation * turn + (1 - saturation) * third) * np.exp(rng.normal(0, 0.25))
    return np.concatenate([matrix, np.full((3, 1), rng.normal(0, 15))], axis=1)


def _draw_colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) any colour; black, white and grey more often than chance would."""
    if rng.random() < 0.3:
        return np.full(3, (0, 255, int(rng.integers(256)))[rng.integers(3)])
    return rng.integers(0, 256, 3)


def _flat(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return np.broadcast_to(_draw_colour(rng).astype(np.uint8), (height, width, 3))


def _gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    cell = float(np.exp(rng.uniform(np.log(1), np.log(60))))
    shape = (int(height / cell) + 2, int(width / cell) + 2, 3)
    spread = rng.uniform(20, 128)
    coarse = (_draw_colour(rng) + rng.normal(0, spread, shape)).clip(0, 255).astype(np.uint8)
    mode = cv2.INTER_NEAREST if rng.random() < 0.4 else cv2.INTER_LINEAR
    return cv2.resize(coarse, (width, height), interpolation=mode)


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Stripes at any angle, or two of them crossed: checkers."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 60)
    along = (np.cos(angle) * x + np.sin(angle) * y) // period
    across = (np.cos(angle) * y - np.sin(angle) * x) // period if rng.random() < 0.5 else 0
    colours = np.array([_draw_colour(rng), _draw_colour(rng)], np.uint8)
    return np.asarray(colours[((along + across) % 2).astype(int)])


if __name__ == "__main__":
    harvest_all(lambda done, total: print(f"\r{done} of {total} games", end="", flush=True))
