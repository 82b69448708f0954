"""Draw a template in any state: rasterise its pictures once, then compose batches of states.

This is the one renderer. ``templates show``, the importers' tests, the parser's reference pictures
and the synthetic training pictures all come from it, on CPU or GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import resvg_py
import torch
from torch import Tensor
from torch.nn import functional

from templates.catalogue import Template, TemplateError, read_picture
from templates.controls import BUTTON_INDEX, DPAD, STICKS, THUMB_OF, TRIGGERS, States
from templates.scene import NINE_STATES, Box, Move, Part, Picture

OFF_CENTRE = 0.05  # of full tilt; below it a tinted stick counts as centred

# Index into NINE_STATES by (down - up + 1, right - left + 1).
_NINE_INDEX = torch.tensor([[5, 3, 6], [1, 0, 2], [7, 4, 8]])


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One part at one size: its pictures on a pixel window of the canvas.

    images: (K, 4, h, w) float32 premultiplied RGBA in [0, 1]; K pictures to choose from.
    x, y: the window's corner in raster pixels; it may lie outside the canvas.
    box: the part's rest box in raster pixels, fractional.
    """

    part: Part
    images: Tensor
    x: int
    y: int
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A template at one size, ready to compose. ``size_wh`` in pixels, ``scale`` in pixels per canvas unit."""

    size_wh: tuple[int, int]
    scale: float
    layers: tuple[Layer, ...]

    def to(self, device: torch.device | str) -> Raster:
        """The same raster with its pictures on another device."""
        layers = tuple(replace(layer, images=layer.images.to(device)) for layer in self.layers)
        return replace(self, layers=layers)


def rasterise(template: Template, width_px: int) -> Raster:
    """Render every picture of a template at ``width_px`` for the whole canvas."""
    width, height = template.scene.canvas
    scale = width_px / width
    size_wh = (width_px, max(1, round(height * scale)))
    layers: list[Layer] = []
    for part in template.scene.parts:
        layer = _rasterise_part(template, part, scale)
        if part.kind == "static" and layers and layers[-1].part.kind == "static":
            layer = _merge_static(layers.pop(), layer, size_wh)
        layers.append(layer)
    return Raster(size_wh, scale, tuple(layers))


def draw(raster: Raster, states: States) -> Tensor:
    """Compose T states: (T, 4, H, W) float32 premultiplied RGBA in [0, 1], on the raster's device."""
    width, height = raster.size_wh
    device = raster.layers[0].images.device if raster.layers else torch.device("cpu")
    canvas = torch.zeros(len(states), 4, height, width, device=device)
    inputs = Inputs.of(states, device)
    for layer in raster.layers:
        _paint(canvas, picture_of(layer, inputs, raster.scale), layer.x, layer.y)
    return canvas


def draw_rgba(template: Template, states: States, width_px: int) -> np.ndarray:
    """The first of ``states`` as a picture: (H, W, 4) uint8, straight alpha."""
    return np.asarray(to_straight(draw(rasterise(template, width_px), states[:1]))[0])


