"""Import RetroSpy (and NintendoSpy) skins: a skin.xml and the PNGs beside it.

A skin draws by kind, whatever the order of its elements: background, details, analog bars, buttons,
sticks. Buttons show only while they are held. Every background is one skin; where sections of elements
hold for some pad types only, every such group of types is one skin too. Only the skin's own folder is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, TypeVar
from xml.etree import ElementTree

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from templates.catalogue import (
    MAX_PARTS,
    MAX_PNG_BYTES,
    TemplateError,
    check_sizes,
    load_png,
    one_sentence,
    read_limited,
    slug,
)
from templates.controls import TRIGGERS
from templates.importers.skin import (
    Gallery,
    ImportedSkin,
    encode_png,
    family_in,
    find_files,
    find_inside,
    naming,
    read_text,
    sides_of_diamond,
    with_unique_ids,
)
from templates.scene import MAX_CANVAS, Box, Clip, Direction, Move, Opacity, Part, Picture, Scene, Show, Static

MAX_SKINS: Final = 200  # backgrounds x groups of pad types; the richest known file has 11
CLICKS_FROM: Final = 0.9  # a GameCube trigger clicks near the end of its travel
ANY_TRAVEL: Final = 1 / 255  # "trig_l_d" lights up at the smallest value that is not zero
KEY_SHARE: Final = 0.2  # of a background's solid pixels: as much of a chroma colour is meant to be keyed out
KEY_TOLERANCE: Final = 8  # of 255

_ORDER: Final = ("detail", "analog", "button", "rangebutton", "stick")
_UNREADABLE: Final = {"touchpad": "a touch", "analogtext": "a number"}
_NAMES: Final = {
    "up": "dpad_up", "down": "dpad_down", "left": "dpad_left", "right": "dpad_right",
    "start": "start", "+": "start", "plus": "start", "options": "start",
    "select": "back", "back": "back", "-": "back", "minus": "back", "share": "back", "mode": "back",
    "home": "guide", "ps": "guide", "xbox": "guide", "guide": "guide",
    "l": "left_shoulder", "r": "right_shoulder", "lb": "left_shoulder", "rb": "right_shoulder",
    "l1": "left_shoulder", "r1": "right_shoulder",
    "l2": "left_trigger", "r2": "right_trigger", "zl": "left_trigger", "zr": "right_trigger",
    "lt": "left_trigger", "rt": "right_trigger", "trig_l": "left_trigger", "trig_r": "right_trigger",
    "l_trig": "left_trigger", "r_trig": "right_trigger", "trig_l_d": "left_trigger", "trig_r_d": "right_trigger",
    "analog_l2": "left_trigger", "analog_r2": "right_trigger",
    "l3": "left_thumb", "r3": "right_thumb", "ls": "left_thumb", "rs": "right_thumb",
    "lstick": "left_thumb", "rstick": "right_thumb",
    "cross": "south", "circle": "east", "square": "west", "triangle": "north",
}  # fmt: skip
_XBOX: Final = {"a": "south", "b": "east", "x": "west", "y": "north"}
_NINTENDO: Final = {"b": "south", "a": "east", "y": "west", "x": "north"}
_PLAYSTATION: Final = {"x": "south"}
_GAMECUBE: Final = {  # by place on the pad: the large middle button is south, the lower left one west
    "a": "south", "b": "west", "x": "east", "y": "north", "z": "right_shoulder",
    "l": "left_trigger", "r": "right_trigger",
}  # fmt: skip
_N64: Final = {"a": "south", "b": "west", "z": "left_trigger"}
_SEGA: Final = {
    "a": "west", "b": "south", "c": "east", "x": "left_shoulder", "y": "north", "z": "right_shoulder",
}  # fmt: skip
_LABELS: Final = {
    "snes": _NINTENDO, "nes": _NINTENDO, "switch": _NINTENDO, "wii": _NINTENDO, "virtualboy": _NINTENDO,
    "playstation": _PLAYSTATION, "playstation3": _PLAYSTATION, "playstation4": _PLAYSTATION,
    "psclassic": _PLAYSTATION,
    "gamecube": _GAMECUBE, "dolphin": _GAMECUBE, "n64": _N64,
    "genesis": _SEGA, "genesismini": _SEGA, "genesismini2": _SEGA, "saturn": _SEGA,
}  # fmt: skip
_HAS_DIAMOND: Final = (_XBOX, _NINTENDO, _PLAYSTATION)
_FACE: Final = ("south", "east", "west", "north")
_FAMILIES: Final = {
    "snes": "snes", "nes": "nes", "switch": "switch_pro", "gamecube": "gamecube", "dolphin": "gamecube", "n64": "n64",
    "playstation": "dualshock_2", "playstation3": "dualshock_3", "playstation4": "dualshock_4",
    "xbox360": "xbox_360", "pc360": "xbox_360",
    "genesis": "mega_drive", "genesismini": "mega_drive", "genesismini2": "mega_drive",
}  # fmt: skip
_STICKS: Final = {
    ("lstick_x", "lstick_y"): "j_left", ("stick_x", "stick_y"): "j_left", ("x", "y"): "j_left",
    ("rstick_x", "rstick_y"): "j_right", ("cstick_x", "cstick_y"): "j_right", ("rx", "ry"): "j_right",
}  # fmt: skip
_GROWS: Final[dict[str, Direction]] = {"up": "up", "down": "down", "left": "left", "right": "right"}
_CHROMA: Final = {"green": (0, 255, 0), "magenta": (255, 0, 255), "cyan": (0, 255, 255), "blue": (0, 0, 255)}
_NAMED_CHROMA: Final = {
    "lime": "green", "magenta": "magenta", "fuchsia": "magenta", "cyan": "cyan", "aqua": "cyan", "blue": "blue",
}  # fmt: skip

Coordinate = Annotated[float, Field(ge=-MAX_CANVAS, le=MAX_CANVAS, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, le=MAX_CANVAS, allow_inf_nan=False)]
Flag = Annotated[bool, BeforeValidator(lambda value: value == "true")]  # RetroSpy takes anything else for false
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value.split(";")))]


class Attributes(BaseModel):
    """XML attributes; those that nothing depends on are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Background(Attributes):
    name: str = ""
    image: str = ""
    color: str = ""
    width: Length | None = None
    height: Length | None = None


