"""The drawings of the library: one per family of pads, and the styles that each family comes in.

``library/<family>.svg`` is a drawing of a pad in named groups: ``body``, ``detail``, one group per control
(``south``, ``left_trigger``, ``j_left`` ...) and, where there is something beneath it, ``<control>.well``.
An arcade stick is one group ``dpad``, whose first element is the ball.
``library/<family>.toml`` names the family and its colours, and what it does otherwise than
``library/styles.toml``, which says what a style looks like and how it shows that a control is held.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template as CssTemplate
from typing import Any, Final, Literal
from xml.etree import ElementTree

from pydantic import Field

from templates.controls import BUTTONS, DPAD, STICKS
from templates.markup import SVG, covered_box, text_of, turn_hues
from templates.scene import Box, Model

LIBRARY: Final = Path(__file__).parent / "library"
_PLACED: Final = (*BUTTONS, *STICKS, "dpad")  # the groups whose place matters

Trigger = Literal["swap", "fill_up", "fill_down", "fill_left", "fill_right", "eaten_up", "fade", "slide", "bar"]


class Style(Model):
    """How a family is dressed, and how it shows what is held."""

    css: str
    """Style sheet for the drawing's classes; ``$name`` stands for a colour of the family."""
    travel: float
    """Stick travel at full tilt, as a part of the cap's width."""
    stick_scale: float = 1.0
    """Size of the moving cap against the drawing."""
    squeeze: float = 1.0
    """See ``Move.squeeze``."""
    off_centre: bool = False
    """A tilted stick wears the class ``tilted``."""
    press: Literal["swap", "show", "ghost"] = "swap"
    """A held picture replaces the released one, lies over it, or is all there is."""
    sink: float = 0.0
    """Canvas units that a held button goes down."""
    trigger: Trigger = "swap"
    """How a trigger shows its travel; ``swap`` follows ``press``, ``bar`` has an end that lights at full travel."""
    thumb: Literal["cap", "ring", "box"] = "cap"
    """A clicked stick changes its cap, lights a ring that stays at rest beneath it, or a button below the pad."""
    dpad: Literal["four", "nine"] = "four"
    """Four buttons, or one sprite with nine states; an arcade stick is always the latter."""
    hide: tuple[Literal["body", "detail"], ...] = ()
    backdrop: str | None = None
    """Colour of a rectangle behind everything, as the window of a viewer program leaves it."""


class FamilyFile(Model):
    """What ``library/<family>.toml`` holds."""

    title: str
    dpad: Literal["buttons", "ball"] = "buttons"
    """``ball``: an arcade stick, drawn as the group ``dpad``."""
    colours: dict[str, str] = Field(default_factory=dict)
    """Colours that styles know by name."""
    hue: float = 0.0
    """Degrees by which the shared styles' own colours are turned, so that like pads differ."""
    exclude: tuple[str, ...] = ()
    """Shared styles that the family does not come in, as they would look like another."""
    styles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By style, what differs from the shared one; ``css`` is added to it, not exchanged."""


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of pad.

    groups: markup by group name. areas: a box around each control's group, without the width of lines.
    caps: the rest centre (x, y) of each stick.
    """

    name: str
    title: str
    canvas: tuple[float, float]
    groups: Mapping[str, str]
    areas: Mapping[str, Box]
    caps: Mapping[str, tuple[float, float]]
    styles: Mapping[str, Style]

    @property
    def controls(self) -> frozenset[str]:
        """The controls that it has, sticks included."""
        arms = DPAD if "dpad" in self.groups else ()
        return frozenset((*(name for name in (*BUTTONS, *STICKS) if name in self.groups), *arms))


@cache
def families() -> dict[str, Family]:
    """Every family of the library by name."""
    shared = _read_toml(LIBRARY / "styles.toml")
    return {path.stem: _read_family(path, shared) for path in sorted(LIBRARY.glob("*.svg"))}


def _read_family(path: Path, shared: Mapping[str, Any]) -> Family:
    root = ElementTree.parse(path).getroot()
    _, _, width, height = (float(side) for side in root.attrib["viewBox"].split())
    groups = {group.attrib["id"]: group for group in root.findall(f"{SVG}g")}
    about = FamilyFile.model_validate(_read_toml(path.with_suffix(".toml")))
    if (about.dpad == "ball") != ("dpad" in groups):
        raise ValueError(f"{path}: expected a group dpad where dpad = 'ball' and nowhere else; change one of the files")
    if unknown := {*about.styles, *about.exclude} - set(shared["styles"]):
        raise ValueError(f"{path.with_suffix('.toml')}: expected styles of styles.toml, found {sorted(unknown)}")
    markup = {name: "".join(map(text_of, group)) for name, group in groups.items()}
    colours = shared["colours"] | about.colours
    return Family(
        name=path.stem,
        title=about.title,
        canvas=(width, height),
        groups=markup,
        areas={name: covered_box(text, (width, height)) for name, text in markup.items() if name in _PLACED},
        caps={name: _centre(groups[name]) for name in STICKS if name in groups},
        styles={
            name: _read_style(shared["base"], style, about.styles.get(name, {}), about.hue, colours)
            for name, style in shared["styles"].items()
            if name not in about.exclude
        },
    )


def _read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _read_style(
    base: str, shared: Mapping[str, Any], own: Mapping[str, Any], hue: float, colours: Mapping[str, str]
) -> Style:
    """The shared style with a family's own settings over it; its own css is added, not exchanged."""
    css = "\n".join((base, turn_hues(shared["css"], hue), own.get("css", "")))
    return Style.model_validate({**shared, **own, "css": CssTemplate(css).substitute(colours)})


def _centre(stick: ElementTree.Element) -> tuple[float, float]:
    """Centre of a stick's cap, which its group draws first."""
    return (float(stick[0].attrib["cx"]), float(stick[0].attrib["cy"]))
