"""How far each button has gone from its released look to its pressed one, measured where it shows best.

A tile of the panel is small: a shoulder that lights up as a few thin lines loses them there. So the change that the
template predicts is looked for in the crop's own pixels, by one matched filter a button.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor

from extraction.records import Placement
from extraction.rectify import overlay_width
from extraction.sticks import FAINT
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, STICKS, THUMB_OF, TRIGGER_SLICE, States
from templates.draw import draw, rasterise
from templates.scene import Scene

CHANGED: Final = 0.02  # of full scale, in any colour: what a press changes less does not count
AROUND: Final = 0.3  # of a filter's longer side, on every side of it: its surroundings
LEAST_AROUND: Final = 0.25  # of as many pixels as the filter has: fewer tell nothing of the game
FLASH: Final = 1.0  # of the way of a press: a game that cannot move a filter so far does not press it
ALIKE_COVERED: Final = 0.1  # of a pixel
HALF: Final = 0.5  # of the way of a press

# A game as bright as a press may take a filter as far, but leaves more that no press explains. In squared presses:
OTHER: Final = 0.25  # what may be left ...
OTHER_TIMES: Final = 3.0  # ... and so many times what is usually left where the button seems held
MOST_LEFT: Final = 100.0  # that is told apart
OTHER_LOGIT: Final = -20.0  # what the network says of such a frame counts for nothing

# When a filter keeps to two levels so clearly that it needs no second opinion. In parts of the way between them:
LEVELS: Final = (0.4, 1.2)  # how far apart they may be, in parts of what the template draws
SPREAD: Final = 0.12  # at most, about either level
BETWEEN: Final = (0.3, 0.7)  # where hardly any frame may be ...
STRAYS: Final = 0.1  # ... that is, at most so many for each frame of the rarer level
FEWEST: Final = 5  # frames of the rarer level: fewer make none; then the template says where the upper one is ...
MOSTLY: Final = 0.95  # ... if so many of the frames are below BETWEEN, on either side of the lower one
APART: Final = 3.0  # times their deviations: two levels are that far apart, even where the press is not the template's
AT_REST: Final = (-1.0, 0.5)  # where that may be, for a template that expects 0; higher up it is held
CLEAR_LOGIT: Final = 4.0  # added to the network's: more than that mostly says where it is deceived
GENTLE: Final = 16.0  # logits for the whole way, where the template says how far that is
# Frames between two levels are blends of those before and after; see ``synthetic.blends``:
HALF_WAY: Final = 0.518  # where either is as likely
STEEP: Final = 82.0  # logits for the whole way


@dataclass(frozen=True, slots=True, eq=False)
class _Filter:
    """One button's: the window of the crop that it looks at, its weights (h * w * 3,), and what it says at rest.

    where: (h, w) bool, what a press changes. rest, change: (P, 3) float32, of the crop's values, of these P pixels.
    """

    button: int
    rows: slice
    columns: slice
    weights: np.ndarray
    at_rest: float
    where: np.ndarray
    rest: np.ndarray
    change: np.ndarray

    def measure(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """N crops -> (N,) how far the button has gone, and what that leaves unexplained where it seems held."""
        windows = np.stack([crop[self.rows, self.columns] for crop in crops])
        gone = windows.reshape(len(crops), -1) @ self.weights - self.at_rest
        residual = np.zeros(len(crops), np.float32)
        held = np.flatnonzero(gone > HALF)
        since = windows[held][:, self.where] - self.rest
        room = np.square(self.change).sum()
        along = (since * self.change).sum((1, 2)) / room
        residual[held] = np.minimum(np.square(since).sum((1, 2)) / room - np.square(along), MOST_LEFT)
        return gone, residual


class PressFilters:
    """The matched filters of one placement. A button without a picture, or one that moves with a stick, has none."""

    def __init__(self, placement: Placement, box_xywh: tuple[int, int, int, int]) -> None:
        """``box_xywh``: of the crops, in the frame; ``placement.rest`` is such a crop."""
        template = placement.template
        pictures = torch.from_numpy(_draw_over(template, placement.affine, box_xywh))
        filters = press_filters(template, pictures).permute(0, 2, 3, 1).numpy()
        alpha = pictures[:, 3].numpy()
        changes = 255 * placement.gain * (pictures[:-1, :3] - pictures[-1, :3]).permute(0, 2, 3, 1).numpy()
        still = ~_stick_windows(template.scene, placement.affine, box_xywh) & ~filters.any((0, 3))
        self._filters = []
        for button, weights in enumerate(filters):
            if weights.any():
                window = _window_around(weights)
                where = weights[window].any(2)
                weights = weights[window] / placement.gain
                covers = placement.gain * alpha[[-1, button]][:, *window]
                weights = _against_its_surroundings(weights, covers, still[window]).ravel() / 255
                rest = placement.rest[window]
                at_rest = float(rest.ravel() @ weights)
                seen = where, rest[where].astype(np.float32), changes[button][window][where]
                self._filters.append(_Filter(button, *window, weights, at_rest, *seen))

    def measure(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """N crops (h, w, 3) uint8 -> (N, 17) float32: 0 as at rest, 1 all the way, NaN without a filter.

        And (N, 17), the squared length of what else has changed there, in that of a press; 0 up to half of the way.
        """
        gone = np.full((len(crops), len(BUTTONS)), np.nan, np.float32)
        residual = np.zeros((len(crops), len(BUTTONS)), np.float32)
        for each in self._filters:
            gone[:, each.button], residual[:, each.button] = each.measure(crops)
        return gone, residual


def clear_presses(logits: np.ndarray, gone: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """What the network says of a whole placement's buttons, and how far these have gone: (T, 17) float32 logits.

    logits, gone, residual: (T, 17) as in ``Readings``. A game that shines through, a neighbour that lights up and a
    trigger that fills leave no gap between two levels, and are more than a few frames above one; of these buttons the
    network alone tells. Of frames between two clear levels it has no say: it is trained on pictures of either. What is
    no press though it seems one is told of all.
    """
    told = logits.astype(np.float32)
    for button in np.flatnonzero(~np.isnan(gone).any(0)):
        each = gone[:, button].astype(np.float32)
        other = _is_other(each, residual[:, button].astype(np.float32))
        each[other] = np.median(each)
        if (way := way_between_levels(each)) is not None:
            told[(way > BETWEEN[0]) & (way < BETWEEN[1]), button] = 0
            told[:, button] += np.clip(STEEP * (way - HALF_WAY), -CLEAR_LOGIT, CLEAR_LOGIT)
        elif (way := _way_from_rest(each)) is not None:
            told[:, button] += np.clip(GENTLE * (way - HALF), -CLEAR_LOGIT, CLEAR_LOGIT)
        told[other, button] += OTHER_LOGIT
    return told


def _is_other(gone: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Which of T frames, in which a button seems held, show something else there: (T,) bool."""
    held = gone > HALF
    return held & (residual > OTHER + OTHER_TIMES * (np.median(residual[held]) if held.any() else 0.0))


