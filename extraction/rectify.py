"""Frame + placement + scene -> the parser's panel: one tile per control, each always in the same place.

Layouts differ from pad to pad; a panel does not. The matched template says where each control is, so
the parser only has to tell a pressed tile from a released one, and where in its tile a stick stands.

    panel, 108 x 88 px            x 0..44   j_left above j_right, 44 x 44 px each
                                  x 44..108 the 17 buttons, 16 x 16 px each, 4 to a row
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from templates.controls import BUTTONS, STICKS
from templates.scene import Box, Scene

STICK_TILE: Final = 44  # 11 cells of the parser's stride of 4
BUTTON_TILE: Final = 16
PANEL_WH: Final = (STICK_TILE + 4 * BUTTON_TILE, 2 * STICK_TILE)
BUTTON_MARGIN: Final = 0.25  # of the control's box, on every side: room for a placement that is a little off
WORKING_WIDTH: Final = 200  # px; a wider overlay is shrunk to it, tiles would skip pixels otherwise

# Where each control's tile starts in the panel.
TILE_XY: Final = {
    **{name: (0, STICK_TILE * i) for i, name in enumerate(STICKS)},
    **{name: (STICK_TILE + BUTTON_TILE * (i % 4), BUTTON_TILE * (i // 4)) for i, name in enumerate(BUTTONS)},
}


def tile_size(control: str) -> int:
    """Side of a control's tile in panel pixels."""
    return STICK_TILE if control in STICKS else BUTTON_TILE


