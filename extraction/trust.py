"""Whether a frame's confidence tells how often it is right."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

BINS: Final = 10
LEAST_CONFIDENT: Final = 0.05  # part of the frames


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float | None:
    """Expected calibration error: how far confidence and the part of right frames lie apart, in [0, 1].

    confidence: (T,) in [0, 1]. right: (T,) bool. Frames are put into 10 bins of equal count by their confidence
    (equal confidences share one), and the bins' distances are averaged by their size. None without a frame.

    >>> calibration_error(np.full(10, 0.75), np.arange(10) < 5)
    0.25
    """
    if not len(confidence):
        return None
    edges = np.quantile(confidence, np.arange(1, BINS) / BINS)
    place = np.searchsorted(edges, confidence, side="left")
    error = sum(
        abs(float(confidence[inside].sum() - right[inside].sum()))
        for inside in (place == each for each in np.unique(place))
    )
    return error / len(confidence)


def errors_caught(confidence: np.ndarray, right: np.ndarray) -> float | None:
    """Part of the wrong frames that lie in the least confident twentieth of all; None where none is wrong.

    Of frames as confident as the last of the twentieth it takes a part, whichever they are.

    >>> errors_caught(np.arange(100) / 100, np.arange(100) != 3)
    1.0
    """
    if right.all():
        return None
    count = math.ceil(LEAST_CONFIDENT * len(confidence))
    limit = np.partition(confidence, count - 1)[count - 1]
    below, level = confidence < limit, confidence == limit
    taken = below + level * ((count - below.sum()) / level.sum())
    return float(taken[~right].sum() / (~right).sum())
