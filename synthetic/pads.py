"""Pads that nobody drew: random looks in loosely pad-like layouts, as scenes.

The library has some dozens of drawings, real streams have thousands. A parser that also trains on these
learns what "pressed" and "tilted" look like in general. They are for training only: nothing is found
with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from templates.catalogue import Template
from templates.controls import BUTTONS, DPAD, STICKS, TRIGGERS
from templates.scene import (
    NINE_STATES,
    Box,
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
)

Point = tuple[float, float]
_CANVAS: Final = (800.0, 560.0)
_TOP: Final = {"left_shoulder": 190, "right_shoulder": 610, "left_trigger": 190, "right_trigger": 610}
_CENTRE: Final = {"back": 330, "guide": 400, "start": 470}
_FACE: Final = {"south": (0, 1), "east": (1, 0), "west": (-1, 0), "north": (0, -1)}
_ARMS: Final = {"dpad_up": (0, -1), "dpad_down": (0, 1), "dpad_left": (-1, 0), "dpad_right": (1, 0)}


def draw_pad(rng: np.random.Generator) -> Template:
    """A random template."""
    look = _draw_look(rng)
    sizes = rng.uniform(0.8, 1.25, 4)
    parts = [
        *_draw_body(rng),
        *_triggers(rng, look, sizes[0]),
        *_buttons(rng, look, sizes),
        *_dpad(rng, look, sizes[1]),
        *_sticks(rng, look, sizes[3]),
    ]
    return Template(Scene(id="random/pad", family="random", canvas=_CANVAS, parts=tuple(parts)), None)


@dataclass(frozen=True, slots=True)
class _Look:
    """How one pad's parts look: SVG paint of released and pressed shapes and of their glyphs."""

    released: str
    pressed: str
    glyph: str
    glyph_pressed: str
    hidden: bool
    ring: bool


@dataclass(frozen=True, slots=True)
class _Shape:
    """A control's outline and glyph, as SVG elements without paint, and the box around them."""

    outline: str
    glyph: str
    box: Box


def _draw_look(rng: np.random.Generator) -> _Look:
    """Solid, translucent or outlined parts; a press recolours, fills, rings or brings them up."""
    colour, light, ink = _colour(rng), _colour(rng, bright=True), _colour(rng)
    line = float(rng.uniform(1.5, 6))
    alpha = float(rng.uniform(0.3, 1)) if rng.random() < 0.4 else 1.0
    kind = rng.choice(["solid", "outline", "both"])
    fill = colour if kind != "outline" else "none"
    edge = _colour(rng) if kind != "solid" else "none"
    released = f'fill="{fill}" stroke="{edge}" stroke-width="{line:.1f}" opacity="{alpha:.2f}"'
    ring = bool(rng.random() < 0.12)
    if ring:
        pressed = f'fill="{fill}" stroke="{light}" stroke-width="{max(line, 5):.1f}"'
    elif kind != "solid" and rng.random() < 0.3:  # only the line changes
        pressed = f'fill="{fill}" stroke="{light}" stroke-width="{line + 2:.1f}"'
    else:
        glow = float(rng.uniform(0.5, 1)) if rng.random() < 0.3 else 1.0
        pressed = f'fill="{light}" stroke="{edge}" stroke-width="{line:.1f}" opacity="{glow:.2f}"'
    kept = rng.random() < 0.6
    glyph = f'fill="none" stroke="{ink}" stroke-width="{max(2.0, line):.1f}" opacity="{alpha:.2f}"'
    lit = glyph if kept else f'fill="none" stroke="{_colour(rng)}" stroke-width="{max(2.0, line):.1f}"'
    return _Look(released, pressed, glyph, lit, hidden=bool(rng.random() < 0.15), ring=ring)


def _colour(rng: np.random.Generator, bright: bool = False) -> str:
    if rng.random() < 0.35:
        level = int(rng.choice([20, 45, 90, 160, 215, 255]) if not bright else rng.choice([200, 235, 255]))
        return f"rgb({level},{level},{level})"
    rgb = rng.integers(0, 256, 3)
    if bright:
        rgb[rng.integers(3)] = 255
    return "rgb({},{},{})".format(*rgb)


def _draw_body(rng: np.random.Generator) -> Iterator[Part]:
    if rng.random() < 0.2:
        return
    grip, top, waist = rng.uniform(450, 550), rng.uniform(70, 120), rng.uniform(330, 470)
    path = (
        f"M150 {top} Q400 {top + rng.uniform(-20, 40):.0f} 650 {top} Q740 {top + 20:.0f} 780 {grip - 60:.0f} "
        f"Q760 {grip:.0f} 690 {grip:.0f} Q620 {waist:.0f} 400 {waist:.0f} Q180 {waist:.0f} 110 {grip:.0f} "
        f"Q40 {grip:.0f} 20 {grip - 60:.0f} Q60 {top + 20:.0f} 150 {top} Z"
    )
    fill = "none" if rng.random() < 0.3 else _colour(rng)
    opacity = float(rng.uniform(0.2, 1)) if rng.random() < 0.5 else 1.0
    paint = f'fill="{fill}" stroke="{_colour(rng)}" stroke-width="{rng.uniform(1, 8):.1f}" opacity="{opacity:.2f}"'
    yield Static(name="body", box=(0, 0, *_CANVAS), picture=Picture(svg=f'<path d="{path}" {paint}/>'))


