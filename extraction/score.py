"""Readings against truth: the figures by which a parser is judged.

Frame accuracy of buttons alone misleads (never pressing anything already scores about 0.95), so it is
read together with the F1 of pressed frames and of press onsets. What is counted, and how:

- Only controls that the overlay shows are scored, and only frames of the truth; they meet by ``frame_index``.
- A shown control without a reading (null, or no row at all) is *unknown*. It is never taken for
  "released": it counts as wrong in the button accuracy, as a missed press in the F1 scores when the truth
  is pressed, and as a centred stick in R2. ``coverage`` says how much was read.
- A trigger is left out of the button scores in frames where its travel lies strictly between 0.1 and 0.9:
  when it becomes "pressed" there is a matter of the overlay, not of the reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from templates.controls import BUTTONS, CONTROLS, STICKS, TRIGGERS, States

AXES: Final = ("x", "y")
HALF_PRESSED: Final = (0.1, 0.9)  # travel strictly inside is left out


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """T logged controller states, each value with a word on whether it is known.

    frame_index: (T,) int64, increasing.
    buttons: (T, 17) bool in the order of ``BUTTONS``; False where unknown.
    known: (T, 17) bool, False where the log has no value for the button.
    sticks: (T, 2, 2) float64, [left, right] x [x, y] in [-1, 1], negative y is up; NaN where unknown.
    triggers: (T, 2) float64 analog travel in [0, 1]; NaN where the log keeps none.
    """

    frame_index: np.ndarray
    buttons: np.ndarray
    known: np.ndarray
    sticks: np.ndarray
    triggers: np.ndarray

    def __post_init__(self) -> None:
        length = len(self.frame_index)
        shapes = {"buttons": (17,), "known": (17,), "sticks": (2, 2), "triggers": (2,)}
        for name, tail in shapes.items():
            found = getattr(self, name).shape
            if found != (length, *tail):
                raise ValueError(f"Log.{name} must have shape {(length, *tail)}, found {found}")
        if length and not (np.diff(self.frame_index) > 0).all():
            raise ValueError("Log.frame_index must increase from row to row, found a repeat or a step back")

    @classmethod
    def of_states(cls, states: States, first: int = 0) -> Log:
        """A log in which everything is known, its frames numbered from ``first``."""
        return cls(
            np.arange(first, first + len(states)),
            states.buttons,
            np.ones_like(states.buttons),
            states.sticks.astype(np.float64),
            states.triggers.astype(np.float64),
        )

    @classmethod
    def of_table(cls, table: pa.Table) -> Log:
        """Read ``actions.parquet`` or ``truth.parquet``; a missing column is a ValueError."""
        missing = [name for name in ("frame_index", *CONTROLS) if name not in table.column_names]
        if missing:
            raise ValueError(f"expected a column for every control, found none for {', '.join(missing)}")
        sticks = [[_floats(pc.list_element(table[name], axis)) for axis in range(2)] for name in STICKS]
        values = [f"{name}_value" for name in TRIGGERS]
        unlogged = np.full(len(table), np.nan)
        triggers = [_floats(table[name]) if name in table.column_names else unlogged for name in values]
        return cls(
            table["frame_index"].to_numpy(),
            np.stack([pc.fill_null(table[name], False).to_numpy() for name in BUTTONS], axis=1),
            np.stack([pc.is_valid(table[name]).to_numpy() for name in BUTTONS], axis=1),
            np.moveaxis(np.array(sticks), -1, 0),
            np.stack(triggers, axis=1),
        )

    def at(self, frame_index: np.ndarray) -> Log:
        """The rows of these frames; a frame that the log lacks is unknown in every control."""
        if len(self.frame_index) == 0:
            return Log(
                frame_index,
                np.zeros((len(frame_index), 17), bool),
                np.zeros((len(frame_index), 17), bool),
                np.full((len(frame_index), 2, 2), np.nan),
                np.full((len(frame_index), 2), np.nan),
            )
        row = np.searchsorted(self.frame_index, frame_index).clip(max=len(self.frame_index) - 1)
        absent = self.frame_index[row] != frame_index
        return Log(
            frame_index,
            self.buttons[row] & ~absent[:, None],
            self.known[row] & ~absent[:, None],
            np.where(absent[:, None, None], np.nan, self.sticks[row]),
            np.where(absent[:, None], np.nan, self.triggers[row]),
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """How well one video was read. A score that nothing in the truth can decide is None.

    frames: frames of the truth.
    coverage: part of (frame, shown control) pairs that have a reading.
    stick_r2: per shown axis (``j_left_x``...), 1 minus squared error over variance of the truth;
        None for an axis that never moves, which the mean then leaves out.
    stick_r2_mean: mean over the axes.
    button_accuracy: part of frames that are right, mean over shown buttons.
    macro_f1: F1 of pressed frames, mean over the shown buttons that the truth presses at least once
        (a press read on any other button shows in the accuracy alone).
    onset_f1, onset_f1_within_1: F1 of the frames where a press begins, hit exactly or at most one frame
        off, one reading for one press; counts pooled over the shown buttons.
    """

    frames: int
    coverage: float
    stick_r2: dict[str, float | None]
    stick_r2_mean: float | None
    button_accuracy: float | None
    macro_f1: float | None
    onset_f1: float | None
    onset_f1_within_1: float | None


def score(readings: Log, truth: Log, shown: Sequence[str]) -> Scores:
    """Score ``readings`` against ``truth`` over the ``shown`` controls (names of ``CONTROLS``).

    >>> truth = Log.of_states(States.rest(100))
    >>> score(truth, truth, ["south"]).button_accuracy
    1.0
    """
    unknown = sorted(set(shown) - set(CONTROLS))
    if unknown:
        raise ValueError(f"shown controls must be among {', '.join(CONTROLS)}, found {', '.join(unknown)}")
    if len(truth.frame_index) == 0:
        raise ValueError("expected at least one frame of truth, found none")
    read = readings.at(truth.frame_index)
    buttons = [i for i, name in enumerate(BUTTONS) if name in shown]
    sticks = [i for i, name in enumerate(STICKS) if name in shown]
    stick_r2 = {
        f"{STICKS[i]}_{axis}": _r2(read.sticks[:, i, a], truth.sticks[:, i, a])
        for i in sticks
        for a, axis in enumerate(AXES)
    }
    scored = _scored_frames(truth)
    runs = [_Run.cut(read, truth, button, scored[:, button]) for button in buttons]
    seen = [read.known[:, buttons], ~np.isnan(read.sticks[:, sticks]).any(axis=2)]
    return Scores(
        frames=len(truth.frame_index),
        coverage=float(np.concatenate(seen, axis=1).mean()) if buttons or sticks else 1.0,
        stick_r2=stick_r2,
        stick_r2_mean=_mean(stick_r2.values()),
        button_accuracy=_mean(run.accuracy for run in runs),
        macro_f1=_mean(run.f1 for run in runs if run.truth.any()),
        onset_f1=_onset_f1(runs, tolerance=0),
        onset_f1_within_1=_onset_f1(runs, tolerance=1),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One button over its scored frames: what was read, where anything was, and what is true."""

    read: np.ndarray
    known: np.ndarray
    truth: np.ndarray

    @classmethod
    def cut(cls, read: Log, truth: Log, button: int, scored: np.ndarray) -> _Run:
        return cls(read.buttons[scored, button], read.known[scored, button], truth.buttons[scored, button])

    @property
    def accuracy(self) -> float | None:
        return float(((self.read == self.truth) & self.known).mean()) if len(self.truth) else None

    @property
    def f1(self) -> float | None:
        return _f1(int((self.read & self.truth).sum()), int(self.read.sum()), int(self.truth.sum()))


