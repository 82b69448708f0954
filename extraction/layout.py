"""A family's layout fitted onto an overlay in a video: where each control is, for a skin that nobody drew.

A person says where the overlay is and what pad it shows. Its controls are calm and then come to life, unlike the
game around them: that is where the layout goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from extraction.matching import Matched, match_in_place, match_layout
from extraction.records import SourceError
from extraction.regions import Region
from extraction.video import VideoReader
from templates.catalogue import Template
from templates.controls import DPAD
from templates.scene import Box, Scene

FRAMES: Final = 400  # at most, spread over the video's first minutes
LOOK_S: Final = 600.0
GROUPS: Final = (
    ("south", "east", "west", "north"),
    DPAD,
    ("left_shoulder", "left_trigger"),
    ("right_shoulder", "right_trigger"),
    ("back",),
    ("start",),
    ("guide",),
)
NOISE: Final = 0.01  # of full scale: what an encoder does to a pixel that stands still
MOST_LIVELY: Final = 3.0  # natural logarithm: twenty times the usual
AROUND: Final = 0.3  # of a control's size on every side: what its inside is compared with
# How far the whole layout may go, what is usual, and the price of the usual; liveliness is in [0, 1].
SHIFT, SHIFT_USUAL = 0.16, 0.08  # of the box's width
STRETCH, STRETCH_USUAL, SQUEEZE_USUAL = 0.3, 0.15, 0.1  # logarithms; the last of the two axes' ratio
FREE: Final = 0.006
LITTLE: Final = 0.045  # contrast of liveliness below which the game moves as much as the pad, as behind faint outlines
# How far parts may go, of their size, and the price of 0.3.
GROUP_REACH, GROUP_PRICE = 0.5, 0.06
REACH, PRICE = 0.3, 0.3
ENOUGH: Final = 4  # controls that light up somewhere, to fit a layout by
SWEPT: Final = 0.2  # of the liveliest ring's motion: what a stick still reaches
STICK_SIZES: Final = (0.75, 1.3)  # of the family's, as it was fitted


def choose_layout(templates: Iterable[Template], family: str, box_wh: tuple[int, int]) -> Template:
    """Of a family's drawings the first whose canvas has about a box's proportions."""

    def misfit(template: Template) -> float:
        width, height = template.scene.canvas
        return round(abs(math.log(box_wh[0] / box_wh[1] * height / width)), 1)

    return min(of_family(templates, family), key=misfit)


def of_family(templates: Iterable[Template], family: str) -> list[Template]:
    """A family's drawings."""
    return [template for template in templates if template.family == family]


def read_crops(path: Path, box_xywh: tuple[int, int, int, int]) -> np.ndarray:
    """At most FRAMES crops of the box, evenly spread over the first LOOK_S seconds: (N, h, w, 3) uint8."""
    x, y, w, h = box_xywh
    with VideoReader(path) as video:
        width, height = video.info.width, video.info.height
        if x < 0 or y < 0 or x + w > width or y + h > height:
            raise SourceError(f"expected a box inside {width}x{height} px, found {x},{y},{w},{h}; give x,y,w,h")
        end_s = min(video.info.duration_s or LOOK_S, LOOK_S)
        step_s = end_s / FRAMES
        crops: list[np.ndarray] = []
        for frame in video.frames():
            since_s = frame.pts_s - video.info.start_s
            if since_s > end_s:
                break
            if since_s >= len(crops) * step_s and frame.size_wh == (width, height):
                crops.append(frame.crop(x, y, w, h))
    if len(crops) < 10:
        raise SourceError(f"expected at least 10 frames in {path}, found {len(crops)}; name a longer video")
    return np.stack(crops)


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """How much each pixel departs from rest, (h, w) float32 in [0, 1].

    motion: in the mean, beyond what is usual for it; a stick moves often. liveliness: how far its liveliest moments
    exceed its usual ones, as a logarithm; a button is calm and then lights up, a game around it flickers always.
    outline: how steep the rest picture is, in shares of its steepest; a game that moves is smooth there.
    """

    motion: np.ndarray
    liveliness: np.ndarray
    outline: np.ndarray


