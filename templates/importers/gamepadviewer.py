"""Import gamepadviewer.com skins: a style sheet for the site's page, and the SVGs and PNGs that it names.

The page is always the same; a skin is what its CSS makes of it. The class ``pressed`` marks what is held.
How far sticks move, and that triggers fade in, is the site's doing: no skin can say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from templates.catalogue import TemplateError, check_sizes, slug
from templates.controls import TRIGGERS
from templates.importers.css import Sheet
from templates.importers.easel import Easel, name_by_place, unmoved, with_reach
from templates.importers.page import Box, Page, Pictures
from templates.importers.skin import ImportedSkin, family_in, find_files, naming, read_text, with_unique_ids
from templates.scene import NINE_STATES, Part, Scene

TRAVEL: Final = 25.0  # px; the site's default, its ``soffset``
SQUEEZE: Final = 0.87  # the site turns a stick by 30 degrees unless ``nocurve`` is set
PRESSED_FROM: Final = 0.12  # of a trigger's travel, where browsers call the button pressed

# The page, with the control that drives each element: a button, a stick, or a trigger that fades in.
_PAGE: Final = """
<page><div class="controller custom">
  <div class="triggers">
    <span class="trigger left" fade="left_trigger" style="opacity: 1"/>
    <span class="trigger right" fade="right_trigger" style="opacity: 1"/>
    <span class="trigger-button left" control="left_trigger"/>
    <span class="trigger-button right" control="right_trigger"/>
  </div>
  <div class="bumpers">
    <span class="bumper left" control="left_shoulder"/>
    <span class="bumper right" control="right_shoulder"/>
  </div>
  <div class="quadrant p0"/>
  <div class="arrows">
    <span class="back" control="back"/>
    <span class="start" control="start"/>
  </div>
  <div class="abxy">
    <span class="button a" control="south"/>
    <span class="button b" control="east"/>
    <span class="button x" control="west"/>
    <span class="button y" control="north"/>
  </div>
  <div class="sticks">
    <span class="stick left" stick="j_left"/>
    <span class="stick right" stick="j_right"/>
  </div>
  <div class="dpad">
    <span class="face up" control="dpad_up"/>
    <span class="face down" control="dpad_down"/>
    <span class="face left" control="dpad_left"/>
    <span class="face right" control="dpad_right"/>
  </div>
  <div class="fstick"/>
</div></page>
"""
_FACE: Final = ("south", "east", "west", "north")
_PLAIN_NAMES: Final = ("skin", "style", "styles", "custom", "index", "main")  # of files; their folder says more


def import_gamepadviewer(path: Path, family: str | None = None) -> list[ImportedSkin]:
    """Import a skin's CSS file, or every skin below a folder.

    ``family`` overrides the one guessed from names. Style sheets of other pages below a folder are passed
    over. Raises ``TemplateError`` where nothing can be imported or a skin is broken.
    """
    skins: list[ImportedSkin] = []
    for file in find_files(path, ".css", "a .css file"):
        with naming(file, "CSS"):
            skin = _import_file(file, family)
        if skin is not None and skin.scene.known:
            skins.append(skin)
    if not skins:
        raise TemplateError(f"expected a gamepadviewer skin with gamepad elements at {path}, found none")
    return with_unique_ids(skins)


def _import_file(file: Path, family: str | None) -> ImportedSkin | None:
    css = read_text(file)
    if not re.search(r"\.(custom|controller)\b", css):
        return None
    sheet, pictures = Sheet(), Pictures(file.parent)
    sheet.add(css)
    reader = _Reader(sheet, pictures)
    parts, canvas = with_reach(reader.parts(), reader.rest.page.size)
    folder = file.resolve().parent.name
    scene = Scene(
        id=slug(f"gamepadviewer-{folder if file.stem.lower() in _PLAIN_NAMES else file.stem}"),
        family=family or family_in((file.stem, folder)) or "unknown",
        canvas=canvas,
        parts=parts,
        notes=tuple(dict.fromkeys(reader.notes(parts))),
    )
    check_sizes(scene)
    return ImportedSkin(scene, reader.easel.gallery.used_by(scene))


@dataclass(frozen=True, slots=True)
class _State:
    """The page with some classes set, laid out; ``boxes`` by the number of their element."""

    page: Page
    boxes: dict[int, Box]


class _Reader:
    """Turns what a style sheet makes of the page into parts; gathers what could not be expressed."""

    def __init__(self, sheet: Sheet, pictures: Pictures) -> None:
        self._sheet, self._pictures = sheet, pictures
        self.rest, self._held = self._lay_out(""), self._lay_out("pressed")
        self.easel = Easel(self.rest.page.size, pictures)
        self._notes: list[str] = []
        self._seen: list[str] = []

    def parts(self) -> list[Part]:
        """All parts, lower ones first. Face buttons are named by their place on the pad."""
        parts = list(self._parts())
        faces = {part.name: [n] for n, part in enumerate(parts) if part.kind == "swap" and part.control in _FACE}
        self._notes += name_by_place(parts, faces)
        return parts

    def _parts(self) -> Iterator[Part]:
        for number, box in self.rest.boxes.items():
            element, held = box.element, self._held.boxes[number]
            name = element.get("class", "")
            if control := element.get("control"):
                threshold = PRESSED_FROM if control in TRIGGERS else 0.5
                for part in self.easel.swap(name, control, self.easel.paint(box), self.easel.paint(held), threshold):
                    self._seen.append(control)
                    yield part
            elif fade := element.get("fade"):
                yield from self.easel.fade(name, fade, self.easel.paint(box))
            elif stick := element.get("stick"):
                looks = {"rest": self.easel.paint(box), "pressed": self.easel.paint(held)}
                yield from self.easel.stick(name, stick, box, (TRAVEL, TRAVEL), looks, SQUEEZE)
            elif name == "fstick":
                yield from self._arcade_stick(number)
            else:
                yield from self.easel.static(name, self.easel.paint(box))

    def notes(self, parts: tuple[Part, ...]) -> Iterator[str]:
        """What had to be assumed of these parts, and what was left out."""
        names = {part.name for part in parts}
        kinds = {part.kind for part in parts}
        if "move" in kinds:
            yield f"sticks move by {TRAVEL:g} px and narrow to {SQUEEZE}, unless the link sets soffset or nocurve"
        if "opacity" in kinds:
            yield "triggers fade in, unless the link sets smeter"
        if "quadrant p0" in names:
            yield "the player light is drawn as player 1's"
        if "fstick" in names:
            yield "the arcade stick is read as the d-pad"
        yield from unmoved(self._seen, parts)
        yield from (*self._notes, *self._sheet.notes, *self._pictures.notes, *self.rest.page.notes, *self.easel.notes)

    def _lay_out(self, pressed: str, arcade: str = "") -> _State:
        root = ElementTree.fromstring(_PAGE)
        numbers = {element: number for number, element in enumerate(root.iter())}
        for element in numbers:
            classes = element.get("class", "")
            held = pressed if element.get("control") or element.get("stick") else ""
            element.set("class", f"{classes} {arcade if classes == 'fstick' else held}".strip())
        page = Page(root, self._sheet, self._pictures)
        return _State(page, {numbers[box.element]: box for box in page.boxes})

    def _arcade_stick(self, number: int) -> Iterator[Part]:
        words = {state: "" if state == "idle" else state.replace("_", " ") for state in NINE_STATES}
        boxes = {state: self._lay_out("", arcade).boxes[number] for state, arcade in words.items()}
        yield from self.easel.nine("fstick", {state: self.easel.paint(box) for state, box in boxes.items()})
