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
FAINT: Final = 1e-3  # of squared colour, mean over what is compared: pictures that differ less do not tell a press
STANDING: Final = 0.25  # of full scale; a rest picture that deviates more shows a stick that was held somewhere
_CAP: Final = STICK_TILE // 2  # stick pictures are slid at half resolution
_BUTTONS: Final = (slice(5 * BUTTON_TILE), slice(STICK_TILE, None))  # rows and columns of the buttons' tiles


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A template as the parser sees it.

    panels: (10, 88, 108) float32, at rest RGBA, everything pressed RGBA (both premultiplied), and each stick
    pixel's place in stick units (x, y; 0 at the neutral, 1 at full tilt).
    caps: (2, 2, 4, 22, 22) float32, [left, right] x [released, clicked or tilted] stick pictures, premultiplied,
    centred, one pixel to two of the tile; zero for a stick that is not shown.
    bodies: for each stick (1 or 2, 4, 22, 22) float32, what is beneath its pictures, beneath both or each; zero where
    that is not known. reach: for each stick, how far from its neutral it is looked for, in pixels of these pictures.
    clicks: for each stick, whether a click shows in its moving picture.
    """

    panels: Tensor
    caps: Tensor
    bodies: tuple[Tensor, ...]
    reach: tuple[int, ...]
    clicks: tuple[bool, ...]

    def to(self, device: torch.device | str) -> Reference:
        """The same on another device."""
        bodies = tuple(body.to(device) for body in self.bodies)
        return replace(self, panels=self.panels.to(device), caps=self.caps.to(device), bodies=bodies)

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
    caps = torch.zeros(len(STICKS), len(looks), 4, _CAP, _CAP, device=drawings.device)
    bodies = [torch.zeros_like(caps[0, :1])] * len(STICKS)
    for i, stick in enumerate(STICKS):
        if stick in template.scene.sticks:
            alone = torch.cat([draw(_only(raster, stick, tilted), look) for tilted, look in enumerate(looks)])
            beneath = draw(_without(raster, stick), _rest_and_used(template.scene, stick))
            caps[i], bodies[i] = (
                functional.avg_pool2d(_cut(template.scene, each, raster.scale)[(..., *_tile(stick))], 2)
                for each in (alone, beneath)
            )
            if torch.equal(*bodies[i]):
                bodies[i] = bodies[i][:1]
    clicks = tuple(_clicks(template.scene, stick) for stick in STICKS)
    reach = tuple(_reach(template.scene, stick) for stick in STICKS)
    reference = Reference(torch.cat([panels.flatten(0, 1), units]), caps, tuple(bodies), reach, clicks)
    return blank(reference, template.scene.undrawn)


def blank(reference: Reference, controls: Iterable[str]) -> Reference:
    """The same without the pictures of some controls, as of a skin that nobody drew: geometry is left."""
    panels, caps = reference.panels.clone(), reference.caps.clone()
    bodies, clicks = list(reference.bodies), list(reference.clicks)
    for control in controls:
        panels[:8][(..., *_tile(control))] = 0
        if control in STICKS:
            i = STICKS.index(control)
            caps[i], bodies[i], clicks[i] = 0, torch.zeros_like(bodies[i][:1]), False
    return replace(reference, panels=panels, caps=caps, bodies=tuple(bodies), clicks=tuple(clicks))


def complete(reference: Reference, scene: Scene, rest: Tensor) -> Reference:
    """The same in which every stick has a picture: one that is not drawn looks as the video shows it at rest.

    ``rest``: (3, 88, 108), the video's own rest picture.
    """
    caps = reference.caps.clone()
    for i, stick in enumerate(STICKS):
        if stick in scene.sticks and not caps[i].any():
            disc = _disc(scene, stick).to(rest.device)
            caps[i, :, :3] = functional.avg_pool2d(rest[(..., *_tile(stick))], 2) * disc
            caps[i, :, 3] = disc
    return replace(reference, caps=caps)


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
    for i, stick in enumerate(STICKS):
        caps, tile = reference.caps[i], (..., *_tile(stick))
        if caps[:, 3].any():
            released = reference.panels[:4][tile]
            standing = (released[3] * rest[tile] - released[:3]).clamp(-STANDING, STANDING)
            costs = _slide(panels[tile], caps, reference.reach[i])
            errors, weight = _slide_over(panels[tile] - standing, caps, reference.bodies[i], reference.reach[i])
            within = (reference.panels[8:][tile].abs() <= REACH).all(0)
            for channel, cost in ((3, costs), (6, errors / weight)):
                found[:, channel][tile] = _standardise(_at_pixels(cost.amin(1)), within)
            if reference.clicks[i]:
                lean = _lean_of_click(errors, weight, within, caps, reference.bodies[i])
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
    change = pressed[:3] - released[:3]
    room = _tile_means(change.square().sum(0)[None]) + FAINT
    nearer = _tile_means(apart[0].square().sum(1) - apart[1].square().sum(1)) / room
    gone = _tile_means((since * change).sum(1)) / room
    distances = [each.abs_().mean(1) for each in (*apart, since)]
    return distances, [nearer.clamp(-2, 2), gone.clamp(-1, 2)]


def _lean_of_click(errors: Tensor, weight: Tensor, within: Tensor, caps: Tensor, bodies: Tensor) -> Tensor:
    """From -1, released, to 1, clicked: (N,). A click travels with its stick, so the two pictures compete there."""
    far = functional.interpolate((~within)[None, None].float(), errors.shape[2:])[:, 0] > 0
    place = (errors / weight).amin(1).masked_fill(far, torch.inf).flatten(1).argmin(1)
    released, clicked = errors.flatten(2)[torch.arange(len(errors)), :, place].unbind(1)
    apart = (caps[1, :3] - caps[0, :3]).square().sum() + (bodies[-1, :3] - bodies[0, :3]).square().sum()
    lean: Tensor = (released - clicked) / (apart + FAINT * 3 * caps[0, 3].square().sum())
    return lean.clamp(-2, 2)


def _tile_means(values: Tensor) -> Tensor:
    """(N, 88, 108) -> (N, 5, 4), the mean over each button's tile, its margin left out: neighbours light up there."""
    tiles = values[(..., *_BUTTONS)].reshape(len(values), 5, BUTTON_TILE, 4, BUTTON_TILE)
    means: Tensor = tiles[:, :, _MARGIN:-_MARGIN, :, _MARGIN:-_MARGIN].mean((2, 4))
    return means


