"""How badly each stick, drawn at each of its places, fits the crop's own pixels; and whether it is clicked.

A tile of the panel is coarse: where a stick travels little beside its size, a pixel of it is a tenth of the way. So the
stick is drawn over what is beneath it at all places of ``course``, in each of its looks, as it lies in the frame. A
click may show in the stick or in a ring about it, and a tilt may look much like that ring: they are told together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor

from extraction.course import PLACES
from extraction.evidence import undo_look
from extraction.records import Placement
from extraction.rectify import overlay_width
from extraction.sticks import FAINT, Squares
from templates.controls import BUTTON_INDEX, STICKS, THUMB_OF, States
from templates.draw import Raster, draw, rasterise
from templates.scene import StickGeometry

COMPARED_TRAVEL: Final = 4.0  # px of full tilt; a stick that goes farther is shrunk to it
MARGIN_PX: Final = 1  # around what a stick can cover
SURROUNDINGS_PX: Final = 2.0  # standard deviation of what counts as around a pixel, in what is compared
TAKEN_OFF: Final = 2.5  # times the part of the game that shines through: of the colours around a pixel ...
MOST_TAKEN_OFF: Final = 0.8  # ... at most
TRUST: Final = 5.0  # independent pixels that a fit counts as: neighbours share the game behind them ...
TRUST_WITHOUT: Final = 40.0  # ... and how many more if all that is around them were taken off


@dataclass(frozen=True, slots=True, eq=False)
class _Click:
    """The two looks of a stick that shows when it is clicked, and their squared distance at each place, (225,)."""

    squares: Squares
    apart: Tensor

    @classmethod
    def of(cls, looks: Tensor) -> _Click | None:
        """looks: (2, 225, 4, h, w), released and clicked; None where these are one."""
        apart = (looks[1] - looks[0])[:, :3].square().sum((1, 2, 3))
        return cls(Squares.of(looks), apart) if apart.max() > 0 else None

    def measure(self, errors: Tensor) -> np.ndarray:
        """How far each frame has gone from the released look to the clicked one: (N, 2, 225) by ``squares`` -> (N,).

        In the place where either fits best. Of the change D from one to the other there, x has made the part
        ``(|x - released|^2 - |x - clicked|^2) / (2 |D|^2) + 1 / 2``.
        """
        place = errors.amin(1).argmin(1)
        released, clicked = errors[torch.arange(len(errors)), :, place].unbind(1)
        room = self.apart[place] + FAINT * self.squares.weight.amax()
        return np.asarray(((released - clicked) / room + 1).numpy() / 2)


@dataclass(frozen=True, slots=True, eq=False)
class _DrawnStick:
    """One stick: its index, where in the crop it is looked for, how large that is compared, and its pictures.

    look: the placement's gain and offset. taken_off: of each pixel that is compared, of what is around it.
    """

    index: int
    window: tuple[slice, slice]
    size_wh: tuple[int, int]
    look: tuple[Tensor, Tensor]
    taken_off: float
    squares: Squares
    click: _Click | None

    @classmethod
    def of(
        cls,
        name: str,
        raster: Raster,
        place: Placement,
        to_crop: np.ndarray,
        window: tuple[slice, slice],
        taken_off: float,
    ) -> _DrawnStick:
        """to_crop: (2, 3), canvas units -> pixels of the crop."""
        rows, columns = window
        shrink = min(1.0, COMPARED_TRAVEL / (min(place.template.scene.sticks[name].travel) * raster.scale))
        window_wh = columns.stop - columns.start, rows.stop - rows.start
        size_wh = max(1, round(window_wh[0] * shrink)), max(1, round(window_wh[1] * shrink))
        to_window = to_crop - [[0, 0, columns.start], [0, 0, rows.start]]
        looks = torch.from_numpy(
            np.stack([_draw_places(name, click, raster, to_window, window_wh, size_wh) for click in (False, True)])
        )
        click = _Click.of(looks)
        if click and not taken_off:
            squares = click.squares
        else:
            compared = looks if click else looks[:1]
            colours = _without_surroundings(compared[:, :, :3], taken_off)
            squares = Squares.of(torch.cat([colours, compared[:, :, 3:]], 2))
        look = torch.tensor([place.gain]), torch.tensor([place.offset])
        return cls(STICKS.index(name), window, size_wh, look, taken_off, squares, click)

    def measure(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """N crops -> (N, 15, 15) misfits, and (N,) how far it is clicked; NaN if a click does not show."""
        windows = np.stack([shrunk(crop[self.window], self.size_wh) for crop in crops]).transpose(0, 3, 1, 2)
        seen = undo_look(torch.from_numpy(windows.astype(np.float32) / 255), *self.look)
        errors = self.squares.of_frames(_without_surroundings(seen, self.taken_off))
        fits = (errors / self.squares.weight).amin(1)
        clicked = np.full(len(crops), np.nan, np.float32)
        if self.click:  # measured in the frame as it is
            as_it_is = errors if self.squares is self.click.squares else self.click.squares.of_frames(seen)
            clicked = self.click.measure(as_it_is)
        return fits.reshape(-1, len(PLACES), len(PLACES)).numpy(), clicked


class StickFits:
    """The sticks of one placement. Holds nothing that changes.

    pixels: how many independent ones a fit counts as.
    """

    def __init__(self, placement: Placement, box_xywh: tuple[int, int, int, int]) -> None:
        """``box_xywh``: of the crops, in the frame."""
        taken_off = min(max(TAKEN_OFF * (1 - placement.gain), 0.0), MOST_TAKEN_OFF)
        self.pixels = TRUST + TRUST_WITHOUT * taken_off
        scene = placement.template.scene
        raster = rasterise(placement.template, max(1, round(overlay_width(scene, placement.affine))))
        to_crop = placement.affine - [[0, 0, box_xywh[0]], [0, 0, box_xywh[1]]]
        self._sticks = [
            _DrawnStick.of(name, raster, placement, to_crop, window, taken_off)
            for name, stick in scene.sticks.items()
            if name not in scene.undrawn and (window := _window(stick, to_crop, box_xywh[2:])) is not None
        ]

    def measure(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """N crops (h, w, 3) uint8 -> (N, 2, 15, 15) float32: mean squared error of opaque colours in [0, 1].

        And (N, 2): 0 released, 1 clicked. NaN for a stick that is not drawn, and where a click does not show.
        """
        side = len(PLACES)
        fits = np.full((len(crops), len(STICKS), side, side), np.nan, np.float32)
        clicked = np.full((len(crops), len(STICKS)), np.nan, np.float32)
        for each in self._sticks:
            fits[:, each.index], clicked[:, each.index] = each.measure(crops)
        return fits, clicked


def _draw_places(
    stick: str, click: bool, raster: Raster, to_window: np.ndarray, window_wh: tuple[int, int], size_wh: tuple[int, int]
) -> np.ndarray:
    """What a window shows while a stick stands at each of its places: (225, 4, h, w) float32, premultiplied.

    to_window: (2, 3), canvas units -> pixels of the window, which is then shrunk to ``size_wh``.
    """
    part, corner = _cut(raster, to_window, window_wh)
    matrix = to_window / raster.scale  # a pixel covers [i, i + 1) on either side
    matrix[:, 2] = to_window[:, 2] + matrix[:, :2] @ (corner + 0.5) - 0.5
    states = States.rest(len(PLACES))
    states.buttons[:, BUTTON_INDEX[THUMB_OF[stick]]] = click
    pictures = []
    for y in PLACES:
        states.sticks[:, STICKS.index(stick)] = np.stack([PLACES, np.full_like(PLACES, y)], 1)
        for drawing in draw(part, states).permute(0, 2, 3, 1).numpy():
            pictures.append(shrunk(cv2.warpAffine(drawing, matrix, window_wh), size_wh))
    return np.stack(pictures).transpose(0, 3, 1, 2)


def _cut(raster: Raster, to_window: np.ndarray, size_wh: tuple[int, int]) -> tuple[Raster, np.ndarray]:
    """What of a raster a window of ``size_wh`` pixels shows, as a raster of its own, and where its corner (x, y) was.

    to_window: (2, 3), canvas units -> pixels of the window.
    """
    back = cv2.invertAffineTransform(to_window) * raster.scale
    corners = np.array([(0, 0), size_wh]) @ back[:, :2].T + back[:, 2]
    low = np.floor(corners.min(0) - 1).astype(int).clip(0)  # a pixel more on every side, to sample between them
    width, height = (np.minimum(np.ceil(corners.max(0) + 1).astype(int), raster.size_wh) - low).tolist()
    moved = [
        replace(each, x=int(each.x - low[0]), y=int(each.y - low[1]), box=(*(each.box[:2] - low), *each.box[2:]))
        for each in raster.layers
    ]
    seen = [
        each for each in moved if -each.images.shape[3] < each.x < width and -each.images.shape[2] < each.y < height
    ]
    return Raster((width, height), raster.scale, tuple(seen)), low


def _window(stick: StickGeometry, to_crop: np.ndarray, crop_wh: tuple[int, int]) -> tuple[slice, slice] | None:
    """Rows and columns of the crop that a stick can cover; None where it lies outside."""
    reach = np.array(stick.travel) * PLACES[-1] + np.array(stick.size) / 2
    corners = np.array([np.array(stick.centre) - reach, np.array(stick.centre) + reach])
    low, high = corners @ to_crop[:, :2].T + to_crop[:, 2]
    x0, y0 = np.floor(low - MARGIN_PX).astype(int).clip(0).tolist()
    x1, y1 = np.minimum(np.ceil(high + MARGIN_PX), crop_wh).astype(int).tolist()
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def _without_surroundings(pictures: Tensor, part: float) -> Tensor:
    """Pictures (..., h, w), each pixel less a part of what is around it.

    A game that shines through is alike from pixel to pixel; the rim of a cap is not.
    """
    if part == 0:
        return pictures
    flat = pictures.reshape(-1, *pictures.shape[-2:]).numpy()
    around = [cv2.GaussianBlur(each, (0, 0), SURROUNDINGS_PX, borderType=cv2.BORDER_REFLECT) for each in flat]
    return pictures - part * torch.from_numpy(np.stack(around)).reshape(pictures.shape)


def shrunk(picture: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A picture (h, w, C), its pixels joined to ``size_wh``."""
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA))
