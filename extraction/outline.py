"""Where the outline of a drawing is in a video: a skin that only resembles the drawing has another body.

A relative's keypoints tell about where a skin is, by the controls that the two have alike. Around them each side of the
drawing is moved, until its outline lies on edges of what stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from extraction.look import COMPARED_WIDTH, blurred
from extraction.rectify import cut_out
from templates.catalogue import Template
from templates.controls import States
from templates.draw import draw_rgba
from templates.scene import Box

MARGIN: Final = 60  # px of COMPARED_WIDTH around the canvas: as far as edges are looked for
COVERED: Final = 40  # of 255
THERE: Final = 0.7  # of the agreement
LEAST_POINTS: Final = 12  # of a part's outline
TANGENT: Final = 3  # points either way
FARTHEST: Final = 0.22  # of the outline's size, for each side
FARTHEST_PRICE: Final = 0.045  # of agreement, for each side that goes there
NOISE: Final = 4.0  # Sobel: half a level a pixel
AT_ONCE: Final = 512
STEEP: Final = 0.5  # of an edge: steeper than is usual in the picture
CORNER: Final = 5  # px of COMPARED_WIDTH: how far a window's corner may be from the body's
STRAIGHT, ENDS = 0.9, 0.35  # of a window's side that is an edge, at least; of the line that goes on beyond it, at most
PLAIN: Final = 0.35  # of a window's ground that is steep, at most
# Coarse to fine: blur in pixels of COMPARED_WIDTH, steps of a side as part of the outline's size, steps either way.
LEVELS: Final = ((3.0, 0.055, 4), (2.0, 0.025, 2), (1.0, 0.0125, 2), (1.0, 0.006, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A drawing's outline where the edges of a picture are. box_xywh: around it, in pixels of the picture.

    agreement: of the outline with the edges, in [0, 1]; before: the same where it came from.
    """

    box_xywh: Box
    agreement: float
    before: float

    @property
    def was_there(self) -> bool:
        """Whether the outline was about where the edges are."""
        return self.before >= THERE * self.agreement


