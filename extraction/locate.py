"""Where the overlay is: what stands still in sampled frames, matched against every template at once.

Votes of single matches pick a few candidates, and an affine fit (USAC) says where each would be. There a
second look judges it: at a known place faint keypoints count too, and none elsewhere competes with them. The
candidate whose picture agrees best with the temporal median wins. Inliers are counted as distinct template
keypoints, so that a still background which resembles one of them counts once, not once a frame.

Places where something looks like a pad can be looked at more closely: each by itself, cut out at the templates' size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from extraction.features import (
    SIFT,
    Features,
    Index,
    Keypoints,
    index_of,
    look_at,
    look_for_still,
    median_of,
    nearest_still,
)
from extraction.look import COMPARED_WIDTH, LEAST_OPACITY, blurred, measure_limit, measure_look, overlaid
from extraction.outline import fit_outline, fit_window
from extraction.propose import SUSPECTED, Proposal, overlap
from extraction.records import Placement, Reason, SourceError
from extraction.rectify import Rectifier, clip_box, covered_box, cut_out
from extraction.spans import (
    FrameAt,
    Track,
    find_spans,
    find_unexplained,
    follow,
    join_track,
    number_pads,
    settle_overlaps,
)
from extraction.variants import choose_variant, find_variants
from templates.catalogue import Template
from templates.scene import Box

FEATURE_WIDTH: Final = 1280  # px; wider frames are shrunk for matching
SURE_VOTES: Final = 10  # that a second pad needs: where there is none, up to 20 votes of grids agree
BORDER: Final = 0.05  # of the canvas, around it: keypoints there are the overlay's too
KEPT_PER_PART: Final = 1000  # keypoints of a part of the frames
MAX_TURN: Final = 25.0  # degrees; overlays are scaled, never turned
CANDIDATES, AT_ONCE = 12, 6  # that are judged at most, and together: a good one ends it
REPROJECTION_PX: Final = 2.5
MAX_SHEAR: Final = 0.06
MAX_STRETCH: Final = 1.25  # a streamer may scale width and height a little differently
OVERLAY_WIDTHS: Final = (60.0, 1000.0)  # px
FINE_PX: Final = 0.2  # errors below it count alike
SECOND_LOOK_WIDTH: Final = 360  # px
SECOND_LOOK_KEPT: Final = 2000
SAME_SIZE: Final = 0.5  # octaves
MAX_SIDE_ERROR: Final = 1.5  # px, standard error of the box's sides; a clump of inliers leaves them open
CLOSE_CALL: Final = 0.5  # of the most inliers: candidates that the picture decides between
MIN_LIKENESS: Final = 0.5  # a fragment of the drawing stays below
NEAR_AROUND: Final = 1.6  # times the box: what is looked at near it
NEAR_SHAPE: Final = 0.75  # height by width of that
SEEN: Final = 0.3  # of the corners of a drawing, or of all of its family's together
SAME_PLACE: Final = 0.6  # IoU with the box near which it was looked for
SURELY_THERE: Final = 0.8  # of such an outline's agreement, that was there before; what is nearly there is in doubt
CLEAR: Final = 0.64  # of the outline of a drawing that only resembles what is there: of it, that lies on edges


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found in one video. ``reason`` is set exactly when there is no placement.

    detail: explains it; or what is known of the placements beside where they are.
    """

    placements: tuple[Placement, ...]
    reason: Reason | None
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A template's axis-aligned fit: canvas -> frame, its distinct inliers, its likeness to the median in [-1, 1].

    drawn: the template's keypoints. part: of the distinct ones, that are inliers.
    """

    template: Template
    drawn: Keypoints
    affine: np.ndarray
    inliers: int
    part: float
    likeness: float


def locate(
    frames: Sequence[tuple[float, np.ndarray]],
    templates: Mapping[str, Template],
    *,
    min_inliers: int = 20,
    frame_at: FrameAt | None = None,
    features: Features = SIFT,
) -> Found:
    """Find the overlays in frames sampled from one video, (pts_s, (H, W, 3) uint8 RGB), and when they are there.

    All frames are looked at together. Only where some do not show what was found, or nothing was, stretches of them
    are looked at by themselves. ``frame_at`` gives the video's other frames, to find the times of changes.
    """
    if not frames:
        return Found((), Reason.NO_FRAMES, "no frame could be decoded")
    rgbs = [rgb for _, rgb in frames]
    pictures = np.stack([_shrink(rgb) for rgb in rgbs])
    shrink = pictures.shape[2] / rgbs[0].shape[1]
    median = median_of(pictures)
    for still in look_for_still(list(pictures), median, features):
        good, judged = _find_all(still, templates, median, min_inliers, features)
        if good:
            break
    everywhere = np.ones(len(frames), bool)
    tracks = [follow(fit.template, fit.affine / shrink, fit.inliers, rgbs, everywhere) for fit in good]
    seen_before: set[tuple[int, int]] = set()
    while left := [part for part in find_unexplained(tracks, len(frames)) if part not in seen_before]:
        seen_before.update(left)
        for found_in, fit in _find_in_parts(pictures, left, templates, min_inliers, features):
            new = follow(fit.template, fit.affine / shrink, fit.inliers, rgbs, found_in)
            # A few frames may resemble a template by chance; all frames that look like them seldom do.
            pooled = _fit_again(fit.template, fit.drawn, fit.affine, median_of(pictures[new.alike]), features)
            if pooled is not None and _is_good(pooled, min_inliers):
                tracks = join_track(tracks, replace(new, inliers=pooled.inliers), rgbs)
    tracks = settle_overlaps(tracks)
    if not tracks:
        return Found((), Reason.NO_OVERLAY, _explain(judged, min_inliers))
    shown = [median if track.visible.all() else median_of(pictures[track.visible]) for track in tracks]
    whole = [_placement_of(track, rgbs, seen, templates) for track, seen in zip(tracks, shown, strict=True)]
    return Found(_in_time(whole, tracks, frames, frame_at), None, "")


def locate_near(
    frames: Sequence[tuple[float, np.ndarray]],
    templates: Mapping[str, Template],
    proposals: Sequence[Proposal],
    *,
    min_inliers: int = 20,
    frame_at: FrameAt | None = None,
    features: Features = SIFT,
) -> Found:
    """Find one overlay near places that look like a pad, closely, in the frames of ``locate``.

    A skin that only resembles a drawing is found, too. Where its body is another one, it must be there from the first
    frame to the last; its placement has a limit of 0 and a box of its own. Where nothing is placed, but a pad is
    suspected, by its looks or by drawings that are seen there, the reason is UNKNOWN_SKIN.
    """
    rgbs = [rgb for _, rgb in frames]
    pictures = np.stack([_shrink(rgb) for rgb in rgbs])
    shrink = pictures.shape[2] / rgbs[0].shape[1]
    median = median_of(pictures)
    families, judged = _find_families(proposals, shrink, templates, median, features)
    if (relative := _find_relative(families, median, min_inliers)) is not None:
        best = relative.fit
        track = follow(best.template, best.affine / shrink, best.inliers, rgbs, np.ones(len(frames), bool))
        seen = median if track.visible.all() else median_of(pictures[track.visible])
        place = _placement_of(track, rgbs, seen, templates)
        if relative.box_xywh is not None:
            frame_wh = (rgbs[0].shape[1], rgbs[0].shape[0])
            place = replace(place, box_xywh=clip_box(_scaled(relative.box_xywh, 1 / shrink), frame_wh))
        if relative.other_body:
            place = replace(place, limit=0.0)
        placements = _in_time([place], [track], frames, frame_at)
        if place.limit > 0 or [(each.start_s, each.end_s) for each in placements] == [(0.0, math.inf)]:
            return Found(placements, None, "")
    looks = [proposal for proposal in proposals[:1] if proposal.score >= SUSPECTED]
    if suspected := [family.proposal for family in families] + looks:
        return Found((), Reason.UNKNOWN_SKIN, max(suspected, key=lambda proposal: proposal.score).sentence)
    return Found((), Reason.NO_OVERLAY, _explain(judged, min_inliers))


def _in_time(
    whole: Sequence[Placement],
    tracks: Sequence[Track],
    frames: Sequence[tuple[float, np.ndarray]],
    frame_at: FrameAt | None,
) -> tuple[Placement, ...]:
    """What each track shows from the first frame to the last, as placements for each of its spans."""
    times_s = [pts_s for pts_s, _ in frames]
    placements: list[Placement] = []
    for place, pad, spans in zip(whole, number_pads(tracks), find_spans(tracks, times_s, frame_at), strict=True):
        for start_s, end_s in spans:
            support = sum(start_s <= time_s < end_s for time_s in times_s)
            new = replace(place, pad=pad, sampled=len(frames), start_s=start_s, end_s=end_s, support=support)
            placements.append(new)
    return tuple(sorted(placements, key=lambda place: (place.pad, place.start_s)))


def _placement_of(
    track: Track, rgbs: Sequence[np.ndarray], shown: np.ndarray, templates: Mapping[str, Template]
) -> Placement:
    """What a track shows, from the first frame to the last. shown: (h, w, 3) uint8, the median of what is visible."""
    affine = track.affine * (shown.shape[1] / rgbs[0].shape[1])
    gain, offset = measure_look(track.template, affine, shown)
    visible = [rgb for rgb, seen in zip(rgbs, track.visible, strict=True) if seen]
    template = choose_variant(find_variants(track.template, templates.values()), track.affine, gain, visible)
    limit = measure_limit(template, affine, shown)
    rest = track.rectifier.rest_of(visible)
    return Placement(template, track.affine, track.box_xywh, track.inliers, 0.0, math.inf, rest, gain, offset, limit)


def _find_in_parts(
    pictures: np.ndarray,
    parts: Sequence[tuple[int, int]],
    templates: Mapping[str, Template],
    min_inliers: int,
    features: Features,
) -> Iterator[tuple[np.ndarray, _Fit]]:
    """The overlays in the medians of parts, (first, end) each, of T pictures: (T,) bool, the part, and the fit."""
    medians = [median_of(pictures[first:end]) for first, end in parts]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stills = list(pool.map(lambda median: look_at(median, KEPT_PER_PART, features), medians))
    for (first, end), median, still in zip(parts, medians, stills, strict=True):
        found_in = np.zeros(len(pictures), bool)
        found_in[first:end] = True
        for fit in _find_all(still, templates, median, min_inliers, features)[0]:
            yield found_in, fit


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """What still keypoints have to say about all templates.

    nearest: (M,) of each template keypoint the likest still one, and similarity: (M,) how like it is.
    """

    index: Index
    still: Keypoints
    nearest: np.ndarray
    similarity: np.ndarray


def _vote(still: Keypoints, templates: Mapping[str, Template], features: Features) -> _Votes | None:
    """None where there is nothing to vote on."""
    if len(still) < 4 or not templates:
        return None
    index = index_of(tuple(templates.values()), features)
    return _Votes(index, still, *nearest_still(index, still))


def _find_all(
    still: Keypoints, templates: Mapping[str, Template], median: np.ndarray, min_inliers: int, features: Features
) -> tuple[list[_Fit], list[_Fit]]:
    """The overlays that one picture shows, each in a place of its own, and all fits that were judged.

    What lies beside an overlay that was found votes again only where its surest matches agree: two pads at once are
    rare.
    """
    found: list[_Fit] = []
    judged: list[_Fit] = []
    while (votes := _vote(still, templates, features)) is not None:
        candidates = _candidates(votes, votes.similarity > features.likeness, 1)
        good: list[_Fit] = []
        for first in range(0, len(candidates), AT_ONCE):
            fits = _fit_together(candidates[first : first + AT_ONCE], median, features)
            judged += fits
            if good := [fit for fit in fits if _is_good(fit, min_inliers)]:
                break
        else:
            break
        found.append(_likest(good, median))
        free = ~_covers(found[-1], still.points)
        sure = free[votes.nearest] & (votes.similarity > features.sure)
        if not _candidates(votes, sure, SURE_VOTES):
            break
        still = still[free]
    return found, judged


def _likest(good: Sequence[_Fit], median: np.ndarray) -> _Fit:
    """Of good fits in one place the one whose picture agrees best, of those that about as much is seen of.

    A drawing may be a part of another one; where what only the larger one has is seen as well, it is that.
    """
    most = max(fit.inliers for fit in good)
    close = [fit for fit in good if fit.inliers >= CLOSE_CALL * most]
    best = max(close, key=lambda fit: fit.likeness)
    corners = best.affine[:, 2] + [(0, 0), np.diag(best.affine[:, :2]) * best.template.scene.canvas]
    larger = [fit for fit in close if fit is not best and _covers(fit, corners).all()]
    whole = [fit for fit in larger if _likeness(fit.template, fit.affine, median, best) >= MIN_LIKENESS]
    return max(whole, key=lambda fit: fit.likeness, default=best)


@dataclass(frozen=True, slots=True, eq=False)
class _Family:
    """What is seen of one family near a proposal.

    proposal: as one of this family. box_xywh: its place in pixels of the median. fits: of the family's drawings there.
    seen: of their corners, all together. outdone: whether more is seen of another, altogether and of one drawing.
    """

    proposal: Proposal
    box_xywh: Box
    fits: tuple[_Fit, ...]
    seen: float
    outdone: bool


def _find_families(
    proposals: Sequence[Proposal],
    shrink: float,
    templates: Mapping[str, Template],
    median: np.ndarray,
    features: Features,
) -> tuple[list[_Family], list[_Fit]]:
    """The families of which enough is seen near a proposal, most seen first, and all fits that were judged."""
    families: list[_Family] = []
    judged: list[_Fit] = []
    for proposal in proposals:
        box = _scaled(proposal.box_xywh, shrink)
        votes = _vote(_look_near(median, box, features), templates, features)
        if votes is None:
            continue
        fits = _fit_together(_candidates(votes, votes.similarity > features.likeness, 1), median, features)
        judged += fits
        parts: dict[str, list[float]] = {}
        for fit in fits:
            parts.setdefault(fit.template.family, []).append(fit.part)
        for family, mine in parts.items():
            if (seen := sum(mine)) >= SEEN:
                outdone = any(sum(other) > seen and max(other) > max(mine) for other in parts.values())
                alike = tuple(fit for fit in fits if fit.template.family == family)
                named = replace(proposal, family=family, family_score=max(mine))
                families.append(_Family(named, box, alike, seen, outdone))
    return sorted(families, key=lambda family: -family.seen), judged


@dataclass(frozen=True, slots=True, eq=False)
class _Relative:
    """A drawing that is there, or that what is there resembles.

    box_xywh: of what is there, in pixels of the median; None where it is the drawing's canvas. other_body: whether the
    drawing's outline is not there.
    """

    fit: _Fit
    box_xywh: Box | None = None
    other_body: bool = False


def _find_relative(families: Sequence[_Family], median: np.ndarray, min_inliers: int) -> _Relative | None:
    """What is surely there.

    Relatives of what is there share its geometry: the family of which most is seen is the right one, unless it is
    outdone by one of which no drawing looks like it. Where little is seen of each drawing, or it only resembles what is
    there, its outline must lie on clear edges, about where the proposal is.
    """
    for family in families:
        good = [fit for fit in family.fits if _is_good(fit, min_inliers)]
        if good and not family.outdone:
            break
    else:
        return None
    best = _likest(good, median)
    outline = fit_outline(best.template, best.affine, median)
    can_be = measure_limit(best.template, best.affine, median) >= LEAST_OPACITY
    if outline.was_there and can_be and best.part >= SEEN:
        return _Relative(best)
    if outline.agreement < CLEAR or overlap(outline.box_xywh, family.box_xywh) < SAME_PLACE:
        return None
    window = fit_window(outline.box_xywh, median)
    if not outline.was_there or window != outline.box_xywh:
        return _Relative(best, window, other_body=not outline.was_there)
    return _Relative(best) if outline.before >= SURELY_THERE * outline.agreement else None


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


def _fit_together(
    candidates: Sequence[tuple[Template, Keypoints, np.ndarray, np.ndarray]], median: np.ndarray, features: Features
) -> list[_Fit]:
    """Those of the ``_candidates`` that fit."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fitting = [pool.submit(_fit, *candidate, median, features) for candidate in candidates]
    return [fit for each in fitting if (fit := each.result()) is not None]


