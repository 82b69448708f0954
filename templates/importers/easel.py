"""Paint the boxes of a page, and make template parts of what is painted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import cv2
import numpy as np

from templates.catalogue import MAX_PARTS, MAX_PNG_SIDE, TemplateError, crop
from templates.importers.css import NONE, Rgba, Style, colour, length, length_of, place_of
from templates.importers.page import MAX_AREA, Box, PagePicture, Pictures, Size, name_of, picture_of
from templates.importers.skin import Gallery, encode_png, sides_of_diamond
from templates.scene import Box as Area
from templates.scene import Move, NineState, Opacity, Part, Picture, Static, Swap

DETAIL: Final = 2.0  # px of a painted picture per px of the page
MAX_PAINTED: Final = 2048  # px, the longer side of a painted page

MAX_BOX: Final = 2 * MAX_PAINTED  # px of a painted box

Paint = np.ndarray  # (H, W, 4) float32 premultiplied RGBA in [0, 1], the whole page
Window = tuple[int, int, int, int]  # x, y, width, height in px of the paint


class Easel:
    """Paints boxes of one page; what is painted becomes parts, whose pictures it keeps."""

    def __init__(self, size: Size, pictures: Pictures) -> None:
        self.gallery = Gallery()
        self.notes: list[str] = []
        self._pictures = pictures
        self._painted = 0
        self._scale = min(DETAIL, MAX_PAINTED / max(size))
        self._size_px = tuple(max(1, math.ceil(side * self._scale)) for side in size)

    def paint(self, box: Box, drawing: PagePicture | None = None, shift: Size = (0.0, 0.0)) -> Paint | None:
        """A box moved by ``shift`` px of the page, with ``drawing`` or else its own picture; None where it is empty.

        What the box holds is painted by itself.
        """
        if not box.opacity or min(box.size) <= 0:
            return None
        picture = drawing or picture_of(box.element, box.style, self._pictures)
        pixels = self._paint_alone(box, picture, whole=drawing is not None or box.element.tag == "img")
        if pixels is None:
            return None
        self._painted += 1
        if self._painted > 2 * MAX_PARTS:
            raise TemplateError(f"expected at most {2 * MAX_PARTS} painted elements, found more")
        scale, linear = self._scale, box.matrix[:2, :2]
        # Pixel centres: target + 0.5 = linear * (source + 0.5) + offset.
        offset = (box.matrix[:2, 2] + shift) * scale + linear @ (0.5, 0.5) - 0.5
        page = cv2.warpAffine(pixels * box.opacity, np.column_stack([linear, offset]), self._size_px)
        return page if page[..., 3].max() > 1 / 512 else None

    def static(self, name: str, paint: Paint | None) -> Iterator[Part]:
        if (window := _covered(paint)) is not None:
            yield Static(name=name, box=self._area(window), picture=self._keep(name, paint, window))

    def swap(
        self, name: str, control: str, released: Paint | None, pressed: Paint | None, threshold: float = 0.5
    ) -> Iterator[Part]:
        """A button: ``released`` makes way for ``pressed`` while its control is held; static if they are alike."""
        window = _covered(released, pressed)
        if window is None:
            return
        if _alike(released, pressed):
            yield from self.static(name, released)
            return
        yield Swap(
            name=name,
            box=self._area(window),
            control=control,
            picture=self._keep(name, released, window) if released is not None else None,
            pressed=self._keep(f"{name} pressed", pressed, window) if pressed is not None else None,
            threshold=threshold,
        )

    def fade(self, name: str, control: str, paint: Paint | None) -> Iterator[Part]:
        """A trigger that appears with its travel."""
        if (window := _covered(paint)) is not None:
            picture = self._keep(name, paint, window)
            yield Opacity(name=name, box=self._area(window), control=control, picture=picture)

    def stick(
        self,
        name: str,
        stick: str,
        box: Box,
        travel: Size,
        looks: Mapping[str, Paint | None],
        squeeze: float = 1.0,
    ) -> Iterator[Part]:
        """A stick that moves from where it is painted.

        looks: how it is painted at ``rest``, ``pressed`` and ``off_centre``; those like the first are left out.
        """
        window = self._window(box)
        if window is None or _covered(*looks.values()) is None:
            return
        rest = looks["rest"]
        others = {
            look: self._keep(f"{name} {look}", paint, window)
            for look, paint in looks.items()
            if look != "rest" and not _alike(rest, paint)
        }
        yield Move(
            name=name,
            box=self._area(window),
            stick="j_left" if stick == "j_left" else "j_right",
            picture=self._keep(name, rest, window),
            travel=travel,
            squeeze=squeeze,
            pressed=others.get("pressed"),
            off_centre=others.get("off_centre"),
        )

    def nine(self, name: str, paints: Mapping[str, Paint | None]) -> Iterator[Part]:
        """A stick of eight directions, painted in each of ``NINE_STATES``."""
        window = _covered(*paints.values())
        if window is None:
            return
        if all(_alike(paint, paints["idle"]) for paint in paints.values()):
            yield from self.static(name, paints["idle"])
            return
        pictures = {state: self._keep(f"{name} {state}", paint, window) for state, paint in paints.items()}
        yield NineState(name=name, box=self._area(window), pictures=pictures)

    def _area(self, window: Window) -> Area:
        x, y, width, height = (side / self._scale for side in window)
        return (x, y, width, height)

    def _window(self, box: Box) -> Window | None:
        """The pixels around a box that may be turned; None where it is empty."""
        width, height = box.size
        corners = box.matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        x0, y0 = (math.floor(side + 1e-6) for side in corners[:2].min(1) * self._scale)
        x1, y1 = (math.ceil(side - 1e-6) for side in corners[:2].max(1) * self._scale)
        return (x0, y0, x1 - x0, y1 - y0) if 0 < x1 - x0 <= MAX_BOX and 0 < y1 - y0 <= MAX_BOX else None

    def _keep(self, name: str, paint: Paint | None, window: Window) -> Picture:
        x, y, width, height = window
        left, top = max(x, 0), max(y, 0)
        inside = np.zeros((1, 1, 4), np.float32) if paint is None else paint[top : y + height, left : x + width]
        alpha = inside[..., 3:]
        straight = np.divide(inside[..., :3], alpha, out=np.zeros_like(inside[..., :3]), where=alpha > 0)
        rgba = (np.concatenate([straight, alpha], -1) * 255).round().clip(0, 255).astype(np.uint8)
        cut = crop(rgba, (x - left, y - top, width, height))
        return Picture(file=self.gallery.add(f"{name}.png", encode_png(cut)))

    def _paint_alone(self, box: Box, picture: PagePicture | None, whole: bool) -> np.ndarray | None:
        """A box by itself: (h, w, 4) at the easel's scale; ``whole`` stretches its picture over it."""
        width, height = (math.ceil(side * self._scale) for side in box.size)
        if max(width, height) > MAX_BOX:
            found = f"{box.size[0]:g} x {box.size[1]:g}"
            raise TemplateError(f"{name_of(box.element)}: expected a box about the page's size, found {found} px")
        fill = self._fill(box)
        if fill is None and picture is None:
            return None
        pixels = np.zeros((height, width, 4), np.float32)
        if fill is not None:
            pixels[:] = _premultiplied(fill)
        if picture is not None:
            image = self._stretched(box, picture) if whole else self._tiled(box, picture)
            pixels = image + pixels * (1 - image[..., 3:])
        return self._bordered(box, pixels)

    def _fill(self, box: Box) -> Rgba | None:
        """The colour under a box's picture; a gradient counts as the mean of its colours."""
        image = box.style.get("background-image", NONE).tokens
        if image and image[0].type == "function" and image[0].lower_name.endswith("gradient"):
            self.notes.append(f"{name_of(box.element)!r} has a gradient; it is drawn in its mean colour")
            stops = [stop for token in image[0].arguments if (stop := colour(token)) is not None]
            if stops:
                red, green, blue, alpha = np.mean(stops, axis=0).tolist()
                return (red, green, blue, alpha)
        tokens = box.style.get("background-color", NONE).tokens
        return colour(tokens[0]) if tokens else None

    def _stretched(self, box: Box, picture: PagePicture) -> np.ndarray:
        return self._sampled(box, picture, box.size, (0.0, 0.0), (False, False))

    def _tiled(self, box: Box, picture: PagePicture) -> np.ndarray:
        """A background picture in its size and place, repeated over the box."""
        tile = _tile_size(box.style, box.size, picture.size)
        x, y = (
            place_of(box.style.get(f"background-position-{axis}", NONE), room - side)
            for axis, room, side in zip("xy", box.size, tile, strict=True)
        )
        words = box.style.get("background-repeat", NONE).words
        across, down = [*words, *words[:1]][:2] if words else ("repeat", "repeat")
        repeats = (across not in ("no-repeat", "repeat-y"), down not in ("no-repeat", "repeat-x"))
        return self._sampled(box, picture, tile, (x, y), repeats)

    def _sampled(
        self, box: Box, picture: PagePicture, tile: Size, start: Size, repeats: tuple[bool, bool]
    ) -> np.ndarray:
        box_px = [math.ceil(side * self._scale) for side in box.size]
        size_px = [math.ceil(side * self._scale) for side in tile]
        if min(size_px) <= 0:
            return np.zeros((box_px[1], box_px[0], 4), np.float32)
        if max(size_px) > MAX_PNG_SIDE or size_px[0] * size_px[1] > MAX_AREA:
            found = f"{tile[0]:g} x {tile[1]:g}"
            raise TemplateError(f"{name_of(box.element)}: expected a picture of moderate size, found {found} px")
        source = picture.at((size_px[0], size_px[1]))
        axes = [
            self._axis(box_px[axis], start[axis], tile[axis], source.shape[1 - axis], repeats[axis]) for axis in (0, 1)
        ]
        (x, inside_x), (y, inside_y) = axes
        across, down = np.meshgrid(x, y)
        sampled = cv2.remap(source, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(sampled * (inside_y[:, None] & inside_x)[..., None])

    def _axis(
        self, count: int, start: float, side: float, side_px: int, repeats: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each of ``count`` pixels of a box: which pixel of the tile it shows, and whether it shows any."""
        place = (np.arange(count) + 0.5) / self._scale - start
        shown = (place >= 0) & (place < side) | repeats
        source = place / side * side_px - 0.5
        source = np.mod(source, side_px) if repeats else np.clip(source, 0, side_px - 1)
        return source.astype(np.float32), shown

    def _bordered(self, box: Box, pixels: np.ndarray) -> np.ndarray:
        """With the box's border drawn and its corners rounded."""
        tokens = box.style.get("border-radius", NONE).tokens
        radii = tuple((length(tokens[0], side) or 0.0) if tokens else 0.0 for side in box.size)
        border = length_of(box.style, "border-width", None) or 0.0
        edge = box.style.get("border-color", NONE).tokens
        line = colour(edge[0]) if edge and border > 0 else None
        if line is not None:
            inner = self._rounded(box.size, (max(radii[0] - border, 0), max(radii[1] - border, 0)), border)
            pixels = pixels * inner + _premultiplied(line) * (1 - inner)
        return pixels * self._rounded(box.size, (radii[0], radii[1]), 0.0) if min(radii) > 0 else pixels

    def _rounded(self, size: Size, radii: Size, border: float) -> np.ndarray:
        """(h, w, 1) coverage in [0, 1] of a box with rounded corners, narrower by ``border`` on each side."""
        width, height = (max(side / 2 - border, 1e-3) for side in size)
        shrink = min(1.0, width / max(radii[0], 1e-3), height / max(radii[1], 1e-3))
        round_x, round_y = (max(radius * shrink, 1e-3) for radius in radii)
        x, y = (np.abs((np.arange(math.ceil(side * self._scale)) + 0.5) / self._scale - side / 2) for side in size)
        # Distances beyond the centres of the corners, in radii; 1 is the edge.
        beyond_x, beyond_y = (x - (width - round_x)) / round_x, (y - (height - round_y)) / round_y
        distance = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0)[:, None])
        coverage = (1 - distance) * min(round_x, round_y) * self._scale + 0.5
        return np.asarray(coverage.clip(0, 1).astype(np.float32)[..., None])


