"""The chain on one video: what it writes, what it refuses, and that no kill leaves it half done.

Localisation and the network are stood in for (see conftest); decoding, calibration, filters and files are
the real ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from extraction.extract import ExtractOptions, Outcome, extract_video, make_video_id
from extraction.locate import Found
from extraction.records import SourceError
from extraction.shards import ACTIONS_SCHEMA, REJECTS_SCHEMA, SHARD_SCHEMA
from extraction.spool import mask_box
from templates.controls import BUTTONS, CONTROLS, STICKS
from tests.extraction.conftest import (
    OVERLAY_XYWH,
    SIZE_WH,
    TEMPLATES,
    LampParser,
    find_lamp,
    find_nothing,
    pad_frames,
    placed,
    suspect_something,
    write_sound,
    write_video,
)

SHOWN = {"south", "j_left"}


def extract(path: Path, out: Path, **changes: Any) -> Outcome:
    locate = changes.pop("locate", find_lamp)
    parser = changes.pop("parser", LampParser())
    return extract_video(path, out, TEMPLATES, parser, ExtractOptions(**changes), locate)


def digest_tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and a hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def extracted(lamp_video: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    out = tmp_path_factory.mktemp("out")
    return out, extract(lamp_video, out)


def test_the_files_are_where_the_contract_puts_them(extracted: tuple[Path, Outcome]) -> None:
    out, outcome = extracted
    id = outcome.video_id
    assert set(digest_tree(out)) == {
        f"videos/{id}/actions.parquet",
        f"videos/{id}/report.json",
        f"shards/{id}.parquet",
        f"rejects/{id}.parquet",
    }


def test_actions_hold_every_frame_and_null_for_what_is_not_shown(extracted: tuple[Path, Outcome]) -> None:
    table = pq.read_table(extracted[1].folder / "actions.parquet")
    assert table.schema.remove_metadata() == ACTIONS_SCHEMA
    assert table["frame_index"].to_pylist() == list(range(650))
    assert table["timestamp"].to_numpy() == pytest.approx(np.arange(650) / 10)
    assert table["overlay"].to_pylist() == [True] * 650
    held = [True] * 200 + [False] * 200 + [True] * 100 + [False] * 100 + [True] * 50
    assert table["south"].to_pylist() == held
    assert table["j_left"].to_pylist() == [[0, 0]] * 650
    for name in set(CONTROLS) - SHOWN:
        assert table[name].null_count == 650
    assert 0.9 < min(table["confidence"].to_pylist()) <= 1


def test_the_report_tells_what_was_found_and_decided(extracted: tuple[Path, Outcome], lamp_video: Path) -> None:
    report = json.loads((extracted[1].folder / "report.json").read_text())
    assert report["source"] == str(lamp_video)
    assert report["reason"] is None
    assert report["placements"] == [
        {
            "template": "test/lamp",
            "family": "test",
            "box": list(OVERLAY_XYWH),
            "inliers": 42,
            "start": 0.0,
            "end": pytest.approx(65, abs=0.2),
            "pad": 1,
            "support": 0,
            "sampled": 0,
        }
    ]
    assert [chunk["kept"] for chunk in report["chunks"]] == [True, False, True, True]
    assert [chunk["frames"] for chunk in report["chunks"]] == [200, 200, 200, 50]
    assert [chunk["start"] for chunk in report["chunks"]] == [0, 20, 40, 60]
    assert set(report["unknown"]) == set(CONTROLS) - SHOWN
    assert report["calibration"]["j_left"]["neutral"] == [0, 0]
    assert report["frames"]["decoded"] == 650
    assert report["frames"]["truncated"] is False
    assert {"code", "schema", "parser"} <= report["versions"].keys()


def test_shards_hold_the_kept_chunks_and_rejects_the_others(extracted: tuple[Path, Outcome]) -> None:
    out, outcome = extracted
    shard = pq.ParquetFile(out / "shards" / f"{outcome.video_id}.parquet")
    assert shard.num_row_groups == 3
    table = shard.read()
    assert table.schema.remove_metadata() == SHARD_SCHEMA
    assert table["chunk_index"].to_pylist() == [0] * 200 + [2] * 200 + [3] * 50
    assert table["frame_index"].to_pylist() == [*range(200), *range(400, 650)]
    assert table["known"].to_pylist() == [["south", "j_left"]] * 450
    actions = pq.read_table(outcome.folder / "actions.parquet").take(table["frame_index"])
    for name in ("timestamp", *BUTTONS, *STICKS, "confidence"):
        assert table[name].equals(actions[name])
    rejects = pq.read_table(out / "rejects" / f"{outcome.video_id}.parquet")
    assert rejects.schema.remove_metadata() == REJECTS_SCHEMA
    assert rejects.select(["chunk_index", "start", "end", "frames", "reason"]).to_pylist() == [
        {"chunk_index": 1, "start": 20.0, "end": 40.0, "frames": 200, "reason": "inactive"}
    ]


def test_every_file_carries_the_same_description(extracted: tuple[Path, Outcome]) -> None:
    out, outcome = extracted
    paths = [outcome.folder / "actions.parquet", *out.glob("shards/*"), *out.glob("rejects/*")]
    found = [pq.read_schema(path).metadata for path in paths]
    assert found[0] == found[1] == found[2]
    assert found[0][b"source"] == b"lamp.mp4"
    assert found[0][b"size"] == b"96x64"
    assert found[0][b"fps"] == b"10"
    assert found[0][b"template"] == b"test/lamp"
    assert {b"schema_version", b"code_version", b"game", b"url", b"format_id"} <= found[0].keys()


def test_frames_show_the_game_of_their_own_row_without_the_overlay(extracted: tuple[Path, Outcome]) -> None:
    out, outcome = extracted
    table = pq.read_table(out / "shards" / f"{outcome.video_id}.parquet")
    pictures = pad_frames([True] * 650)
    rows, columns = mask_box(OVERLAY_XYWH, SIZE_WH)
    for row in (0, 199, 200, 449):
        data = table["frame"][row].as_py()
        rgb = np.asarray(Image.open(io.BytesIO(data)))
        assert rgb.shape == (256, 256, 3)
        assert rgb[rows, columns].max() < 25
        original = pictures[table["frame_index"][row].as_py()]
        expected = cv2.resize(original, (256, 256), interpolation=cv2.INTER_LINEAR)
        expected[rows, columns] = 0
        # The next frame, one pixel on, correlates by 0.85.
        assert np.corrcoef(rgb.ravel(), expected.ravel())[0, 1] > 0.92


def test_the_mask_covers_the_box_with_a_margin() -> None:
    rows, columns = mask_box((980, 498, 281, 203), (1280, 720))
    assert columns.start <= (980 - 4 - 0.04 * 281) / 5
    assert columns.stop >= (980 + 281 + 4 + 0.04 * 281) / 5
    assert rows.start <= (498 - 4 - 0.04 * 203) * 256 / 720
    assert rows.stop >= (498 + 203 + 4 + 0.04 * 203) * 256 / 720
    assert mask_box((-50, -50, 20, 20), (1280, 720)) == (slice(0, 0), slice(0, 0))


def test_without_frames_the_schema_stays_and_the_column_is_null(lamp_video: Path, tmp_path: Path) -> None:
    outcome = extract(lamp_video, tmp_path, frames=False)
    table = pq.read_table(tmp_path / "shards" / f"{outcome.video_id}.parquet")
    assert table.schema.remove_metadata() == SHARD_SCHEMA
    assert table["frame"].null_count == len(table) == 450


def test_a_video_without_an_overlay_is_an_answer(lamp_video: Path, tmp_path: Path) -> None:
    outcome = extract(lamp_video, tmp_path, locate=find_nothing)
    assert outcome.status == "no_overlay"
    assert (outcome.report["placements"], outcome.report["reason"]) == ([], "no_overlay")
    assert len(pq.read_table(outcome.folder / "actions.parquet")) == 0
    rejects = pq.read_table(tmp_path / "rejects" / f"{outcome.video_id}.parquet").to_pylist()
    assert [(row["chunk_index"], row["reason"]) for row in rejects] == [(None, "no_overlay")]
    assert not list(tmp_path.glob("shards/*"))
    assert extract(lamp_video, tmp_path, locate=find_nothing).status == "already_done"


def test_an_unknown_skin_is_rejected_with_where_it_seems_to_be(lamp_video: Path, tmp_path: Path) -> None:
    outcome = extract(lamp_video, tmp_path, locate=suspect_something)
    assert outcome.status == "no_overlay"
    assert (outcome.report["placements"], outcome.report["reason"]) == ([], "unknown_skin")
    assert outcome.report["detail"] == "what stands still looks like a pad"
    [reject] = pq.read_table(tmp_path / "rejects" / f"{outcome.video_id}.parquet").to_pylist()
    assert (reject["reason"], reject["detail"]) == ("unknown_skin", "what stands still looks like a pad")


def test_frames_outside_the_span_of_a_placement_are_unknown(lamp_video: Path, tmp_path: Path) -> None:
    outcome = extract(lamp_video, tmp_path, locate=lambda *_: Found((placed(0.0, 10.0), placed(15.0, 39.0)), None, ""))
    table = pq.read_table(outcome.folder / "actions.parquet")
    covered = [0 <= t < 10 or 15 <= t < 39 for t in np.arange(650) / 10]
    assert table["overlay"].to_pylist() == covered
    assert [state is not None for state in table["south"].to_pylist()] == covered
    assert table["confidence"].to_numpy()[~np.array(covered)].max() == 0
    assert [chunk["reason"] for chunk in outcome.report["chunks"]] == [
        None,
        "inactive",
        "not_covered",
        "not_covered",
    ]
    shard = pq.read_table(tmp_path / "shards" / f"{outcome.video_id}.parquet")
    assert shard["known"].to_pylist()[120] == []


def test_of_two_pads_one_is_read_and_both_are_told_and_blacked_out(lamp_video: Path, tmp_path: Path) -> None:
    other = replace(placed(), box_xywh=(0, 0, 16, 8), affine=np.array([[0.5, 0, 0], [0, 0.5, 0]]), pad=2)

    def find_two(*_: object) -> Found:
        return Found((placed(), other), None, "")

    for pad, box in ((1, OVERLAY_XYWH), (2, other.box_xywh)):
        report = extract(lamp_video, tmp_path / str(pad), locate=find_two, pad=pad).report
        assert [(place["pad"], place["box"]) for place in report["placements"]] == [(pad, list(box))]
        assert [place["pad"] for place in report["other_pads"]] == [3 - pad]
        assert len(report["masks"]) == 2
    third = extract(lamp_video, tmp_path / "3", locate=find_two, pad=3)
    assert (third.status, third.report["reason"], len(third.report["other_pads"])) == ("no_overlay", "no_such_pad", 2)


def test_time_counts_from_the_first_frame_and_stays_its_own(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    gaps = np.random.default_rng(0).choice([0.05, 0.4, 2.0], 60)
    times = write_video(path, pad_frames([True] * 60), (100 + np.cumsum(gaps)).tolist())
    outcome = extract(path, tmp_path / "out")
    table = pq.read_table(outcome.folder / "actions.parquet")
    found = table["timestamp"].to_numpy()
    assert np.diff(found) == pytest.approx(np.diff(times))
    shard = pq.read_table(tmp_path / "out" / "shards" / f"{outcome.video_id}.parquet")
    assert shard["chunk_index"].to_pylist() == np.floor((found - found[0]) / 20).astype(int).tolist()


@pytest.mark.parametrize("size_wh", [(16, 16), (96, 64)])
def test_a_video_of_one_small_frame_is_extracted(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = tmp_path / "v.mp4"
    width, height = size_wh
    write_video(path, [np.full((height, width, 3), 250, np.uint8)])

    def whole(*_: object) -> Any:
        return Found((replace(placed(), box_xywh=(0, 0, width, height)),), None, "")

    outcome = extract(path, tmp_path / "out", locate=whole)
    assert pq.read_table(outcome.folder / "actions.parquet")["south"].to_pylist() == [True]
    assert outcome.report["chunks"][0]["kept"]


def test_progress_is_told_from_start_to_end(lamp_video: Path, tmp_path: Path) -> None:
    told: list[float] = []
    extract_video(lamp_video, tmp_path, TEMPLATES, LampParser(), ExtractOptions(), find_lamp, told.append)
    assert told == sorted(told)
    assert 0 < told[0] < 0.2
    assert 0.9 < told[-1] <= 1


# --- once is enough -------------------------------------------------------------------------------------


def test_the_second_run_does_nothing_and_says_so(lamp_video: Path, tmp_path: Path) -> None:
    extract(lamp_video, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def never(*_: object) -> Any:
        raise AssertionError("the second run looked for the overlay again")

    assert extract(lamp_video, tmp_path, locate=never).status == "already_done"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "changes",
    [{"active_fraction": 0.9}, {"frames": False}, {"percentile": 90.0}, {"parser": LampParser("2")}],
)
def test_other_options_or_weights_do_the_video_again(lamp_video: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    extract(lamp_video, tmp_path / "again")
    assert extract(lamp_video, tmp_path / "again", **changes).status == "extracted"
    extract(lamp_video, tmp_path / "fresh", **changes)
    assert digest_tree(tmp_path / "again") == digest_tree(tmp_path / "fresh")


def test_doing_it_again_removes_what_is_no_longer_true(lamp_video: Path, tmp_path: Path) -> None:
    extract(lamp_video, tmp_path)
    extract(lamp_video, tmp_path, locate=find_nothing, min_inliers=99)
    assert not list(tmp_path.glob("shards/*"))


def test_two_runs_give_equal_bytes(lamp_video: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        extract(lamp_video, tmp_path / name)
    assert digest_tree(tmp_path / "a") == digest_tree(tmp_path / "b")


# --- killed ---------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from extraction.extract import ExtractOptions, extract_video
import extraction.extract as stage
from tests.extraction.conftest import TEMPLATES, LampParser, LampReader, find_lamp

def die_at_call(owner, name, nth):
    real, calls = getattr(owner, name), 0
    def counted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(owner, name, counted)

where, nth = sys.argv[3], int(sys.argv[4])
owners = {"replace": os, "read": LampReader, "write_table": pq.ParquetWriter, "publish": stage}
die_at_call(owners[where], where, nth)
extract_video(Path(sys.argv[1]), Path(sys.argv[2]), TEMPLATES, LampParser(), ExtractOptions(), find_lamp)
"""


