"""Types that cross stages. Frozen, checked, and the same names everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the command line needs the errors here before it needs anything heavy
    from templates.catalogue import Template


class SourceError(Exception):
    """A source that cannot be read. Its text is one sentence: what was expected, found, and what to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a video file came from, for its report and the metadata of its files. Empty where that is not known.

    url: the page of the video. format_id: the site's name for what was fetched. game: what is played.
    """

    url: str = ""
    title: str = ""
    format_id: str = ""
    game: str = ""


class Reason(StrEnum):
    """Why there is no placement, or why a chunk is dropped."""

    NO_FRAMES = "no_frames"
    NO_OVERLAY = "no_overlay"
    NO_SUCH_PAD = "no_such_pad"
    UNKNOWN_SKIN = "unknown_skin"
    INACTIVE = "inactive"
    NOT_COVERED = "not_covered"
    LEAK = "leak"


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where one template sits in one video, and when. A pad that hides, moves or changes has several, one by one.

    template: what is there. A control of which it has no picture is read by the video's own rest picture alone.
    affine: (2, 3) float64, canvas units -> pixels of the upright frame.
    box_xywh: the canvas in the frame, pixels, clipped to the frame; of a skin that has another body, or is drawn in a
    window of its own, that.
    inliers: distinct template keypoints that support the affine, pooled over the sampled frames.
    gain, offset: the overlay's look, ``frame = gain * drawing + offset`` where the drawing is opaque, all in
    [0, 1]: an overlay of opacity q over a backdrop of mean colour c has gain q and offset (1 - q) c.
    limit: the most opaque that the drawing can be there, in [0, 1]; see ``look.measure_limit``. 0 where its outline is
    not there: a skin with another body; see ``outline``.
    least: the least opaque that it can be there, 0 where that cannot be told; see ``look.measure_least``.
    rest: (h, w, 3) uint8, the overlay at rest: the temporal median of what the sampled frames that show it have in the
    ``Rectifier``'s box.
    start_s, end_s: half-open span of presentation times; ``end_s`` is infinite for "to the end".
    pad: which of the video's pads this is, from 1 on; several are there at once.
    support: how many of the sampled frames within the span show it, of ``sampled`` in the whole video.
    """

    template: Template
    affine: np.ndarray
    box_xywh: tuple[int, int, int, int]
    inliers: int
    start_s: float
    end_s: float
    rest: np.ndarray
    gain: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    limit: float = 1.0
    least: float = 0.0
    pad: int = 1
    support: int = 0
    sampled: int = 0

    def __post_init__(self) -> None:
        if self.affine.shape != (2, 3):
            raise ValueError(f"Placement.affine must have shape (2, 3), found {self.affine.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What T frames tell by themselves, one by one.

    logits: (T, 17) float32, positive means pressed; meaningless where the overlay does not show the control.
    places: (T, 2, 15, 15) float32, [left, right] x y x x: log likelihood of each of the places of ``course``.
    fits: (T, 2, 15, 15) float32, how badly each stick fits at each of the places; see ``stick_fits``.
    gone: (T, 17) float32, how far each button has gone from released to pressed; NaN where that cannot be told.
    residual: (T, 17) float32, what else has changed where it seems held, in squared presses; see ``presses``.
    agreement: (T,) float32 in [-1, 1], how far the frame looks like the video's rest picture; see ``presence``.
    """

    logits: np.ndarray
    places: np.ndarray
    fits: np.ndarray
    gone: np.ndarray
    residual: np.ndarray
    agreement: np.ndarray

    def __post_init__(self) -> None:
        length = len(self.logits)
        shapes = {
            "logits": (length, 17),
            "places": (length, 2, 15, 15),
            "fits": (length, 2, 15, 15),
            "gone": (length, 17),
            "residual": (length, 17),
            "agreement": (length,),
        }
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"Readings.{name} must have shape {shape}, found {found}")