class Element(Attributes):
    """One element of a skin, of any kind."""

    name: str = ""
    image: str = ""
    x: Coordinate
    y: Coordinate
    width: Length | None = None
    height: Length | None = None
    target: Names = ()
    """The backgrounds that show the element; all of them when empty."""
    ignore: Names = ()
    """The backgrounds that do not."""
    invert: Flag = False
    direction: str = ""
    reverse: Flag = False
    usenegative: Flag = False
    xname: str = ""
    yname: str = ""
    xrange: Annotated[float, Field(ge=0, le=MAX_CANVAS, allow_inf_nan=False)] | None = None
    yrange: Annotated[float, Field(ge=0, le=MAX_CANVAS, allow_inf_nan=False)] | None = None
    xreverse: Flag = False
    yreverse: Flag = False
    visname: str = ""
    tracking: str = Field("", alias="trackingImage")
    start: Annotated[float, Field(alias="from", allow_inf_nan=False)] = 0.0
    end: Annotated[float, Field(alias="to", allow_inf_nan=False)] = 1.0

    def shows_on(self, background: str) -> bool:
        return background not in self.ignore and (not self.target or background in self.target)


@dataclass(frozen=True, slots=True)
class Pad:
    """The elements that hold for one group of pad types; ``name`` tells groups apart, empty where there is one."""

    name: str
    type: str
    elements: tuple[tuple[str, Element], ...]
    """(kind, element) in the order of the file."""


