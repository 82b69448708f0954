"""Events are matched one to one, as many as possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.onsets import OnsetErrors, count_matches, count_phantoms, find_presses, find_releases, pair_onsets

events = st.sets(st.integers(0, 30), max_size=6).map(sorted)


@given(found=events, true=events, tolerance=st.integers(0, 3))
def test_matching_finds_the_most_pairs_and_is_symmetric(found: list[int], true: list[int], tolerance: int) -> None:
    def best(i: int, used: frozenset[int]) -> int:
        """The same count by trying everything."""
        if i == len(found):
            return 0
        partners = [t for t in true if abs(t - found[i]) <= tolerance and t not in used]
        return max([best(i + 1, used), *(1 + best(i + 1, used | {t}) for t in partners)])

    matches = count_matches(found, true, tolerance)
    assert matches == best(0, frozenset()) == count_matches(true, found, tolerance)


def test_presses_and_releases_are_the_edges_inside_the_rows() -> None:
    pressed = np.array([1, 1, 0, 0, 1, 0, 1], bool)
    assert find_presses(pressed).tolist() == [4, 6]
    assert find_releases(pressed).tolist() == [2, 5]


@pytest.mark.parametrize(
    ("found", "true", "errors"),
    [
        ([5], [5], OnsetErrors((0,), 0, 0)),
        ([7], [5], OnsetErrors((2,), 0, 0)),  # late
        ([4], [5], OnsetErrors((-1,), 0, 0)),  # early
        ([14], [5], OnsetErrors((), 1, 1)),  # too far to be the same press
        ([3, 5], [5], OnsetErrors((0,), 0, 1)),  # the exact one is the partner
        ([], [], OnsetErrors((), 0, 0)),
    ],
)
def test_an_onset_is_late_early_missed_or_extra(found: list[int], true: list[int], errors: OnsetErrors) -> None:
    assert pair_onsets(np.array(found, int), np.array(true, int), reach=8) == errors


@given(found=events, true=events)
def test_every_onset_is_accounted_for_once(found: list[int], true: list[int]) -> None:
    errors = pair_onsets(np.array(found, int), np.array(true, int), reach=8)
    assert len(errors.late) + errors.missed == len(true)
    assert len(errors.late) + errors.extra == len(found)
    assert errors.late.count(0) == len(set(found) & set(true))


def test_where_the_truth_is_pressed_all_the_time_nothing_is_a_phantom() -> None:
    assert count_phantoms(np.array([1, 0, 1], bool), np.ones(3, bool)) == 0
    assert count_phantoms(np.array([1, 0, 1], bool), np.zeros(3, bool)) == 2
