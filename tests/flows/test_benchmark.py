"""A ground-truth case is read strictly, and an extraction is judged by its boxes and its readings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.records import SourceError
from flows.benchmark import Case, box_error, judge, read_case
from templates.controls import BUTTONS

BOX = (10.0, 20.0, 100.0, 50.0)


def case_of(*boxes: tuple[float, float, float, float, float], shown: tuple[str, ...] = ("south",)) -> Case:
    return Case(name="case", boxes=boxes, shown=shown)


def placement(box: tuple[float, ...] = BOX, start: float = 0.0, end: float = 60.0) -> dict[str, Any]:
    return {
        "template": "snes/own",
        "family": "snes",
        "box": list(box),
        "inliers": 50,
        "start": start,
        "end": end,
    }


def write_log(path: Path, frames: int, held: tuple[int, ...]) -> None:
    columns: dict[str, list[Any]] = {"frame_index": list(range(frames))}
    columns |= {name: [False] * frames for name in BUTTONS}
    columns |= {"south": [i in held for i in range(frames)]}
    columns |= {stick: [[0.0, 0.0]] * frames for stick in ("j_left", "j_right")}
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A case that shows one button, held in frames 4 and 5 of 10; its video is not looked at."""
    (tmp_path / "video.mp4").touch()
    write_log(tmp_path / "truth.parquet", 10, held=(4, 5))
    (tmp_path / "case.json").write_text(json.dumps({"name": "one", "boxes": [[0.0, *BOX]], "shown": ["south"]}))
    return tmp_path


@pytest.fixture
def extracted(tmp_path: Path) -> Path:
    folder = tmp_path / "extracted"
    folder.mkdir()
    write_log(folder / "actions.parquet", 10, held=(4,))
    (folder / "report.json").write_text(json.dumps({"placements": [placement()], "reason": None}))
    return folder


def test_a_case_is_scored_against_its_own_log(folder: Path, extracted: Path) -> None:
    result = judge(folder, read_case(folder), extracted)
    assert result.templates == ("snes/own",)
    assert result.box_error_px == 0
    assert result.scores is not None
    assert result.scores.button_accuracy == pytest.approx(0.9)
    assert result.scores.onset_f1 == 1


def test_a_case_without_an_overlay_has_no_scores(folder: Path, extracted: Path) -> None:
    (extracted / "report.json").write_text(json.dumps({"placements": [], "reason": "no_overlay"}))
    result = judge(folder, case_of(shown=()), extracted)
    assert (result.scores, result.templates, result.reason) == (None, (), "no_overlay")


def test_sticks_may_be_called_by_either_name() -> None:
    assert case_of(shown=("left_stick", "j_right")).shown == ("j_left", "j_right")


@pytest.mark.parametrize("name", ["video.mp4", "truth.parquet", "case.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(SourceError, match=name):
        read_case(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"name": "x", "boxes": [], "shown": ["jump"]}'])
def test_a_malformed_case_is_one_sentence(folder: Path, text: str) -> None:
    (folder / "case.json").write_text(text)
    with pytest.raises(SourceError, match=r"case\.json is not a case"):
        read_case(folder)


def test_a_log_that_is_no_parquet_is_named(folder: Path, extracted: Path) -> None:
    (folder / "truth.parquet").write_text("frame,south\n0,1\n")
    with pytest.raises(SourceError, match=r"truth\.parquet"):
        judge(folder, read_case(folder), extracted)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (BOX, 0),
        ((12, 20, 100, 50), 2),  # moved: both vertical sides are off by 2
        ((10, 20, 103, 50), 3),  # too wide: the right side alone
        ((9, 24, 100, 50), 4),  # the largest of all sides counts
    ],
)
def test_the_box_error_is_the_largest_distance_of_a_side(found: tuple[float, ...], error: float) -> None:
    assert box_error(case_of((0.0, *BOX)), [placement(found)]) == error


def test_an_overlay_that_moves_is_compared_with_the_placement_of_its_time() -> None:
    moved = (500.0, 20.0, 100.0, 50.0)
    case = case_of((0.0, *BOX), (30.0, *moved))
    assert box_error(case, [placement(end=30.0), placement(moved, start=30.0)]) == 0
    assert box_error(case, [placement()]) == 490


def test_without_a_placement_there_is_no_box_error() -> None:
    assert box_error(case_of((0.0, *BOX)), []) is None