def _shape(rng: np.random.Generator, centre: Point, size: Point, kinds: tuple[str, ...], glyph: bool) -> _Shape:
    (x, y), (w, h) = centre, size
    box = (x - w / 2, y - h / 2, w, h)
    kind = rng.choice(kinds)
    if kind == "round":
        outline = f'<ellipse cx="{x}" cy="{y}" rx="{w / 2}" ry="{h / 2}" PAINT/>'
    else:
        radius = float(rng.uniform(0, 0.5)) * min(w, h)
        outline = f'<rect x="{box[0]}" y="{box[1]}" width="{w}" height="{h}" rx="{radius:.1f}" PAINT/>'
    if not glyph:
        return _Shape(outline, "", box)
    reach = 0.28 * min(w, h)
    points = [(x + reach * dx, y + reach * dy) for dx, dy in rng.uniform(-1, 1, (int(rng.integers(3, 6)), 2))]
    path = "M" + " L".join(f"{px:.1f} {py:.1f}" for px, py in points)
    ring = f'<circle cx="{x}" cy="{y}" r="{reach:.1f}" PAINT/>'
    return _Shape(outline, ring if rng.random() < 0.2 else f'<path d="{path}" PAINT/>', box)


def _picture(shape: _Shape, paint: str, glyph: str) -> Picture:
    return Picture(svg=shape.outline.replace("PAINT", paint) + shape.glyph.replace("PAINT", glyph))


def _grown(box: Box, by: float = 5.0) -> Box:
    """Room for a stroke."""
    x, y, w, h = box
    return (x - by, y - by, w + 2 * by, h + 2 * by)


def _button(look: _Look, control: str, shape: _Shape) -> Iterator[Part]:
    box, lit = _grown(shape.box), _picture(shape, look.pressed, look.glyph_pressed)
    released = _picture(shape, look.released, look.glyph)
    if look.hidden:
        yield Show(name=control, control=control, box=box, picture=lit)
    elif look.ring:
        yield Static(name=f"{control}.rest", box=box, picture=released)
        yield Show(name=control, control=control, box=box, picture=lit)
    else:
        yield Swap(name=control, control=control, box=box, picture=released, pressed=lit, threshold=0.1)


def _buttons(rng: np.random.Generator, look: _Look, sizes: np.ndarray) -> Iterator[Part]:
    size, spread = 52 * sizes[0], rng.uniform(50, 62)
    glyphs, kinds = bool(rng.random() < 0.8), ("round",) if rng.random() < 0.7 else ("round", "box")
    x, y = 610 + rng.normal(0, 12), 215 + rng.normal(0, 12)
    for name, (dx, dy) in _FACE.items():
        yield from _button(look, name, _shape(rng, (x + spread * dx, y + spread * dy), (size, size), kinds, glyphs))
    for name, cx in _CENTRE.items():
        w, h = (34 * sizes[2], 34 * sizes[2] * rng.uniform(0.4, 1))
        yield from _button(look, name, _shape(rng, (cx, 190 + rng.normal(0, 10)), (w, h), ("round", "box"), glyphs))
    for name in ("left_shoulder", "right_shoulder"):
        w, h = rng.uniform(90, 170), rng.uniform(22, 44)
        yield from _button(
            look, name, _shape(rng, (_TOP[name], 92), (w, h), ("round", "box"), bool(rng.random() < 0.5))
        )


def _triggers(rng: np.random.Generator, look: _Look, size: float) -> Iterator[Part]:
    kind = rng.choice(["fill", "swap", "fade", "slide", "eaten"], p=[0.4, 0.25, 0.15, 0.12, 0.08])
    w, h = rng.uniform(55, 130), rng.uniform(36, 62) * size
    grows: Literal["up", "down", "left", "right"] = str(rng.choice(["up", "up", "down", "left", "right"]))  # type: ignore[assignment]
    seen = bool(rng.random() < 0.7)
    for name in TRIGGERS:
        shape = _shape(rng, (_TOP[name], 40), (w, min(h, 68)), ("round", "box"), bool(rng.random() < 0.4))
        box, lit = _grown(shape.box), _picture(shape, look.pressed, look.glyph_pressed)
        released = _picture(shape, look.released, look.glyph)
        if kind in ("fill", "fade", "eaten") and seen:
            yield Static(name=f"{name}.rest", box=box, picture=released)
        if kind == "fill":
            yield Clip(name=name, control=name, box=box, picture=lit, grows=grows)
        elif kind == "eaten":
            yield Clip(name=name, control=name, box=box, picture=lit, grows=grows, reverse=True)
        elif kind == "fade":
            yield Opacity(name=name, control=name, box=box, picture=lit)
        elif kind == "slide":
            offset = (0.0, float(rng.uniform(8, 22)))
            yield Slide(name=name, control=name, box=box, picture=released, pressed=lit, offset=offset)
        else:
            yield from _button(look, name, shape)


