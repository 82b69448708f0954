"""The exported folders are read by code that knows nothing of padtrace but the public layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from extraction.records import SourceError
from padtrace.dataset.nitrogen import clip_box, export_nitrogen
from templates.controls import BUTTONS, STICKS
from tests.dataset.conftest import METADATA, write_shard

BUTTON_COLUMNS = [
    *("back", "dpad_down", "dpad_left", "dpad_right", "dpad_up", "east", "guide", "left_shoulder", "left_thumb"),
    *("left_trigger", "north", "right_shoulder", "right_thumb", "right_trigger", "south", "start", "west"),
]


class PublicReader:
    """Reads a tree of NitroGen chunks with pandas, as the public description has it."""

    def __init__(self, root: Path) -> None:
        self.chunks = {}
        for folder in sorted(root.glob("actions/SHARD_[0-9][0-9][0-9][0-9]/*/*_chunk_[0-9][0-9][0-9][0-9]")):
            about = json.loads((folder / "metadata.json").read_text())
            raw, processed = (pd.read_parquet(folder / f"actions_{kind}.parquet") for kind in ("raw", "processed"))
            self.check(folder, about, raw)
            self.check(folder, about, processed)
            self.chunks[folder.parent.name, int(about["chunk_id"])] = (about, raw, processed)

    def check(self, folder: Path, about: dict[str, Any], actions: pd.DataFrame) -> None:
        video = about["original_video"]
        assert folder.name == f"{video['video_id']}_chunk_{about['chunk_id']}"
        assert about["uuid"] == f"{folder.name}_actions"
        assert len(about["chunk_id"]) == 4
        assert about["chunk_size"] == len(actions) == video["end_frame"] - video["start_frame"] + 1  # inclusive
        assert int(video["start_time"] // 20) == int(about["chunk_id"])
        assert video["end_time"] - video["start_time"] == pytest.approx(video["duration"]) and video["duration"] <= 20
        height, width = video["resolution"]
        x, y, w, h = about["bbox_controller_overlay"]
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        assert list(actions.columns) == [*BUTTON_COLUMNS, "j_left", "j_right"]
        assert {str(actions[name].dtype) for name in BUTTON_COLUMNS} == {"bool"}
        for name in ("j_left", "j_right"):
            sticks = np.stack(actions[name].to_list())
            assert sticks.shape == (len(actions), 2) and sticks.dtype == np.float64 and (np.abs(sticks) <= 1).all()
        assert about["game"] == about["game"].lower() and " " not in about["game"]
        assert isinstance(about["controller_type"], str) and video["source"] in ("youtube", "twitch", "local")


def write_report(
    folder: Path, video_id: str, family: str = "snes", box: tuple[int, ...] = (500, 300, 200, 100)
) -> None:
    path = folder / "videos" / video_id / "report.json"
    path.parent.mkdir(parents=True)
    placement = {"template": f"{family}/own", "family": family, "box": box, "inliers": 30, "start": 0.0, "end": 99.0}
    path.write_text(json.dumps({"placements": [placement], "video": {"width": 640, "height": 360}, "reason": None}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shard(tmp_path, "one", game="Hollow Knight!", url="https://www.youtube.com/watch?v=abc")
    write_shard(tmp_path, "-two", shown=("south", "j_left"))
    write_report(tmp_path, "one", "dualshock_4")
    write_report(tmp_path, "-two")
    return tmp_path


def test_an_independent_reader_finds_every_chunk_with_its_rows(folder: Path, tmp_path: Path) -> None:
    assert export_nitrogen(folder, tmp_path / "out") == 6
    chunks = PublicReader(tmp_path / "out").chunks
    assert set(chunks) == {(video, chunk) for video in ("one", "-two") for chunk in (0, 1, 3)}
    about = chunks["one", 3][0]
    assert about["game"] == "hollow_knight" and about["controller_type"] == "ps4"
    assert about["original_video"]["source"] == "youtube"
    assert about["bbox_controller_overlay"] == [500, 300, 140, 60]
    assert about["original_video"]["start_frame"] == 450 and about["original_video"]["start_time"] == 60
    assert chunks["-two", 0][0]["game"] == "celeste"


def test_what_is_read_back_is_what_the_shards_hold(folder: Path, tmp_path: Path) -> None:
    export_nitrogen(folder, tmp_path / "out")
    chunks = PublicReader(tmp_path / "out").chunks
    for video in ("one", "-two"):
        table = pq.read_table(folder / "shards" / f"{video}.parquet").drop(["frame", "video_id", "known"]).to_pandas()
        rows = []
        for (name, index), (about, raw, processed) in sorted(chunks.items(), key=lambda item: item[0]):
            if name != video:
                continue
            extra = about["padtrace"]
            pd.testing.assert_frame_equal(raw, processed)
            back = raw.astype(object)
            for control in {*BUTTONS, *STICKS} - set(extra["known"]):
                back[control] = None
            back["chunk_index"] = index
            back["frame_index"] = about["original_video"]["start_frame"] + np.arange(len(raw))
            back["timestamp"], back["confidence"] = extra["timestamps"], extra["confidence"]
            rows.append(back)
        joined = pd.concat(rows, ignore_index=True)
        for column in table.columns:
            given, expected = joined[column].to_list(), table[column].to_list()
            for one, other in zip(given, expected, strict=True):
                assert one is other is None or np.array_equal(one, other), column


def test_types_are_the_same_in_every_file_also_when_nothing_is_held(tmp_path: Path) -> None:
    write_shard(tmp_path, "idle", shown=())
    write_shard(tmp_path, "lively")
    for video in ("idle", "lively"):
        write_report(tmp_path, video)
    export_nitrogen(tmp_path, tmp_path / "out")
    schemas = {str(pq.read_schema(path).remove_metadata()) for path in tmp_path.glob("out/**/*.parquet")}
    assert len(schemas) == 1 and len(list(tmp_path.glob("out/**/actions_processed.parquet"))) == 6
    assert not any(raw["j_left"].map(np.any).any() for _, raw, _ in (PublicReader(tmp_path / "out").chunks["idle", 0],))


def test_exporting_again_changes_nothing_and_leaves_nothing_unfinished(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_nitrogen(folder, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert export_nitrogen(folder, out) == 6
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert not list(out.rglob(".*"))


def test_a_chunk_that_is_no_longer_kept_is_taken_out(folder: Path, tmp_path: Path) -> None:
    export_nitrogen(folder, tmp_path / "out")
    write_shard(folder, "one", (0, 2), template="snes/dark")
    assert export_nitrogen(folder, tmp_path / "out") == 5
    chunks = PublicReader(tmp_path / "out").chunks
    assert {chunk for video, chunk in chunks if video == "one"} == {0, 2}
    assert chunks["one", 0][0]["padtrace"]["template"] == "snes/dark"


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((10, 20, 30, 40), [10, 20, 30, 40]),
        ((-5, -6, 30, 40), [0, 0, 25, 34]),
        ((620, 350, 100, 36), [620, 350, 20, 10]),
        ((700, 10, 5, 5), [700, 10, 0, 5]),
    ],
)
def test_a_box_is_clipped_to_the_frame(box: tuple[int, int, int, int], clipped: list[int]) -> None:
    assert clip_box(box, (640, 360)) == clipped


def test_a_bad_video_is_named_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    (folder / "videos" / "one" / "report.json").unlink()
    told: list[SourceError] = []
    assert export_nitrogen(folder, tmp_path / "out", told.append) == 3
    assert len(told) == 1 and "videos/one/report.json" in str(told[0])
    with pytest.raises(SourceError, match="extract the video again"):
        export_nitrogen(folder, tmp_path / "out")
    assert METADATA["schema_version"] == "1"


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected shards"):
        export_nitrogen(tmp_path, tmp_path / "out")
