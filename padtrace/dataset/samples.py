"""Which samples a dataset holds: a frame and the actions that follow it. Pure, but for what a chunk's labels say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from padtrace.dataset.marks import Span
from padtrace.dataset.records import GROUP_ROWS, Chunk, Rows
from templates.controls import BUTTONS, STICKS

# The order of NitroGen: 21 buttons by their upper-case names, four of which no pad has, then x and y of the sticks.
_NITROGEN_BUTTONS: Final = sorted(
    [*BUTTONS, "right_bottom", "right_left", "right_right", "right_up"],
)
PACKED_ORDER: Final = (*_NITROGEN_BUTTONS, *(f"{stick}_{axis}" for stick in STICKS for axis in "xy"))
_SLOTS: Final = [_NITROGEN_BUTTONS.index(name) for name in BUTTONS]


class SampleOptions(BaseModel):
    """What a sample is, and which ones are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon: int = Field(16, ge=1)
    """Actions that follow a frame."""
    action_shift: int = Field(1, ge=0)
    """The first of them is that of the frame so many frames later."""
    frame_stride: int = Field(1, ge=1)
    """Only frames whose number in the video is a multiple of this begin a sample."""
    min_confidence: float = Field(0.0, ge=0, le=1)
    """What each action's confidence must reach."""
    games: tuple[str, ...] | None = None
    """Only these games."""
    packed: bool = False
    """Actions in NitroGen's order of 25 values instead of arrays by name."""


def find_samples(rows: Rows, begin: int, stop: int, spans: Sequence[Span], options: SampleOptions) -> np.ndarray:
    """Rows ``begin`` to ``stop`` - 1 that begin a sample: (N,) int64, increasing.

    rows: consecutive frames; behind the last begins what no sample may reach. A sample is left out when its frame or
    one of its actions is marked, or one of its actions is doubtful.
    """
    frames = rows.frame_index
    first, last = options.action_shift, options.action_shift + options.horizon
    at = np.arange(begin, min(stop, len(rows) - last + 1))
    at = at[frames[at] % options.frame_stride == 0]
    marked = np.zeros(len(rows), bool)
    for span in spans:
        marked |= (frames >= span.start_frame) & (frames < span.end_frame)
    doubtful = ~(rows.confidence >= options.min_confidence)
    bad = np.concatenate([[0], np.cumsum(marked | doubtful)])
    return np.asarray(at[(bad[at + last] == bad[at + first]) & ~marked[at]])


def count_samples(
    chunks: Sequence[Chunk],
    reaches: np.ndarray,
    spans: Mapping[str, Sequence[Span]],
    options: SampleOptions,
    read_rows: Callable[[int], Rows],
) -> list[np.ndarray]:
    """Samples in each row group of each chunk. Labels are read (``read_rows``) only where they decide.

    reaches: (C,) rows from a chunk's first that its samples may use.
    """
    counts = []
    for i, (chunk, reach) in enumerate(zip(chunks, reaches.tolist(), strict=True)):
        starts = np.arange(0, len(chunk), GROUP_ROWS)
        stops = np.minimum(starts + GROUP_ROWS, len(chunk))
        if options.min_confidence or spans.get(chunk.video_id):
            found = find_samples(read_rows(i), 0, len(chunk), spans.get(chunk.video_id, ()), options)
            counts.append(np.histogram(found, [*starts, len(chunk)])[0])
        else:
            stops = np.minimum(stops, reach - options.action_shift - options.horizon + 1)
            counts.append(_multiples(chunk.start_frame + starts, chunk.start_frame + stops, options.frame_stride))
    return counts


def find_reaches(chunks: Sequence[Chunk], needed: int) -> np.ndarray:
    """Rows from each chunk's first to the end of its stretch without gaps, but not more than ``needed`` behind it."""
    reaches = np.zeros(len(chunks), np.int64)
    for i in range(len(chunks) - 1, -1, -1):
        reaches[i] = len(chunks[i])
        if i + 1 < len(chunks) and goes_on(chunks[i], chunks[i + 1]):
            reaches[i] += min(int(reaches[i + 1]), needed)
    return reaches


def goes_on(before: Chunk, chunk: Chunk) -> bool:
    """Whether a chunk begins where another ends. In a selection its neighbour need not be that of the index."""
    same = before.video_id == chunk.video_id and before.end_frame == chunk.start_frame
    return chunk.contiguous and same


def pack_actions(buttons: np.ndarray, sticks: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Actions in NitroGen's order: (..., 25) float32 in [0, 1], and (..., 25) bool, whether they are known.

    buttons: (..., 17) bool. sticks: (..., 2, 2) in [-1, 1]. known: (..., 19) bool. A stick's x and y
    are (v + 1) / 2, so that 0.5 is neutral. The four slots that no pad has are 0 and unknown.
    """
    axes = len(_NITROGEN_BUTTONS)
    values = np.zeros((*buttons.shape[:-1], len(PACKED_ORDER)), np.float32)
    shown = np.zeros(values.shape, bool)
    values[..., _SLOTS] = buttons
    shown[..., _SLOTS] = known[..., : len(BUTTONS)]
    values[..., axes:] = (sticks.reshape(*sticks.shape[:-2], 4) + 1) / 2
    shown[..., axes:] = np.repeat(known[..., len(BUTTONS) :], 2, axis=-1)
    return values, shown


def _multiples(starts: np.ndarray, stops: np.ndarray, step: int) -> np.ndarray:
    """How many multiples of ``step`` lie in each half-open span; none in one that ends before it starts."""
    return np.asarray(np.maximum(-(-stops // step) - -(-starts // step), 0))
