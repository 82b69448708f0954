"""What the keypoints of a still picture say of all templates at once: which may be there, how large and where.

Each template keypoint votes, by the still one that is likest to it, for a size and a place of its overlay. Templates of
which many keypoints agree are candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from extraction.features import Features, Index, Keypoints, index_of, nearest_still
from templates.catalogue import Template

MAX_TURN: Final = 25.0  # degrees; overlays are scaled, never turned
OVERLAY_WIDTHS: Final = (60.0, 1000.0)  # px
CANDIDATES: Final = 12  # at most


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """What still keypoints have to say about all templates.

    nearest: (M,) of each template keypoint the likest still one, and similarity: (M,) how like it is.
    """

    index: Index
    still: Keypoints
    nearest: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A template of which many keypoints agree on one size and place.

    drawn: all of its keypoints. source, target: (N, 2) each, where those that agree are on its canvas and in the
    picture.
    """

    template: Template
    drawn: Keypoints
    source: np.ndarray
    target: np.ndarray


def vote(still: Keypoints, templates: Mapping[str, Template], features: Features) -> Votes | None:
    """None where there is nothing to vote on."""
    if len(still) < 4 or not templates:
        return None
    index = index_of(tuple(templates.values()), features)
    return Votes(index, still, *nearest_still(index, still))


def find_candidates(votes: Votes, strong: np.ndarray, least: int) -> list[Candidate]:
    """The templates of which most keypoints agree on one size and place, ``least`` of them at least.

    Of drawings that look the same at rest, which all get the same votes, the first alone: see ``variants``.
    strong: (M,) bool, which template keypoints may vote.
    """
    voted: dict[tuple[bytes, ...], tuple[int, Template, slice, np.ndarray, np.ndarray]] = {}
    for template, start, end in zip(votes.index.templates, (0, *votes.index.ends), votes.index.ends, strict=False):
        use = start + np.flatnonzero(strong[start:end])
        if len(use) < least:
            continue
        source, target = votes.index.packed[use], votes.still[votes.nearest[use]]
        agree = _agreeing(source, target, template.scene.canvas)
        count = len(distinct(source.points[agree], template.scene.canvas[0] * votes.index.features.same_point))
        if count >= least:
            points = (source.points[agree], target.points[agree])
            drawn = votes.index.packed.points[start:end]  # one may have all that another has, and more beside it
            key = (*(each.tobytes() for each in points), drawn.tobytes())
            voted.setdefault(key, (count, template, slice(start, end), *points))
    most = sorted(voted.values(), key=lambda each: -each[0])[:CANDIDATES]
    return [Candidate(template, votes.index.keypoints(part), *points) for _, template, part, *points in most]


def distinct(points: np.ndarray, apart: float) -> np.ndarray:
    """One point for each place of the template: views at two sizes and two backgrounds repeat them."""
    cells = np.round(points / apart).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return points[first]


def _agreeing(source: Keypoints, target: Keypoints, canvas: tuple[float, float]) -> np.ndarray:
    """Which matches vote for the most popular size and place: a Hough vote over scale and centre.

    An upright overlay's match tells its scale (the ratio of keypoint sizes) and, with it, its centre.
    """
    turn = np.abs((source.angles - target.angles + 180) % 360 - 180)
    scale = target.sizes / source.sizes
    width = scale * canvas[0]
    valid = (turn < MAX_TURN) & (width > OVERLAY_WIDTHS[0]) & (width < OVERLAY_WIDTHS[1])
    chosen = np.flatnonzero(valid)
    if not len(chosen):
        return chosen
    log_scale = np.log2(scale[chosen])
    centre = target.points[chosen] + (np.array(canvas) / 2 - source.points[chosen]) * scale[chosen, None]
    # A keypoint's size is known to about a quarter octave; its distance from the centre amplifies that error.
    tolerance = 0.15 * width[chosen]
    near_scale = np.abs(log_scale[:, None] - log_scale) < 0.35
    near_centre = np.abs(centre[:, None] - centre).max(2) < np.minimum(tolerance[:, None], tolerance)
    votes = (near_scale & near_centre).sum(1)
    peak = int(votes.argmax())
    return np.asarray(chosen[(near_scale & near_centre)[peak]])
