"""Sprites put together as a page does it are the drawing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from templates.catalogue import library
from templates.controls import BUTTON_INDEX, STICKS, TRIGGERS, States
from templates.draw import draw, rasterise, to_straight
from templates.sprites import Sprite, cut_sprites

# Every kind of part that the library draws with, and both ways to move a stick.
TEMPLATES = sorted(library())[:: len(library()) // 40]


def put_together(sprites: list[Sprite], size_wh: tuple[int, int], states: States) -> np.ndarray:
    """The one state in ``states``, sticks at rest: (H, W, 4) float64 premultiplied."""
    held = {name: bool(states.buttons[0, i]) for name, i in BUTTON_INDEX.items()}
    held |= {name: bool(np.hypot(*states.sticks[0, i]) > 0.05) for i, name in enumerate(STICKS)}
    canvas = np.zeros((size_wh[1] + 2000, size_wh[0] + 2000, 4))  # room around for what lies outside
    for sprite in sprites:
        rgba = sprite.pictures[sum(held[name] << bit for bit, name in enumerate(sprite.controls))] / 255
        rgba = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
        window = canvas[1000 + sprite.y :, 1000 + sprite.x :][: rgba.shape[0], : rgba.shape[1]]
        window[:] = window * (1 - rgba[..., 3:]) + rgba
    return canvas[1000 : 1000 + size_wh[1], 1000 : 1000 + size_wh[0]]


@pytest.mark.parametrize("template_id", TEMPLATES)
def test_sprites_put_together_are_the_drawing(template_id: str) -> None:
    raster = rasterise(library()[template_id], 120)
    sprites = cut_sprites(raster)
    rng = np.random.default_rng(5)
    for chance in (0.0, 0.3, 1.0):
        states = States.rest()
        states.buttons[:] = rng.random(states.buttons.shape) < chance
        for i, name in enumerate(TRIGGERS):
            states.triggers[:, i] = states.buttons[:, BUTTON_INDEX[name]]
        drawn = draw(raster, states)[0].permute(1, 2, 0).numpy()
        assert np.abs(put_together(sprites, raster.size_wh, states) - drawn).max() < 0.02


def test_a_tilted_stick_has_a_picture_of_its_own_where_the_template_has_one() -> None:
    tilting = [
        (template, part)
        for template in library().values()
        for part in template.scene.parts
        if part.kind == "move" and part.off_centre is not None
    ]
    template, part = tilting[0]
    assert part.kind == "move"
    (sprite,) = [each for each in cut_sprites(rasterise(template, 120)) if each.stick == part.stick]
    assert sprite.controls[1] == part.stick
    assert not np.array_equal(sprite.pictures[0], sprite.pictures[2])


def test_straight_alpha_is_what_was_premultiplied() -> None:
    premultiplied = torch.tensor([0.25, 0.0, 0.5, 0.5]).reshape(1, 4, 1, 1)
    assert to_straight(premultiplied).ravel().tolist() == [128, 0, 255, 128]
