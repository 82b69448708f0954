"""What the parser's map comes to."""

from __future__ import annotations

import pytest
import torch

from extraction.parse import settle
from extraction.rectify import STICK_TILE


def dip(at: tuple[float, float], depth: float) -> torch.Tensor:
    """A misfit that is 0 but for a round dip, two pixels wide: (1, 44, 44); ``at`` in half tiles."""
    pixels = (torch.arange(STICK_TILE) + 0.5) / (STICK_TILE / 2) - 1
    away = (pixels - at[0]).square() + (pixels[:, None] - at[1]).square()
    return (-depth * torch.exp(-away * (STICK_TILE / 2) ** 2 / 8))[None]


@pytest.mark.parametrize("at", [(0.0, 0.0), (0.31, -0.47), (-0.9, 0.9)])
def test_a_place_settles_in_a_clear_dip_beside_it(at: tuple[float, float]) -> None:
    coarse = torch.tensor([[at[0] + 0.07, at[1] - 0.05]])
    assert settle(coarse, dip(at, 5.0))[0].tolist() == pytest.approx(at, abs=0.02)


def test_a_shallow_dip_and_one_further_away_than_a_cell_move_nothing() -> None:
    place = torch.tensor([[0.1, 0.2]])
    assert torch.equal(settle(place, dip((0.15, 0.2), 1.0)), place)
    assert torch.equal(settle(place, dip((-0.6, 0.2), 5.0)), place)
