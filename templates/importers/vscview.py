"""Import VSCView layouts: a JSON tree of nodes and the PNGs that they name.

A node's place is told from its parent's. What a node does hangs on formulas of the controller's inputs;
they are read into a tree of Python's ``ast``, worked out by the few rules below (nothing is ever run),
and tried with one control at a time: the control that changes the answer is the one that drives the node.
"""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

import cv2
import json5
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from templates.catalogue import (
    MAX_PARTS,
    MAX_PNG_BYTES,
    TemplateError,
    check_sizes,
    load_png,
    read_limited,
    slug,
)
from templates.controls import STICKS, THUMB_OF, TRIGGERS
from templates.importers.skin import (
    Gallery,
    ImportedSkin,
    encode_png,
    family_in,
    find_files,
    find_inside,
    naming,
    read_text,
    with_unique_ids,
)
from templates.scene import MAX_CANVAS, Box, Clip, Direction, Move, Part, Picture, Scene, Show, Slide, Static

MAX_DEPTH: Final = 40  # nodes within nodes; known layouts have 8
MAX_LENIENT_CHARS: Final = 1 << 18  # json5 reads 140 thousand a second; known layouts have 20 thousand
MAX_FORMULA_CHARS: Final = 2000
MAX_TURNED_PX: Final = 2048  # longer side of a picture that is turned
TRAVELS: Final = tuple(step / 256 for step in range(1, 257))  # at which a trigger is tried
NOTHING: Final = Picture(svg="")

_CONTROLS: Final = {
    "quad_right:s": "south", "quad_right:e": "east", "quad_right:w": "west", "quad_right:n": "north",
    "quad_left:n": "dpad_up", "quad_left:s": "dpad_down", "quad_left:w": "dpad_left", "quad_left:e": "dpad_right",
    "bumpers:l": "left_shoulder", "bumpers:r": "right_shoulder",
    "stick_left:click": "left_thumb", "stick_right:click": "right_thumb",
    "menu:l": "back", "menu:r": "start", "home": "guide",
}  # fmt: skip
_TRIGGER_INPUTS: Final = {  # analog travel, its end stop, and the switch that a DualShock 4 closes on the way
    "left_trigger": ("triggers:l:analog", "triggers:l:stage2", "bumpers2:l"),
    "right_trigger": ("triggers:r:analog", "triggers:r:stage2", "bumpers2:r"),
}
_STICK_INPUTS: Final = {"j_left": ("stick_left:x", "stick_left:y"), "j_right": ("stick_right:x", "stick_right:y")}
_GROWS: Final[dict[str, Direction]] = {"up": "up", "down": "down", "left": "left", "right": "right"}
_TILTS: Final = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))

