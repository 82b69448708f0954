"""Ground-truth cases: what extraction read, against the log that the overlay was drawn from.

A case is a folder with ``video.mp4``, ``truth.parquet`` (the log, one row per frame) and ``case.json``
(``boxes``: where the overlay is from which second on, ``shown``: the controls that it shows).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from extraction.records import SourceError
from extraction.score import Log, Scores, score
from templates.controls import CONTROLS

STICK_ALIASES: Final = {"left_stick": "j_left", "right_stick": "j_right"}


class Case(BaseModel):
    """``case.json``; fields that describe how a clip was made are not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    boxes: tuple[tuple[float, float, float, float, float], ...]
    """(second from which it holds, x, y, width, height); empty when the video shows no overlay."""
    shown: tuple[str, ...]

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

    templates: the templates that were placed, in order of time; empty when nothing was found.
    reason: why nothing was found, or None.
    box_error_px: the largest distance between a side of a true box and of the box found for it; None when
        there is none to compare.
    scores: None when the video shows no overlay.
    """

    name: str
    expects_overlay: bool
    templates: tuple[str, ...]
    reason: str | None
    box_error_px: float | None
    scores: Scores | None


def read_case(folder: Path) -> Case:
    """The case in ``folder``; SourceError when a file is missing or malformed."""
    for name in ("video.mp4", "truth.parquet", "case.json"):
        if not (folder / name).is_file():
            raise SourceError(
                f"expected a case in {folder} (video.mp4, truth.parquet, case.json), found no {name}; "
                "name the folder of a ground-truth case"
            )
    try:
        return Case.model_validate_json((folder / "case.json").read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SourceError(
            f"{folder / 'case.json'} is not a case: {where or 'the file'}: {first['msg']}; correct it"
        ) from error


def judge(folder: Path, case: Case, extracted: Path) -> Result:
    """Compare what lies in ``extracted`` (``actions.parquet``, ``report.json``) with the case's log."""
    report = json.loads((extracted / "report.json").read_bytes())
    placements = report["placements"]
    return Result(
        name=case.name,
        expects_overlay=bool(case.boxes),
        templates=tuple(placement["template"] for placement in placements),
        reason=report["reason"],
        box_error_px=box_error(case, placements),
        scores=score(Log.of_table(pq.read_table(extracted / "actions.parquet")), _read_truth(folder), case.shown)
        if case.boxes
        else None,
    )


def box_error(case: Case, placements: list[dict[str, Any]]) -> float | None:
    """Largest distance in pixels between true and found sides; None without a pair to compare."""
    errors: list[float] = []
    for start, *true in case.boxes:
        found = [place["box"] for place in placements if place["start"] <= start + 1 < place["end"]]
        errors += [_side_distance(true, box) for box in found]
    return max(errors, default=None)


def _side_distance(a: Sequence[float], b: Sequence[float]) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    return max(abs(ax - bx), abs(ay - by), abs(ax + aw - bx - bw), abs(ay + ah - by - bh))


def _read_truth(folder: Path) -> Log:
    path = folder / "truth.parquet"
    try:
        return Log.of_table(pq.read_table(path))
    except (pa.ArrowInvalid, ValueError) as error:
        raise SourceError(f"{path} is not a controller log: {error}; record it again") from error
