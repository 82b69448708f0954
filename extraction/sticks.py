"""How badly a stick's picture fits its tile at every place that it can reach.

All places are drawn once for a placement, alone and over what is beneath them. The squared distance of a tile from
each is then a sum over its pixels, their squares and colours times what was drawn: one matrix product a frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from extraction.rectify import STICK_TILE

HALF: Final = STICK_TILE // 2  # pictures are compared at half a tile's resolution, places are corners of its pixels
FAINT: Final = 1e-3  # of squared colour, mean over what is compared: pictures that differ less do not tell a press
UNREACHABLE: Final = 2.0  # standard deviations: the misfit of where a stick cannot be


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """``|alpha * frame - picture|^2`` of K looks of a stick at P places, as a product with a frame's terms.

    factors: (K * P, 4 * h * w) float32, for the frame's squared length and its three colours. constant, weight:
    (K, P), what is to be added to the product, and by what the sum is divided to be a mean over what is drawn.
    """

    factors: Tensor
    constant: Tensor
    weight: Tensor

    @classmethod
    def of(cls, pictures: Tensor) -> Squares:
        """pictures: (K, P, 4, h, w), premultiplied."""
        colour, alpha = pictures[:, :, :3], pictures[:, :, 3:]
        factors = torch.cat([alpha.square(), -2 * alpha * colour], 2).flatten(2).flatten(0, 1)
        return cls(factors, colour.square().sum((2, 3, 4)), 3 * alpha.square().sum((2, 3, 4)) + 1e-3)

    def to(self, device: torch.device | str) -> Squares:
        """The same on another device."""
        return Squares(self.factors.to(device), self.constant.to(device), self.weight.to(device))

    def of_frames(self, frames: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N, K, P) sums of squares."""
        terms = torch.cat([frames.square().sum(1, True), frames], 1).flatten(1)
        return (terms @ self.factors.T).reshape(-1, *self.constant.shape) + self.constant


@dataclass(frozen=True, slots=True, eq=False)
class StickFit:
    """One stick of a placement.

    alone: its pictures, [released, clicked or tilted] or one for both. over: the same over what is beneath them, None
    where that is not known. reachable: (44, 44) bool, the tile's pixels where it can be; near: (P,) bool, the same of
    the places. to_pixels: (44, sqrt P), how places make a pixel along either axis. apart: squared distance of a
    clicked stick from a released one, None where a click does not show in it.
    """

    alone: Squares
    over: Squares | None
    reachable: Tensor
    near: Tensor
    to_pixels: Tensor
    apart: float | None

    @classmethod
    def of(cls, caps: Tensor, bodies: Tensor | None, reachable: Tensor, clicks: bool) -> StickFit:
        """caps: (2, 4, 22, 22) premultiplied, [released, clicked or tilted], centred; bodies: the same beneath them."""
        furthest = float((reachable.nonzero() + 0.5 - HALF).abs().max()) / 2
        reach = min(HALF // 2, math.ceil(furthest + 0.25))  # a pixel is a mean over its corners
        apart = (caps[1, :3] - caps[0, :3]).square().sum()
        if bodies is not None:
            apart += (bodies[1, :3] - bodies[0, :3]).square().sum()
        looks = caps if apart > 0 else caps[:1]
        placed = _place(looks, reach)
        over = None
        if bodies is not None:
            over = Squares.of(placed + (1 - placed[:, :, 3:]) * bodies[: len(looks), None])
        corners = torch.arange(HALF // 2 - reach, HALF // 2 + reach + 1, device=caps.device)
        near = reachable[(2 * corners).clamp(max=STICK_TILE - 1)][:, (2 * corners).clamp(max=STICK_TILE - 1)]
        to_pixels = _to_pixels()[:, HALF // 2 - reach : HALF // 2 + reach + 1].to(caps.device)
        told = float(apart) if clicks and bodies is not None else None
        return cls(Squares.of(placed), over, reachable, near.flatten(), to_pixels, told)

    def to(self, device: torch.device | str) -> StickFit:
        """The same on another device."""
        return replace(
            self,
            alone=self.alone.to(device),
            over=self.over and self.over.to(device),
            reachable=self.reachable.to(device),
            near=self.near.to(device),
            to_pixels=self.to_pixels.to(device),
        )

    def misfits(self, tile: Tensor, standing: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of a stick alone and over what is beneath it, standardised, (N, 44, 44) each; and how it leans to a click.

        tile: (N, 3, 44, 44) of nominal range [0, 1]. standing: (N or 1, 3, 44, 44), what is taken off the tile before
        the whole of it is compared. The last from -1, released, to 1, (N,), or None where that does not show.
        """
        frame = functional.avg_pool2d(tile, 2)
        alone = self.alone.of_frames(frame) / self.alone.weight
        if self.over is None:
            misfit = self._at_pixels(alone)
            return misfit, misfit, None
        errors = self.over.of_frames(frame - functional.avg_pool2d(standing, 2))
        over = errors / self.over.weight
        return self._at_pixels(alone), self._at_pixels(over), self._lean_of_click(errors, over)

    def _at_pixels(self, misfit: Tensor) -> Tensor:
        """(N, K, P) -> (N, 44, 44) of the look that fits better, zero mean and unit deviation where it can be."""
        side = self.to_pixels.shape[1]
        pixels = self.to_pixels @ misfit.amin(1).reshape(-1, side, side) @ self.to_pixels.T
        inside = pixels[:, self.reachable]
        mean, spread = inside.mean(1)[:, None, None], inside.std(1)[:, None, None]
        return torch.where(self.reachable, (pixels - mean) / (spread + 1e-3), UNREACHABLE)

    def _lean_of_click(self, errors: Tensor, misfit: Tensor) -> Tensor | None:
        """A click travels with its stick, so the two pictures compete where that is. Both (N, K, P)."""
        if self.apart is None or errors.shape[1] < 2:
            return None
        place = misfit.amin(1).masked_fill(~self.near, torch.inf).argmin(1)
        released, clicked = errors[torch.arange(len(errors)), :, place].unbind(1)
        faint = FAINT * float(self.alone.weight.amax())
        return ((released - clicked) / (self.apart + faint)).clamp(-2, 2)


def _place(pictures: Tensor, reach: int) -> Tensor:
    """Centred pictures (K, 4, 22, 22) moved to places up to ``reach`` away: (K, P, 4, 22, 22), row by row."""
    padded = functional.pad(pictures, [reach] * 4)
    moved = padded.unfold(2, HALF, 1).unfold(3, HALF, 1).flip((2, 3))  # K, 4, rows, columns, 22, 22
    return moved.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def _to_pixels() -> Tensor:
    """(44, 23): corners of half-size pixels to the pixels of a tile, along one axis."""
    corners = torch.eye(HALF + 1)[None]
    finer = functional.interpolate(corners, size=STICK_TILE + 1, mode="linear", align_corners=True)[0]
    return ((finer[:, :-1] + finer[:, 1:]) / 2).T
