"""The scene: a canvas and an ordered list of parts. What a template is, whoever drew it.

Library drawings and imported skins both become a ``Scene``; the renderer draws it, localisation
takes its rest picture, the parser takes the boxes of its controls. Units are canvas units
(pixels of the original art), x right, y down. A part is drawn over the parts before it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from templates.controls import BUTTONS, CONTROLS, DPAD, THUMB_OF, TRIGGERS

Box = tuple[float, float, float, float]  # x, y, width, height
Direction = Literal["up", "down", "left", "right"]
MAX_CANVAS = 8192  # px; no known skin exceeds 2100, a hostile one asks for 50,000

# The d-pad sprite that each (horizontal, vertical) direction shows; horizontal and vertical in -1, 0, 1.
NINE_STATES = ("idle", "left", "right", "up", "down", "up_left", "up_right", "down_left", "down_right")


class Model(BaseModel):
    """Frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Picture(Model):
    """What a part looks like: vector markup, or a rectangle of a PNG beside the template file."""

    svg: str | None = None
    """SVG markup in canvas units, without the outer <svg> element. It may reach anywhere on the canvas."""
    file: str | None = None
    """Name of a PNG in the template's own folder."""
    region: Box | None = None
    """Rectangle of the PNG in its pixels; the whole picture when absent."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.svg is None) == (self.file is None):
            raise ValueError("a picture needs either svg or file")
        if self.file is not None and ("/" in self.file or "\\" in self.file or self.file.startswith(".")):
            raise ValueError(f"picture file must be a plain name in the template's folder, found {self.file!r}")
        return self


NOTHING: Final = Picture(svg="<g/>")
"""The picture of a control whose place is known and whose look is not."""


class PartBase(Model):
    name: str
    box: Box
    """Where the picture is drawn at rest, in canvas units."""


class Static(PartBase):
    """Always drawn."""

    kind: Literal["static"] = "static"
    picture: Picture


class Swap(PartBase):
    """One picture replaced by another while the control is pressed."""

    kind: Literal["swap"] = "swap"
    control: str
    picture: Picture | None = None
    pressed: Picture | None = None
    threshold: float = 0.5
    """A trigger counts as pressed from this travel on; a button ignores it."""


class Show(PartBase):
    """Drawn only while the control is pressed, or only while it is not (``inverse``)."""

    kind: Literal["show"] = "show"
    control: str
    picture: Picture
    inverse: bool = False
    threshold: float = 0.5


class Move(PartBase):
    """A stick: its picture moves by travel x axis value."""

    kind: Literal["move"] = "move"
    stick: Literal["j_left", "j_right"]
    picture: Picture
    travel: tuple[float, float]
    """Canvas units at full tilt, (x, y); positive."""
    pressed: Picture | None = None
    """Replaces the picture while the stick is clicked (L3 or R3)."""
    off_centre: Picture | None = None
    """Replaces the picture while the stick is tilted and not clicked (Open Joystick Display turns it white)."""
    squeeze: float = 1.0
    """Width along the tilt at full tilt, as a part of the width at rest (e7d skins: cos 30 deg = 0.87)."""


class Clip(PartBase):
    """A trigger that fills: the part of the picture that is shown grows with the travel."""

    kind: Literal["clip"] = "clip"
    control: str
    picture: Picture
    grows: Direction
    """The way the visible part grows: ``up`` starts at the bottom edge."""
    reverse: bool = False
    """The picture is whole at rest and is eaten away (RetroSpy)."""


class Opacity(PartBase):
    """A trigger that fades in: alpha is multiplied by the travel."""

    kind: Literal["opacity"] = "opacity"
    control: str
    picture: Picture


class Slide(PartBase):
    """A trigger or button that slides by offset x travel."""

    kind: Literal["slide"] = "slide"
    control: str
    picture: Picture
    offset: tuple[float, float]
    pressed: Picture | None = None
    threshold: float = 0.1


class NineState(PartBase):
    """One d-pad sprite out of nine; a missing direction draws nothing."""

    kind: Literal["nine_state"] = "nine_state"
    pictures: dict[str, Picture]

    @model_validator(mode="after")
    def _knows_its_states(self) -> Self:
        unknown = set(self.pictures) - set(NINE_STATES)
        if unknown:
            raise ValueError(f"nine_state pictures must be among {NINE_STATES}, found {sorted(unknown)}")
        return self


class Tint(PartBase):
    """A picture whose colour is multiplied while its control is pressed or its stick is off-centre."""

    kind: Literal["tint"] = "tint"
    control: str
    picture: Picture
    colour: tuple[float, float, float]
    """RGB factors in [0, 1]."""


Part = Annotated[Static | Swap | Show | Move | Clip | Opacity | Slide | NineState | Tint, Field(discriminator="kind")]


class StickGeometry(Model):
    """Where a stick's picture rests and how far it goes, in canvas units."""

    centre: tuple[float, float]
    travel: tuple[float, float]
    size: tuple[float, float]
    """Width and height of the moving picture."""

    @property
    def extent(self) -> tuple[float, float]:
        """Half width and half height of the window in which the parser looks for the stick.

        The picture at full tilt keeps its centre and most of its rim inside, so that a short travel
        (0.12 of the width in some skins) still has an edge to see.
        """
        return (self.travel[0] + 0.4 * self.size[0], self.travel[1] + 0.4 * self.size[1])