_BINARY: Final[dict[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_UNARY: Final[dict[type[ast.AST], Callable[[float], float]]] = {
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_,
}  # fmt: skip
_FUNCTIONS: Final[dict[str, Callable[..., float]]] = {
    "if_": lambda condition, yes, no: yes if condition else no, "tobool": bool, "max": max, "min": min,
    "math.max": max, "math.min": min, "math.abs": abs, "math.round": round, "math.sign": lambda x: (x > 0) - (x < 0),
    "math.sqrt": math.sqrt, "math.sin": math.sin, "math.cos": math.cos, "math.tan": math.tan,
    "math.atan": math.atan, "math.atan2": math.atan2, "math.floor": math.floor, "math.ceiling": math.ceil,
}  # fmt: skip
_CONSTANTS: Final = {"math.pi": math.pi, "true": 1.0, "false": 0.0}

Coordinate = Annotated[float, Field(ge=-MAX_CANVAS, le=MAX_CANVAS, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=MAX_CANVAS, allow_inf_nan=False)]
Inputs = Mapping[str, float]


class Node(BaseModel):
    """One node of a layout and those within it; only the fields that its drawing depends on."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    type: str | None = None
    x: Coordinate = 0.0
    y: Coordinate = 0.0
    rot: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Degrees clockwise, for the nodes within."""
    image: str | None = None
    center: bool = False
    width: Size = 0.0
    height: Size = 0.0
    input: str | None = None
    input_x: Annotated[str | None, Field(alias="inputX")] = None
    input_y: Annotated[str | None, Field(alias="inputY")] = None
    input_r: Annotated[str | None, Field(alias="inputR")] = None
    direction: str | None = None
    min: str = "0"
    max: str = "1"
    foreground: str | None = None
    background: str | None = None
    children: tuple[Node, ...] = ()


class Layout(BaseModel):
    """A layout file."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    name: str = ""
    width: Annotated[float, Field(ge=1, le=MAX_CANVAS)] = 100
    height: Annotated[float, Field(ge=1, le=MAX_CANVAS)] = 100
    children: tuple[Node, ...]


class UnreadableFormula(ValueError):
    """A formula beyond the few rules here, or one without a finite answer."""


@dataclass(frozen=True)
class Formula:
    """A formula of the controller's inputs."""

    text: str

    @cached_property
    def _tree(self) -> ast.expr:
        if len(self.text) > MAX_FORMULA_CHARS:
            raise UnreadableFormula
        text = re.sub(r"\bif\s*\(", "if_(", self.text.lower()).replace(":", "__")
        text = re.sub(r"(?<![<>=!])=(?!=)", "==", text.replace("<>", "!=")).strip()
        try:
            return ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UnreadableFormula from error

    def at(self, inputs: Inputs) -> float:
        """The answer for these inputs; every other input is at rest, at 0."""
        try:
            answer = float(_work_out(self._tree, inputs))
        except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise UnreadableFormula from error
        if not math.isfinite(answer):
            raise UnreadableFormula
        return answer

    def drivers(self) -> set[str]:
        """The controls that change the answer, each tried alone."""
        rest = self.at({})
        return {control for control, tries in _TRIES.items() if any(self.at(inputs) != rest for inputs in tries)}


@dataclass(frozen=True, slots=True)
class Place:
    """The coordinates that a node's children live in: an origin on the canvas, turned clockwise."""

    x: float = 0.0
    y: float = 0.0
    turn: float = 0.0  # degrees

    def vector(self, x: float, y: float) -> tuple[float, float]:
        if self.turn % 360 == 0:
            return x, y
        cos, sin = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        return x * cos - y * sin, x * sin + y * cos

    def point(self, x: float, y: float) -> tuple[float, float]:
        dx, dy = self.vector(x, y)
        return self.x + dx, self.y + dy

    def within(self, x: float, y: float, turn: float) -> Place:
        return Place(*self.point(x, y), self.turn + turn)


@dataclass(frozen=True, slots=True)
class When:
    """Drawn only while a control is held or a stick is off-centre; the other way round where ``inverse``."""

    control: str
    threshold: float
    inverse: bool


@dataclass(frozen=True, slots=True)
class Motion:
    """Moved by a control; ``offset`` in canvas units at full travel, y down."""

    control: str
    offset: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the nodes around a node do to it."""

    place: Place = Place()
    when: When | None = None
    motion: Motion | None = None
    depth: int = 0


def import_vscview(path: Path, family: str | None = None) -> list[ImportedSkin]:
    """Import a layout's JSON, or every layout below a folder; one skin for each.

    Pictures are looked for below the folder given, nowhere else: to find those that a theme borrows from
    another (paths that start with a backslash), give the folder ``themes``. ``family`` overrides the one
    guessed from names. Raises ``TemplateError`` where nothing can be imported or a layout is broken.
    """
    root = path if path.is_dir() else path.parent
    skins: list[ImportedSkin] = []
    for file in find_files(path, ".json", "a layout's .json"):
        with naming(file, "a layout"):
            layout = _read_layout(file)
            if layout is not None:
                skins.append(_import_layout(layout, file, root, family))
    skins = [skin for skin in skins if skin.scene.known]
    if not skins:
        raise TemplateError(f"expected a VSCView layout with gamepad controls at {path}, found none")
    return with_unique_ids(skins)


def _read_layout(file: Path) -> Layout | None:
    """A checked layout; None where the JSON is of another kind (theme.json)."""
    raw = _read_json(read_text(file))
    if not isinstance(raw, dict) or not isinstance(raw.get("children"), list):
        return None
    return Layout.model_validate(raw)


def _read_json(text: str) -> object:
    """JSON, or what VSCView takes for it: comments, trailing commas, single quotes."""
    try:
        try:
            return json.loads(text)
        except ValueError:
            if len(text) > MAX_LENIENT_CHARS:
                raise
            return json5.loads(text)
    except (ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        raise TemplateError(f"expected JSON text ({reason}); mend the file or remove it") from error


def _import_layout(layout: Layout, file: Path, root: Path, family: str | None) -> ImportedSkin:
    reader = _Reader(root, file.parent)
    parts = tuple(part for node in layout.children for part in reader.parts_of(node, Setting()))
    folders = [
        folder.name for folder in (file.parent, *file.parent.parents) if folder.resolve().is_relative_to(root.resolve())
    ]
    names = [file.stem, *folders, layout.name, *reader.gallery.files]
    scene = Scene(
        id=slug(f"vscview-{file.resolve().parent.name}-{file.stem}"),
        family=family or family_in(names) or "unknown",
        canvas=(layout.width, layout.height),
        parts=parts,
        notes=tuple(dict.fromkeys(reader.notes)),
    )
    check_sizes(scene)
    return ImportedSkin(scene, reader.gallery.used_by(scene))


class _Reader:
    """Turns the nodes of one layout into parts, in order, and takes notes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.notes: list[str] = []
        self.gallery = Gallery()
        self._root = root
        self._folder = folder
        self._images: dict[str, Path | None] = {}
        self._count = 0

    def parts_of(self, node: Node, setting: Setting) -> Iterator[Part]:
        self._count += 1
        if setting.depth > MAX_DEPTH or self._count > 10 * MAX_PARTS:
            raise TemplateError(
                f"expected at most {MAX_DEPTH} nodes within nodes and {10 * MAX_PARTS} in all, found more"
            )
        inner: Setting | None = setting
        if node.type == "image":
            yield from self._image(node, setting)
        elif node.type == "showhide":
            inner = self._condition(node, setting)
        elif node.type == "slider":
            inner = self._slider(node, setting)
        elif node.type == "pbar":
            yield from self._bar(node, setting)
        elif node.type == "basic3d1":
            yield from self._tilting(node, setting)
        elif node.type:
            self._note(node, "is no gamepad control; it is left out")
            inner = None
        if inner is None:
            return
        inner = replace(inner, place=inner.place.within(node.x, node.y, node.rot), depth=setting.depth + 1)
        for child in node.children:
            yield from self.parts_of(child, inner)

    def _image(self, node: Node, setting: Setting) -> Iterator[Part]:
        if not node.image or not node.image.strip():
            return
        if not (node.width and node.height):
            self._note(node, "has no width or no height; it draws nothing")
            return
        corner = (node.x - node.width / 2, node.y - node.height / 2) if node.center else (node.x, node.y)
        yield from self._picture_part(node, setting, (*corner, node.width, node.height))

    def _tilting(self, node: Node, setting: Setting) -> Iterator[Part]:
        self._note(node, "tilts with the pad; it is drawn level")
        if node.width and node.height:
            box = (node.x - node.width / 2, node.y - node.height / 2, node.width, node.height)
            yield from self._picture_part(node, setting, box)

    def _picture_part(self, node: Node, setting: Setting, box: Box) -> Iterator[Part]:
        path = self._find(node.image or "")
        if path is None:
            self._note(node, "has no such picture in the skin's folder; it draws nothing")
            return
        picture, turned_box = self._turned(path, box, setting.place)
        part = _part(Path(path.name).stem, turned_box, picture, setting)
        if part is None:
            self._note(node, "moves with one control and shows with another; it is left out")
        else:
            yield part

    def _condition(self, node: Node, setting: Setting) -> Setting | None:
        """The setting of what a showhide holds; None where that is never drawn."""
        formula = Formula(node.input or "")
        try:
            drivers, rest = formula.drivers(), bool(formula.at({}))
        except UnreadableFormula:
            self._note(node, "has a condition that cannot be read; it is left out")
            return None
        if not drivers:
            if not rest:
                self._note(node, "shows with none of the 17 buttons or sticks; it is left out")
            return setting if rest else None
        when = _when(formula, min(drivers), rest) if len(drivers) == 1 else None
        if when is None:
            self._note(node, "shows with several controls; it is left out")
            return None
        if setting.when not in (None, when):
            self._note(node, "shows with two conditions at once; it is left out")
            return None
        return replace(setting, when=when)

    def _slider(self, node: Node, setting: Setting) -> Setting:
        """The setting of what a slider holds: moved aside, moved by a control, or both."""
        formulas = [Formula(text or "0") for text in (node.input_x, node.input_y, node.input_r)]
        try:
            drivers = formulas[0].drivers() | formulas[1].drivers()
            x, y, turn = (formula.at({}) for formula in formulas)
            turns = bool(formulas[2].drivers())
        except UnreadableFormula:
            self._note(node, "has a motion that cannot be read; it is drawn at rest")
            return setting
        if turns:
            self._note(node, "turns; it is drawn unturned")
        moved = replace(setting, place=setting.place.within(x, y, turn))
        if len(drivers) > 1:
            self._note(node, "moves with several controls; it is drawn at rest")
        if len(drivers) != 1:
            return moved
        motion = self._motion(node, formulas[0], formulas[1], min(drivers), setting.place)
        if setting.motion is not None and setting.motion.control != motion.control:
            self._note(node, f"moves with {motion.control} too, which is not drawn")
            return moved
        if setting.motion is not None:
            dx, dy = setting.motion.offset
            motion = replace(motion, offset=(motion.offset[0] + dx, motion.offset[1] + dy))
        return replace(moved, motion=motion)

    def _motion(self, node: Node, x: Formula, y: Formula, control: str, place: Place) -> Motion:
        rest = (x.at({}), y.at({}))
        if control not in STICKS:
            full = _TRIES[control][-1]
            return Motion(control, place.vector(x.at(full) - rest[0], y.at(full) - rest[1]))
        right, left, down, up = (_tilt(control, *tilt) for tilt in _TILTS)
        half_x, half_y = _tilt(control, 0.5, 0.0), _tilt(control, 0.0, 0.5)
        travel = (x.at(right) - rest[0], y.at(down) - rest[1])
        even = (
            np.allclose((rest[0] - x.at(left), rest[1] - y.at(up)), travel, atol=0.01)
            and np.allclose((x.at(half_x) - rest[0], y.at(half_y) - rest[1]), np.divide(travel, 2), atol=0.01)
            and np.allclose((x.at(down), y.at(right)), rest, atol=0.01)
        )
        if not even:
            self._note(node, "does not move in proportion to its stick; it is drawn as if it did")
        if min(travel) < 0 or place.turn % 360:
            self._note(node, "moves mirrored or at an angle; it is drawn as moving with its stick")
        return Motion(control, (abs(travel[0]), abs(travel[1])))

    def _bar(self, node: Node, setting: Setting) -> Iterator[Part]:
        """A bar that fills with a trigger, in one colour or from a picture, with a frame around a coloured one."""
        if not (node.width and node.height):
            self._note(node, "has no width or no height; it draws nothing")
            return
        fill = self._filling(node)
        if fill is None or setting.when or setting.motion or setting.place.turn % 360:
            self._note(node, "fills with no trigger, or is turned, moved or hidden; it is left out")
            return
        control, reverse = fill
        x, y = setting.place.point(node.x, node.y)
        box = (x - node.width / 2, y - node.height / 2, node.width, node.height)
        grows = _GROWS.get(node.direction or "", "right")
        path = self._find(node.image) if node.image else None
        if node.image and path is None:
            self._note(node, "has no such picture in the skin's folder; it is drawn in its colour")
        picture = (
            self._picture(path) if path else Picture(svg=_rectangle(box, f"fill:{_colour(node.background, 'ffffff')}"))
        )
        yield Clip(name="bar", box=box, control=control, picture=picture, grows=grows, reverse=reverse)
        if path is None:
            frame = f"fill:none;stroke-width:2;stroke:{_colour(node.foreground, '000000')}"
            yield Static(name="frame of bar", box=box, picture=Picture(svg=_rectangle(box, frame)))

    def _filling(self, node: Node) -> tuple[str, bool] | None:
        """The trigger that fills a bar, and whether the bar is full at rest."""
        value, low, high = Formula(node.input or ""), Formula(node.min), Formula(node.max)
        try:
            drivers = value.drivers() | low.drivers() | high.drivers()
            if len(drivers) != 1 or not drivers <= set(TRIGGERS):
                return None
            control = min(drivers)
            start, end = ((value.at(at) - low.at(at)) / (high.at(at) - low.at(at)) for at in ({}, _TRIES[control][-1]))
        except (UnreadableFormula, ZeroDivisionError):
            return None
        if min(start, end) > 0.05 or max(start, end) < 0.95:
            self._note(node, f"fills from {start:.2f} to {end:.2f}; it is drawn as filling whole")
        return control, start > end

    def _find(self, reference: str) -> Path | None:
        """The picture that a node names: from the layout's folder, or with a backslash in front, from the themes'."""
        if reference not in self._images:
            folders = [folder for folder in (self._folder, *self._folder.parents) if folder.is_relative_to(self._root)]
            if reference[:1] in ("\\", "/"):
                found = [find_inside(folder, reference) for folder in reversed(folders)]
                self._images[reference] = next((path for path in found if path is not None), None)
            else:
                here = self._folder.relative_to(self._root).as_posix()
                self._images[reference] = find_inside(self._root, f"{here}/{reference}")
        return self._images[reference]

    def _picture(self, path: Path) -> Picture:
        load_png(path)  # a broken picture is refused now, not when it is drawn
        return Picture(file=self.gallery.add(path.name, read_limited(path, MAX_PNG_BYTES)))

    def _turned(self, path: Path, box: Box, place: Place) -> tuple[Picture, Box]:
        """A picture in a box of the place's coordinates, as an upright picture on the canvas."""
        x, y, w, h = box
        cx, cy = place.point(x + w / 2, y + h / 2)
        if place.turn % 360 == 0:
            return self._picture(path), (cx - w / 2, cy - h / 2, w, h)
        pixels, (wide, high) = _turn(load_png(path), (w, h), place.turn)
        name = self.gallery.add(f"{path.stem}-turned.png", encode_png(pixels))
        return Picture(file=name), (cx - wide / 2, cy - high / 2, wide, high)

    def _note(self, node: Node, text: str) -> None:
        what = node.image or node.input or node.input_x or node.input_y or ""
        self.notes.append(f"{node.type} {what[:60]!r} {text}")


def _part(name: str, box: Box, picture: Picture, setting: Setting) -> Part | None:
    """A picture under a condition and in motion; None where no kind of part is both."""
    when, motion = setting.when, setting.motion
    if motion is None and when is None:
        return Static(name=name, box=box, picture=picture)
    if motion is None:
        assert when is not None
        return Show(
            name=name, box=box, picture=picture, control=when.control, inverse=when.inverse, threshold=when.threshold
        )
    hidden, shown = (picture, NOTHING) if when and when.inverse else (NOTHING, picture)
    if motion.control in STICKS:
        stick = "j_left" if motion.control == "j_left" else "j_right"
        move = Move(name=name, box=box, stick=stick, picture=picture, travel=motion.offset)
        if when is None:
            return move
        if when.control == THUMB_OF[stick]:
            return move.model_copy(update={"picture": hidden, "pressed": shown})
        return move.model_copy(update={"picture": hidden, "off_centre": shown}) if when.control == stick else None
    slide = Slide(name=name, box=box, control=motion.control, picture=picture, offset=motion.offset)
    if when is None:
        return slide
    update = {"picture": hidden, "pressed": shown, "threshold": when.threshold}
    return slide.model_copy(update=update) if when.control == motion.control else None


def _when(formula: Formula, control: str, rest: bool) -> When | None:
    """The condition that a formula of one control sets; None where it holds for some directions of a stick only."""
    changed = [bool(formula.at(inputs)) != rest for inputs in _TRIES[control]]
    if control in STICKS:
        return When(control, 0.5, rest) if all(changed[: len(_TILTS)]) else None
    threshold = TRAVELS[changed.index(True)] if control in TRIGGERS and any(changed) else 0.5
    return When(control, threshold, rest) if any(changed) else None


def _tilt(stick: str, x: float, y: float) -> Inputs:
    return dict(zip(_STICK_INPUTS[stick], (x, y), strict=True))


def _pull(trigger: str, travel: float) -> Inputs:
    analog, stop, switch = _TRIGGER_INPUTS[trigger]
    return {analog: travel, stop: float(travel >= 1), switch: float(travel >= 0.5)}


def _half_tilts(stick: str) -> list[Inputs]:
    return [_tilt(stick, x / 2, y / 2) for x, y in _TILTS]


# Inputs that each control is tried with, full travel last; a stick's four full tilts come first.
_TRIES: Final[dict[str, list[Inputs]]] = {
    **{control: [{name: 1.0}] for name, control in _CONTROLS.items()},
    **{trigger: [_pull(trigger, travel) for travel in TRAVELS] for trigger in TRIGGERS},
    **{stick: [*(_tilt(stick, *tilt) for tilt in _TILTS), *_half_tilts(stick)] for stick in STICKS},
}


def _work_out(node: ast.expr, inputs: Inputs) -> float:
    """The answer of a formula's tree. Raises ``UnreadableFormula`` at anything but sums, comparisons and functions."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return float(value)
        case ast.Name() | ast.Attribute():
            name = _name(node)
            return _CONSTANTS[name] if name in _CONSTANTS else inputs.get(name.replace("__", ":"), 0.0)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_work_out(operand, inputs))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_work_out(left, inputs), _work_out(right, inputs))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _BINARY:
            return _BINARY[type(op)](_work_out(left, inputs), _work_out(right, inputs))
        case ast.BoolOp(op=op, values=values):
            answers = [bool(_work_out(value, inputs)) for value in values]
            return float(any(answers) if isinstance(op, ast.Or) else all(answers))
        case ast.Call(func=func, args=args, keywords=[]) if (name := _name(func)) in _FUNCTIONS:
            return _FUNCTIONS[name](*(_work_out(argument, inputs) for argument in args))
    raise UnreadableFormula


def _name(node: ast.expr) -> str:
    """``name`` or ``math.name``."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return f"math.{name}"
    raise UnreadableFormula


def _turn(pixels: np.ndarray, size_wh: tuple[float, float], degrees: float) -> tuple[np.ndarray, tuple[float, float]]:
    """A picture drawn at a size, turned clockwise about its centre: RGBA pixels, and the size of their upright box."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    (w, h), source = size_wh, (pixels.shape[1], pixels.shape[0])
    wide, high = abs(w * cos) + abs(h * sin), abs(w * sin) + abs(h * cos)
    scale = min(1.0, MAX_TURNED_PX / max(wide, high))
    target = (math.ceil(wide * scale), math.ceil(high * scale))
    # Source pixel -> centred unit of the box -> turned -> target pixel.
    across, down = w / source[0], h / source[1]
    matrix = scale * np.array([[across * cos, -down * sin, 0], [across * sin, down * cos, 0]])
    matrix[:, 2] = np.subtract(target, 1) / 2 - matrix[:, :2] @ np.subtract(source, 1) / 2
    premultiplied = pixels.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    turned = cv2.warpAffine(premultiplied, matrix, target, flags=cv2.INTER_LINEAR)
    alpha = turned[..., 3:]
    turned[..., :3] = np.divide(255 * turned[..., :3], alpha, out=np.zeros_like(turned[..., :3]), where=alpha > 0)
    return turned.round().clip(0, 255).astype(np.uint8), (target[0] / scale, target[1] / scale)


def _rectangle(box: Box, style: str) -> str:
    x, y, w, h = box
    return f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" style="{style}"/>'


def _colour(text: str | None, default: str) -> str:
    """``AARRGGBB`` as CSS."""
    digits = text if text and re.fullmatch("[0-9a-fA-F]{8}", text) else f"ff{default}"
    alpha, red, green, blue = bytes.fromhex(digits)
    return f"rgba({red},{green},{blue},{alpha / 255:.3f})"
