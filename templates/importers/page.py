"""A web page as overlay programs draw it: elements, the boxes that CSS gives them, and their paint.

Boxes are laid out with what skins use: absolute and relative positions, margins, floats, blocks one below
the other, transforms. Sizes include borders. Inline text is not drawn.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import cv2
import numpy as np
from cssselect2 import ElementWrapper

from templates.catalogue import TemplateError, load_png
from templates.draw import premultiply
from templates.importers import svg
from templates.importers.css import (
    NONE,
    Sheet,
    Style,
    Token,
    degrees,
    length,
    length_of,
    number_of,
    url,
)
from templates.importers.skin import find_inside
from templates.scene import MAX_CANVAS

MAX_AREA: Final = 24 << 20  # px of one picture
NOT_DRAWN: Final = ("box-shadow", "filter", "clip-path", "mask", "mask-image", "border-image")

Size = tuple[float, float]
MaybeSize = tuple[float | None, float | None]


class PagePicture:
    """A picture that can be had at several sizes; ``size`` is its own, in px of the page."""

    size: Size

    def at(self, size_px: tuple[int, int]) -> np.ndarray:
        """(h, w, 4) float32 premultiplied RGBA in [0, 1], at the size asked for or with fewer pixels."""
        raise NotImplementedError


class PngPicture(PagePicture):
    def __init__(self, path: Path) -> None:
        pixels = load_png(path)
        if pixels.shape[0] * pixels.shape[1] > MAX_AREA:
            raise TemplateError(f"{path}: expected at most {MAX_AREA >> 20} megapixels, found more; shrink it")
        self._pixels = premultiply(pixels).transpose(1, 2, 0)
        self.size = (self._pixels.shape[1], self._pixels.shape[0])

    def at(self, size_px: tuple[int, int]) -> np.ndarray:
        height, width = self._pixels.shape[:2]
        shape = (min(size_px[0], width), min(size_px[1], height))
        if shape == (width, height):
            return self._pixels
        return np.asarray(cv2.resize(self._pixels, shape, interpolation=cv2.INTER_AREA))


class SvgPicture(PagePicture):
    def __init__(self, root: Element) -> None:
        self._root = root
        self.size = svg.natural_size(root)

    def at(self, size_px: tuple[int, int]) -> np.ndarray:
        return svg.render(self._root, size_px)


class Pictures:
    """The picture files of a skin. A missing one draws nothing, and is noted."""

    def __init__(self, root: Path) -> None:
        self.notes: list[str] = []
        self._root = root
        self._found: dict[tuple[str, str], PagePicture | None] = {}

    def find(self, reference: str, base: str) -> PagePicture | None:
        """The picture at an address that starts from the folder ``base`` of the skin."""
        if (reference, base) not in self._found:
            self._found[reference, base] = self._read(reference, base)
        return self._found[reference, base]

    def path_of(self, reference: str, base: str = "") -> Path | None:
        """The file at an address; None, and a note, where there is none. TemplateError where it leaves the skin."""
        shown = repr(reference[:80])
        if re.match(r"(https?|data|blob):|//", reference.strip(), re.IGNORECASE):
            self.notes.append(f"{shown} is not a file of the skin; it draws nothing")
            return None
        path = unquote(re.split("[?#]", reference.strip())[0]).replace("\\", "/")
        steps = f"{base}/{path}".split("/")
        depth = np.cumsum([{"..": -1, "": 0, ".": 0}.get(step, 1) for step in steps])
        if path.startswith("/") or ":" in path or min(depth) < 0:
            raise TemplateError(f"{self._root}: expected pictures inside this folder, found {shown}; copy it there")
        found = find_inside(self._root, f"{base}/{path}")
        if found is None or found.is_dir():
            self.notes.append(f"{shown} is not in the skin's folder; it draws nothing")
            return None
        return found

    def _read(self, reference: str, base: str) -> PagePicture | None:
        path = self.path_of(reference, base)
        if path is None:
            return None
        if path.suffix.lower() == ".svg":
            return SvgPicture(svg.read_svg(path))
        if path.suffix.lower() == ".png":
            return PngPicture(path)
        self.notes.append(f"{reference[:80]!r} is neither PNG nor SVG; it draws nothing")
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """An element in its place."""

    element: Element
    style: Style
    size: Size
    """Width and height in px of the page, before ``matrix``."""
    matrix: np.ndarray
    """(3, 3): px of the box, from its upper left corner -> px of the page."""
    opacity: float
    """With that of the elements around it; 0 where it is hidden."""
    around: Size
    """Size of what its position is relative to."""


@dataclass(frozen=True, slots=True, eq=False)
class _Around:
    """What an element is placed in: its parent, and the nearest positioned element around that."""

    matrix: np.ndarray
    """Px of the positioned element -> px of the page."""
    positioned: MaybeSize
    origin: Size
    """The parent's corner, from the positioned element's."""
    parent: MaybeSize
    opacity: float = 1.0
    hidden: bool = False
    top: bool = False
    """The element is an outermost one, which the program fits to its window."""


@dataclass(slots=True)
class _Flow:
    """Room that the children placed so far have taken in a parent of this width."""

    width: float
    y: float = 0.0
    left: float = 0.0
    right: float = 0.0


class Page:
    """A page laid out; ``boxes`` in the order of painting, ``size`` that of its outermost elements together."""

    def __init__(self, root: Element, sheet: Sheet, pictures: Pictures) -> None:
        """Lay out what ``root`` holds. Raises TemplateError where a size is out of 1 to 8192 px or an SVG unsafe."""
        self.notes: list[str] = []
        self._sheet, self._pictures = sheet, pictures
        nowhere = _Around(np.eye(3), (None, None), (0.0, 0.0), (None, None), top=True)
        flow = _Flow(0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as too large
            placed = [self._place(child, nowhere, flow) for child in ElementWrapper.from_xml_root(root).iter_children()]
        tops = [boxes[0] for boxes in placed if min(boxes[0].size) > 0]
        corners = np.array([top.matrix[:2, 2] for top in tops]).reshape(-1, 2)
        start = corners.min(0, initial=np.inf)
        width, height = (corners + np.array([top.size for top in tops]).reshape(-1, 2)).max(0, initial=-np.inf) - start
        if not (1 <= width <= MAX_CANVAS and 1 <= height <= MAX_CANVAS):
            raise TemplateError(f"expected an outermost element with a width and height of 1 to {MAX_CANVAS} px")
        self.size: Size = (float(width), float(height))
        shift = _translation(-start)
        self.boxes = [replace(box, matrix=shift @ box.matrix) for boxes in placed for box in boxes]

    def _place(self, node: ElementWrapper, around: _Around, flow: _Flow) -> list[Box]:
        """An element's box and then those of what it holds."""
        element, style = node.etree_element, self._sheet.style_of(node)
        self.notes += [f"{name} is not drawn" for name in NOT_DRAWN if name in style and style[name].word != "none"]
        if element.tag == "svg":
            svg.dress(node, self._sheet)
            svg.check_svg(element)
        absolute = style.get("position", NONE).word in ("absolute", "fixed")
        outer = around.positioned if absolute else around.parent
        size = self._size(element, style, outer, around.top)
        hidden = around.hidden or style.get("display", NONE).word == "none"
        corner = _corner(style, size, around, flow)
        transform = np.eye(3) if around.top else _transform(style, size)
        matrix = around.matrix @ _translation(corner) @ transform
        opacity = around.opacity * min(max(number_of(style, "opacity", 1.0), 0.0), 1.0)
        positioned = style.get("position", NONE).word not in ("", "static") or "transform" in style
        if positioned or around.top:
            inside = _Around(matrix, size, (0.0, 0.0), size, opacity, hidden)
        else:
            inside = replace(around, origin=corner, parent=size, opacity=opacity, hidden=hidden, top=False)
        held, end = ([], 0.0) if element.tag == "svg" else self._place_children(node, inside)
        known = (size[0] or 0.0, end if size[1] is None else size[1])
        if not max(np.max(known), np.abs(matrix).max()) <= 4 * MAX_CANVAS:  # written so that NaN fails too
            raise TemplateError(f"{name_of(element)}: expected a box within {MAX_CANVAS} px, found one beyond")
        if not (absolute or hidden):
            _advance(style, known, flow)
        seen = not hidden and style.get("visibility", NONE).word not in ("hidden", "collapse")
        return [Box(element, style, known, matrix, opacity * seen, (outer[0] or 0.0, outer[1] or 0.0)), *held]

    def _place_children(self, node: ElementWrapper, inside: _Around) -> tuple[list[Box], float]:
        """The boxes of what an element holds, lower ones first, and where they end."""
        flow = _Flow(inside.parent[0] or 0.0)
        groups = [self._place(child, inside, flow) for child in node.iter_children()]
        groups.sort(key=lambda boxes: number_of(boxes[0].style, "z-index", 0.0))
        return [box for boxes in groups for box in boxes], flow.y

    def _size(self, element: Element, style: Style, outer: MaybeSize, top: bool) -> MaybeSize:
        """Width and height; a height of None is as much as the element holds."""
        width, height = length_of(style, "width", outer[0]), length_of(style, "height", outer[1])
        natural = self._natural_size(element, style, top)
        if natural is not None and width is None:
            width = natural[0] if height is None else height * natural[0] / natural[1]
        if natural is not None and height is None:
            height = (width or 0.0) * natural[1] / natural[0]
        if width is None:
            width = _span(style, "left", "right", outer[0])
        if height is None and length_of(style, "top", outer[1]) is not None:
            height = _span(style, "top", "bottom", outer[1])
        floats = style.get("float", NONE).word in ("left", "right")
        if width is None and outer[0] is not None and "position" not in style and not floats:
            width = outer[0] - _margin(style, "left", outer) - _margin(style, "right", outer)
        return (None if width is None else max(width, 0.0), None if height is None else max(height, 0.0))

    def _natural_size(self, element: Element, style: Style, top: bool) -> Size | None:
        if element.tag == "svg":
            return svg.natural_size(element)
        picture = picture_of(element, style, self._pictures) if top or element.tag == "img" else None
        return picture.size if picture else None


