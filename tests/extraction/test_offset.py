"""A log that is shifted against the video is found out, and scored where it belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extraction.logs import Log
from extraction.offset import best_offset
from extraction.score import score
from templates.controls import BUTTONS, CONTROLS, States
from tests.extraction.conftest import human_log


def lagging(truth: Log, frames: int) -> Log:
    """Readings of an overlay that shows everything ``frames`` later than the log says; at rest outside of it."""
    late = Log.of_states(States.rest(len(truth)))
    read = slice(max(frames, 0), len(truth) + min(frames, 0))
    log = slice(max(-frames, 0), len(truth) - max(frames, 0))
    late.buttons[read], late.sticks[read] = truth.buttons[log], truth.sticks[log]
    return late


@settings(max_examples=15, deadline=None)
@given(frames=st.integers(-30, 30), seed=st.integers(0, 5))
def test_a_shifted_log_finds_its_shift(frames: int, seed: int) -> None:
    truth = human_log(seed=seed)
    found = best_offset(lagging(truth, frames), truth, CONTROLS)
    assert found is not None and found.frames == frames
    assert found.seconds == pytest.approx(frames / 60)


@pytest.mark.parametrize("frames", [-30, -7, -1, 0, 1, 4, 30])
def test_at_its_shift_a_perfect_log_scores_one(frames: int) -> None:
    truth = human_log()
    truth.buttons[:31] = truth.buttons[-31:] = False  # so that no press is cut off
    truth.triggers[:] = np.nan
    late = lagging(truth, frames)
    found = best_offset(late, truth, BUTTONS)
    assert found is not None and found.agreement == pytest.approx(1)
    assert found.scores.macro_f1 == found.scores.onset_f1 == found.scores.release_f1 == found.scores.coverage == 1
    assert found.scores.frames == 400 - abs(frames)
    at_zero = score(late, truth, BUTTONS).onset_f1
    assert at_zero == 1 if frames == 0 else at_zero is not None and at_zero < 1


def test_a_stick_of_another_scale_still_tells_the_time() -> None:
    truth = human_log()
    late = lagging(truth, 5)
    found = best_offset(replace(late, sticks=0.4 * late.sticks + 0.1), truth, ["j_left"])
    assert found is not None and found.frames == 5


def test_a_video_that_begins_at_another_frame_than_the_log_meets_it_by_number() -> None:
    truth = human_log()
    rows = np.arange(100, 300)
    found = best_offset(truth[rows], truth, CONTROLS)
    assert found is not None and found.frames == 0
    assert found.scores.frames == 200 and found.scores.coverage == 1


def test_nothing_read_or_nothing_moving_tells_no_time() -> None:
    truth = human_log()
    assert best_offset(Log.of_states(States.rest(0)), truth, CONTROLS) is None
    assert best_offset(Log.of_states(States.rest(400)), truth, CONTROLS) is None
    assert best_offset(truth, Log.of_states(States.rest(400)), CONTROLS) is None
    assert best_offset(truth, truth, ()) is None


def test_a_clip_shorter_than_the_search_is_searched_as_far_as_half_of_it_remains() -> None:
    truth = human_log(length=20)
    found = best_offset(truth, truth, CONTROLS)
    assert found is not None and found.frames == 0
