"""The parser's input: what the frame shows beside what the matched template and the video itself predict.

A network learns slowly to multiply a picture by another. So the comparisons that any reader of a known
skin would make are made here and given to it as channels; it learns when to believe them. The video's own
rest picture, the median of its panels, serves every skin, and is all there is for one that nobody drew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from extraction.rectify import (
    BUTTON_MARGIN,
    BUTTON_TILE,
    PANEL_WH,
    STICK_TILE,
    TILE_XY,
    WORKING_WIDTH,
    tile_map,
    tile_size,
)
from extraction.sticks import FAINT, HALF, StickFit
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, DPAD, STICKS, THUMB_OF, States
from templates.draw import Raster, draw
from templates.scene import Scene

# px; the template's own pictures are drawn about as wide as the overlay is in the frame: as sharp as it can be there
REFERENCE_WIDTHS: Final = (92, 108, 128, 150, 174, WORKING_WIDTH)
FRAME_CHANNELS: Final = 10  # of each frame: colours 3, misfits 4, leanings 2, misfit 1
STICK_MISFITS: Final = [6, 9]  # the channels: of the stick's picture alone, and of all that its tile shows
REFERENCE_CHANNELS: Final = 13  # of a placement: rest 4, pressed 4, stick units 2, the video's own rest 3
REACH: Final = 1.2  # of full tilt: no stick is looked for beyond it
_MARGIN: Final = round(BUTTON_TILE * BUTTON_MARGIN / (1 + 2 * BUTTON_MARGIN))  # px of a tile around its control
STANDING: Final = 0.25  # of full scale; a rest picture that deviates more shows a stick that was held somewhere
_BUTTONS: Final = (slice(5 * BUTTON_TILE), slice(STICK_TILE, None))  # rows and columns of the buttons' tiles


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A template as the parser sees it.

    panels: (10, 88, 108) float32, at rest RGBA, everything pressed RGBA (both premultiplied), and each stick
    pixel's place in stick units (x, y; 0 at the neutral, 1 at full tilt).
    sticks: for each stick, how to find it; None for one without a picture.
    """

    panels: Tensor
    sticks: tuple[StickFit | None, ...]

    def to(self, device: torch.device | str) -> Reference:
        """The same on another device."""
        return Reference(self.panels.to(device), tuple(each and each.to(device) for each in self.sticks))

    def beside(self, rest: Tensor) -> Tensor:
        """With the rest pictures (N, 3, 88, 108) of N videos: (N, 13, 88, 108), the parser's reference channels."""
        return torch.cat([self.panels.expand(len(rest), -1, -1, -1), rest], 1)


def reference_width(overlay_px: float) -> int:
    """Of the widths that references are drawn at, the one for an overlay ``overlay_px`` wide in the frame."""
    return min(REFERENCE_WIDTHS, key=lambda width: abs(width - overlay_px))


def reference_of(template: Template, raster: Raster) -> Reference:
    """The reference of a template, whose ``raster`` is one of the ``REFERENCE_WIDTHS`` wide."""
    looks = (States.rest(), States.all_pressed())
    drawings = torch.cat([draw(raster, look) for look in looks])
    panels = _cut(template.scene, drawings, raster.scale)
    if any(part.kind == "nine_state" for part in template.scene.parts):
        _press_one_by_one(panels[1], template.scene, raster)
    units = torch.from_numpy(tile_map(template.scene)[1]).permute(2, 0, 1).to(drawings.device).clamp(-3, 3)
    reference = Reference(torch.cat([panels.flatten(0, 1), units]), (None,) * len(STICKS))
    sticks = [
        _fit(reference, template.scene, raster, stick) if stick in template.scene.sticks else None for stick in STICKS
    ]
    return blank(replace(reference, sticks=tuple(sticks)), template.scene.undrawn)


def blank(reference: Reference, controls: Iterable[str]) -> Reference:
    """The same without the pictures of some controls, as of a skin that nobody drew: geometry is left."""
    panels, hidden = reference.panels.clone(), set(controls)
    for control in hidden:
        panels[:8][(..., *_tile(control))] = 0
    sticks = tuple(None if name in hidden else fit for name, fit in zip(STICKS, reference.sticks, strict=True))
    return Reference(panels, sticks)


