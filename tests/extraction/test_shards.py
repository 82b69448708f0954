"""What is written has the declared schema, in every file, and reads back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.shards import (
    ACTIONS_SCHEMA,
    REJECTS_SCHEMA,
    SHARD_SCHEMA,
    Labels,
    append_rows,
    join_blobs,
    make_actions,
    make_rejects,
    make_shard,
    parquet_writer,
)
from templates.controls import BUTTONS, CONTROLS

STICK = pa.list_(pa.float32(), 2)


def some_labels(count: int = 6) -> Labels:
    """Every control known in the even frames, all but south and the right stick in the odd ones."""
    rng = np.random.default_rng(0)
    known = np.ones((count, 19), bool)
    known[1::2, CONTROLS.index("south")] = known[1::2, CONTROLS.index("j_right")] = False
    buttons = rng.random((count, 17)) < 0.5
    sticks = rng.uniform(-1, 1, (count, 2, 2)).astype(np.float32)
    sticks[~known[:, 17:]] = np.nan
    return Labels(
        np.arange(count) + 100,
        np.linspace(5, 6, count),
        np.ones(count, bool),
        known,
        buttons & known[:, :17],
        sticks,
        rng.random(count).astype(np.float32),
    )


def test_the_schemas_are_the_ones_that_are_promised() -> None:
    labels = [(name, pa.bool_()) for name in BUTTONS] + [("j_left", STICK), ("j_right", STICK)]
    assert (
        pa.schema(
            [
                ("frame_index", pa.int64()),
                ("timestamp", pa.float64()),
                ("overlay", pa.bool_()),
                *labels,
                ("confidence", pa.float32()),
            ]
        )
        == ACTIONS_SCHEMA
    )
    assert (
        pa.schema(
            [
                ("video_id", pa.string()),
                ("chunk_index", pa.int64()),
                ("frame_index", pa.int64()),
                ("timestamp", pa.float64()),
                ("frame", pa.binary()),
                *labels,
                ("confidence", pa.float32()),
                ("known", pa.list_(pa.string())),
            ]
        )
        == SHARD_SCHEMA
    )


def test_labels_read_back_as_they_were_and_unknown_is_null(tmp_path: Path) -> None:
    labels = some_labels()
    with parquet_writer(tmp_path / "a.parquet", ACTIONS_SCHEMA, {"source": "x"}) as writer:
        append_rows(writer, make_actions(labels))
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.remove_metadata() == ACTIONS_SCHEMA
    assert table["frame_index"].to_pylist() == labels.frame_index.tolist()
    assert table["timestamp"].to_pylist() == labels.pts_s.tolist()
    for i, name in enumerate(BUTTONS):
        expected = [
            held if known else None
            for held, known in zip(labels.buttons[:, i].tolist(), labels.known[:, i].tolist(), strict=True)
        ]
        assert table[name].to_pylist() == expected
    assert table["j_left"].to_pylist() == labels.sticks[:, 0].tolist()
    assert [place is None for place in table["j_right"].to_pylist()] == [False, True] * 3
    assert table["j_right"].to_pylist()[::2] == labels.sticks[::2, 1].tolist()


def test_a_shard_keeps_frames_and_the_names_of_what_is_known(tmp_path: Path) -> None:
    labels = some_labels()
    jpegs = [bytes([i]) * i for i in range(6)]  # an empty one among them
    frames = join_blobs(b"".join(jpegs), np.array([len(jpeg) for jpeg in jpegs]))
    with parquet_writer(tmp_path / "s.parquet", SHARD_SCHEMA, {"game": ""}) as writer:
        append_rows(writer, make_shard("v", 3, labels, frames))
        append_rows(writer, make_shard("v", 4, labels, None))
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert file.num_row_groups == 2  # one for each chunk
    table = file.read()
    assert table.schema.remove_metadata() == SHARD_SCHEMA
    assert table["chunk_index"].to_pylist() == [3] * 6 + [4] * 6
    assert table["frame"].to_pylist() == jpegs + [None] * 6
    assert table["known"].to_pylist()[0] == list(CONTROLS)
    assert table["known"].to_pylist()[1] == [name for name in CONTROLS if name not in ("south", "j_right")]


def test_a_file_says_where_it_comes_from(tmp_path: Path) -> None:
    described = {"source": "run ü.mp4", "schema_version": "1"}
    with parquet_writer(tmp_path / "a.parquet", ACTIONS_SCHEMA, described) as writer:
        append_rows(writer, make_actions(some_labels()))
    found = pq.read_schema(tmp_path / "a.parquet").metadata
    assert {key.decode(): value.decode() for key, value in found.items()} == described


def test_a_file_without_rows_has_the_whole_schema(tmp_path: Path) -> None:
    with parquet_writer(tmp_path / "a.parquet", ACTIONS_SCHEMA, {}):
        pass
    table = pq.read_table(tmp_path / "a.parquet")
    assert (len(table), table.schema.remove_metadata()) == (0, ACTIONS_SCHEMA)


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with parquet_writer(tmp_path / name, ACTIONS_SCHEMA, {"source": "x"}) as writer:
            append_rows(writer, make_actions(some_labels()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_reject_of_a_whole_video_has_no_chunk() -> None:
    row = dict.fromkeys(REJECTS_SCHEMA.names) | {"video_id": "v", "reason": "no_overlay", "detail": "none"}
    table = make_rejects([row])
    assert table.schema == REJECTS_SCHEMA
    assert table["chunk_index"].to_pylist() == [None]


def test_labels_of_uneven_length_are_refused() -> None:
    whole = some_labels()
    with pytest.raises(ValueError, match=r"Labels\.known must have shape \(6, 19\)"):
        Labels(
            whole.frame_index, whole.pts_s, whole.covered, whole.known[:3], whole.buttons, whole.sticks,
            whole.confidence,
        )  # fmt: skip