def name_of(element: Element) -> str:
    """How notes and errors call an element."""
    return " ".join(element.get("class", "").split())[:60] or element.tag


def picture_of(element: Element, style: Style, pictures: Pictures) -> PagePicture | None:
    """The picture of an ``img``, or the one in an element's background."""
    if element.tag == "img":
        return pictures.find(element.get("src", ""), "")
    image = style.get("background-image", NONE)
    reference = url(image.tokens[0]) if image.tokens else None
    return pictures.find(reference, image.base) if reference else None


def _span(style: Style, near: str, far: str, whole: float | None) -> float | None:
    """What two distances from the edges leave of a length."""
    start, end = length_of(style, near, whole), length_of(style, far, whole)
    return None if start is None or end is None or whole is None else whole - start - end


def _margin(style: Style, side: str, outer: MaybeSize) -> float:
    return length_of(style, f"margin-{side}", outer[0]) or 0.0


def _corner(style: Style, size: MaybeSize, around: _Around, flow: _Flow) -> Size:
    """An element's upper left corner, from that of the positioned element around it."""
    position = style.get("position", NONE).word
    absolute = position in ("absolute", "fixed")
    outer = around.positioned if absolute else around.parent
    left, right, top, bottom = (_margin(style, side, outer) for side in ("left", "right", "top", "bottom"))
    side = "" if absolute else style.get("float", NONE).word
    x = flow.left + left if side == "left" else left
    if side == "right":
        x = flow.width - flow.right - right - (size[0] or 0.0)
    x, y = around.origin[0] + x, around.origin[1] + flow.y + top
    if position == "relative":
        from_left, from_right = (length_of(style, name, outer[0]) for name in ("left", "right"))
        from_top, from_bottom = (length_of(style, name, outer[1]) for name in ("top", "bottom"))
        x += -(from_right or 0.0) if from_left is None else from_left
        y += -(from_bottom or 0.0) if from_top is None else from_top
    if absolute:
        x = _inset(style, ("left", "right"), outer[0], size[0], (left, right), x)
        y = _inset(style, ("top", "bottom"), outer[1], size[1], (top, bottom), y)
    return (x, y)


