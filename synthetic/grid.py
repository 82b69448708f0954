"""Cases on which localisation is judged: drawings in a grid of widths, opacities and codecs, and clips without a pad.

A localisation looks at 25 frames. So a clip is 25 moments of a game, some seconds apart in it and a few frames long,
each from a keyframe on: it takes seconds to make, and its sampled frames are those of a video of minutes. A case is a
folder as in ``clips``, without a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from typing import Final

import numpy as np

from extraction.features import median_of
from synthetic.backgrounds import draw_aspect, to_video
from synthetic.clips import (
    CODECS,
    CORNERS,
    ClipOptions,
    can_be_seen,
    complete,
    describe_overlay,
    encode,
    find_corner,
    is_complete,
    lay_over,
)
from synthetic.games import EVAL_GAMES, EVAL_MAPS, TRAIN_GAMES, open_game
from synthetic.lookalikes import KINDS, draw_lookalike
from synthetic.states import draw_states
from templates.catalogue import Template, library
from templates.controls import States
from templates.draw import rasterise

WIDTHS_PX: Final = (90, 110, 135, 160, 200, 260, 320, 400)
OPACITIES: Final = (0.35, 0.5, 0.7, 0.85, 1.0)
CELLS: Final = tuple(product(WIDTHS_PX, OPACITIES, CODECS))
CASES: Final = 480  # six for each cell, each drawing of the library at least once
NEGATIVE_MAPS: Final = 20
MULTIPLAYER: Final = {"combat", "joust", "maze_craze", "warlords"}  # ale-py has no rules to play them alone
LOOKALIKES: Final = 8  # of each kind
CASES_DIR: Final = Path(".cache/localisation")

MOMENTS: Final = 25
MOMENT_FRAMES: Final = 4
_APART: Final = 120  # frames of the game from one moment to the next
_HELD: Final = 15  # frames that the game is played in one go between moments
# At 720p and 60 frames a second, scenes of Freedoom come to about 3,000 and 2,300 kbit/s with it.
_CRF: Final = {"h264": 24, "vp9": 44}


def make_grid(out: Path, cases: int, seed: int) -> Iterator[Path]:
    """The first ``cases`` cases of the grid, one after the other; complete ones are kept.

    Case i is in cell i of the grid, which begins again where it ends, and shows drawing i of a random order.
    """
    drawings = [library()[id] for id in sorted(library())]
    for i in range(cases):
        lap, position = divmod(i, len(drawings))
        template = drawings[np.random.default_rng((seed, lap)).permutation(len(drawings))[position]]
        width_px, opacity, codec = CELLS[i % len(CELLS)]
        folder = out / f"grid_{i:04}"
        if not is_complete(folder):
            options = ClipOptions(
                game="", fps=30, width_px=width_px, opacity=opacity, codec=codec, crf=_CRF[codec],
                keyframe_every=MOMENT_FRAMES,
            )  # fmt: skip
            _render_case(folder, template, options, (seed, i))
        yield folder


def _render_case(folder: Path, template: Template, options: ClipOptions, seed: tuple[int, int]) -> None:
    """Draw games, and in each try all places, until the overlay can be seen; make the case there."""
    raster = rasterise(template, options.width_px)
    for attempt in count():
        rng = np.random.default_rng((*seed, attempt))
        game, margin_px = str(rng.choice(EVAL_GAMES)), int(rng.integers(0, 40))
        options = options.model_copy(update={"game": game, "margin_px": margin_px, "seed": int(rng.integers(2**31))})
        states = draw_states(rng, MOMENTS * _APART, options.fps)
        frames = list(_play_moments(states, options))
        median = median_of(np.stack(frames[::MOMENT_FRAMES]))
        places = [options.model_copy(update={"place": CORNERS[i]}) for i in rng.permutation(len(CORNERS))]
        if seen := [each for each in places if can_be_seen(raster, median, each)]:
            options = seen[0]
            break
    shown = states[np.flatnonzero(np.arange(len(states)) % _APART >= _APART - MOMENT_FRAMES)]
    folder.mkdir(parents=True, exist_ok=True)
    corner = find_corner(raster.size_wh, options)
    encode(lay_over(frames, raster, shown, options.opacity, corner), folder / "video.mp4", options)
    complete(folder, {**options.model_dump(), **describe_overlay(template, raster, options)})


def make_negatives(out: Path, seed: int) -> Iterator[Path]:
    """Clips without an overlay, one after the other: all Atari games of ale-py, Freedoom maps, and lookalikes.

    Lookalikes lie over games that training never sees. Complete cases are kept.
    """
    from ale_py import roms

    others = [name for name in TRAIN_GAMES if name.startswith("doom")]
    maps = [f"doom:{level}" for level in EVAL_MAPS]
    maps += others[:: len(others) // (NEGATIVE_MAPS - len(maps))][: NEGATIVE_MAPS - len(maps)]
    named = {name.translate({ord(":"): "_", ord("/"): "_"}): name for name in maps}
    named |= {f"atari_{rom}": f"atari:{rom}" for rom in sorted({*roms.get_all_rom_ids()} - MULTIPLAYER)}
    for i, (title, game) in enumerate(sorted(named.items())):
        yield _render_negative(out / f"none_{title}", game, None, (seed, 0, i))
    for i, (kind, variant) in enumerate(product(KINDS, range(LOOKALIKES))):
        game = EVAL_GAMES[(7 * i) % len(EVAL_GAMES)]
        yield _render_negative(out / f"none_{kind}_{variant}", game, kind, (seed, 1, i))


def _render_negative(folder: Path, game: str, kind: str | None, seed: tuple[int, ...]) -> Path:
    if is_complete(folder):
        return folder
    rng = np.random.default_rng(seed)
    codec = CODECS[rng.integers(len(CODECS))]
    options = ClipOptions(
        game=game, fps=30, codec=codec, crf=_CRF[codec], keyframe_every=MOMENT_FRAMES, seed=int(rng.integers(2**31))
    )
    frames = _play_moments(draw_states(rng, MOMENTS * _APART, options.fps), options)
    if kind is not None:
        picture = draw_lookalike(rng, kind, options.size).astype(np.float32)
        alpha = picture[..., 3:] / 255
        colour, keep = picture[..., :3] * alpha, 1 - alpha
        frames = ((frame * keep + colour).round().astype(np.uint8) for frame in frames)
    folder.mkdir(parents=True, exist_ok=True)
    encode(frames, folder / "video.mp4", options)
    complete(folder, {"game": game, "lookalike": kind, "codec": codec, "boxes": [], "shown": []})
    return folder


def _play_moments(states: States, options: ClipOptions) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 video frames of the last MOMENT_FRAMES of every _APART states; before, some are held."""
    rng = np.random.default_rng(options.seed)
    with open_game(options.game, options.seed) as game:
        ticks = game.hz / options.fps
        game.step(states[:1], round(game.hz))
        aspect, smooth = draw_aspect(rng, game.picture()), bool(rng.random() < 0.6)
        for start in range(0, len(states), _APART):
            for i in range(start, start + _APART - MOMENT_FRAMES, _HELD):
                game.step(states[i : i + 1], round(ticks * _HELD))
            for i in range(start + _APART - MOMENT_FRAMES, start + _APART):
                game.step(states[i : i + 1], max(1, round(ticks)))
                yield to_video(game.picture(), options.size, aspect, smooth).copy()


if __name__ == "__main__":
    for case in (*make_negatives(CASES_DIR, seed=0), *make_grid(CASES_DIR, CASES, seed=0)):
        print(case, flush=True)
