"""A template as pictures that a page can put together itself: which one shows follows from what is held.

All pictures come from ``draw.py``; what remains for the page is to choose, and to move a stick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from templates.controls import BUTTON_INDEX, DPAD, STICKS, THUMB_OF, TRIGGERS, States
from templates.draw import Inputs, Layer, Raster, cap_index, picture_of, to_straight
from templates.scene import Part


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One layer.

    x, y: its corner in pixels of the whole picture; it may lie outside. controls: what it depends on; a stick
    counts as held where it is off its centre. pictures: (2 ** len(controls), h, w, 4) uint8, straight alpha; the one
    to show is number ``sum(held(controls[i]) << i)``.
    stick: whose tilt moves it, by ``reach`` pixels at full tilt, narrowed about its centre to ``squeeze`` of its
    width or height there; None for a layer that stays where it is.
    """

    x: int
    y: int
    controls: tuple[str, ...]
    pictures: np.ndarray
    stick: str | None = None
    reach: tuple[float, float] = (0.0, 0.0)
    squeeze: float = 1.0


def cut_sprites(raster: Raster) -> list[Sprite]:
    """The layers of a template in drawing order."""
    return [_cut(layer, raster.scale) for layer in raster.layers]


def _cut(layer: Layer, scale: float) -> Sprite:
    part = layer.part
    controls = _controls_of(part)
    inputs = Inputs.of(_all_states(controls), torch.device("cpu"))
    if part.kind != "move":
        pictures = to_straight(picture_of(layer, inputs, scale))
        return Sprite(layer.x, layer.y, controls, pictures)
    pictures = to_straight(layer.images[cap_index(part, inputs)])
    reach = (part.travel[0] * scale, part.travel[1] * scale)
    return Sprite(layer.x, layer.y, controls, pictures, part.stick, reach, part.squeeze)


def _controls_of(part: Part) -> tuple[str, ...]:
    if part.kind == "static":
        return ()
    if part.kind == "nine_state":
        return DPAD
    return (THUMB_OF[part.stick], part.stick) if part.kind == "move" else (part.control,)


def _all_states(controls: tuple[str, ...]) -> States:
    """Every combination of what is held, in the order of ``Sprite.pictures``."""
    states = States.rest(2 ** len(controls))
    for bit, name in enumerate(controls):
        held = (np.arange(len(states)) >> bit & 1).astype(bool)
        if name in STICKS:
            states.sticks[held, STICKS.index(name), 0] = 1
        else:
            states.buttons[held, BUTTON_INDEX[name]] = True
            if name in TRIGGERS:
                states.triggers[held, TRIGGERS.index(name)] = 1
    return states
