"""Packing: large files of whole chunks, an index that is right, again and again, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.records import SourceError
from extraction.shards import SHARD_SCHEMA
from padtrace.dataset import FrameActionDataset, FrameActionStream
from padtrace.dataset.pack import Packing, pack
from padtrace.dataset.records import GROUP_ROWS, INDEX_SCHEMA, Index, read_index
from padtrace.dataset.store import open_store
from tests.dataset.conftest import CHUNK, METADATA, number_of, write_shard

MIN, TARGET = 300_000, 600_000  # bytes; a chunk here has about 180,000


def pack_small(folder: Path | str) -> Packing:
    return pack(open_store(str(folder)), min_bytes=MIN, target_bytes=TARGET)


def index_of(folder: Path | str) -> Index:
    index = read_index(open_store(str(folder)))
    assert index is not None
    return index


def all_rows(folder: Path) -> pa.Table:
    """Rows of the indexed files, by video and frame."""
    files = [pq.read_table(folder / name).replace_schema_metadata() for name in index_of(folder).bytes_of]
    return pa.concat_tables(files).sort_by([("video_id", "ascending"), ("frame_index", "ascending")])


def shard_rows(folder: Path) -> pa.Table:
    files = [pq.read_table(path).replace_schema_metadata() for path in sorted((folder / "shards").glob("*.parquet"))]
    return pa.concat_tables(files).sort_by([("video_id", "ascending"), ("frame_index", "ascending")])


def test_the_index_says_where_every_chunk_is_and_what_it_is(packed: Path) -> None:
    table = pq.read_table(packed / "index.parquet")
    assert table.schema.remove_metadata() == INDEX_SCHEMA
    rows = table.to_pylist()
    assert [(row["video_id"], row["chunk_index"]) for row in rows] == [
        (video, chunk) for video in ("one", "two") for chunk in (0, 1, 3)
    ]
    assert [row["contiguous"] for row in rows[:3]] == [False, True, False]
    assert [row["game"] for row in rows] == ["celeste"] * 3 + ["hollow_knight"] * 3
    assert {row["family"] for row in rows} == {"snes"}
    for row in rows:
        assert row["rate"] == pytest.approx(7.5) and row["start"] == pytest.approx(row["start_frame"] / 7.5)
        assert row["end"] == pytest.approx(row["end_frame"] / 7.5)
        file = pq.ParquetFile(packed / row["file"])
        groups = -(-(row["end_frame"] - row["start_frame"]) // GROUP_ROWS)
        part = file.read_row_groups(list(range(row["row_group"], row["row_group"] + groups)))
        assert part["frame_index"].to_pylist() == list(range(row["start_frame"], row["end_frame"]))
        assert set(part["video_id"].to_pylist()) == {row["video_id"]}
        assert 0 <= row["activity"] <= 1
        assert row["confidence"] == pytest.approx(part["confidence"].to_numpy().mean())


def test_a_packed_file_has_the_schema_of_shards_and_says_where_it_comes_from(packed: Path) -> None:
    (name,) = index_of(packed).bytes_of
    schema = pq.read_schema(packed / name)
    assert schema.remove_metadata() == SHARD_SCHEMA
    videos = json.loads(schema.metadata[b"videos"])
    assert videos["two"].items() >= (METADATA | {"game": "hollow_knight"}).items()
    statistics = json.loads(pq.read_metadata(packed / name).metadata[b"statistics"])
    assert statistics["frames"] == 2 * (3 * CHUNK - CHUNK // 3)
    assert statistics["buttons"]["south"]["known"] == statistics["frames"]
    assert statistics["buttons"]["south"]["held"] == sum(all_rows(packed)["south"].to_pylist())


def test_packing_loses_and_repeats_nothing(tmp_path: Path) -> None:
    for video in ("a", "b", "c", "d"):
        write_shard(tmp_path, video, (0, 1, 2, 4))
    done = pack_small(tmp_path)
    assert all_rows(tmp_path).equals(shard_rows(tmp_path))
    sizes = index_of(tmp_path).bytes_of.values()
    assert len(sizes) == done.files == done.written > 1 and done.chunks == 16
    assert all(MIN <= size <= MIN + 1.1 * TARGET for size in sizes)


def test_packing_again_writes_nothing(packed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in packed.rglob("*") if path.is_file()}
    assert pack(open_store(str(packed))).written == 0
    assert {path: path.stat().st_mtime_ns for path in packed.rglob("*") if path.is_file()} == before


def test_after_a_new_video_full_files_stay_as_they_are(tmp_path: Path) -> None:
    for video in ("b", "d"):
        write_shard(tmp_path, video, range(5))
    pack_small(tmp_path)
    before = set(index_of(tmp_path).bytes_of)
    write_shard(tmp_path, "c", range(5))
    again = pack_small(tmp_path)
    full = {name for name in before if (tmp_path / name).stat().st_size >= MIN}
    assert full and full <= set(index_of(tmp_path).bytes_of) and again.written < again.files
    assert all_rows(tmp_path).equals(shard_rows(tmp_path))


def test_what_an_older_index_names_stays_for_its_readers_until_the_next_run(tmp_path: Path) -> None:
    write_shard(tmp_path, "a")
    pack(open_store(str(tmp_path)))
    reader = FrameActionDataset(tmp_path)
    write_shard(tmp_path, "b")
    pack(open_store(str(tmp_path)))
    assert number_of(reader[7]["frame"].numpy()) == 7
    assert len(list((tmp_path / "packed").iterdir())) == 2
    pack(open_store(str(tmp_path)))
    assert {f"packed/{path.name}" for path in (tmp_path / "packed").iterdir()} == set(index_of(tmp_path).bytes_of)


@pytest.mark.parametrize("change", ["another", "gone"])
def test_a_video_that_changed_or_went_leaves_no_old_row(tmp_path: Path, change: str) -> None:
    for video in ("a", "b", "c"):
        write_shard(tmp_path, video, range(4))
    pack_small(tmp_path)
    if change == "gone":
        (tmp_path / "shards" / "b.parquet").unlink()
    else:
        write_shard(tmp_path, "b", (0, 2), shown=("south",))
    pack_small(tmp_path)
    assert all_rows(tmp_path).equals(shard_rows(tmp_path))


KILLED = """
import os, signal, sys
from pathlib import Path
from padtrace.dataset import store
from padtrace.dataset.pack import pack