def way_between_levels(gone: np.ndarray) -> np.ndarray | None:
    """(T,) values as parts of the way from their lower level to their upper one; None where these are not clear."""
    is_up = _split(gone, 0.0, 1.0)  # where the template expects them
    if min(is_up.sum(), (~is_up).sum()) < FEWEST:
        return None
    low, high = float(gone[~is_up].mean()), float(np.median(gone[is_up]))
    if not LEVELS[0] <= high - low <= LEVELS[1]:
        return None
    way = (gone - low) / (high - low)
    up, down = way[way > 0.5], way[way <= 0.5]
    spread = np.sqrt(max(np.square(down).mean(), np.square(np.minimum(up - 1, 0)).mean()))  # further is no doubt
    strays = np.count_nonzero((way > BETWEEN[0]) & (way < BETWEEN[1]))
    return way if spread <= SPREAD and strays <= STRAYS * min(len(up), len(down)) else None


def _way_from_rest(gone: np.ndarray) -> np.ndarray | None:
    """(T,) values as parts of the way from the level that nearly all keep to; None where there is another one."""
    low = float(np.median(gone))
    way = gone - low
    if (
        not AT_REST[0] <= low <= AT_REST[1]
        or np.count_nonzero(way > 0.5) >= FEWEST
        or np.quantile(np.abs(way), MOSTLY) > BETWEEN[0]
    ):
        return None
    is_up = _split(way, 0.0, float(way.max()))
    if is_up.sum() < FEWEST:
        return way
    up, down = way[is_up], way[~is_up]
    return way if up.mean() - down.mean() < APART * (up.std() + down.std()) else None


