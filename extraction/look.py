"""How a placed drawing looks in a video: how opaque it is, and whether it can be that drawing at all.

A skin that is not in the library, but has the geometry of one that is, is placed by that relative's keypoints. It has
other colours, and whoever compares frames with the relative's pictures misses its presses.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from extraction.rectify import cut_out, overlay_width
from templates.catalogue import Template
from templates.controls import States
from templates.draw import draw, draw_rgba, rasterise
from templates.scene import StickGeometry

COMPARED_WIDTH: Final = 200  # px of the pictures compared
LOOK_BLUR: Final = 2.0  # px of them
LIMIT_BLUR: Final = 1.5
MIN_LOOK_PX: Final = 150
AROUND: Final = 5.0  # px of them: what is seen beside a line is the game behind it
FAINT: Final = 0.01  # of full scale: what stands out less tells nothing
COVERED_AT_ALL: Final = 0.05  # of a pixel
COVERED_WHOLE: Final = 0.9  # of a pixel
COVERED: Final = 0.25  # of a pixel; where less is drawn the game is seen
CODING: Final = 0.04  # of full scale: what an encoder does to a colour
DENYING: Final = 0.05  # of the pixels: so many may be wrong
LEAST_OPACITY: Final = 0.3  # what can only be fainter is another drawing; overlays of 0.35 and more are looked for
BEYOND: Final = 0.15  # so is what looks so much more opaque than the drawing can be, or so much less than it must be
BESIDE: Final = 30  # px of the pictures compared, around the drawing: where the game beside it is looked at
NEXT_TO: Final = 10.0  # px of them: what moves inside and what moves beside are compared so near to each other
ENOUGH_OF_BOTH: Final = 0.05  # of what is so near
LEAST_MOTION: Final = 2.0  # of 255: what moves less beside the drawing tells nothing of what moves behind it
THROUGH: Final = 0.9  # quantile along the outline: a game may be calm behind most of an overlay


def measure_look(
    template: Template, affine: np.ndarray, median: np.ndarray
) -> tuple[float, tuple[float, float, float]]:
    """How opaque an overlay is drawn: ``Placement.gain`` and ``Placement.offset``.

    ``median``: (H, W, 3) uint8 RGB, the temporal median of the frames; ``affine``: canvas -> its pixels. What stands
    out of its surroundings in the drawing, over the game as it is seen beside it, is compared with what does in the
    median, by least squares; so a line tells as much as a body. Whatever is pressed or moved most of the time disagrees
    with the rest and is left out in rounds. Without enough to compare: (1, (0, 0, 0)).
    """
    rgba, seen = overlaid(template, affine, median)
    light = rgba[..., :3] * rgba[..., 3:] / 255
    # Blurred alike, so that a small or starved overlay's lost contrast is not taken for translucency.
    drawn, seen = (blurred(each / 255, LOOK_BLUR) for each in (np.dstack([light, rgba[..., 3]]), seen))
    light, alpha = drawn[..., :3], drawn[..., 3:]
    bare = (1 - alpha).clip(1e-3, 1) ** 2
    game = blurred(seen * bare, AROUND) / blurred(bare, AROUND)[..., None]
    expected = light + (1 - alpha) * game
    details, detail_seen = (each - blurred(each, AROUND) for each in (expected, seen))
    told = (np.abs(details).max(2) > FAINT) & (alpha[..., 0] > COVERED_AT_ALL) & ~_stick_windows(template, alpha.shape)
    if told.sum() < MIN_LOOK_PX:
        return 1.0, (0.0, 0.0, 0.0)
    x, y = details[told], detail_seen[told]
    kept = np.ones(len(x), bool)
    for _ in range(4):
        gain = float((x[kept] * y[kept]).sum() / (x[kept] ** 2).sum())
        error = np.abs(gain * x - y).max(1)
        kept = error <= max(2.5 * float(np.median(error)), 0.02)
    if not 0.25 <= gain <= 1.2:
        return 1.0, (0.0, 0.0, 0.0)
    # What is left beside the drawing is the game, dimmed by it: what of that a fully covered pixel shows.
    left, through = (seen - gain * light)[told].mean(0), float((1 - gain * alpha[..., 0])[told].mean())
    red, green, blue = (left * (max(1 - gain, 0) + 1e-3) / (max(through, 0) + 1e-3)).tolist()
    return gain, (red, green, blue)


def measure_limit(template: Template, affine: np.ndarray, median: np.ndarray) -> float:
    """The most opaque that a template's drawing can be in a place: ``Placement.limit``.

    ``median`` and ``affine`` are those of ``measure_look``. What covers a share A of a pixel with colour C, at opacity
    q over a game G, is seen as ``q A C + (1 - q A) G``. G is in [0, 1]; so whatever it is, q is at most
    ``seen / (A C)`` and ``(1 - seen) / (A (1 - C))``: of white that is seen as 0.3 at most 0.3. All pixels but DENYING
    of them allow the limit, each at rest or pressed, whichever allows more; where a stick may be nothing is asked.
    Without enough to compare: 1.
    """
    width = min(COMPARED_WIDTH, round(overlay_width(template.scene, affine)))  # no finer than it is in the frame
    raster = rasterise(template, width)
    seen = see_at(template, affine, median.astype(np.float32) / 255, raster.size_wh, np.nan)
    seen = blurred(seen, LIMIT_BLUR)
    allowed: list[np.ndarray] = []
    for states in (States.rest(), States.all_pressed()):
        drawn = blurred(draw(raster, states)[0].permute(1, 2, 0).numpy(), LIMIT_BLUR)
        light, alpha = drawn[..., :3], drawn[..., 3:]
        dark = np.maximum(alpha - light, 0)
        most = np.minimum((seen + CODING) / (light + 1e-6), (1 - seen + CODING) / (dark + 1e-6)).min(2)
        allowed.append(np.where(alpha[..., 0] >= COVERED, most, np.inf))
    asked = np.isfinite(allowed[0]) & ~_stick_windows(template, allowed[0].shape)
    if asked.sum() < MIN_LOOK_PX:
        return 1.0
    return min(1.0, float(np.quantile(np.maximum(*allowed)[asked], DENYING)))


def measure_least(template: Template, affine: np.ndarray, pictures: np.ndarray) -> float:
    """The least opaque that a template's drawing can be in a place: ``Placement.least``.

    pictures: (T, H, W, 3) uint8 RGB, frames that show it; ``affine``: canvas -> their pixels. A game shines through
    what is not opaque, and moves there as far as it does so: along the outline, by how much less than right beside it,
    where the drawing covers a pixel whole and shows no control. Where hardly anything moves there: 0.
    """
    alpha = draw_rgba(template, States.rest(), COMPARED_WIDTH)[..., 3] / np.float32(255)
    size_wh = alpha.shape[1], alpha.shape[0]
    greys = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in pictures)
    seen = [see_at(template, affine, grey, size_wh, np.nan, BESIDE) for grey in greys]
    moved = np.abs(np.stack(seen) - np.median(seen, 0)).mean(0)
    alpha = np.pad(alpha, BESIDE)
    controls = np.zeros(alpha.shape, bool)
    for box in template.scene.boxes.values():
        x, y, w, h = (round(side * COMPARED_WIDTH / template.scene.canvas[0]) for side in box)
        controls[max(y + BESIDE, 0) : y + h + BESIDE + 1, max(x + BESIDE, 0) : x + w + BESIDE + 1] = True
    inside = (cv2.erode(alpha, np.ones((3, 3))) > COVERED_WHOLE) & ~controls & np.isfinite(moved)
    beside = (cv2.dilate(alpha, np.ones((9, 9))) < COVERED_AT_ALL) & np.isfinite(moved)
    (near_inside, behind), (near_beside, around) = (_motion_near(moved, where) for where in (inside, beside))
    told = (np.minimum(near_inside, near_beside) > ENOUGH_OF_BOTH) & (around > LEAST_MOTION)
    if told.sum() < MIN_LOOK_PX:
        return 0.0
    return max(0.0, 1 - float(np.quantile(behind[told] / around[told], THROUGH)))


def _motion_near(moved: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Around each pixel, the share of those that count, and how far these move in the mean: (h, w) float32 each."""
    share = blurred(where.astype(np.float32), NEXT_TO)
    return share, blurred(np.where(where, moved, 0).astype(np.float32), NEXT_TO) / np.maximum(share, 1e-6)


