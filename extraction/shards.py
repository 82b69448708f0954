"""Labels and frames <-> Parquet. Every schema is written down here, so that no file drifts from the others.

Nothing that changes from run to run goes into a file: the same input gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from templates.controls import BUTTONS, CONTROLS, STICKS

SCHEMA_VERSION: Final = "1"
FRAME_SIDE: Final = 256  # of a frame, in pixels

_STICK: Final = pa.list_(pa.float32(), 2)
_LABELS: Final = [*((name, pa.bool_()) for name in BUTTONS), *((name, _STICK) for name in STICKS)]

# Every decoded frame of one video, before any filter.
ACTIONS_SCHEMA: Final = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("timestamp", pa.float64()),
        ("overlay", pa.bool_()),
        *_LABELS,
        ("confidence", pa.float32()),
    ]
)
# One row per frame of a kept chunk. ``frame`` is null where only labels were asked for.
SHARD_SCHEMA: Final = pa.schema(
    [
        ("video_id", pa.string()),
        ("chunk_index", pa.int64()),
        ("frame_index", pa.int64()),
        ("timestamp", pa.float64()),
        ("frame", pa.binary()),
        *_LABELS,
        ("confidence", pa.float32()),
        ("known", pa.list_(pa.string())),
    ]
)
# One row per dropped chunk, or a single one with a null ``chunk_index`` for a video that is dropped whole.
REJECTS_SCHEMA: Final = pa.schema(
    [
        ("video_id", pa.string()),
        ("chunk_index", pa.int64()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("frames", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labels of T frames.

    frame_index: (T,) int64. pts_s: (T,) float64. covered: (T,) bool, whether a placement covers the frame.
    known: (T, 19) bool in the order of ``CONTROLS``, whether the overlay of that frame shows the control.
    buttons: (T, 17) bool, False where unknown. sticks: (T, 2, 2) float32 in [-1, 1], NaN where unknown.
    confidence: (T,) float32 in [0, 1].
    """

    frame_index: np.ndarray
    pts_s: np.ndarray
    covered: np.ndarray
    known: np.ndarray
    buttons: np.ndarray
    sticks: np.ndarray
    confidence: np.ndarray

    def __post_init__(self) -> None:
        length = len(self.frame_index)
        shapes: dict[str, tuple[int, ...]] = {
            "pts_s": (),
            "covered": (),
            "known": (len(CONTROLS),),
            "buttons": (len(BUTTONS),),
            "sticks": (2, 2),
            "confidence": (),
        }
        for name, tail in shapes.items():
            found = getattr(self, name).shape
            if found != (length, *tail):
                raise ValueError(f"Labels.{name} must have shape {(length, *tail)}, found {found}")

    def __len__(self) -> int:
        return len(self.frame_index)

    def __getitem__(self, rows: slice) -> Labels:
        return Labels(
            self.frame_index[rows],
            self.pts_s[rows],
            self.covered[rows],
            self.known[rows],
            self.buttons[rows],
            self.sticks[rows],
            self.confidence[rows],
        )


def make_actions(labels: Labels) -> pa.Table:
    """Rows of ``actions.parquet``."""
    columns = {
        "frame_index": pa.array(labels.frame_index, pa.int64()),
        "timestamp": pa.array(labels.pts_s, pa.float64()),
        "overlay": pa.array(labels.covered, pa.bool_()),
        **_label_columns(labels),
    }
    return pa.table(columns, schema=ACTIONS_SCHEMA)


def make_shard(video_id: str, chunk_index: int, labels: Labels, frames: pa.Array | None) -> pa.Table:
    """Rows of a kept chunk. ``frames``: (T,) binary JPEGs, or None for labels only."""
    length = len(labels)
    columns = {
        "video_id": pa.repeat(video_id, length),
        "chunk_index": pa.repeat(pa.scalar(chunk_index, pa.int64()), length),
        "frame_index": pa.array(labels.frame_index, pa.int64()),
        "timestamp": pa.array(labels.pts_s, pa.float64()),
        "frame": pa.nulls(length, pa.binary()) if frames is None else frames,
        **_label_columns(labels),
        "known": _names_of(labels.known),
    }
    return pa.table(columns, schema=SHARD_SCHEMA)


def make_rejects(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of the rejects; each has every column of ``REJECTS_SCHEMA``."""
    return pa.Table.from_pylist(list(rows), schema=REJECTS_SCHEMA)


def join_blobs(data: bytes, lengths: np.ndarray) -> pa.Array:
    """Concatenated byte strings as a binary array, without copying: ``data`` cut into ``lengths``."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema, metadata: dict[str, str]) -> Iterator[pq.ParquetWriter]:
    """A writer whose file is whole and on the disk when the block ends. ``path`` is a temporary name."""
    described = schema.with_metadata(metadata)
    # JPEGs repeat nothing: dictionaries, statistics and compression of them would only cost time and space.
    plain = [name for name in schema.names if name != "frame"]
    compression = {_leaf(field): "none" if field.name == "frame" else "zstd" for field in schema}
    with path.open("wb") as file:
        with pq.ParquetWriter(
            file, described, compression=compression, use_dictionary=["video_id", "known"], write_statistics=plain
        ) as writer:
            yield writer
        file.flush()
        os.fsync(file.fileno())


def append_rows(writer: pq.ParquetWriter, rows: pa.Table) -> None:
    """Write rows as one row group."""
    if len(rows):
        writer.write_table(rows.replace_schema_metadata(writer.schema.metadata), row_group_size=len(rows))


def _leaf(field: pa.Field) -> str:
    """What Parquet calls the values of a column."""
    return f"{field.name}.list.element" if field.type.num_fields else field.name


def _label_columns(labels: Labels) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {}
    for i, name in enumerate(BUTTONS):
        columns[name] = pa.array(labels.buttons[:, i], pa.bool_(), mask=~labels.known[:, i])
    for i, name in enumerate(STICKS):
        places = pa.array(labels.sticks[:, i].astype(np.float32).reshape(-1))
        unknown = ~labels.known[:, len(BUTTONS) + i]
        columns[name] = pa.FixedSizeListArray.from_arrays(places, type=_STICK, mask=pa.array(unknown))
    columns["confidence"] = pa.array(labels.confidence, pa.float32())
    return columns


def _names_of(known: np.ndarray) -> pa.Array:
    """(T, 19) bool -> a list of control names per row."""
    offsets = np.concatenate([[0], known.sum(1).cumsum()]).astype(np.int32)
    names = pa.array(CONTROLS, pa.string()).take(pa.array(np.nonzero(known)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets), names)