def _split(gone: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which of (T,) values belong to the upper one of two levels, from about where these are: 2-means."""
    is_up = gone > (low + high) / 2
    for _ in range(20):
        if is_up.all() or not is_up.any():
            break
        low, high = float(gone[~is_up].mean()), float(np.median(gone[is_up]))
        is_up = gone > (low + high) / 2
    return is_up


def single_presses() -> States:
    """Each of the 17 buttons held alone, and none of them: 18 states."""
    states = States.rest(len(BUTTONS) + 1)
    states.buttons[np.arange(len(BUTTONS)), np.arange(len(BUTTONS))] = True
    states.triggers[:-1] = states.buttons[:-1, TRIGGER_SLICE]
    return states


def press_filters(template: Template, pictures: Tensor) -> Tensor:
    """Matched filters of a template's buttons: (17, 3, h, w) float32, 0 for a button that has none.

    pictures: (18, 4, h, w) float32, the template in its ``single_presses``. What a picture has changed since rest, in
    [0, 1] and times its filter, is 1 in sum where the button alone is held, nearly 0 where nothing is. ``FAINT`` keeps
    a change that hardly shows from being made large.
    """
    change = pictures[:-1, :3] - pictures[-1, :3]
    found = change.abs().amax(1, True) > CHANGED
    change = change * found
    room = change.square().sum((1, 2, 3)) + FAINT * found.sum((1, 2, 3))
    filters = change / room[:, None, None, None].clamp(min=FAINT)
    hidden = sorted(set(range(len(BUTTONS))) - _shown(template))
    filters[hidden] = 0
    return filters


def _window_around(weights: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what a filter (h, w, 3) looks at, and of as much around it as tells how the game changes."""
    x, y, w, h = cv2.boundingRect(np.asarray(weights.any(2), np.uint8))
    margin = round(AROUND * max(w, h))
    return slice(max(y - margin, 0), y + h + margin), slice(max(x - margin, 0), x + w + margin)


def _against_its_surroundings(weights: np.ndarray, covers: np.ndarray, still: np.ndarray) -> np.ndarray:
    """A filter (h, w, 3) that what shines through everywhere alike does not move: a game that flashes.

    covers: (2, h, w), how much of the game is hidden at rest and pressed. still: (h, w), where nothing changes,
    whatever is done. What is covered there as much as under the filter changes as the button does when it is left
    alone. A press that covers more hides what shines through; its filter stays as it is, as does one without such
    surroundings. So does one that no flash, from nothing to full in any colour, takes as far as a press: its
    surroundings would add only what the encoder lets them have of the press.
    """
    there = weights.any(2)
    usual = float(covers[0][there].mean())
    around = still & (np.abs(covers[0] - usual) < ALIKE_COVERED)
    if np.abs(covers[1] - covers[0])[there].mean() > ALIKE_COVERED or around.sum() < LEAST_AROUND * there.sum():
        return weights
    flash = np.abs((weights * (1 - covers[0])[..., None]).sum((0, 1))).sum()
    if flash < FLASH:
        return weights
    return np.where(around[..., None], -weights.sum((0, 1)) / around.sum(), weights).astype(np.float32)


def _stick_windows(scene: Scene, affine: np.ndarray, box_xywh: tuple[int, int, int, int]) -> np.ndarray:
    """Where sticks may be in a box of the frame: (h, w) bool."""
    x, y, w, h = box_xywh
    windows = np.zeros((h, w), bool)
    for stick in scene.sticks:
        left, top, width, height = scene.boxes[stick]
        corners = np.array([[left, top], [left + width, top + height]]) @ affine[:, :2].T + affine[:, 2] - (x, y)
        (x0, y0), (x1, y1) = corners.round().astype(int).clip(0).tolist()
        windows[y0:y1, x0:x1] = True
    return windows


def _shown(template: Template) -> set[int]:
    """Which buttons have a picture that stays where it is."""
    moving = {THUMB_OF[part.stick] for part in template.scene.parts if part.kind == "move"}
    shown = set(template.scene.known) - set(template.scene.undrawn) - set(STICKS) - moving
    return {BUTTON_INDEX[name] for name in shown}


def _draw_over(template: Template, affine: np.ndarray, box_xywh: tuple[int, int, int, int]) -> np.ndarray:
    """The template in its ``single_presses`` as it lies in a box of the frame: (18, 4, h, w) float32, premultiplied."""
    raster = rasterise(template, max(1, round(overlay_width(template.scene, affine))))
    x, y, w, h = box_xywh
    matrix = affine / raster.scale  # a pixel covers [i, i + 1) on either side
    matrix[:, 2] = affine[:, 2] - (x, y) + (matrix[:, :2].sum(1) - 1) / 2
    drawings = draw(raster, single_presses()).permute(0, 2, 3, 1).cpu().numpy()
    return np.stack([cv2.warpAffine(each, matrix, (w, h)) for each in drawings]).transpose(0, 3, 1, 2)