def with_reach(parts: Sequence[Part], size: Size) -> tuple[tuple[Part, ...], Size]:
    """The parts on a canvas that grows where a stick leaves it: a browser does not cut there."""
    left = top = 0.0
    right, bottom = size
    for part in parts:
        if part.kind == "move":
            x, y, width, height = part.box
            left, top = min(left, x - part.travel[0]), min(top, y - part.travel[1])
            right, bottom = max(right, x + width + part.travel[0]), max(bottom, y + height + part.travel[1])
    boxes = [(part.box[0] - left, part.box[1] - top, *part.box[2:]) for part in parts]
    moved = tuple(part.model_copy(update={"box": box}) for part, box in zip(parts, boxes, strict=True))
    return moved, (right - left, bottom - top)


def name_by_place(parts: list[Part], faces: Mapping[str, Sequence[int]]) -> list[str]:
    """Name face buttons, in place, by where they are painted; a note for each whose label says otherwise.

    faces: the indices of the parts that show each button. Nothing changes unless four form a diamond.
    """
    notes: list[str] = []
    for label, side in sides_of_diamond({label: _middle(parts, faces[label]) for label in faces}).items():
        for index in faces[label]:
            if getattr(parts[index], "control", None) != side:
                notes.append(f"{label!r} sits {side}; its place decides")
            parts[index] = parts[index].model_copy(update={"control": side})
    return notes


