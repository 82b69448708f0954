"""A template for a skin that nobody drew, out of the video itself: what stands still, and what lights up.

A person says where the overlay is and what pad it shows. The temporal median of that box is the skin at rest;
a family of the library lends its layout. What moves most near each stick's place is the stick, and from the
sticks follow scale and shift of everything else; then each group of buttons settles where the picture changes most.
A button's pressed look is the median of the frames in which its place looks least like rest. A button that was
never seen pressed is left out: unknown is better than wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from extraction.extract import make_video_id
from extraction.records import SourceError
from extraction.video import VideoReader
from templates.catalogue import Template, slug
from templates.controls import DPAD, STICKS, THUMB_OF
from templates.scene import Box, Move, Part, Picture, Scene, Show, Static

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
SEEN: Final = 0.02  # of full scale, or twice what is usual: a pressed button differs this much more from rest
SEEN_FRAMES: Final = 2
TOGETHER: Final = 0.6  # of the rarer one's frames: two places light up together
CLEARLY: Final = 2.0  # times as much
STILL: Final = 0.04  # of full scale: mean deviation below which a pixel belongs to the overlay

REST, PRESSED, CAPS = "rest.png", "pressed.png", "caps.png"


@dataclass(frozen=True, slots=True, eq=False)
class Adopted:
    """A scene made from a video, its PNGs, and a picture (H, W, 3) uint8 RGB that shows what was fitted where."""

    scene: Scene
    pictures: dict[str, bytes]
    fitted: np.ndarray


def adopt(
    path: Path,
    box_xywh: tuple[int, int, int, int],
    template: Template,
    moves: Mapping[str, tuple[float, float]] | None = None,
) -> Adopted:
    """Make a template of the overlay in a box of a video; ``template`` lends its family's layout.

    moves: by control, how far (x, y in pixels of the box) a person wants it from where it was fitted.
    SourceError where the video cannot be read, the box leaves the frame or nothing in it moves.
    """
    crops = read_crops(path, box_xywh)
    rest = np.median(crops, 0).astype(np.uint8)
    activity = measure_activity(crops, rest)
    boxes = fit_layout(activity, template.scene)
    for control, (x, y) in (moves or {}).items():
        if control not in boxes:
            raise SourceError(f"expected a control among {', '.join(boxes)}, found {control}; mend --move")
        left, top, w, h = boxes[control]
        boxes[control] = (left + x, top + y, w, h)
    id = slug(f"from-video-{make_video_id(path)}")
    return _Maker(id, template, crops, rest, activity.motion, boxes).make()


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
    score[_radius(motion.shape, expected) > reach] = -1
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    weight = np.where(_radius(motion.shape, np.array([column, row]) + 0.5) < side / 2, motion, 0)
    rows, columns = np.indices(motion.shape) + 0.5
    total = weight.sum()
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / total if total > 0 else expected


def _stick_box(motion: np.ndarray, centre: np.ndarray, box: Box) -> Box:
    """A stick's box around its centre, as wide as it was seen to reach."""
    rings = _radius(motion.shape, centre).astype(int).ravel()
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


