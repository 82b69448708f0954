"""The built-in library: one drawing per family of pads, dressed in styles -> scenes.

``library/<family>.svg`` is a drawing of a pad in named groups: ``body``, ``detail``, one group per control
(``south``, ``left_trigger``, ``j_left`` ...) and, where there is something beneath it, ``<control>.well``.
``library/<family>.toml`` names the family, its colours and the styles it comes in; ``library/styles.toml``
says what a style looks like and how it shows that a control is held. A template is ``family/style``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from string import Template as CssTemplate
from typing import Any, Final, Literal
from xml.etree import ElementTree

import cv2
import numpy as np
import resvg_py

from templates.controls import BUTTONS, DPAD, STICKS, THUMB_OF, TRIGGERS
from templates.scene import (
    NINE_STATES,
    Box,
    Clip,
    Direction,
    Model,
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
)

LIBRARY: Final = Path(__file__).parent / "library"
STROKE: Final = 16.0  # canvas units that a style's strokes may reach beyond the shapes
SLIDE: Final = (0.0, 16.0)  # canvas units that a sliding trigger goes down

_GROWS: Final[dict[str, Direction]] = {
    "fill_up": "up",
    "fill_down": "down",
    "fill_left": "left",
    "fill_right": "right",
    "eaten_up": "up",
}
_SVG = "{http://www.w3.org/2000/svg}"
# Shoulders lie over triggers, everything else over both; sticks come last, over whatever they pass.
_SHOULDERS = ("left_shoulder", "right_shoulder")
_ORDER = (*TRIGGERS, *_SHOULDERS, *(name for name in BUTTONS if name not in (*TRIGGERS, *_SHOULDERS)))


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
    press: Literal["swap", "show", "ghost"] = "swap"
    """A held picture replaces the released one, lies over it, or is all there is."""
    trigger: Literal["swap", "fill_up", "fill_down", "fill_left", "fill_right", "eaten_up", "fade", "slide"] = "swap"
    """How a trigger shows its travel; ``swap`` follows ``press``."""
    thumb: Literal["cap", "ring"] = "cap"
    """A clicked stick changes its cap, or lights a ring that stays at rest beneath it."""
    dpad: Literal["four", "nine"] = "four"
    """Four buttons, or one sprite with nine states."""
    hide: tuple[Literal["body", "detail"], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of pad.

    groups: markup by group name. areas: a box around each group without strokes, up to 10 units too large.
    caps: the rest centre (x, y) of each stick.
    """

    name: str
    title: str
    canvas: tuple[float, float]
    groups: Mapping[str, str]
    areas: Mapping[str, Box]
    caps: Mapping[str, tuple[float, float]]
    styles: Mapping[str, Style]


@cache
def families() -> dict[str, Family]:
    """Every family of the library by name."""
    shared = _read_toml(LIBRARY / "styles.toml")
    return {path.stem: _read_family(path, shared) for path in sorted(LIBRARY.glob("*.svg"))}


@cache
def family_scenes() -> dict[str, Scene]:
    """Every built-in template by id, ``family/style``."""
    scenes = (
        _Dresser(family, name, style).scene() for family in families().values() for name, style in family.styles.items()
    )
    return {scene.id: scene for scene in scenes}


def _read_family(path: Path, shared: Mapping[str, Any]) -> Family:
    root = ElementTree.parse(path).getroot()
    _, _, width, height = (float(side) for side in root.attrib["viewBox"].split())
    groups = {group.attrib["id"]: group for group in root.findall(f"{_SVG}g")}
    about = _read_toml(path.with_suffix(".toml"))
    markup = {name: "".join(map(_markup, group)) for name, group in groups.items()}
    return Family(
        name=path.stem,
        title=about["title"],
        canvas=(width, height),
        groups=markup,
        areas={name: _covered(text, (0, 0, width, height), 0.1) for name, text in markup.items()},
        caps={name: _centre(groups[name]) for name in STICKS if name in groups},
        styles={
            name: _read_style(shared["base"], shared["styles"][name], own, about["colours"])
            for name, own in about["styles"].items()
        },
    )


def _read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _read_style(base: str, shared: Mapping[str, Any], own: Mapping[str, Any], colours: Mapping[str, str]) -> Style:
    """The shared style with a family's own settings over it; its own css is added, not exchanged."""
    css = CssTemplate("\n".join((base, shared["css"], own.get("css", "")))).substitute(colours)
    return Style.model_validate({**shared, **own, "css": " ".join(css.split())})


def _markup(element: ElementTree.Element) -> str:
    """An element as text without the namespace, which the outer <svg> sets."""
    element.tail = None
    for node in element.iter():
        node.tag = node.tag.removeprefix(_SVG)
    return ElementTree.tostring(element, encoding="unicode")


def _centre(stick: ElementTree.Element) -> tuple[float, float]:
    """Centre of a stick's cap, which its group draws first."""
    return (float(stick[0].attrib["cx"]), float(stick[0].attrib["cy"]))