@pytest.mark.parametrize("started_over", [False, True])
@pytest.mark.parametrize(
    ("where", "nth"),
    [
        ("read", 3),  # while decoding
        ("write_table", 2),  # inside the actions
        ("write_table", 6),  # inside the shard
        ("publish", 1),  # everything written, nothing published
        ("replace", 1),  # the old report is gone, no file has its name yet
        ("replace", 3),  # actions and shard have their names, rejects not
        ("replace", 4),  # all but the report
    ],
)
def test_killed_anywhere_a_rerun_ends_as_if_nothing_had_happened(
    lamp_video: Path, tmp_path: Path, where: str, nth: int, started_over: bool
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    extract(lamp_video, undisturbed)
    if started_over:  # another run with other options was there before
        extract(lamp_video, killed, active_fraction=1.0)
    arguments = [str(lamp_video), str(killed), where, str(nth)]
    process = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert process.returncode == -signal.SIGKILL
    for path in (*killed.glob("shards/*"), *killed.glob("rejects/*"), *killed.glob("videos/*/*.parquet")):
        pq.read_table(path)  # whatever has a final name is whole
    assert extract(lamp_video, killed).status == "extracted"
    assert digest_tree(killed) == digest_tree(undisturbed)
    assert not list(killed.rglob(".partial"))


# --- bad input, bad output ------------------------------------------------------------------------------


def write_text(path: Path) -> None:
    path.write_text("not a video\n" * 100)


def write_truncated(path: Path) -> None:
    write_video(path, pad_frames([True] * 30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("write", [write_text, write_truncated, write_sound, Path.mkdir, lambda path: None])
def test_what_is_no_video_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "v.mp4"
    write(path)
    with pytest.raises(SourceError) as caught:
        extract(path, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not digest_tree(tmp_path / "out")


def test_a_video_cut_short_is_read_as_far_as_it_goes_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "v.mkv"
    rng = np.random.default_rng(0)
    write_video(path, [rng.integers(0, 255, (64, 96, 3)).astype(np.uint8) for _ in range(60)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = extract(path, tmp_path / "out").report
    assert report["frames"]["truncated"] is True
    assert 10 < report["frames"]["decoded"] < 50
    assert "ends early" in caplog.text


def test_an_output_that_is_a_file_is_one_sentence(lamp_video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("in the way")
    with pytest.raises(SourceError, match=r"expected to write below .*out, found: "):
        extract(lamp_video, out)


FULL_DISK = """
import resource, sys
from pathlib import Path
from extraction.extract import ExtractOptions, extract_video
from extraction.locate import Found
from extraction.records import SourceError
from tests.extraction.conftest import TEMPLATES, LampParser, find_lamp

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    extract_video(Path(sys.argv[1]), Path(sys.argv[2]), TEMPLATES, LampParser(), ExtractOptions(), find_lamp)
except SourceError as error:
    print(error)
"""


@pytest.mark.parametrize("limit_bytes", [2_000, 1_000_000])  # the actions, the spool
def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(
    lamp_video: Path, tmp_path: Path, limit_bytes: int
) -> None:
    arguments = [str(lamp_video), str(tmp_path / "out"), str(limit_bytes)]
    process = subprocess.run([sys.executable, "-c", FULL_DISK, *arguments], check=True, capture_output=True, text=True)
    assert "expected to write below" in process.stdout
    assert process.stdout.count("\n") == 1
    assert not digest_tree(tmp_path / "out")
    assert not list((tmp_path / "out" / "videos").iterdir())


# --- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["..mp4", "a b.mp4", "ün'\"icode;rm -rf.mp4", "...", "-rf.mp4", "a\nb.mp4", "x" * 200 + ".mp4", "%2e%2e"],
)
def test_a_video_id_is_a_plain_name_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    id = make_video_id(path)
    assert id.replace("-", "").replace("_", "").isalnum()
    assert id.isascii()
    assert not id.startswith("-")
    assert len(id) < 80


def test_a_video_id_follows_the_content_not_the_folder(tmp_path: Path) -> None:
    ids = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.mp4").write_bytes(content)
        ids.append(make_video_id(tmp_path / folder / "run.mp4"))
    assert ids[0] == ids[1] != ids[2]


def test_a_name_that_is_no_unicode_is_extracted_too(lamp_video: Path, tmp_path: Path) -> None:
    path = Path(str(tmp_path) + "/run\udcff.mp4")
    path.write_bytes(lamp_video.read_bytes())
    assert extract(path, tmp_path / "out").status == "extracted"


def test_a_box_needs_a_family() -> None:
    with pytest.raises(ValueError, match="box and family go together"):
        ExtractOptions(box=(0, 0, 10, 10))
