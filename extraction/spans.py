"""When an overlay is seen: which of the sampled frames show it, on which pad, and what happens between two samples.

A ``Track`` is one template in one place. A pad that moves, grows or changes its skin is one track after another; two
pads at once are tracks beside each other. A frame shows a track where it agrees with the track's rest picture; see
``presence``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, permutations
from typing import Final

import numpy as np

from extraction.outputs import runs_of
from extraction.presence import CLEAR, PRESENT, measure_agreement
from extraction.rectify import Rectifier, covered_box
from templates.catalogue import Template

EXPLAINED: Final = 0.8  # of the usual agreement; a frame that agrees less may show another skin in the same place
LEAST_SAMPLES: Final = 3  # that show a track; also the shortest stretch in which another is looked for
BLOCKS: Final = 5  # into which the samples are cut; what is there for as many samples fills most of one
SHARED_SAMPLES: Final = 2  # that show two tracks: they are two pads then
SAME_PLACE_PX: Final = 3.0
OVERLAPPING: Final = 0.25  # of the smaller box: two tracks that cannot be there together
SHARP_S: Final = 0.05  # how exactly the time of a change is looked for
FLASH_S: Final = 0.5  # what hides an overlay for less is a flash behind it, not the end of a span

FrameAt = Callable[[float], tuple[float, np.ndarray] | None]
"""The video's first frame at or after a time, else its last: (pts_s, (H, W, 3) uint8 RGB). None: cannot be sought."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One template in one place of T sampled frames.

    affine: (2, 3) canvas -> pixels of the frames. inliers: that support it. found_in: (T,) bool, the frames in whose
    median it was found. rest: (88, 108, 3) uint8, the median panel of the frames that show it. agreement: (T,)
    float32, of the frames with ``rest``; ``usual`` is what those that show it have. visible: (T,) bool.
    judged: whether agreement tells anything; where not (pads of thin lines), the frames of ``found_in`` show it.
    """

    template: Template
    affine: np.ndarray
    inliers: int
    box_xywh: tuple[int, int, int, int]
    rectifier: Rectifier
    found_in: np.ndarray
    rest: np.ndarray
    agreement: np.ndarray
    usual: float
    visible: np.ndarray
    judged: bool

    @property
    def alike(self) -> np.ndarray:
        """(T,) bool, the frames that certainly show it; the other visible ones may show another skin in its place."""
        return self.agreement >= EXPLAINED * self.usual

    def agreement_with(self, rgb: np.ndarray) -> float:
        """How far another (H, W, 3) uint8 frame agrees with the rest picture."""
        if not self.judged:
            return float(self.found_in.all())
        return float(measure_agreement(self.rectifier.panels([rgb]), self.rest, self.rectifier.whole)[0])


def follow(
    template: Template, affine: np.ndarray, inliers: int, frames: Sequence[np.ndarray], found_in: np.ndarray
) -> Track:
    """The track of a template that was found in the median of some of the frames, (H, W, 3) uint8 each."""
    frame_wh = (frames[0].shape[1], frames[0].shape[0])
    rectifier = Rectifier(template.scene, affine, frame_wh)
    panels = rectifier.panels(frames)
    alike, judged = found_in, True
    for _ in range(2):  # the second time from all frames that look so, and from no other
        rest = np.asarray(np.median(panels[alike], 0), np.uint8)
        agreement = measure_agreement(panels, rest, rectifier.whole)
        usual = float(np.quantile(agreement[alike], 0.75))
        if usual < CLEAR:
            judged, agreement, usual = False, found_in.astype(np.float32), 1.0
            break
        alike = agreement >= EXPLAINED * usual
        if alike.all():
            break
    box = covered_box(template.scene, affine, frame_wh)
    visible = agreement >= PRESENT * usual
    return Track(template, affine, inliers, box, rectifier, found_in, rest, agreement, usual, visible, judged)


def join_track(tracks: Sequence[Track], new: Track, frames: Sequence[np.ndarray]) -> list[Track]:
    """The tracks and another one. What was found before is followed from the new frames: other things may have been in
    the median of the old ones. What too few frames show is left out.
    """
    if new.visible.sum() < min(LEAST_SAMPLES, len(frames)):
        return list(tracks)
    for i, old in enumerate(tracks):
        if old.template is new.template and _is_same_box(old.box_xywh, new.box_xywh):
            best = max(old, new, key=lambda each: each.inliers)
            found_in = new.found_in if new.judged else old.found_in | new.found_in
            again = follow(best.template, best.affine, best.inliers, frames, found_in)
            return [*tracks[:i], again, *tracks[i + 1 :]]
    return [*tracks, new]


def find_unexplained(tracks: Sequence[Track], count: int) -> list[tuple[int, int]]:
    """Stretches of ``count`` frames, as (first, end), that no track explains: where something else may be seen.

    At least LEAST_SAMPLES long, and else at most a BLOCKS-th of all.
    """
    explained = np.zeros(count, bool)
    for track in tracks:
        explained |= track.alike
    size = max(LEAST_SAMPLES, math.ceil(count / BLOCKS))
    stretches: list[tuple[int, int]] = []
    for first, end in _runs(~explained):
        parts = min(math.ceil((end - first) / size), (end - first) // LEAST_SAMPLES)
        stretches += pairwise(np.linspace(first, end, parts + 1).astype(int).tolist())
    return stretches


def settle_overlaps(tracks: Sequence[Track]) -> list[Track]:
    """Of tracks in about the same place, a frame shows the one that it agrees with best."""
    agreement = np.array([track.agreement for track in tracks])
    return [
        replace(track, visible=visible)
        for track, visible in zip(tracks, _which_visible(tracks, agreement), strict=True)
        if visible.sum() >= min(LEAST_SAMPLES, len(visible))
    ]


def number_pads(tracks: Sequence[Track]) -> list[int]:
    """Which pad each track is of, from 1 on. Pad 1 is the one that most frames show; of equals, the left one.

    Tracks that the same frames show are two pads. A later track continues a pad that was free: one with the same
    template if there is one, else of the same family, else the nearest.
    """
    pads: list[list[Track]] = []
    for track in sorted(tracks, key=lambda each: int(each.visible.argmax())):
        free = [pad for pad in pads if all((track.visible & each.visible).sum() < SHARED_SAMPLES for each in pad)]
        if free:
            min(free, key=lambda pad: _unlikeness(pad[-1], track)).append(track)
        else:
            pads.append([track])
    pads.sort(key=lambda pad: (-int(np.any([track.visible for track in pad], 0).sum()), pad[0].box_xywh[0]))
    return [next(i for i, pad in enumerate(pads, 1) if track in pad) for track in tracks]


def find_spans(
    tracks: Sequence[Track], times_s: Sequence[float], frame_at: FrameAt | None
) -> list[list[tuple[float, float]]]:
    """When each track is seen: half-open spans of presentation times, from 0 and to infinity where it is seen at the
    video's first frame and at its last.

    times_s: (T,) of the sampled frames. Changes between two of them are looked for by bisection; without
    ``frame_at`` a span begins and ends with the samples at which it is known.
    """

    @cache
    def look(time_s: float) -> tuple[float, np.ndarray] | None:
        """The time of a frame, and (N,) bool, which tracks it shows."""
        found = frame_at(time_s) if frame_at else None
        if found is None:
            return None
        agreement = np.array([[track.agreement_with(found[1])] for track in tracks])
        return found[0], _which_visible(tracks, agreement)[:, 0]

    def shows(i: int, time_s: float) -> bool:
        seen = look(time_s)
        return seen is None or bool(seen[1][i])

    def change(i: int, before_s: float, after_s: float, visible: bool) -> float:
        """The time of the first frame after ``before_s`` in which track i is visible, or is not."""
        change_s = after_s
        while after_s - before_s > SHARP_S:
            middle_s = (before_s + after_s) / 2
            seen = look(middle_s)
            if seen is None:
                break
            if seen[0] >= change_s or seen[1][i] == visible:
                change_s, after_s = min(change_s, seen[0]), middle_s
            else:
                before_s = max(seen[0], middle_s)
        return change_s

    def end_of_video(time_s: float, otherwise_s: float) -> float:
        seen = look(time_s)
        return otherwise_s if seen is None else seen[0]

    spans: list[list[tuple[float, float]]] = []
    for i, track in enumerate(tracks):
        spans.append([])
        for first, end in _runs(track.visible):
            start_s, end_s = 0.0, math.inf
            if first or not shows(i, -math.inf):
                before_s = times_s[first - 1] if first else end_of_video(-math.inf, times_s[0])
                start_s = change(i, before_s, times_s[first], True)
            if end < len(times_s) or not shows(i, math.inf):
                after_s = times_s[end] if end < len(times_s) else end_of_video(math.inf, times_s[-1])
                end_s = change(i, times_s[end - 1], after_s, False)
            if spans[-1] and start_s - spans[-1][-1][1] < FLASH_S:
                start_s, _ = spans[-1].pop()
            spans[-1].append((start_s, end_s))
    return spans


def _which_visible(tracks: Sequence[Track], agreement: np.ndarray) -> np.ndarray:
    """Which of P tracks N frames show, by their agreement with each: (P, N) bool."""
    share = agreement / np.array([[track.usual] for track in tracks])
    visible = share >= PRESENT
    for i, j in permutations(range(len(tracks)), 2):
        if _overlap(tracks[i].box_xywh, tracks[j].box_xywh) > OVERLAPPING:
            visible[i] &= share[i] >= share[j]
    return np.asarray(visible)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """The stretches of True, as (first, end)."""
    return [(run.start, run.stop) for run in runs_of(flags) if flags[run.start]]


def _is_same_box(a: Sequence[int], b: Sequence[int]) -> bool:
    return max(abs(p - q) for p, q in zip(_corners(a), _corners(b), strict=True)) <= SAME_PLACE_PX


def _overlap(a: Sequence[int], b: Sequence[int]) -> float:
    """The area that two boxes share, as a part of the smaller one's."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = _corners(a), _corners(b)
    shared = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
    return shared / min(a[2] * a[3], b[2] * b[3])


def _corners(box_xywh: Sequence[int]) -> tuple[int, int, int, int]:
    x, y, w, h = box_xywh
    return x, y, x + w, y + h


def _unlikeness(old: Track, new: Track) -> tuple[bool, bool, float]:
    """How unlikely one pad was shown as the first track and goes on as the second; to be compared."""
    centres = [(x + w / 2, y + h / 2) for x, y, w, h in (old.box_xywh, new.box_xywh)]
    return (
        old.template.id != new.template.id,
        old.template.family != new.template.family,
        math.dist(*centres),
    )
