"""SVG drawings from outside: read, checked, cut to what draws, and rendered.

What is left of a drawing can neither run nor load anything, and its size when references are followed is
bounded, so the renderer may have it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Container, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import cv2
import numpy as np
import resvg_py
from cssselect2 import ElementWrapper

from templates.catalogue import MAX_PNG_SIDE, TemplateError, png_size
from templates.importers.css import Sheet
from templates.importers.skin import read_text

MAX_DEPTH: Final = 100  # of elements in elements; Illustrator nests 15
MAX_ELEMENTS: Final = 20_000
MAX_DRAWN: Final = 200_000  # elements, counted each time that a reference draws them

SHAPES: Final = frozenset(["path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "image", "text", "use"])
GROUPS: Final = frozenset(["svg", "g", "a", "switch"])

_SVG: Final = "{http://www.w3.org/2000/svg}"
_SCRIPTS: Final = frozenset(["script", "foreignobject", "iframe", "object", "embed", "handler"])
# Their cost grows with numbers in their attributes, without bound.
_COSTLY: Final = frozenset(["feTurbulence", "feMorphology", "feConvolveMatrix", "feImage"])
_OUTSIDE_URL: Final = re.compile(r"@import|url\(\s*[\"']?\s*(?![\"'#\s])", re.IGNORECASE)
_OWN_URL: Final = re.compile(r"url\(\s*[\"']?\s*#([^\"')\s]+)", re.IGNORECASE)
_PNG_DATA: Final = re.compile(r"data:image/png;base64,", re.IGNORECASE)
_LENGTH: Final = re.compile(r"\s*([0-9.]+(?:e[-+]?\d+)?)\s*(px|pt|mm|cm|in|pc)?\s*", re.IGNORECASE)
_PX: Final = {"px": 1.0, "pt": 4 / 3, "mm": 9.6 / 2.54, "cm": 96 / 2.54, "in": 96.0, "pc": 16.0}


class BoundedBuilder(ElementTree.TreeBuilder):
    """Builds a tree of bounded depth and size: what walks it may recurse."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = 0

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise TemplateError(f"expected at most {MAX_ELEMENTS} elements, {MAX_DEPTH} deep, found more")
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag)


def parse_svg(path: Path) -> Element:
    """The drawing in a file, not yet checked; names without namespaces. Raises TemplateError where it is none."""
    text = read_text(path)
    if "<!ENTITY" in text:
        raise TemplateError(f"{path}: expected an SVG without entity declarations, found one; save it as plain SVG")
    parser = ElementTree.XMLParser(target=BoundedBuilder())
    try:
        parser.feed(text.lstrip())
        root = parser.close()
    except ElementTree.ParseError as error:
        raise TemplateError(f"{path}: expected SVG, found broken XML ({error}); save it again") from error
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from error
    if not isinstance(root, Element) or root.tag not in ("svg", f"{_SVG}svg"):
        raise TemplateError(f"{path}: expected an SVG drawing, found other XML; export it as SVG")
    for element in root.iter():
        _strip(element)
    return root


def read_svg(path: Path) -> Element:
    """The drawing in a file, checked, its style sheets written into its elements. Raises TemplateError."""
    root = parse_svg(path)
    try:
        sheet = Sheet()
        for css in take_styles(root):
            sheet.add(css)
        dress(ElementWrapper.from_xml_root(root), sheet)
        check_svg(root)
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from error
    return root


def take_styles(root: Element) -> list[str]:
    """The style sheets within a drawing, which then has none."""
    sheets: list[str] = []
    for element in root.iter():
        for child in [child for child in element if child.tag == "style"]:
            if _OUTSIDE_URL.search(child.text or ""):
                raise _outside(child, child.text or "")
            sheets.append(child.text or "")
            element.remove(child)
    return sheets


def dress(root: ElementWrapper, sheet: Sheet) -> None:
    """Write what a style sheet says of each element of a drawing into the element."""
    for element in root.iter_subtree():
        style = sheet.style_of(element)
        texts = [f"{name}:{value.css}" for name, value in style.items() if not name.startswith("background")]
        if texts:
            element.etree_element.set("style", ";".join(texts))


def _strip(element: Element) -> None:
    """Drop what belongs to other namespaces, and the namespace of what is left."""
    element.tag = element.tag.removeprefix(_SVG)
    for child in list(element):
        if not isinstance(child.tag, str) or (child.tag.startswith("{") and not child.tag.startswith(_SVG)):
            element.remove(child)
    for name in [name for name in element.attrib if name.startswith("{")]:
        value = element.attrib.pop(name)
        if name == "{http://www.w3.org/1999/xlink}href":
            element.attrib.setdefault("href", value)


