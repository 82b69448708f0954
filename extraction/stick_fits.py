"""How badly each stick, drawn at each of its places, fits the crop's own pixels.

A tile of the panel is coarse: where a stick travels little beside its size, a pixel of it is a tenth of the way. So the
stick is drawn over what is beneath it at all places of ``course``, in each of its looks, as it lies in the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch

from extraction.course import PLACES
from extraction.evidence import undo_look
from extraction.records import Placement
from extraction.rectify import overlay_width
from extraction.sticks import Squares
from templates.controls import BUTTON_INDEX, STICKS, THUMB_OF, States
from templates.draw import Raster, draw, rasterise
from templates.scene import StickGeometry

COMPARED_WIDTH: Final = 140  # px of the overlay; a wider one is shrunk to it
MARGIN_PX: Final = 1  # around what a stick can cover
DRAWN_AT_ONCE: Final = 45

_CLICKS: Final = [BUTTON_INDEX[THUMB_OF[stick]] for stick in STICKS]
_AT: Final = [(x, y) for y in PLACES.tolist() for x in PLACES.tolist()]


Window = tuple[slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class _DrawnStick:
    """One stick: its index, where in the crop it is looked for, how large that is compared, and its pictures."""

    index: int
    window: Window
    size_wh: tuple[int, int]
    squares: Squares

    @classmethod
    def of(cls, index: int, window: Window, released: np.ndarray, clicked: np.ndarray, shrink: float) -> _DrawnStick:
        """released, clicked: (225, h, w, 4), what the window shows."""
        height, width = released.shape[1:3]
        size_wh = max(1, round(width * shrink)), max(1, round(height * shrink))
        looks = (released, clicked) if np.abs(clicked - released).max() > 0 else (released,)
        pictures = np.stack([[_shrunk(picture, size_wh) for picture in look] for look in looks])
        return cls(index, window, size_wh, Squares.of(torch.from_numpy(pictures.transpose(0, 1, 4, 2, 3).copy())))


class StickFits:
    """The sticks of one placement. Holds nothing that changes."""

    def __init__(self, placement: Placement, box_xywh: tuple[int, int, int, int]) -> None:
        """``box_xywh``: of the crops, in the frame."""
        self._look = torch.tensor([placement.gain]), torch.tensor([placement.offset])
        scene = placement.template.scene
        width = overlay_width(scene, placement.affine)
        to_crop = placement.affine - [[0, 0, box_xywh[0]], [0, 0, box_xywh[1]]]
        windows = {
            STICKS.index(name): window
            for name in scene.sticks
            if name not in scene.undrawn and (window := _window(scene.sticks[name], to_crop, box_xywh[2:])) is not None
        }
        raster = rasterise(placement.template, max(1, round(width)))
        looks = [_draw_places(raster, to_crop, [*windows.values()], click) for click in (False, True)]
        shrink = min(1.0, COMPARED_WIDTH / width)
        self._sticks = [
            _DrawnStick.of(stick, windows[stick], released, clicked, shrink)
            for stick, released, clicked in zip(windows, *looks, strict=True)
        ]

    def measure(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """N crops (h, w, 3) uint8 -> (N, 2, 15, 15) float32: mean squared error of opaque colours in [0, 1].

        NaN for a stick that is not drawn.
        """
        side = len(PLACES)
        fits = np.full((len(crops), len(STICKS), side, side), np.nan, np.float32)
        for each in self._sticks:
            windows = [_shrunk(crop[each.window], each.size_wh) for crop in crops]
            seen = torch.from_numpy(np.stack(windows).transpose(0, 3, 1, 2).astype(np.float32) / 255)
            errors = each.squares.of_frames(undo_look(seen, *self._look)) / each.squares.weight
            fits[:, each.index] = errors.amin(1).reshape(-1, side, side).numpy()
        return fits


def _draw_places(raster: Raster, to_crop: np.ndarray, windows: Sequence[Window], click: bool) -> list[np.ndarray]:
    """What windows of the crop show while the sticks stand at each place: (225, h, w, 4) each, premultiplied."""
    if not windows:
        return []
    shown: list[list[np.ndarray]] = [[] for _ in windows]
    for start in range(0, len(_AT), DRAWN_AT_ONCE):
        at = _AT[start : start + DRAWN_AT_ONCE]
        states = States.rest(len(at))
        states.sticks[:] = np.array(at, np.float32)[:, None]
        states.buttons[:, _CLICKS] = click
        for drawing in draw(raster, states).permute(0, 2, 3, 1).numpy():
            for pictures, (rows, columns) in zip(shown, windows, strict=True):
                to_window = (to_crop - [[0, 0, columns.start], [0, 0, rows.start]]) / raster.scale
                to_window[:, 2] *= raster.scale
                to_window[:, 2] += (to_window[:, :2].sum(1) - 1) / 2  # a pixel covers [i, i + 1) on either side
                size_wh = columns.stop - columns.start, rows.stop - rows.start
                pictures.append(cv2.warpAffine(drawing, to_window, size_wh))
    return [np.stack(pictures) for pictures in shown]


def _window(stick: StickGeometry, to_crop: np.ndarray, crop_wh: tuple[int, int]) -> Window | None:
    """Rows and columns of the crop that a stick can cover; None where it lies outside."""
    reach = np.array(stick.travel) * PLACES[-1] + np.array(stick.size) / 2
    corners = np.array([np.array(stick.centre) - reach, np.array(stick.centre) + reach])
    low, high = corners @ to_crop[:, :2].T + to_crop[:, 2]
    x0, y0 = np.floor(low - MARGIN_PX).astype(int).clip(0).tolist()
    x1, y1 = np.minimum(np.ceil(high + MARGIN_PX), crop_wh).astype(int).tolist()
    return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None


def _shrunk(picture: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A picture (h, w, C), its pixels joined to ``size_wh``."""
    if picture.shape[1::-1] == size_wh:
        return picture
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA))