def only_resembles(gain: float, limit: float, least: float) -> bool:
    """Whether what looks so opaque cannot be the drawing: ``measure_look``, ``measure_limit``, ``measure_least``."""
    return limit < LEAST_OPACITY or not least - BEYOND <= min(gain, 1.0) <= limit + BEYOND


def overlaid(template: Template, affine: np.ndarray, median: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rest picture (H, W, 4) and what the median shows in its place (H, W, 3), both float32 in 0..255."""
    rgba = draw_rgba(template, States.rest(), COMPARED_WIDTH)
    seen = see_at(template, affine, median, (rgba.shape[1], rgba.shape[0]), 0.0)
    return rgba.astype(np.float32), seen.astype(np.float32)


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture under a Gaussian of ``sigma`` pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))


def see_at(
    template: Template,
    affine: np.ndarray,
    picture: np.ndarray,
    size_wh: tuple[int, int],
    outside: float,
    beside: int = 0,
) -> np.ndarray:
    """What a picture (h, w, ...) shows where ``affine`` puts the canvas, as (H, W, ...) and some pixels beside that.

    outside: beyond the picture's edge.
    """
    unit = template.scene.canvas[0] / size_wh[0]
    to_frame = affine @ np.array([[unit, 0, -beside * unit], [0, unit, -beside * unit], [0, 0, 1]])
    return cut_out(picture, to_frame, (size_wh[0] + 2 * beside, size_wh[1] + 2 * beside), outside=outside)


def _stick_windows(template: Template, shape: tuple[int, ...]) -> np.ndarray:
    """Where sticks may be drawn, as a mask of a picture of the whole canvas."""
    windows = np.zeros(shape[:2], bool)
    for stick in template.scene.sticks.values():
        windows |= _window(stick, template.scene.canvas[0], shape)
    return windows


def _window(stick: StickGeometry, canvas_width: float, shape: tuple[int, ...]) -> np.ndarray:
    """Where a stick may be drawn, as a mask of a picture of the whole canvas."""
    unit = canvas_width / shape[1]
    rows, columns = np.indices(shape[:2])
    reach = [stick.travel[i] + stick.size[i] / 2 for i in (0, 1)]
    across, down = (columns + 0.5) * unit - stick.centre[0], (rows + 0.5) * unit - stick.centre[1]
    return np.asarray((np.abs(across) <= reach[0]) & (np.abs(down) <= reach[1]))