def fit_outline(template: Template, affine: np.ndarray, median: np.ndarray) -> Outline:
    """Move a drawing's sides, from where ``affine`` puts them, to the edges of a temporal median (H, W, 3) uint8.

    An edge agrees by how much of the steepest colour's gradient lies across the outline, against what is usual around.
    """
    points, normals = _outline_of(template)
    low, size = points.min(0), np.ptp(points, 0)
    canvas = np.array(template.scene.canvas)
    seen = _cut_around(median, affine, canvas)
    moved = np.zeros(4)  # left, top, right, bottom
    for blur, step, reach in LEVELS:
        edges = _edges_of(seen, blur)
        steps = np.arange(-reach, reach + 1) * step
        tried = moved + np.stack(np.meshgrid(*[steps] * 4, indexing="ij"), -1).reshape(-1, 4)
        tried = tried[np.abs(tried).max(1) <= FARTHEST]
        gain = -FARTHEST_PRICE * ((tried / FARTHEST) ** 2).sum(1)
        for start in range(0, len(tried), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            gain[part] += _agreements(points, normals, edges, *_stretch(tried[part], low, size))
        moved = tried[gain.argmax()]
    scale, shift = _stretch(np.stack([moved, np.zeros(4)]), low, size)
    agreement, before = _agreements(points, normals, edges, scale, shift).tolist()
    return Outline(_to_picture(template, affine, low * scale[0] + shift[0], size * scale[0]), agreement, before)


def fit_window(box_xywh: Box, median: np.ndarray) -> Box:
    """The window with a plain ground of its own that a body is drawn in; the body's box where there is none.

    Each side goes out, across what is plain, to the first straight edge that is as long as the body and ends with it. A
    side without one stays: the game's own ground may be as plain.
    """
    x, y, w, h = box_xywh
    unit = w / COMPARED_WIDTH
    seen = _cut_around(median, np.array([[1, 0, x], [0, 1, y]]), np.array([w, h]))
    across, down = (np.abs(edges) for edges in _edges_of(seen, LEVELS[-1][0]))
    rough = np.hypot(across, down) > STEEP
    # Turned, so that each side is once the upper one.
    left, top, right, bottom = (
        unit * _way_out(np.rot90(lines > STEEP, turn), np.rot90(rough, turn))
        for turn, lines in zip((3, 0, 1, 2), (across, down) * 2, strict=True)
    )
    return x - left, y - top, w + left + right, h + top + bottom


def _way_out(edge: np.ndarray, rough: np.ndarray) -> int:
    """How far above a body, MARGIN away on all sides of (h, w) bool pictures, its window ends: in pixels, 0 nowhere."""
    inside = slice(MARGIN + CORNER, edge.shape[1] - MARGIN - CORNER)
    beyond = np.r_[: MARGIN - CORNER, edge.shape[1] - MARGIN + CORNER : edge.shape[1]]
    for row in range(MARGIN - CORNER - 1, CORNER, -1):
        near = edge[row - 1 : row + 2]
        if near[:, inside].any(0).mean() >= STRAIGHT and near[:, beyond].any(0).mean() <= ENDS:
            return MARGIN - row if rough[row + CORNER : MARGIN, inside].mean() <= PLAIN else 0
    return 0


def _to_picture(template: Template, affine: np.ndarray, low: np.ndarray, size: np.ndarray) -> Box:
    """A box of the canvas, in pixels of COMPARED_WIDTH, as ``affine`` puts it into a picture."""
    scale = np.diag(affine[:, :2]) * template.scene.canvas[0] / COMPARED_WIDTH
    (x, y), (w, h) = (low * scale + affine[:, 2]).tolist(), (size * scale).tolist()
    return x, y, w, h


@lru_cache(maxsize=64)
def _outline_of(template: Template) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) on the outlines of a drawing's parts, in pixels of COMPARED_WIDTH, and their normals (N, 2)."""
    shown = [draw_rgba(template, states, COMPARED_WIDTH)[..., 3] for states in (States.rest(), States.all_pressed())]
    covered = (np.maximum(*shown) > COVERED).astype(np.uint8)
    framed = cv2.copyMakeBorder(covered, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    parts, _ = cv2.findContours(framed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points, normals = [], []
    for part in parts:
        along = part[:, 0].astype(np.float64)
        if len(along) >= LEAST_POINTS:
            tangent = np.roll(along, -TANGENT, 0) - np.roll(along, TANGENT, 0)
            points.append(along[::2] - 0.5)  # one pixel of frame, and its middle
            normals.append((tangent[:, ::-1] * (1, -1))[::2])
    return np.concatenate(points), np.concatenate(normals)


def _cut_around(picture: np.ndarray, affine: np.ndarray, size: np.ndarray) -> np.ndarray:
    """What a picture shows around a canvas of a size, its corner at MARGIN, its width COMPARED_WIDTH: (h, w, 3)."""
    unit = size[0] / COMPARED_WIDTH
    to_picture = affine @ np.array([[unit, 0, -MARGIN * unit], [0, unit, -MARGIN * unit], [0, 0, 1]])
    shrink = float(to_picture[0, 0])
    smooth = blurred(picture, shrink / 2) if shrink > 1 else picture  # sampling would skip pixels
    width, height = np.ceil(size / unit + 2 * MARGIN).astype(int).tolist()
    return cut_out(smooth, to_picture, (width, height)).astype(np.float32)


def _edges_of(seen: np.ndarray, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """How steep a picture is across and down, (h, w) each, at most 1 together: against the usual of the picture."""
    smooth = blurred(seen, blur)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    steepness = np.hypot(across, down)
    steepest = steepness.argmax(2)[..., None]
    across, down, steepness = (np.take_along_axis(each, steepest, 2)[..., 0] for each in (across, down, steepness))
    usual = float(np.median(steepness)) + NOISE
    return across / (steepness + usual), down / (steepness + usual)


def _stretch(moved: np.ndarray, low: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and shifts (K, 2) that move the sides (K, 4) of a box by parts of its size."""
    scale = 1 + moved[:, 2:] - moved[:, :2]
    return scale, low + moved[:, :2] * size - low * scale


def _agreements(
    points: np.ndarray, normals: np.ndarray, edges: tuple[np.ndarray, np.ndarray], scale: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """Of K scales and shifts (K, 2) each, how much of the edges lies across the outline on average: (K,)."""
    across, down = edges
    height, width = across.shape
    x, y = np.moveaxis((points * scale[:, None] + shift[:, None] + MARGIN).astype(np.int32), 2, 0)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    turned = normals / scale[:, None]
    turned /= np.linalg.norm(turned, axis=2, keepdims=True)
    met = np.abs(across[y, x] * turned[..., 0] + down[y, x] * turned[..., 1])
    return np.asarray(np.where(inside, met, 0).mean(1))
