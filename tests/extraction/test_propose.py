"""A skin that no template knows is suspected where a pad comes alive, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from extraction.propose import MAP_CHANNELS, SUSPECTED, Proposal, Proposer, map_still, overlap
from synthetic.split import is_unseen
from synthetic.states import draw_states
from synthetic.windows import paste, play
from templates.catalogue import library
from templates.controls import States
from templates.draw import rasterise
from tests.extraction.test_locate import moving_game

COUNT = 25


def propose(name: str, states: States, width_px: int, centre: tuple[int, int]) -> tuple[Proposal, float]:
    """What is proposed over a moving game with a pad, and the IoU with its box."""
    assert is_unseen(name)
    frames, template = np.stack(moving_game(COUNT)), library()[name]
    pad = play(template, rasterise(template, width_px), states)
    height, width = pad.pictures.shape[1:3]
    paste(frames, pad, np.array([*centre, width, height]), 1.0)
    proposal = Proposer.load().propose(list(frames))[0]
    return proposal, overlap(proposal.box_xywh, (centre[0] - width / 2, centre[1] - height / 2, width, height))


def hands() -> States:
    return draw_states(np.random.default_rng(3), COUNT * 20, 20.0)[::20]


@pytest.mark.parametrize(
    ("name", "width_px", "centre"),
    [("xbox_360/sunken", 260, (1100, 580)), ("arcade_pad/sunken", 300, (300, 560))],
)
def test_a_drawing_that_training_never_saw_is_suspected_where_it_is(
    name: str, width_px: int, centre: tuple[int, int]
) -> None:
    proposal, iou = propose(name, hands(), width_px, centre)
    assert proposal.score >= SUSPECTED
    assert iou >= 0.8


def test_a_picture_of_a_pad_is_not_suspected() -> None:
    proposal, _ = propose("xbox_360/sunken", States.rest(COUNT), 260, (1100, 580))
    assert proposal.score < SUSPECTED


def test_a_game_alone_is_not_suspected() -> None:
    assert Proposer.load().propose(moving_game(COUNT))[0].score < SUSPECTED


@pytest.mark.parametrize("size_wh", [(48, 32), (90, 160)])
def test_a_small_picture_has_a_proposal_inside_of_it(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    frames = list(np.random.default_rng(0).integers(0, 256, (12, height, width, 3), dtype=np.uint8))
    x, y, w, h = Proposer.load().propose(frames)[0].box_xywh
    assert 0 <= x < x + w <= width
    assert 0 <= y < y + h <= height


def test_maps_tell_what_stands_still_from_what_moves_always_and_from_what_moves_sometimes() -> None:
    frames = np.full((COUNT, 4, 6, 3), 100, np.uint8)
    frames[::2, :, 2:4] = 200  # always
    frames[3:6, :, 4:] = 180  # in three of 25
    maps = map_still(frames)
    assert maps.shape == (MAP_CHANNELS, 4, 6)
    assert maps[:, 0, 0].tolist() == [100, 100, 100, 0, 0]
    assert maps[3:, 0, 2].tolist() == [100, 100]
    assert maps[:, 0, 4].tolist() == [100, 100, 100, 0, 80]
