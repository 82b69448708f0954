"""One video's raw readings -> labels: sticks in [-1, 1], buttons held or not, and how sure that is.

Raw stick readings are in units of the template's travel around the template's centre. A placement is a
pixel off, a pad drifts, and a skin's declared travel is not always what it draws, so each video calibrates
itself: its own neutral becomes 0, and the 99th percentile of |x| and of |y| becomes 1. A player may never push
one axis fully, though: what none of the video's axes exceeds is the overlay's doing, what only some stay below is
the player's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from templates.controls import BUTTON_INDEX, BUTTONS, STICKS

# All in units of the template's travel.
REST_ZONE: Final = 0.4  # a stick at rest stands at most this far from the template's centre
REST_RADIUS: Final = 0.08  # how tightly readings of a stick at rest lie together
MIN_REST_SHARE: Final = 0.4  # of the frames in the zone; a stick that only passes through spreads wider
MIN_REST_FRAMES: Final = 10
# Where no axis exceeds this, sticks were hardly used: dividing would turn noise into actions.
MIN_SCALE: Final = 0.3

SWITCH: Final = 1.0  # logits that a press or a release must outweigh ...
UNDRAWN_SWITCH: Final = 2.0  # ... of a button that no picture shows pressed: the game is in what is seen of it

# Controls err together, a network is surer than it should be, and an encoder shows a move late: Platt's scaling of the
# product's log odds, less what sticks that move on cost, fitted to the evaluation clips whose drawings training sees
# (`python -m flows.confidence`).
CONFIDENCE_SCALE: Final = (0.90, -2.08, 2.31)  # slope, what a move of full tilt costs, and shift
LATE_FRAMES: Final = 2  # that a move may be shown late

# A d-pad cannot be pressed on opposite sides.
OPPOSITES: Final = (("dpad_up", "dpad_down"), ("dpad_left", "dpad_right"))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What was done to one video's sticks: ``(raw - neutral) / scale``, clipped to [-1, 1].

    neutral: (2, 2) float64, [left, right] x [x, y], in units of the template's travel.
    scale: (2, 2) float64, same units; 1 where no stick was moved enough to tell.
    measured: (2,) bool, whether the neutral was seen; else it is the template's centre.
    """

    neutral: np.ndarray
    scale: np.ndarray
    measured: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in (("neutral", (2, 2)), ("scale", (2, 2)), ("measured", (2,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"Calibration.{name} must have shape {shape}, found {getattr(self, name).shape}")

    def as_json(self) -> dict[str, Any]:
        """By stick, rounded, for the report."""
        return {
            name: {
                "neutral": np.round(self.neutral[i], 4).tolist(),
                "scale": np.round(self.scale[i], 4).tolist(),
                "neutral_measured": bool(self.measured[i]),
            }
            for i, name in enumerate(STICKS)
        }


def calibrate(sticks: np.ndarray, percentile: float = 99.0) -> Calibration:
    """Measure one video's calibration from its raw sticks (T, 2, 2); NaN where a stick is unknown."""
    neutral, reach, measured = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2, bool)
    for i in range(len(STICKS)):
        places = sticks[:, i][np.isfinite(sticks[:, i]).all(1)].astype(np.float64)
        if not len(places):
            continue
        rest = find_rest(places)
        if rest is not None:
            neutral[i], measured[i] = rest, True
        reach[i] = np.percentile(np.abs(places - neutral[i]), percentile, axis=0)
    least = min(1.0, reach.max()) if reach.max() >= MIN_SCALE else 1.0
    return Calibration(neutral, np.maximum(reach, least), measured)


def apply_calibration(sticks: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Raw sticks (T, 2, 2) -> (T, 2, 2) float32 in [-1, 1]; NaN stays NaN."""
    centred = (sticks - calibration.neutral) / calibration.scale
    return np.asarray(np.clip(centred, -1.0, 1.0), np.float32)


def decide_buttons(logits: np.ndarray, known: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Which buttons are held in a whole video: (T, 17) bool, False where unknown.

    logits: (T, 17), positive means held. known: (T, 17) bool. drawn: (17,) bool, of which a picture shows them pressed.
    The likeliest course of events (Viterbi): every press and release costs ``SWITCH``, so that one doubtful frame does
    not make a press and a certain one does, and no begin is moved. Of two opposite d-pad directions one is held at
    most.
    """
    alone = [i for i in range(len(BUTTONS)) if not any(BUTTONS[i] in pair for pair in OPPOSITES)]
    rivals = np.array([*([BUTTON_INDEX[name] for name in pair] for pair in OPPOSITES), *([i, i] for i in alone)])
    gains = np.zeros((len(logits), len(rivals), 3), np.float32)  # of holding nothing, the first, the second
    gains[..., 1:] = np.where(known, logits, 0)[:, rivals]
    gains[:, len(OPPOSITES) :, 2] = -np.inf
    course = _likeliest_course(gains, np.where(drawn, SWITCH, UNDRAWN_SWITCH)[rivals].max(1).astype(np.float32))
    held = np.zeros(logits.shape, bool)
    for position, (first, second) in enumerate(rivals):
        held[:, second] |= course[:, position] == 2
        held[:, first] |= course[:, position] == 1
    held &= known
    return held


def _likeliest_course(gains: np.ndarray, price: np.ndarray) -> np.ndarray:
    """(T, K, S) gain of each of S states of K variables -> (T, K) the states that gain most, changes (K,) paid."""
    length, count, states = gains.shape
    came_from = np.empty(gains.shape, np.int8)
    stay = np.broadcast_to(np.arange(states, dtype=np.int8), (count, states))
    total = np.zeros((count, states), np.float32)
    for t in range(length):
        best = total.argmax(1)[:, None]
        changed = np.take_along_axis(total, best, 1) - price[:, None]
        came_from[t] = np.where(changed > total, best, stay)
        total = np.maximum(total, changed) + gains[t]
        total -= total.max(1, keepdims=True)  # only differences count; sums over hours would lose them
    course = np.empty((length, count), np.int8)
    state = total.argmax(1)
    for t in reversed(range(length)):
        course[t] = state
        state = came_from[t, np.arange(count), state]
    return course


def score_confidence(
    logits: np.ndarray, held: np.ndarray, stick_certainty: np.ndarray, sticks: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """How likely everything that is known of consecutive frames is right: (T,) float32 in [0, 1]; 0 where nothing is.

    logits, held: (T, 17). stick_certainty: (T, 2) in [0, 1], the probability of a stick's place. sticks: (T, 2, 2) in
    [-1, 1], NaN where unknown. known: (T, 19) bool in the order of ``CONTROLS``. The product of the controls'
    probabilities, brought to scale.
    """
    for_it = np.where(held, logits, -logits).astype(np.float64)
    certainty = np.log(stick_certainty.astype(np.float64).clip(1e-6, 1))
    likelihood = np.where(known, np.concatenate([-np.logaddexp(0, -for_it), certainty], axis=1), 0.0).sum(1)
    odds = likelihood - np.log(-np.expm1(likelihood - 1e-6))
    slope, move, shift = CONFIDENCE_SCALE
    scaled = slope * odds + move * moves_on(sticks) + shift
    return np.where(known.any(1), 1 / (1 + np.exp(-scaled)), 0.0).astype(np.float32)


def moves_on(sticks: np.ndarray) -> np.ndarray:
    """How far, along either axis, a stick goes in the frames that a move may be shown late: (T, 2, 2) -> (T,)."""
    moved = np.zeros(len(sticks))
    for ahead in range(1, LATE_FRAMES + 1):
        way = np.nan_to_num(np.abs(sticks[ahead:] - sticks[:-ahead])).reshape(-1, 4).max(1)
        moved[:-ahead] = np.maximum(moved[:-ahead], way)
    return moved


def find_rest(places: np.ndarray) -> np.ndarray | None:
    """Where a stick stands when it is let go: (2,), or None for a player who never lets go.

    places: (N, 2). The densest spot near the template's centre, if enough of the nearby frames lie in it.
    """
    near = places[np.hypot(*places.T) <= REST_ZONE]
    if len(near) < MIN_REST_FRAMES:
        return None
    edges = np.arange(-REST_ZONE, REST_ZONE + REST_RADIUS / 2, REST_RADIUS / 2)
    density, _, _ = np.histogram2d(near[:, 0], near[:, 1], bins=[edges, edges])
    column, row = np.unravel_index(np.argmax(density), density.shape)
    peak = np.array([edges[column], edges[row]]) + REST_RADIUS / 4
    for _ in range(3):  # from the densest cell to the middle of its surroundings
        peak = np.median(near[_within(near, peak)], axis=0)
    resting = _within(near, peak)
    if resting.sum() < max(MIN_REST_FRAMES, MIN_REST_SHARE * len(near)):
        return None
    return peak


def _within(places: np.ndarray, spot: np.ndarray) -> np.ndarray:
    """Whether each place lies within the rest radius of a spot: (N,) bool."""
    return np.asarray(np.hypot(*(places - spot).T) <= REST_RADIUS)
