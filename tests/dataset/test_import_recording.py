"""A recorder's pictures and log become shards as those of any video, with up as negative y."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from extraction.records import SourceError
from extraction.shards import ACTIONS_SCHEMA, SHARD_SCHEMA
from padtrace.dataset import FrameActionDataset
from padtrace.dataset.pack import pack
from padtrace.dataset.recording import import_recording
from padtrace.dataset.store import open_store
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS

FRAMES = 60  # at 2 a second: 20 s are 40 of them


def grey_of(i: int) -> int:
    return 40 + 3 * i


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """South is held, the left stick is pushed up and a little right; frames are numbered from 5."""
    folder = tmp_path / "my run 1"
    (folder / "frames").mkdir(parents=True)
    with (folder / "actions.jsonl").open("w") as file:
        for i in range(FRAMES):
            cv2.imwrite(str(folder / "frames" / f"{i + 5:06d}.png"), np.full((90, 160, 3), grey_of(i), np.uint8))
            buttons = {"south": 1, "east": 0, "left_trigger": 0.7}
            line = {"frame_id": i + 5, "timestamp": 100 + i / 2, "j_left": [0.25, 1.0], "j_right": [0, 0]}
            file.write(json.dumps(line | {"buttons": buttons}) + "\n")
    (folder / "metadata.json").write_text(json.dumps({"game": "celeste", "fps": 2, "more": {"a": 1}}))
    return folder


def test_a_recording_becomes_a_shard(recording: Path, tmp_path: Path) -> None:
    outcome = import_recording(recording, tmp_path / "out")
    shard = pq.ParquetFile(tmp_path / "out" / "shards" / f"{outcome.video_id}.parquet")
    table = shard.read()
    assert table.schema.remove_metadata() == SHARD_SCHEMA
    assert table["frame_index"].to_pylist() == list(range(FRAMES))
    assert table["timestamp"].to_numpy() == pytest.approx(np.arange(FRAMES) / 2)
    assert table["chunk_index"].to_pylist() == [0] * 40 + [1] * 20
    assert table["south"].to_pylist() == table["left_trigger"].to_pylist() == [True] * FRAMES
    assert table["known"][0].as_py() == ["south", "east", "left_trigger", "j_left", "j_right"]
    assert table["west"].null_count == FRAMES and set(table["confidence"].to_pylist()) == {1.0}
    for i in (0, 39, 59):
        picture = cv2.imdecode(np.frombuffer(table["frame"][i].as_py(), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (256, 256, 3) and abs(float(picture.mean()) - grey_of(i)) < 2
    about = shard.schema_arrow.metadata
    assert about[b"game"] == b"celeste" and about[b"size"] == b"160x90" and about[b"fps"] == b"2"
    actions = pq.read_table(outcome.folder / "actions.parquet")
    assert actions.schema.remove_metadata() == ACTIONS_SCHEMA and len(actions) == FRAMES


def test_up_is_negative_afterwards(recording: Path, tmp_path: Path) -> None:
    outcome = import_recording(recording, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "shards" / f"{outcome.video_id}.parquet")
    assert {tuple(place) for place in table["j_left"].to_pylist()} == {(0.25, -1.0)}
    assert not np.signbit(np.array(table["j_right"].to_pylist())).any()


def test_a_recording_is_loaded_like_any_video(recording: Path, tmp_path: Path) -> None:
    import_recording(recording, tmp_path / "out")
    pack(open_store(str(tmp_path / "out")))
    dataset = FrameActionDataset(tmp_path / "out")
    assert len(dataset) == FRAMES - 16
    sample = dataset[30]
    assert abs(float(sample["frame"].float().mean()) - grey_of(30)) < 2
    assert sample["buttons"][:, BUTTON_INDEX["south"]].all() and sample["known"].sum() == 5 * 16
    assert len(BUTTONS) + 2 == len(CONTROLS) == sample["known"].shape[1]


def test_importing_again_does_nothing(recording: Path, tmp_path: Path) -> None:
    import_recording(recording, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert import_recording(recording, tmp_path / "out").status == "already_done"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_an_idle_recording_is_rejected_like_any_video(recording: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (recording / "actions.jsonl").read_text().splitlines()]
    idle = [line | {"buttons": {"south": 0}, "j_left": [0, 0]} for line in lines]
    (recording / "actions.jsonl").write_text("\n".join(map(json.dumps, idle)))
    outcome = import_recording(recording, tmp_path / "out")
    assert [chunk["reason"] for chunk in outcome.report["chunks"]] == ["inactive", "inactive"]
    assert not (tmp_path / "out" / "shards" / f"{outcome.video_id}.parquet").exists()


def test_what_is_no_recording_is_refused_by_name_and_leaves_nothing(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SourceError, match=r"no actions\.jsonl"):
        import_recording(tmp_path, out)
    (recording / "frames" / "000010.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"000010\.png"):
        import_recording(recording, out)
    (recording / "frames" / "000010.png").unlink()
    with pytest.raises(SourceError, match="frame_id 10"):
        import_recording(recording, out)
    (recording / "metadata.json").write_text("[")
    with pytest.raises(SourceError, match=r"metadata\.json"):
        import_recording(recording, out)
    assert not list(out.rglob("*.parquet"))