AnyAttributes = TypeVar("AnyAttributes", bound=Attributes)


def import_retrospy(path: Path, family: str | None = None) -> list[ImportedSkin]:
    """Import a skin.xml, or every one below a folder: one skin for each background and group of pad types.

    ``family`` overrides the one guessed from names and types. Skins without a gamepad control (keyboards,
    mice) are passed over. Raises ``TemplateError`` where nothing can be imported or a skin is broken.
    """
    skins: list[ImportedSkin] = []
    for file in find_files(path, ".xml", "a skin.xml", name="skin.xml"):
        with naming(file, "XML"):
            skins += [skin for skin in _import_file(file, family) if skin.scene.known]
    if not skins:
        raise TemplateError(f"expected a RetroSpy skin with gamepad elements at {path}, found none")
    return with_unique_ids(skins)


def _import_file(file: Path, family: str | None) -> Iterator[ImportedSkin]:
    root = _read_xml(file)
    backgrounds = [_read(Background, element) for element in root.findall("background")]
    pads = _pads(root)
    if not backgrounds:
        raise TemplateError("expected at least one background, found none")
    if len(backgrounds) * len(pads) > MAX_SKINS:
        raise TemplateError(f"expected at most {MAX_SKINS} skins in a file, found {len(backgrounds) * len(pads)}")
    folder = _Folder(file.parent)
    canvases = [(background, _canvas(background, folder)) for background in backgrounds]
    missing = tuple(
        f"background {background.name!r} is left out: {background.image!r} is not in the skin's folder"
        for background, canvas in canvases
        if canvas is None
    )
    if len(missing) == len(backgrounds):
        raise TemplateError(missing[0])
    names = (file.resolve().parent.name, root.get("name", ""))
    for pad in pads:
        guessed = family or family_in(names) or _FAMILIES.get(pad.type, "unknown")
        for background, canvas in canvases:
            if canvas is not None:
                yield _import_skin(names[0], pad, background, canvas, folder, guessed, missing)


def _import_skin(
    name: str,
    pad: Pad,
    background: Background,
    canvas: tuple[float, float],
    folder: _Folder,
    family: str,
    missing: tuple[str, ...],
) -> ImportedSkin:
    shown = [(kind, element) for kind, element in pad.elements if element.shows_on(background.name)]
    reader = _Reader(folder, pad.type, shown)
    parts = [*reader.background(background, canvas)]
    for kind in _ORDER:
        parts += [part for found, element in shown if found == kind for part in reader.parts_of(kind, element)]
    reader.note_what_is_left_out()
    scene = Scene(
        id=slug("-".join(filter(None, ("retrospy", name, pad.name, background.name)))),
        family=family,
        canvas=canvas,
        parts=_without_twins(parts),
        notes=tuple(dict.fromkeys((*missing, *reader.notes))),
    )
    check_sizes(scene)
    return ImportedSkin(scene, reader.gallery.used_by(scene))


def _without_twins(parts: list[Part]) -> tuple[Part, ...]:
    """The parts, each look once: a skin lists a button again under the name that another source gives it."""
    unlike: dict[Part, Part] = {}
    for part in parts:
        unlike.setdefault(part.model_copy(update={"name": ""}), part)
    return tuple(unlike.values())


def _read_xml(file: Path) -> ElementTree.Element:
    text = read_text(file)
    if re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise TemplateError("expected XML without a document type or entities, found one; remove it")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: lone surrogates, zero bytes
        raise TemplateError(f"expected XML text ({error}); mend the file or remove it") from error
    if root.tag != "skin":
        raise TemplateError(f"expected a <skin>, found <{root.tag[:40]}>")
    if root.find("./*/*/*") is not None:
        raise TemplateError("expected elements inside sections at most, found deeper ones")
    return root


