"""A template for a skin that nobody drew, out of the video itself: what stands still, and what lights up.

A person says where the overlay is and what pad it shows. The temporal median of that box is the skin at rest;
a family of the library lends its layout (``layout``). A button's pressed look is the median of the frames in which
its place looks least like rest. Of a button that was never seen pressed only the place is known.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from extraction.extract import make_video_id
from extraction.layout import GROUPS, fit_layout, measure_activity, read_crops
from extraction.records import SourceError
from templates.catalogue import Template, files_of, slug
from templates.controls import STICKS, THUMB_OF
from templates.importers.skin import encode_png
from templates.scene import NOTHING, Box, Move, Part, Picture, Scene, Show, Static

SEEN: Final = 0.02  # of full scale, or twice what is usual: a pressed button differs this much more from rest
SEEN_FRAMES: Final = 2
TOGETHER: Final = 0.6  # of the rarer one's frames: two places light up together
CLEARLY: Final = 2.0  # times as much
CAP_SHARES: Final = (0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)  # of a stick's whole reach
CAP_FRAMES: Final = 120  # in which it moved most
CAP_ERROR: Final = 60.0  # of 255: beyond it all errors count alike
STILL: Final = 0.04  # of full scale: mean deviation below which a pixel belongs to the overlay

REST, PRESSED, CAPS = "rest.png", "pressed.png", "caps.png"


@dataclass(frozen=True, slots=True, eq=False)
class Adopted:
    """A scene made from a video, its pictures (h, w, 4) uint8 RGBA by file name, and one that shows what was fitted.

    ``fitted``: (H, W, 3) uint8 RGB.
    """

    scene: Scene
    pictures: dict[str, np.ndarray]
    fitted: np.ndarray

    @property
    def pngs(self) -> dict[str, bytes]:
        """The pictures as files, to save beside the scene."""
        return {name: encode_png(pixels) for name, pixels in self.pictures.items()}

    @property
    def template(self) -> Template:
        """What reads this video at once: the scene with its pictures inside."""
        parts = tuple(part.model_copy(update={"picture": self._inside(part)}) for part in self.scene.parts)
        return Template(self.scene.model_copy(update={"parts": parts}), None)

    def _inside(self, part: Part) -> Picture:
        """A part's picture as markup; all pictures of an adopted scene lie where they are drawn."""
        assert part.kind in ("static", "show", "move")
        if part.picture.file is None:
            return part.picture
        x, y, w, h = (round(side) for side in part.box)
        png = encode_png(self.pictures[part.picture.file][y : y + h, x : x + w])
        href = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return Picture(svg=f'<image x="{x}" y="{y}" width="{w}" height="{h}" href="{href}"/>')


def adopt(
    path: Path,
    box_xywh: tuple[int, int, int, int],
    template: Template,
    moves: Mapping[str, tuple[float, float]] | None = None,
    affine: np.ndarray | None = None,
) -> Adopted:
    """Make a template of the overlay in a box of a video; ``template`` lends its family's layout.

    moves: by control, how far (x, y in pixels of the box) a person wants it from where it was fitted.
    affine: (2, 3) canvas of ``template`` -> pixels of the frame, where keypoints tell it: the layout is not fitted.
    SourceError where the video cannot be read, the box leaves the frame or nothing in it moves.
    """
    crops = read_crops(path, box_xywh)
    rest = np.median(crops, 0).astype(np.uint8)
    activity = measure_activity(crops, rest)
    to_box = None if affine is None else affine - [[0, 0, box_xywh[0]], [0, 0, box_xywh[1]]]
    boxes = fit_layout(activity, template.scene, to_box)
    for control, (x, y) in (moves or {}).items():
        if control not in boxes:
            raise SourceError(f"expected a control among {', '.join(boxes)}, found {control}; mend --move")
        left, top, w, h = boxes[control]
        boxes[control] = (left + x, top + y, w, h)
    id = slug(f"from-video-{make_video_id(path)}")
    return _Maker(id, template, crops, rest, boxes).make()


