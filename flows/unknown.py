"""What is proposed in videos whose skin no template draws: placed rightly, placed wrongly, or rejected, and why.

``python -m flows.unknown CASE...`` looks at cases, see ``flows.benchmark``; they need no log. One without boxes has no
overlay. Templates are not looked for: this is about what happens where none is found.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extraction.propose import PLACED, SUSPECTED, Proposal, Proposer, overlap
from extraction.records import Reason
from extraction.video import sample_frames
from templates.catalogue import library

ENOUGH_IOU: Final = 0.8


@dataclass(frozen=True, slots=True)
class Answer:
    """What is proposed in one case.

    expects: whether it shows an overlay. outcome: right, wrong, or a ``Reason``. iou: with the true box, 0 without one.
    named: whether the family is right.
    """

    case: str
    expects: bool
    outcome: str
    iou: float
    named: bool
    proposal: Proposal


def ask(case: Path) -> Answer:
    """Look at one case."""
    about = json.loads((case / "case.json").read_bytes())
    frames = [rgb for _, rgb in sample_frames(case / "video.mp4")]
    proposal = Proposer.load().propose(frames, {template.family for template in library().values()})
    iou = overlap(proposal.box_xywh, about["boxes"][0][1:]) if about["boxes"] else 0.0
    named = proposal.family == about.get("family")
    outcome = "right" if iou >= ENOUGH_IOU and named else "wrong"
    if proposal.certainty < PLACED:
        outcome = Reason.UNKNOWN_SKIN if proposal.certainty >= SUSPECTED else Reason.NO_OVERLAY
    return Answer(case.name, bool(about["boxes"]), outcome, iou, named, proposal)


if __name__ == "__main__":
    answers = []
    for argument in sys.argv[1:]:
        answers.append(ask(Path(argument)))
        last, seen = answers[-1], answers[-1].proposal
        print(
            f"{last.case}: {last.outcome}, IoU {last.iou:.2f}, pad {seen.score:.2f}, "
            f"{seen.family} {seen.family_score:.2f} ({'right' if last.named else 'wrong'})",
            flush=True,
        )
    for expects, title in ((True, "with an unknown skin"), (False, "without an overlay")):
        counts = Counter(answer.outcome for answer in answers if answer.expects == expects)
        if counts:
            print(f"{counts.total()} {title}: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
