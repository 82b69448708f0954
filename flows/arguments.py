"""What is written on the command line -> values; typer.BadParameter (exit code 2) for what makes no sense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from templates.controls import BUTTON_INDEX, BUTTONS, STICKS, TRIGGER_PRESSED_FROM, TRIGGERS, States

if TYPE_CHECKING:
    from templates.catalogue import Template


def parse_box(text: str) -> tuple[int, int, int, int]:
    """``X,Y,W,H`` in pixels."""
    try:
        x, y, width, height = (round(float(side)) for side in text.split(","))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--box takes four numbers X,Y,W,H in pixels, found {text!r}") from error
    if width < 1 or height < 1:
        raise typer.BadParameter(f"--box needs a width and a height of at least 1 px, found {text!r}")
    return x, y, width, height


def check_family(name: str, templates: Mapping[str, Template]) -> None:
    """``name`` is the family of some template."""
    families = sorted({template.family for template in templates.values()})
    if name not in families:
        raise typer.BadParameter(f"--family takes one of {', '.join(families)}; found {name!r}")


def parse_states(settings: Sequence[str]) -> States:
    """One state: ``south``, ``left_trigger=0.7`` (travel), ``j_left=0.5,-1`` (x, y; up is negative)."""
    states = States.rest()
    for setting in settings:
        control, _, value = setting.partition("=")
        numbers = _numbers(setting, value)
        if control in STICKS and len(numbers) == 2 and all(-1 <= number <= 1 for number in numbers):
            states.sticks[0, STICKS.index(control)] = numbers
        elif control in TRIGGERS and len(numbers) <= 1 and all(0 <= number <= 1 for number in numbers):
            travel = numbers[0] if numbers else 1.0
            states.triggers[0, TRIGGERS.index(control)] = travel
            states.buttons[0, BUTTON_INDEX[control]] = travel >= TRIGGER_PRESSED_FROM
        elif control in BUTTONS and control not in TRIGGERS and not numbers:
            states.buttons[0, BUTTON_INDEX[control]] = True
        else:
            raise typer.BadParameter(
                f"--state takes a button ({', '.join(BUTTONS)}), a trigger's travel in [0, 1] such as "
                f"left_trigger=0.7, or a stick's place in [-1, 1] such as j_left=0.5,-1; found {setting!r}"
            )
    return states


def _numbers(setting: str, value: str) -> list[float]:
    try:
        return [float(number) for number in value.split(",")] if value else []
    except ValueError as error:
        raise typer.BadParameter(f"--state expects numbers after '=', found {setting!r}") from error
