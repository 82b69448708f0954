"""What is said of videos whose skin no template draws: whether a pad is suspected, and how good its place would be.

``python -m flows.unknown CASE...`` looks at cases, see ``flows.benchmark``; they need no log. One without boxes has no
overlay. Templates are not looked for: this is about what happens where none is found.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extraction.propose import SUSPECTED, Proposal, Proposer, overlap
from extraction.video import sample_frames
from flows.benchmark import read_about

NEAR_IOU: Final = 0.5
ENOUGH_IOU: Final = 0.8


@dataclass(frozen=True, slots=True)
class Answer:
    """What is proposed in one case. iou: with the true box, None without one. named: whether the family is right."""

    case: str
    iou: float | None
    named: bool
    proposal: Proposal

    @property
    def suspected(self) -> bool:
        """Whether a person is told."""
        return self.proposal.score >= SUSPECTED


def ask(case: Path) -> Answer:
    """Look at one case."""
    about = read_about(case)
    proposal = Proposer.load().propose([rgb for _, rgb in sample_frames(case / "video.mp4")])[0]
    iou = overlap(proposal.box_xywh, about.boxes[0][1:]) if about.boxes else None
    return Answer(case.name, iou, proposal.family == about.family, proposal)


def summary(answers: Sequence[Answer]) -> str:
    """The lines that count."""
    shown = [answer for answer in answers if answer.iou is not None]
    told = [answer for answer in shown if answer.suspected]
    empty = [answer for answer in answers if answer.iou is None]
    counts = {
        "suspected": len(told),
        f"  with IoU {NEAR_IOU} or more": sum(answer.iou >= NEAR_IOU for answer in told if answer.iou is not None),
        f"  with IoU {ENOUGH_IOU} or more": sum(answer.iou >= ENOUGH_IOU for answer in told if answer.iou is not None),
        "    and the right family": sum(
            answer.iou >= ENOUGH_IOU and answer.named for answer in told if answer.iou is not None
        ),
    }
    lines = [f"{name}: {count} of {len(shown)}" for name, count in counts.items()] if shown else []
    return "\n".join([*lines, f"suspected without an overlay: {sum(each.suspected for each in empty)} of {len(empty)}"])


if __name__ == "__main__":
    answers = []
    for argument in sys.argv[1:]:
        answers.append(ask(Path(argument)))
        last, seen = answers[-1], answers[-1].proposal
        place = "no overlay" if last.iou is None else f"IoU {last.iou:.2f}"
        family = f"{seen.family} {seen.family_score:.2f}, {'right' if last.named else 'wrong'}"
        print(f"{last.case}: score {seen.score:.2f}, {place}, {family}", flush=True)
    print(summary(answers))
