"""Confidence that tells the truth has no calibration error; confidence that boasts has what it boasts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.trust import calibration_error, errors_caught


def test_confidence_that_is_as_often_right_as_it_says_has_next_to_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 50_000)
    assert calibration_error(confidence, rng.random(50_000) < confidence) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("claimed", "right", "error"),
    [
        (0.99, 8, 0.19),  # sure, and wrong in two of ten
        (0.5, 10, 0.5),  # too modest counts as much
        (1.0, 10, 0.0),
        (1.0, 0, 1.0),
    ],
)
def test_one_and_the_same_confidence_is_off_by_its_distance_from_the_truth(
    claimed: float, right: int, error: float
) -> None:
    assert calibration_error(np.full(10, claimed), np.arange(10) < right) == pytest.approx(error)


def test_errors_of_opposite_sign_do_not_cancel_across_bins() -> None:
    confidence = np.repeat([0.2, 0.8], 50)
    right = np.repeat([True, False], 50)  # the unsure half is right, the sure half wrong
    assert calibration_error(confidence, right) == pytest.approx(0.8)


def test_of_the_errors_those_in_the_least_confident_twentieth_are_caught() -> None:
    confidence = np.arange(100) / 100
    right = np.ones(100, bool)
    right[[0, 3, 60]] = False
    assert errors_caught(confidence, right) == pytest.approx(2 / 3)


def test_confidence_that_is_always_the_same_catches_what_chance_would() -> None:
    right = np.arange(100) >= 10  # the wrong ones come first, which must not matter
    assert errors_caught(np.full(100, 0.9), right) == pytest.approx(0.05)


def test_no_frame_and_no_error_is_no_figure() -> None:
    nothing = np.zeros(0)
    assert calibration_error(nothing, nothing.astype(bool)) is None
    assert errors_caught(nothing, nothing.astype(bool)) is None
    assert errors_caught(np.ones(9), np.ones(9, bool)) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_the_order_of_frames_does_not_matter(frames: list[tuple[float, bool]], random: object) -> None:
    def measure(given: list[tuple[float, bool]]) -> tuple[float | None, float | None]:
        confidence, right = np.array([c for c, _ in given]), np.array([r for _, r in given])
        return calibration_error(confidence, right), errors_caught(confidence, right)

    shuffled = list(frames)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert measure(frames) == pytest.approx(measure(shuffled))
    assert all(value is None or 0 <= value <= 1 for value in measure(frames))
