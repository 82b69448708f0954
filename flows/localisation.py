"""Where overlays are found, against where they are: by width and opacity, and clips that show none.

A case is a folder with ``case.json``, see ``benchmark.Case``, and ``video.mp4``; it needs no log. An overlay is found
where a placement has an IoU of at least MIN_IOU with one of its boxes, and the right family. Whatever else is placed is
false. It is looked for by SIFT alone, by XFeat alone, and as the commands do, by both: see
``flows.extract.look_for_overlay``. What was found in a case can be kept, so that a run that was killed goes on where it
was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import TypeAdapter

from extraction import propose, xfeat
from extraction.extract import ExtractOptions, make_fingerprint, make_video_id
from extraction.outputs import writing_below
from extraction.propose import overlap
from extraction.records import SourceError
from extraction.video import sample_frames
from extraction.xfeat import open_xfeat
from flows.benchmark import Case, Failure, read_about
from flows.extract import describe_found, look_all_over, look_closer
from templates.catalogue import Template

MIN_IOU: Final = 0.9
SIFT_ALONE, XFEAT_ALONE, BOTH = "sift", "xfeat", "both"


@dataclass(frozen=True, slots=True)
class Finding:
    """One case, as it was looked for by one of ``Localisation.FEATURES``.

    width_px, opacity: of the overlay, None where the case does not say. expects: how many boxes it has.
    iou: for each box the largest IoU of a placement, 0 where there is none. found: whether all boxes are found.
    false: placements that are in no box, or of another family. templates: what was placed. reason: why nothing was.
    """

    name: str
    features: str
    width_px: int | None
    opacity: float | None
    expects: int
    iou: tuple[float, ...]
    found: bool
    false: int
    templates: tuple[str, ...]
    reason: str | None


KEPT: Final = TypeAdapter(list[Finding])


@dataclass(frozen=True, slots=True)
class Share:
    """Of the cases of one width and opacity: how many there are, found, and with a false placement."""

    width_px: int
    opacity: float
    cases: int
    found: int
    false: int


@dataclass(frozen=True, slots=True)
class Localisation:
    """All cases, in the order in which they were given, each by all FEATURES."""

    FEATURES: ClassVar = (SIFT_ALONE, XFEAT_ALONE, BOTH)

    findings: tuple[Finding, ...]
    failures: tuple[Failure, ...]

    def shares(self, features: str) -> list[Share]:
        """By width, then by opacity."""
        cells: dict[tuple[int, float], list[Finding]] = {}
        for finding in self.by(features):
            if finding.expects and finding.width_px is not None and finding.opacity is not None:
                cells.setdefault((finding.width_px, finding.opacity), []).append(finding)
        return [
            Share(*cell, len(some), sum(each.found for each in some), sum(each.false > 0 for each in some))
            for cell, some in sorted(cells.items())
        ]

    def without_overlay(self, features: str) -> list[Finding]:
        """The cases that show none."""
        return [finding for finding in self.by(features) if not finding.expects]

    def by(self, features: str) -> list[Finding]:
        """The cases as they were looked for by one of ``Localisation.FEATURES``."""
        return [finding for finding in self.findings if finding.features == features]

    def as_json(self) -> dict[str, Any]:
        """What ``padtrace benchmark --localisation --json`` prints; the README describes it."""
        nothing = {name: self.without_overlay(name) for name in self.FEATURES}
        return {
            "min_iou": MIN_IOU,
            "shares": {name: [asdict(share) for share in self.shares(name)] for name in self.FEATURES},
            "without_overlay": {
                name: {"cases": len(some), "false": sum(each.false > 0 for each in some)}
                for name, some in nothing.items()
            },
            "cases": [asdict(finding) for finding in self.findings],
            "failures": [asdict(failure) for failure in self.failures],
        }


def run_localisation(
    cases: Sequence[Path],
    templates: Mapping[str, Template],
    options: ExtractOptions,
    *,
    kept: Path | None = None,
    on_failure: Callable[[Exception], None] | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Localisation:
    """Locate the overlays of the cases; a bad case becomes a ``Failure`` and stops no other.

    kept: the folder for a file of findings of each case; one that is there and still holds is not worked out again.
    on_failure hears each error while it is handled, on_progress a case's folder and the part of all cases before it.
    """
    findings: list[Finding] = []
    failures: list[Failure] = []
    look = partial(_look_each_way, templates=templates, options=options)
    if kept is not None:
        weights = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (xfeat.WEIGHTS, propose.WEIGHTS)]
        look = partial(_recall_or, look, kept, make_fingerprint(templates, options, *weights))
    for i, folder in enumerate(cases):
        if on_progress is not None:
            on_progress(folder.name, i / len(cases))
        try:
            findings += look(folder)
        except (SourceError, OSError) as error:
            failures.append(Failure(str(folder), str(error)))
            if on_failure is not None:
                on_failure(error)
    return Localisation(tuple(findings), tuple(failures))


def _look_each_way(folder: Path, templates: Mapping[str, Template], options: ExtractOptions) -> list[Finding]:
    """One case by all FEATURES. Its frames are sampled once, and what nothing doubts is what SIFT alone finds."""
    case, video = read_about(folder), folder / "video.mp4"
    samples = sample_frames(video, options.sample_frames)
    from_afar = look_all_over(video, samples, templates, options, closer=open_xfeat())
    by_sift = look_all_over(video, samples, templates, options) if from_afar.doubted else from_afar
    by_xfeat = look_all_over(video, samples, templates, options, open_xfeat())
    by_both = from_afar if from_afar.placements else look_closer(video, samples, from_afar, templates, options)
    each = ((SIFT_ALONE, by_sift), (XFEAT_ALONE, by_xfeat), (BOTH, by_both))
    return [judge(case, describe_found(video, found), name) for name, found in each]


def _recall_or(look: Callable[[Path], list[Finding]], kept: Path, settings: str, folder: Path) -> list[Finding]:
    """What is kept of a case; where nothing is, or of another video or other settings, what ``look`` finds is."""
    about = hashlib.sha256((folder / "case.json").read_bytes()).hexdigest()[:12]
    fingerprint = f"{settings} {make_video_id(folder / 'video.mp4')} {about}"
    path = kept / f"{folder.resolve().name}.json"
    if (findings := _read_findings(path, fingerprint)) is None:
        findings = look(folder)
        _keep_findings(path, fingerprint, findings)
    return findings


def _read_findings(path: Path, fingerprint: str) -> list[Finding] | None:
    """What ``_keep_findings`` wrote; None where that is absent, damaged or of another fingerprint."""
    try:
        found = json.loads(path.read_bytes())
        return KEPT.validate_python(found["findings"]) if found["fingerprint"] == fingerprint else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _keep_findings(path: Path, fingerprint: str, findings: Sequence[Finding]) -> None:
    """Write the findings of a case, whole or not at all."""
    text = json.dumps({"fingerprint": fingerprint, "findings": [asdict(finding) for finding in findings]}, indent=1)
    unfinished = path.with_name(f"{path.name}.partial")
    with writing_below(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(f"{text}\n", encoding="utf-8")
        os.replace(unfinished, path)


def judge(case: Case, found: Mapping[str, Any], features: str) -> Finding:
    """What ``locate`` found in a case's video by one of ``Localisation.FEATURES``, against its boxes."""
    boxes = [box[1:] for box in case.boxes]
    places = found["placements"]
    overlaps = [[overlap(box, place["box"]) for place in places] for box in boxes]
    right = [[iou >= MIN_IOU and _is_family(case, place) for iou, place in zip(row, places, strict=True)]
             for row in overlaps]  # fmt: skip
    return Finding(
        name=case.name,
        features=features,
        width_px=case.width_px,
        opacity=case.opacity,
        expects=len(boxes),
        iou=tuple(max(row, default=0.0) for row in overlaps),
        found=bool(boxes) and all(any(row) for row in right),
        false=sum(not any(row[i] for row in right) for i in range(len(places))),
        templates=tuple(place["template"] for place in places),
        reason=found["reason"],
    )


def _is_family(case: Case, place: Mapping[str, Any]) -> bool:
    return case.family is None or place["family"] == case.family
