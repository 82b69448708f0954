"""The built-in library: every family of ``drawings`` dressed in its styles -> scenes, ``family/style``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Final

from templates.controls import BUTTONS, DPAD, THUMB_OF, TRIGGERS
from templates.drawings import Family, Style, families
from templates.markup import Rule, classes_of, reach_of, read_rules, style_of
from templates.scene import (
    NINE_STATES,
    Box,
    Clip,
    Direction,
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

SLIDE: Final = (0.0, 16.0)  # canvas units that a sliding trigger goes down
BALL_TRAVEL: Final = 0.45  # of its width, as far as an arcade stick leans
BAR_END: Final = 0.95  # travel from which a bar lights its end segment

_GROWS: Final[dict[str, Direction]] = {
    "fill_up": "up",
    "fill_down": "down",
    "fill_left": "left",
    "fill_right": "right",
    "eaten_up": "up",
}
# Shoulders lie over triggers, everything else over both; sticks come last, over whatever they pass.
_SHOULDERS = ("left_shoulder", "right_shoulder")
_ORDER = (*TRIGGERS, *_SHOULDERS, *(name for name in BUTTONS if name not in (*TRIGGERS, *_SHOULDERS)))


@cache
def family_scenes() -> dict[str, Scene]:
    """Every built-in template by id, ``family/style``."""
    scenes = (dress(family, name) for family in families().values() for name in family.styles)
    return {scene.id: scene for scene in scenes}


def dress(family: Family, name: str) -> Scene:
    """One family in one of its styles."""
    style = family.styles[name]
    drawn = _with_thumb_boxes(family) if style.thumb == "box" else family
    parts = _Dresser(drawn, style, read_rules(style.css)).parts()
    return Scene(id=f"{family.name}/{name}", family=family.name, canvas=drawn.canvas, parts=tuple(parts))


def _with_thumb_boxes(family: Family) -> Family:
    """The family with its stick clicks as two labelled buttons below the pad."""
    width, height = family.canvas
    boxes = {
        thumb: (width / 2 + side * 70 - 48, height + 12, 96.0, 60.0)
        for thumb, side in (("left_thumb", -1), ("right_thumb", 1))
        if thumb in family.groups
    }
    letters = {"left_thumb": "M-24 -15 V15 H-7", "right_thumb": "M-25 16 V-15 H-14 A8 8 0 0 1 -14 1 H-25 M-14 1 L-6 16"}
    three = "M6 -13 C14 -18 23 -13 21 -6 C20 -2 16 0 12 0 C18 0 23 3 22 9 C21 16 12 17 5 13"
    groups = {
        thumb: f'<rect class="key" x="{x}" y="{y}" width="{w}" height="{h}" rx="16"/>'
        f'<path class="glyph" transform="translate({x + w / 2} {y + h / 2})" d="{letters[thumb]} {three}"/>'
        for thumb, (x, y, w, h) in boxes.items()
    }
    return replace(
        family,
        canvas=(width, height + 84) if boxes else family.canvas,
        groups={**family.groups, **groups},
        areas={**family.areas, **boxes},
    )


@dataclass(frozen=True, slots=True)
class _Dresser:
    """Turns one family in one style into the parts of a scene."""

    family: Family
    style: Style
    rules: tuple[Rule, ...]

    def parts(self) -> Iterator[Part]:
        yield from self._body()
        for control in _ORDER:
            if control not in self.family.groups:
                continue
            if control in TRIGGERS and self.style.trigger != "swap":
                yield from self._trigger(control)
            elif control in THUMB_OF.values():
                yield from self._thumb(control)
            elif control not in DPAD or self.style.dpad == "four":
                yield from self._button(control)
        if "dpad" in self.family.groups:
            yield self._ball()
        elif self.style.dpad == "nine":
            yield self._nine_state()
        for stick in self.family.caps:
            yield self._stick(stick)

    def _body(self) -> Iterator[Part]:
        """What never changes, as one picture: one drawing costs less than five."""
        width, height = self.family.canvas
        wells = (name for name in self.family.groups if name.endswith(".well"))
        seen = (name for name in ("body", "detail", *wells) if name in self.family.groups)
        markup = "".join(self._group(name) for name in seen if name not in self.style.hide)
        if self.style.backdrop is not None:
            markup = f'<rect width="{width}" height="{height}" fill="{self.style.backdrop}"/>{markup}'
        if markup:
            yield Static(name="body", box=(0, 0, width, height), picture=self._dressed(markup))

    def _button(self, control: str) -> Iterator[Part]:
        released, pressed, box = self._picture(control), self._picture(control, "pressed"), self._box_of(control)
        if self.style.press == "swap":
            yield Swap(name=control, box=box, control=control, picture=released, pressed=pressed)
            return
        if self.style.press == "show":
            yield Static(name=f"{control}.idle", box=box, picture=released)
        yield Show(name=control, box=box, control=control, picture=pressed)

    def _thumb(self, thumb: str) -> Iterator[Part]:
        if self.style.thumb == "box":
            yield from self._button(thumb)
        elif self.style.thumb == "ring":
            yield Show(name=thumb, box=self._box_of(thumb), control=thumb, picture=self._picture(thumb, "pressed"))

    def _trigger(self, control: str) -> Iterator[Part]:
        how = self.style.trigger
        if how == "bar":
            yield from self._bar(control)
            return
        released, pressed, box = self._picture(control), self._picture(control, "pressed"), self._box_of(control)
        if how == "slide":
            yield Slide(name=control, box=box, control=control, picture=released, pressed=pressed, offset=SLIDE)
            return
        eaten = how == "eaten_up"
        if self.style.press != "ghost":
            yield Static(name=f"{control}.idle", box=box, picture=pressed if eaten else released)
        if how == "fade":
            yield Opacity(name=control, box=box, control=control, picture=pressed)
            return
        picture = released if eaten else pressed
        yield Clip(name=control, box=box, control=control, picture=picture, grows=_GROWS[how], reverse=eaten)

    def _bar(self, control: str) -> Iterator[Part]:
        """A bar in the trigger's place that fills towards the middle of the pad, and its end segment."""
        x, y, w, h = self.family.areas[control]
        left = control == "left_trigger"
        height, end, gap = min(h, 34.0), 0.16 * w, 6.0
        top = y + (h - height) / 2
        idle, lit, box = self._segment(control, (x if left else x + end + gap, top, w - end - gap, height))
        end_idle, end_lit, end_box = self._segment(control, (x + w - end if left else x, top, end, height))
        if self.style.press != "ghost":
            yield Static(name=f"{control}.idle", box=box, picture=idle)
            yield Static(name=f"{control}.end.idle", box=end_box, picture=end_idle)
        yield Clip(name=control, box=box, control=control, picture=lit, grows="right" if left else "left")
        yield Show(name=f"{control}.end", box=end_box, control=control, picture=end_lit, threshold=BAR_END)

    def _segment(self, control: str, box: Box) -> tuple[Picture, Picture, Box]:
        """A rounded rectangle, released and pressed, and the box that holds both."""
        x, y, w, h = box
        markup = f'<rect class="key" x="{x}" y="{y}" width="{w}" height="{h}" rx="8"/>'
        released, pressed = (self._dressed(_group(control, markup, state)) for state in ("", "pressed"))
        return released, pressed, _widened(box, reach_of(self.rules, classes_of(pressed.svg or "")))

    def _nine_state(self) -> Part:
        pictures = {}
        for state in NINE_STATES:
            held = {f"dpad_{direction}" for direction in state.split("_")}
            arms = (self._group(name, "pressed" if name in held else "") for name in DPAD)
            pictures[state] = self._dressed("".join(arms))
        return NineState(name="dpad", box=reduce(_union, map(self._box_of, DPAD)), pictures=pictures)

    def _ball(self) -> Part:
        """An arcade stick: its ball leans in eight directions."""
        lean = BALL_TRAVEL * self.family.areas["dpad"][2]
        pictures = {}
        for state in NINE_STATES:
            dx = lean * (("right" in state) - ("left" in state))
            dy = lean * (("down" in state) - ("up" in state))
            ball = self._group("dpad", "pressed" if state != "idle" else "")
            pictures[state] = self._dressed(f'<g transform="translate({dx} {dy})">{ball}</g>')
        return NineState(name="dpad", box=_widened(self._box_of("dpad"), lean), pictures=pictures)

    def _stick(self, stick: str) -> Part:
        (cx, cy), scale = self.family.caps[stick], self.style.stick_scale
        released, pressed, tilted = (
            self._dressed(
                f'<g transform="translate({cx} {cy}) scale({scale}) translate({-cx} {-cy})">'
                f"{self._group(stick, state)}</g>"
            )
            for state in ("", "pressed", "tilted")
        )
        x, y, w, h = self._box_of(stick)
        radius = scale * max(cx - x, x + w - cx, cy - y, y + h - cy)  # so that the cap's centre is the box's
        travel = self.style.travel * 2 * radius
        changes = self.style.thumb == "cap" and THUMB_OF[stick] in self.family.groups
        return Move(
            name=stick,
            box=(cx - radius, cy - radius, 2 * radius, 2 * radius),
            stick=stick,
            picture=released,
            pressed=pressed if changes else None,
            off_centre=tilted if self.style.off_centre else None,
            travel=(travel, travel),
            squeeze=self.style.squeeze,
        )

    def _picture(self, name: str, state: str = "") -> Picture:
        return self._dressed(self._group(name, state))

    def _group(self, name: str, state: str = "") -> str:
        markup = self.family.groups[name]
        if state == "pressed" and self._sink_of(name):
            markup = f'<g transform="translate(0 {self._sink_of(name)})">{markup}</g>'
        return _group(name, markup, state)

    def _sink_of(self, name: str) -> float:
        """How far a control goes down while held: a button that has nothing else moving."""
        return self.style.sink if name in BUTTONS and name not in (*TRIGGERS, *THUMB_OF.values()) else 0.0

    def _dressed(self, markup: str) -> Picture:
        return Picture(svg=style_of(self.rules, classes_of(markup)) + markup)

    def _box_of(self, name: str) -> Box:
        """The box around what a group covers, released and pressed, strokes included."""
        classes = classes_of(self._group(name, "pressed"))
        x, y, w, h = _widened(self.family.areas[name], reach_of(self.rules, classes))
        return (x, y, w, h + self._sink_of(name))


def _group(name: str, markup: str, state: str) -> str:
    """Markup in the classes that style sheets know it by."""
    return f'<g class="{f"{name} {state}".strip()}">{markup}</g>'


def _widened(box: Box, margin: float) -> Box:
    x, y, w, h = box
    return (x - margin, y - margin, w + 2 * margin, h + 2 * margin)


def _union(a: Box, b: Box) -> Box:
    x0, y0 = min(a[0], b[0]), min(a[1], b[1])
    x1, y1 = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return (x0, y0, x1 - x0, y1 - y0)