def to_straight(pictures: Tensor) -> np.ndarray:
    """(T, 4, H, W) float32 premultiplied in [0, 1] -> (T, H, W, 4) uint8, straight alpha."""
    premultiplied = pictures.permute(0, 2, 3, 1).cpu().numpy()
    alpha = premultiplied[..., 3:]
    straight = np.divide(premultiplied[..., :3], alpha, out=np.zeros_like(premultiplied[..., :3]), where=alpha > 0)
    return np.concatenate([straight, alpha], -1).clip(0, 1).__mul__(255).round().astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The states as tensors: buttons (T, 17) bool, triggers (T, 2), sticks (T, 2, 2)."""

    buttons: Tensor
    triggers: Tensor
    sticks: Tensor

    @classmethod
    def of(cls, states: States, device: torch.device) -> Inputs:
        arrays = (states.buttons, states.triggers, states.sticks)
        return cls(*(torch.as_tensor(array, device=device) for array in arrays))

    def value(self, control: str) -> Tensor:
        """(T,) travel in [0, 1]: analog for a trigger, 0 or 1 for a button, off-centre for a stick."""
        if control in TRIGGERS:
            return self.triggers[:, TRIGGERS.index(control)]
        if control in STICKS:
            tilt: Tensor = torch.linalg.vector_norm(self.sticks[:, STICKS.index(control)], dim=1)
            return (tilt > OFF_CENTRE).float()
        return self.buttons[:, BUTTON_INDEX[control]].float()

    def pressed(self, control: str, threshold: float) -> Tensor:
        """(T,) bool."""
        return self.value(control).ge(threshold if control in TRIGGERS else 0.5)


def picture_of(layer: Layer, inputs: Inputs, scale: float) -> Tensor:
    """The layer's picture in each state: (T or 1, 4, h, w) premultiplied."""
    part, images = layer.part, layer.images
    if part.kind == "static":
        return images
    if part.kind == "swap":
        return images[inputs.pressed(part.control, part.threshold).long()]
    if part.kind == "show":
        shown = inputs.pressed(part.control, part.threshold) != part.inverse
        return images * shown.float()[:, None, None, None]
    if part.kind == "clip":
        return images * _clip_mask(layer, inputs.value(part.control))
    if part.kind == "opacity":
        return images * inputs.value(part.control)[:, None, None, None]
    if part.kind == "nine_state":
        up, down, left, right = (inputs.pressed(name, 0.5).long() for name in DPAD)
        return images[_NINE_INDEX.to(images.device)[down - up + 1, right - left + 1]]
    if part.kind == "tint":
        on = inputs.pressed(part.control, 0.5).float()[:, None, None, None]
        factor = torch.tensor([*part.colour, 1.0], device=images.device)[None, :, None, None]
        return images * (1 + on * (factor - 1))
    if part.kind == "slide":
        value = inputs.value(part.control)
        chosen = images[inputs.pressed(part.control, part.threshold).long()]
        offset = value[:, None] * torch.tensor(part.offset, device=images.device) * scale
        return shift(chosen, offset, torch.ones_like(offset))
    axes = inputs.sticks[:, STICKS.index(part.stick)]
    chosen = images[cap_index(part, inputs)]
    offset = axes * torch.tensor(part.travel, device=images.device) * scale
    return shift(chosen, offset, 1 - (1 - part.squeeze) * axes.abs())


def cap_index(part: Move, inputs: Inputs) -> Tensor:
    """(T,) index into the pictures of a stick: at rest 0, clicked 1, tilted 2 where that looks different."""
    clicked = inputs.pressed(THUMB_OF[part.stick], 0.5)
    if part.off_centre is None:
        return clicked.long()
    tilted = inputs.pressed(part.stick, 0.5).long() * 2
    return tilted if part.pressed is None else torch.where(clicked, 1, tilted)


def _clip_mask(layer: Layer, value: Tensor) -> Tensor:
    """Coverage of each pixel by the visible part of a filling trigger: (T, 1, h, 1) or (T, 1, 1, w)."""
    part = layer.part
    assert part.kind == "clip"
    value = 1 - value if part.reverse else value
    x, y, w, h = layer.box
    vertical = part.grows in ("up", "down")
    start, length = (y - layer.y, h) if vertical else (x - layer.x, w)
    count = layer.images.shape[2 if vertical else 3]
    near = torch.arange(count, device=value.device) - start  # distance of a pixel's near edge from the box's
    if part.grows in ("up", "left"):
        near = length - near - 1
    mask = (value[:, None] * length - near).clamp(0, 1)
    return mask[:, None, :, None] if vertical else mask[:, None, None, :]


def shift(images: Tensor, offset: Tensor, squeeze: Tensor) -> Tensor:
    """Move (T, 4, h, w) pictures by ``offset`` (T, 2) pixels, narrowed about their centre by ``squeeze`` (T, 2)."""
    size = torch.tensor([images.shape[3], images.shape[2]], device=images.device)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = 1 / squeeze[:, 0], 1 / squeeze[:, 1]
    theta[:, :, 2] = -2 * offset / size / squeeze
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _paint(canvas: Tensor, image: Tensor, x: int, y: int) -> None:
    """Premultiplied "over" of (T or 1, 4, h, w) onto the canvas at (x, y), clipped to it, in place."""
    height, width = canvas.shape[2:]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + image.shape[3], width), min(y + image.shape[2], height)
    if x1 <= x0 or y1 <= y0:
        return
    image = image[:, :, y0 - y : y1 - y, x0 - x : x1 - x]
    window = canvas[:, :, y0:y1, x0:x1]
    window.mul_(1 - image[:, 3:]).add_(image)


