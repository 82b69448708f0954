"""Which 20-second chunks of a video are worth training on.

A chunk is cut by the frames' own times. A timestep is active when any button is held or a stick stands
outside a small dead zone; a control that is unknown is never active. A chunk is kept when at least half of
its timesteps are active. The last chunk of a video is shorter and is judged like the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from extraction.records import Reason

CHUNK_S: Final = 20.0
DEAD_ZONE: Final = 0.1  # distance from neutral; readings of a stick at rest err by some hundredths


@dataclass(frozen=True, slots=True)
class Reject:
    """Why something is dropped. ``detail`` is for people."""

    reason: Reason
    detail: str


def chunk_indices(pts_s: np.ndarray) -> np.ndarray:
    """The chunk of each frame: (T,) int64, never decreasing; chunk k spans [20 k, 20 k + 20) s.

    Time counts from the first frame, since many videos do not start at 0. Where times jump back, in a
    broken recording, frames stay in the chunk that was reached.

    >>> chunk_indices(np.array([5.0, 24.99, 25.0])).tolist()
    [0, 0, 1]
    """
    if not len(pts_s):
        return np.zeros(0, np.int64)
    chunks = np.floor((pts_s - pts_s[0]) / CHUNK_S).astype(np.int64)
    return np.maximum.accumulate(np.maximum(chunks, 0))


def find_active(buttons: np.ndarray, sticks: np.ndarray) -> np.ndarray:
    """Which timesteps hold an action: (T,) bool.

    buttons: (T, 17) bool, False where unknown. sticks: (T, 2, 2) in [-1, 1], NaN where unknown.
    """
    deflected = np.hypot(sticks[..., 0], sticks[..., 1]) > DEAD_ZONE  # False for NaN
    return np.asarray(buttons.any(1) | deflected.any(1))


def judge_chunk(active: np.ndarray, covered: np.ndarray, active_fraction: float = 0.5) -> Reject | None:
    """None for a chunk to keep, else why not.

    active: (T,) bool, timesteps with an action. covered: (T,) bool, frames that show a placed overlay.
    """
    if not covered.any():
        return Reject(Reason.NOT_COVERED, "no frame shows a placed overlay")
    found = active.mean()
    if found < active_fraction:
        return Reject(
            Reason.INACTIVE,
            f"{active.sum()} of {len(active)} timesteps ({found:.1%}) hold an action, "
            f"at least {active_fraction:.1%} are wanted",
        )
    return None
