"""A template for a skin that nobody drew, out of the video itself: what stands still, and what lights up.

A person says where the overlay is and what pad it shows. The temporal median of that box is the skin at rest;
a family of the library lends its layout (``layout``), and what moves about its sticks are their caps (``caps``). A
button's pressed look is the median of the frames in which its place looks least like rest. Of a button that was never
seen pressed only the place is known.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from extraction.borrowed import borrow_caps
from extraction.caps import Cap, find_caps
from extraction.extract import make_video_id
from extraction.layout import fit_layout, measure_activity, read_crops
from extraction.matching import Matched, buttons_in_place
from extraction.records import SourceError
from extraction.regions import Region, find_game, find_regions
from templates.catalogue import Template, files_of, slug
from templates.controls import STICKS, THUMB_OF
from templates.importers.skin import encode_png
from templates.scene import NOTHING, Box, Move, Part, Picture, Scene, Show, Static

CLEAR: Final = 4.0  # standard deviations between on and off; what is less clear has the game in its picture
STILL: Final = 0.04  # of full scale: mean deviation below which a pixel belongs to the overlay

REST, PRESSED, CAPS, TILTED, CLICKED = "rest.png", "pressed.png", "caps.png", "tilted.png", "clicked.png"


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
        parts = tuple(self._with_pictures_inside(part) for part in self.scene.parts)
        return Template(self.scene.model_copy(update={"parts": parts}), None)

    def _with_pictures_inside(self, part: Part) -> Part:
        """A part with its pictures as markup."""
        assert part.kind in ("static", "show", "move")
        inside = {"picture": self._inside(part.picture, part.box)}
        for look in ("off_centre", "pressed"):
            if (picture := getattr(part, look, None)) is not None:
                inside[look] = self._inside(picture, part.box)
        return part.model_copy(update=inside)

    def _inside(self, picture: Picture, box: Box) -> Picture:
        """A picture as markup; all pictures of an adopted scene lie where they are drawn."""
        if picture.file is None:
            return picture
        x, y, w, h = (round(side) for side in box)
        png = encode_png(self.pictures[picture.file][y : y + h, x : x + w])
        href = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return Picture(svg=f'<image x="{x}" y="{y}" width="{w}" height="{h}" href="{href}"/>')


def adopt(
    path: Path,
    box_xywh: tuple[int, int, int, int],
    template: Template,
    moves: Mapping[str, tuple[float, float]] | None = None,
    affine: np.ndarray | None = None,
    relatives: Sequence[Template] = (),
) -> Adopted:
    """Make a template of the overlay in a box of a video; ``template`` lends its family's layout.

    relatives: drawings of its family, one of which lends its sticks' caps where the video does not tell any.
    moves: by control, how far (x, y in pixels of the box) a person wants it from where it was fitted.
    affine: (2, 3) canvas of ``template`` -> pixels of the frame, where keypoints tell it: the layout is not fitted.
    SourceError where the video cannot be read, the box leaves the frame or nothing in it moves.
    """
    crops = read_crops(path, box_xywh)
    rest = np.median(crops, 0).astype(np.uint8)
    to_box = None if affine is None else affine - [[0, 0, box_xywh[0]], [0, 0, box_xywh[1]]]
    regions = find_regions(crops, rest)
    matched = fit_layout(measure_activity(crops, rest), regions, template.scene, to_box)
    for control, by in (moves or {}).items():
        matched = _moved(matched, regions, control, by)
    id = slug(f"from-video-{make_video_id(path)}")
    return _Maker(id, template, relatives, crops, rest, find_game(crops, rest), matched.boxes, matched.regions).make()


def _moved(matched: Matched, regions: Sequence[Region], control: str, by: tuple[float, float]) -> Matched:
    """With a control where a person wants it, and what lights up there."""
    if control not in matched.boxes:
        raise SourceError(f"expected a control among {', '.join(matched.boxes)}, found {control}; mend --move")
    x, y, w, h = matched.boxes[control]
    box = (x + by[0], y + by[1], w, h)
    there = max((region for region in regions if _holds(box, region.box)), key=lambda each: each.quality, default=None)
    others = {name: region for name, region in matched.regions.items() if name != control}
    return Matched(matched.boxes | {control: box}, others if there is None else others | {control: there})


def _holds(box: Box, other: Box) -> bool:
    """Whether the middle of another box lies in one."""
    x, y = other[0] + other[2] / 2, other[1] + other[3] / 2
    return box[0] <= x < box[0] + box[2] and box[1] <= y < box[1] + box[3]


@dataclass(frozen=True, slots=True, eq=False)
class _Maker:
    """Turns what was seen into a scene. crops: (N, h, w, 3); rest: (h, w, 3) uint8. relatives: see ``adopt``.

    game: (h, w) bool, where it is seen. boxes: of all controls; lit: where each lights up that was seen pressed.
    """

    id: str
    template: Template
    relatives: Sequence[Template]
    crops: np.ndarray
    rest: np.ndarray
    game: np.ndarray
    boxes: Mapping[str, Box]
    lit: Mapping[str, Region]

    def make(self) -> Adopted:
        height, width = self.rest.shape[:2]
        pressed, caps, tilted, clicked, behind = (np.zeros((height, width, 4), np.uint8) for _ in range(5))
        parts: list[Part] = [Static(name="rest", box=(0, 0, width, height), picture=Picture(file=REST))]
        notes = [f"made from {len(self.crops)} frames, with the layout of {self.template.family}"]
        found, note = self._caps()
        notes += [note] * bool(note)
        sticks = self._sticks(found, caps, tilted, clicked, behind)
        for control, region in self._places().items():
            lit = self.lit.get(control)
            if lit is None or lit.apart < CLEAR:
                doubt = "was not seen pressed" if lit is None else "is not clear of the game behind it"
                notes.append(f"{control} {doubt}; only its change is looked at")
                parts.append(Show(name=control, control=control, box=region, picture=NOTHING))
                continue
            x, y, w, h = region
            look = np.median(self.crops[lit.lit, y : y + h, x : x + w], 0)
            pressed[y : y + h, x : x + w] = np.dstack([look, np.full((h, w), 255)]).astype(np.uint8)
            picture = Picture(file=PRESSED, region=region)
            parts.append(Show(name=control, control=control, box=region, picture=picture))
        clicks = {THUMB_OF[part.stick] for part in sticks if part.pressed is not None}
        for name in self.boxes.keys() - self._places() - clicks - set(STICKS):
            if (reach := self._inside(self.boxes[name])) is not None:
                notes.append(f"{name} was not seen pressed; only its change is looked at")
                parts.append(Show(name=name, control=name, box=reach, picture=NOTHING))
        parts += sticks
        pictures = {REST: self._without_sticks(behind), PRESSED: pressed, CAPS: caps, TILTED: tilted, CLICKED: clicked}
        scene = Scene(
            id=self.id,
            family=self.template.family,
            canvas=(width, height),
            parts=tuple(parts),
            notes=tuple(notes),
        )
        return Adopted(scene, {name: pictures[name] for name in files_of(scene)}, self._chart(scene))

    def _places(self) -> dict[str, tuple[int, int, int, int]]:
        """Where the buttons are that do not move with a stick, in whole pixels.

        What a drawing lights up around a stick while that is clicked this skin may show on its cap.
        """
        on_stick = {
            thumb
            for stick, thumb in THUMB_OF.items()
            if {stick, thumb} <= self.boxes.keys() and _holds(self.boxes[stick], self.boxes[thumb])
        }
        still = [name for name in buttons_in_place(self.template.scene) if name in self.lit or name not in on_stick]
        return {name: region for name in still if (region := self._inside(self.boxes[name])) is not None}

    def _inside(self, box: Box) -> tuple[int, int, int, int] | None:
        """A box in whole pixels, clipped to the picture; None where less than 3 pixels are left."""
        height, width = self.rest.shape[:2]
        x0, y0 = max(round(box[0]), 0), max(round(box[1]), 0)
        x1, y1 = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
        return (x0, y0, x1 - x0, y1 - y0) if min(x1 - x0, y1 - y0) >= 3 else None

    def _caps(self) -> tuple[dict[str, Cap], str]:
        """The sticks' caps, of those that have one, and what is to be noted of them."""
        boxes = {name: self.boxes[name] for name in self.template.scene.sticks}
        buttons = [self.lit[name].box for name in self._places() if name in self.lit]
        if not boxes:
            return {}, ""
        if caps := find_caps(self.crops, self.rest, boxes, buttons, self.game):
            return caps, ""
        unclear = "the sticks are not told from the game behind them"
        if (borrowed := borrow_caps(self.crops, boxes, self.relatives)) is None:
            return {}, f"{unclear}; they are left out"
        return borrowed.caps, f"{unclear}; they wear the caps of {borrowed.drawing.id}"

    def _sticks(
        self,
        found: Mapping[str, Cap],
        caps: np.ndarray,
        tilted: np.ndarray,
        clicked: np.ndarray,
        behind: np.ndarray,
    ) -> list[Move]:
        """The moving sticks; their looks and what they hide are painted into the pictures, (h, w, 4) uint8."""
        parts: list[Move] = []
        for name, cap in found.items():
            side = cap.side
            x, y = (round(at - side / 2) for at in cap.middle)
            region = self._inside((x, y, side, side))
            if region is None:
                continue
            clicks = cap.clicked if THUMB_OF[name] in self.boxes.keys() - self._places() else None
            for picture, look in zip((caps, tilted, behind), (cap.looks[0], cap.looks[-1], cap.behind), strict=True):
                _paint(picture, look, cap.middle)
            if clicks is not None:
                _paint(clicked, clicks, cap.middle)
            stick: Literal["j_left", "j_right"] = "j_left" if name == "j_left" else "j_right"
            parts.append(
                Move(
                    name=name,
                    stick=stick,
                    box=region,
                    picture=Picture(file=CAPS, region=region),
                    off_centre=Picture(file=TILTED, region=region) if len(cap.looks) > 1 else None,
                    pressed=None if clicks is None else Picture(file=CLICKED, region=region),
                    travel=(max(cap.travel, 1.0), max(cap.travel, 1.0)),
                )
            )
        return parts

    def _without_sticks(self, behind: np.ndarray) -> np.ndarray:
        """The rest picture (h, w, 4) uint8 with what the sticks hide (h, w, 4), the game taken out."""
        hidden = behind[..., 3:] / 255
        filled = (self.rest * (1 - hidden) + behind[..., :3] * hidden).round().astype(np.uint8)
        still = np.abs(self.crops.astype(np.int16) - self.rest).mean((0, 3)) / 255 < STILL
        for name, box in self.boxes.items():
            if (region := self._inside(box)) is not None:
                x, y, w, h = region
                still[y : y + h, x : x + w] |= ~self.game[y : y + h, x : x + w] | (name not in STICKS)
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


def _paint(picture: np.ndarray, look: np.ndarray, middle: tuple[float, float]) -> None:
    """A cap (side, side, 4) into a picture (h, w, 4), cut off where that ends."""
    x, y = (round(at - len(look) / 2) for at in middle)
    left, top = max(-x, 0), max(-y, 0)
    window = picture[max(y, 0) : y + len(look), max(x, 0) : x + len(look)]
    window[:] = look[top : top + window.shape[0], left : left + window.shape[1]]
