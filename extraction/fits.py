"""Where a template is, if it is there: an affine fit of a candidate's keypoints, and a second look that judges it.

At a known place faint keypoints count too, and none elsewhere competes with them. Inliers are counted as distinct
template keypoints, so that a still background which resembles one of them counts once, not once a frame.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from extraction.features import Features, Keypoints, look_at
from extraction.look import COMPARED_WIDTH, blurred, overlaid
from extraction.rectify import cut_out
from extraction.votes import MAX_TURN, Candidate, distinct
from templates.catalogue import Template

BORDER: Final = 0.05  # of the canvas, around it: keypoints there are the overlay's too
REPROJECTION_PX: Final = 2.5
MAX_SHEAR: Final = 0.06
MAX_STRETCH: Final = 1.25  # a streamer may scale width and height a little differently
FINE_PX: Final = 0.2  # errors below it count alike
SECOND_LOOK_WIDTH: Final = 360  # px
SECOND_LOOK_KEPT: Final = 2000
SAME_SIZE: Final = 0.5  # octaves
MAX_SIDE_ERROR: Final = 1.5  # px, standard error of the box's sides; a clump of inliers leaves them open
CLOSE_CALL: Final = 0.5  # of the most inliers: fits that the picture decides between
ABOUT_AS_LIKE: Final = 0.05  # a drawing and one that it is a part of, where both are there
MIN_LIKENESS: Final = 0.5  # a fragment of the drawing stays below


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A template's axis-aligned fit: canvas -> frame, its distinct inliers, its likeness to the median in [-1, 1].

    drawn: the template's keypoints. part: of the distinct ones, that are inliers.
    """

    template: Template
    drawn: Keypoints
    affine: np.ndarray
    inliers: int
    part: float
    likeness: float


def fit_candidates(candidates: Sequence[Candidate], median: np.ndarray, features: Features) -> list[Fit]:
    """Those candidates that fit."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fitting = [pool.submit(_fit, candidate, median, features) for candidate in candidates]
    return [fit for each in fitting if (fit := each.result()) is not None]


def _fit(candidate: Candidate, median: np.ndarray, features: Features) -> Fit | None:
    """An affine fit of a candidate, refused unless it looks like an upright overlay."""
    source, target = candidate.source, candidate.target
    if len(source) < 4:
        return None
    affine, mask = cv2.estimateAffine2D(
        source, target, method=cv2.USAC_MAGSAC, ransacReprojThreshold=REPROJECTION_PX, maxIters=5000, confidence=0.999
    )
    if affine is None or not _is_upright(affine):
        return None
    inlier = mask.ravel().astype(bool)
    upright = _fit_upright(source[inlier], target[inlier])
    return fit_again(candidate.template, candidate.drawn, upright, median, features)


def fit_again(
    template: Template, drawn: Keypoints, upright: np.ndarray, median: np.ndarray, features: Features
) -> Fit | None:
    """The second look: the fit of a template that is presumed to be where ``upright`` puts it."""
    if not _is_upright(upright):
        return None
    there = _keypoints_at(template, upright, median, features)
    similarity = drawn.descriptors @ there.descriptors.T
    for reach_px in (2 * REPROJECTION_PX, REPROJECTION_PX, REPROJECTION_PX):  # the first fit may be off
        source, target = _match_at(drawn, there, similarity, upright, reach_px, features.likeness)
        if len(source) < 4:
            return None
        upright = _fit_upright(source, target)
        if not _is_upright(upright):
            return None
    error = np.linalg.norm(source * np.diag(upright[:, :2]) + upright[:, 2] - target, axis=1)
    apart = template.scene.canvas[0] * features.same_point
    inliers = distinct(source[error < REPROJECTION_PX], apart)
    part = len(inliers) / len(distinct(drawn.points, apart))
    if len(inliers) < 4 or part < features.least_part:
        return None
    if _side_error(inliers, float(np.sqrt((error**2).mean())), template.scene.canvas) > MAX_SIDE_ERROR:
        return None
    return Fit(template, drawn, upright, len(inliers), part, _likeness(template, upright, median))


def is_good(fit: Fit, min_inliers: int) -> bool:
    """Whether enough is seen of a fit's template, and it looks like it."""
    return fit.inliers >= min_inliers and fit.likeness >= MIN_LIKENESS


def covers(fit: Fit, points: np.ndarray) -> np.ndarray:
    """Which points (..., 2) lie where a fit's canvas is."""
    canvas = np.array(fit.template.scene.canvas)
    on_canvas = (points - fit.affine[:, 2]) / np.diag(fit.affine[:, :2]) / canvas
    return np.asarray((np.abs(on_canvas - 0.5) < 0.5 + BORDER).all(-1))


def likest(good: Sequence[Fit], median: np.ndarray) -> Fit:
    """Of good fits in one place the one whose picture agrees best, of those that about as much is seen of.

    A drawing may be a part of another one; where that is about as likely, and what only it has is seen, it is that.
    """
    most = max(fit.inliers for fit in good)
    close = [fit for fit in good if fit.inliers >= CLOSE_CALL * most]
    best = max(close, key=lambda fit: fit.likeness)
    corners = best.affine[:, 2] + [(0, 0), np.diag(best.affine[:, :2]) * best.template.scene.canvas]
    alike = [fit for fit in close if fit is not best and fit.likeness >= best.likeness - ABOUT_AS_LIKE]
    larger = [fit for fit in alike if covers(fit, corners).all()]
    whole = [fit for fit in larger if _likeness(fit.template, fit.affine, median, best) >= MIN_LIKENESS]
    return max(whole, key=lambda fit: fit.likeness, default=best)


