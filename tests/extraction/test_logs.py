"""Three formats, one log; and a doubtful log is refused in one sentence that says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction import logs
from extraction.logs import (
    INPUT_REC_AXES,
    INPUT_REC_BUTTONS,
    SAMPLES_SCHEMA,
    TRUTH_SCHEMA,
    Log,
    nearest_rows,
    read_recorder,
    read_samples,
    read_truth,
)
from extraction.records import SourceError
from synthetic import clips
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, STICKS, TRIGGERS

SOUTH = BUTTON_INDEX["south"]
Rows = list[dict[str, Any]]


def rows_of(count: int, **first: Any) -> Rows:
    """Rows of a log at rest; ``first`` are the names and values of the time columns of row 0, which go up by one."""
    at_rest: dict[str, Any] = {name: False for name in BUTTONS} | {name: [0.0, 0.0] for name in STICKS}
    at_rest |= {f"{name}_value": 0.0 for name in TRIGGERS}
    return [{name: value + i for name, value in first.items()} | at_rest for i in range(count)]


def truth_rows(count: int = 4) -> Rows:
    return rows_of(count, frame_index=0, timestamp=0.0)


def sample_rows(count: int = 4) -> Rows:
    return rows_of(count, timestamp_us=0)


def write(path: Path, rows: Rows, schema: pa.Schema | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def recorder_rows(count: int = 4) -> Rows:
    return [
        {"frame_id": i, "timestamp": i / 60, "j_left": [0.0, 0.0], "j_right": [0.0, 0.0], "buttons": [0.0] * 17}
        for i in range(count)
    ]


def write_lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refusal(read: Callable[[], Log]) -> str:
    """The one sentence with which a log is refused."""
    with pytest.raises(SourceError) as caught:
        read()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_truth_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = truth_rows()
    rows[1]["south"] = True
    rows[2] |= {"j_left": [0.5, -1.0], "right_trigger": True, "right_trigger_value": 0.75}
    log = read_truth(write(tmp_path / "truth.parquet", rows, TRUTH_SCHEMA))
    assert log.frame_index.tolist() == log.time_s.tolist() == [0, 1, 2, 3]
    assert np.argwhere(log.buttons).tolist() == [[1, SOUTH], [2, BUTTON_INDEX["right_trigger"]]]
    assert log.sticks[2, 0].tolist() == [0.5, -1.0]
    assert log.triggers[2].tolist() == [0.0, 0.75]
    assert log.known.all() and np.isnan(log.confidence).all()


def test_clips_are_written_as_they_are_read() -> None:
    assert clips.TRUTH_SCHEMA == TRUTH_SCHEMA


def test_other_widths_and_a_log_without_travel_are_read(tmp_path: Path) -> None:
    rows = [{name: row[name] for name in row if not name.endswith("_value")} for row in truth_rows()]
    pair = pa.list_(pa.float64(), 2)
    schema = pa.schema(
        [("frame_index", pa.int32()), ("timestamp", pa.float64())]
        + [(name, pa.bool_()) for name in BUTTONS]
        + [(name, pair) for name in STICKS]
    )
    log = read_truth(write(tmp_path / "truth.parquet", rows, schema))
    assert len(log) == 4 and np.isnan(log.triggers).all()


def test_null_is_unknown(tmp_path: Path) -> None:
    rows = truth_rows()
    rows[1] |= {"south": None, "j_left": None}
    log = read_truth(write(tmp_path / "truth.parquet", rows, TRUTH_SCHEMA))
    assert np.argwhere(~log.known).tolist() == [[1, SOUTH], [1, CONTROLS.index("j_left")]]
    assert np.isnan(log.sticks[1, 0]).all()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"j_left": [float("nan"), 0.0]}, "expected j_left in -1..1, found nan"),
        ({"j_right": [0.0, 1.25]}, "expected j_right in -1..1, found 1.25"),
        ({"j_left": [0.0]}, "j_left to hold x and y"),
        ({"left_trigger_value": 2.0}, "travel of triggers in 0..1, found 2"),
        ({"timestamp": 1.0}, "timestamp to increase"),  # a repeat: row 1 has it, too
        ({"timestamp": 0.5}, "timestamp to increase"),  # a step back
        ({"timestamp": None}, "timestamp to increase"),
        ({"frame_index": 1}, "frame_index must increase"),
    ],
)
def test_a_truth_file_with_one_wrong_row_is_refused(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    rows = truth_rows()
    rows[2] |= row
    path = write(tmp_path / "truth.parquet", rows, TRUTH_SCHEMA)
    sentence = refusal(lambda: read_truth(path))
    assert says in sentence and str(path) in sentence


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"guide": None}, "found none for guide"),  # a missing column
        ({"timestamp": None}, "found none for timestamp"),
        ({"south": "yes"}, "expected south to be bool, found string"),
        ({"frame_index": 0.5}, "expected frame_index to be int64, found double"),
        ({"j_left": 0.0}, "expected j_left to be list<item: float>, found double"),
        ({"j_left": ["a", "b"]}, "expected j_left to be list"),
    ],
)
def test_a_truth_file_with_a_wrong_column_is_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    [(name, value)] = change.items()
    rows = [{key: row[key] for key in row if key != name} for row in truth_rows()]
    if value is not None:
        rows = [row | change for row in rows]
    path = write(tmp_path / "truth.parquet", rows)
    assert says.replace("item", "element") in refusal(lambda: read_truth(path)).replace("item", "element")


@pytest.mark.parametrize("content", [b"", b"frame,south\n0,1\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "truth.parquet"
    path.write_bytes(content)
    assert "is not a controller log" in refusal(lambda: read_truth(path))
    assert "is not a controller log" in refusal(lambda: read_samples(path, np.zeros(1)))


def test_a_log_without_a_row_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.parquet", [], TRUTH_SCHEMA)
    assert "at least one row" in refusal(lambda: read_truth(path))
    assert "at least one row" in refusal(lambda: read_recorder(write_lines(tmp_path / "truth.jsonl", [])))


def test_a_recorder_is_read_by_name_and_by_order(tmp_path: Path) -> None:
    rows = recorder_rows(3)
    rows[1]["buttons"][SOUTH] = 1.0
    rows[2] |= {"buttons": {"south": 1, "left_trigger": 0.6, "east": 0.0}, "j_right": [0, -1], "note": "not read"}
    log = read_recorder(write_lines(tmp_path / "truth.jsonl", rows))
    assert log.frame_index.tolist() == [0, 1, 2]
    assert log.time_s.tolist() == pytest.approx([0, 1 / 60, 2 / 60])
    assert log.buttons[:, SOUTH].tolist() == [False, True, True]
    assert log.buttons[2, BUTTON_INDEX["left_trigger"]] and log.triggers[2, 0] == pytest.approx(0.6)
    assert log.sticks[2, 1].tolist() == [0, -1]
    known = {name for name, is_known in zip(CONTROLS, log.known[2], strict=True) if is_known}
    assert known == {"south", "east", "left_trigger", *STICKS}  # what a line leaves out, it does not know


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"j_left": [0.0, 1.5]}, "line 3: j_left.1: Input should be less than or equal to 1"),
        ({"j_left": [0.0]}, "line 3: j_left"),
        ({"j_left": None}, "line 3: j_left"),
        ({"frame_id": 1}, "found frame 1 at 0.0333333 s after frame 1"),
        ({"timestamp": 0.0}, "frame_id and timestamp to increase"),
        ({"timestamp": "0.5"}, "line 3: timestamp"),
        ({"frame_id": -1}, "line 3: frame_id"),
        ({"buttons": [0.0] * 21}, "line 3: buttons: expected 17 values"),
        ({"buttons": [0.5] + [0.0] * 16}, "expected 0 or 1 for south, found 0.5"),
        ({"buttons": {"jump": 1.0}}, "found jump"),
        ({"buttons": [float("nan")] * 17}, "line 3: buttons"),
    ],
)
def test_a_recorder_with_one_wrong_line_is_refused(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    rows = recorder_rows()
    rows[2] |= row
    path = write_lines(tmp_path / "truth.jsonl", rows)
    sentence = refusal(lambda: read_recorder(path))
    assert says in sentence and str(path) in sentence


def test_a_recorder_that_was_cut_off_is_refused_by_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "truth.jsonl", recorder_rows())
    path.write_bytes(path.read_bytes()[:-40])
    assert "line 4: Invalid JSON" in refusal(lambda: read_recorder(path))


def test_lines_and_files_of_absurd_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = recorder_rows()
    rows[1]["note"] = "x" * 64_000
    path = write_lines(tmp_path / "truth.jsonl", rows)
    assert "longer line 2" in refusal(lambda: read_recorder(path))
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 1000)
    assert "at most 1000 bytes" in refusal(lambda: read_recorder(path))


def test_a_recorder_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_bytes(b"\xff\xfe\x00")
    assert "line 1" in refusal(lambda: read_recorder(tmp_path / "truth.jsonl"))


def test_a_frame_takes_the_sample_nearest_to_its_own_time(tmp_path: Path) -> None:
    rows = sample_rows(4)
    for row, stamp in zip(rows, (0, 10_000, 20_000, 3_000_000), strict=True):
        row["timestamp_us"] = stamp
    rows[1]["south"], rows[3]["j_left"] = True, [0.5, 0.5]
    path = write(tmp_path / "samples.parquet", rows, SAMPLES_SCHEMA)
    times_s = np.array([0.0, 0.004, 0.005, 0.0051, 0.015, 0.0151, 0.52, 0.5201, 2.5, 2.9, 9.0])
    log = read_samples(path, times_s)
    assert log.frame_index.tolist() == list(range(11)) and log.time_s.tolist() == times_s.tolist()
    # 0.005 and 0.015 lie in the middle: the earlier sample; 0.52 is just half a second from the third.
    assert np.flatnonzero(log.buttons[:, SOUTH]).tolist() == [3, 4]
    assert log.known.all(axis=1).tolist() == [True] * 7 + [False, True, True, False]
    assert not log.known[[7, 10]].any()
    assert log.sticks[8:10, 0].tolist() == [[0.5, 0.5]] * 2
    assert np.isnan(log.sticks[[7, 10]]).all() and np.isnan(log.triggers[[7, 10]]).all()


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=20, unique=True).map(sorted),
    st.lists(st.integers(0, 3000), max_size=20),
)
def test_no_sample_is_nearer_than_the_one_that_is_taken(stamps: list[int], times: list[int]) -> None:
    found = nearest_rows(np.array(stamps) / 1e3, np.array(times, float) / 1e3)
    for time, row in zip(times, found.tolist(), strict=True):
        distances = [abs(time - stamp) for stamp in stamps]
        expected = distances.index(min(distances)) if min(distances) <= 500 else -1
        assert row == expected


@pytest.mark.parametrize("stamp", [0, 1])  # a step back, a repeat
def test_samples_out_of_order_are_refused(stamp: int, tmp_path: Path) -> None:
    rows = sample_rows(4)
    rows[2]["timestamp_us"] = stamp
    path = write(tmp_path / "samples.parquet", rows, SAMPLES_SCHEMA)
    assert "timestamp_us to increase" in refusal(lambda: read_samples(path, np.zeros(1)))


def test_samples_of_another_clock_are_refused(tmp_path: Path) -> None:
    rows = rows_of(4, timestamp_us=1_700_000_000_000_000)
    path = write(tmp_path / "samples.parquet", rows, SAMPLES_SCHEMA)
    assert "on the video's clock" in refusal(lambda: read_samples(path, np.arange(10) / 60))


def test_samples_without_a_column_are_refused(tmp_path: Path) -> None:
    rows = [{name: row[name] for name in row if name != "j_right"} for row in sample_rows()]
    path = write(tmp_path / "samples.parquet", rows)
    assert "found none for j_right" in refusal(lambda: read_samples(path, np.zeros(1)))


def test_what_the_obs_plugin_input_rec_writes_is_read(tmp_path: Path) -> None:
    row: dict[str, Any] = {"time": 0} | {column: False for column in INPUT_REC_BUTTONS.values()}
    row |= {column: 0 for pair in INPUT_REC_AXES.values() for column in pair}
    row |= {"LEFT_TRIGGER": 0, "RIGHT_TRIGGER": 0, "MISC1": False}
    moved = {"time": 2000, "LEFT_STICK": True, "LEFTY": -32768, "RIGHTX": 16384, "LEFT_TRIGGER": 20000}
    schema = pa.schema(
        [(name, pa.bool_() if isinstance(value, bool) else pa.int16()) for name, value in row.items() if name != "time"]
    ).insert(0, pa.field("time", pa.int64()))
    path = write(tmp_path / "samples.parquet", [row, row | moved], schema)
    log = read_samples(path, np.array([0.0, 0.002]))
    held = [BUTTON_INDEX["left_trigger"], BUTTON_INDEX["left_thumb"]]
    assert np.argwhere(log.buttons).tolist() == [[1, button] for button in held]
    assert log.sticks[1].tolist() == [[0.0, -1.0], [pytest.approx(0.5, abs=1e-4), 0.0]]
    assert log.triggers[1].tolist() == [pytest.approx(20000 / 32767), 0.0]
    assert log.known.all()
