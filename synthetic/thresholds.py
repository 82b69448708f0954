"""From which score a proposal is told of: over styles and games that the proposer is not trained on.

``python -m synthetic.thresholds`` prints, by that score, how many proposals lie on a pad in use and how many do not.
What is chosen from it stands in ``extraction.propose``.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from extraction.propose import Proposer, overlap
from synthetic.proposing import split_takes, split_templates
from synthetic.takes import TAKE_FRAMES, TAKES_PATH
from synthetic.windows import draw_hands, draw_opacity, is_visible, paste, play, spoil
from templates.catalogue import Template
from templates.controls import States
from templates.draw import rasterise
from templates.scene import Box

FRAME_WH: Final = (1280, 720)
OVERLAY_WIDTHS: Final = (110.0, 400.0)  # px
LIVE, DEAD, NONE = 20, 8, 20  # videos with a pad in use, with one that nobody holds, without any
NEAR_IOU: Final = 0.5


def make_frames(
    rng: np.random.Generator, take: np.ndarray, template: Template | None, live: bool
) -> tuple[np.ndarray, Box | None]:
    """25 sampled frames (25, 720, 1280, 3) uint8 of a take with or without a pad, and its box: x, y, width, height."""
    frames = np.stack([cv2.resize(frame, FRAME_WH) for frame in (take[:, :, ::-1] if rng.random() < 0.5 else take)])
    if template is None:
        return spoil(rng, frames), None
    raster = rasterise(template, round(float(np.exp(rng.uniform(*np.log(OVERLAY_WIDTHS))))))
    pad = play(template, raster, States.rest(TAKE_FRAMES))
    while live and not pad.live:
        pad = play(template, raster, draw_hands(rng))
    size = np.array(raster.size_wh)
    corner = ((np.array(FRAME_WH) - size) * rng.beta(0.3, 0.3, 2)).round()
    place, before = np.concatenate([corner + size / 2, size]), frames.copy()
    paste(frames, pad, place, draw_opacity(rng))
    if not is_visible(before, frames, place):
        return make_frames(rng, take, template, live)
    return spoil(rng, frames), (*corner.tolist(), *size.tolist())


def judge(seed: int) -> list[tuple[float, bool, bool]]:
    """Of each video the score of its proposal, whether it lies on a pad, and whether that is in use."""
    _, drawings = split_templates()
    _, takes = split_takes(np.load(TAKES_PATH, mmap_mode="r"))
    names, proposer, judged = sorted(drawings), Proposer.load(), []
    for number in range(LIVE + DEAD + NONE):
        rng = np.random.default_rng((seed, number))
        template = drawings[names[rng.integers(len(names))]] if number < LIVE + DEAD else None
        frames, box = make_frames(rng, takes[number % len(takes)], template, live=number < LIVE)
        proposal = proposer.propose(list(frames))[0]
        near = box is not None and overlap(proposal.box_xywh, box) >= NEAR_IOU
        judged.append((proposal.score, near, number < LIVE))
    return judged


if __name__ == "__main__":
    judged = judge(seed=11)
    print("score  of pads in use, there  elsewhere  where none is in use")
    for threshold in np.arange(0.3, 1, 0.05):
        told = [each for each in judged if each[0] >= threshold]
        there, elsewhere = (sum(live and near == where for _, near, live in told) for where in (True, False))
        idle = sum(not live for _, _, live in told)
        print(f"{threshold:5.2f}  {there:21} of {LIVE} {elsewhere:6}  {idle} of {DEAD + NONE}", flush=True)
