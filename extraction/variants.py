"""Which of several drawings that look the same at rest a video shows: the one whose presses and tilts are seen.

Programs offer one skin in many colours of which nothing shows until something is pressed. What stands still cannot tell
these apart; the sampled frames, each with a tilted stick or a button or two held, can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from extraction.look import COMPARED_WIDTH, see_at
from extraction.presses import CHANGED, single_presses
from extraction.rectify import overlay_width
from templates.catalogue import Template
from templates.controls import BUTTONS, STICKS, States
from templates.draw import draw, rasterise

ALIKE: Final = 0.02  # of full scale, mean over what is drawn: rest pictures that differ less are the same
TILTS: Final = 8  # directions in which a stick is looked for, as far as it goes and half as far
BARE: Final = 0.05  # of a pixel: where less is left bare nothing can be told of the game behind it
NOISE: Final = 0.04  # of full scale: what an encoder does to a colour


def find_variants(template: Template, templates: Iterable[Template]) -> list[Template]:
    """Those of the templates that look like one at rest, each control in the same place; itself among them."""
    scene, boxes = template.scene, template.scene.boxes
    others = [each for each in templates if each.family == template.family and each is not template]
    same = [each for each in others if each.scene.canvas == scene.canvas and each.scene.boxes == boxes]
    if not same:
        return [template]
    rest = _draw_rest(template)
    drawn = rest[3] > 0
    return [template, *(each for each in same if np.abs(_draw_rest(each) - rest).max(0)[drawn].mean() <= ALIKE)]


def choose_variant(
    variants: Sequence[Template], affine: np.ndarray, gain: float, frames: Sequence[np.ndarray]
) -> Template:
    """The variant that explains best what frames, (H, W, 3) uint8 each, show pressed or tilted; of equals the first.

    affine: canvas -> pixels of the frames. gain: as in ``Placement``. Each button and stick in each frame is at rest,
    or has that of its other looks which leaves least of how the frame differs from the median. What counts is the log
    likelihood ratio of the two under noise of unknown variance: so a game that flashes, of which no look explains
    much, tells little.
    """
    if len(variants) == 1:
        return variants[0]
    width = min(COMPARED_WIDTH, round(overlay_width(variants[0].scene, affine)))
    drawings = gain * np.stack([draw(rasterise(each, width), _looks()).numpy() for each in variants])
    size_wh = (drawings.shape[4], drawings.shape[3])
    seen = np.stack([see_at(variants[0], affine, frame, size_wh, 0.0) for frame in frames]).astype(np.float32) / 255
    seen = seen.transpose(0, 3, 1, 2)
    median = np.median(seen, 0)
    light, alpha = drawings[:, :, :3], drawings[:, :, 3:]
    game = ((median - light[0, 0]) / (1 - alpha[0, 0]).clip(BARE)).clip(0, 1)  # behind the drawing, as far as it shows
    looks = light - light[:, :1] - (alpha - alpha[:, :1]) * game
    explained = sum(_explain(looks[:, 1:][:, rows], seen - median) for rows in _rows_by_control())
    return variants[int(np.argmax(explained))]


def _explain(looks: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """How well V variants explain what a control shows in all frames: (V,) log likelihood ratios.

    looks: (V, K, 3, h, w), how each of its K looks differs from rest. changes: (N, 3, h, w), how the frames do.
    """
    showing = np.abs(looks).max((0, 1, 2)) > CHANGED
    if not showing.any():
        return np.zeros(len(looks))
    looks, changes = looks[..., showing].reshape(*looks.shape[:2], -1), changes[..., showing].reshape(len(changes), -1)
    at_rest = np.square(changes).sum(1)
    left = at_rest - 2 * looks @ changes.T + np.square(looks).sum(2)[..., None]  # V, K, N
    noise = changes.shape[1] * NOISE**2
    ratios = np.log((at_rest + noise) / (left.min(1).clip(0) + noise)).clip(0)
    return np.asarray(showing.sum() * ratios.sum(1))


def _looks() -> States:
    """At rest, each button held alone, and each stick alone in all the places where it is looked for."""
    presses = single_presses()
    states = States.rest(1 + len(BUTTONS) + 2 * len(STICKS) * TILTS)
    states.buttons[1 : 1 + len(BUTTONS)] = presses.buttons[:-1]
    states.triggers[1 : 1 + len(BUTTONS)] = presses.triggers[:-1]
    angles = np.arange(TILTS) * (2 * np.pi / TILTS)
    around = np.stack([np.cos(angles), np.sin(angles)], 1)
    for stick, rows in enumerate(_rows_by_control()[len(BUTTONS) :]):
        states.sticks[1:][rows, stick] = np.concatenate([around, around / 2])
    return states


def _rows_by_control() -> list[slice]:
    """Which of the ``_looks``, that at rest left out, are of which button or stick."""
    buttons = [slice(i, i + 1) for i in range(len(BUTTONS))]
    starts = [len(BUTTONS) + 2 * TILTS * i for i in range(len(STICKS))]
    return [*buttons, *(slice(start, start + 2 * TILTS) for start in starts)]


def _draw_rest(template: Template) -> np.ndarray:
    """(4, h, w) float32, premultiplied."""
    return draw(rasterise(template, COMPARED_WIDTH), States.rest())[0].numpy()
