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

from extraction.evidence import compare, join_pairs, reference_of, undo_look
from extraction.parse import stick_gain
from extraction.rectify import WORKING_WIDTH, tile_map
from synthetic.backgrounds import Backgrounds
from synthetic.degrade import Degradation, degrade, draw_degradation
from synthetic.pads import draw_pad
from synthetic.states import draw_state_pairs
from templates.catalogue import Template
from templates.controls import BUTTONS, CONTROLS, States
from templates.draw import Raster, draw, rasterise

GROUP: Final = 32
OVERLAY_WIDTHS: Final = (90.0, 500.0)  # px in the source frame
# Tiles are cut at no more than WORKING_WIDTH, so a wider overlay is composed at that.
RASTER_WIDTHS: Final = (92, 108, 128, 150, 174, WORKING_WIDTH)
PAD: Final = 0.06  # of the overlay's width, on every side: what a misplaced tile sees
PADS_SHARE: Final = 0.5
NO_REFERENCE: Final = 0.15  # share of samples that must be read without the template's pictures


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """N training pairs with their truth.

    pairs: (N, 16, 88, 216) float32, the parser's input. buttons: (N, 17) float32 of 0 and 1.
    known: (N, 17) bool, whether the overlay shows the button. sticks: (N, 2, 2) float32 in stick units.
    sticks_known: (N, 2) bool. gain: (N, 2, 2) float32, stick units per half tile.
    """

    pairs: Tensor
    buttons: Tensor
    known: Tensor
    sticks: Tensor
    sticks_known: Tensor
    gain: Tensor

    @classmethod
    def join(cls, batches: list[Batch]) -> Batch:
        """Several batches as one."""
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
        frames, opacity, backdrop = self._compose(raster, previous, current, rng)
        how = draw_degradation(rng, GROUP)
        panels = _cut_panels(template, degrade(frames, how), raster, _draw_poses(rng, raster))
        seen = rng.random(GROUP) >= NO_REFERENCE
        gain, offset = _draw_looks(rng, opacity, backdrop, how, seen)
        panels = undo_look(panels, gain.to(self._device), offset.to(self._device))
        return Batch(self._inputs(template, raster, panels, seen), *self._truth(template, current))

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

    def _compose(
        self, raster: Raster, previous: States, current: States, rng: np.random.Generator
    ) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Overlay over game: (GROUP, 2, 3, H, W) in [0, 1], padded by PAD on every side.

        With it the overlays' opacities (GROUP,) and the games' mean colours (GROUP, 3).
        """
        pad = _pad_px(raster)
        overlay = torch.stack([draw(raster, previous), draw(raster, current)], 1)
        overlay = functional.pad(overlay, (pad, pad, pad, pad))
        opaque = rng.random(GROUP) < 0.5
        opacity = np.where(opaque, 1.0, rng.uniform(0.35, 1.0, GROUP)).astype(np.float32)
        overlay = overlay * torch.from_numpy(opacity).to(self._device).view(-1, 1, 1, 1, 1)
        game = torch.from_numpy(self._backgrounds.sample_pairs(rng, GROUP)).to(self._device)
        game = game.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        game = functional.interpolate(game, size=overlay.shape[3:], mode="bilinear")
        game = game.reshape(overlay[:, :, :3].shape)
        return overlay[:, :, :3] + game * (1 - overlay[:, :, 3:]), opacity, game.mean((1, 3, 4)).cpu().numpy()

    def _inputs(self, template: Template, raster: Raster, panels: Tensor, seen: np.ndarray) -> Tensor:
        """(GROUP, 16, 88, 216); what comes from the template's pictures only where it is ``seen`` (GROUP,)."""
        reference = reference_of(template, raster)
        use = torch.from_numpy(seen).to(self._device)[:, None, None, None]
        misfits = compare(panels.flatten(0, 1), reference).reshape(panels.shape) * use[:, None]
        shared = reference.panels.expand(GROUP, -1, -1, -1).clone()
        shared[:, :8] *= use
        frames = torch.cat([panels, misfits], 2)
        return join_pairs(frames[:, 0], frames[:, 1], shared)

    def _truth(self, template: Template, states: States) -> tuple[Tensor, ...]:
        known = [name in template.scene.known for name in CONTROLS]
        arrays = (
            states.buttons.astype(np.float32),
            np.tile(known[: len(BUTTONS)], (GROUP, 1)),
            states.sticks,
            np.tile(known[len(BUTTONS) :], (GROUP, 1)),
            np.tile(stick_gain(template.scene), (GROUP, 1, 1)),
        )
        return tuple(torch.from_numpy(array).to(self._device) for array in arrays)


def _draw_width(rng: np.random.Generator) -> int:
    """A source width, log-uniform, as the raster width that stands for it."""
    width = np.exp(rng.uniform(*np.log(OVERLAY_WIDTHS)))
    return min(RASTER_WIDTHS, key=lambda candidate: abs(candidate - width))


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


def _draw_looks(
    rng: np.random.Generator, opacity: np.ndarray, backdrop: np.ndarray, how: Degradation, seen: np.ndarray
) -> tuple[Tensor, Tensor]:
    """What a localisation measures of each overlay's look, nearly right: gain (GROUP,), offset (GROUP, 3).

    Sometimes it measures nothing, and never without the template's pictures.
    """
    gain = how.gain * opacity * rng.normal(1, 0.03, GROUP)
    offset = (how.gain * (1 - opacity))[:, None] * backdrop + how.offset[:, None] + rng.normal(0, 0.02, (GROUP, 3))
    measured = seen & (rng.random(GROUP) < 0.85)
    gain, offset = np.where(measured, gain, 1.0), np.where(measured[:, None], offset, 0.0)
    return torch.from_numpy(gain.astype(np.float32)), torch.from_numpy(offset.astype(np.float32))


def _pad_px(raster: Raster) -> int:
    return round(PAD * raster.size_wh[0])


def _draw_poses(rng: np.random.Generator, raster: Raster) -> Tensor:
    """How a localisation errs: (GROUP, 2, 3), canvas px of the raster -> where the tiles are cut.

    Axis-aligned, like real placements: scale off by half a percent, position by half a pixel of the source.
    """
    scale = 1 + rng.normal(0, 0.004, (GROUP, 2))
    shift = rng.normal(0, 0.001 * raster.size_wh[0] + 0.3, (GROUP, 2))
    centre = np.array(raster.size_wh) / 2
    poses = np.zeros((GROUP, 2, 3), np.float32)
    poses[:, 0, 0], poses[:, 1, 1] = scale[:, 0], scale[:, 1]
    poses[:, :, 2] = shift + centre * (1 - scale)
    return torch.from_numpy(poses)


def _cut_panels(template: Template, frames: Tensor, raster: Raster, poses: Tensor) -> Tensor:
    """(GROUP, 2, 3, H, W) padded frames -> (GROUP, 2, 3, 88, 108) panels."""
    points = torch.from_numpy(tile_map(template.scene)[0]) * raster.scale
    placed = torch.einsum("nij,hwj->nhwi", poses[:, :, :2], points) + poses[:, None, None, :, 2] + _pad_px(raster)
    size = torch.tensor([frames.shape[4], frames.shape[3]])
    grid = (placed / size * 2 - 1).nan_to_num(nan=-9.0).to(frames.device)
    cut = functional.grid_sample(frames.flatten(1, 2), grid, align_corners=False)
    return cut.reshape(len(frames), 2, 3, *grid.shape[1:3])