def _radius(shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a picture from a point (x, y)."""
    rows, columns = np.indices(shape[:2]) + 0.5
    return np.asarray(np.hypot(columns - centre[0], rows - centre[1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Maker:
    """Turns what was seen into a scene. crops: (N, h, w, 3); rest: (h, w, 3) uint8; motion: see ``Activity``."""

    id: str
    template: Template
    crops: np.ndarray
    rest: np.ndarray
    motion: np.ndarray
    boxes: Mapping[str, Box]

    def make(self) -> Adopted:
        height, width = self.rest.shape[:2]
        stray = {THUMB_OF[stick] for stick in self.template.scene.sticks}
        buttons = {name: box for name, box in self.boxes.items() if name not in STICKS and name not in stray}
        pressed = np.zeros((height, width, 4), np.uint8)
        parts: list[Part] = [Static(name="rest", box=(0, 0, width, height), picture=Picture(file=REST))]
        notes = [f"made from {len(self.crops)} frames, with the layout of {self.template.family}"]
        lit = {name: self._lit_frames(region) for name, box in buttons.items() if (region := self._inside(box))}
        for control, box in buttons.items():
            region = self._inside(box)
            if region is None or not lit[control].any():
                notes.append(f"{control} was not seen pressed; it is left out")
                continue
            twins = [name for name in lit if self._doubtful(control, name, lit)]
            if twins:
                notes.append(f"{control} lights up together with {', '.join(twins)}; it is left out, move it apart")
                continue
            x, y, w, h = region
            look = np.median(self.crops[lit[control], y : y + h, x : x + w], 0)
            pressed[y : y + h, x : x + w] = np.dstack([look, np.full((h, w), 255)]).astype(np.uint8)
            picture = Picture(file=PRESSED, region=region)
            parts.append(Show(name=control, control=control, box=region, picture=picture))
        caps = np.zeros((height, width, 4), np.uint8)
        parts += self._sticks(caps)
        notes += [f"{name} is left out: its look moves with the stick" for name in sorted(stray)]
        pictures = {REST: self._without_sticks(caps), PRESSED: pressed, CAPS: caps}
        used = {part.picture.file for part in parts if part.kind in ("static", "show", "move")}
        scene = Scene(
            id=self.id,
            family=self.template.family,
            canvas=(width, height),
            parts=tuple(parts),
            notes=tuple(notes),
        )
        return Adopted(scene, {name: _png(pictures[name]) for name in pictures if name in used}, self._chart(scene))

    def _inside(self, box: Box) -> tuple[int, int, int, int] | None:
        """A box in whole pixels, clipped to the picture; None where less than 3 pixels are left."""
        height, width = self.rest.shape[:2]
        x0, y0 = max(round(box[0]), 0), max(round(box[1]), 0)
        x1, y1 = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
        return (x0, y0, x1 - x0, y1 - y0) if min(x1 - x0, y1 - y0) >= 3 else None

    def _lit_frames(self, region: tuple[int, int, int, int]) -> np.ndarray:
        """In which frames a place looks least like rest: (N,) bool; all False where none stands out."""
        x, y, w, h = region
        tiles = self.crops[:, y : y + h, x : x + w].astype(np.int16)
        apart = np.abs(tiles - self.rest[y : y + h, x : x + w]).mean((1, 2, 3)) / 255
        usual, most = float(np.median(apart)), float(np.sort(apart)[-SEEN_FRAMES])
        return np.asarray((apart >= (usual + most) / 2) & (most >= usual + max(SEEN, 2 * usual)))

    def _doubtful(self, control: str, other: str, lit: Mapping[str, np.ndarray]) -> bool:
        """Whether what lights up at a control's place may be the other one: they do in the same frames.

        The one that changes far more is itself, unless they sit side by side and the layout may be off by one.
        """
        both = int((lit[control] & lit[other]).sum())
        if control == other or both <= TOGETHER * max(1, min(int(lit[control].sum()), int(lit[other].sum()))):
            return False
        if any({control, other} <= set(group) for group in GROUPS):
            return True
        strength, rival = (self._strength(name, lit[name]) for name in (control, other))
        return strength < CLEARLY * rival

    def _strength(self, control: str, frames: np.ndarray) -> float:
        """How much a control's place changes in some frames, in [0, 1]."""
        region = self._inside(self.boxes[control])
        assert region is not None
        x, y, w, h = region
        tiles = self.crops[frames, y : y + h, x : x + w].astype(np.int16)
        return float(np.abs(tiles - self.rest[y : y + h, x : x + w]).mean()) / 255

    def _sticks(self, caps: np.ndarray) -> list[Part]:
        """The moving sticks; their pictures are painted into ``caps`` (h, w, 4) uint8."""
        parts: list[Part] = []
        for name in self.template.scene.sticks:
            x, y, w, h = self.boxes[name]
            radius = self._cap_radius(np.array([x + w / 2, y + h / 2]), w / 2)
            region = self._inside((x + w / 2 - radius, y + h / 2 - radius, 2 * radius, 2 * radius))
            if region is None:
                continue
            left, top, wide, high = region
            window = (slice(top, top + high), slice(left, left + wide))
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, high)) * 255
            caps[window] = np.dstack([self.rest[window], disc])
            travel = (max(w / 2 - radius, 1.0),) * 2
            picture = Picture(file=CAPS, region=region)
            parts.append(Move(name=name, stick=name, box=region, picture=picture, travel=travel))
        return parts

    def _cap_radius(self, centre: np.ndarray, reach: float) -> float:
        """A cap's radius in pixels: its rim is what changes most when it moves."""
        radius = _radius(self.rest.shape, centre)
        near = radius < reach
        weight = self.motion[near]
        return float((radius[near] * weight).sum() / max(float(weight.sum()), 1e-9)) if weight.any() else 0.6 * reach

    def _without_sticks(self, caps: np.ndarray) -> np.ndarray:
        """The rest picture (h, w, 4) uint8, sticks painted over by what is around them, the game taken out."""
        hole = cv2.dilate(caps[..., 3], np.ones((3, 3), np.uint8))
        filled = cv2.inpaint(self.rest, hole, 3, cv2.INPAINT_TELEA)
        still = np.abs(self.crops.astype(np.int16) - self.rest).mean((0, 3)) / 255 < STILL
        for box in self.boxes.values():
            if (region := self._inside(box)) is not None:
                x, y, w, h = region
                still[y : y + h, x : x + w] = True
        return np.dstack([filled, np.where(still, 255, 0).astype(np.uint8)])

    def _chart(self, scene: Scene) -> np.ndarray:
        """The rest picture, enlarged, with every fitted control: green where it is read, red where it is left out."""
        zoom = max(1, round(900 / self.rest.shape[1]))
        chart = cv2.resize(self.rest, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        for control, (x, y, w, h) in self.boxes.items():
            colour = (60, 220, 90) if control in scene.known else (235, 70, 60)
            left, top, right, bottom = (round(side * zoom) for side in (x, y, x + w, y + h))
            cv2.rectangle(chart, (left, top), (right, bottom), colour, 1, cv2.LINE_AA)
            cv2.putText(chart, control, (left, top - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        return chart


def _png(rgba: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    assert done
    return data.tobytes()