def _scored_frames(truth: Log) -> np.ndarray:
    """(T, 17) bool: the truth is known and, for a trigger, not halfway."""
    scored = truth.known.copy()
    low, high = HALF_PRESSED
    for side, name in enumerate(TRIGGERS):
        travel = truth.triggers[:, side]
        scored[:, BUTTONS.index(name)] &= ~((travel > low) & (travel < high))  # NaN compares false: scored
    return scored


def _onset_f1(runs: Sequence[_Run], tolerance: int) -> float | None:
    """Onsets of all runs, matched within ``tolerance`` frames.

    A trigger passes half travel inside the frames that are left out. Frames are therefore neighbours
    when no scored frame lies between them, so that its press begins on the first frame that is scored.
    """
    pairs = [(_onsets(run.read), _onsets(run.truth)) for run in runs]
    hits = sum(count_matches(read, true, tolerance) for read, true in pairs)
    return _f1(hits, sum(len(read) for read, _ in pairs), sum(len(true) for _, true in pairs))


def _onsets(pressed: np.ndarray) -> np.ndarray:
    """Where a press begins; one that is already held on the first frame began before it."""
    return np.flatnonzero(pressed[1:] & ~pressed[:-1]) + 1


def count_matches(found: Sequence[int] | np.ndarray, true: Sequence[int] | np.ndarray, tolerance: int) -> int:
    """The most pairs (found, true) at most ``tolerance`` apart, each used once; both sorted.

    Taking the earliest partner first is optimal for equal tolerances on a line.

    >>> count_matches([4, 5], [5], tolerance=1)
    1
    """
    hits = i = j = 0
    while i < len(found) and j < len(true):
        if abs(int(found[i]) - int(true[j])) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return hits


def _r2(read: np.ndarray, truth: np.ndarray) -> float | None:
    if np.ptp(truth) == 0:
        return None
    errors = np.nan_to_num(read, nan=0.0) - truth
    return 1 - float((errors**2).sum()) / float(((truth - truth.mean()) ** 2).sum())


def _f1(hits: int, found: int, true: int) -> float | None:
    return 2 * hits / (found + true) if found + true else None


def _mean(values: Iterable[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return float(np.mean(kept)) if kept else None


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """A float column with NaN for null."""
    return np.asarray(column.to_numpy(), np.float64)
