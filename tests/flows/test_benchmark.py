"""A ground-truth case is read strictly, judged by its boxes and its readings, and stops no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from extraction.extract import ExtractOptions, Outcome, extract_video
from extraction.logs import SAMPLES_SCHEMA, Log
from extraction.records import SourceError
from extraction.score import score
from flows.benchmark import PUBLISHED, Case, Report, Result, box_error, judge, read_case, run_benchmark
from flows.tables import LEGEND, benchmark_tables
from templates.catalogue import Template
from templates.controls import BUTTONS, States
from tests.extraction.conftest import OVERLAY_XYWH, TEMPLATES, LampParser, find_lamp, pad_frames, write_video

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
    columns: dict[str, list[Any]] = {"frame_index": list(range(frames)), "timestamp": [i / 60 for i in range(frames)]}
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


def test_a_log_that_is_written_too_early_is_scored_where_it_belongs_as_well(folder: Path, extracted: Path) -> None:
    write_log(folder / "truth.parquet", 30, held=(4, 5, 20))
    write_log(extracted / "actions.parquet", 30, held=(7, 8, 23))
    result = judge(folder, read_case(folder), extracted)
    assert result.scores is not None and result.scores.onset_f1 == 0
    assert result.offset is not None and result.offset.frames == 3
    assert result.offset.seconds == pytest.approx(3 / 60)
    assert result.offset.scores.onset_f1 == result.offset.scores.button_accuracy == 1


@pytest.mark.parametrize(("given", "family"), [("xbox_one", "xbox_one"), (None, "snes")])
def test_the_family_is_that_of_the_case_or_else_of_what_was_found(
    given: str | None, family: str, folder: Path, extracted: Path
) -> None:
    case = read_case(folder).model_copy(update={"family": given})
    assert judge(folder, case, extracted).family == family


@pytest.mark.parametrize(
    ("given", "found", "unseen"),
    [
        (None, "snes/dark", False),
        (None, "snes/streamer", True),
        (None, "my-skin", True),
        (False, "my-skin", False),
        (True, "snes/dark", True),
    ],
)
def test_the_weights_never_saw_an_imported_skin_or_a_style_kept_from_training_unless_the_case_says_so(
    given: bool | None, found: str, unseen: bool, folder: Path, extracted: Path
) -> None:
    report = json.loads((extracted / "report.json").read_text())
    report["placements"][0]["template"] = found
    (extracted / "report.json").write_text(json.dumps(report))
    case = read_case(folder).model_copy(update={"unseen": given})
    assert judge(folder, case, extracted).unseen == unseen


def test_a_case_without_an_overlay_has_no_scores(folder: Path, extracted: Path) -> None:
    (extracted / "report.json").write_text(json.dumps({"placements": [], "reason": "no_overlay"}))
    result = judge(folder, case_of(shown=()), extracted)
    assert (result.scores, result.offset, result.templates, result.reason) == (None, None, (), "no_overlay")
    assert result.family is None


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


def test_a_case_with_two_logs_is_refused(folder: Path) -> None:
    (folder / "truth.jsonl").touch()
    with pytest.raises(SourceError, match=r"found truth\.parquet and truth\.jsonl"):
        read_case(folder)


def test_frames_take_the_place_of_a_video_for_a_recorder_alone(folder: Path) -> None:
    (folder / "video.mp4").unlink()
    (folder / "frames").mkdir()
    with pytest.raises(SourceError, match=r"video\.mp4"):
        read_case(folder)
    (folder / "truth.parquet").rename(folder / "truth.jsonl")
    assert read_case(folder).name == "one"


@dataclass
class LampExtractor:
    """Stands in for the network: reads whether the made-up overlay of ``pad_frames`` is white."""

    out: Path
    templates: dict[str, Template] = field(default_factory=lambda: TEMPLATES)
    options: ExtractOptions = field(default_factory=ExtractOptions)
    left_out: list[str | None] = field(default_factory=list)

    def by_hand(self, box: tuple[int, int, int, int], family: str, unknown: str | None) -> LampExtractor:
        self.left_out.append(unknown)
        return replace(self, options=ExtractOptions(box=box, family=family))

    def run(self, video: Path, on_progress: Callable[[float], None] | None = None) -> Outcome:
        return extract_video(video, self.out, self.templates, LampParser(), self.options, find_lamp, on_progress)


HELD = [i % 7 in (2, 3, 4) for i in range(40)]


def make_case(folder: Path, **about: Any) -> Path:
    """A case of 40 frames at 10 a second whose overlay shows ``south`` as ``HELD`` says; without a log."""
    folder.mkdir(exist_ok=True)
    write_video(folder / "video.mp4", pad_frames(HELD))
    case = {"name": folder.name, "boxes": [[0.0, *OVERLAY_XYWH]], "shown": ["south", "left_stick"], "family": "test"}
    (folder / "case.json").write_text(json.dumps(case | about))
    return folder


def write_truth(folder: Path) -> None:
    write_log(folder / "truth.parquet", 40, held=tuple(np.flatnonzero(HELD)))


def write_recorder(folder: Path) -> None:
    rows = [
        {"frame_id": i, "timestamp": i / 10, "j_left": [0, 0], "j_right": [0, 0], "buttons": {"south": float(held)}}
        for i, held in enumerate(HELD)
    ]
    (folder / "truth.jsonl").write_text("\n".join(map(json.dumps, rows)))


def write_samples(folder: Path) -> None:
    """500 samples a second."""
    rest = {name: False for name in BUTTONS} | {"j_left": [0.0, 0.0], "j_right": [0.0, 0.0]}
    rows = [rest | {"timestamp_us": 2000 * i, "south": HELD[min(round(i / 50), 39)]} for i in range(2000)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLES_SCHEMA), folder / "samples.parquet")


def write_pictures(folder: Path) -> None:
    """A recorder's case: its own frame numbers, and pictures instead of a video."""
    (folder / "video.mp4").unlink()
    (folder / "frames").mkdir()
    rows = []
    for i, (held, rgb) in enumerate(zip(HELD, pad_frames(HELD), strict=True)):
        number, now = 100 + 2 * i, 1_700_000_000 + i / 10
        buttons = {"south": float(held)}
        rows.append({"frame_id": number, "timestamp": now, "j_left": [0, 0], "j_right": [0, 0], "buttons": buttons})
        cv2.imwrite(str(folder / "frames" / f"{number:06d}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    (folder / "truth.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("write_its_log", [write_truth, write_recorder, write_samples, write_pictures])
def test_every_kind_of_case_is_read_and_scored(write_its_log: Callable[[Path], None], tmp_path: Path) -> None:
    folder = make_case(tmp_path / "lamp")
    write_its_log(folder)
    report = run_benchmark([folder], LampExtractor(tmp_path / "out"), plots=tmp_path / "plots")  # type: ignore[arg-type]
    assert report.failures == ()
    [result] = report.results
    assert result.scores is not None and result.scores.frames == 40
    assert result.scores.button_accuracy == result.scores.onset_f1 == result.scores.coverage == 1
    assert result.offset is not None and result.offset.frames == 0
    pictures = sorted((tmp_path / "plots" / "lamp").iterdir())
    assert [path.name for path in pictures] == ["onsets.png", "sticks.png", "worst.png"]


def test_a_bad_case_becomes_a_failure_and_stops_no_other(tmp_path: Path) -> None:
    good = make_case(tmp_path / "good")
    write_truth(good)
    heard: list[str] = []
    report = run_benchmark(
        [tmp_path / "gone", good],
        LampExtractor(tmp_path / "out"),  # type: ignore[arg-type]
        on_failure=lambda error: heard.append(str(error)),
    )
    assert [result.name for result in report.results] == ["good"]
    [failure] = report.failures
    assert failure.case == str(tmp_path / "gone") and heard == [failure.error]
    assert json.loads(json.dumps(report.as_json()))["failures"] == [{"case": failure.case, "error": failure.error}]


def test_by_hand_the_extraction_is_given_the_box_and_the_family_of_the_case(tmp_path: Path) -> None:
    folder = make_case(tmp_path / "lamp", unseen=True, overlay="test/lamp")
    write_truth(folder)
    extractor = LampExtractor(tmp_path / "out")
    report = run_benchmark([folder], extractor, by_hand=True)  # type: ignore[arg-type]
    assert extractor.left_out == ["test/lamp"]
    assert report.by_hand and report.results[0].by_hand and report.results[0].unseen
    [extracted] = (tmp_path / "out" / "videos").iterdir()
    options = json.loads((extracted / "report.json").read_text())["options"]
    assert (options["box"], options["family"]) == (list(OVERLAY_XYWH), "test")


@pytest.mark.parametrize(
    ("about", "says"),
    [({"family": "harp"}, "found family harp"), ({"family": None}, "found no family"), ({"boxes": []}, "found no box")],
)
def test_by_hand_a_case_needs_a_box_and_a_known_family(about: dict[str, Any], says: str, tmp_path: Path) -> None:
    folder = make_case(tmp_path / "lamp", **about)
    write_truth(folder)
    report = run_benchmark([folder], LampExtractor(tmp_path / "out"), by_hand=True)  # type: ignore[arg-type]
    [failure] = report.failures
    assert says in failure.error and "one of test" in failure.error


def result_of(name: str, family: str, unseen: bool, held: tuple[int, ...]) -> Result:
    """A case with presses in frames 4 and 5 of 10, read as ``held``."""
    truth, read = Log.of_states(States.rest(10)), Log.of_states(States.rest(10))
    truth.buttons[[4, 5], 0] = True
    read.buttons[list(held), 0] = True
    scores = score(read, truth, ["south"])
    return Result(name, family, unseen, False, True, (f"{family}/own",), None, 0.0, scores, None)


REPORT = Report(
    False,
    (
        result_of("a", "snes", False, held=(4, 5)),
        result_of("b", "snes", False, held=()),
        result_of("c", "nes", False, held=(4, 5)),
        result_of("d", "dualsense", True, held=()),
        replace(result_of("e", "dualsense", True, held=()), scores=None, templates=(), reason="no_overlay"),
    ),
    (),
)


def test_seen_and_unseen_drawings_are_told_apart() -> None:
    report = REPORT.as_json()
    assert set(report["seen"]["families"]) == {"snes", "nes"}
    assert set(report["unseen"]["families"]) == {"dualsense"}
    assert report["seen"]["families"]["snes"]["scores"]["macro_f1"] == 0.5
    assert report["seen"]["all"]["cases"] == 3
    assert report["seen"]["all"]["scores"]["macro_f1"] == pytest.approx(2 / 3)
    assert report["unseen"]["all"]["cases"] == 1  # a video without an overlay has nothing to average
    assert report["unseen"]["all"]["at_offset"] == report["unseen"]["all"]["scores"]  # where no offset was found
    assert len(report["cases"]) == 5


def test_a_kind_without_a_case_has_no_mean() -> None:
    assert Report(False, REPORT.results[:3], ()).as_json()["unseen"] == {"all": None, "families": {}}


def test_published_figures_stand_beside_the_families() -> None:
    assert PUBLISHED["mean"] == {"stick_r2_mean": 0.84, "button_accuracy": 0.96}
    assert PUBLISHED["worst_family"] == {"stick_r2_mean": 0.77, "button_accuracy": 0.91}


def test_the_tables_fit_into_80_columns_and_cut_nothing() -> None:
    text_file = StringIO()
    console = Console(width=80, file=text_file)
    for part in benchmark_tables(REPORT, PUBLISHED):
        console.print(part)
    text = text_file.getvalue()
    assert max(map(len, [*text.splitlines(), *LEGEND.splitlines()])) <= 80 and "…" not in text
    rows = [line.split() for line in text.splitlines()]
    assert ["snes", "2", "-", "0.900", "0.500"] in [row[:5] for row in rows]
    assert ["published", "0.840", "0.960", "-"] in [row[:4] for row in rows]
    assert text.index("trained on") < text.index("never saw") < text.index("Cases")
