"""Drawn states are legal, look like play, and depend on their seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthetic.states import draw_state_pairs, draw_states
from templates.controls import BUTTON_INDEX, TRIGGER_SLICE, States


def assert_legal(states: States) -> None:
    up, down, left, right = (states.buttons[:, BUTTON_INDEX[f"dpad_{way}"]] for way in ("up", "down", "left", "right"))
    assert not (up & down).any()
    assert not (left & right).any()
    assert np.abs(states.sticks).max() <= 1
    assert states.triggers.min() >= 0
    assert states.triggers.max() <= 1
    assert (states.buttons[:, TRIGGER_SLICE] == (states.triggers >= 0.5)).all()
    assert (states.sticks.dtype, states.triggers.dtype) == (np.float32, np.float32)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 700), fps=st.sampled_from([24.0, 30.0, 59.94, 60.0]))
def test_a_sequence_of_any_length_is_legal(seed: int, length: int, fps: float) -> None:
    states = draw_states(np.random.default_rng(seed), length, fps)
    assert len(states) == length
    assert_legal(states)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 64))
def test_pairs_of_any_number_are_legal(seed: int, count: int) -> None:
    for states in draw_state_pairs(np.random.default_rng(seed), count):
        assert len(states) == count
        assert_legal(states)


def test_the_same_seed_draws_the_same_states() -> None:
    first, second = (draw_states(np.random.default_rng(7), 300) for _ in range(2))
    assert (first.buttons == second.buttons).all()
    assert (first.sticks == second.sticks).all()


def test_most_sequences_are_calm_and_some_are_busy() -> None:
    rates = [draw_states(np.random.default_rng(seed), 3600).buttons.mean() for seed in range(40)]
    assert 0.02 < np.mean(rates) < 0.09
    assert max(rates) > 2 * np.median(rates)


def test_sticks_rest_reach_full_tilt_and_move_without_jumping_mostly() -> None:
    sticks = np.concatenate([draw_states(np.random.default_rng(seed), 1200).sticks for seed in range(20)])
    tilt = np.hypot(sticks[..., 0], sticks[..., 1])
    assert 0.25 < (tilt < 0.1).mean() < 0.6
    assert (tilt > 0.97).mean() > 0.15
    assert (np.abs(np.diff(sticks, axis=0)).max((1, 2)) > 0.5).mean() < 0.1


def test_a_press_lasts_at_least_a_frame_and_at_most_some_seconds() -> None:
    pressed = np.concatenate(
        [draw_states(np.random.default_rng(seed), 3600).buttons[:, 0] for seed in range(20)] + [np.zeros(1, bool)]
    )
    edges = np.flatnonzero(np.diff(pressed.astype(int)))
    lengths = edges[1::2] - edges[::2]
    assert 3 <= np.median(lengths) <= 20
    assert lengths.max() < 12 * 60


def test_pairs_press_every_button_and_change_some() -> None:
    previous, current = draw_state_pairs(np.random.default_rng(0), 5000)
    assert (current.buttons.mean(0) > 0.08).all()
    assert 0.03 < (previous.buttons != current.buttons).mean() < 0.15
    assert 0.05 < (~current.buttons.any(1)).mean() < 0.3
    at_rest = np.hypot(current.sticks[..., 0], current.sticks[..., 1]) < 0.1
    assert 0.1 < at_rest.mean() < 0.35
    half = (current.triggers > 0.1) & (current.triggers < 0.9)
    assert 0.02 < half.mean() < 0.2


def test_presses_and_releases_are_equally_common_in_pairs() -> None:
    previous, current = draw_state_pairs(np.random.default_rng(1), 20000)
    press, release = (
        (current.buttons & ~previous.buttons).mean(),
        (previous.buttons & ~current.buttons).mean(),
    )
    assert press == pytest.approx(release, rel=0.15)


def test_no_states_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="at least one state"):
        draw_states(np.random.default_rng(0), 0)