def measure_activity(crops: np.ndarray, rest: np.ndarray) -> Activity:
    """Activity of (N, h, w, 3) uint8 crops around their rest picture (h, w, 3)."""
    apart = np.abs(crops.astype(np.int16) - rest).mean(3, dtype=np.float32) / 255
    calm, usual, lively = np.quantile(apart, (0.35, 0.6, 0.985), axis=0)  # a stick may be away half of the time
    motion = np.maximum(apart.mean(0) - calm, 0)
    motion = np.minimum(motion, np.quantile(motion, 0.95))  # a bright button may not outweigh a pale stick
    liveliness = (np.log((lively + NOISE) / (usual + NOISE)) / MOST_LIVELY).clip(0, 1)
    return Activity(motion.astype(np.float32), liveliness.astype(np.float32), _outline(rest))


def _outline(rest: np.ndarray) -> np.ndarray:
    """Steepness of a picture (h, w, 3) uint8, in any colour: (h, w) float32, 1 on its steepest twentieth."""
    smooth = cv2.GaussianBlur(rest, (0, 0), 1).astype(np.float32)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    steepness = np.hypot(across, down).max(2)
    return np.asarray(np.minimum(steepness / max(float(np.quantile(steepness, 0.95)), 1e-6), 1.0))


def fit_layout(
    activity: Activity, regions: Sequence[Region], scene: Scene, affine: np.ndarray | None = None
) -> Matched:
    """Where each control is in a box of a video, and what lights up there.

    affine: (2, 3) canvas -> pixels of the box, where keypoints tell it: controls are there, what lights up there counts
    if the layout fitted without them has it so, too, and of sticks only how far they reach is measured. Else the layout
    is fitted to what lights up or, where that is little, to what is lively.
    """
    height, width = activity.liveliness.shape
    if affine is not None:
        placed = _transform(scene, affine)
        nearest = match_in_place(regions, scene, placed, width).regions
        likely = match_layout(regions, scene, (width, height)).regions
        boxes = {name: (x, y, w, h) for name, (x, y, w, h) in placed.items()}
        matched = Matched(boxes, {name: lit for name, lit in nearest.items() if likely.get(name) is lit})
    else:
        matched = match_layout(regions, scene, (width, height))
        if len(matched.regions) < ENOUGH:
            names, drawn = list(scene.boxes), np.array(list(scene.boxes.values()))
            fitted = _fit_controls(activity, names, drawn, scene.canvas)
            matched = match_in_place(regions, scene, dict(zip(names, fitted, strict=True)), width)
    reach = 0.0 if affine is not None else GROUP_REACH
    return replace(matched, boxes=matched.boxes | _measure_sticks(activity, matched.boxes, list(scene.sticks), reach))


def _transform(scene: Scene, affine: np.ndarray) -> dict[str, np.ndarray]:
    """A scene's boxes (4,) as a (2, 3) map of its canvas places them, upright."""
    scale = np.diag(affine[:, :2])
    return {
        name: np.concatenate([np.array(box[:2]) * scale + affine[:, 2], np.array(box[2:]) * scale])
        for name, box in scene.boxes.items()
    }


def _measure_sticks(activity: Activity, boxes: Mapping[str, Box], names: Sequence[str], reach: float) -> dict[str, Box]:
    """The boxes that sticks sweep, at most ``reach`` of their size away; none where the game moves as much."""
    total = cv2.integral(activity.liveliness)
    if _contrast(total, np.array([*boxes.values()])).mean() < LITTLE:
        return {}
    lively = {name: np.array([boxes[name]]) for name in names}
    for box in lively.values():
        box += _best_move(total, box, reach, GROUP_PRICE)
    sticks = {name: _stick_sweep(activity.motion, tuple(lively[name][0])) for name in names}
    # Both sticks of a pad are to one scale; what sweeps further is a button beside it.
    scale = min((radius / (boxes[name][2] / 2) for name, (_, radius) in sticks.items()), default=1.0)
    swept: dict[str, Box] = {}
    for name, ((x, y), _) in sticks.items():
        radius = scale * boxes[name][2] / 2
        swept[name] = (x - radius, y - radius, 2 * radius, 2 * radius)
    return swept


def _fit_controls(
    activity: Activity, names: Sequence[str], drawn: np.ndarray, canvas: tuple[float, float]
) -> np.ndarray:
    """Boxes (N, 4) of the canvas -> boxes of the video.

    The layout is scaled and shifted as a whole, then by groups of buttons, then control by control, to where pixels
    inside the controls are livelier than those around them. Each step pays for how far it goes, so that what shows
    no life stays where its neighbours put it. Where all is as lively, outlines count as much.
    """
    height, width = activity.liveliness.shape
    total = cv2.integral(activity.liveliness)
    family = drawn * np.tile([width / canvas[0], height / canvas[1]], 2)
    boxes = _fit_whole(total, family, (width, height))
    if _contrast(total, boxes).mean() < LITTLE:
        total = cv2.integral((activity.liveliness + activity.outline) / 2)
        boxes = _fit_whole(total, family, (width, height))
    for groups, reach, price in ((GROUPS, GROUP_REACH, GROUP_PRICE), (((name,) for name in names), REACH, PRICE)):
        for group in groups:
            members = [i for i, name in enumerate(names) if name in group]
            if members:
                boxes[members] += _best_move(total, boxes[members], reach, price)
    return boxes


