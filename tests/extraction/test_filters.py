"""Chunks are cut by the frames' own time and kept when half of their timesteps hold an action."""

from __future__ import annotations

import numpy as np
import pytest

from extraction.filters import DEAD_ZONE, chunk_indices, find_active, judge_chunk
from extraction.records import Reason


@pytest.mark.parametrize(
    ("pts_s", "chunks"),
    [
        ([0.0, 19.99, 20.0, 40.0], [0, 0, 1, 2]),
        ([7.5, 27.49, 27.5], [0, 0, 1]),  # time counts from the first frame
        ([0.0, 100.0], [0, 5]),  # a gap leaves chunks out
        ([0.0, 25.0, 5.0, 45.0], [0, 1, 1, 2]),  # a jump back does not reopen a chunk
        ([], []),
    ],
)
def test_a_frame_belongs_to_the_chunk_of_its_own_time(pts_s: list[float], chunks: list[int]) -> None:
    assert chunk_indices(np.array(pts_s)).tolist() == chunks


def test_a_timestep_is_active_when_a_button_is_held_or_a_stick_is_out_of_the_dead_zone() -> None:
    buttons = np.zeros((5, 17), bool)
    sticks = np.zeros((5, 2, 2), np.float32)
    buttons[1, 16] = True
    sticks[2, 1] = (0, -1)
    sticks[3, 0] = (DEAD_ZONE * 0.9, 0)  # noise of a stick at rest
    sticks[4] = np.nan  # unknown
    assert find_active(buttons, sticks).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("active", "kept"),
    [(50, True), (49, False), (0, False), (100, True)],  # of 100: at least half
)
def test_a_chunk_needs_half_of_its_timesteps(active: int, kept: bool) -> None:
    verdict = judge_chunk(np.arange(100) < active, np.ones(100, bool))
    assert (verdict is None) == kept
    if verdict is not None:
        assert verdict.reason is Reason.INACTIVE
        assert f"{active} of 100" in verdict.detail


def test_the_share_is_an_option() -> None:
    active = np.arange(100) < 20
    assert judge_chunk(active, np.ones(100, bool), 0.2) is None
    assert judge_chunk(np.zeros(100, bool), np.ones(100, bool), 0.0) is None


def test_a_chunk_without_an_overlay_says_so() -> None:
    verdict = judge_chunk(np.zeros(10, bool), np.zeros(10, bool))
    assert verdict is not None
    assert verdict.reason is Reason.NOT_COVERED


def test_a_last_chunk_of_one_frame_is_judged_like_any_other() -> None:
    assert judge_chunk(np.array([True]), np.array([True])) is None
    assert judge_chunk(np.array([False]), np.array([True])) is not None