def _dpad(rng: np.random.Generator, look: _Look, size: float) -> Iterator[Part]:
    x, y = 190 + rng.normal(0, 12), 330 + rng.normal(0, 12)
    long, wide = 44 * size, 34 * size
    reach = rng.uniform(0.5, 0.75) * long + wide / 2 - 4
    glyphs = bool(rng.random() < 0.4)
    arms = {}
    for name, (dx, dy) in _ARMS.items():
        shape_size = (wide, long) if dx == 0 else (long, wide)
        arms[name] = _shape(rng, (x + reach * dx, y + reach * dy), shape_size, ("box",), glyphs)
    if rng.random() < 0.75:
        for name, shape in arms.items():
            yield from _button(look, name, shape)
        return
    half = reach + long / 2 + 5
    pictures = {}
    for state in NINE_STATES:
        held = {f"dpad_{part}" for part in state.split("_")}
        markup = "".join(
            _picture(arms[a], look.pressed, look.glyph_pressed).svg or ""
            if a in held
            else _picture(arms[a], look.released, look.glyph).svg or ""
            for a in DPAD
        )
        pictures[state] = Picture(svg=markup)
    yield NineState(name="dpad", box=(x - half, y - half, 2 * half, 2 * half), pictures=pictures)


def _sticks(rng: np.random.Generator, look: _Look, size: float) -> Iterator[Part]:
    radius = 50 * size
    travel = 2 * radius * float(np.exp(rng.uniform(np.log(0.12), 0)))
    squeeze = 0.87 if rng.random() < 0.25 else 1.0
    click = rng.choice(["cap", "ring", "none"], p=[0.6, 0.25, 0.15])
    opacity = float(rng.uniform(0.4, 1)) if rng.random() < 0.3 else 1.0
    fill = "none" if rng.random() < 0.2 else _colour(rng)
    paints = {False: (fill, _colour(rng)), True: (_colour(rng, bright=True), _colour(rng))}
    line, inner, dots = rng.uniform(1.5, 7), rng.uniform(0.4, 0.85), bool(rng.random() < 0.3)
    well = f'fill="none" stroke="{_colour(rng)}" stroke-width="{rng.uniform(1.5, 6):.1f}"'
    for name, x in zip(STICKS, (290.0, 510.0), strict=True):
        y = 420 + rng.normal(0, 10)
        if rng.random() < 0.6:
            ring = f'<circle cx="{x}" cy="{y}" r="{radius * rng.uniform(1.02, 1.3):.1f}" {well}/>'
            reach = 1.4 * radius
            yield Static(
                name=f"{name}.well",
                box=(x - reach, y - reach, 2 * reach, 2 * reach),
                picture=Picture(svg=ring),
            )
        thumb = BUTTONS[12 + STICKS.index(name)]
        if click == "ring":
            paint = f'fill="none" stroke="{paints[True][0]}" stroke-width="9"'
            ring = f'<circle cx="{x}" cy="{y}" r="{radius + 5:.1f}" {paint}/>'
            box = (x - radius - 10, y - radius - 10, 2 * radius + 20, 2 * radius + 20)
            yield Show(name=thumb, control=thumb, box=box, picture=Picture(svg=ring))

        def cap(clicked: bool, x: float = x, y: float = y) -> Picture:
            colour, edge = paints[clicked]
            markup = f'<circle cx="{x}" cy="{y}" r="{radius - line / 2:.1f}" fill="{colour}" stroke="{edge}"'
            markup += f' stroke-width="{line:.1f}" opacity="{opacity:.2f}"/>'
            ring = f'<circle cx="{x}" cy="{y}" r="{radius * inner:.1f}" fill="none" stroke="{edge}" stroke-width="3"/>'
            spots = "".join(
                f'<circle cx="{x + dx * 0.75 * radius}" cy="{y + dy * 0.75 * radius}" r="4" fill="{edge}"/>'
                for dx, dy in _ARMS.values()
            )
            return Picture(svg=markup + (spots if dots else ring))

        yield Move(
            name=name,
            stick=name,
            box=(x - radius, y - radius, 2 * radius, 2 * radius),
            travel=(travel, travel),
            picture=cap(False),
            pressed=cap(True) if click == "cap" else None,
            squeeze=squeeze,
        )