def _fit_whole(total: np.ndarray, boxes: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) scaled about the middle and shifted together to where they are livelier than what is around."""
    middle = np.array(size_wh) / 2
    steps = np.linspace(-SHIFT, SHIFT, 17)
    shifts = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    shift_price = FREE * ((shifts / SHIFT_USUAL) ** 2).sum(1)
    best, best_boxes = -np.inf, boxes
    logs = np.linspace(-STRETCH, STRETCH, 11)
    for log_x, log_y in ((x, y) for x in logs for y in logs if abs(x - y) <= STRETCH):
        stretch = np.exp((log_x, log_y))
        scaled = np.concatenate([(boxes[:, :2] - middle) * stretch + middle, boxes[:, 2:] * stretch], 1)
        moved = scaled + np.pad(shifts * size_wh[0], [(0, 0), (0, 2)])[:, None]
        usual = (log_x**2 + log_y**2) / STRETCH_USUAL**2 + (log_x - log_y) ** 2 / SQUEEZE_USUAL**2
        gain = _contrast(total, moved).mean(1) - shift_price - FREE * usual
        if gain.max() > best:
            best, best_boxes = float(gain.max()), moved[gain.argmax()]
    return best_boxes


def _best_move(total: np.ndarray, boxes: np.ndarray, reach: float, price: float) -> np.ndarray:
    """How far, (4,) of which the last two are 0, to move boxes (N, 4) together, at most ``reach`` of their size."""
    steps = np.linspace(-reach, reach, 11)
    shifts = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    moves = np.pad(shifts * boxes[:, 2:].mean(0), [(0, 0), (0, 2)])
    gain = _contrast(total, boxes + moves[:, None]).mean(1) - price * ((shifts / 0.3) ** 2).sum(1)
    return np.asarray(moves[gain.argmax()])


def _contrast(total: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(..., 4) boxes -> (...) how much livelier they are inside than around; ``total``: the integral of a picture.

    What a picture cuts off counts as calm.
    """
    height, width = total.shape[0] - 1, total.shape[1] - 1

    def sums(x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left, right = (np.clip(np.rint(side), 0, width).astype(int) for side in (x0, x1))
        top, bottom = (np.clip(np.rint(side), 0, height).astype(int) for side in (y0, y1))
        inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return inside, (right - left) * (bottom - top)

    x, y, w, h = np.moveaxis(boxes, -1, 0)
    inside, area = sums(x, y, x + w, y + h)
    dx, dy = AROUND * w, AROUND * h
    whole, whole_area = sums(x - dx, y - dy, x + w + dx, y + h + dy)
    return np.asarray(inside / np.maximum(w * h, 1) - (whole - inside) / np.maximum(whole_area - area, 1))


def _stick_sweep(motion: np.ndarray, box: Box) -> tuple[tuple[float, float], float]:
    """The middle (x, y) of what moves in a stick's box, and how far it was seen to reach, within limits."""
    expected, reach = np.array(box[:2]) + np.array(box[2:]) / 2, box[2] / 2
    rows, columns = np.indices(motion.shape) + 0.5
    weight = np.where(radius_from(motion.shape, expected) < reach, motion, 0)
    if not weight.any():
        return (float(expected[0]), float(expected[1])), reach
    centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    rings = radius_from(motion.shape, centre).astype(int).ravel()
    count = math.ceil(reach * STICK_SIZES[1]) + 1
    profile = np.bincount(rings, motion.ravel(), count)[:count] / np.maximum(np.bincount(rings, None, count)[:count], 1)
    swept = float(np.flatnonzero(profile >= SWEPT * profile.max()).max() + 1)
    return (float(centre[0]), float(centre[1])), min(max(swept, reach * STICK_SIZES[0]), reach * STICK_SIZES[1])


def radius_from(shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a picture from a point (x, y)."""
    rows, columns = np.indices(shape[:2]) + 0.5
    return np.asarray(np.hypot(columns - centre[0], rows - centre[1]))
