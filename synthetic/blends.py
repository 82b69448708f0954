"""From which part of the way of a press on a frame shows it held: an encoder blends the frame before with the next.

``python -m synthetic.blends`` renders own drawings that are trained on over games that are trained on, encodes them as
streams are, and prints the constants of ``extraction.presses`` that the frames between two levels make likeliest.
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from extraction.locate import place_by_hand
from extraction.presses import BETWEEN, PressFilters, way_between_levels
from extraction.rectify import Rectifier
from extraction.video import read_frames
from synthetic.clips import ClipOptions, find_corner, is_visible, render_clip
from synthetic.games import TRAIN_GAMES
from synthetic.logistic import fit_logistic
from synthetic.split import training_templates
from synthetic.states import draw_states
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, TRIGGERS, States
from templates.draw import rasterise

CLIPS: Final = 100
SECONDS: Final = 25
FPS: Final = 60
SIZE: Final = (640, 360)
CRFS: Final = (26, 29, 32)
OPACITIES: Final = (1.0, 0.8, 0.6)
WIDTHS_PX: Final = (180, 320)
AROUND: Final = 3  # frames on either side of a change, in which nothing else changes
AMISS: Final = 0.05  # of a button's changes: where more are seen a frame off, something hides it


def draw_clip(rng: np.random.Generator, drawings: list[Template]) -> tuple[Template, ClipOptions, States]:
    """A drawing that can be seen over a game, how it is shown, and what is played."""
    template = drawings[rng.integers(len(drawings))]
    options = ClipOptions(
        game=str(rng.choice(TRAIN_GAMES)),
        fps=FPS,
        size=SIZE,
        width_px=int(rng.integers(*WIDTHS_PX)),
        opacity=float(rng.choice(OPACITIES)),
        crf=int(rng.choice(CRFS)),
        seed=int(rng.integers(2**31)),
    )
    states = draw_states(rng, SECONDS * FPS, FPS)
    fits = rasterise(template, options.width_px).size_wh[1] <= SIZE[1]
    return (template, options, states) if fits and is_visible(template, states, options) else draw_clip(rng, drawings)


def read_ways(template: Template, options: ClipOptions, states: States) -> np.ndarray:
    """How far every button has gone in each frame of a clip: (T, 17), NaN where it keeps to no two levels."""
    size = rasterise(template, options.width_px).size_wh
    with tempfile.TemporaryDirectory() as folder:
        path = render_clip(Path(folder) / "clip", template, states, options) / "video.mp4"
        some = [frame.rgb() for frame in islice(read_frames(path), 0, None, FPS)]
        placement = place_by_hand((*find_corner(size, options), *size), template, some)
        box = Rectifier(template.scene, placement.affine, options.size).box_xywh
        crops = [frame.crop(*box) for frame in read_frames(path)]
    gone, _ = PressFilters(placement, box).measure(crops)
    ways = np.full(gone.shape, np.nan)
    for button in np.flatnonzero(~np.isnan(gone).any(0)):
        if (way := way_between_levels(gone[:, button])) is not None:
            ways[:, button] = way
    return ways


def near_changes(way: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one button (T,) the frames about its changes: (N, 6) how far it has gone, and whether it is held."""
    changes = np.flatnonzero(held[1:] != held[:-1]) + 1
    rows = changes[:, None] + np.arange(-AROUND, AROUND)
    rows = rows[(rows >= 0).all(1) & (rows < len(held)).all(1)]
    alone = (np.diff(held[rows].astype(int), axis=1) != 0).sum(1) == 1
    way, held = way[rows[alone]], held[rows[alone]]
    amiss = np.abs(way - held)[:, AROUND - 1 : AROUND + 1].max(1) > 1 - BETWEEN[0]
    return (way, held) if len(way) and amiss.mean() <= AMISS else (way[:0], held[:0])


def fit(way: np.ndarray, held: np.ndarray) -> tuple[float, float]:
    """The part of the way at which either is as likely, and logits for the whole way."""
    steep, shift = fit_logistic(np.stack([way - 0.5, np.ones_like(way)], 1), held)
    return 0.5 - shift / steep, steep


def main() -> None:
    """Render, measure and fit."""
    drawings = list(training_templates().values())
    buttons = [BUTTON_INDEX[name] for name in BUTTONS if name not in TRIGGERS]  # these fill by and by
    ways, holds = [], []
    for number in range(CLIPS):
        template, options, states = draw_clip(np.random.default_rng((31, number)), drawings)
        clip = read_ways(template, options, states)
        for button in buttons:
            if not np.isnan(clip[:, button]).any():
                way, held = near_changes(clip[:, button], states.buttons[:, button])
                ways.append(way)
                holds.append(held)
        print(f"{number + 1} clips, {sum(map(len, ways))} changes", flush=True)
    way, held = np.concatenate(ways), np.concatenate(holds)
    between = (way > BETWEEN[0]) & (way < BETWEEN[1])
    half, steep = fit(way[between], held[between])
    print(f"{between.sum()} frames between two levels: HALF_WAY = {half:.3f}, STEEP = {steep:.0f}")


if __name__ == "__main__":
    main()
