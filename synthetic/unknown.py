"""Clips of skins that the library does not draw, to see what becomes of them: imported ones, over evaluation games.

``python -m synthetic.unknown DIR`` makes two clips of every template below DIR. They are for tests alone: nothing is
trained on them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from synthetic.clips import ClipOptions, draw_place, is_complete, is_visible, render_clip
from synthetic.games import EVAL_GAMES
from synthetic.states import draw_states
from templates.catalogue import Template, load_templates

UNKNOWN: Final = Path(".cache/unknown")
CLIPS: Final = 2  # of each skin: over a Doom map and an Atari game
SECONDS: Final = 10


def make_unknown(out: Path, skins: Mapping[str, Template], seed: int) -> list[Path]:
    """CLIPS cases of every skin; complete ones are kept."""
    cases = []
    for number, (id, skin) in enumerate(sorted(skins.items())):
        for turn in range(CLIPS):
            folder = out / f"{id.replace('/', '_')}_{turn}"
            cases.append(folder)
            if is_complete(folder):
                continue
            rng = np.random.default_rng((seed, number, turn))
            games = [name for name in EVAL_GAMES if name.startswith(("doom", "atari")[turn % 2])]
            options = _draw_options(rng, games)
            states = draw_states(rng, SECONDS * options.fps, options.fps)
            while not is_visible(skin, states, options):
                options = _draw_options(rng, games)
            render_clip(folder, skin, states, options)
    return cases


def _draw_options(rng: np.random.Generator, games: list[str]) -> ClipOptions:
    return ClipOptions(
        game=str(rng.choice(games)),
        fps=30,
        width_px=round(float(np.exp(rng.uniform(np.log(120), np.log(400))))),
        place=draw_place(rng),
        margin_px=int(rng.integers(0, 40)),
        opacity=round(float(rng.choice([1.0, rng.uniform(0.5, 1.0)])), 2),
        kbps=2500,
        seed=int(rng.integers(2**31)),
    )


if __name__ == "__main__":
    for case in make_unknown(UNKNOWN, load_templates(Path(sys.argv[1])), seed=5):
        print(case, flush=True)
