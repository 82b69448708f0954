"""A family's layout fitted onto an overlay in a video: where each control is, for a skin that nobody drew.

A person says where the overlay is and what pad it shows. What moves most near each stick's place is the stick, and
from the sticks follow scale and shift of everything else; then each group of buttons settles where the picture
changes most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from extraction.records import SourceError
from extraction.video import VideoReader
from templates.catalogue import Template
from templates.controls import DPAD
from templates.scene import Box, Move, Part, Picture, Scene, Show

FRAMES: Final = 400  # at most, spread over the video's first minutes
LOOK_S: Final = 600.0
STICK_SEARCH: Final = 0.12  # of the box's width: how far a stick may lie from where the family has it
SETTLE: Final = 0.4  # of a button's size: how far a group of buttons may lie from where the sticks put it
GROUPS: Final = (
    ("south", "east", "west", "north"),
    DPAD,
    ("left_shoulder", "left_trigger"),
    ("right_shoulder", "right_trigger"),
    ("back",),
    ("start",),
    ("guide",),
)
SCALES: Final = (0.75, 1.3)  # of the family's layout against the box
SWEPT: Final = 0.2  # of the liveliest ring's motion: what a stick still reaches
_UNSEEN: Final = Picture(svg="<g/>")


def choose_layout(templates: Iterable[Template], family: str, box_wh: tuple[int, int]) -> Template:
    """Of a family's drawings the first whose canvas has about a box's proportions."""

    def misfit(template: Template) -> float:
        width, height = template.scene.canvas
        return round(abs(math.log(box_wh[0] / box_wh[1] * height / width)), 1)

    return min((template for template in templates if template.family == family), key=misfit)


def fit_template(path: Path, box_xywh: tuple[int, int, int, int], layout: Template) -> Template:
    """The geometry of the overlay in a box of a video, as a template on a canvas of the box's size; it draws nothing.

    SourceError where the video cannot be read or the box leaves the frame.
    """
    crops = read_crops(path, box_xywh)
    boxes = fit_layout(measure_activity(crops, np.median(crops, 0).astype(np.uint8)), layout.scene)
    parts = tuple(_geometry(name, box, layout.scene) for name, box in boxes.items())
    scene = Scene(id=f"{layout.family}/fitted", family=layout.family, canvas=box_xywh[2:], parts=parts)
    return Template(scene, None)


def _geometry(control: str, box: Box, scene: Scene) -> Part:
    """A part that says where a control is; a stick's box is as wide as its picture reaches."""
    x, y, w, h = box
    if control not in ("j_left", "j_right"):
        return Show(name=control, control=control, box=box, picture=_UNSEEN)
    stick = scene.sticks[control]
    size = [side * stick.size[i] / (2 * stick.travel[i] + stick.size[i]) for i, side in enumerate((w, h))]
    at_rest = (x + (w - size[0]) / 2, y + (h - size[1]) / 2, size[0], size[1])
    travel = ((w - size[0]) / 2, (h - size[1]) / 2)
    name = "j_left" if control == "j_left" else "j_right"
    return Move(name=name, stick=name, box=at_rest, picture=_UNSEEN, travel=travel)


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

    Both count only what goes beyond a pixel's usual: a game around or behind the overlay always flickers.
    motion: in the mean; a stick moves often. peaks: at its liveliest; a button lights up seldom and strongly.
    """

    motion: np.ndarray
    peaks: np.ndarray


def measure_activity(crops: np.ndarray, rest: np.ndarray) -> Activity:
    """Activity of (N, h, w, 3) uint8 crops around their rest picture (h, w, 3)."""
    apart = np.abs(crops.astype(np.int16) - rest).mean(3, dtype=np.float32) / 255
    calm, usual, lively = np.quantile(apart, (0.35, 0.6, 0.985), axis=0)  # a stick may be away half of the time
    motion, peaks = np.maximum(apart.mean(0) - calm, 0), np.maximum(lively - 1.5 * usual, 0)
    motion = np.minimum(motion, np.quantile(motion, 0.95))  # a bright button may not outweigh a pale stick
    return Activity(motion.astype(np.float32), peaks.astype(np.float32))


def fit_layout(activity: Activity, scene: Scene) -> dict[str, Box]:
    """Where each control is in a box of a video: control -> box in its pixels.

    A stick sweeps its surroundings like nothing else does; with two sticks found the layout is scaled and shifted,
    with one it is shifted, else it fills the box. Then groups of buttons are moved as wholes.
    """
    scale = np.array(activity.motion.shape[::-1]) / scene.canvas
    sticks = list(scene.sticks.values())
    wanted = np.array([stick.centre for stick in sticks]).reshape(-1, 2)
    caps = [stick.size[0] * scale[0] for stick in sticks]
    found = np.array([_stick_centre(activity.motion, at * scale, size) for at, size in zip(wanted, caps, strict=True)])
    if len(found) == 2:
        apart = np.linalg.norm((wanted[1] - wanted[0]) * scale)
        scale = scale * np.clip(np.linalg.norm(found[1] - found[0]) / apart, *SCALES)
    shift = (found - wanted * scale).mean(0) if len(found) else np.zeros(2)
    boxes = {
        name: (float(x * scale[0] + shift[0]), float(y * scale[1] + shift[1]), float(w * scale[0]), float(h * scale[1]))
        for name, (x, y, w, h) in scene.boxes.items()
    }
    for name, centre in zip(scene.sticks, found, strict=True):
        boxes[name] = _stick_box(activity.motion, centre, boxes[name])
    for group in GROUPS:
        members = {name: boxes[name] for name in group if name in boxes}
        if members:
            x, y = _best_move(activity.peaks, list(members.values()))
            boxes |= {name: (box[0] + x, box[1] + y, box[2], box[3]) for name, box in members.items()}
    return boxes


def _stick_centre(motion: np.ndarray, expected: np.ndarray, size_px: float) -> np.ndarray:
    """The middle of what moves most within a disc of a stick's size near an expected place: (x, y) in pixels."""
    reach = STICK_SEARCH * motion.shape[1]
    side = 2 * round(0.75 * size_px) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.float32)
    score = cv2.filter2D(motion, cv2.CV_32F, disc / disc.sum(), borderType=cv2.BORDER_CONSTANT)
    score[radius_from(motion.shape, expected) > reach] = -1
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    weight = np.where(radius_from(motion.shape, np.array([column, row]) + 0.5) < side / 2, motion, 0)
    rows, columns = np.indices(motion.shape) + 0.5
    total = weight.sum()
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / total if total > 0 else expected