def _read(model: type[AnyAttributes], element: ElementTree.Element) -> AnyAttributes:
    try:
        return model.model_validate(element.attrib)
    except ValidationError as error:
        name = element.get("name") or element.get("xname") or ""
        raise TemplateError(f"{element.tag} {name[:60]!r}: {one_sentence(error, None)}") from error


def _pads(root: ElementTree.Element) -> list[Pad]:
    """One pad for each group of types that the same sections hold for, in the order of the skin's types."""
    sections = root.findall("section")
    groups: dict[tuple[int, ...], str] = {}
    for type_ in root.get("type", "").split(";")[:MAX_SKINS]:
        holding = [index for index, section in enumerate(sections) if type_ in section.get("type", "").split(";")]
        groups.setdefault(tuple(holding), type_)
    pads: list[Pad] = []
    for held, type_ in groups.items():
        sources = (root, *(sections[index] for index in held))
        found = [element for source in sources for element in source if element.tag in (*_ORDER, *_UNREADABLE)]
        if len(found) > MAX_PARTS:
            raise TemplateError(f"expected at most {MAX_PARTS} elements, found {len(found)}")
        elements = tuple((element.tag, _read(Element, element)) for element in found)
        pads.append(Pad(type_ if len(groups) > 1 else "", type_.split(".")[0], elements))
    return pads


@dataclass(frozen=True, slots=True)
class _Image:
    """A PNG of the skin, known to be sound."""

    path: Path
    data: bytes
    size_wh: tuple[int, int]


class _Folder:
    """The PNGs in a skin's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images: dict[str, _Image | None] = {}

    def image(self, reference: str) -> _Image | None:
        """The PNG that a path of the skin names; None where the folder has none."""
        if reference not in self._images:
            path = find_inside(self._path, reference)
            self._images[reference] = _load(path) if path else None
        return self._images[reference]


def _load(path: Path) -> _Image:
    data = read_limited(path, MAX_PNG_BYTES)
    height, width = load_png(path).shape[:2]
    return _Image(path, data, (width, height))


def _canvas(background: Background, folder: _Folder) -> tuple[float, float] | None:
    """Width and height of the viewer's window; None where only a missing picture tells."""
    image = folder.image(background.image) if background.image else None
    natural = image.size_wh if image else (None, None)
    width, height = background.width or natural[0], background.height or natural[1]
    if not background.image and (width is None or height is None):
        raise TemplateError(
            f"background {background.name!r}: expected an image, or a width and a height, found neither"
        )
    return None if width is None or height is None else (width, height)


