"""When presses begin and end: read events against true ones, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


def find_presses(pressed: np.ndarray) -> np.ndarray:
    """Where a press begins, (N,) rows; one that is already held on the first row began before it."""
    return np.flatnonzero(pressed[1:] & ~pressed[:-1]) + 1


def find_releases(pressed: np.ndarray) -> np.ndarray:
    """The first released row after each press, (N,)."""
    return np.flatnonzero(~pressed[1:] & pressed[:-1]) + 1


def count_matches(found: Sequence[int] | np.ndarray, true: Sequence[int] | np.ndarray, tolerance: int) -> int:
    """The most pairs (found, true) at most ``tolerance`` apart, each used once; both sorted.

    >>> count_matches([4, 5], [5], tolerance=1)
    1
    """
    return len(_match(found, true, tolerance))


@dataclass(frozen=True, slots=True)
class OnsetErrors:
    """Read events beside true ones. late: found minus true of each pair, in rows; missed and extra have no partner."""

    late: tuple[int, ...]
    missed: int
    extra: int


def pair_onsets(found: np.ndarray, true: np.ndarray, reach: int) -> OnsetErrors:
    """Pair events with those nearest to them, at most ``reach`` rows away.

    Exact pairs are taken first, then those one row apart, and so on: a false press just before a true one that was
    read in time does not take its place.

    >>> pair_onsets(np.array([2, 10, 20]), np.array([10, 30]), reach=8)
    OnsetErrors(late=(0,), missed=1, extra=2)
    """
    late: list[int] = []
    for distance in range(reach + 1):
        pairs = _match(found, true, distance)
        late += [int(found[i] - true[j]) for i, j in pairs]
        found = np.delete(found, [i for i, _ in pairs])
        true = np.delete(true, [j for _, j in pairs])
    return OnsetErrors(tuple(late), len(true), len(found))


def count_phantoms(read: np.ndarray, possible: np.ndarray) -> int:
    """Read presses that stand alone: not one of their rows, nor the row before or after, may be pressed in truth.

    read: (T,) bool. possible: (T,) bool, whether the truth is pressed or leaves it open.
    """
    near = possible.copy()
    near[1:] |= possible[:-1]
    near[:-1] |= possible[1:]
    edges = np.flatnonzero(np.diff(read, prepend=False, append=False))
    return sum(not near[start:end].any() for start, end in list(pairwise(edges))[::2])


def _match(
    found: Sequence[int] | np.ndarray, true: Sequence[int] | np.ndarray, tolerance: int
) -> list[tuple[int, int]]:
    """Indices of the most pairs at most ``tolerance`` apart; both sorted.

    Taking the earliest partner first is optimal for equal tolerances on a line.
    """
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(found) and j < len(true):
        if abs(int(found[i]) - int(true[j])) <= tolerance:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return pairs
