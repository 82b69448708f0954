"""Import OBS input-overlay presets: a JSON of elements and a PNG atlas of their sprites.

Codes and sides say what an element is; its ``id`` is free text and often wrong. A pressed sprite
lies below the released one in the atlas, states of one element lie in a row, 3 px apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from templates.catalogue import (
    MAX_PARTS,
    MAX_PNG_BYTES,
    MAX_TEXT_BYTES,
    TemplateError,
    check_sizes,
    crop,
    load_png,
    one_sentence,
    png_size,
    read_limited,
    slug,
)
from templates.controls import STICKS, THUMB_OF, TRIGGERS
from templates.importers.skin import ImportedSkin, family_in, sides_of_diamond, with_unique_ids
from templates.scene import (
    MAX_CANVAS,
    NINE_STATES,
    Box,
    Clip,
    Direction,
    Move,
    NineState,
    Part,
    Picture,
    Scene,
    Show,
    Static,
    Swap,
)

ATLAS: Final = "atlas.png"
BORDER: Final = 3  # px between the sprites of one element
SWITCHES_FROM: Final = 0.1  # travel at which a trigger in button mode lights up

_SDL_CONTROLS: Final = {
    0: "south", 1: "east", 2: "west", 3: "north", 4: "back", 5: "guide", 6: "start",
    7: "left_thumb", 8: "right_thumb", 9: "left_shoulder", 10: "right_shoulder",
    11: "dpad_up", 12: "dpad_down", 13: "dpad_left", 14: "dpad_right",
}  # fmt: skip
_OLD_CONTROLS: Final = {  # hitbox.json still has the codes of the plugin's older versions
    0xEC00: "south", 0xEC01: "east", 0xEC02: "west", 0xEC03: "north",
    0xEC04: "left_shoulder", 0xEC05: "right_shoulder", 0xEC06: "back", 0xEC07: "start",
    0xEC09: "left_thumb", 0xEC0A: "right_thumb",
    0xEC0B: "dpad_left", 0xEC0C: "dpad_right", 0xEC0D: "dpad_up", 0xEC0E: "dpad_down",
}  # fmt: skip
_CONTROLS: Final = _SDL_CONTROLS | _OLD_CONTROLS
_GAMECUBE_CONTROLS: Final = {  # gamecube.json has the adapter's numbers
    1: "east", 2: "south", 3: "west", 4: "north", 8: "right_shoulder", 16: "start",
}  # fmt: skip
_DIRECTIONS: Final[dict[int, Direction]] = {1: "up", 2: "down", 3: "left", 4: "right"}
_UNREADABLE: Final = {1: "a keyboard key", 3: "a mouse button", 4: "a mouse wheel", 9: "mouse movement"}

Coordinate = Annotated[float, Field(ge=-MAX_CANVAS, le=MAX_CANVAS, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, le=MAX_CANVAS, allow_inf_nan=False)]


class Element(BaseModel):
    """One element of a preset; only the fields that its drawing depends on."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    type: int
    id: str = ""
    pos: tuple[Coordinate, Coordinate]
    mapping: tuple[Coordinate, Coordinate, Length, Length] | None = None
    """x, y, width, height of the released sprite in the atlas."""
    code: int | None = None
    side: Annotated[int, Field(ge=0, le=1)] | None = None
    """0 left, 1 right."""
    stick_radius: Annotated[float, Field(ge=0, le=MAX_CANVAS, allow_inf_nan=False)] | None = None
    direction: int | None = None
    trigger_mode: bool = False
    """True: the trigger is a button; False: it fills."""


class Preset(BaseModel):
    """A preset file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    overlay_width: Annotated[int, Field(ge=1, le=MAX_CANVAS)]
    overlay_height: Annotated[int, Field(ge=1, le=MAX_CANVAS)]
    elements: Annotated[tuple[Element, ...], Field(max_length=MAX_PARTS)]


def import_input_overlay(path: Path, family: str | None = None) -> list[ImportedSkin]:
    """Import a preset's JSON, or every gamepad preset below a folder; one skin for each atlas beside a JSON.

    ``family`` overrides the one guessed from names. A folder's other presets (keyboard, mouse) are
    passed over. Raises ``TemplateError`` where nothing can be imported or a preset is broken.
    """
    skins: list[ImportedSkin] = []
    for preset_path in _preset_files(path):
        preset = _read_preset(preset_path)
        if preset is None:
            if path.is_dir():
                continue
            raise TemplateError(f"{path}: expected a preset with a list of elements, found other JSON")
        for atlas_path in _atlases(preset_path):
            skin = _import_skin(preset, preset_path, atlas_path, family)
            if skin.scene.known:
                skins.append(skin)
    if not skins:
        raise TemplateError(f"expected an input-overlay preset with gamepad elements at {path}, found none")
    return with_unique_ids(skins)


def _preset_files(path: Path) -> list[Path]:
    """The JSON itself, or every JSON below a folder, sorted; links are not followed."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*.json") if not file.is_symlink())
    if path.suffix.lower() != ".json":
        raise TemplateError(f"{path}: expected a folder or a .json preset, found neither; check the path")
    return [path]