class _Reader:
    """Turns what one skin shows into parts, and takes notes."""

    def __init__(self, folder: _Folder, pad_type: str, shown: list[tuple[str, Element]]) -> None:
        self.notes: list[str] = []
        self.gallery = Gallery()
        self._folder = folder
        self._shown = shown
        self._clicks = pad_type in ("gamecube", "dolphin")
        self._controls = self._name_controls(pad_type)

    def background(self, background: Background, canvas: tuple[float, float]) -> Iterator[Part]:
        if background.color:
            yield from self._flat(background, canvas)
        image = self._folder.image(background.image) if background.image else None
        if background.image and image is None:
            self.notes.append(
                f"background {background.name!r} has no picture {background.image!r} in the skin's folder"
            )
        if image is None:
            return
        keyed = _key_out(load_png(image.path))
        if keyed is not None:
            colour, pixels = keyed
            self.notes.append(f"background {background.name!r} is {colour} to be keyed out; that colour is transparent")
            image = replace(image, data=encode_png(pixels))
        # The window's size may differ from the picture's, which keeps its own.
        yield Static(name="background", box=(0, 0, *image.size_wh), picture=self._picture(image))

    def parts_of(self, kind: str, element: Element) -> Iterator[Part]:
        if not element.image:
            raise TemplateError(f"{_title(kind, element)}: expected an image, found none")
        image = self._folder.image(element.image)
        if image is None:
            self._note(kind, element, f"has no picture {element.image!r} in the skin's folder; it draws nothing")
            return
        box = self._box(element, image)
        drawings = {
            "detail": self._detail,
            "analog": self._analog,
            "button": self._button,
            "rangebutton": self._range_button,
            "stick": self._stick,
        }
        yield from drawings[kind](element, box, self._picture(image))

    def note_what_is_left_out(self) -> None:
        for kind, element in self._shown:
            if kind in _UNREADABLE:
                self._note(kind, element, f"shows {_UNREADABLE[kind]}, which is no gamepad control; it is left out")

    def _detail(self, element: Element, box: Box, picture: Picture) -> Iterator[Part]:
        yield Static(name=element.name, box=box, picture=picture)

    def _button(self, element: Element, box: Box, picture: Picture) -> Iterator[Part]:
        control = self._controls.get(element.name.lower())
        if control is None:
            what = "drawn as never pressed" if element.invert else "left out"
            self._note("button", element, f"is none of the 17 buttons; it is {what}")
            if element.invert:
                yield Static(name=element.name, box=box, picture=picture)
            return
        threshold = ANY_TRAVEL if element.name.lower() in ("trig_l_d", "trig_r_d") else 0.5
        if self._clicks and control in TRIGGERS:
            threshold = CLICKS_FROM
        yield Show(
            name=element.name,
            box=box,
            control=control,
            picture=picture,
            inverse=element.invert,
            threshold=threshold,
        )

    def _range_button(self, element: Element, box: Box, picture: Picture) -> Iterator[Part]:
        control = self._controls.get(element.name.lower())
        if control not in TRIGGERS or element.end < 1 or not 0 < element.start <= 1:
            self._note("rangebutton", element, f"shows from {element.start} to {element.end}; it is left out")
            return
        yield Show(name=element.name, box=box, control=control, picture=picture, threshold=element.start)

    def _analog(self, element: Element, box: Box, picture: Picture) -> Iterator[Part]:
        control = self._controls.get(element.name.lower())
        if element.direction not in (*_GROWS, "fade"):
            raise TemplateError(
                f"{_title('analog', element)}: expected a direction among {(*_GROWS, 'fade')}, "
                f"found {element.direction!r}"
            )
        if control not in TRIGGERS or element.usenegative:
            self._note("analog", element, "follows no trigger; it is left out")
        elif element.direction != "fade":
            grows = _GROWS[element.direction]
            yield Clip(
                name=element.name,
                box=box,
                control=control,
                picture=picture,
                grows=grows,
                reverse=element.reverse,
            )
        elif element.reverse:
            self._note("analog", element, "fades away with the travel; it is left out")
        else:
            yield Opacity(name=element.name, box=box, control=control, picture=picture)

    def _stick(self, element: Element, box: Box, picture: Picture) -> Iterator[Part]:
        if element.xrange is None or element.yrange is None:
            raise TemplateError(f"{_title('stick', element)}: expected an xrange and a yrange, found none")
        stick = _STICKS.get((element.xname.lower(), element.yname.lower()))
        if stick is None:
            self._note("stick", element, f"follows {element.xname!r} and {element.yname!r}; it is drawn at rest")
            yield Static(name=element.xname, box=box, picture=picture)
            return
        if element.xreverse or element.yreverse:
            axes = " and ".join(axis for axis, on in (("x", element.xreverse), ("y", element.yreverse)) if on)
            self._note("stick", element, f"has {axes} reversed, taken to make up for the pad's own sign")
        if element.visname:
            self._note("stick", element, f"shows only with {element.visname!r}; it is drawn always")
        if element.tracking:
            self._note("stick", element, "has a line to its centre, which is left out")
        travel = (element.xrange, element.yrange)
        yield Move(name=element.xname, box=box, stick=stick, picture=picture, travel=travel)

    def _name_controls(self, pad_type: str) -> dict[str, str]:
        """Control by input name. Where four face buttons form a diamond, their place decides, not their label."""
        labels = _LABELS.get(pad_type, _XBOX)
        controls = _NAMES | labels
        if labels not in _HAS_DIAMOND:
            self.notes.append(f"inputs of {pad_type!r} are taken by their labels: {_listed(labels)}")
            return controls
        faces = {name: side for name, side in controls.items() if side in _FACE}
        placed = sides_of_diamond(self._face_centres(faces))
        moved = {name: placed.get(side, side) for name, side in faces.items()}
        shown = {element.name.lower() for kind, element in self._shown if kind == "button"}
        named = {name: side for name, side in moved.items() if name in shown}
        if named:
            how = "place in the picture" if placed else "labels"
            self.notes.append(f"face buttons are named by their {how}: {_listed(named)}")
        return controls | moved

    def _face_centres(self, faces: dict[str, str]) -> dict[str, tuple[float, float]]:
        """Centre of each face button, by the control that its label speaks of."""
        centres: dict[str, tuple[float, float]] = {}
        for kind, element in self._shown:
            side = faces.get(element.name.lower())
            image = self._folder.image(element.image) if kind == "button" and side else None
            if image is not None and side is not None:
                x, y, w, h = self._box(element, image)
                centres.setdefault(side, (x + w / 2, y + h / 2))
        return centres

    def _flat(self, background: Background, canvas: tuple[float, float]) -> Iterator[Part]:
        colour = _read_colour(background.color)
        if colour is None:
            self.notes.append(
                f"background {background.name!r} has the unknown colour {background.color[:40]!r}; left out"
            )
        elif colour in _CHROMA:
            self.notes.append(f"background {background.name!r} is {colour} to be keyed out; it draws nothing")
        else:
            svg = f'<rect width="{canvas[0]:g}" height="{canvas[1]:g}" {colour}/>'
            yield Static(name="background colour", box=(0, 0, *canvas), picture=Picture(svg=svg))

    def _box(self, element: Element, image: _Image) -> Box:
        return (element.x, element.y, element.width or image.size_wh[0], element.height or image.size_wh[1])

    def _picture(self, image: _Image) -> Picture:
        return Picture(file=self.gallery.add(image.path.name, image.data))

    def _note(self, kind: str, element: Element, text: str) -> None:
        self.notes.append(f"{_title(kind, element)} {text}")


