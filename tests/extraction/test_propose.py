"""An overlay that no template knows is placed where a pad comes alive, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from extraction.propose import MAP_CHANNELS, PLACED, Proposal, Proposer, map_still, overlap
from synthetic.split import is_unseen
from synthetic.states import draw_states
from synthetic.windows import Pad, paste, play
from templates.catalogue import library
from templates.controls import States
from templates.draw import rasterise
from tests.extraction.test_locate import moving_game

COUNT = 25
FAMILIES = {template.family for template in library().values()}


def pad_of(name: str, states: States, width_px: int) -> Pad:
    template = library()[name]
    return play(template, rasterise(template, width_px), states)


def propose(frames: np.ndarray) -> Proposal:
    return Proposer.load().propose(list(frames), FAMILIES)


def hands() -> States:
    return draw_states(np.random.default_rng(3), COUNT * 20, 20.0)[::20]


@pytest.mark.parametrize(
    ("name", "width_px", "centre"), [("gamecube/sunken", 260, (1100, 580)), ("snes/sunken", 220, (300, 560))]
)
def test_a_drawing_that_training_never_saw_is_placed(name: str, width_px: int, centre: tuple[int, int]) -> None:
    assert is_unseen(name)
    frames, pad = np.stack(moving_game(COUNT)), pad_of(name, hands(), width_px)
    height, width = pad.pictures.shape[1:3]
    paste(frames, pad, np.array([*centre, width, height]), 1.0)
    found = propose(frames)
    assert found.certainty >= PLACED
    assert found.family == library()[name].family
    assert overlap(found.box_xywh, (centre[0] - width / 2, centre[1] - height / 2, width, height)) >= 0.8


def test_a_picture_of_a_pad_is_not_placed() -> None:
    frames, pad = np.stack(moving_game(COUNT)), pad_of("gamecube/sunken", States.rest(COUNT), 260)
    paste(frames, pad, np.array([1100, 580, 260, 190]), 1.0)
    assert propose(frames).certainty < PLACED


def test_a_game_alone_is_not_placed() -> None:
    assert propose(np.stack(moving_game(COUNT))).certainty < PLACED


def test_maps_tell_what_stands_still_from_what_moves_always_and_from_what_moves_sometimes() -> None:
    frames = np.full((COUNT, 4, 6, 3), 100, np.uint8)
    frames[::2, :, 2:4] = 200  # always
    frames[3:6, :, 4:] = 180  # in three of 25
    maps = map_still(frames)
    assert maps.shape == (MAP_CHANNELS, 4, 6)
    assert maps[:, 0, 0].tolist() == [100, 100, 100, 0, 0]
    assert maps[3:, 0, 2].tolist() == [100, 100]
    assert maps[:, 0, 4].tolist() == [100, 100, 100, 0, 80]
