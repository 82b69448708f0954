"""The parser's input: what the frame shows beside what the matched template predicts.

A network learns slowly to multiply a picture by another. So the comparisons that any reader of a known
skin would make are made here and given to it as channels; it learns when to believe them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from extraction.rectify import BUTTON_TILE, PANEL_WH, STICK_TILE, TILE_XY, tile_map
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, DPAD, STICKS, States
from templates.draw import Raster, draw, rasterise
from templates.scene import Scene

REFERENCE_WIDTH: Final = 256  # px; the template's own pictures are drawn this wide
CHANNELS: Final = 16  # frame 3, rest 4, pressed 4, stick units 2, misfits 2, stick misfit 1
STICK_MISFIT: Final = 5  # the channel
REACH: Final = 1.2  # of full tilt: no stick is looked for beyond it
_CAP: Final = STICK_TILE // 2  # stick pictures are slid at half resolution


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A template as the parser sees it.

    panels: (10, 88, 108) float32, at rest RGBA, everything pressed RGBA (both premultiplied), and each stick
    pixel's place in stick units (x, y; 0 at the neutral, 1 at full tilt).
    caps: (2, 2, 4, 22, 22) float32, [left, right] x [released, clicked] stick pictures, premultiplied,
    centred, one pixel to two of the tile; zero for a stick that is not shown.
    """

    panels: Tensor
    caps: Tensor


def reference_of(template: Template, raster: Raster | None = None) -> Reference:
    """The reference of a template, from its raster where the caller has one."""
    raster = raster or rasterise(template, REFERENCE_WIDTH)
    looks = (States.rest(), States.all_pressed())
    drawings = torch.cat([draw(raster, look) for look in looks])
    panels = _cut(template.scene, drawings, raster.scale)
    if any(part.kind == "nine_state" for part in template.scene.parts):
        _press_one_by_one(panels[1], template.scene, raster)
    units = torch.from_numpy(tile_map(template.scene)[1]).permute(2, 0, 1).to(drawings.device).clamp(-3, 3)
    caps = torch.zeros(len(STICKS), len(looks), 4, _CAP, _CAP, device=drawings.device)
    for i, stick in enumerate(STICKS):
        if stick in template.scene.sticks:
            alone = torch.cat([draw(_only(raster, stick), look) for look in looks])
            x, y = TILE_XY[stick]
            tiles = _cut(template.scene, alone, raster.scale)[..., y : y + STICK_TILE, x : x + STICK_TILE]
            caps[i] = functional.avg_pool2d(tiles, 2)
    return Reference(torch.cat([panels.flatten(0, 1), units]), caps)


def unseen(reference: Reference) -> Reference:
    """The same geometry without any picture, for a skin that looks like no template."""
    panels = reference.panels.clone()
    panels[:8] = 0
    return Reference(panels, torch.zeros_like(reference.caps))


