"""Types that cross the stages of a dataset, and what every file of it must be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extraction.records import SourceError
from extraction.shards import SCHEMA_VERSION, SHARD_SCHEMA
from padtrace.dataset.store import Store
from templates.controls import BUTTONS, CONTROLS, STICKS

INDEX: Final = "index.parquet"
PACKED: Final = "packed"
GROUP_ROWS: Final = 64  # frames of a row group of a packed file: what it costs to read a single one

# One row per chunk, by video and chunk. A chunk's row groups follow one another, ``GROUP_ROWS`` frames each, the
# last one what is left.
INDEX_SCHEMA: Final = pa.schema(
    [
        ("video_id", pa.string()),
        ("chunk_index", pa.int64()),
        ("file", pa.string()),
        ("row_group", pa.int64()),
        ("start_frame", pa.int64()),
        ("end_frame", pa.int64()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("rate", pa.float64()),
        ("contiguous", pa.bool_()),
        ("game", pa.string()),
        ("family", pa.string()),
        ("activity", pa.float64()),
        ("confidence", pa.float64()),
    ]
)

LABEL_COLUMNS: Final = ("frame_index", "timestamp", *CONTROLS, "confidence")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk in a packed file: a row of the index.

    row_group: its first. start_frame, end_frame: half-open span by ``frame_index``. start, end: s, of its first
    frame and behind its last. rate: frames per second, measured. contiguous: whether it begins where the chunk
    before it in this index ends, without a gap in time. family: of the pad. activity: part of its frames that hold
    an action. confidence: their mean.
    """

    video_id: str
    chunk_index: int
    file: str
    row_group: int
    start_frame: int
    end_frame: int
    start: float
    end: float
    rate: float
    contiguous: bool
    game: str
    family: str
    activity: float
    confidence: float

    def __len__(self) -> int:
        return self.end_frame - self.start_frame


@dataclass(frozen=True, slots=True)
class Index:
    """Which chunks there are, and how large the files are that hold them."""

    chunks: tuple[Chunk, ...]
    bytes_of: dict[str, int]

    def write(self, store: Store) -> None:
        """Replace the index in ``store``."""
        columns = {field.name: [getattr(chunk, field.name) for chunk in self.chunks] for field in fields(Chunk)}
        metadata = {"schema_version": SCHEMA_VERSION, "bytes": json.dumps(self.bytes_of, sort_keys=True)}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns, schema=INDEX_SCHEMA.with_metadata(metadata)), sink, compression="zstd")
        store.put(INDEX, sink.getvalue().to_pybytes())


def read_index(store: Store) -> Index | None:
    """The index in ``store``, None where there is none; SourceError for a file that is none."""
    where = store.link(INDEX)
    try:
        with pq.ParquetFile(store.open(INDEX)) as file:
            metadata = check_format(file, INDEX_SCHEMA, where)
            rows = file.read().to_pylist()
            return Index(tuple(Chunk(**row) for row in rows), json.loads(metadata["bytes"]))
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise unreadable(where, error) from error


def open_shard(store: Store, name: str) -> pq.ParquetFile:
    """A file of frame-action rows; SourceError where it is missing, cut short, foreign or from the future."""
    where = store.link(name)
    try:
        opened = store.open(name)
        # From a bucket, what is wanted comes in few large requests; in mapped memory that would only be a copy.
        file = pq.ParquetFile(opened, pre_buffer=not isinstance(opened, pa.MemoryMappedFile))
    except FileNotFoundError as error:
        raise SourceError(
            f"expected a shard at {where}, found nothing; bring it back or run `padtrace pack` again"
        ) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(where, error) from error
    check_format(file, SHARD_SCHEMA, where)
    return file


def check_format(file: pq.ParquetFile, schema: pa.Schema, where: str) -> dict[str, str]:
    """The metadata of a file of this schema and version; SourceError, naming ``where``, for any other."""
    given = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    version = given.get("schema_version")
    if version is None or (version == SCHEMA_VERSION and not file.schema_arrow.equals(schema)):
        raise SourceError(
            f"expected columns of padtrace in {where}, found {_difference(file.schema_arrow, schema)}; take it away"
        )
    if version != SCHEMA_VERSION:
        raise SourceError(
            f"expected schema version {SCHEMA_VERSION} in {where}, found {version[:20]}; "
            "read it with the padtrace that wrote it or a later one"
        )
    return given


def unreadable(where: str, error: Exception) -> SourceError:
    """What to say of a file that is cut short or damaged."""
    said = " ".join(str(error).split())[:200]
    return SourceError(f"expected a whole Parquet file at {where}, found: {said}; bring it back or take it away")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The labels of T rows, without their pictures.

    frame_index: (T,) int64. timestamp: (T,) float64, s. buttons: (T, 17) bool. sticks: (T, 2, 2) float32.
    known: (T, 19) bool in the order of ``CONTROLS``; what is unknown is False or 0. confidence: (T,) float32.
    """

    frame_index: np.ndarray
    timestamp: np.ndarray
    buttons: np.ndarray
    sticks: np.ndarray
    known: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.frame_index)

    def __getitem__(self, rows: slice) -> Rows:
        return Rows(*(getattr(self, field.name)[rows] for field in fields(Rows)))

    @classmethod
    def of_table(cls, table: pa.Table) -> Rows:
        """From the columns ``LABEL_COLUMNS`` of a shard or of ``actions.parquet``."""
        table = table.combine_chunks()  # one call a column, not one for each chunk of it
        sticks = [pc.list_flatten(pc.fill_null(table[name], pa.scalar([0, 0], table[name].type))) for name in STICKS]
        return cls(
            table["frame_index"].to_numpy(),
            table["timestamp"].to_numpy(),
            np.stack([pc.fill_null(table[name], False).to_numpy() for name in BUTTONS], axis=1),
            np.stack([values.to_numpy().reshape(-1, 2) for values in sticks], axis=1),
            np.stack([table[name].is_valid().to_numpy() for name in CONTROLS], axis=1),
            table["confidence"].to_numpy(),
        )

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """One after the other; at least one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    for field in expected:
        if field.name not in found.names:
            return f"no column {field.name}"
        if found.field(field.name).type != field.type:
            return f"{field.name} of type {found.field(field.name).type}, not {field.type}"
    return (
        f"also {', '.join(name for name in found.names if name not in expected.names)}"
        if found != expected
        else ("no schema version in its metadata")
    )
