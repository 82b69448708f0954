"""Where the sticks stand, told from many frames: the forward-backward algorithm (Rabiner 1989) over a grid of places.

A single frame of a translucent stick over a busy game deceives. A thumb rests, moves and flicks, but does not visit a
place for one frame. What it does costs by the way alone, as total variation does: a quick move as much as a slow one,
at any rate of frames, and now and then a stick may be anywhere. So nothing that is clearly seen is late or blurred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from extraction.evidence import REACH

SIDE: Final = 15  # places along either axis
PLACES: Final = np.linspace(-REACH, REACH, SIDE, dtype=np.float32)  # in units of the template's travel
WAY_COST: Final = 5.0  # nats for a way of full tilt along either axis
JUMPS: Final = 0.01  # share of the steps that may lead anywhere
NEWS_S: Final = 1 / 30  # frames closer together share their noise: each tells by so much less
NEARBY: Final = 0.25  # of full tilt along either axis: as near as a label is called right
LEAST_NOISE: Final = 0.01  # of full scale
DIP_NEAR: Final = 0.2  # of full tilt along either axis: a dip is looked for this far from a place
CLEAR_DIP: Final = -1.4  # standard deviations; noise behind a translucent overlay digs shallower ones
LEAST_SPREAD: Final = 2e-4  # of squared colours: fits that differ less tell nothing

_STEP: Final = np.exp(-WAY_COST * np.abs(PLACES[:, None] - PLACES))
_MOVE: Final = (_STEP / _STEP.sum(0).max()).astype(np.float32)
ANYWHERE: Final = np.full((2, SIDE, SIDE), 1 / SIDE**2, np.float32)  # of two sticks of which nothing is known


def sample_places(grids: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """What cells of a tile say of a stick's places: (N, 2, G, G) logits -> (N, 2, 15, 15), rows y, columns x.

    gain: (2, 2), half tiles -> units of travel, 0 for a stick that is not shown. Between cells' centres logits are
    interpolated: a stick between two cells is shared by them.
    """
    cells = grids.shape[-1]
    at = (PLACES / np.maximum(gain, 1e-6)[..., None] * (cells / 2) + cells // 2).clip(0, cells - 1)
    share = (1 - np.abs(at[..., None] - np.arange(cells))).clip(0).astype(np.float32)  # stick, axis, place, cell
    return np.asarray(share[:, 1] @ grids @ share[:, 0].transpose(0, 2, 1))


def smooth(
    evidence: np.ndarray, pts_s: Sequence[float], before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior of the places in consecutive frames, and what these frames and those before tell of the next.

    evidence: (N, 2, 15, 15) log likelihoods. pts_s: N seconds. before: (2, 15, 15) the second result for the frames
    before, ``after`` that of ``look_back`` for those that follow; ``ANYWHERE`` where there are none. Returns
    (N, 2, 15, 15) masses that sum to 1 and (2, 15, 15).
    """
    own, shared = _likelihoods(evidence, pts_s)
    masses = np.empty_like(own)
    for mass, each in zip(masses, shared, strict=True):
        mass[:] = before
        before = _pass_on(before * each)
    for mass, each in zip(masses[::-1], shared[::-1], strict=True):
        mass *= after
        after = _pass_on(after * each)
    masses *= own
    return masses / masses.sum((2, 3), keepdims=True), before


def look_back(evidence: np.ndarray, pts_s: Sequence[float]) -> np.ndarray:
    """What frames tell of the one ahead of them: (2, 15, 15); shapes as in ``smooth``."""
    after = ANYWHERE
    for each in _likelihoods(evidence, pts_s)[1][::-1]:
        after = _pass_on(after * each)
    return after


def tell_by_fits(fits: np.ndarray, pixels: float) -> np.ndarray:
    """What the fits of a batch of frames say of the places: (N, 2, 15, 15) log likelihoods, 0 for a stick not drawn.

    fits: as in ``Readings``. pixels: how many independent ones a fit counts as. What the best places leave in most of
    these frames is noise: the game and the encoder.
    """
    least = fits.min((2, 3), keepdims=True)
    noise = np.median(least, 0) + LEAST_NOISE**2
    return np.asarray(np.nan_to_num((least - fits) * (pixels / 2) / noise))


def find_sticks(masses: np.ndarray, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the sticks are: (N, 2, 2) float32 [x, y] in units of travel, and (N, 2) the mass close to what is expected.

    masses: of ``smooth``. fits: (N, 2, 15, 15) as in ``Readings``.
    """
    place = np.stack([masses.sum(2) @ PLACES, masses.sum(3) @ PLACES], 2)
    near = np.abs(PLACES - place[..., None]) <= NEARBY  # N, stick, axis, place
    certainty = (masses * near[:, :, 1, :, None] * near[:, :, 0, None, :]).sum((2, 3))
    for stick in np.flatnonzero(~np.isnan(fits).any((0, 2, 3))):
        place[:, stick] = settle(place[:, stick], fits[:, stick])
    return place, certainty


def settle(place: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """A stick's place moved to the bottom of the dip that its misfit has there, if it has a clear one.

    place: (N, 2) in units of travel. fits: (N, 15, 15) of the stick. Places are coarse; where the picture of the stick
    fits, it fits to a fraction of a pixel: along either axis the dip is taken for a parabola.
    """
    near = np.abs(PLACES - place[..., None]) <= DIP_NEAR  # N, axis, place
    dips = np.where(near[:, 1, :, None] & near[:, 0, None, :], fits, np.inf)
    frames = np.arange(len(fits))
    y, x = np.unravel_index(dips.reshape(len(fits), -1).argmin(1), fits.shape[1:])
    spread = fits.std((1, 2)) + LEAST_SPREAD
    clear = dips[frames, y, x] < fits.mean((1, 2)) + CLEAR_DIP * spread
    bottom = np.stack([_bottom(fits[frames, y], x), _bottom(fits[frames, :, x], y)], 1)
    return np.where(clear[:, None], bottom, place)


def _bottom(along: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Where parabolas through three neighbouring places, (N, 15) values, are least, near ``least`` (N,): (N,)."""
    middle = least.clip(1, SIDE - 2)
    before, at, after = np.take_along_axis(along, middle[:, None] + np.array((-1, 0, 1)), 1).T
    bend = np.maximum(before - 2 * at + after, 1e-9)
    step = ((before - after) / (2 * bend)).clip(least - middle - 0.5, least - middle + 0.5)
    return np.asarray(PLACES[middle] + step * (PLACES[1] - PLACES[0]))


def _likelihoods(evidence: np.ndarray, pts_s: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame by itself, and as far as it is news beside its neighbours; 1 at most."""
    apart = float(np.median(np.diff(pts_s))) if len(pts_s) > 1 else NEWS_S
    worse = evidence - evidence.max((2, 3), keepdims=True)
    return np.exp(worse), np.exp(min(apart / NEWS_S, 1.0) * worse)


def _pass_on(mass: np.ndarray) -> np.ndarray:
    """Where a stick may stand a frame later, or stood a frame earlier; brought to a sum of about 1."""
    mass = mass / mass.sum((1, 2), keepdims=True)
    return np.asarray(_MOVE @ mass @ _MOVE + JUMPS / SIDE**2)
