"""Import Open Joystick Display themes: a theme.json of styles, each a page of HTML, CSS and SVG drawings.

Drawings are set into the page, so that the page's CSS reaches their elements. Those that carry
``ojd-button`` get the class ``active`` while the button is held, sticks while they are tilted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final
from xml.etree.ElementTree import Element

from pydantic import BaseModel, ConfigDict, Field

from templates.catalogue import MAX_PARTS, TemplateError, check_sizes, slug
from templates.importers import svg
from templates.importers.css import Sheet
from templates.importers.easel import Easel, Paint, name_by_place, unmoved, with_reach
from templates.importers.page import Box, Page, Pictures, Size, SvgPicture, name_of
from templates.importers.skin import (
    ImportedSkin,
    family_in,
    find_files,
    find_inside,
    naming,
    read_text,
    with_unique_ids,
)
from templates.scene import NINE_STATES, Part, Scene

MAX_HTML: Final = 1 << 17  # characters; the longest known page has 2000, and the parser slows with the square
MAX_STYLES: Final = 200  # the richest known theme has 20

_NAMES: Final = {
    "UP": "dpad_up", "DOWN": "dpad_down", "LEFT": "dpad_left", "RIGHT": "dpad_right",
    "CROSS": "south", "CIRCLE": "east", "SQUARE": "west", "TRIANGLE": "north",
    "L": "left_shoulder", "R": "right_shoulder", "L1": "left_shoulder", "R1": "right_shoulder",
    "L2": "left_trigger", "R2": "right_trigger", "L3": "left_thumb", "R3": "right_thumb",
    "START": "start", "PLUS": "start", "OPTION": "start", "RUN": "start",
    "SELECT": "back", "MINUS": "back", "SHARE": "back",
    "XBOX": "guide", "PS": "guide", "HOME": "guide",
}  # fmt: skip
_XBOX: Final = {"A": "south", "B": "east", "X": "west", "Y": "north"}
_NINTENDO: Final = {"B": "south", "A": "east", "Y": "west", "X": "north"}
_LABELS: Final = {
    "snes": _NINTENDO, "nes": _NINTENDO, "switch_pro": _NINTENDO, "joy_con": _NINTENDO,
    "gamecube": {  # by place on the pad: the large middle button is south, the lower left one west
        "A": "south", "B": "west", "X": "east", "Y": "north", "Z": "right_shoulder",
        "L": "left_trigger", "R": "right_trigger",
    },
    "n64": {"A": "south", "B": "west", "Z": "left_trigger"},
    "mega_drive": {
        "A": "west", "B": "south", "C": "east", "X": "left_shoulder", "Y": "north", "Z": "right_shoulder",
    },
}  # fmt: skip
_STICKS: Final = {"0": "j_left", "1": "j_right"}
_BALL: Final = "ojd-arcade-directional"  # a stick that only the d-pad's buttons move
_VOID: Final = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
_CASED: Final = {  # SVG's names, which HTML gives in lower case
    name.lower(): name
    for name in (
        "viewBox", "preserveAspectRatio", "linearGradient", "radialGradient", "gradientUnits", "gradientTransform",
        "spreadMethod", "clipPath", "clipPathUnits", "maskUnits", "patternUnits", "patternTransform", "pathLength",
    )
}  # fmt: skip


class StyleEntry(BaseModel):
    """One style of a theme: a skin of its own."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    id: str = ""
    name: str = ""
    file: str = "theme.html"
    mastercss: str = "theme.css"
    cssroot: str = ""
    """Folder of the style sheets."""


