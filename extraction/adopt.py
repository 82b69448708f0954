"""A template for a skin that nobody drew, out of the video itself: what stands still, and what lights up.

A person says where the overlay is and what pad it shows. The temporal median of that box is the skin at rest;
a family of the library lends its layout (``layout``). A button's pressed look is the median of the frames in which
its place looks least like rest. A button that was never seen pressed is left out: unknown is better than wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from extraction.extract import make_video_id
from extraction.layout import GROUPS, fit_layout, measure_activity, radius_from, read_crops
from extraction.records import SourceError
from templates.catalogue import Template, slug
from templates.controls import STICKS, THUMB_OF
from templates.scene import Box, Move, Part, Picture, Scene, Show, Static

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
            radius = self._capradius_from(np.array([x + w / 2, y + h / 2]), w / 2)
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

    def _capradius_from(self, centre: np.ndarray, reach: float) -> float:
        """A cap's radius in pixels: its rim is what changes most when it moves."""
        radius = radius_from(self.rest.shape, centre)
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
