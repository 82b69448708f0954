"""What becomes of videos whose skin no template draws: placed rightly, placed wrongly, or rejected, and why.

``python -m flows.unknown CASE...`` looks at cases (see ``flows.benchmark``; they need no log) with the library as far as
training sees it. A case without boxes shows no overlay.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extraction.locate import locate
from extraction.propose import PLACED, SUSPECTED, Proposer, overlap
from extraction.records import Reason
from extraction.video import sample_frames
from synthetic.split import training_templates
from templates.catalogue import Template
from templates.scene import Box

ENOUGH_IOU: Final = 0.8


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one case. expects: whether it shows an overlay. outcome: right, wrong, or a ``Reason``.

    iou: of the place that was found or proposed, with the true one. certainty: of the proposal; None where a template
    was found.
    """

    case: str
    expects: bool
    outcome: str
    iou: float
    family: str
    certainty: float | None


def ask(case: Path, templates: Mapping[str, Template]) -> Answer:
    """Look at one case."""
    about = json.loads((case / "case.json").read_bytes())
    true: Box | None = tuple(about["boxes"][0][1:]) if about["boxes"] else None
    samples = sample_frames(case / "video.mp4")
    found = locate(samples, templates)
    if found.placements:
        place = found.placements[0]
        box, family, certainty = place.box_xywh, place.template.family, None
    else:
        proposal = Proposer.load().propose([rgb for _, rgb in samples], {each.family for each in templates.values()})
        box, family, certainty = proposal.box_xywh, proposal.family, proposal.certainty
    iou = overlap(box, true) if true else 0.0
    if certainty is not None and certainty < PLACED:
        outcome = Reason.UNKNOWN_SKIN if certainty >= SUSPECTED else Reason.NO_OVERLAY
        return Answer(case.name, true is not None, outcome.value, iou, family, certainty)
    right = iou >= ENOUGH_IOU and family == about["family"]
    return Answer(case.name, true is not None, "right" if right else "wrong", iou, family, certainty)


if __name__ == "__main__":
    answers = []
    for argument in sys.argv[1:]:
        answers.append(ask(Path(argument), training_templates()))
        last = answers[-1]
        said = "template" if last.certainty is None else f"{last.certainty:.3f}"
        print(f"{last.case}: {last.outcome}, IoU {last.iou:.2f}, {last.family}, {said}", flush=True)
    for expects, title in ((True, "with an unknown skin"), (False, "without an overlay")):
        counts = Counter(answer.outcome for answer in answers if answer.expects == expects)
        if counts:
            print(f"{counts.total()} {title}: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
