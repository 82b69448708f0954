"""Ground-truth cases: what extraction read, against the log that the overlay was drawn from.

A case is a folder with

- ``case.json``: see ``Case``;
- one log: ``truth.parquet``, ``truth.jsonl`` or ``samples.parquet``, see ``extraction.logs``;
- ``video.mp4``; or, beside a ``truth.jsonl``, ``frames/`` with a PNG per line, see ``flows.recording``.

``run_benchmark`` is the command without a terminal:

    extractor = Extractor(Path("out"), library(), "cpu", ExtractOptions())
    report = run_benchmark([Path("sample")], extractor)
    print(report.as_json())
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from extraction.logs import Log, read_recorder, read_samples, read_truth
from extraction.offset import Offset, best_offset
from extraction.records import SourceError
from extraction.score import Scores, mean_scores, score
from extraction.video import read_frames
from flows.extract import Extractor
from flows.plots import Comparison, draw_plots
from flows.recording import encode_recording
from synthetic.split import is_unseen
from templates.catalogue import TemplateError
from templates.controls import CONTROLS

STICK_ALIASES: Final = {"left_stick": "j_left", "right_stick": "j_right"}
LOGS: Final = ("truth.parquet", "truth.jsonl", "samples.parquet")
PUBLISHED: Final = {
    "source": "NitroGen, arXiv 2601.02427",
    "mean": {"stick_r2_mean": 0.84, "button_accuracy": 0.96},
    "worst_family": {"stick_r2_mean": 0.77, "button_accuracy": 0.91},
}


class Case(BaseModel):
    """``case.json``; fields that describe how a clip was made are not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    boxes: tuple[tuple[float, float, float, float, float], ...]
    """(second from which it holds, x, y, width, height); empty when the video shows no overlay."""
    shown: tuple[str, ...]
    """The controls that the overlay shows."""
    family: str | None = None
    """Which pad it shows; where absent, that of the overlay that was found."""
    overlay: str | None = None
    """The template that it shows, which lends nothing where it is read by hand."""
    unseen: bool | None = None
    """Whether the weights were never trained on this drawing; where absent, on those that were found."""
    width_px: int | None = None
    """Width of the overlay in the video."""
    opacity: float | None = None

    @field_validator("shown")
    @classmethod
    def _names_controls(cls, shown: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(STICK_ALIASES.get(name, name) for name in shown)
        if unknown := sorted(set(names) - set(CONTROLS)):
            raise ValueError(f"unknown controls {', '.join(unknown)}")
        return names


@dataclass(frozen=True, slots=True)
class Result:
    """One case.

    family: of the case, else of the overlay that was found; None where neither says.
    by_hand: whether box and family were given instead of found.
    templates: the templates that were placed, in order of time; empty when nothing was found.
    reason: why nothing was found, or None.
    box_error_px: the largest distance between a side of a true box and of the box found for it; None when
        there is none to compare.
    scores: None when the video shows no overlay.
    offset: None when nothing was read that could tell it.
    """

    name: str
    family: str | None
    unseen: bool
    by_hand: bool
    expects_overlay: bool
    templates: tuple[str, ...]
    reason: str | None
    box_error_px: float | None
    scores: Scores | None
    offset: Offset | None


@dataclass(frozen=True, slots=True)
class Group:
    """Means over the cases with an overlay. scores: as the labels are; at_offset: each case at its best offset."""

    cases: int
    scores: Scores
    at_offset: Scores

    @classmethod
    def of(cls, results: Sequence[Result]) -> Group | None:
        """None where no case has scores."""
        scored = [result for result in results if result.scores is not None]
        if not scored:
            return None
        at_offset = [result.offset.scores if result.offset else result.scores for result in scored]
        return cls(
            len(scored),
            mean_scores([result.scores for result in scored if result.scores]),
            mean_scores([scores for scores in at_offset if scores]),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that could not be scored, and why in one sentence."""

    case: str
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """All cases, in the order in which they were given."""

    by_hand: bool
    results: tuple[Result, ...]
    failures: tuple[Failure, ...]

    def by_family(self, unseen: bool) -> dict[str, Group]:
        """Means per family, of the drawings that the weights were trained on or of the others."""
        chosen = [result for result in self.results if result.unseen == unseen]
        families = sorted({result.family or "unknown" for result in chosen})
        groups = {name: Group.of([each for each in chosen if (each.family or "unknown") == name]) for name in families}
        return {name: group for name, group in groups.items() if group is not None}

    def overall(self, unseen: bool) -> Group | None:
        """Means over all cases of one kind; None where there are none with scores."""
        return Group.of([result for result in self.results if result.unseen == unseen])

    def as_json(self) -> dict[str, Any]:
        """What ``padtrace benchmark --json`` prints; the README describes it."""
        return {
            "by_hand": self.by_hand,
            "published": PUBLISHED,
            **{
                name: {
                    "all": _plain(self.overall(unseen)),
                    "families": {family: _plain(group) for family, group in self.by_family(unseen).items()},
                }
                for name, unseen in (("seen", False), ("unseen", True))
            },
            "cases": [asdict(result) for result in self.results],
            "failures": [asdict(failure) for failure in self.failures],
        }


def run_benchmark(
    cases: Sequence[Path],
    extractor: Extractor,
    *,
    by_hand: bool = False,
    plots: Path | None = None,
    on_failure: Callable[[Exception], None] | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Extract and score the cases; a bad one becomes a ``Failure`` and stops no other.

    extractor: where extractions are written, and with what they are made. by_hand: read each case's own first box
    as its own family, as ``--box`` and ``--family`` do. plots: the pictures of each case go into a folder of its
    name below this. on_failure hears each error while it is handled, on_progress the case's folder and the part of
    its video that is decoded.
    """
    results: list[Result] = []
    failures: list[Failure] = []
    for folder in cases:
        try:
            results.append(_run_case(folder, extractor, by_hand, plots, on_progress))
        except (SourceError, TemplateError, OSError) as error:
            failures.append(Failure(str(folder), str(error)))
            if on_failure is not None:
                on_failure(error)
    return Report(by_hand, tuple(results), tuple(failures))


def read_case(folder: Path) -> Case:
    """The case in ``folder``; SourceError when a file is missing or malformed."""
    logs = [name for name in LOGS if (folder / name).is_file()]
    has_frames = (folder / "frames").is_dir() and logs == ["truth.jsonl"]
    missing = None
    if not (folder / "case.json").is_file():
        missing = "case.json"
    elif not logs:
        missing = " and no ".join(LOGS)
    elif not (folder / "video.mp4").is_file() and not has_frames:
        missing = "video.mp4" + (" and no frames" if logs == ["truth.jsonl"] else "")
    if missing:
        raise SourceError(
            f"expected a case in {folder} (case.json, a log, and video.mp4 or a recorder's frames), "
            f"found no {missing}; name the folder of a ground-truth case"
        )
    if len(logs) > 1:
        raise SourceError(f"expected one log in {folder}, found {' and '.join(logs)}; keep the one that is true")
    return read_about(folder)


def read_about(folder: Path) -> Case:
    """The ``case.json`` of a case, whatever else it has; SourceError where it is malformed."""
    try:
        return Case.model_validate_json((folder / "case.json").read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SourceError(
            f"{folder / 'case.json'} is not a case: {where or 'the file'}: {first['msg']}; correct it"
        ) from error


def judge(folder: Path, case: Case, extracted: Path, by_hand: bool = False) -> Result:
    """Compare what lies in ``extracted`` (``actions.parquet``, ``report.json``) with the case's log."""
    return _judge(case, _read_report(extracted), compare(folder, case, extracted), by_hand)


def compare(folder: Path, case: Case, extracted: Path) -> Comparison:
    """The readings in ``extracted`` beside the case's log; SourceError where that cannot be read."""
    readings = Log.of_table(pq.read_table(extracted / "actions.parquet"))
    return Comparison(readings, _read_log(folder, readings), case.shown)


def box_error(case: Case, placements: list[dict[str, Any]]) -> float | None:
    """Largest distance in pixels between true and found sides; None without a pair to compare."""
    errors: list[float] = []
    for start, *true in case.boxes:
        found = [place["box"] for place in placements if place["start"] <= start + 1 < place["end"]]
        errors += [_side_distance(true, box) for box in found]
    return max(errors, default=None)


def _run_case(
    folder: Path,
    extractor: Extractor,
    by_hand: bool,
    plots: Path | None,
    on_progress: Callable[[str, float], None] | None,
) -> Result:
    case = read_case(folder)
    name = folder.resolve().name
    if by_hand:
        extractor = _give_box(folder, case, extractor)
    with _video_of(folder) as video:
        heard = None if on_progress is None else lambda part: on_progress(name, part)
        extracted = extractor.run(video, heard).folder
        report, comparison = _read_report(extracted), compare(folder, case, extracted)
        result = _judge(case, report, comparison, by_hand)
        if plots is not None and result.scores is not None and result.templates:
            draw_plots(plots / name, comparison, result.offset, video, report["placements"], extractor.templates)
    return result


def _judge(case: Case, report: dict[str, Any], comparison: Comparison, by_hand: bool) -> Result:
    placements = report["placements"]
    found = tuple(placement["template"] for placement in placements)
    readings, truth = comparison.readings, comparison.truth
    return Result(
        name=case.name,
        family=case.family or (placements[0]["family"] if placements else None),
        unseen=any(is_unseen(id) for id in found) if case.unseen is None else case.unseen,
        by_hand=by_hand,
        expects_overlay=bool(case.boxes),
        templates=found,
        reason=report["reason"],
        box_error_px=box_error(case, placements),
        scores=score(readings, truth, case.shown) if case.boxes else None,
        offset=best_offset(readings, truth, case.shown) if case.boxes else None,
    )


def _give_box(folder: Path, case: Case, extractor: Extractor) -> Extractor:
    """An extractor that reads the case's first box as its family; SourceError where the case has not both."""
    families = sorted({template.family for template in extractor.templates.values()})
    if not case.boxes or case.family is None or case.family not in families:
        found = "no box" if not case.boxes else f"family {case.family}" if case.family else "no family"
        raise SourceError(
            f"expected a box and a family (one of {', '.join(families)}) in {folder / 'case.json'} to read it by hand, "
            f"found {found}; add them or leave the case out"
        )
    x, y, width, height = (round(side) for side in case.boxes[0][1:])
    return extractor.by_hand((x, y, width, height), case.family, unknown=case.overlay)


@contextmanager
def _video_of(folder: Path) -> Iterator[Path]:
    """The case's video; one that is made of pictures lasts as long as the block."""
    if (folder / "video.mp4").is_file():
        yield folder / "video.mp4"
        return
    with tempfile.TemporaryDirectory(prefix="padtrace-") as temporary:
        video = Path(temporary) / "video.mp4"
        encode_recording(folder / "frames", read_recorder(folder / "truth.jsonl"), video)
        yield video


def _read_log(folder: Path, readings: Log) -> Log:
    """The case's log, one row per frame of its video."""
    if (folder / "truth.parquet").is_file():
        return read_truth(folder / "truth.parquet")
    if (folder / "truth.jsonl").is_file():
        log = read_recorder(folder / "truth.jsonl")
        # A video that is made of pictures has one frame per line, whatever their numbers.
        return log if (folder / "video.mp4").is_file() else replace(log, frame_index=np.arange(len(log)))
    times_s = readings.time_s  # of every frame, unless none was read
    if not len(times_s):
        times_s = np.array([frame.pts_s for frame in read_frames(folder / "video.mp4")])
    return read_samples(folder / "samples.parquet", times_s)


def _read_report(extracted: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((extracted / "report.json").read_bytes())
    return report


def _plain(group: Group | None) -> dict[str, Any] | None:
    return None if group is None else asdict(group)


def _side_distance(a: Sequence[float], b: Sequence[float]) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    return max(abs(ax - bx), abs(ay - by), abs(ax + aw - bx - bw), abs(ay + ah - by - bh))