class Theme(BaseModel):
    """A theme.json."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    id: str
    name: str = ""
    styles: Annotated[tuple[StyleEntry, ...], Field(max_length=MAX_STYLES)] = ()


def import_open_joystick_display(path: Path, family: str | None = None) -> list[ImportedSkin]:
    """Import a theme.json, or every one below a folder: one skin for each style.

    ``family`` overrides the one guessed from names. Styles without a gamepad control are passed over.
    Raises ``TemplateError`` where nothing can be imported or a theme is broken.
    """
    skins: list[ImportedSkin] = []
    for file in find_files(path, ".json", "a theme.json", name="theme.json"):
        with naming(file, "a theme"):
            theme = _read_theme(file)
            for entry in theme.styles or (StyleEntry(),):
                skin = _import_style(file.parent, theme, entry, family)
                if skin.scene.known:
                    skins.append(skin)
    if not skins:
        raise TemplateError(f"expected an Open Joystick Display theme with gamepad elements at {path}, found none")
    return with_unique_ids(skins)


def _read_theme(file: Path) -> Theme:
    try:
        raw = json.loads(read_text(file))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise TemplateError(f"{file}: expected JSON text ({reason}); mend the file") from error
    return Theme.model_validate(raw)


def _import_style(folder: Path, theme: Theme, entry: StyleEntry, family: str | None) -> ImportedSkin:
    words = f"{entry.id} {entry.name} {theme.id} {theme.name} {folder.resolve().name}"
    guessed = family or family_in([words]) or ("dualshock_2" if "playstation" in words.lower() else "unknown")
    try:
        pictures = Pictures(folder)
        reader = _Reader(_read_page(folder, entry, pictures), _read_sheet(folder, entry, pictures), pictures, guessed)
        parts, canvas = with_reach(reader.parts(), reader.size)
        scene = Scene(
            id=slug(f"open-joystick-display-{theme.id.removeprefix('ojd-')}-{entry.id}"),
            family=guessed,
            canvas=canvas,
            parts=parts,
            notes=tuple(dict.fromkeys(reader.notes(parts))),
        )
        check_sizes(scene)
    except TemplateError as error:
        raise TemplateError(f"style {entry.id!r}: {error}") from error
    return ImportedSkin(scene, reader.easel.gallery.used_by(scene))


def _read_page(folder: Path, entry: StyleEntry, pictures: Pictures) -> Element:
    """The style's page, with the drawings that it names in their places."""
    file = find_inside(folder, entry.file) or find_inside(folder, "theme.html")
    if file is None:
        raise TemplateError(f"expected the page {entry.file!r} in {folder}, found none; copy it there")
    html = read_text(file)
    if len(html) > MAX_HTML:
        raise TemplateError(f"{file}: expected at most {MAX_HTML} characters, found {len(html)}; shorten it")
    reader = _HtmlReader()
    try:
        reader.feed(html)
        root = reader.finish()
    except AssertionError as error:  # so older HTML parsers of Python say no
        raise TemplateError(f"{file}: expected HTML, found a broken '<![' section; take it out") from error
    for element in list(root.iter()):
        if "src" in element.attrib:
            element.set("src", _local(element.attrib["src"]))
        if "ojd-svg" in element.attrib:
            path = pictures.path_of(_local(element.attrib["ojd-svg"]))
            element[:] = [svg.parse_svg(path)] if path else []
    return root


def _local(reference: str) -> str:
    """An address without the word for the theme's folder."""
    return reference.replace("%DIRECTORY%", "").lstrip("/") if "%DIRECTORY%" in reference else reference


def _read_sheet(folder: Path, entry: StyleEntry, pictures: Pictures) -> Sheet:
    """The theme's style sheet and, after it, the style's own."""
    sheet = Sheet()
    own = f"{entry.cssroot}/theme-{entry.id}.css".lstrip("/")
    master = pictures.path_of(f"{entry.cssroot}/{entry.mastercss}".lstrip("/"))
    for file in dict.fromkeys((master, find_inside(folder, own))):
        if file is not None:
            base = file.parent.relative_to(folder).as_posix()
            sheet.add(read_text(file), "" if base == "." else base)
    return sheet


def _tag_name(tag: str) -> str:
    return _CASED.get(tag, tag) if tag.isalnum() else "div"