def _keypoints_at(template: Template, affine: np.ndarray, median: np.ndarray, features: Features) -> Keypoints:
    """The median's keypoints where a template is presumed to be, in pixels of the median.

    The place is cut out at the size of the template's own views, and faint keypoints count.
    """
    canvas = np.array(template.scene.canvas)
    margin = canvas[0] / 10
    unit = canvas[0] / SECOND_LOOK_WIDTH
    size = np.ceil((canvas + 2 * margin) / unit).astype(int).tolist()
    to_frame = affine @ np.array([[unit, 0, -margin], [0, unit, -margin], [0, 0, 1]])
    scale, shift = np.diag(to_frame[:, :2]), to_frame[:, 2]
    seen = cut_out(median, to_frame, (size[0], size[1]), cv2.INTER_CUBIC)
    found = look_at(seen, SECOND_LOOK_KEPT, features, faint=True)
    return replace(found, points=found.points * scale + shift, sizes=found.sizes * scale[0])


def _match_at(
    source: Keypoints,
    there: Keypoints,
    similarity: np.ndarray,
    affine: np.ndarray,
    reach_px: float,
    likeness: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Match a template's keypoints within ``reach_px`` of where they should be: canvas and frame points, (N, 2).

    Each takes the likest (by ``similarity``, template x frame) of those that have its size, direction and place;
    no ratio test, the place singles it out.
    """
    scale = np.diag(affine[:, :2])
    rows, columns = np.nonzero(similarity > likeness)
    apart_px = np.abs(source.points[rows] * scale + affine[:, 2] - there.points[columns]).max(1)
    octaves = np.abs(np.log2(source.sizes[rows] * scale[0] / there.sizes[columns]))
    turn = np.abs((source.angles[rows] - there.angles[columns] + 180) % 360 - 180)
    fitting = (apart_px < reach_px) & (octaves < SAME_SIZE) & (turn < MAX_TURN)
    rows, columns = rows[fitting], columns[fitting]
    order = np.lexsort((-similarity[rows, columns], rows))
    matched, first = np.unique(rows[order], return_index=True)
    return source.points[matched], there.points[columns[order][first]]


def _side_error(points: np.ndarray, error_px: float, canvas: tuple[float, float]) -> float:
    """Standard error of the worst side of the box in pixels: that of a regression line at its far end."""
    mean, variance = points.mean(0), points.var(0) + 1e-9
    far = np.maximum(mean, canvas - mean)
    return float((error_px * np.sqrt((1 + far**2 / variance) / len(points))).max())


def _is_upright(affine: np.ndarray) -> bool:
    """Whether an affine scales and moves, and does hardly anything else."""
    sx, sy = affine[0, 0], affine[1, 1]
    if sx <= 0 or sy <= 0 or max(sx / sy, sy / sx) > MAX_STRETCH:
        return False
    return bool(max(abs(affine[0, 1]), abs(affine[1, 0])) < MAX_SHEAR * max(sx, sy))


def _fit_upright(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scale and shift, each axis by itself: (2, 3). Least squares with Cauchy weights.

    Matches of a repeated texture, such as the dots of a grip, may agree with each other a pixel or two off.
    """
    affine = np.zeros((2, 3))
    weights = np.ones((len(source), 1))
    for _ in range(8):
        weights /= weights.sum()
        mean_source, mean_target = (weights * source).sum(0), (weights * target).sum(0)
        centred = source - mean_source
        scale = (weights * centred * (target - mean_target)).sum(0) / ((weights * centred**2).sum(0) + 1e-9)
        affine[[0, 1], [0, 1]], affine[:, 2] = scale, mean_target - scale * mean_source
        error = np.linalg.norm(source * scale + affine[:, 2] - target, axis=1, keepdims=True)
        weights = 1 / (1 + (error / max(float(np.median(error)), FINE_PX)) ** 2)
    return affine


def _likeness(template: Template, affine: np.ndarray, median: np.ndarray, beside: Fit | None = None) -> float:
    """How the template's rest picture correlates with the median picture under it, in [-1, 1]; ``beside`` a fit alone.

    Both are compared where the drawing's own edges and colours are, after their local means are taken out:
    a background that shows through adds to those means only.
    """
    rgba, seen = overlaid(template, affine, median)
    alpha = rgba[..., 3:] / 255
    drawn = rgba[..., :3] * alpha + seen * (1 - alpha)  # what shows through is the same in both
    residuals = [_without_local_mean(picture) for picture in (drawn, seen)]
    weight = blurred(np.abs(_without_local_mean(rgba[..., 3])) + np.abs(residuals[0]).mean(2), 2.0)[..., None]
    if beside is not None:
        unit = template.scene.canvas[0] / seen.shape[1]
        rows, columns = np.indices(seen.shape[:2])
        points = (np.stack([columns, rows], -1) + 0.5) * unit * np.diag(affine[:, :2]) + affine[:, 2]
        weight[covers(beside, points)] = 0
    products = [
        (weight * a * b).sum() for a, b in ((residuals[0], residuals[1]), (residuals[0],) * 2, (residuals[1],) * 2)
    ]
    return float(products[0] / np.sqrt(products[1] * products[2] + 1e-6))


def _without_local_mean(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture - blurred(picture, COMPARED_WIDTH / 16))
