"""Readings against truth: the figures by which a parser is judged.

Frame accuracy of buttons alone misleads (never pressing anything already scores about 0.95), so it is
read together with the F1 of pressed frames and of press onsets. What is counted, and how:

- Only controls that the overlay shows are scored, and only where the truth is known; readings and truth meet by
  ``frame_index``.
- A shown control without a reading (null, or no row at all) is *unknown*. It is never taken for
  "released": it counts as wrong in the button accuracy, as a missed press in the F1 scores when the truth
  is pressed, and as a centred stick in R2. ``coverage`` says how much was read.
- A trigger is left out of the button scores in frames where its travel lies strictly between 0.1 and 0.9:
  when it becomes "pressed" there is a matter of the overlay, not of the reading.
- Onsets count on the exact frame and within one frame: within one alone forgives a reading that is always late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from extraction.logs import Log
from extraction.normalise import OPPOSITES
from extraction.onsets import count_matches, count_phantoms, find_presses, find_releases
from extraction.trust import calibration_error, errors_caught
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, STICKS, TRIGGERS

AXES: Final = ("x", "y")
HALF_PRESSED: Final = (0.1, 0.9)  # travel strictly inside is left out
STICK_RIGHT_WITHIN: Final = 0.25  # of the way from the centre to the rim, each axis


@dataclass(frozen=True, slots=True)
class ButtonScores:
    """One button. accuracy: part of frames that are right. f1: of pressed frames; None if the truth has none."""

    accuracy: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """How well one video was read. A score that nothing in the truth can decide is None.

    frames: frames of which the truth knows something.
    coverage: part of (frame, shown control) pairs that have a reading.
    stick_r2: per shown axis (``j_left_x``...), 1 minus squared error over variance of the truth;
        None for an axis that never moves, which the mean then leaves out.
    stick_r2_mean: mean over the axes.
    buttons: per shown button.
    button_accuracy: part of frames that are right, mean over shown buttons.
    macro_f1: F1 of pressed frames, mean over the shown buttons that the truth presses at least once
        (a press read on any other button shows in the accuracy alone).
    onset_f1, onset_f1_within_1: F1 of the frames where a press begins, hit exactly or at most one frame
        off, one reading for one press; counts pooled over the shown buttons.
    release_f1, release_f1_within_1: the same of the frames where a press ends.
    phantoms_per_minute: presses read where the truth has none, not even one frame earlier or later.
    impossible_states: frames whose labels hold opposite sides of the d-pad, or a stick that is no number or beyond 1.
    frames_right: part of the frames with a reading in which all that was read is right, sticks within 0.25 an axis.
    calibration_error: of the frames' confidence against being right in that sense.
    errors_caught: part of the frames that are not right which lie in the least confident 5%; None where all are.
    """

    frames: int
    coverage: float
    stick_r2: dict[str, float | None]
    stick_r2_mean: float | None
    buttons: dict[str, ButtonScores]
    button_accuracy: float | None
    macro_f1: float | None
    onset_f1: float | None
    onset_f1_within_1: float | None
    release_f1: float | None
    release_f1_within_1: float | None
    phantoms_per_minute: float | None
    impossible_states: int
    frames_right: float | None
    calibration_error: float | None
    errors_caught: float | None


def score(readings: Log, truth: Log, shown: Sequence[str]) -> Scores:
    """Score ``readings`` against ``truth`` over the ``shown`` controls (names of ``CONTROLS``).

    >>> truth = Log.of_states(States.rest(100))
    >>> score(truth, truth, ["south"]).button_accuracy
    1.0
    """
    unknown = sorted(set(shown) - set(CONTROLS))
    if unknown:
        raise ValueError(f"shown controls must be among {', '.join(CONTROLS)}, found {', '.join(unknown)}")
    if len(truth) == 0:
        raise ValueError("expected at least one frame of truth, found none")
    read = readings.at(truth.frame_index)
    scored = scored_frames(truth)
    runs = {name: _Run.cut(read, truth, i, scored[:, i]) for i, name in enumerate(BUTTONS) if name in shown}
    stick_r2 = {
        f"{name}_{axis}": _r2(read, truth, i, a)
        for i, name in enumerate(STICKS)
        if name in shown
        for a, axis in enumerate(AXES)
    }
    buttons = {name: ButtonScores(run.accuracy, run.f1) for name, run in runs.items()}
    is_shown = np.isin(CONTROLS, shown)
    asked = truth.known & is_shown
    right = find_right(read, truth, is_shown)
    judged = (read.known & asked).any(axis=1)
    told = judged & np.isfinite(read.confidence)
    return Scores(
        frames=int(truth.known.any(axis=1).sum()),
        coverage=float(_has_reading(read)[asked].mean()) if asked.any() else 1.0,
        stick_r2=stick_r2,
        stick_r2_mean=_mean(stick_r2.values()),
        buttons=buttons,
        button_accuracy=_mean(each.accuracy for each in buttons.values()),
        macro_f1=_mean(each.f1 for each in buttons.values()),
        onset_f1=_event_f1(runs.values(), find_presses, tolerance=0),
        onset_f1_within_1=_event_f1(runs.values(), find_presses, tolerance=1),
        release_f1=_event_f1(runs.values(), find_releases, tolerance=0),
        release_f1_within_1=_event_f1(runs.values(), find_releases, tolerance=1),
        phantoms_per_minute=_phantoms_per_minute(read, truth, scored, [BUTTON_INDEX[name] for name in runs]),
        impossible_states=int(_impossible(read).sum()),
        frames_right=float(right[judged].mean()) if judged.any() else None,
        calibration_error=calibration_error(read.confidence[told], right[told]),
        errors_caught=errors_caught(read.confidence[told], right[told]),
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean over videos, of each figure over those that have it; frames and impossible states are added up."""

    def mean(name: str) -> float | None:
        return _mean(getattr(each, name) for each in scores)

    axes = dict.fromkeys(axis for each in scores for axis in each.stick_r2)
    buttons = {name: [each.buttons[name] for each in scores if name in each.buttons] for name in BUTTONS}
    return Scores(
        frames=sum(each.frames for each in scores),
        coverage=float(np.mean([each.coverage for each in scores])),
        stick_r2={axis: _mean(each.stick_r2.get(axis) for each in scores) for axis in axes},
        stick_r2_mean=mean("stick_r2_mean"),
        buttons={
            name: ButtonScores(_mean(each.accuracy for each in given), _mean(each.f1 for each in given))
            for name, given in buttons.items()
            if given
        },
        button_accuracy=mean("button_accuracy"),
        macro_f1=mean("macro_f1"),
        onset_f1=mean("onset_f1"),
        onset_f1_within_1=mean("onset_f1_within_1"),
        release_f1=mean("release_f1"),
        release_f1_within_1=mean("release_f1_within_1"),
        phantoms_per_minute=mean("phantoms_per_minute"),
        impossible_states=sum(each.impossible_states for each in scores),
        frames_right=mean("frames_right"),
        calibration_error=mean("calibration_error"),
        errors_caught=mean("errors_caught"),
    )