def _stick_box(motion: np.ndarray, centre: np.ndarray, box: Box) -> Box:
    """A stick's box around its centre, as wide as it was seen to reach."""
    rings = radius_from(motion.shape, centre).astype(int).ravel()
    profile = np.bincount(rings, motion.ravel())[: round(0.75 * box[2])] / np.bincount(rings)[: round(0.75 * box[2])]
    reach = float(np.flatnonzero(profile >= SWEPT * profile.max()).max() + 1)
    return (float(centre[0] - reach), float(centre[1] - reach), 2 * reach, 2 * reach)


def _best_move(peaks: np.ndarray, boxes: list[Box]) -> tuple[float, float]:
    """How far to move boxes together, at most SETTLE of their size, so that what changes lies inside and not around."""
    size = float(np.mean([box[2:] for box in boxes]))
    steps = np.linspace(-SETTLE * size, SETTLE * size, 15)
    total = cv2.integral(peaks)

    def inside(x: float, y: float, w: float, h: float) -> float:
        corners = np.array([x, y, x + w, y + h]).round().astype(int)
        x0, y0, x1, y1 = np.clip(corners, 0, [*peaks.shape[::-1]] * 2)
        return float(total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0])

    def gain(dx: float, dy: float) -> float:
        found = 0.0
        for x, y, w, h in boxes:
            around = inside(x + dx - w / 4, y + dy - h / 4, 1.5 * w, 1.5 * h)
            found += 2 * inside(x + dx, y + dy, w, h) - around
        return found - 0.02 * size * float(np.hypot(dx, dy))  # where nothing changes nothing moves

    best = max(((float(dx), float(dy)) for dx in steps for dy in steps), key=lambda move: gain(*move))
    return best


def radius_from(shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a picture from a point (x, y)."""
    rows, columns = np.indices(shape[:2]) + 0.5
    return np.asarray(np.hypot(columns - centre[0], rows - centre[1]))