def _is_good(fit: _Fit, min_inliers: int) -> bool:
    return fit.inliers >= min_inliers and fit.likeness >= MIN_LIKENESS


def _covers(fit: _Fit, points: np.ndarray) -> np.ndarray:
    """Which points (..., 2) lie where a fit's canvas is."""
    canvas = np.array(fit.template.scene.canvas)
    on_canvas = (points - fit.affine[:, 2]) / np.diag(fit.affine[:, :2]) / canvas
    return np.asarray((np.abs(on_canvas - 0.5) < 0.5 + BORDER).all(-1))


def _scaled(box: Box, scale: float) -> Box:
    x, y, w, h = box
    return x * scale, y * scale, w * scale, h * scale


def place_by_hand(box_xywh: tuple[int, int, int, int], template: Template, frames: Sequence[np.ndarray]) -> Placement:
    """A placement that a person gave: the template's canvas stretched over a box, for a skin of unknown look.

    frames: (H, W, 3) uint8, sampled from the video, at least one.
    """
    x, y, w, h = box_xywh
    height, width = frames[0].shape[:2]
    if w < 1 or h < 1 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise SourceError(f"expected a box inside {width}x{height} px, found {x},{y},{w},{h}; give x,y,w,h")
    canvas = template.scene.canvas
    affine = np.array([[w / canvas[0], 0, x], [0, h / canvas[1], y]], np.float64)
    box = covered_box(template.scene, affine, (width, height))
    rest = Rectifier(template.scene, affine, (width, height)).rest_of(frames)
    return Placement(template, affine, box, 0, 0.0, math.inf, rest)


