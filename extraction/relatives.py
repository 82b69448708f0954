"""Near a place that looks like a pad: the drawing that is there, or that what is there resembles.

The place is cut out at the templates' size and looked at by itself, so that less is enough to tell what is there. Of
drawings that are much alike as much is seen as of each other: they are judged by families.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from extraction.features import Features, Keypoints, look_at
from extraction.fits import SECOND_LOOK_KEPT, SECOND_LOOK_WIDTH, Fit, fit_candidates, is_good, likest
from extraction.look import LEAST_OPACITY, measure_limit
from extraction.outline import fit_outline, fit_window
from extraction.propose import Proposal, overlap
from extraction.rectify import cut_out, scale_box
from extraction.votes import find_candidates, vote
from templates.catalogue import Template
from templates.scene import Box

NEAR_AROUND: Final = 1.6  # times the box: what is looked at near it
NEAR_SHAPE: Final = 0.75  # height by width of that
SEEN: Final = 0.3  # of the corners of a drawing, or of all of its family's together
SURELY_LIKE: Final = 0.9  # correlation from which a drawing is not doubted, however little is seen of it
SAME_PLACE: Final = 0.6  # IoU with the box near which it was looked for
SURELY_THERE: Final = 0.8  # of such an outline's agreement, that was there before; what is nearly there is in doubt
CLEAR: Final = 0.64  # of the outline of a drawing that only resembles what is there: of it, that lies on edges


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What is seen of one family near a proposal.

    proposal: as one of this family. box_xywh: its place in pixels of the median. fits: of the family's drawings there.
    seen: of their corners, all together. outdone: whether more is seen of another, altogether and of one drawing.
    """

    proposal: Proposal
    box_xywh: Box
    fits: tuple[Fit, ...]
    seen: float
    outdone: bool


def find_families(
    proposals: Sequence[Proposal],
    shrink: float,
    templates: Mapping[str, Template],
    median: np.ndarray,
    features: Features,
) -> tuple[list[Family], list[Fit]]:
    """The families of which enough is seen near a proposal, most seen first, and all fits that were judged."""
    families: list[Family] = []
    judged: list[Fit] = []
    for proposal in proposals:
        box = scale_box(proposal.box_xywh, shrink)
        fits = _fit_near(box, templates, median, features)
        judged += fits
        parts = _parts_of(fits)
        for family, mine in parts.items():
            if (seen := sum(mine)) >= SEEN:
                alike = tuple(fit for fit in fits if fit.template.family == family)
                named = replace(proposal, family=family, family_score=max(mine))
                families.append(Family(named, box, alike, seen, _is_outdone(mine, parts)))
    return sorted(families, key=lambda family: -family.seen), judged


def is_doubtful(fit: Fit, templates: Mapping[str, Template], median: np.ndarray, features: Features) -> bool:
    """Whether a fit of which little was seen is outdone by another family, where it is looked at closely."""
    if fit.part >= SEEN or fit.likeness >= SURELY_LIKE:
        return False
    box = (*fit.affine[:, 2], *(np.diag(fit.affine[:, :2]) * fit.template.scene.canvas))
    parts = _parts_of(_fit_near(box, templates, median, features))
    return _is_outdone(parts.get(fit.template.family, [0.0]), parts)


@dataclass(frozen=True, slots=True, eq=False)
class Relative:
    """A drawing that is there, or that what is there resembles.

    box_xywh: of what is there, in pixels of the median; None where it is the drawing's canvas. other_body: whether the
    drawing's outline is not there.
    """

    fit: Fit
    box_xywh: Box | None = None
    other_body: bool = False


def find_relative(families: Sequence[Family], median: np.ndarray, min_inliers: int) -> Relative | None:
    """What is surely there.

    Relatives of what is there share its geometry: the family of which most is seen is the right one, unless it is
    outdone by one of which no drawing looks like it. Where little is seen of each drawing, or it only resembles what is
    there, its outline must lie on clear edges, about where the proposal is.
    """
    for family in families:
        good = [fit for fit in family.fits if is_good(fit, min_inliers)]
        if good and not family.outdone:
            break
    else:
        return None
    best = likest(good, median)
    outline = fit_outline(best.template, best.affine, median)
    can_be = measure_limit(best.template, best.affine, median) >= LEAST_OPACITY
    if outline.was_there and can_be and best.part >= SEEN:
        return Relative(best)
    if outline.agreement < CLEAR or overlap(outline.box_xywh, family.box_xywh) < SAME_PLACE:
        return None
    window = fit_window(outline.box_xywh, median)
    if not outline.was_there or window != outline.box_xywh:
        return Relative(best, window, other_body=not outline.was_there)
    return Relative(best) if outline.before >= SURELY_THERE * outline.agreement else None


def _fit_near(box: Box, templates: Mapping[str, Template], median: np.ndarray, features: Features) -> list[Fit]:
    """The drawings that fit in and around a box of a median."""
    votes = vote(_look_near(median, box, features), templates, features)
    if votes is None:
        return []
    return fit_candidates(find_candidates(votes, votes.similarity > features.likeness, 1), median, features)


def _parts_of(fits: Sequence[Fit]) -> dict[str, list[float]]:
    """By family, how much is seen of each of its drawings."""
    parts: dict[str, list[float]] = {}
    for fit in fits:
        parts.setdefault(fit.template.family, []).append(fit.part)
    return parts


def _is_outdone(mine: Sequence[float], parts: Mapping[str, Sequence[float]]) -> bool:
    """Whether more is seen of another family, altogether and of one drawing."""
    return any(sum(other) > sum(mine) and max(other) > max(mine) for other in parts.values())


def _look_near(median: np.ndarray, box: Box, features: Features) -> Keypoints:
    """Keypoints of a median in and around a box, which is cut out half an octave larger than templates are looked at.

    So it is looked at in the right size, too, if the overlay is half an octave larger or smaller than the box.
    """
    x, y, w, h = box
    width = max(w, h / NEAR_SHAPE)
    unit = width / (SECOND_LOOK_WIDTH * math.sqrt(2))
    around = NEAR_AROUND * np.array([width, width * NEAR_SHAPE])
    corner = (x + w / 2, y + h / 2) - around / 2
    to_frame = np.array([[unit, 0, corner[0]], [0, unit, corner[1]]])
    across, down = np.ceil(around / unit).astype(int).tolist()
    found = look_at(cut_out(median, to_frame, (across, down), cv2.INTER_CUBIC), SECOND_LOOK_KEPT, features, faint=True)
    points = found.points * np.float32(unit) + corner.astype(np.float32)
    inside = np.asarray(((points >= 0) & (points <= median.shape[1::-1])).all(1))
    return replace(found, points=points, sizes=found.sizes * np.float32(unit))[inside]
