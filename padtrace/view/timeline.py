"""The labels of a video as its page wants them: a few frames in full, all of it in a few numbers, and its doubts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from extraction.filters import find_active
from extraction.logs import Log
from padtrace.reports import read_rows
from templates.controls import BUTTONS, CONTROLS

BINS: Final = 800  # of the overview
JOIN_S: Final = 0.5  # doubts that are closer than this are one
MAX_DOUBTS: Final = 300


def read_labels(actions: pq.ParquetFile, start: int, stop: int) -> dict[str, Any]:
    """Frames ``start`` to ``stop`` - 1, column by column.

    held, known: one integer a frame; bit i is ``BUTTONS[i]``, ``CONTROLS[i]``. sticks: [left x, left y, right x,
    right y], null where unknown. confidence: null where no overlay is placed.
    """
    log = Log.of_table(read_rows(actions, start, stop))
    return {
        "start": start,
        "time": log.time_s.tolist(),
        "held": _bits(log.buttons),
        "known": _bits(log.known),
        "sticks": _nullable(log.sticks.reshape(-1, 4)),
        "confidence": _nullable(np.where(log.known.any(1), log.confidence, np.nan)),
    }


def summarise(log: Log) -> dict[str, Any]:
    """A whole video in at most 800 bins of equally many frames.

    start: the first frame of each. active: part of its frames that hold an action. confidence: the lowest, null
    where no overlay is placed.
    """
    if not len(log):
        return {"start": [], "active": [], "confidence": []}
    starts = np.unique(np.linspace(0, len(log), min(BINS, len(log)), endpoint=False).astype(np.int64))
    counts = np.diff([*starts, len(log)])
    active = np.add.reduceat(find_active(log.buttons, log.sticks).astype(np.int64), starts) / counts
    lowest = np.minimum.reduceat(np.where(log.known.any(1), log.confidence, np.inf), starts)
    lowest[~np.isfinite(lowest)] = np.nan
    return {"start": starts.tolist(), "active": active.round(3).tolist(), "confidence": _nullable(lowest)}


def find_doubts(log: Log, below: float) -> list[dict[str, Any]]:
    """Spans of frames with a confidence below a limit, by time; of more than 300 those with the lowest.

    start_frame, end_frame (exclusive), start_s, confidence (the lowest).
    """
    doubtful = np.flatnonzero(log.known.any(1) & (log.confidence < below))
    if not len(doubtful):
        return []
    cuts = np.flatnonzero(np.diff(log.time_s[doubtful]) > JOIN_S) + 1
    spans = [
        {
            "start_frame": int(rows[0]),
            "end_frame": int(rows[-1]) + 1,
            "start_s": float(log.time_s[rows[0]]),
            "confidence": round(float(log.confidence[rows].min()), 4),
        }
        for rows in np.split(doubtful, cuts)
    ]
    worst = sorted(spans, key=lambda span: span["confidence"])[:MAX_DOUBTS]
    return sorted(worst, key=lambda span: span["start_frame"])


def _bits(flags: np.ndarray) -> list[int]:
    """(T, N) bool -> T integers."""
    assert flags.shape[1] in (len(BUTTONS), len(CONTROLS))
    bits: list[int] = (flags.astype(np.int64) << np.arange(flags.shape[1])).sum(1).tolist()
    return bits


def _nullable(values: np.ndarray) -> list[Any]:
    """Numbers to four decimals, None for NaN."""
    rounded = values.astype(np.float64).round(4)
    nullable = rounded.astype(object)
    nullable[np.isnan(rounded)] = None
    return list(nullable.tolist())