def tile_map(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Where every panel pixel looks.

    Returns ``points`` (88, 108, 2) float32, the canvas point of each pixel's centre (NaN where no control
    is), and ``stick_units`` (88, 108, 2) float32, inside stick tiles that point as a stick value (0 at the
    neutral, 1 at full tilt right or down), 0 elsewhere.
    """
    width, height = PANEL_WH
    points = np.full((height, width, 2), np.nan, np.float32)
    stick_units = np.zeros((height, width, 2), np.float32)
    for control, box in scene.boxes.items():
        (x, y), size = TILE_XY[control], tile_size(control)
        tile = _grid_over(box if control in STICKS else _with_margin(box), size)
        points[y : y + size, x : x + size] = tile
        if control in STICKS:
            stick = scene.sticks[control]
            stick_units[y : y + size, x : x + size] = (tile - stick.centre) / stick.travel
    return points, stick_units


class Rectifier:
    """Cuts panels out of one placement's frames.

    ``box_xywh`` is the part of the frame that it needs; ``panel`` takes crops of exactly that box. ``whole``: (17,)
    bool, the buttons of the scene whose tiles lie inside the frame.
    """

    def __init__(self, scene: Scene, affine: np.ndarray, frame_wh: tuple[int, int]) -> None:
        """``affine``: (2, 3), canvas units -> pixels of frames of size ``frame_wh``."""
        points, _ = tile_map(scene)
        known = np.isfinite(points[..., 0])
        target = np.full_like(points, -1e4)
        target[known] = points[known] @ affine[:, :2].T.astype(np.float32) + affine[:, 2]
        inside = np.all((target >= 0) & (target <= frame_wh), axis=-1)
        corners = [TILE_XY[name] for name in BUTTONS]
        self.whole = np.array([inside[y : y + BUTTON_TILE, x : x + BUTTON_TILE].all() for x, y in corners])
        self.box_xywh = _covering_box(target[known], frame_wh)
        x, y, w, h = self.box_xywh
        shrink = min(1.0, WORKING_WIDTH / overlay_width(scene, affine))
        self._size_wh = (max(1, round(w * shrink)), max(1, round(h * shrink)))
        scale = np.array([self._size_wh[0] / w, self._size_wh[1] / h], np.float32)
        # A point is at p in frame pixels when pixel (i, j) covers [i, i + 1): its centre is at i + 0.5.
        self._map = ((target - (x, y)) * scale - 0.5).astype(np.float32)

    def panel(self, crop: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 crop of ``box_xywh`` -> (88, 108, 3) uint8; black where no control is."""
        if crop.shape[1::-1] != self._size_wh:
            crop = cv2.resize(crop, self._size_wh, interpolation=cv2.INTER_AREA)
        x, y = self._map[..., 0], self._map[..., 1]
        return np.asarray(cv2.remap(crop, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))

    def panels(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """The panels of N whole (H, W, 3) uint8 frames: (N, 88, 108, 3) uint8."""
        x, y, w, h = self.box_xywh
        return np.stack([self.panel(frame[y : y + h, x : x + w]) for frame in frames])

    def rest_of(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """The temporal median of what whole frames show in ``box_xywh``: (h, w, 3) uint8."""
        x, y, w, h = self.box_xywh
        return np.asarray(np.median([frame[y : y + h, x : x + w] for frame in frames], 0), np.uint8)


def cut_out(
    picture: np.ndarray,
    to_picture: np.ndarray,
    size_wh: tuple[int, int],
    interpolation: int = cv2.INTER_LINEAR,
    outside: float | None = None,
) -> np.ndarray:
    """What a picture (H, W, 3) shows in a window (h, w, 3), that ``to_picture`` (2, 3) puts there.

    Pixel i covers [i, i + 1) in both. Beyond the picture's edge is ``outside``, or what is nearest to it.
    """
    centred = to_picture.copy()
    centred[:, 2] += centred[:, :2] @ (0.5, 0.5) - 0.5
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    flags, colour = interpolation | cv2.WARP_INVERSE_MAP, (outside or 0.0,) * 3
    return np.asarray(cv2.warpAffine(picture, centred, size_wh, flags=flags, borderMode=border, borderValue=colour))


def overlay_width(scene: Scene, affine: np.ndarray) -> float:
    """How wide a scene's canvas is in a frame, in pixels."""
    return float(np.hypot(*affine[:, 0])) * scene.canvas[0]


def covered_box(scene: Scene, affine: np.ndarray, frame_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a scene's canvas is in a frame, clipped to it: x, y, width, height in pixels, at least 1 x 1."""
    width, height = (np.diag(affine[:, :2]) * np.array(scene.canvas)).tolist()
    return clip_box((*affine[:, 2].tolist(), width, height), frame_wh)


def scale_box(box: Box, scale: float) -> Box:
    """The same box in a picture ``scale`` times as large."""
    x, y, w, h = box
    return x * scale, y * scale, w * scale, h * scale


def clip_box(box: Box, frame_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box in whole pixels, clipped to the frame: x, y, width, height, at least 1 x 1."""
    corner, size = np.array(box[:2]), np.array(box[2:])
    low = np.clip(np.round(corner), 0, np.array(frame_wh) - 1)
    high = np.clip(np.round(corner + size), low + 1, frame_wh)
    return (int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))


def _grid_over(box: Box, size: int) -> np.ndarray:
    """Centres of ``size`` x ``size`` equal cells over a box: (size, size, 2) float32."""
    x, y, w, h = box
    cells = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.stack(np.meshgrid(x + w * cells, y + h * cells), -1)


def _with_margin(box: Box) -> Box:
    x, y, w, h = box
    return (
        x - BUTTON_MARGIN * w,
        y - BUTTON_MARGIN * h,
        w * (1 + 2 * BUTTON_MARGIN),
        h * (1 + 2 * BUTTON_MARGIN),
    )


def _covering_box(points: np.ndarray, frame_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """The even-aligned box around points, with 2 px to spare, clipped to the frame."""
    low = np.floor((points.min(0) - 2) / 2).astype(int) * 2
    high = np.ceil((points.max(0) + 2) / 2).astype(int) * 2
    x0, y0 = (int(np.clip(low[i], 0, frame_wh[i] - 1)) for i in (0, 1))
    x1, y1 = (int(np.clip(high[i], (x0, y0)[i] + 1, frame_wh[i])) for i in (0, 1))
    return (x0, y0, x1 - x0, y1 - y0)
