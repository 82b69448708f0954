"""What each kind of part looks like in each state."""

import numpy as np
import pytest
import torch

from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, States
from templates.draw import draw, draw_rgba, rasterise
from templates.scene import (
    Clip,
    Move,
    NineState,
    Opacity,
    Part,
    Picture,
    Scene,
    Show,
    Slide,
    Static,
    Swap,
    Tint,
)

BOX = (40.0, 40.0, 20.0, 20.0)


def square(colour: str, box: tuple[float, float, float, float] = BOX) -> Picture:
    x, y, w, h = box
    return Picture(svg=f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{colour}"/>')


RED, GREEN = square("#f00"), square("#0f0")


def template_of(*parts: Part) -> Template:
    return Template(Scene(id="test/one", family="test", canvas=(100, 100), parts=parts), None)


def state(*pressed: str, trigger: float = 0.0, stick: tuple[float, float] = (0.0, 0.0)) -> States:
    states = States.rest()
    for name in pressed:
        states.buttons[0, BUTTON_INDEX[name]] = True
    states.triggers[0, 0] = trigger
    states.sticks[0, 0] = stick
    return states


def coverage(part: Part, states: States, channel: int = 3, width: int = 100) -> np.ndarray:
    """One channel of the drawing in [0, 1]; alpha unless said otherwise."""
    return draw(rasterise(template_of(part), width), states)[0, channel].numpy()


def test_a_static_part_is_drawn_exactly_on_its_box() -> None:
    alpha = coverage(Static(name="a", box=BOX, picture=RED), state())
    assert alpha[40:60, 40:60].min() == 1
    assert alpha.sum() == pytest.approx(400)


def test_a_swap_replaces_the_released_picture() -> None:
    part = Swap(name="a", box=BOX, control="south", picture=RED, pressed=GREEN)
    assert coverage(part, state(), 0)[50, 50] == 1
    assert coverage(part, state("south"), 0)[50, 50] == 0
    assert coverage(part, state("south"), 1)[50, 50] == 1


@pytest.mark.parametrize("inverse", [False, True])
def test_a_shown_part_is_drawn_only_on_its_condition(inverse: bool) -> None:
    part = Show(name="a", box=BOX, control="south", picture=RED, inverse=inverse)
    assert bool(coverage(part, state("south")).any()) is not inverse
    assert bool(coverage(part, state()).any()) is inverse


@pytest.mark.parametrize(
    ("stick", "centre"),
    [
        ((1.0, 0.0), (60, 50)),  # right
        ((0.0, -1.0), (50, 42)),  # negative y is up, towards smaller rows
        ((-0.5, 0.25), (45, 52)),  # partial tilt
    ],
)
def test_a_stick_moves_by_its_travel(stick: tuple[float, float], centre: tuple[int, int]) -> None:
    part = Move(name="a", box=BOX, stick="j_left", picture=RED, travel=(10, 8))
    alpha = coverage(part, state(stick=stick))
    rows, columns = np.indices(alpha.shape)
    found = ((columns + 0.5) * alpha).sum() / alpha.sum(), ((rows + 0.5) * alpha).sum() / alpha.sum()
    assert found == pytest.approx(centre, abs=0.02)


def test_a_clicked_stick_shows_its_pressed_picture_where_it_stands() -> None:
    part = Move(name="a", box=BOX, stick="j_left", picture=RED, travel=(10, 10), pressed=GREEN)
    green = coverage(part, state("left_thumb", stick=(1, 0)), 1)
    assert green[50, 60] == 1
    assert green[50, 45] == 0


@pytest.mark.parametrize(
    ("states", "pressed", "shown"),
    [
        (state(), GREEN, "red"),  # at rest
        (state(stick=(0.02, 0)), GREEN, "red"),  # within the play of a centred stick
        (state(stick=(0.2, 0)), GREEN, "white"),  # tilted
        (state("left_thumb"), GREEN, "green"),  # clicked
        (state("left_thumb", stick=(0.2, 0)), GREEN, "green"),  # both: the click wins
        (state("left_thumb", stick=(0.2, 0)), None, "white"),  # both, where the cap shows no click
    ],
)
def test_a_stick_off_its_centre_shows_its_own_picture(states: States, pressed: Picture | None, shown: str) -> None:
    look = {"picture": RED, "pressed": pressed, "off_centre": square("#fff")}
    part = Move(name="a", box=BOX, stick="j_left", travel=(10, 10), **look)
    colour = [round(coverage(part, states, channel)[50, 50]) for channel in range(3)]
    assert colour == {"red": [1, 0, 0], "green": [0, 1, 0], "white": [1, 1, 1]}[shown]


def test_a_squeezed_stick_narrows_along_its_tilt() -> None:
    part = Move(name="a", box=BOX, stick="j_left", picture=RED, travel=(10, 10), squeeze=0.8)
    alpha = coverage(part, state(stick=(1, 0)))
    assert alpha[50].sum() == pytest.approx(16, abs=0.3)
    assert alpha[:, 60].sum() == pytest.approx(20, abs=0.3)


@pytest.mark.parametrize(
    ("grows", "filled", "empty"),
    [
        ("up", (58, 50), (42, 50)),  # starts at the bottom edge
        ("down", (42, 50), (58, 50)),
        ("right", (50, 42), (50, 58)),
        ("left", (50, 58), (50, 42)),
    ],
)
def test_a_trigger_fills_by_its_travel(grows: str, filled: tuple[int, int], empty: tuple[int, int]) -> None:
    part = Clip(name="a", box=BOX, control="left_trigger", picture=RED, grows=grows)  # type: ignore[arg-type]
    alpha = coverage(part, state(trigger=0.3))
    assert (alpha[filled], alpha[empty]) == (1, 0)
    assert alpha.sum() == pytest.approx(0.3 * 400, rel=0.01)


def test_a_reversed_trigger_is_eaten_away() -> None:
    part = Clip(name="a", box=BOX, control="left_trigger", picture=RED, grows="up", reverse=True)
    assert coverage(part, state(trigger=0.0)).sum() == pytest.approx(400)
    assert coverage(part, state(trigger=0.25)).sum() == pytest.approx(300, rel=0.01)


def test_an_opacity_trigger_fades_in() -> None:
    part = Opacity(name="a", box=BOX, control="left_trigger", picture=RED)
    assert coverage(part, state(trigger=0.4))[50, 50] == pytest.approx(0.4)


def test_a_slide_moves_by_offset_times_travel_and_lights_up() -> None:
    part = Slide(name="a", box=BOX, control="left_trigger", picture=RED, offset=(0, 12), pressed=GREEN)
    alpha = coverage(part, state(trigger=0.5))
    assert (alpha[44, 50], alpha[64, 50]) == (0, 1)
    assert coverage(part, state(trigger=0.5), 1)[55, 50] == 1


@pytest.mark.parametrize(
    ("pressed", "name"),
    [
        ((), "idle"),
        (("dpad_up",), "up"),
        (("dpad_down", "dpad_left"), "down_left"),
        (("dpad_right",), "right"),
    ],
)
def test_a_nine_state_pad_shows_the_sprite_of_its_direction(pressed: tuple[str, ...], name: str) -> None:
    part = NineState(name="a", box=BOX, pictures={name: RED})
    assert coverage(part, state(*pressed))[50, 50] == 1
    assert not coverage(part, state("dpad_up", "dpad_right")).any()


def test_a_tint_multiplies_the_colour() -> None:
    part = Tint(name="a", box=BOX, control="j_left", picture=square("#fff"), colour=(0.5, 0.25, 1.0))
    tinted = draw(rasterise(template_of(part), 100), state(stick=(0.5, 0)))[0, :, 50, 50]
    assert tinted.tolist() == pytest.approx([0.5, 0.25, 1.0, 1.0])


def test_later_parts_cover_earlier_ones() -> None:
    parts = (Static(name="below", box=BOX, picture=RED), Static(name="above", box=BOX, picture=GREEN))
    picture = draw_rgba(template_of(*parts), state(), 100)
    assert picture[50, 50].tolist() == [0, 255, 0, 255]


def test_a_batch_draws_each_state_as_it_would_alone() -> None:
    part = Move(name="a", box=BOX, stick="j_left", picture=RED, travel=(10, 10))
    raster = rasterise(template_of(part), 100)
    states = [state(stick=(x, 0.3)) for x in (-1.0, 0.1, 0.7)]
    together = States(*(np.concatenate([getattr(s, f) for s in states]) for f in ("buttons", "sticks", "triggers")))
    assert torch.equal(draw(raster, together), torch.cat([draw(raster, s) for s in states]))


def test_the_size_on_screen_scales_everything() -> None:
    part = Move(name="a", box=BOX, stick="j_left", picture=RED, travel=(10, 10))
    alpha = coverage(part, state(stick=(1, 0)), width=50)
    assert alpha.shape == (50, 50)
    assert alpha[25, 30] == pytest.approx(1)
    assert alpha.sum() == pytest.approx(100, rel=0.02)
