"""Training pairs: a template in two neighbouring states, over a moving game, as a parser would see it.

Samples come in groups that share a template, a size and the kinds of degradation, so that a group is
one batched composition. Sample i depends on (seed, i) alone: group i // GROUP on (seed, i // GROUP).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from extraction.evidence import blank, compare, complete, reference_of, reference_width, undo_look
from extraction.parse import stick_gain
from extraction.presses import press_filters, single_presses
from extraction.rectify import TILE_XY, tile_map, tile_size
from synthetic.backgrounds import Backgrounds
from synthetic.degrade import Degradation, degrade, draw_degradation, resize
from synthetic.pads import draw_pad
from synthetic.states import draw_rest_states, draw_state_pairs
from templates.catalogue import Template
from templates.controls import BUTTONS, CONTROLS, STICKS, States
from templates.draw import Raster, draw, rasterise

GROUP: Final = 32
PART: Final = 8  # samples composed at once: memory that is used again is faster than memory that is new
OVERLAY_WIDTHS: Final = (90.0, 500.0)  # px in the source frame
OFF_FILTERS: Final = 0.4  # px: as far off as tiles are, nearly, and alike for a group
OFF_GEOMETRY: Final = 0.08  # of a control's box: how far another skin's control lies from where it is taken to be
OFF_STICK: Final = 0.15  # of a stick's travel: its middle is measured where it sweeps
OFF_SIZE: Final = 0.1  # and its size, as a logarithm
PAD: Final = 0.06  # of the overlay's width, on every side: what a misplaced tile sees
PADS_SHARE: Final = 0.5
UNDRAWN: Final = 0.35  # share of samples that must be read without some or all of the template's pictures


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """N training pairs with their truth.

    previous, current: (N, 10, 88, 108) float32, two frames' channels; reference: (N, 13, 88, 108), see ``evidence``.
    buttons: (N, 17) float32 of 0 and 1.
    known: (N, 17) bool, whether the overlay shows the button. sticks: (N, 2, 2) float32 in stick units.
    sticks_known: (N, 2) bool. gain: (N, 2, 2) float32, stick units per half tile.
    """

    previous: Tensor
    current: Tensor
    reference: Tensor
    buttons: Tensor
    known: Tensor
    sticks: Tensor
    sticks_known: Tensor
    gain: Tensor

    @classmethod
    def join(cls, batches: list[Batch]) -> Batch:
        """Several batches as one. One alone is not copied."""
        if len(batches) == 1:
            return batches[0]
        names = cls.__dataclass_fields__
        return cls(*(torch.cat([getattr(batch, name) for batch in batches]) for name in names))


class Composer:
    """Draws groups from a fixed set of templates and backgrounds."""

    def __init__(
        self, templates: Mapping[str, Template], backgrounds: Backgrounds, seed: int, device: str = "cpu"
    ) -> None:
        self._templates = [templates[name] for name in sorted(templates)]
        self._backgrounds = backgrounds
        self._seed = seed
        self._device = torch.device(device)
        self._raster = lru_cache(maxsize=512)(self._rasterise)

    def batch(self, first_group: int, groups: int) -> Batch:
        """Groups ``first_group`` and following as one batch of ``groups * GROUP`` pairs."""
        return Batch.join([self.group(first_group + i) for i in range(groups)])

    @torch.inference_mode()
    def group(self, index: int) -> Batch:
        """Group ``index``: GROUP pairs of one template at one size."""
        rng = np.random.default_rng((self._seed, index))
        template, raster = self._draw_template(rng)
        previous, current = draw_state_pairs(rng, GROUP)
        states = [previous, current, draw_rest_states(rng, GROUP)]
        games = self._draw_games(rng)
        opacity = np.where(rng.random(GROUP) < 0.5, 1.0, rng.uniform(0.35, 1.0, GROUP)).astype(np.float32)
        how = draw_degradation(rng, GROUP)
        hidden = _draw_hidden(rng)
        looks_at, tiles = _draw_points(rng, template, raster, hidden)
        points = torch.from_numpy(looks_at).to(self._device)
        filters = self._press_filters(rng, template, raster)
        rendered = [
            self._render(
                raster, [each[part] for each in states], games[part], opacity[part], how.of(part), points[part], filters
            )
            for part in (slice(i, i + PART) for i in range(0, GROUP, PART))
        ]
        panels, gone = (torch.cat(parts) for parts in zip(*rendered, strict=True))
        gain, offset = _draw_looks(rng, opacity, _mean_colours(games[:, 1]), how, np.asarray(~hidden.all(1)))
        gain, offset = gain.to(self._device), offset.to(self._device)
        panels, gone = undo_look(panels, gain, offset), gone / gain[:, None, None]
        gone[:, :, ~filters.flatten(1).any(1)] = torch.nan
        return Batch(*self._inputs(template, raster, panels, gone, hidden), *self._truth(template, current, tiles))

    def _draw_template(self, rng: np.random.Generator) -> tuple[Template, Raster]:
        """A drawing of the library in its own or other colours, or a pad that nobody drew."""
        width_px = _draw_width(rng)
        if rng.random() < PADS_SHARE:
            pad = draw_pad(rng)
            return pad, rasterise(pad, width_px).to(self._device)
        which = int(rng.integers(len(self._templates)))
        return self._templates[which], _recolour(self._raster(which, width_px), rng)

    def _rasterise(self, which: int, width_px: int) -> Raster:
        return rasterise(self._templates[which], width_px).to(self._device)

    def _draw_games(self, rng: np.random.Generator) -> Tensor:
        """What is behind the overlays in the previous and the current frame and in the video's median.

        (GROUP, 3, 3, H, W) uint8.
        """
        pairs = torch.from_numpy(self._backgrounds.sample_pairs(rng, GROUP)).to(self._device)
        pairs = pairs.permute(0, 1, 4, 2, 3)
        still = torch.from_numpy(np.where(rng.random(GROUP) < 0.15, 1.0, rng.uniform(0, 0.4, GROUP)))
        return torch.cat([pairs, _fade(pairs[:, 1], still, rng)[:, None]], 1)

    def _press_filters(self, rng: np.random.Generator, template: Template, raster: Raster) -> Tensor:
        """The buttons' matched filters, as far off as a localisation is: (17, 3, H, W), of padded pictures."""
        filters = functional.pad(press_filters(template, draw(raster, single_presses())), [_pad_px(raster)] * 4)
        theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
        theta[0, :, 2] = torch.from_numpy(rng.normal(0, 2 * OFF_FILTERS, 2)) / torch.tensor(filters.shape[:1:-1])
        grid = functional.affine_grid(theta.expand(len(filters), -1, -1), list(filters.shape), align_corners=False)
        return functional.grid_sample(filters, grid.to(filters.device), align_corners=False)

    def _render(
        self,
        raster: Raster,
        states: list[States],
        games: Tensor,
        opacity: np.ndarray,
        how: Degradation,
        points: Tensor,
        filters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Panels of some samples, (N, 3, 3, 88, 108), cut out where ``points`` look: overlay over game, degraded.

        And how far each press has gone since rest in the first two of the three pictures: (N, 2, 17).
        """
        pad = _pad_px(raster)
        width, height = raster.size_wh
        size = (height + 2 * pad, width + 2 * pad)
        frames = resize(games.float().div_(255), size)
        alpha = torch.from_numpy(opacity).to(self._device).view(-1, 1, 1, 1)
        for i, each in enumerate(states):
            overlay = draw(raster, each) * alpha
            window = frames[:, i, :, pad : pad + height, pad : pad + width]
            window.mul_(1 - overlay[:, 3:]).add_(overlay[:, :3])
        frames = degrade(frames, how)
        said = frames.flatten(2) @ filters.flatten(1).T
        panels = functional.grid_sample(frames.flatten(1, 2), points, align_corners=False)
        return panels.reshape(*frames.shape[:3], *points.shape[1:3]), said[:, :2] - said[:, 2:]

    def _inputs(
        self, template: Template, raster: Raster, panels: Tensor, gone: Tensor, hidden: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The parser's channels of (GROUP, 3, 3, 88, 108) panels, without the template's pictures of what is hidden.

        gone: (GROUP, 2, 17), see ``compare``.
        """
        reference = reference_of(template, raster)
        rest = panels[:, 2]
        shared = reference.beside(rest)
        gone[torch.from_numpy(hidden[:, None, : len(BUTTONS)]).to(gone.device).expand_as(gone)] = torch.nan
        pairs = [torch.cat([panels[:, i], compare(panels[:, i], reference, rest, gone[:, i])], 1) for i in (0, 1)]
        for i in np.flatnonzero(hidden.any(1)).tolist():
            unknown = [name for name, is_hidden in zip(CONTROLS, hidden[i], strict=True) if is_hidden]
            alone = complete(blank(reference, unknown), template.scene, rest[i])
            shared[i] = alone.beside(rest[i : i + 1])[0]
            misfits = compare(panels[i, :2], alone, rest[i : i + 1], gone[i])
            for pair, misfit in zip(pairs, misfits, strict=True):
                pair[i, 3:] = misfit
        return pairs[0], pairs[1], shared

    def _truth(self, template: Template, states: States, tiles: np.ndarray) -> tuple[Tensor, ...]:
        """Sticks as they stand in their tiles: what is off for a whole video is for its calibration to take out."""
        known = [name in template.scene.known for name in CONTROLS]
        arrays = (
            states.buttons.astype(np.float32),
            np.tile(known[: len(BUTTONS)], (GROUP, 1)),
            ((states.sticks - tiles[:, :, 0]) / tiles[:, :, 1]).astype(np.float32),
            np.tile(known[len(BUTTONS) :], (GROUP, 1)),
            np.tile(stick_gain(template.scene), (GROUP, 1, 1)),
        )
        return tuple(torch.from_numpy(array).to(self._device) for array in arrays)


def _draw_width(rng: np.random.Generator) -> int:
    """A source width, log-uniform, as the raster width that stands for it: tiles are cut at no more than 200 px."""
    return reference_width(float(np.exp(rng.uniform(*np.log(OVERLAY_WIDTHS)))))


def _recolour(raster: Raster, rng: np.random.Generator) -> Raster:
    """The same overlay in other colours, half of the time: channels permuted, inverted, dimmed."""
    if rng.random() < 0.5:
        return raster
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.eye(3)[torch.from_numpy(rng.permutation(3))] * float(rng.uniform(0.7, 1.0))
    if rng.random() < 0.4:  # premultiplied inverse: alpha - colour
        matrix[:3, :3] *= -1
        matrix[:3, 3] = 1
    matrix = matrix.to(raster.layers[0].images.device)
    layers = [replace(layer, images=torch.einsum("ij,njhw->nihw", matrix, layer.images)) for layer in raster.layers]
    return replace(raster, layers=tuple(layers))


def _draw_hidden(rng: np.random.Generator) -> np.ndarray:
    """Of which controls each sample has no picture: (GROUP, 19) bool.

    None of most; of the rest either all, as of a skin that nobody drew, or some, as of one that was adopted from a
    video in which not every button is pressed.
    """
    undrawn = rng.random((GROUP, 1)) < UNDRAWN
    wholly = rng.random((GROUP, 1)) < 0.5
    share = np.where(wholly, 1.0, rng.uniform(0.2, 0.8, (GROUP, 1)))
    return np.asarray(undrawn & (rng.random((GROUP, len(CONTROLS))) < share))


def _draw_looks(
    rng: np.random.Generator, opacity: np.ndarray, backdrop: np.ndarray, how: Degradation, drawn: np.ndarray
) -> tuple[Tensor, Tensor]:
    """What a localisation measures of each overlay's look, nearly right: gain (GROUP,), offset (GROUP, 3).

    Sometimes it measures nothing, and never without the template's pictures.
    """
    gain = how.gain * opacity * rng.normal(1, 0.03, GROUP)
    offset = (how.gain * (1 - opacity))[:, None] * backdrop + how.offset[:, None] + rng.normal(0, 0.02, (GROUP, 3))
    measured = drawn & (rng.random(GROUP) < 0.85)
    gain, offset = np.where(measured, gain, 1.0), np.where(measured[:, None], offset, 0.0)
    return torch.from_numpy(gain.astype(np.float32)), torch.from_numpy(offset.astype(np.float32))


def _fade(games: Tensor, still: Tensor, rng: np.random.Generator) -> Tensor:
    """What the medians of videos show of their games: (GROUP, 3, H, W) uint8 -> the same.

    A mean of several pictures, of which ``still`` (GROUP,) is each one's own share: a game that does not move
    where the overlay is, is all that its median shows.
    """
    shares = torch.diag(still)
    for _ in range(3):
        shares[torch.arange(GROUP), torch.from_numpy(rng.permutation(GROUP))] += (1 - still) / 3
    faded = shares.float().to(games.device) @ games.flatten(1).float()
    return faded.reshape(games.shape).to(torch.uint8)


def _mean_colours(games: Tensor) -> np.ndarray:
    """(GROUP, 3, H, W) uint8 -> (GROUP, 3) in [0, 1], from some of the pixels."""
    return games[:, :, ::4, ::4].float().mean((2, 3)).div(255).cpu().numpy()


def _pad_px(raster: Raster) -> int:
    return round(PAD * raster.size_wh[0])


def _draw_points(
    rng: np.random.Generator, template: Template, raster: Raster, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the panels' pixels look, as a localisation errs: (GROUP, 88, 108, 2) float32.

    In a padded picture of the raster, as ``grid_sample`` counts: -1 and 1 are its outer edges, -9 is nowhere.
    A template that was found fits axis by axis: its scale is off by half a percent, its position by half a pixel.
    A skin that nobody drew borrows the geometry of another, fitted onto it: what is ``hidden`` (see ``_draw_hidden``)
    is off by some of its size.

    Also the same for the sticks' tiles: (GROUP, 2, 2, 2) float32, [left, right] x [shift, size] x [x, y]: where a
    tile's middle looks, in stick units from the neutral, and how large the tile is against the right size.
    """
    fine = ~hidden.all(1, keepdims=True)
    scale = 1 + rng.normal(0, 1, (GROUP, 2)) * np.where(fine, 0.004, 0.02)
    shift = rng.normal(0, 1, (GROUP, 2)) * np.where(fine, 0.001, 0.008) * raster.size_wh[0] + rng.normal(
        0, 0.3, (GROUP, 2)
    )
    middle = np.array(raster.size_wh) / 2
    points = np.repeat(tile_map(template.scene)[0][None] * np.float32(raster.scale), GROUP, 0)
    sticks = np.tile(np.array([[0, 0], [1, 1]], np.float32), (GROUP, len(STICKS), 1, 1))
    for control, box in template.scene.boxes.items():
        (x, y), size = TILE_XY[control], tile_size(control)
        centre, extent = (np.array(box[:2]) + np.array(box[2:]) / 2) * raster.scale, np.array(box[2:]) * raster.scale
        travel = np.array(template.scene.sticks[control].travel) * raster.scale if control in STICKS else None
        free = hidden[:, CONTROLS.index(control), None]
        moved = rng.normal(0, 1, (GROUP, 2)) * free
        moved *= OFF_GEOMETRY * extent if travel is None else OFF_STICK * travel
        larger = np.exp(rng.normal(0, OFF_SIZE, (GROUP, 1)) * free)
        tile = points[:, y : y + size, x : x + size]
        tile[:] = (tile - centre) * larger[:, None, None] + (centre + moved)[:, None, None]
        if travel is not None:
            seen_at = middle + scale * (centre + moved - middle) + shift
            sticks[:, STICKS.index(control), 0] = (seen_at - centre) / travel
            sticks[:, STICKS.index(control), 1] = scale * larger
    half_wh = middle + _pad_px(raster)
    points *= (scale / half_wh).astype(np.float32)[:, None, None]
    points += ((shift - middle * scale) / half_wh).astype(np.float32)[:, None, None]
    return np.nan_to_num(points, copy=False, nan=-9.0), sticks
