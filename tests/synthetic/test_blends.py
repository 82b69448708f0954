"""What is told of frames between two levels: which are looked at, and what is fitted to them."""

from __future__ import annotations

import numpy as np
import pytest

from synthetic.blends import AROUND, fit, near_changes


def test_the_fit_finds_the_line_that_frames_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    way = rng.uniform(0.3, 0.7, 20_000)
    held = rng.random(len(way)) < 1 / (1 + np.exp(-50 * (way - 0.52)))
    half, steep = fit(way, held)
    assert half == pytest.approx(0.52, abs=0.002)
    assert steep == pytest.approx(50, rel=0.05)


def test_only_changes_that_stand_alone_are_looked_at() -> None:
    held = np.zeros(60, bool)
    held[20:40] = True
    held[50:52] = True  # let go before it is over
    way = held.astype(float)
    way[19], way[40] = 0.4, 0.3
    ways, holds = near_changes(way, held)
    assert ways.shape == holds.shape == (2, 2 * AROUND)
    assert ways[0].tolist() == [0, 0, 0.4, 1, 1, 1]
    assert ways[1].tolist() == [1, 1, 1, 0.3, 0, 0]
    assert holds[0].tolist() == [False] * AROUND + [True] * AROUND


def test_a_button_that_something_hides_is_left_out() -> None:
    held = np.zeros(60, bool)
    held[20:40] = True
    late = np.roll(held, 1).astype(float)
    ways, _ = near_changes(late, held)
    assert not len(ways)