def _atlases(preset_path: Path) -> list[Path]:
    """The PNGs that a preset's JSON may go with: the one of its name, else every one in its folder."""
    pictures = sorted(file for file in preset_path.parent.iterdir() if file.suffix.lower() == ".png")
    presets = [file for file in preset_path.parent.iterdir() if file.suffix.lower() == ".json"]
    namesakes = [file for file in pictures if file.stem == preset_path.stem]
    if namesakes and len(presets) > 1:  # several presets share the folder: each takes its own
        return namesakes
    if not pictures:
        raise TemplateError(f"{preset_path}: expected a PNG atlas beside it, found none; copy it there")
    return pictures


def _read_preset(path: Path) -> Preset | None:
    """A checked preset; None where the JSON is of another kind."""
    data = read_limited(path, MAX_TEXT_BYTES)
    try:
        raw = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"{path}: expected JSON text ({error}); mend the file or remove it") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("elements"), list):
        return None
    try:
        return Preset.model_validate(raw)
    except ValidationError as error:
        raise TemplateError(f"{path}: {one_sentence(error, raw)}") from error


def _import_skin(preset: Preset, preset_path: Path, atlas_path: Path, family: str | None) -> ImportedSkin:
    data = read_limited(atlas_path, MAX_PNG_BYTES)
    png_size(data, atlas_path)
    names = [preset_path.stem, atlas_path.stem, preset_path.parent.name]
    stem = "-".join(dict.fromkeys((preset_path.stem, atlas_path.stem)))
    reader = _Reader(_Atlas(load_png(atlas_path)), _controls_of(preset, names))
    try:
        parts = tuple(part for element in preset.elements for part in reader.parts_of(element))
        scene = Scene(
            id=slug(f"input-overlay-{stem}"),
            family=family or guess_family(preset, names),
            canvas=(preset.overlay_width, preset.overlay_height),
            parts=parts,
            notes=tuple(reader.notes),
        )
        check_sizes(scene)
    except ValidationError as error:
        raise TemplateError(f"{preset_path}: {one_sentence(error, None)}") from error
    except TemplateError as error:
        raise TemplateError(f"{preset_path}: {error}") from error
    return ImportedSkin(scene, {ATLAS: data})


def guess_family(preset: Preset, names: list[str]) -> str:
    """The family that file names, then the drawing, then element ids speak of; else ``unknown``."""
    by_name = family_in(names)
    if by_name is not None:
        return by_name
    if any(element.type == 7 for element in preset.elements):
        return "xbox_360"  # only its guide button wears a player light
    return family_in([element.id for element in preset.elements]) or "unknown"


def _controls_of(preset: Preset, names: list[str]) -> dict[int, str]:
    """Control by button code. Face buttons go by place: Switch presets give codes by printed label."""
    if "gamecube" in "".join(names).lower():
        return _GAMECUBE_CONTROLS
    centres: dict[int, tuple[float, float]] = {}
    for element in preset.elements:
        code = element.code
        if element.type == 2 and element.mapping is not None and code is not None and 0 <= code < 4:
            (x, y), (_, _, w, h) = element.pos, element.mapping
            centres[code] = (x + w / 2, y + h / 2)
    return _CONTROLS | sides_of_diamond(centres)  # a row of arcade buttons is no diamond to go by


@dataclass(frozen=True, slots=True, eq=False)
class _Atlas:
    """The decoded atlas. ``pixels``: (H, W, 4) uint8 RGBA."""

    pixels: np.ndarray

    def picture(self, region: Box) -> Picture | None:
        """The sprite in a rectangle; None where it lies wholly outside."""
        x, y, w, h = region
        height, width = self.pixels.shape[:2]
        inside = x < width and y < height and x + w > 0 and y + h > 0
        return Picture(file=ATLAS, region=region) if inside else None

    def looks_alike(self, a: Picture | None, b: Picture | None) -> bool:
        """Whether two sprites of one size show the same."""
        cuts = [self._premultiplied(picture) for picture in (a, b) if picture is not None]
        if len(cuts) < 2:  # a missing sprite is an empty one
            return not any(cut.any() for cut in cuts)
        return np.array_equal(cuts[0], cuts[1])

    def _premultiplied(self, picture: Picture) -> np.ndarray:
        assert picture.region is not None
        x, y, w, h = (round(side) for side in picture.region)
        cut = crop(self.pixels, (x, y, max(1, w), max(1, h))).astype(np.uint16)
        cut[..., :3] *= cut[..., 3:]
        return cut


