"""Training pictures: reproducible, varied, and true to their labels."""

import numpy as np
import pytest
import torch

from extraction.rectify import BUTTON_TILE, TILE_XY
from synthetic.backgrounds import Backgrounds
from synthetic.compose import GROUP, OVERLAY_WIDTHS, Composer
from synthetic.degrade import degrade, draw_degradation
from synthetic.pads import draw_pad
from templates.catalogue import Template, library
from templates.controls import BUTTONS
from templates.scene import Scene


def composer(seed: int = 0, *names: str) -> Composer:
    chosen: dict[str, Template] = {name: library()[name] for name in names} or library()
    return Composer(chosen, Backgrounds(None), seed)


def test_a_group_depends_on_seed_and_number_alone() -> None:
    alone, after_others = composer().group(3), [composer().group(i) for i in range(4)][-1]
    assert torch.equal(alone.pairs, after_others.pairs)
    assert torch.equal(alone.buttons, after_others.buttons)
    assert not torch.equal(alone.pairs, composer(seed=1).group(3).pairs)


def test_a_batch_holds_what_the_parser_takes() -> None:
    batch = composer().batch(0, 2)
    assert batch.pairs.shape == (2 * GROUP, 16, 88, 216)
    assert batch.pairs.isfinite().all()
    assert batch.buttons.shape == batch.known.shape == (2 * GROUP, 17)
    assert batch.sticks.abs().max() <= 1


def test_unknown_controls_are_marked_and_black() -> None:
    groups = [composer(0, "snes/dark").group(i) for i in range(6)]
    snes = next(group for group in groups if not group.sticks_known.any())  # the others are random pads
    x, y = TILE_XY["guide"]
    tile = snes.pairs[:, 6:14, y : y + BUTTON_TILE, x : x + BUTTON_TILE]
    assert not snes.known[:, BUTTONS.index("guide")].any()
    assert not tile.any()


def test_random_pads_are_whole_scenes_that_differ() -> None:
    scenes: list[Scene] = [draw_pad(np.random.default_rng(i)).scene for i in range(20)]
    assert len({scene.model_dump_json() for scene in scenes}) == 20
    for scene in scenes:
        assert scene.has_sticks
        assert set(BUTTONS) - {"left_thumb", "right_thumb"} <= set(scene.known)


def test_degradation_keeps_shape_and_range_and_treats_a_pair_alike() -> None:
    picture = torch.rand(8, 1, 3, 50, 70).expand(-1, 2, -1, -1, -1)
    for seed in range(6):
        how = draw_degradation(np.random.default_rng(seed), 8)
        out = degrade(picture, how)
        assert out.shape == picture.shape
        assert out.min() >= 0 and out.max() <= 1
        assert (out[:, 0] - out[:, 1]).abs().mean() <= 2.5 * how.noise + 1e-3


def test_overlays_are_trained_from_90_to_500_pixels() -> None:
    assert pytest.approx((90, 500)) == OVERLAY_WIDTHS