def undo_look(panels: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Frames as they would be if the overlay were drawn opaque and in its own colours.

    panels: (N, ..., 3, 88, 108) in [0, 1], showing ``gain * drawing + offset`` where the drawing is opaque;
    gain (N,) and offset (N, 3) as in ``Placement``. Values stay in [-0.5, 1.5].
    """
    between = (1,) * (panels.dim() - 4)
    offset = offset.reshape(len(offset), *between, 3, 1, 1)
    return ((panels - offset) / gain.reshape(len(gain), *between, 1, 1, 1)).clamp(-0.5, 1.5)


def compare(panels: Tensor, reference: Reference) -> Tensor:
    """How frames misfit the template: (N, 3, 88, 108) of nominal range [0, 1] -> (N, 3, 88, 108).

    Channel 0: distance from the picture at rest, where that is opaque. 1: from the pressed picture.
    2, in stick tiles: how badly the stick's picture fits when centred on the pixel, standardised over the
    tile; its minimum is the stick's likeliest place.
    """
    rest, pressed = reference.panels[:4], reference.panels[4:8]
    misfits = [(panels * look[3] - look[:3]).abs().mean(1) for look in (rest, pressed)]
    sticks = torch.zeros_like(misfits[0])
    for i, stick in enumerate(STICKS):
        if not reference.caps[i, :, 3].any():
            continue
        x, y = TILE_XY[stick]
        tile = panels[:, :, y : y + STICK_TILE, x : x + STICK_TILE]
        units = reference.panels[8:, y : y + STICK_TILE, x : x + STICK_TILE]
        within = (units.abs() <= REACH).all(0)
        sticks[:, y : y + STICK_TILE, x : x + STICK_TILE] = _standardise(_slide(tile, reference.caps[i]), within)
    return torch.stack([*misfits, sticks], 1)


def join_pairs(previous: Tensor, current: Tensor, shared: Tensor, out: Tensor | None = None) -> Tensor:
    """Two frames' channels side by side, the template's in both: (N, 16, 88, 216).

    previous, current: (N, 6, 88, 108), a frame's panel in [0, 1] and its misfits; shared: (N or 1, 10, 88, 108).
    ``out``: where to write, at least N long; a caller in a loop keeps it, since new memory costs more than copying.
    """
    height, width = current.shape[2:]
    pairs = current.new_empty(len(current), CHANNELS, height, 2 * width) if out is None else out[: len(current)]
    for half, side in ((slice(width), previous), (slice(width, None), current)):
        pairs[:, : side.shape[1], :, half] = side
        pairs[:, side.shape[1] :, :, half] = shared
    return pairs


def _slide(tile: Tensor, caps: Tensor) -> Tensor:
    """Misfit of stick pictures at every place of a tile: (N, 3, 44, 44), (2, 4, 22, 22) -> (N, 44, 44).

    The mean of ``|alpha * frame - picture|^2`` over the picture, expanded into correlations; the better of
    the released and the clicked picture counts.
    """
    frame = functional.avg_pool2d(tile, 2)
    alpha = caps[:, 3:]
    inputs = torch.cat([frame.square(), frame, torch.ones_like(frame[:, :1])], 1)
    fit = torch.cat(
        [alpha.square().expand(-1, 3, -1, -1), -2 * alpha * caps[:, :3], caps[:, :3].square().sum(1, True)], 1
    )
    cost = functional.conv2d(inputs, fit, padding=_CAP // 2)
    weight = functional.conv2d(inputs[:1, 6:], 3 * alpha.square(), padding=_CAP // 2)
    cost = (cost / (weight + 1e-3)).min(1, keepdim=True).values  # (N, 1, 23, 23), at the corners of half-size pixels
    corners = functional.interpolate(cost, size=(STICK_TILE + 1, STICK_TILE + 1), mode="bilinear", align_corners=True)
    return functional.avg_pool2d(corners, 2, stride=1)[:, 0]


def _standardise(cost: Tensor, within: Tensor) -> Tensor:
    """Zero mean and unit deviation over the places (44, 44) that a stick can reach; the others get the worst, 2."""
    if not within.any():
        return torch.zeros_like(cost)
    reachable = cost[:, within]
    mean, spread = reachable.mean(1)[:, None, None], reachable.std(1)[:, None, None]
    return torch.where(within, (cost - mean) / (spread + 1e-3), 2.0)


def _press_one_by_one(pressed: Tensor, scene: Scene, raster: Raster) -> None:
    """Give each d-pad tile (4, 88, 108) its own direction's look: a nine-state sprite shows no two opposites."""
    for control in DPAD:
        states = States.rest()
        states.buttons[0, BUTTON_INDEX[control]] = True
        x, y = TILE_XY[control]
        tile = (..., slice(y, y + BUTTON_TILE), slice(x, x + BUTTON_TILE))
        pressed[tile] = _cut(scene, draw(raster, states), raster.scale)[0][tile]


def _only(raster: Raster, stick: str) -> Raster:
    """The raster with nothing but one stick's moving picture."""
    layers = tuple(layer for layer in raster.layers if layer.part.kind == "move" and layer.part.stick == stick)
    return Raster(raster.size_wh, raster.scale, layers)


def _cut(scene: Scene, drawings: Tensor, scale: float) -> Tensor:
    """Drawings (N, 4, H, W) at ``scale`` px per canvas unit -> panels (N, 4, 88, 108)."""
    points, _ = tile_map(scene)
    size = torch.tensor([drawings.shape[3], drawings.shape[2]])
    grid = (torch.from_numpy(points) * scale / size * 2 - 1).nan_to_num(nan=-9.0).to(drawings.device)
    assert grid.shape[:2] == PANEL_WH[::-1]
    return functional.grid_sample(drawings, grid.expand(len(drawings), -1, -1, -1), align_corners=False)