def _shrink(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    if width <= FEATURE_WIDTH:
        return rgb
    size = (FEATURE_WIDTH, round(height * FEATURE_WIDTH / width))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _candidates(
    votes: _Votes, strong: np.ndarray, least: int
) -> list[tuple[Template, Keypoints, np.ndarray, np.ndarray]]:
    """The templates of which most keypoints agree on one size and place, ``least`` of them at least.

    Of drawings that look the same at rest, which all get the same votes, the first alone: see ``variants``.
    strong: (M,) bool, which template keypoints may vote. Each as (template, its keypoints, and of those that agree
    their canvas points and frame points).
    """
    voted: dict[tuple[bytes, bytes], tuple[int, Template, slice, np.ndarray, np.ndarray]] = {}
    for template, start, end in zip(votes.index.templates, (0, *votes.index.ends), votes.index.ends, strict=False):
        use = start + np.flatnonzero(strong[start:end])
        if len(use) < least:
            continue
        source, target = votes.index.packed[use], votes.still[votes.nearest[use]]
        agree = _agreeing(source, target, template.scene.canvas)
        count = len(_distinct(source.points[agree], template.scene.canvas[0] * votes.index.features.same_point))
        if count >= least:
            points = (source.points[agree], target.points[agree])
            key = (points[0].tobytes(), points[1].tobytes())
            voted.setdefault(key, (count, template, slice(start, end), *points))
    most = sorted(voted.values(), key=lambda each: -each[0])[:CANDIDATES]
    return [(template, votes.index.keypoints(part), source, target) for _, template, part, source, target in most]


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


def _fit(
    template: Template,
    drawn: Keypoints,
    source: np.ndarray,
    target: np.ndarray,
    median: np.ndarray,
    features: Features,
) -> _Fit | None:
    """An affine fit of one of the ``_candidates``, refused unless it looks like an upright overlay."""
    if len(source) < 4:
        return None
    affine, mask = cv2.estimateAffine2D(
        source, target, method=cv2.USAC_MAGSAC, ransacReprojThreshold=REPROJECTION_PX, maxIters=5000, confidence=0.999
    )
    if affine is None or not _is_upright(affine):
        return None
    inlier = mask.ravel().astype(bool)
    return _fit_again(template, drawn, _fit_upright(source[inlier], target[inlier]), median, features)


def _fit_again(
    template: Template, drawn: Keypoints, upright: np.ndarray, median: np.ndarray, features: Features
) -> _Fit | None:
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
    distinct = _distinct(source[error < REPROJECTION_PX], apart)
    part = len(distinct) / len(_distinct(drawn.points, apart))
    if len(distinct) < 4 or part < features.least_part:
        return None
    if _side_error(distinct, float(np.sqrt((error**2).mean())), template.scene.canvas) > MAX_SIDE_ERROR:
        return None
    return _Fit(template, drawn, upright, len(distinct), part, _likeness(template, upright, median))


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


def _distinct(points: np.ndarray, apart: float) -> np.ndarray:
    """One point for each place of the template: views at two sizes and two backgrounds repeat them."""
    cells = np.round(points / apart).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return points[first]


def _likeness(template: Template, affine: np.ndarray, median: np.ndarray, beside: _Fit | None = None) -> float:
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
        weight[_covers(beside, points)] = 0
    products = [
        (weight * a * b).sum() for a, b in ((residuals[0], residuals[1]), (residuals[0],) * 2, (residuals[1],) * 2)
    ]
    return float(products[0] / np.sqrt(products[1] * products[2] + 1e-6))


def _without_local_mean(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture - blurred(picture, COMPARED_WIDTH / 16))


def _explain(fits: Sequence[_Fit], min_inliers: int) -> str:
    if not fits:
        return "no template matched anything that stands still"
    best = max(fits, key=lambda fit: fit.inliers)
    return f"the best candidate, {best.template.id}, has {best.inliers} of {min_inliers} inliers"