@dataclass(frozen=True, slots=True, eq=False)
class _Maker:
    """Turns what was seen into a scene. crops: (N, h, w, 3); rest: (h, w, 3) uint8."""

    id: str
    template: Template
    crops: np.ndarray
    rest: np.ndarray
    boxes: Mapping[str, Box]

    def make(self) -> Adopted:
        height, width = self.rest.shape[:2]
        pressed, caps = np.zeros((height, width, 4), np.uint8), np.zeros((height, width, 4), np.uint8)
        parts: list[Part] = [Static(name="rest", box=(0, 0, width, height), picture=Picture(file=REST))]
        notes = [f"made from {len(self.crops)} frames, with the layout of {self.template.family}"]
        regions = {
            name: region for name in self.boxes if name not in STICKS and (region := self._inside(self.boxes[name]))
        }
        lit = {name: self._lit_frames(region) for name, region in regions.items()}
        for control, region in regions.items():
            doubt = self._doubt(control, lit)
            if doubt:
                notes.append(f"{control} {doubt}; only its change is looked at")
                parts.append(Show(name=control, control=control, box=region, picture=NOTHING))
                continue
            x, y, w, h = region
            look = np.median(self.crops[lit[control], y : y + h, x : x + w], 0)
            pressed[y : y + h, x : x + w] = np.dstack([look, np.full((h, w), 255)]).astype(np.uint8)
            picture = Picture(file=PRESSED, region=region)
            parts.append(Show(name=control, control=control, box=region, picture=picture))
        parts += self._sticks(caps)
        pictures = {REST: self._without_sticks(caps), PRESSED: pressed, CAPS: caps}
        scene = Scene(
            id=self.id,
            family=self.template.family,
            canvas=(width, height),
            parts=tuple(parts),
            notes=tuple(notes),
        )
        return Adopted(scene, {name: pictures[name] for name in files_of(scene)}, self._chart(scene))

    def _doubt(self, control: str, lit: Mapping[str, np.ndarray]) -> str:
        """Why the look of a control's press is not known; empty where it is."""
        layout = self.template.scene.boxes
        if any(control == THUMB_OF[stick] and layout[control] == layout[stick] for stick in self.template.scene.sticks):
            return "moves with its stick"
        if not lit[control].any():
            return "was not seen pressed"
        twins = [name for name in lit if self._doubtful(control, name, lit)]
        return f"lights up together with {', '.join(twins)}" if twins else ""

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
            reach = self._inside(self.boxes[name])
            if reach is None:
                continue
            x, y, w, h = reach
            cap = self._cap(reach)
            side = len(cap)
            region = (x + (w - side) // 2, y + (h - side) // 2, side, side)
            window = (slice(region[1], region[1] + side), slice(region[0], region[0] + side))
            caps[window] = np.dstack([cap, _disc(side) * 255])
            stick: Literal["j_left", "j_right"] = "j_left" if name == "j_left" else "j_right"
            picture = Picture(file=CAPS, region=region)
            travel = (max((w - side) / 2, 1.0), max((h - side) / 2, 1.0))
            parts.append(Move(name=name, stick=stick, box=region, picture=picture, travel=travel))
        return parts

    def _cap(self, reach: tuple[int, int, int, int]) -> np.ndarray:
        """A stick's moving picture, (side, side, 3) uint8: the one that explains best what moves in its reach.

        Candidates are the middle of the rest picture, and what is there when it looks least like rest (a player may
        hold a stick more often than let it go), in several sizes. Each is looked for in every frame; what is behind
        it is the median of the frames in which it is elsewhere, and the two together should look like the frame.
        """
        x, y, w, h = reach
        frames, rest = self.crops[:, y : y + h, x : x + w], self.rest[y : y + h, x : x + w]
        moved = np.abs(frames.astype(np.int16) - rest).mean((1, 2, 3))
        chosen = frames[np.argsort(moved)[-CAP_FRAMES:]].astype(np.float32)
        caps = []
        for side in sorted({max(3, round(share * min(w, h))) for share in CAP_SHARES}):
            left, top = (w - side) // 2, (h - side) // 2
            middle = (slice(top, top + side), slice(left, left + side))
            caps.append(rest[middle])
            lit = self._lit_frames((x + left, y + top, side, side))
            if lit.any():
                caps.append(np.median(frames[lit][(slice(None), *middle)], 0).astype(np.uint8))
        return min(caps, key=lambda cap: _misfit(chosen, rest.astype(np.float32), cap.astype(np.float32)))

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


def _misfit(frames: np.ndarray, rest: np.ndarray, cap: np.ndarray) -> float:
    """How far (N, h, w, 3) frames are from a cap's disc moved over what is behind it; ``rest`` where that is unseen."""
    side, disc = len(cap), _disc(len(cap))
    hidden = np.zeros(frames.shape[:3], bool)
    explained = np.broadcast_to(rest, frames.shape).copy()
    for frame, covered, drawn in zip(frames, hidden, explained, strict=True):
        costs = cv2.matchTemplate(frame, cap, cv2.TM_SQDIFF, mask=np.dstack([disc.astype(np.float32)] * 3))
        _, _, (x, y), _ = cv2.minMaxLoc(costs)
        covered[y : y + side, x : x + side] = disc > 0
        drawn[y : y + side, x : x + side] = cap
    elsewhere = np.ma.masked_array(frames, np.broadcast_to(hidden[..., None], frames.shape))
    behind = np.ma.median(elsewhere, 0).filled(rest)  # type: ignore[no-untyped-call]
    error = np.abs(frames - np.where(hidden[..., None], explained, behind))
    return float(np.minimum(error, CAP_ERROR).mean())


def _disc(side: int) -> np.ndarray:
    """(side, side) uint8, 1 inside the circle."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
