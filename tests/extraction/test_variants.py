"""A colour that only shows once something is pressed is told from the frames in which something is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from extraction.locate import locate
from extraction.variants import choose_variant, find_variants
from synthetic.states import draw_states
from templates.catalogue import Template, library
from templates.controls import States
from templates.draw import draw_rgba
from templates.scene import Picture, Scene
from tests.extraction.test_locate import moving_game

WHITE = library()["xbox_series/streamer"]
WIDTH, LEFT, TOP = 260, 120, 60
AFFINE = np.array([[WIDTH / WHITE.scene.canvas[0], 0, LEFT], [0, WIDTH / WHITE.scene.canvas[0], TOP]])


def recoloured(template: Template, colour: str) -> Template:
    """The same with another colour wherever something is pressed or tilted."""

    def repaint(picture: Picture) -> Picture:
        assert picture.svg is not None
        return picture.model_copy(update={"svg": picture.svg.replace("#ffffff", colour)})

    parts = []
    for part in template.scene.parts:
        used = {name: getattr(part, name, None) for name in ("pressed", "off_centre")}
        parts.append(part.model_copy(update={name: repaint(each) for name, each in used.items() if each}))
    scene = Scene.model_validate({**dict(template.scene), "id": f"{template.id}-{colour}", "parts": tuple(parts)})
    return replace(template, scene=scene)


COLOURED = {each.id: each for each in (WHITE, *(recoloured(WHITE, colour) for colour in ("#ff3030", "#3070ff")))}


def play(template: Template, states: States, opacity: float) -> list[np.ndarray]:
    """Frames (720, 1280, 3) uint8 of an overlay over a game that moves."""
    frames = moving_game(len(states))
    for i, frame in enumerate(frames):
        rgba = draw_rgba(template, states[i : i + 1], WIDTH).astype(np.float32)
        alpha = opacity * rgba[..., 3:] / 255
        window = frame[TOP : TOP + len(rgba), LEFT : LEFT + WIDTH]
        window[:] = rgba[..., :3] * alpha + window * (1 - alpha)
    return frames


def test_a_variant_looks_the_same_at_rest_and_another_drawing_does_not() -> None:
    others = [library()["xbox_series/dark"], library()["xbox_one/streamer"]]
    assert find_variants(WHITE, [*others, *COLOURED.values()]) == [*COLOURED.values()]
    assert find_variants(others[0], [*others, *COLOURED.values()]) == others[:1]


@pytest.mark.parametrize("opacity", [1.0, 0.6])
@pytest.mark.parametrize("shown", COLOURED.values(), ids=["white", "red", "blue"])
def test_the_variant_whose_presses_are_seen_is_placed(shown: Template, opacity: float) -> None:
    states = draw_states(np.random.default_rng(2), 25 * 20, 30)[np.arange(0, 25 * 20, 20)]
    frames = [(float(i), frame) for i, frame in enumerate(play(shown, states, opacity))]
    for templates in (COLOURED, dict(reversed(COLOURED.items()))):
        [placement] = locate(frames, templates).placements
        assert placement.template is shown


def test_where_nothing_is_pressed_the_first_variant_is_as_good_as_any() -> None:
    frames = play(WHITE, States.rest(8), 1.0)
    for first in COLOURED.values():
        variants = [first, *(each for each in COLOURED.values() if each is not first)]
        assert choose_variant(variants, AFFINE, 1.0, frames) is first