class Scene(Model):
    """One template: canvas, parts in drawing order, and where each control is."""

    id: str
    family: str
    canvas: tuple[float, float]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    """What an importer could not express or had to assume."""

    @model_validator(mode="after")
    def _names_known_controls(self) -> Self:
        for width in self.canvas:
            if not 1 <= width <= MAX_CANVAS:
                raise ValueError(f"canvas sides must lie in 1..{MAX_CANVAS}, found {self.canvas}")
        for part in self.parts:
            control = _control_of(part)
            if control is not None and control not in CONTROLS:
                raise ValueError(f"part {part.name!r}: unknown control {control!r}")
            if part.kind in ("clip", "opacity") and control not in TRIGGERS:
                raise ValueError(f"part {part.name!r}: {part.kind} needs a trigger, found {control!r}")
        return self

    @property
    def sticks(self) -> dict[str, StickGeometry]:
        """Geometry of each stick that moves."""
        found: dict[str, StickGeometry] = {}
        for part in self.parts:
            if part.kind == "move" and part.stick not in found:
                x, y, w, h = part.box
                found[part.stick] = StickGeometry(centre=(x + w / 2, y + h / 2), travel=part.travel, size=(w, h))
        return found

    @property
    def boxes(self) -> dict[str, Box]:
        """Canvas box of every control this overlay shows, by control name, sticks included.

        A thumb button without a part of its own sits on its stick; each direction of a nine-state
        d-pad takes its third of the sprite.
        """
        boxes: dict[str, Box] = {}
        for part in self.parts:
            if part.kind == "nine_state":
                x, y, w, h = part.box
                thirds = ((1 / 3, 0.0), (1 / 3, 2 / 3), (0.0, 1 / 3), (2 / 3, 1 / 3))  # in the order of DPAD
                for control, (u, v) in zip(DPAD, thirds, strict=True):
                    boxes[control] = (x + u * w, y + v * h, w / 3, h / 3)
            elif part.kind == "move":
                stick = self.sticks[part.stick]
                (cx, cy), (ex, ey) = stick.centre, stick.extent
                boxes[part.stick] = (cx - ex, cy - ey, 2 * ex, 2 * ey)
                if part.pressed is not None:
                    boxes.setdefault(THUMB_OF[part.stick], boxes[part.stick])
            elif (button := _control_of(part)) in BUTTONS:
                boxes[button] = _union(boxes[button], part.box) if button in boxes else part.box
        return boxes

    @property
    def known(self) -> tuple[str, ...]:
        """The controls that this overlay shows, in the order of ``CONTROLS``."""
        boxes = self.boxes
        return tuple(name for name in CONTROLS if name in boxes)

    @property
    def undrawn(self) -> tuple[str, ...]:
        """The controls of which there is ``NOTHING`` to see."""
        drawn = {_driver_of(part) for part in self.parts if _draws(part)}
        return tuple(name for name in self.known if name in {_driver_of(part) for part in self.parts} - drawn)


def _driver_of(part: Part) -> str | None:
    """The control or the stick that changes a part."""
    return part.stick if part.kind == "move" else _control_of(part)


def _draws(part: Part) -> bool:
    """Whether a part ever shows anything."""
    if part.kind == "nine_state":
        return True
    return any(picture not in (None, NOTHING) for picture in (part.picture, getattr(part, "pressed", None)))


def _control_of(part: Part) -> str | None:
    """The one control that drives a part; none for static parts, sticks and nine-state d-pads."""
    if part.kind == "static" or part.kind == "move" or part.kind == "nine_state":
        return None
    return part.control


def _union(a: Box, b: Box) -> Box:
    x0, y0 = min(a[0], b[0]), min(a[1], b[1])
    x1, y1 = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return (x0, y0, x1 - x0, y1 - y0)
