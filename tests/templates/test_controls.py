"""A state from words."""

import numpy as np
import pytest

from templates.controls import BUTTONS, States, parse_state


def pressed(states: States) -> set[str]:
    return {name for name, held in zip(BUTTONS, states.buttons[0], strict=True) if held}


def test_buttons_sticks_and_triggers_are_read() -> None:
    states = parse_state("south, dpad_up,j_left=0.5:-1 , left_trigger=0.6")
    assert pressed(states) == {"south", "dpad_up", "left_trigger"}
    assert states.sticks.tolist() == [[[0.5, -1.0], [0.0, 0.0]]]
    assert states.triggers[0] == pytest.approx([0.6, 0.0])


def test_an_empty_text_is_rest() -> None:
    assert pressed(parse_state(" , ")) == set()
    assert not parse_state("").sticks.any()


@pytest.mark.parametrize(
    ("text", "held", "travel"),
    [
        ("right_trigger", True, 1.0),  # alone: all the way
        ("right_trigger=0.5", True, 0.5),  # pressed from half travel
        ("right_trigger=0.4", False, 0.4),
    ],
)
def test_a_trigger_is_pressed_from_half_travel(text: str, held: bool, travel: float) -> None:
    states = parse_state(text)
    assert ("right_trigger" in pressed(states)) is held
    assert states.triggers[0, 1] == np.float32(travel)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("circle", "expected controls among south.* found 'circle'"),
        ("south=1", "south without a value.* found 'south=1'"),
        ("j_left", "x:y, two numbers in -1..1.* found 'j_left'"),
        ("j_left=0.5", "x:y, two numbers"),
        ("j_left=0.5:2", "x:y, two numbers in -1..1"),
        ("j_left=a:b", "x:y, two numbers"),
        ("left_trigger=-0.1", "one number in 0..1.* found 'left_trigger=-0.1'"),
        ("left_trigger=", "one number in 0..1"),
        ("left_trigger=nan", "one number in 0..1"),
    ],
)
def test_nonsense_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_state(text)