def complete(reference: Reference, scene: Scene, rest: Tensor) -> Reference:
    """The same in which every stick has a picture: one that is not drawn looks as the video shows it at rest.

    ``rest``: (3, 88, 108), the video's own rest picture.
    """
    sticks = list(reference.sticks)
    for i, stick in enumerate(STICKS):
        if stick in scene.sticks and sticks[i] is None:
            disc = _disc(scene, stick).to(rest.device)[None]
            cap = torch.cat([functional.avg_pool2d(rest[(..., *_tile(stick))], 2) * disc, disc])
            sticks[i] = StickFit.of(cap.expand(2, -1, -1, -1), None, _reachable(reference, stick), False)
    return replace(reference, sticks=tuple(sticks))


def undo_look(panels: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Frames as they would be if the overlay were drawn opaque and in its own colours.

    panels: (N, ..., 3, 88, 108) in [0, 1], showing ``gain * drawing + offset`` where the drawing is opaque;
    gain (N,) and offset (N, 3) as in ``Placement``. Values stay in [-0.5, 1.5].
    """
    between = (1,) * (panels.dim() - 4)
    offset = offset.reshape(len(offset), *between, 3, 1, 1)
    return ((panels - offset) / gain.reshape(len(gain), *between, 1, 1, 1)).clamp(-0.5, 1.5)


def compare(panels: Tensor, reference: Reference, rest: Tensor, gone: Tensor | None = None) -> Tensor:
    """How frames misfit what is expected: (N, 3, 88, 108) of nominal range [0, 1] -> (N, 7, 88, 108).

    ``rest``: (N or 1, 3, 88, 108), the video's own rest picture. Channel 0: distance from the template's
    picture at rest, where that is opaque. 1: from the pressed picture. 2: from ``rest``. 3, in stick tiles:
    how badly the stick's picture fits when centred on the pixel, standardised over the tile; its minimum is
    the stick's likeliest place. 4 and 5, even over each button's tile: towards which of the template's two
    pictures the whole tile leans, from -1, released, to 1, and how much of the way from one to the other it
    has gone since ``rest``, 0 to 1. A press may change few pixels, each less than the encoder does. ``gone``: (N, 17)
    the latter as it was measured elsewhere, NaN where it was not. 6: like 3, of the whole tile with the stick over what
    is beneath it, after what ``rest`` has beside the template's picture at rest is taken out: a game that stands still.
    """
    found = torch.zeros(len(panels), FRAME_CHANNELS - 3, *panels.shape[2:], device=panels.device)
    distances, leanings = _compare_pictures(panels, reference.panels[:4], reference.panels[4:8], rest)
    for i, distance in enumerate(distances):
        found[:, i] = distance
    if gone is not None:
        tiles = leanings[1].view(len(panels), -1)
        tiles[:, : len(BUTTONS)] = torch.where(gone.isnan(), tiles[:, : len(BUTTONS)], gone.clamp(-1, 2))
    for i, leaning in enumerate(leanings):
        found[:, 4 + i, *_BUTTONS] = leaning.repeat_interleave(BUTTON_TILE, 1).repeat_interleave(BUTTON_TILE, 2)
    for stick, fit in zip(STICKS, reference.sticks, strict=True):
        if fit is not None:
            tile = (..., *_tile(stick))
            released = reference.panels[:4][tile]
            standing = (released[3] * rest[tile] - released[:3]).clamp(-STANDING, STANDING)
            found[:, 3][tile], found[:, 6][tile], lean = fit.misfits(panels[tile], standing)
            if lean is not None:
                found[:, 4][(..., *_tile(THUMB_OF[stick]))] = lean[:, None, None]
    return found


def _compare_pictures(
    panels: Tensor, released: Tensor, pressed: Tensor, rest: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Channels 0 to 2 of ``compare`` as (N, 88, 108), and 4 and 5 as (N, 5, 4), one value for each button's tile.

    released, pressed: (4, 88, 108), the template's pictures.
    """
    apart = [(panels * look[3]).sub_(look[:3]) for look in (released, pressed)]
    since = panels - rest
    change = (pressed[:3] - released[:3])[(..., *_BUTTONS)]
    room = _tile_means(change.square().sum(0)[None]) + FAINT
    misfits = [each[(..., *_BUTTONS)].square().sum(1) for each in apart]
    nearer = _tile_means(misfits[0] - misfits[1]) / room
    gone = _tile_means((since[(..., *_BUTTONS)] * change).sum(1)) / room
    distances = [each.abs_().mean(1) for each in (*apart, since)]
    return distances, [nearer.clamp(-2, 2), gone.clamp(-1, 2)]


def _tile_means(values: Tensor) -> Tensor:
    """(N, 80, 64) -> (N, 5, 4), the mean over each button's tile, its margin left out: neighbours light up there."""
    tiles = values.reshape(len(values), 5, BUTTON_TILE, 4, BUTTON_TILE)
    means: Tensor = tiles[:, :, _MARGIN:-_MARGIN, :, _MARGIN:-_MARGIN].mean((2, 4))
    return means


def _press_one_by_one(pressed: Tensor, scene: Scene, raster: Raster) -> None:
    """Give each d-pad tile (4, 88, 108) its own direction's look: a nine-state sprite shows no two opposites."""
    for control in DPAD:
        states = States.rest()
        states.buttons[0, BUTTON_INDEX[control]] = True
        tile = (..., *_tile(control))
        pressed[tile] = _cut(scene, draw(raster, states), raster.scale)[0][tile]


def _tile(control: str) -> tuple[slice, slice]:
    """Rows and columns of a control's tile."""
    (x, y), size = TILE_XY[control], tile_size(control)
    return slice(y, y + size), slice(x, x + size)


def _fit(reference: Reference, scene: Scene, raster: Raster, stick: str) -> StickFit:
    """How to find a stick that is drawn."""
    looks = (States.rest(), States.all_pressed())
    alone = torch.cat([draw(only_stick(raster, stick, tilted), look) for tilted, look in enumerate(looks)])
    beneath = draw(_without(raster, stick), _rest_and_used(scene, stick))
    caps, bodies = (
        functional.avg_pool2d(_cut(scene, each, raster.scale)[(..., *_tile(stick))], 2) for each in (alone, beneath)
    )
    return StickFit.of(caps, bodies, _reachable(reference, stick), _clicks(scene, stick))


def _reachable(reference: Reference, stick: str) -> Tensor:
    """The pixels of a stick's tile where it can be: (44, 44) bool."""
    return (reference.panels[8:][(..., *_tile(stick))].abs() <= REACH).all(0)


def _clicks(scene: Scene, stick: str) -> bool:
    """Whether a click of a stick shows in its moving picture, and that looks the same tilted."""
    moves = [part for part in scene.parts if part.kind == "move" and part.stick == stick]
    return any(part.pressed is not None and part.off_centre is None for part in moves)


def _disc(scene: Scene, stick: str) -> Tensor:
    """(22, 22) coverage of a stick's tile by its moving picture at rest, taken for an ellipse."""
    geometry = scene.sticks[stick]
    at = (torch.arange(HALF) + 0.5) * (2 / HALF) - 1  # pixel centres in half tiles
    across, down = (at * (geometry.extent[i] / (geometry.size[i] / 2)) for i in (0, 1))
    radius = (across.square() + down[:, None].square()).sqrt()  # 1 on the picture's rim
    return ((1 - radius) * HALF / 4 + 0.5).clamp(0, 1)


def only_stick(raster: Raster, stick: str, tilted: int) -> Raster:
    """The raster with nothing but one stick's moving picture; as it looks ``tilted`` where that differs."""
    layers = []
    for layer in raster.layers:
        if layer.part.kind == "move" and layer.part.stick == stick:
            if tilted and layer.part.off_centre is not None:
                layer = replace(layer, images=layer.images[-1:].expand_as(layer.images))
            layers.append(layer)
    return Raster(raster.size_wh, raster.scale, tuple(layers))


def _without(raster: Raster, stick: str) -> Raster:
    """The raster without one stick's moving picture."""
    layers = [layer for layer in raster.layers if not (layer.part.kind == "move" and layer.part.stick == stick)]
    return replace(raster, layers=tuple(layers))


def _rest_and_used(scene: Scene, stick: str) -> States:
    """At rest, and as ``caps`` show a stick the second time: tilted where that looks different, else clicked."""
    states = States.rest(2)
    if any(part.kind == "move" and part.stick == stick and part.off_centre is not None for part in scene.parts):
        states.sticks[1, STICKS.index(stick)] = (1, 0)
    else:
        states.buttons[1, BUTTON_INDEX[THUMB_OF[stick]]] = True
    return states


def _cut(scene: Scene, drawings: Tensor, scale: float) -> Tensor:
    """Drawings (N, 4, H, W) at ``scale`` px per canvas unit -> panels (N, 4, 88, 108)."""
    points, _ = tile_map(scene)
    size = torch.tensor([drawings.shape[3], drawings.shape[2]])
    grid = (torch.from_numpy(points) * scale / size * 2 - 1).nan_to_num(nan=-9.0).to(drawings.device)
    assert grid.shape[:2] == PANEL_WH[::-1]
    return functional.grid_sample(drawings, grid.expand(len(drawings), -1, -1, -1), align_corners=False)
