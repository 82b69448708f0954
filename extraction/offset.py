"""How many frames an overlay lags behind a log: recorders start their clocks late, overlays draw late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from extraction.logs import Log
from extraction.score import Scores, score, scored_frames
from templates.controls import BUTTONS, CONTROLS

MAX_OFFSET: Final = 30  # frames, either way
MIN_OVERLAP: Final = 0.5  # part of the truth that a shift must leave


@dataclass(frozen=True, slots=True)
class Offset:
    """Where readings and log agree best.

    frames: how far the overlay lags behind the log; negative where it leads. seconds: the same in time.
    agreement: mean correlation of readings and log over the shown controls that move, at that offset.
    scores: of the frames that both have at that offset.
    """

    frames: int
    seconds: float
    agreement: float
    scores: Scores


def best_offset(readings: Log, truth: Log, shown: Sequence[str]) -> Offset | None:
    """The offset of best agreement within half a second to both sides; None where nothing that moves was read.

    Correlation is blind to the scale and the rest of a stick, so that only time decides. Of offsets that agree
    equally well, the nearest to 0 is taken.
    """
    if not len(readings):
        return None
    video = np.arange(readings.frame_index[0], readings.frame_index[-1] + 1)
    read, true = _signals(readings.at(video), shown), _signals(truth.at(video), shown)
    moving = _moves(read) & _moves(true)
    if not moving.any():
        return None
    read, true = read[:, moving], true[:, moving]
    reach = min(MAX_OFFSET, int(len(video) * (1 - MIN_OVERLAP)))
    offsets = sorted(range(-reach, reach + 1), key=abs)
    agreements = [_agreement(read, true, frames) for frames in offsets]
    best = int(np.argmax(np.round(agreements, 9)))  # rounded: sums in another order differ in the last digits
    frames = offsets[best]
    step_s = float(np.median(np.diff(readings.time_s))) if len(readings) > 1 else 0.0
    moved = shift(truth, frames, readings)
    return Offset(frames, frames * step_s, agreements[best], score(readings, moved, shown))


def shift(truth: Log, frames: int, readings: Log) -> Log:
    """The log as it would be were it written ``frames`` later, cut to the frames that the readings span."""
    moved = replace(truth, frame_index=truth.frame_index + frames)
    inside = (moved.frame_index >= readings.frame_index[0]) & (moved.frame_index <= readings.frame_index[-1])
    return moved[inside]


def _signals(log: Log, shown: Sequence[str]) -> np.ndarray:
    """Every shown control as a number, (T, C) float64, NaN where it is not known or a trigger stands halfway."""
    buttons = np.where(scored_frames(log), log.buttons, np.nan)[:, np.isin(BUTTONS, shown)]
    sticks = log.sticks[:, np.isin(CONTROLS[len(BUTTONS) :], shown)].reshape(len(log), -1)
    return np.concatenate([buttons, np.where(np.isfinite(sticks), sticks, np.nan)], axis=1)


def _moves(signals: np.ndarray) -> np.ndarray:
    """(C,) bool: the control has two values or more."""
    low = np.where(np.isnan(signals), np.inf, signals).min(axis=0)
    return np.asarray(np.where(np.isnan(signals), -np.inf, signals).max(axis=0) > low)


def _agreement(read: np.ndarray, true: np.ndarray, frames: int) -> float:
    """Mean correlation of the controls, the truth moved ``frames`` later; one that rests in either counts as 0."""
    length = len(read) - abs(frames)
    a, b = read[max(frames, 0) :][:length], true[max(-frames, 0) :][:length]
    both = np.isfinite(a) & np.isfinite(b)
    count = np.maximum(both.sum(axis=0), 1)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    a = np.where(both, a - a.sum(axis=0) / count, 0.0)
    b = np.where(both, b - b.sum(axis=0) / count, 0.0)
    spread = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    rests = spread < 1e-9
    return float(np.where(rests, 0.0, (a * b).sum(axis=0) / np.where(rests, 1.0, spread)).mean())