def check_svg(root: Element) -> None:
    """Refuse a drawing that runs or loads something, or that references blow up; drop filters of boundless cost."""
    for element in root.iter():
        if element.tag.lower() in _SCRIPTS or any(name.lower().startswith("on") for name in element.attrib):
            raise TemplateError(f"an SVG must hold no scripts, found one at <{element.tag}>; take it out")
        for child in [child for child in element if child.tag in _COSTLY]:
            element.remove(child)
        for name, value in element.attrib.items():
            outside = not _is_inside(element, value) if name == "href" else _OUTSIDE_URL.search(value)
            if outside:
                raise _outside(element, value)
    _count_drawn(root)


def _is_inside(element: Element, reference: str) -> bool:
    """Whether a reference stays in the drawing: a part of it, or a PNG written out in it."""
    if reference.startswith("#") or not reference:
        return True
    start = _PNG_DATA.match(reference)
    if start is None or element.tag != "image":
        return False
    try:
        png_size(base64.b64decode(reference[start.end() :]), Path("a picture in an SVG"))
    except binascii.Error:
        return False
    return True


def _outside(element: Element, value: str) -> TemplateError:
    return TemplateError(
        f"an SVG must refer to nothing outside itself, found {value.strip()[:60]!r} at <{element.tag}>; take it out"
    )


def _count_drawn(root: Element) -> None:
    """Refuse references that multiply without end, or in a circle."""
    targets = {id: element for element in root.iter() if (id := element.get("id"))}
    drawn: dict[Element, int] = {}

    def count(element: Element, inside: frozenset[Element]) -> int:
        if element in inside or len(inside) > 2 * MAX_DEPTH:
            raise TemplateError(f"an SVG's references must end, found a circle at <{element.tag}>; take it out")
        if element not in drawn:
            inside |= {element}
            uses = (targets[name] for name in _references(element) if name in targets)
            drawn[element] = 1 + sum(count(part, inside) for part in (*element, *uses))
        if drawn[element] > MAX_DRAWN:
            raise TemplateError(f"an SVG must draw at most {MAX_DRAWN} elements, found more through references")
        return drawn[element]

    count(root, frozenset())


def _references(element: Element) -> Iterator[str]:
    for name, value in element.attrib.items():
        if name == "href" and value.startswith("#"):
            yield value[1:]
        yield from _OWN_URL.findall(value)


def natural_size(root: Element) -> tuple[float, float]:
    """(width, height) of a drawing in px: its own, else its view box's, else what a browser takes."""
    view_box = _view_box(root)
    width, height = (_side(root.get(name, "")) for name in ("width", "height"))
    if view_box is None:
        return (width or 300.0, height or 150.0)
    aspect = view_box[3] / view_box[2]
    if width is None and height is None:
        return (view_box[2], view_box[3])
    if width is None:
        return ((height or 0.0) / aspect, height or 0.0)
    return (width, width * aspect if height is None else height)


def _side(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    try:
        side = float(match[1]) * _PX[(match[2] or "px").lower()] if match else 0.0
    except ValueError:
        return None
    return side if 0 < side < 1e6 else None


def _view_box(root: Element) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(word) for word in re.split(r"[\s,]+", root.get("viewBox", "").strip()))
    except ValueError:
        return None
    return numbers if len(numbers) == 4 and min(numbers[2:]) > 1e-3 and max(map(abs, numbers)) < 1e6 else None


def pruned(element: Element, shapes: Container[Element]) -> Element | None:
    """A copy that draws only the given shapes; definitions stay, as any shape may refer to them."""
    if element.tag in SHAPES:
        return element if element in shapes else None
    if element.tag not in GROUPS:
        return element
    parts = [part for child in element if (part := pruned(child, shapes)) is not None]
    copy = Element(element.tag, element.attrib)
    copy.extend(parts)
    return copy


def render(root: Element, size_px: tuple[int, int]) -> np.ndarray:
    """A checked drawing at a size: (h, w, 4) float32 premultiplied RGBA in [0, 1]."""
    width, height = size_px
    if not (0 < width <= MAX_PNG_SIDE and 0 < height <= MAX_PNG_SIDE):
        raise TemplateError(f"expected an SVG drawn at 1 to {MAX_PNG_SIDE} px, found {width}x{height}")
    view_box = _view_box(root) or (0, 0, *natural_size(root))
    attributes = {name: value for name, value in root.attrib.items() if name not in ("x", "y", "viewBox", "style")}
    style = re.sub(r"(?:^|;)\s*(?:width|height|transform)\s*:[^;]*", "", root.get("style", ""))
    sized = Element("svg", {**attributes, "width": str(width), "height": str(height), "style": style})
    sized.set("viewBox", " ".join(map(str, view_box)))
    sized.set("xmlns", "http://www.w3.org/2000/svg")
    sized.extend(root)
    png = _draw(ElementTree.tostring(sized, encoding="unicode"))
    decoded = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
    pixels = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA), np.float32) / 255
    pixels[..., :3] *= pixels[..., 3:]
    return pixels


@lru_cache(maxsize=256)  # the styles of a theme draw the same SVG in other colours
def _draw(markup: str) -> bytes:
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=markup, skip_system_fonts=True))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise TemplateError(f"expected an SVG that can be drawn, found one that cannot ({reason})") from error