def _merge_static(below: Layer, above: Layer, size_wh: tuple[int, int]) -> Layer:
    """Two static layers as one that covers the canvas."""
    canvas = torch.zeros(1, 4, size_wh[1], size_wh[0])
    for layer in (below, above):
        _paint(canvas, layer.images, layer.x, layer.y)
    return Layer(above.part, canvas, 0, 0, (0.0, 0.0, float(size_wh[0]), float(size_wh[1])))


def _rasterise_part(template: Template, part: Part, scale: float) -> Layer:
    x, y, w, h = box = tuple(side * scale for side in part.box)
    reach_x = reach_y = 1.0  # room for antialiased edges
    if part.kind == "move":
        reach_x, reach_y = part.travel[0] * scale + 2, part.travel[1] * scale + 2
    elif part.kind == "slide":
        reach_x, reach_y = abs(part.offset[0]) * scale + 2, abs(part.offset[1]) * scale + 2
    x0, y0 = int(np.floor(x - reach_x)), int(np.floor(y - reach_y))
    x1, y1 = int(np.ceil(x + w + reach_x)), int(np.ceil(y + h + reach_y))
    if part.kind == "move":  # the window's centre is the stick's, so that it squeezes about itself
        reach_w, reach_h = int(np.ceil(w / 2 + reach_x)), int(np.ceil(h / 2 + reach_y))
        x0, y0 = round(x + w / 2) - reach_w, round(y + h / 2) - reach_h
        x1, y1 = x0 + 2 * reach_w, y0 + 2 * reach_h
    window = (x0, y0, x1 - x0, y1 - y0)
    pictures = _pictures(part)
    drawn = {picture: _render(template, picture, part.box, window, scale) for picture in set(pictures)}
    images = np.stack([drawn[picture] for picture in pictures])
    return Layer(part, torch.from_numpy(images), x0, y0, box)  # type: ignore[arg-type]


def _pictures(part: Part) -> list[Picture | None]:
    """The pictures a part chooses from, in the order of its index; None draws nothing."""
    if part.kind == "nine_state":
        return [part.pictures.get(name) for name in NINE_STATES]
    if part.kind == "swap":
        return [part.picture, part.pressed]
    if part.kind == "slide":
        return [part.picture, part.pressed or part.picture]
    if part.kind == "move":
        tilted = [part.off_centre] if part.off_centre else []
        return [part.picture, part.pressed or part.picture, *tilted]
    return [part.picture]


def _render(
    template: Template, picture: Picture | None, box: Box, window: tuple[int, int, int, int], scale: float
) -> np.ndarray:
    """One picture on a pixel window: (4, h, w) float32 premultiplied RGBA in [0, 1]."""
    x, y, width, height = window
    if picture is None:
        return np.zeros((4, height, width), np.float32)
    if picture.svg is not None:
        return premultiply(
            render_svg(picture.svg, (x / scale, y / scale, width / scale, height / scale), (width, height))
        )
    pixels = premultiply(read_picture(template, picture)).transpose(1, 2, 0)
    # Shrink by area first: plain bilinear sampling would skip source pixels.
    target_w, target_h = max(1, int(np.ceil(box[2] * scale))), max(1, int(np.ceil(box[3] * scale)))
    if target_w < pixels.shape[1] or target_h < pixels.shape[0]:
        shape = (min(target_w, pixels.shape[1]), min(target_h, pixels.shape[0]))
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    sx, sy = box[2] * scale / pixels.shape[1], box[3] * scale / pixels.shape[0]
    tx, ty = box[0] * scale - x, box[1] * scale - y
    # Pixel centres: destination + 0.5 = s * (source + 0.5) + t.
    matrix = np.array([[sx, 0, tx + sx / 2 - 0.5], [0, sy, ty + sy / 2 - 0.5]])
    return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR).transpose(2, 0, 1)


def render_svg(markup: str, view_box: Box, size_wh: tuple[int, int]) -> np.ndarray:
    """Render SVG markup in canvas units to (H, W, 4) uint8 RGBA, straight alpha."""
    x, y, w, h = view_box
    document = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size_wh[0]}" height="{size_wh[1]}" '
        f'viewBox="{x} {y} {w} {h}" preserveAspectRatio="none">{markup}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=document, skip_system_fonts=True)
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise TemplateError(f"the SVG renderer made no picture of {size_wh[0]} x {size_wh[1]} pixels")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA))


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 straight alpha -> (4, H, W) float32 premultiplied in [0, 1]."""
    planes = rgba.astype(np.float32).transpose(2, 0, 1) / 255
    planes[:3] *= planes[3]
    return np.ascontiguousarray(planes)