class _HtmlReader(HTMLParser):
    """Builds the tree of a page as browsers do with slips: tags that are not open are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self._builder = svg.BoundedBuilder()
        self._builder.start("page", {})
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs, empty=tag in _VOID)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]], empty: bool = True) -> None:
        name = _tag_name(tag)
        named = {_CASED.get(key, key).removeprefix("xlink:"): value or "" for key, value in attrs}
        plain = {key: value for key, value in named.items() if key.replace("-", "a").isalnum()}
        self._builder.start(name, plain)
        if empty:
            self._builder.end(name)
        else:
            self._open.append(name)

    def handle_endtag(self, tag: str) -> None:
        name = _tag_name(tag)
        while name in self._open:
            closed = self._open.pop()
            self._builder.end(closed)
            if closed == name:
                break

    def handle_data(self, data: str) -> None:
        self._builder.data(data)

    def finish(self) -> Element:
        """The page as read so far, everything closed."""
        self.close()
        for name in reversed(self._open):
            self._builder.end(name)
        self._builder.end("page")
        return self._builder.close()


@dataclass(frozen=True, slots=True)
class _State:
    """The page at rest or active, laid out. ``boxes`` by the number of their element, in the order of painting."""

    page: Page
    elements: list[Element]
    boxes: dict[int, Box]


class _Reader:
    """Turns a page into parts; gathers what could not be expressed."""

    def __init__(self, root: Element, sheet: Sheet, pictures: Pictures, family: str) -> None:
        for css in svg.take_styles(root):
            sheet.add(css)
        self._root, self._sheet, self._pictures = root, sheet, pictures
        self._labels = _LABELS.get(family, _XBOX)
        self._drivers = _drivers_of(root)
        self._rest, self._active = self._lay_out(""), self._lay_out("active")
        self.size = self._rest.page.size
        self.easel = Easel(self.size, pictures)
        self._notes: list[str] = []
        self._seen: list[str] = []

    def parts(self) -> list[Part]:
        """All parts, lower ones first."""
        parts: list[Part] = []
        faces: dict[str, list[int]] = {}
        for label, part in self._labelled_parts():
            if label in _XBOX and part.kind == "swap":
                faces.setdefault(label, []).append(len(parts))
            parts.append(part)
        if self._labels in (_XBOX, _NINTENDO):
            self._notes += name_by_place(parts, faces)
        return parts

    def notes(self, parts: Sequence[Part]) -> Iterator[str]:
        """What had to be assumed of these parts, and what was left out."""
        if any("ojd-directional" in element.attrib for element in self._rest.elements):
            yield "tilts below the program's dead zone, 0.25 unless changed, show a centred stick"
        for element in self._rest.elements:
            motions = [name for name in element.attrib if name.startswith(("ojd-trigger-", "ojd-wheel"))]
            yield from (f"{name_of(element)!r} moves with a trigger ({name}); it is drawn at rest" for name in motions)
        if any(element.tag == "text" and "".join(element.itertext()).strip() for element in self._rest.elements):
            yield "text in drawings is not drawn"
        yield from unmoved(self._seen, parts)
        yield from (*self._notes, *self._sheet.notes, *self._pictures.notes, *self._rest.page.notes, *self.easel.notes)

    def _lay_out(self, active: str) -> _State:
        root = deepcopy(self._root)
        elements = list(root.iter())
        numbers = {element: number for number, element in enumerate(elements)}
        for driver in set(self._drivers.values()):
            element = elements[driver]
            element.set("class", f"{element.get('class', '')} {active}".strip())
            if element.get("ojd-button") is None:
                # The program sets a stick's place itself: the middle of what is around it.
                element.set("style", f"{element.get('style', '')};top:50%;left:50%")
        page = Page(root, self._sheet, self._pictures)
        return _State(page, elements, {numbers[box.element]: box for box in page.boxes})

    def _labelled_parts(self) -> Iterator[tuple[str, Part]]:
        """Each part with the label of its button; empty for other parts."""
        for number, box in self._rest.boxes.items():
            active, label = self._active.boxes[number], self._label_of(number)
            if box.element.tag == "svg":
                yield from self._drawing_parts(box, active)
            elif label:
                parts = self._button(label, self.easel.paint(box), self.easel.paint(active))
                yield from ((label, part) for part in parts)
            else:
                yield from (("", part) for part in self._other_parts(number, box, active))

    def _other_parts(self, number: int, box: Box, active: Box) -> Iterator[Part]:
        """What no button changes: sticks, and the rest of the page."""
        driver = self._drivers.get(number)
        if driver is None:
            yield from self.easel.static(name_of(box.element), self.easel.paint(box))
            return
        around = self._rest.boxes[driver].around
        travel = (around[0] / 2, around[1] / 2)
        attributes = self._rest.elements[driver].attrib
        stick = attributes.get("ojd-directional", "")
        if _BALL in attributes:
            yield from self._ball(box, active, travel)
        elif stick in _STICKS:
            looks = {"rest": self.easel.paint(box), "off_centre": self.easel.paint(active)}
            yield from self.easel.stick(f"stick {stick}", _STICKS[stick], box, travel, looks)
        else:
            self._notes.append(f"directional {stick[:40]!r} is neither stick; it is drawn at rest")
            yield from self.easel.static(f"stick {stick}", self.easel.paint(box))

    def _drawing_parts(self, box: Box, active: Box) -> Iterator[tuple[str, Part]]:
        """A drawing, cut where its buttons begin and end."""
        numbers = {element: number for number, element in enumerate(self._rest.elements)}
        shapes = [numbers[shape] for shape in _shapes(box.element)]
        runs = [(label, list(group)) for label, group in groupby(shapes, self._label_of)]
        if len(runs) > MAX_PARTS:
            raise TemplateError(f"expected at most {MAX_PARTS} parts in a drawing, found {len(runs)}")
        for label, run in runs:
            rest = self._paint_run(self._rest, box, run)
            if label:
                parts = self._button(label, rest, self._paint_run(self._active, active, run))
            else:
                parts = self.easel.static("drawing", rest)
            yield from ((label, part) for part in parts)

    def _label_of(self, number: int) -> str:
        driver = self._drivers.get(number)
        return "" if driver is None else self._rest.elements[driver].get("ojd-button", "").upper()

    def _paint_run(self, state: _State, box: Box, run: list[int]) -> Paint | None:
        drawing = svg.pruned(box.element, {state.elements[number] for number in run})
        return None if drawing is None else self.easel.paint(box, SvgPicture(drawing))

    def _button(self, label: str, rest: Paint | None, active: Paint | None) -> Iterator[Part]:
        control = self._labels.get(label, _NAMES.get(label))
        if control is None:
            self._notes.append(f"{label[:40]} is none of the 17 buttons; it is drawn as never pressed")
            yield from self.easel.static(label.lower(), rest)
            return
        for part in self.easel.swap(label.lower(), control, rest, active):
            self._seen.append(control)
            yield part

    def _ball(self, box: Box, active: Box, travel: Size) -> Iterator[Part]:
        paints: dict[str, Paint | None] = {}
        for state in NINE_STATES:
            across, down = ("right" in state) - ("left" in state), ("down" in state) - ("up" in state)
            shift = (across * travel[0], down * travel[1])
            paints[state] = self.easel.paint(box if state == "idle" else active, shift=shift)
        yield from self.easel.nine("arcade stick", paints)


def _drivers_of(root: Element) -> dict[int, int]:
    """For each element that changes, by its number: the element around it, or itself, that says with what."""
    numbers = {element: number for number, element in enumerate(root.iter())}
    drivers: dict[int, int] = {}

    def walk(element: Element, driver: int | None) -> None:
        if {"ojd-button", "ojd-directional", _BALL} & element.attrib.keys():
            driver = numbers[element]
        if driver is not None:
            drivers[numbers[element]] = driver
        for child in element:
            walk(child, driver)

    walk(root, None)
    return drivers


def _shapes(element: Element) -> Iterator[Element]:
    """The shapes of a drawing, in the order of painting, without those of its definitions."""
    if element.tag in svg.SHAPES:
        yield element
    elif element.tag in svg.GROUPS:
        for child in element:
            yield from _shapes(child)