def _middle(parts: Sequence[Part], indices: Sequence[int]) -> Size:
    """Centre of what some parts cover together."""
    boxes = np.array([parts[index].box for index in indices])
    x, y = (boxes[:, :2].min(0) + (boxes[:, :2] + boxes[:, 2:]).max(0)) / 2
    return (float(x), float(y))


def unmoved(wanted: Iterable[str], parts: Sequence[Part]) -> Iterator[str]:
    """A note for each control that an element stands for and that changes nothing."""
    shown = {getattr(part, "control", None) for part in parts}
    for control in dict.fromkeys(wanted):
        if control not in shown:
            yield f"{control} looks the same pressed and released; it is drawn as never pressed"


def _premultiplied(rgba: Rgba) -> np.ndarray:
    red, green, blue, alpha = rgba
    return np.array([red * alpha, green * alpha, blue * alpha, alpha], np.float32)


def _tile_size(style: Style, box: Size, natural: Size) -> Size:
    """The size that a background picture is drawn in."""
    value = style.get("background-size", NONE)
    if value.word in ("cover", "contain"):
        factors = (box[0] / natural[0], box[1] / natural[1])
        factor = max(factors) if value.word == "cover" else min(factors)
        return (natural[0] * factor, natural[1] * factor)
    sides = [length(token, side) for token, side in zip(value.tokens, box, strict=False)]
    width, height = [*sides, None, None][:2]
    aspect = natural[1] / natural[0]
    if width is None and height is None:
        return natural
    if width is None:
        return ((height or 0.0) / aspect, height or 0.0)
    return (width, width * aspect if height is None else height)


def _alike(first: Paint | None, second: Paint | None) -> bool:
    if first is None or second is None:
        return first is second
    return bool(np.abs(first - second).max() < 1 / 255)


def _covered(*paints: Paint | None) -> Window | None:
    """The pixels that any of the paints touches; None where there are none."""
    alphas = [paint[..., 3] for paint in paints if paint is not None]
    if not alphas:
        return None
    x, y, width, height = cv2.boundingRect((np.max(alphas, axis=0) > 1 / 512).astype(np.uint8))
    return (x, y, width, height) if width and height else None
