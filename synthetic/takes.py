"""What the sampled frames of a video show without an overlay: takes of 25 whole pictures of one game each.

``python -m synthetic.takes`` plays one take of every training game and keeps them in one array file, which stays on
the machine; it needs ale-py and vizdoom.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from synthetic.backgrounds import draw_aspect, to_video
from synthetic.games import TRAIN_GAMES, open_game
from synthetic.states import draw_states

TAKES_PATH: Final = Path(".cache/backgrounds/takes.npy")
TAKE_WH: Final = (640, 360)
TAKE_FRAMES: Final = 25
APART_S: Final = (0.3, 6.0)  # between two frames: clips of ten seconds, and long videos
HELD_S: Final = 0.25  # for which the player does the same


def play_take(rng: np.random.Generator, name: str) -> np.ndarray:
    """TAKE_FRAMES pictures of a game, evenly spaced in its time: (25, 360, 640, 3) uint8."""
    apart_s = float(np.exp(rng.uniform(*np.log(APART_S))))
    steps = max(1, round(apart_s / HELD_S))
    frames = np.empty((TAKE_FRAMES, TAKE_WH[1], TAKE_WH[0], 3), np.uint8)
    with open_game(name, int(rng.integers(2**31))) as game:
        states = draw_states(rng, (TAKE_FRAMES + 1) * steps, 1 / HELD_S)
        ticks = max(1, round(game.hz * apart_s / steps))
        game.step(states[:1], int(game.hz * rng.uniform(1, 4)))
        aspect, smooth = draw_aspect(rng, game.picture()), bool(rng.random() < 0.6)
        for i, frame in enumerate(frames):
            for step in range(i * steps, (i + 1) * steps):
                game.step(states[step : step + 1], ticks)
            frame[:] = to_video(game.picture(), TAKE_WH, aspect, smooth)
    return frames


def record_takes(
    out: Path, seed: int, games: Sequence[str], on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """One take of every game, in one array file: (games, 25, 360, 640, 3) uint8. The same arguments, the same takes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    shape = (len(games), TAKE_FRAMES, TAKE_WH[1], TAKE_WH[0], 3)
    array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    for i, name in enumerate(games):
        array[i] = play_take(np.random.default_rng((seed, i)), name)
        if on_progress:
            on_progress(i + 1, len(games))
    array.flush()
    os.replace(partial, out)
    return out


if __name__ == "__main__":
    record_takes(
        TAKES_PATH, 3, TRAIN_GAMES, lambda done, total: print(f"\r{done} of {total} takes", end="", flush=True)
    )
