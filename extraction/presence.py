"""Whether a frame shows the overlay at all: it may appear late, hide in a menu or a cut scene, end before the video.

Every button's tile is compared with the same tile of the video's own rest picture. A press changes few tiles at a
time, so the best of them agree wherever the overlay is drawn; over the game alone none do. On 12 clips the score
never fell below 0.70 of its usual value with the overlay there, and never rose above 0.27 beside it (LOG.md).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from extraction.rectify import BUTTON_TILE, STICK_TILE

AGREEING: Final = 0.8  # quantile of the tiles' correlations
THINNED: Final = 2  # every second pixel either way tells as much
FLAT: Final = 50.0  # squared levels over a thinned tile: what has less contrast agrees with nothing
CLEAR: Final = 0.4  # an overlay whose frames usually agree less with its rest picture is not judged
PRESENT: Final = 0.5  # of the usual agreement
STEADY_S: Final = 0.5  # what changes for less than half of this does not count


def measure_agreement(panels: np.ndarray, rest: np.ndarray, known: np.ndarray) -> np.ndarray:
    """How far panels (N, 88, 108, 3) uint8 agree with the rest picture (88, 108, 3): (N,) float32 in [-1, 1].

    known: (17,) bool, the buttons that the overlay shows inside the frame; without any it agrees with itself, 1.
    """
    if not known.any():
        return np.ones(len(panels), np.float32)
    seen, expected = _tiles(panels)[:, known.nonzero()[0]], _tiles(rest[None])[:, known.nonzero()[0]]
    products = (seen * expected).sum(2)
    norms = np.sqrt((seen * seen).sum(2) * (expected * expected).sum(2))
    return np.asarray(np.quantile(products / (norms + FLAT), AGREEING, axis=1), np.float32)


def find_visible(agreement: np.ndarray, pts_s: np.ndarray) -> np.ndarray:
    """Which of T consecutive frames show the overlay: (T,) bool. agreement: (T,). pts_s: (T,) seconds, increasing."""
    if len(agreement) < 2:
        return np.ones(len(agreement), bool)
    frames = STEADY_S / max(float(np.median(np.diff(pts_s))), 1e-3)
    steady = _running_median(agreement, round(frames / 2))
    usual = np.quantile(steady, 0.75)
    return np.asarray(steady >= PRESENT * usual) if usual >= CLEAR else np.ones(len(steady), bool)


def _tiles(panels: np.ndarray) -> np.ndarray:
    """(N, 88, 108, 3) uint8 -> (N, 20, 192) float32, the buttons' tiles without their mean colour, row by row."""
    across, down = (panels.shape[2] - STICK_TILE) // BUTTON_TILE, panels.shape[1] // BUTTON_TILE
    region, side = panels[:, : down * BUTTON_TILE : THINNED, STICK_TILE::THINNED], BUTTON_TILE // THINNED
    tiles = region.reshape(len(panels), down, side, across, side, 3).transpose(0, 1, 3, 2, 4, 5)
    flat = tiles.reshape(len(panels), down * across, side**2, 3).astype(np.float32)
    return np.asarray((flat - flat.mean(2, keepdims=True)).reshape(len(panels), down * across, -1))


def _running_median(values: np.ndarray, half: int) -> np.ndarray:
    """The median over ``half`` values on either side; ends repeat."""
    padded = np.pad(values, half, "edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1))