class _Reader:
    """Turns the elements of one preset into parts, in order, and takes notes."""

    def __init__(self, atlas: _Atlas, controls: dict[int, str]) -> None:
        self.notes: list[str] = []
        self._atlas = atlas
        self._controls = controls
        self._drawings: dict[int, Callable[[Element], Iterator[Part]]] = {
            0: self._static,
            2: self._button,
            5: self._stick,
            6: self._trigger,
            7: self._guide,
            8: self._dpad,
        }

    def parts_of(self, element: Element) -> Iterator[Part]:
        if element.type in self._drawings:
            yield from self._drawings[element.type](element)
            return
        what = _UNREADABLE.get(element.type, f"of unknown type {element.type}")
        self._note(element, f"is {what}, which is no gamepad control; it is left out")

    def _static(self, element: Element) -> Iterator[Part]:
        yield Static(name=element.id, box=self._box(element), picture=self._released(element))

    def _button(self, element: Element) -> Iterator[Part]:
        control = None if element.code is None else self._controls.get(element.code)
        if element.code is None or control is None:
            self._note(element, f"has code {element.code}, none of the 17 buttons; drawn as never pressed")
            yield from self._static(element)
            return
        if self._controls is not _GAMECUBE_CONTROLS and control != _CONTROLS[element.code]:
            self._note(element, f"has code {element.code} and sits {control}; its place decides")
        yield from self._swap(element, control)

    def _swap(self, element: Element, control: str) -> Iterator[Part]:
        released, pressed = self._released(element), self._below(element)
        if self._atlas.looks_alike(released, pressed):
            self._note(element, "looks the same pressed and released; drawn as never pressed")
            yield from self._static(element)
            return
        yield Swap(
            name=element.id,
            box=self._box(element),
            control=control,
            picture=released,
            pressed=pressed,
            threshold=SWITCHES_FROM,
        )

    def _stick(self, element: Element) -> Iterator[Part]:
        if element.stick_radius is None:
            raise _refused(element, "expected a stick_radius, found none")
        stick = STICKS[self._side(element)]
        released, pressed = self._released(element), self._below(element)
        if pressed is None or self._atlas.looks_alike(released, pressed):
            self._note(element, f"looks the same while {THUMB_OF[stick]} is pressed")
            pressed = None
        travel = (element.stick_radius, element.stick_radius)
        box = self._box(element)
        yield Move(name=element.id, box=box, stick=stick, picture=released, travel=travel, pressed=pressed)

    def _trigger(self, element: Element) -> Iterator[Part]:
        control = TRIGGERS[self._side(element)]
        if element.trigger_mode:
            yield from self._swap(element, control)
            return
        if element.direction not in _DIRECTIONS:
            raise _refused(element, f"expected a direction of 1 to 4, found {element.direction}")
        yield from self._static(element)
        pressed = self._below(element)
        if pressed is None:
            self._note(element, "has its pressed sprite outside the atlas; drawn as never pressed")
            return
        grows = _DIRECTIONS[element.direction]
        yield Clip(name=element.id, box=self._box(element), control=control, picture=pressed, grows=grows)

    def _guide(self, element: Element) -> Iterator[Part]:
        """The Xbox guide button: a disc while pressed, and over it a light that names the player."""
        disc = self._beside(element, 4)
        if disc is not None:
            yield Show(name=element.id, box=self._box(element), control="guide", picture=disc)
        self._note(element, "is a player light, which differs by player; only its guide button is drawn")

    def _dpad(self, element: Element) -> Iterator[Part]:
        pictures = {name: self._beside(element, column) for column, name in enumerate(NINE_STATES)}
        found = {name: picture for name, picture in pictures.items() if picture is not None}
        yield NineState(name=element.id, box=self._box(element), pictures=found)

    def _side(self, element: Element) -> int:
        if element.side is None:
            raise _refused(element, "expected side 0 (left) or 1 (right), found none")
        return element.side

    def _box(self, element: Element) -> Box:
        return (*element.pos, *self._mapping(element)[2:])

    def _mapping(self, element: Element) -> Box:
        if element.mapping is None:
            raise _refused(element, "expected a mapping into the atlas, found none")
        return element.mapping

    def _released(self, element: Element) -> Picture:
        picture = self._atlas.picture(self._mapping(element))
        if picture is None:
            height, width = self._atlas.pixels.shape[:2]
            raise _refused(element, f"mapping {element.mapping} lies outside the {width}x{height} px atlas")
        return picture

    def _below(self, element: Element) -> Picture | None:
        x, y, w, h = self._mapping(element)
        return self._atlas.picture((x, y + h + BORDER, w, h))

    def _beside(self, element: Element, column: int) -> Picture | None:
        x, y, w, h = self._mapping(element)
        return self._atlas.picture((x + column * (w + BORDER), y, w, h))

    def _note(self, element: Element, text: str) -> None:
        self.notes.append(f"{element.id!r} {text}")


def _refused(element: Element, reason: str) -> TemplateError:
    return TemplateError(f"element {element.id!r}: {reason}")
