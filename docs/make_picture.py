"""The README's picture: a frame of the sample clip, and beside it the pad that was read from it.

Run ``make demo`` first, then ``make picture``; it draws what is in ``out/demo`` and writes ``docs/demo.png``.
``make picture FRAME=500`` draws that frame instead of the liveliest one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from extraction.logs import Log
from extraction.video import read_frames
from templates.catalogue import library
from templates.controls import BUTTONS, STICKS, TRIGGER_SLICE, States
from templates.draw import draw_rgba

VIDEO = Path("sample/video.mp4")
READ = Path("out/demo/videos")
PICTURE = Path("docs/demo.png")
BACKGROUND, INK, MARK = "#15181d", "#e8eaed", "#ffd23f"
PAD_WIDTH = 900  # px


def main() -> None:
    report_path = next(READ.glob("*/report.json"))
    placement = json.loads(report_path.read_text())["placements"][0]
    log = Log.of_table(pq.read_table(report_path.with_name("actions.parquet")))
    index = int(sys.argv[1]) if len(sys.argv) > 1 else liveliest_frame(log)
    states = States(
        log.buttons[[index]],
        np.nan_to_num(log.sticks[[index]]).astype(np.float32),
        log.buttons[[index], TRIGGER_SLICE].astype(np.float32),
    )
    pad = draw_rgba(library()[placement["template"]], states, PAD_WIDTH)

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4), width_ratios=(1.6, 1), facecolor=BACKGROUND)
    left.imshow(next(frame.rgb() for frame in read_frames(VIDEO) if frame.index == index))
    x, y, width, height = placement["box"]
    left.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=MARK, linewidth=2))
    left.set_title(f"frame {index} of the video", color=INK)
    right.imshow(pad)
    right.set_title("the pad that was read from it", color=INK)
    right.text(0.5, -0.04, describe(states), color=INK, ha="center", va="top", transform=right.transAxes)
    for axes in (left, right):
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=100, facecolor=BACKGROUND)
    print(f"wrote {PICTURE}")


def liveliest_frame(log: Log) -> int:
    """The frame with the most buttons held while both sticks are well off centre."""
    tilt = np.nan_to_num(np.linalg.norm(log.sticks, axis=2)).min(axis=1)
    return int(np.argmax(log.buttons.sum(axis=1) + 2 * np.minimum(tilt, 0.8)))


def describe(states: States) -> str:
    """``east, left_trigger`` on one line and the sticks on the next."""
    held = [name for name, pressed in zip(BUTTONS, states.buttons[0], strict=True) if pressed]
    sticks = [f"{name} ({x:+.2f}, {y:+.2f})" for name, (x, y) in zip(STICKS, states.sticks[0], strict=True)]
    return ", ".join(held) + "\n" + "   ".join(sticks)


if __name__ == "__main__":
    main()