@dataclass(frozen=True, slots=True)
class _Dresser:
    """Turns one family in one style into a scene."""

    family: Family
    name: str
    style: Style

    def scene(self) -> Scene:
        family_id = self.family.name
        parts = (*self._statics(), *self._buttons(), *self._sticks())
        return Scene(id=f"{family_id}/{self.name}", family=family_id, canvas=self.family.canvas, parts=tuple(parts))

    def _statics(self) -> Iterator[Part]:
        wells = (name for name in self.family.groups if name.endswith(".well"))
        for name in ("body", "detail", *wells):
            if name not in self.style.hide:
                yield self._static(name, self._picture(name))

    def _buttons(self) -> Iterator[Part]:
        for control in _ORDER:
            if control not in self.family.groups or control in THUMB_OF.values():
                continue
            if control in TRIGGERS and self.style.trigger != "swap":
                yield from self._trigger(control)
            elif control not in DPAD or self.style.dpad == "four":
                yield from self._button(control)
        if self.style.dpad == "nine":
            yield self._nine_state()

    def _button(self, control: str) -> Iterator[Part]:
        released, pressed, box = self._pictures(control)
        if self.style.press == "swap":
            yield Swap(name=control, box=box, control=control, picture=released, pressed=pressed)
            return
        if self.style.press == "show":
            yield self._static(f"{control}.idle", released)
        yield Show(name=control, box=box, control=control, picture=pressed)

    def _trigger(self, control: str) -> Iterator[Part]:
        released, pressed, box = self._pictures(control)
        how = self.style.trigger
        if how == "slide":
            yield Slide(name=control, box=box, control=control, picture=released, pressed=pressed, offset=SLIDE)
            return
        reverse = how == "eaten_up"
        yield self._static(f"{control}.idle", pressed if reverse else released)
        if how == "fade":
            yield Opacity(name=control, box=box, control=control, picture=pressed)
            return
        yield Clip(
            name=control,
            box=box,
            control=control,
            picture=released if reverse else pressed,
            grows=_GROWS[how],
            reverse=reverse,
        )

    def _nine_state(self) -> Part:
        pictures = {}
        for state in NINE_STATES:
            held = {f"dpad_{direction}" for direction in state.split("_")}
            pictures[state] = self._wrap("".join(self._group(name, name in held) for name in DPAD))
        every_arm = "".join(self._group(name, held) for name in DPAD for held in (False, True))
        return NineState(name="dpad", box=self._box_of(self._wrap(every_arm), *DPAD), pictures=pictures)

    def _sticks(self) -> Iterator[Part]:
        if self.style.thumb == "ring":
            for thumb in (THUMB_OF[stick] for stick in self.family.caps):
                picture = self._picture(thumb, pressed=True)
                yield Show(name=thumb, box=self._box_of(picture, thumb), control=thumb, picture=picture)
        for stick in self.family.caps:
            yield self._stick(stick)

    def _stick(self, stick: str) -> Part:
        (cx, cy), scale = self.family.caps[stick], self.style.stick_scale
        released, pressed = (
            self._wrap(
                f'<g transform="translate({cx} {cy}) scale({scale}) translate({-cx} {-cy})">'
                f"{self._group(stick, held)}</g>"
            )
            for held in (False, True)
        )
        x, y, w, h = self._box_of(released, stick)
        radius = max(cx - x, x + w - cx, cy - y, y + h - cy)  # so that the cap's centre is the box's
        travel = self.style.travel * 2 * radius
        return Move(
            name=stick,
            box=(cx - radius, cy - radius, 2 * radius, 2 * radius),
            stick=stick,
            picture=released,
            pressed=pressed if self.style.thumb == "cap" else None,
            travel=(travel, travel),
            squeeze=self.style.squeeze,
        )

    def _static(self, name: str, picture: Picture) -> Part:
        return Static(name=name, box=(0, 0, *self.family.canvas), picture=picture)

    def _pictures(self, control: str) -> tuple[Picture, Picture, Box]:
        """Released, pressed, and the box that holds both."""
        both = self._wrap(self._group(control, False) + self._group(control, True))
        return self._picture(control), self._picture(control, pressed=True), self._box_of(both, control)

    def _picture(self, name: str, pressed: bool = False) -> Picture:
        return self._wrap(self._group(name, pressed))

    def _group(self, name: str, pressed: bool) -> str:
        return f'<g class="{name}{" pressed" if pressed else ""}">{self.family.groups[name]}</g>'

    def _wrap(self, markup: str) -> Picture:
        return Picture(svg=f"<style>{self.style.css}</style>{markup}")

    def _box_of(self, picture: Picture, *names: str) -> Box:
        """The box around what a picture of the named groups covers, exact to two canvas units."""
        x, y, w, h = reduce(_union, (self.family.areas[name] for name in names))
        around = (x - STROKE, y - STROKE, w + 2 * STROKE, h + 2 * STROKE)
        return _covered(picture.svg or "", around, 0.5)


def _covered(markup: str, window: Box, scale: float) -> Box:
    """The box, in canvas units, of what SVG markup paints within a window; drawn at ``scale`` px per unit."""
    x, y, w, h = window
    png = resvg_py.svg_to_bytes(
        svg_string=f'<svg xmlns="http://www.w3.org/2000/svg" width="{w * scale}" height="{h * scale}" '
        f'viewBox="{x} {y} {w} {h}">{markup}</svg>',
        skip_system_fonts=True,
    )
    alpha = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))[..., 3]
    left, top, width, height = (side / scale for side in cv2.boundingRect(alpha))
    return (x + left, y + top, width, height)


def _union(a: Box, b: Box) -> Box:
    x0, y0 = min(a[0], b[0]), min(a[1], b[1])
    x1, y1 = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return (x0, y0, x1 - x0, y1 - y0)