def _inset(
    style: Style, edges: tuple[str, str], whole: float | None, side: float | None, margins: Size, otherwise: float
) -> float:
    """Where an absolutely placed element starts on one axis."""
    start, end = (length_of(style, edge, whole) for edge in edges)
    if start is not None:
        return start + margins[0]
    if end is not None and whole is not None:
        return whole - end - margins[1] - (side or 0.0)
    return otherwise


def _advance(style: Style, size: Size, flow: _Flow) -> None:
    width = size[0] + _margin(style, "left", (flow.width, None)) + _margin(style, "right", (flow.width, None))
    side = style.get("float", NONE).word
    if side == "left":
        flow.left += width
    elif side == "right":
        flow.right += width
    else:
        margins = (_margin(style, edge, (flow.width, None)) for edge in ("top", "bottom"))
        flow.y += size[1] + sum(margins)


def _translation(offset: Size | np.ndarray) -> np.ndarray:
    return np.array([[1, 0, offset[0]], [0, 1, offset[1]], [0, 0, 1]], float)


def _transform(style: Style, size: MaybeSize) -> np.ndarray:
    """(3, 3): what ``transform`` does to a box about its centre, seen from the front."""
    width, height = size[0] or 0.0, size[1] or 0.0
    result = np.eye(3)
    for token in style.get("transform", NONE).tokens:
        if token.type == "function":
            arguments = [part for part in token.arguments if part.type not in ("whitespace", "comment") and part != ","]
            result = result @ _function(token.lower_name, arguments, (width, height))
    about: np.ndarray = _translation((width / 2, height / 2)) @ result @ _translation((-width / 2, -height / 2))
    return about


def _function(name: str, arguments: list[Token], size: Size) -> np.ndarray:
    """One transform function; those that are not known change nothing."""
    angle = math.radians(degrees(arguments[0])) if arguments else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    numbers = [length(token, 1.0) or 0.0 for token in arguments]
    x, y = [*numbers, *numbers[:1]][:2] if numbers else (1.0, 1.0)
    if name in ("rotatex", "rotatey"):
        return np.diag((1.0, cos, 1.0) if name == "rotatex" else (cos, 1.0, 1.0))
    if name in ("rotate", "rotatez"):
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    if name in ("scale", "scale3d", "scalex", "scaley"):
        return np.diag((1.0 if name == "scaley" else x, 1.0 if name == "scalex" else y, 1.0))
    if name in ("translate", "translate3d", "translatex", "translatey"):
        vertical = name == "translatey"
        first = length(arguments[0], size[vertical]) if arguments else None
        second = length(arguments[1], size[1]) if len(arguments) > 1 else None
        return _translation((0.0, first or 0.0) if vertical else (first or 0.0, second or 0.0))
    if name == "matrix" and len(numbers) == 6:
        a, b, c, d, e, f = numbers
        return np.array([[a, c, e], [b, d, f], [0.0, 0.0, 1.0]])
    return np.eye(3)