def _title(kind: str, element: Element) -> str:
    return f"{kind} {element.name or element.xname!r}"


def _listed(controls: dict[str, str]) -> str:
    return ", ".join(f"{name} {control}" for name, control in controls.items())


def _key_out(pixels: np.ndarray) -> tuple[str, np.ndarray] | None:
    """The chroma colour that a background is meant to be keyed with, and the picture without it."""
    solid = pixels[..., 3] > 0
    for name, rgb in _CHROMA.items():
        near = solid & (np.abs(pixels[..., :3].astype(np.int16) - np.array(rgb, np.int16)) <= KEY_TOLERANCE).all(-1)
        if near.sum() > KEY_SHARE * solid.sum():
            return name, np.where(near[..., None], 0, pixels).astype(np.uint8)
    return None


def _read_colour(text: str) -> str | None:
    """A name among ``_CHROMA``, or SVG attributes that fill with the colour; None where it is no colour."""
    text = text.strip().lower()
    if re.fullmatch("[a-z]{3,30}", text):
        return _NAMED_CHROMA.get(text, f'fill="{text}"')
    if not re.fullmatch("#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", text):
        return None
    digits = text[1:] if len(text) > 5 else "".join(2 * digit for digit in text[1:])
    alpha, *rgb = bytes.fromhex(digits.rjust(8, "f"))
    named = next((name for name, chroma in _CHROMA.items() if tuple(rgb) == chroma), None)
    return named or f'fill="#{digits[-6:]}" fill-opacity="{alpha / 255:g}"'