def scored_frames(truth: Log) -> np.ndarray:
    """(T, 17) bool: the truth is known and, for a trigger, not halfway."""
    scored = truth.known[:, : len(BUTTONS)].copy()
    low, high = HALF_PRESSED
    for side, name in enumerate(TRIGGERS):
        travel = truth.triggers[:, side]
        scored[:, BUTTON_INDEX[name]] &= ~((travel > low) & (travel < high))  # NaN compares false: scored
    return scored


def find_wrong(read: Log, truth: Log, is_shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was read wrong, of logs with the same frames: (T, 17) bool buttons, (T, 2, 2) float64 stick errors.

    is_shown: (19,) bool. What is not shown, not read or not decided by the truth is not wrong, and has error 0.
    """
    buttons, sticks = is_shown[: len(BUTTONS)], is_shown[len(BUTTONS) :]
    compared = scored_frames(truth) & read.known[:, : len(BUTTONS)] & buttons
    error = np.where(sticks[:, None], np.nan_to_num(read.sticks - truth.sticks, nan=0.0), 0.0)
    return (read.buttons != truth.buttons) & compared, error


def find_right(read: Log, truth: Log, is_shown: np.ndarray) -> np.ndarray:
    """Whether all that was read of each frame is right, sticks within 0.25 an axis: (T,) bool; see ``find_wrong``."""
    wrong, error = find_wrong(read, truth, is_shown)
    return np.asarray(~wrong.any(axis=1) & (np.abs(error) <= STICK_RIGHT_WITHIN).all(axis=(1, 2)))


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
        if not self.truth.any():
            return None
        return _f1(int((self.read & self.truth).sum()), int(self.read.sum()), int(self.truth.sum()))


def _event_f1(runs: Iterable[_Run], find: Callable[[np.ndarray], np.ndarray], tolerance: int) -> float | None:
    """Presses or releases of all runs, matched within ``tolerance`` frames.

    A trigger passes half travel inside the frames that are left out. Frames are therefore neighbours
    when no scored frame lies between them, so that its press begins on the first frame that is scored.
    """
    pairs = [(find(run.read), find(run.truth)) for run in runs]
    hits = sum(count_matches(read, true, tolerance) for read, true in pairs)
    return _f1(hits, sum(len(read) for read, _ in pairs), sum(len(true) for _, true in pairs))


def _phantoms_per_minute(read: Log, truth: Log, scored: np.ndarray, buttons: Sequence[int]) -> float | None:
    """None where the truth is too short to last."""
    if len(truth) < 2 or not buttons:
        return None
    possible = truth.buttons | ~scored
    count = sum(count_phantoms(read.buttons[:, i], possible[:, i]) for i in buttons)
    duration_s = (truth.time_s[-1] - truth.time_s[0]) * len(truth) / (len(truth) - 1)  # the last frame lasts, too
    return float(60 * count / duration_s)


def _impossible(read: Log) -> np.ndarray:
    """Whether no pad can be in the state of a frame: (T,) bool."""
    opposite = np.zeros(len(read), bool)
    for a, b in OPPOSITES:
        opposite |= read.buttons[:, BUTTON_INDEX[a]] & read.buttons[:, BUTTON_INDEX[b]]
    beyond = ~(np.abs(read.sticks) <= 1).all(axis=2)  # NaN compares false: beyond
    return np.asarray(opposite | (beyond & read.known[:, len(BUTTONS) :]).any(axis=1))


def _has_reading(read: Log) -> np.ndarray:
    """(T, 19) bool: known, and for a stick a number."""
    known = read.known.copy()
    known[:, len(BUTTONS) :] &= np.isfinite(read.sticks).all(axis=2)
    return known


def _r2(read: Log, truth: Log, stick: int, axis: int) -> float | None:
    decided = np.isfinite(truth.sticks[:, stick, axis])
    true = truth.sticks[decided, stick, axis]
    if not len(true) or np.ptp(true) == 0:
        return None
    errors = np.nan_to_num(read.sticks[decided, stick, axis], nan=0.0) - true
    return 1 - float((errors**2).sum()) / float(((true - true.mean()) ** 2).sum())


def _f1(hits: int, found: int, true: int) -> float | None:
    return 2 * hits / (found + true) if found + true else None


def _mean(values: Iterable[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return float(np.mean(kept)) if kept else None