def _slide(tile: Tensor, caps: Tensor, reach: int) -> Tensor:
    """Misfit of stick pictures at places of a tile: (N, 3, 44, 44), (2, 4, 22, 22) -> (N, 2, 23, 23).

    The places are the corners of half-size pixels, 0 further than ``reach`` from the middle. The mean of
    ``|alpha * frame - picture|^2`` over the picture, expanded into correlations.
    """
    frame = functional.avg_pool2d(tile, 2)
    caps = _without_margin(caps)
    alpha = caps[:, 3:]
    inputs = torch.cat([frame.square().sum(1, True), frame], 1)
    fit = torch.cat([alpha.square(), -2 * alpha * caps[:, :3]], 1)
    inside = torch.ones_like(inputs[:1, :1])  # a picture that leaves the tile is judged by what is left of it
    constant = _correlate(inside, caps[:, :3].square().sum(1, True), reach)
    weight = _correlate(inside, 3 * alpha.square(), reach)
    return _all_places((_correlate(inputs, fit, reach) + constant) / (weight + 1e-3))


def _slide_over(tile: Tensor, caps: Tensor, bodies: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Like ``_slide``, of the whole tile with a stick over what is beneath it: ``bodies`` (1 or 2, 4, 22, 22).

    Sums of squares, and what they are to be divided by, (1, 2, 23, 23).

    A cap (a, c) drawn over a body makes ``alpha * frame - picture`` of it, E, into (a * frame - c) + (1 - a) E.
    """
    frame = functional.avg_pool2d(tile, 2)
    caps = _without_margin(caps)
    a, c, left = caps[:, 3:], caps[:, :3], 1 - caps[:, 3:]
    fit = torch.cat([a.square(), 2 * left * a, left.square() - 1, -2 * a * c, -2 * left * c], 1)
    shown = torch.cat([a.square(), 2 * left * a, left.square() - 1, c.square().sum(1, True)], 1)
    errors, weights = [], []
    for body, looks in zip(bodies, torch.arange(len(caps)).chunk(len(bodies)), strict=True):
        alpha, error = body[3:], body[3:] * frame - body[:3]
        squares = [(x * y).sum(1, True) for x, y in ((frame, frame), (frame, error), (error, error))]
        cost = _correlate(torch.cat([*squares, frame, error], 1), fit[looks], reach)
        cost += squares[2].sum((1, 2, 3))[:, None, None, None]
        inside = torch.ones_like(alpha)
        cost += _correlate(inside[None], shown[looks, 3:], reach)
        weight = _correlate(torch.cat([inside, alpha, alpha.square()])[None], shown[looks, :3], reach)
        errors.append(cost)
        weights.append(3 * (weight + alpha.square().sum()) + 1e-3)
    return _all_places(torch.cat(errors, 1)), _all_places(torch.cat(weights, 1)).clamp(min=1e-3)


def _correlate(inputs: Tensor, pictures: Tensor, reach: int) -> Tensor:
    """(N, C, 22, 22), (K, C, k, k) of even size -> (N, K, 2 reach + 1, 2 reach + 1), centred near the middle."""
    room = reach + pictures.shape[2] // 2 - _CAP // 2
    return functional.conv2d(functional.pad(inputs, [room] * 4), pictures)


def _all_places(costs: Tensor) -> Tensor:
    """Costs around the middle -> (N, K, 23, 23)."""
    return functional.pad(costs, [(_CAP + 1 - costs.shape[2]) // 2] * 4)


def _at_pixels(costs: Tensor) -> Tensor:
    """(N, 23, 23) at the corners of half-size pixels -> (N, 44, 44) at the pixels of a stick's tile."""
    size = (STICK_TILE + 1, STICK_TILE + 1)
    corners = functional.interpolate(costs[:, None], size=size, mode="bilinear", align_corners=True)
    return functional.avg_pool2d(corners, 2, stride=1)[:, 0]


def _without_margin(caps: Tensor) -> Tensor:
    """Pictures (K, 4, 22, 22) cut to the smallest centred square that holds them all; smaller ones slide faster."""
    filled = caps[:, 3].amax(0) > 0
    lines = (filled.any(0) | filled.any(1)).nonzero()
    margin = min(int(lines.min()), _CAP - 1 - int(lines.max()))
    return caps[..., margin : _CAP - margin, margin : _CAP - margin]


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
        tile = (..., *_tile(control))
        pressed[tile] = _cut(scene, draw(raster, states), raster.scale)[0][tile]


def _tile(control: str) -> tuple[slice, slice]:
    """Rows and columns of a control's tile."""
    (x, y), size = TILE_XY[control], tile_size(control)
    return slice(y, y + size), slice(x, x + size)


def _reach(scene: Scene, stick: str) -> int:
    """How far from the middle of its tile a stick is looked for, in half-size pixels and no further than the rim."""
    if stick not in scene.sticks:
        return 0
    geometry = scene.sticks[stick]
    furthest = max(geometry.travel[i] / geometry.extent[i] for i in (0, 1)) * REACH * _CAP / 2
    return min(_CAP // 2, int(furthest) + 2)  # a pixel's misfit is a mean over the places around it


def _clicks(scene: Scene, stick: str) -> bool:
    """Whether a click of a stick shows in its moving picture, and that looks the same tilted."""
    moves = [part for part in scene.parts if part.kind == "move" and part.stick == stick]
    return any(part.pressed is not None and part.off_centre is None for part in moves)


def _disc(scene: Scene, stick: str) -> Tensor:
    """(22, 22) coverage of a stick's tile by its moving picture at rest, taken for an ellipse."""
    geometry = scene.sticks[stick]
    at = (torch.arange(_CAP) + 0.5) * (2 / _CAP) - 1  # pixel centres in half tiles
    across, down = (at * (geometry.extent[i] / (geometry.size[i] / 2)) for i in (0, 1))
    radius = (across.square() + down[:, None].square()).sqrt()  # 1 on the picture's rim
    return ((1 - radius) * _CAP / 4 + 0.5).clamp(0, 1)


def _only(raster: Raster, stick: str, tilted: int) -> Raster:
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
