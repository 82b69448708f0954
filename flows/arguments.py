"""What is written on the command line -> values; typer.BadParameter (exit code 2) for what makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from templates.controls import States, parse_state

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


def parse_moves(text: str) -> dict[str, tuple[float, float]]:
    """``south=0:-4,j_left=2:1``: by control, pixels right and down."""
    moves: dict[str, tuple[float, float]] = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        try:
            control, place = word.split("=")
            x, y = (float(side) for side in place.split(":"))
        except ValueError as error:
            raise typer.BadParameter(f"--move takes CONTROL=RIGHT:DOWN in pixels, found {word!r}") from error
        moves[control] = (x, y)
    return moves


def parse_states(text: str) -> States:
    """One state, as ``templates.controls.parse_state`` reads it."""
    try:
        return parse_state(text)
    except ValueError as error:
        raise typer.BadParameter(f"--{error}") from error
