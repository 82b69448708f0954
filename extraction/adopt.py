"""A template for a skin that nobody drew, out of the video itself: what stands still, and what lights up.

A person says where the overlay is and what pad it shows. The temporal median of that box is the skin at rest;
a family of the library lends its layout (``layout``). A button's pressed look is the median of the frames in which
its place looks least like rest. Of a button that was never seen pressed only the place is known.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from extraction.extract import make_video_id
from extraction.layout import fit_layout, measure_activity, read_crops
from extraction.matching import Matched, buttons_in_place
from extraction.records import SourceError
from extraction.regions import Region, find_regions
from templates.catalogue import Template, files_of, slug
from templates.controls import STICKS, THUMB_OF
from templates.importers.skin import encode_png
from templates.scene import NOTHING, Box, Move, Part, Picture, Scene, Show, Static

CLEAR: Final = 4.0  # standard deviations between on and off; what is less clear has the game in its picture
SEEN: Final = 0.02  # of full scale, or twice what is usual: what differs this much more from rest is something else
SEEN_FRAMES: Final = 2
CAP_SHARES: Final = (0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)  # of a stick's whole reach
CAP_FRAMES: Final = 120  # in which it moved most
CAP_ERROR: Final = 60.0  # of 255: beyond it all errors count alike
TILTED_TRIES: Final = 8  # frames in which another look of a tilted stick is looked for
TILTED_LOOKS: Final = 0.85  # of the misfit that one look leaves: what two must come to, since they always fit better
CLICKED_ERROR: Final = 0.1  # of full scale: a clicked stick is this much further from its looks than it is usually
CLICKED_LOOK: Final = 0.7  # of the misfit without it: what its clicked look must leave
UNEXPLAINED: Final = 0.93  # of what moves in the sticks' reaches: if that is left, it is the game
STILL: Final = 0.04  # of full scale: mean deviation below which a pixel belongs to the overlay

Looks = tuple[np.ndarray, ...]

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
) -> Adopted:
    """Make a template of the overlay in a box of a video; ``template`` lends its family's layout.

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
    return _Maker(id, template, crops, rest, matched.boxes, matched.regions).make()


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
    """Turns what was seen into a scene. crops: (N, h, w, 3); rest: (h, w, 3) uint8.

    boxes: of all controls; lit: where each lights up that was seen pressed.
    """

    id: str
    template: Template
    crops: np.ndarray
    rest: np.ndarray
    boxes: Mapping[str, Box]
    lit: Mapping[str, Region]

    def make(self) -> Adopted:
        height, width = self.rest.shape[:2]
        pressed, caps, tilted, clicked = (np.zeros((height, width, 4), np.uint8) for _ in range(4))
        parts: list[Part] = [Static(name="rest", box=(0, 0, width, height), picture=Picture(file=REST))]
        notes = [f"made from {len(self.crops)} frames, with the layout of {self.template.family}"]
        sticks = self._sticks(caps, tilted, clicked)
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
        if not sticks and self.template.scene.sticks:
            notes.append("the sticks are not told from the game behind them; they are left out")
        clicks = {THUMB_OF[part.stick] for part in sticks if part.pressed is not None}
        for name in self.boxes.keys() - self._places() - clicks - set(STICKS):
            if (reach := self._inside(self.boxes[name])) is not None:
                notes.append(f"{name} was not seen pressed; only its change is looked at")
                parts.append(Show(name=name, control=name, box=reach, picture=NOTHING))
        parts += sticks
        pictures = {REST: self._without_sticks(caps), PRESSED: pressed, CAPS: caps, TILTED: tilted, CLICKED: clicked}
        scene = Scene(
            id=self.id,
            family=self.template.family,
            canvas=(width, height),
            parts=tuple(parts),
            notes=tuple(notes),
        )
        return Adopted(scene, {name: pictures[name] for name in files_of(scene)}, self._chart(scene))

    def _places(self) -> dict[str, tuple[int, int, int, int]]:
        """Where the buttons are that do not move with a stick, in whole pixels."""
        still = buttons_in_place(self.template.scene)
        return {name: region for name in still if (region := self._inside(self.boxes[name])) is not None}

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

    def _sticks(self, caps: np.ndarray, tilted: np.ndarray, clicked: np.ndarray) -> list[Move]:
        """The moving sticks; their looks are painted into the pictures, (h, w, 4) uint8."""
        reaches = {name: self._inside(self.boxes[name]) for name in self.template.scene.sticks}
        found = {name: reach for name, reach in reaches.items() if reach is not None}
        parts: list[Move] = []
        for (name, (x, y, w, h)), looks in zip(found.items(), self._looks_of_sticks([*found.values()]), strict=False):
            side = len(looks[0])
            region = (x + (w - side) // 2, y + (h - side) // 2, side, side)
            window = (slice(region[1], region[1] + side), slice(region[0], region[0] + side))
            for picture, look in zip((caps, tilted), looks, strict=False):
                picture[window] = np.dstack([look, _disc(side) * 255])
            clicks = THUMB_OF[name] in self.boxes.keys() - self._places()
            click = self._clicked_look((x, y, w, h), looks) if clicks else None
            if click is not None:
                clicked[window] = np.dstack([click, _disc(side) * 255])
            stick: Literal["j_left", "j_right"] = "j_left" if name == "j_left" else "j_right"
            parts.append(
                Move(
                    name=name,
                    stick=stick,
                    box=region,
                    picture=Picture(file=CAPS, region=region),
                    off_centre=Picture(file=TILTED, region=region) if len(looks) > 1 else None,
                    pressed=None if click is None else Picture(file=CLICKED, region=region),
                    travel=(max((w - side) / 2, 1.0), max((h - side) / 2, 1.0)),
                )
            )
        return parts

    def _looks_of_sticks(self, reaches: Sequence[tuple[int, int, int, int]]) -> list[Looks]:
        """Each stick's look, or two, at rest and tilted: those that explain best what moves in the sticks' reaches.

        Two sticks of a pad have the same share of their reach, and as many looks. None where no look explains more
        than the game would.
        """
        found = [self._tries(reach) for reach in reaches]
        tries = [each for each, _ in found]
        least = [min(misfit for misfit, _ in each.values()) for each in tries]
        left = [best / none for best, (_, none) in zip(least, found, strict=True)]
        if not left or np.mean(left) > UNEXPLAINED:
            return []

        def misfit(kind: tuple[float, int]) -> float:
            total = sum(each[kind][0] / best for each, best in zip(tries, least, strict=True))
            return total / (1 if kind[1] == 1 else TILTED_LOOKS)

        best = min(set.intersection(*(set(each) for each in tries)), key=misfit)
        return [each[best][1] for each in tries]

    def _tries(self, reach: tuple[int, int, int, int]) -> tuple[dict[tuple[float, int], tuple[float, Looks]], float]:
        """By share of the reach and number of looks, the looks that explain a stick best and their misfit.

        And the misfit of no stick at all. Candidates are the middle of the rest picture, and what is there when it
        looks least like rest (a player may hold a stick more often than let it go). Each is looked for in every frame;
        what is behind it is the median of the frames in which it is elsewhere, and the two together should look like
        the frame. One that looks different when tilted is the rest picture's, and what appears away from the middle.
        """
        x, y, w, h = reach
        frames, rest = self.crops[:, y : y + h, x : x + w], self.rest[y : y + h, x : x + w].astype(np.float32)
        moved = np.abs(frames - rest).mean((1, 2, 3))
        chosen = frames[np.argsort(moved)[-CAP_FRAMES:]].astype(np.float32)
        tries: dict[tuple[float, int], tuple[float, Looks]] = {}
        for share in CAP_SHARES:
            side = max(3, round(share * min(w, h)))
            left, top = (w - side) // 2, (h - side) // 2
            middle = (slice(top, top + side), slice(left, left + side))
            candidates: list[Looks] = [(rest[middle],)]
            lit = self._lit_frames((x + left, y + top, side, side))
            if lit.any():
                candidates.append((np.median(frames[lit][(slice(None), *middle)], 0).astype(np.float32),))
            tilted = _tilted_look(chosen, rest, side)
            if tilted is not None:
                candidates.append((rest[middle], tilted))
            for looks in candidates:
                kind, misfit = (share, len(looks)), _misfit(chosen, rest, looks)
                if kind not in tries or misfit < tries[kind][0]:
                    tries[kind] = misfit, tuple(look.astype(np.uint8) for look in looks)
        return tries, float(np.minimum(np.abs(chosen - np.median(chosen, 0)), CAP_ERROR).mean())

    def _clicked_look(self, reach: tuple[int, int, int, int], looks: Looks) -> np.ndarray | None:
        """What a stick looks like while it is clicked: (side, side, 3) uint8, or None where that was not seen.

        Wherever it stands, it then fits none of its other looks. What is found in its place must explain these frames.
        """
        x, y, w, h = reach
        frames = self.crops[:, y : y + h, x : x + w].astype(np.float32)
        known, side = tuple(look.astype(np.float32) for look in looks), len(looks[0])
        places = [min((_place(frame, look) for look in known), key=lambda place: place[0]) for frame in frames]
        misfit = np.sqrt([max(cost, 0) / (3 * _disc(side).sum()) for cost, _, _ in places]) / 255
        usual, most = float(np.median(misfit)), float(np.sort(misfit)[-SEEN_FRAMES])
        if most < usual + CLICKED_ERROR:
            return None
        lit = misfit >= (usual + most) / 2
        middle = (0.0, (w - side) // 2, (h - side) // 2)
        used, rest = frames[lit], self.rest[y : y + h, x : x + w].astype(np.float32)
        tries: list[tuple[float, np.ndarray]] = []
        for at in ([middle] * len(used), [place for place, on in zip(places, lit, strict=True) if on]):
            look = _look_at(used, at, side)
            for _ in range(2):
                look = _look_at(used, [_place(frame, look) for frame in used], side)
            tries.append((_misfit(used, rest, (*known, look)), look))
        least, look = min(tries, key=lambda each: each[0])
        return look.astype(np.uint8) if least <= CLICKED_LOOK * _misfit(used, rest, known) else None

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


def _misfit(frames: np.ndarray, rest: np.ndarray, caps: tuple[np.ndarray, ...]) -> float:
    """How far (N, h, w, 3) frames are from a cap's disc, in one of its looks, over what is behind it.

    That is the median of the frames in which it is elsewhere; ``rest`` where there are none.
    """
    side, disc = len(caps[0]), _disc(len(caps[0]))
    hidden = np.zeros(frames.shape[:3], bool)
    explained = np.broadcast_to(rest, frames.shape).copy()
    for frame, covered, drawn in zip(frames, hidden, explained, strict=True):
        cap, (_, x, y) = min(((cap, _place(frame, cap)) for cap in caps), key=lambda found: found[1])
        covered[y : y + side, x : x + side] = disc > 0
        drawn[y : y + side, x : x + side] = cap
    elsewhere = np.ma.masked_array(frames, np.broadcast_to(hidden[..., None], frames.shape))
    behind = np.ma.median(elsewhere, 0).filled(rest)  # type: ignore[no-untyped-call]
    error = np.abs(frames - np.where(hidden[..., None], explained, behind))
    return float(np.minimum(error, CAP_ERROR).mean())


def _look_at(frames: np.ndarray, places: Sequence[tuple[float, int, int]], side: int) -> np.ndarray:
    """The median (side, side, 3) float32 of what frames (N, h, w, 3) show at their places."""
    shown = [frame[y : y + side, x : x + side] for frame, (_, x, y) in zip(frames, places, strict=True)]
    return np.asarray(np.median(shown, 0), np.float32)


def _place(frame: np.ndarray, cap: np.ndarray) -> tuple[float, int, int]:
    """Where a cap's disc fits a frame (h, w, 3) best: the squared error there, and its corner x, y."""
    disc = np.dstack([_disc(len(cap)).astype(np.float32)] * 3)
    cost, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(frame, cap, cv2.TM_SQDIFF, mask=disc))
    return cost, x, y


def _tilted_look(frames: np.ndarray, rest: np.ndarray, side: int) -> np.ndarray | None:
    """What recurs away from the middle of a stick's reach: (side, side, 3) float32, or None where there is no room.

    frames: (N, h, w, 3), in which it is not at rest. Of a few frames the place that differs most from rest is taken
    for the stick; what is found again with the least error is it, and the median of where it is found is its look.
    """
    height, width = rest.shape[:2]
    rows, columns = np.indices((height - side + 1, width - side + 1))
    away = np.hypot(rows - (height - side) / 2, columns - (width - side) / 2) > side / 2
    if not away.any():
        return None
    patches: list[tuple[float, np.ndarray]] = []
    for frame in frames[:: max(1, len(frames) // TILTED_TRIES)]:
        apart = cv2.boxFilter(np.abs(frame - rest).mean(2), -1, (side, side), anchor=(0, 0))
        apart = np.where(away, apart[: height - side + 1, : width - side + 1], -1)
        y, x = np.unravel_index(int(apart.argmax()), apart.shape)
        patch = frame[y : y + side, x : x + side]
        found = [(*_place(other, patch), other) for other in frames]
        nearest = sorted(found, key=lambda each: each[0])[: max(1, len(found) // 2)]
        look = np.median([other[v : v + side, u : u + side] for _, u, v, other in nearest], 0)
        patches.append((sum(cost for cost, *_ in nearest), look.astype(np.float32)))
    return min(patches, key=lambda each: each[0])[1]


def _disc(side: int) -> np.ndarray:
    """(side, side) uint8, 1 inside the circle."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
