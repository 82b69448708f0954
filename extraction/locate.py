"""Where the overlay is: what stands still in sampled frames, matched against every template at once.

Keypoints vote for candidates, each of which is fitted and judged by itself (see ``votes`` and ``fits``). The one whose
picture agrees best with the temporal median wins. Places where something looks like a pad can be looked at more
closely (see ``relatives``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Self

import cv2
import numpy as np

from extraction.features import SIFT, Features, Keypoints, look_at, look_for_still, median_of
from extraction.fits import Fit, covers, fit_again, fit_candidates, is_good, likest
from extraction.look import measure_least, measure_limit, measure_look
from extraction.propose import SUSPECTED, Proposal
from extraction.records import Placement, Reason, SourceError
from extraction.rectify import Rectifier, clip_box, covered_box, scale_box
from extraction.relatives import find_families, find_relative, is_doubtful
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
from extraction.votes import find_candidates, vote
from templates.catalogue import Template

FEATURE_WIDTH: Final = 1280  # px; wider frames are shrunk for matching
SURE_VOTES: Final = 10  # that a second pad needs: where there is none, up to 20 votes of grids agree
KEPT_PER_PART: Final = 1000  # keypoints of a part of the frames
AT_ONCE: Final = 6  # candidates that are judged together: a good one ends it


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found in one video. ``reason`` is set exactly when there is no placement.

    detail: explains it; or what is known of the placements beside where they are. doubted: ids of templates that a
    closer look at where they fitted refused.
    """

    placements: tuple[Placement, ...]
    reason: Reason | None
    detail: str
    doubted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What one picture shows: overlays, each in a place of its own, those that a closer look doubts, and all judged."""

    overlays: list[Fit]
    doubted: list[Fit]
    judged: list[Fit]


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """T frames sampled from a video: times_s (T,), rgbs, (H, W, 3) uint8 each, and what they are matched by.

    pictures: (T, h, w, 3) uint8, the same shrunk. median: (h, w, 3) uint8, of all of them.
    """

    times_s: list[float]
    rgbs: list[np.ndarray]
    pictures: np.ndarray
    median: np.ndarray

    @classmethod
    def of(cls, frames: Sequence[tuple[float, np.ndarray]]) -> Self:
        times_s, rgbs = map(list, zip(*frames, strict=True))
        pictures = np.stack([_shrink(rgb) for rgb in rgbs])
        return cls(times_s, rgbs, pictures, median_of(pictures))

    @property
    def shrink(self) -> float:
        """Pixels of the pictures by those of the frames."""
        return float(self.pictures.shape[2] / self.rgbs[0].shape[1])

    def median_where(self, shown: np.ndarray) -> np.ndarray:
        """The median of some of the pictures, (T,) bool."""
        return self.median if shown.all() else median_of(self.pictures[shown])

    def follow(self, fit: Fit, found_in: np.ndarray) -> Track:
        """The track of what was found in the median of some of the pictures, (T,) bool."""
        return follow(fit.template, fit.affine / self.shrink, fit.inliers, self.rgbs, found_in)


def locate(
    frames: Sequence[tuple[float, np.ndarray]],
    templates: Mapping[str, Template],
    *,
    min_inliers: int = 20,
    frame_at: FrameAt | None = None,
    features: Features = SIFT,
    closer: Features | None = None,
) -> Found:
    """Find the overlays in frames sampled from one video, (pts_s, (H, W, 3) uint8 RGB), and when they are there.

    All frames are looked at together. Only where some do not show what was found, or nothing was, stretches of them are
    looked at by themselves. ``frame_at`` gives the video's other frames, to find the times of changes. ``closer`` has
    the last word on a find of which little is seen.
    """
    if not frames:
        return Found((), Reason.NO_FRAMES, "no frame could be decoded")
    samples = _Samples.of(frames)
    for still in look_for_still(list(samples.pictures), samples.median, features):
        shown = _find_all(still, templates, samples.median, min_inliers, features, closer)
        if shown.overlays:
            break
    everywhere = np.ones(len(frames), bool)
    tracks = [samples.follow(fit, everywhere) for fit in shown.overlays]
    doubted = [fit.template.id for fit in shown.doubted]
    seen_before: set[tuple[int, int]] = set()
    while left := [part for part in find_unexplained(tracks, len(frames)) if part not in seen_before]:
        seen_before.update(left)
        for found_in, in_part in _find_in_parts(samples.pictures, left, templates, min_inliers, features, closer):
            doubted += [fit.template.id for fit in in_part.doubted]
            for fit in in_part.overlays:
                new = samples.follow(fit, found_in)
                # A few frames may resemble a template by chance; all frames that look like them seldom do.
                pooled = fit_again(fit.template, fit.drawn, fit.affine, samples.median_where(new.alike), features)
                if pooled is not None and is_good(pooled, min_inliers):
                    tracks = join_track(tracks, replace(new, inliers=pooled.inliers), samples.rgbs)
    tracks = settle_overlaps(tracks)
    if not tracks:
        return Found((), Reason.NO_OVERLAY, _explain(shown.judged, min_inliers), tuple(doubted))
    whole = [_placement_of(track, samples, templates) for track in tracks]
    return Found(_in_time(whole, tracks, samples.times_s, frame_at), None, "", tuple(doubted))


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
    samples = _Samples.of(frames)
    families, judged = find_families(proposals, samples.shrink, templates, samples.median, features)
    if (relative := find_relative(families, samples.median, min_inliers)) is not None:
        track = samples.follow(relative.fit, np.ones(len(frames), bool))
        place = _placement_of(track, samples, templates)
        if relative.box_xywh is not None:
            frame_wh = (samples.rgbs[0].shape[1], samples.rgbs[0].shape[0])
            place = replace(place, box_xywh=clip_box(scale_box(relative.box_xywh, 1 / samples.shrink), frame_wh))
        if relative.other_body:
            place = replace(place, limit=0.0)
        placements = _in_time([place], [track], samples.times_s, frame_at)
        if place.limit > 0 or [(each.start_s, each.end_s) for each in placements] == [(0.0, math.inf)]:
            return Found(placements, None, "")
    looks = [proposal for proposal in proposals[:1] if proposal.score >= SUSPECTED]
    if suspected := [family.proposal for family in families] + looks:
        return Found((), Reason.UNKNOWN_SKIN, max(suspected, key=lambda proposal: proposal.score).sentence)
    return Found((), Reason.NO_OVERLAY, _explain(judged, min_inliers))


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


def _in_time(
    whole: Sequence[Placement], tracks: Sequence[Track], times_s: Sequence[float], frame_at: FrameAt | None
) -> tuple[Placement, ...]:
    """What each track shows from the first frame to the last, as placements for each of its spans."""
    placements: list[Placement] = []
    for place, pad, spans in zip(whole, number_pads(tracks), find_spans(tracks, times_s, frame_at), strict=True):
        for start_s, end_s in spans:
            support = sum(start_s <= time_s < end_s for time_s in times_s)
            new = replace(place, pad=pad, sampled=len(times_s), start_s=start_s, end_s=end_s, support=support)
            placements.append(new)
    return tuple(sorted(placements, key=lambda place: (place.pad, place.start_s)))


def _placement_of(track: Track, samples: _Samples, templates: Mapping[str, Template]) -> Placement:
    """What a track shows, from the first frame to the last."""
    affine, shown = track.affine * samples.shrink, samples.median_where(track.visible)
    gain, offset = measure_look(track.template, affine, shown)
    visible = [rgb for rgb, seen in zip(samples.rgbs, track.visible, strict=True) if seen]
    template = choose_variant(find_variants(track.template, templates.values()), track.affine, gain, visible)
    limit = measure_limit(template, affine, shown)
    least = measure_least(template, affine, samples.pictures[track.visible])
    rest = track.rectifier.rest_of(visible)
    return Placement(
        template, track.affine, track.box_xywh, track.inliers, 0.0, math.inf, rest, gain, offset, limit, least
    )


def _find_in_parts(
    pictures: np.ndarray,
    parts: Sequence[tuple[int, int]],
    templates: Mapping[str, Template],
    min_inliers: int,
    features: Features,
    closer: Features | None,
) -> Iterator[tuple[np.ndarray, _Shown]]:
    """What the medians of parts, (first, end) each, of T pictures show: (T,) bool, the part, and that."""
    medians = [median_of(pictures[first:end]) for first, end in parts]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stills = list(pool.map(lambda median: look_at(median, KEPT_PER_PART, features), medians))
    for (first, end), median, still in zip(parts, medians, stills, strict=True):
        found_in = np.zeros(len(pictures), bool)
        found_in[first:end] = True
        yield found_in, _find_all(still, templates, median, min_inliers, features, closer)


def _find_all(
    still: Keypoints,
    templates: Mapping[str, Template],
    median: np.ndarray,
    min_inliers: int,
    features: Features,
    closer: Features | None,
) -> _Shown:
    """The overlays that one picture shows.

    What lies beside an overlay that was found votes again only where its surest matches agree: two pads at once are
    rare.
    """
    shown = _Shown([], [], [])
    while (votes := vote(still, templates, features)) is not None:
        candidates = find_candidates(votes, votes.similarity > features.likeness, 1)
        good: list[Fit] = []
        for first in range(0, len(candidates), AT_ONCE):
            fits = fit_candidates(candidates[first : first + AT_ONCE], median, features)
            shown.judged.extend(fits)
            if good := [fit for fit in fits if is_good(fit, min_inliers)]:
                break
        else:
            break
        best = likest(good, median)
        doubt = closer is not None and is_doubtful(best, templates, median, closer)
        (shown.doubted if doubt else shown.overlays).append(best)
        free = ~covers(best, still.points)
        sure = free[votes.nearest] & (votes.similarity > features.sure)
        if not find_candidates(votes, sure, SURE_VOTES):
            break
        still = still[free]
    return shown


def _shrink(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    if width <= FEATURE_WIDTH:
        return rgb
    size = (FEATURE_WIDTH, round(height * FEATURE_WIDTH / width))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _explain(fits: Sequence[Fit], min_inliers: int) -> str:
    if not fits:
        return "no template matched anything that stands still"
    best = max(fits, key=lambda fit: fit.inliers)
    if best.inliers >= min_inliers:
        return f"the best candidate, {best.template.id}, does not look enough like what is there"
    return f"the best candidate, {best.template.id}, has {best.inliers} of {min_inliers} inliers"
