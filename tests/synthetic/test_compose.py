"""Training pictures: reproducible, varied, and true to their labels."""

import numpy as np
import pytest
import torch

from extraction.evidence import FRAME_CHANNELS, REFERENCE_CHANNELS
from extraction.rectify import BUTTON_TILE, TILE_XY
from synthetic.backgrounds import Backgrounds
from synthetic.compose import GROUP, OVERLAY_WIDTHS, UNDRAWN, Batch, Composer
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
    for name in Batch.__dataclass_fields__:
        assert torch.equal(getattr(alone, name), getattr(after_others, name)), name
    assert not torch.equal(alone.current, composer(seed=1).group(3).current)


def test_a_batch_holds_what_the_parser_takes() -> None:
    batch = composer().batch(0, 2)
    assert batch.previous.shape == batch.current.shape == (2 * GROUP, FRAME_CHANNELS, 88, 108)
    assert batch.reference.shape == (2 * GROUP, REFERENCE_CHANNELS, 88, 108)
    assert all(getattr(batch, name).isfinite().all() for name in ("previous", "current", "reference"))
    assert batch.buttons.shape == batch.known.shape == (2 * GROUP, 17)
    assert batch.sticks.abs().max() <= 2  # as they stand in tiles that may be off


def test_unknown_controls_are_marked_and_black() -> None:
    groups = [composer(0, "snes/dark").group(i) for i in range(6)]
    snes = next(group for group in groups if not group.sticks_known.any())  # the others are random pads
    x, y = TILE_XY["guide"]
    tile = snes.reference[:, :8, y : y + BUTTON_TILE, x : x + BUTTON_TILE]
    assert not snes.known[:, BUTTONS.index("guide")].any()
    assert not tile.any()


def test_some_samples_are_read_without_the_templates_pictures() -> None:
    reference = torch.cat([composer().group(i).reference for i in range(8)])
    blank = ~reference[:, :8].flatten(1).any(1)
    assert blank.float().mean() == pytest.approx(UNDRAWN / 2, abs=0.08)  # the other half lacks some of them
    assert reference[blank, 10:].flatten(1).any(1).all()  # the video's own rest picture is always there


def test_the_rest_picture_shows_what_the_frames_have_in_common() -> None:
    group = composer(0, "snes/dark").group(0)
    apart = (group.current[:, :3] - group.reference[:, 10:]).abs().mean((1, 2, 3))
    assert apart.median() < 0.2


def test_random_pads_are_whole_scenes_that_differ() -> None:
    scenes: list[Scene] = [draw_pad(np.random.default_rng(i)).scene for i in range(20)]
    assert len({scene.model_dump_json() for scene in scenes}) == 20
    for scene in scenes:
        assert scene.sticks
        assert set(BUTTONS) - {"left_thumb", "right_thumb"} <= set(scene.known)


def test_degradation_keeps_shape_and_range_and_treats_a_pair_alike() -> None:
    picture = torch.rand(8, 1, 3, 50, 70).expand(-1, 3, -1, -1, -1)
    for seed in range(6):
        how = draw_degradation(np.random.default_rng(seed), 8)
        out = degrade(picture, how)
        assert out.shape == picture.shape
        assert out.min() >= 0 and out.max() <= 1
        assert (out[:, 0] - out[:, 1]).abs().mean() <= 2.5 * how.noise + 1e-3


def test_overlays_are_trained_from_90_to_500_pixels() -> None:
    assert pytest.approx((90, 500)) == OVERLAY_WIDTHS