calls = 0
real = os.replace
def counted(*args):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
os.replace = counted
pack(store.open_store(sys.argv[1]), min_bytes=int(sys.argv[3]), target_bytes=int(sys.argv[4]))
"""


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_killed_anywhere_a_rerun_finishes(tmp_path: Path, nth: int) -> None:
    for video in ("a", "b"):
        write_shard(tmp_path, video, range(5))
    arguments = [str(tmp_path), str(nth), str(MIN), str(TARGET)]
    process = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert process.returncode == -signal.SIGKILL
    again = pack_small(tmp_path)
    assert again.written == max(again.files - nth + 1, 0)  # complete files are used
    assert all_rows(tmp_path).equals(shard_rows(tmp_path))
    pack_small(tmp_path)
    assert len([path for path in (tmp_path / "packed").iterdir() if path.suffix == ".parquet"]) == again.files


def frames_of(where: Path | str, skip_bad: bool = False) -> list[int]:
    """The frames of one epoch of the stream."""
    stream = FrameActionStream(where, batch_size=32, skip_bad=skip_bad)
    return [frame for batch in stream for frame in batch["frame_index"].tolist()]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def make_foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def make_future(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"99"}), path)


def damage(path: Path) -> None:
    """The footer is whole, the labels are not."""
    file = pq.ParquetFile(path)
    column = file.metadata.row_group(0).column(SHARD_SCHEMA.get_field_index("timestamp"))
    with path.open("r+b") as stream:
        stream.seek(column.dictionary_page_offset or column.data_page_offset)
        stream.write(b"\xff" * 40)


BAD = {
    truncate: "whole Parquet file",
    make_foreign: "no column video_id",
    make_future: "schema version 1 in .*found 99",
    damage: "whole Parquet file",
}


@pytest.mark.parametrize("harm", BAD, ids=lambda harm: harm.__name__)
def test_a_bad_shard_is_named_and_the_rest_goes_on(tmp_path: Path, harm: object) -> None:
    for video in ("bad", "good"):
        write_shard(tmp_path, video)
    assert callable(harm)
    harm(tmp_path / "shards" / "bad.parquet")
    with pytest.raises(SourceError, match=BAD[harm]) as refused:  # type: ignore[index]
        pack(open_store(str(tmp_path)))
    assert "shards/bad.parquet" in str(refused.value)
    told: list[SourceError] = []
    pack(open_store(str(tmp_path)), told.append)
    assert len(told) == 1 and "shards/bad.parquet" in str(told[0])
    assert {chunk.video_id for chunk in index_of(tmp_path).chunks} == {"good"}


def two_files(folder: Path) -> tuple[Path, str]:
    """A dataset in two packed files: one of them, and the video in the other."""
    for video in ("a", "b"):
        write_shard(folder, video)
    pack(open_store(str(folder)), min_bytes=1, target_bytes=1_000)
    return folder / index_of(folder).chunks[0].file, "b"


@pytest.mark.parametrize(
    ("harm", "said"),
    [(truncate, "bytes at .* as the index says"), (Path.unlink, "found no file"), (make_foreign, "as the index says")],
)
def test_a_packed_file_that_is_gone_or_cut_short_is_named_and_can_be_skipped(
    tmp_path: Path, harm: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, _ = two_files(tmp_path)
    whole = len(FrameActionDataset(tmp_path))
    assert callable(harm)
    harm(bad)
    with pytest.raises(SourceError, match=said) as refused:
        FrameActionDataset(tmp_path)
    assert bad.name in str(refused.value)
    left = FrameActionDataset(tmp_path, skip_bad=True)
    assert 0 < len(left) < whole and len(frames_of(tmp_path, skip_bad=True)) == len(left)
    assert bad.name in caplog.text


def test_damage_inside_a_packed_file_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    bad, _ = two_files(tmp_path)
    whole = len(FrameActionDataset(tmp_path))
    damage(bad)
    with pytest.raises(SourceError, match=bad.name):
        FrameActionDataset(tmp_path)[0]
    with pytest.raises(SourceError, match=bad.name):
        frames_of(tmp_path)
    assert 0 < len(frames_of(tmp_path, skip_bad=True)) < whole


def test_an_index_that_is_none_is_named(packed: Path) -> None:
    for harm in (make_future, truncate, make_foreign):
        harm(packed / "index.parquet")
        with pytest.raises(SourceError, match=r"index\.parquet"):
            FrameActionDataset(packed)


def test_a_dataset_in_a_bucket_is_packed_and_loaded(tmp_path: Path, bucket: str) -> None:
    where = f"{bucket}/data"
    store = open_store(where)
    for video in ("a", "b"):
        store.upload(write_shard(tmp_path, video), f"shards/{video}.parquet")
    store.put("marks/b.json", b'{"schema_version": 1, "spans": [{"start_frame": 0, "end_frame": 9999}]}')
    assert pack(store).files == 1
    dataset = FrameActionDataset(where)
    assert {dataset[i]["video_id"] for i in (0, len(dataset) - 1)} == {"a"}
    assert number_of(dataset[5]["frame"].numpy()) == 5
    assert sorted(frames_of(where)) == [int(sample["frame_index"]) for sample in dataset]


def test_workers_read_a_bucket_too(tmp_path: Path, bucket: str) -> None:
    from torch.utils.data import DataLoader

    store = open_store(bucket)
    store.upload(write_shard(tmp_path, "a"), "shards/a.parquet")
    pack(store)
    stream = FrameActionStream(bucket, batch_size=32)
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    seen = [frame for batch in loader for frame in batch["frame_index"].tolist()]
    assert len(seen) == len(set(seen)) == stream.samples


def test_a_folder_without_shards_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected shards in"):
        pack(open_store(str(tmp_path / "nothing")))
    assert list(tmp_path.iterdir()) == []
