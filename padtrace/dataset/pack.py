"""The shards of single videos -> files of 100 to 500 MB, and the index of their chunks.

    DIR/shards/<video_id>.parquet   as ``extract`` wrote them; they stay
    DIR/packed/<digest>.parquet     whole chunks of one or more videos, named by what is in them
    DIR/index.parquet               which chunk lies where; written last, and only what it names counts

Run again after more videos, only these are packed: a full file stays as long as the shards that it was made of are
what they were; the rest is put together anew. After a kill, the files that are complete are found and used. A file
that the index no longer names stays until the next run, for those who still read it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extraction.filters import find_active
from extraction.records import SourceError
from extraction.shards import SCHEMA_VERSION, SHARD_SCHEMA, append_rows, parquet_writer
from padtrace.dataset.records import (
    GROUP_ROWS,
    LABEL_COLUMNS,
    PACKED,
    Chunk,
    Index,
    Rows,
    open_shard,
    read_index,
    unreadable,
)
from padtrace.dataset.store import Store
from templates.controls import BUTTONS

MIN_BYTES: Final = 100 * 2**20
TARGET_BYTES: Final = 300 * 2**20  # a file and what is too little for one of its own stay below 500 MB
SHARDS: Final = "shards"
LARGEST_GAP: Final = 1.5  # frames; a longer step in time between chunks is a gap


@dataclass(frozen=True, slots=True)
class Packing:
    """What came of packing. written: files that are new. chunks: all that the index names."""

    files: int
    written: int
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Source:
    """The shard of one video. digest: of its content. chunks: (index, row groups, bytes), in order."""

    video_id: str
    digest: str
    about: dict[str, str]
    chunks: tuple[tuple[int, tuple[int, ...], int], ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One chunk of a source."""

    source: _Source
    chunk_index: int
    row_groups: tuple[int, ...]
    bytes: int


def pack(
    store: Store,
    on_bad: Callable[[SourceError], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
    *,
    min_bytes: int = MIN_BYTES,
    target_bytes: int = TARGET_BYTES,
) -> Packing:
    """Pack the shards in ``store`` and write the index. One at a time in a store.

    on_bad: hears of a shard that cannot be read and lets the rest go on; without, it is raised as SourceError.
    on_progress: hears the part of the files that are done, in [0, 1].
    """
    damaged: set[str] = set()
    while True:
        try:
            return _pack(store, damaged, on_bad, on_progress, min_bytes, target_bytes)
        except _Damaged as error:
            if on_bad is None:
                raise
            on_bad(error)
            damaged.add(error.video_id)


class _Damaged(SourceError):
    """A shard whose rows cannot be read, which only reading them tells."""

    def __init__(self, error: SourceError, video_id: str) -> None:
        super().__init__(str(error))
        self.video_id = video_id


def _pack(
    store: Store,
    damaged: set[str],
    on_bad: Callable[[SourceError], None] | None,
    on_progress: Callable[[float], None] | None,
    min_bytes: int,
    target_bytes: int,
) -> Packing:
    sources = list(_read_sources(store, damaged, on_bad))
    before = read_index(store)
    if not sources and before is None:
        raise SourceError(
            f"expected shards in {store.link(SHARDS)}, found none that can be packed; run `extract` first"
        )
    before = before or Index((), {})
    there = store.sizes(PACKED)
    whole = {name for name, size in there.items() if before.bytes_of.get(f"{PACKED}/{name}", size) == size}
    digests = {source.video_id: source.digest for source in sources}
    kept = _keep_full(store, before, digests, whole, min_bytes)
    done = {(chunk.video_id, chunk.chunk_index) for chunk in kept}
    pieces = [_Piece(source, *chunk) for source in sources for chunk in source.chunks]
    missing = [piece for piece in pieces if (piece.source.video_id, piece.chunk_index) not in done]
    groups = _group(missing, min_bytes, target_bytes)
    chunks, written = list(kept), 0
    for i, group in enumerate(groups):
        name = _name_of(group)
        if name not in whole:
            _write(store, name, group)
            written += 1
        chunks += _describe(store, f"{PACKED}/{name}")
        if on_progress is not None:
            on_progress((i + 1) / len(groups))
    index = _make_index(store, chunks)
    if index != before:
        index.write(store)
    named = {file.removeprefix(f"{PACKED}/") for file in (*before.bytes_of, *index.bytes_of)}
    for name in set(there) - named:
        store.remove(f"{PACKED}/{name}")
    seconds = sum(chunk.end - chunk.start for chunk in index.chunks)
    return Packing(len(index.bytes_of), written, len(index.chunks), seconds)


def _read_sources(store: Store, damaged: set[str], on_bad: Callable[[SourceError], None] | None) -> Iterator[_Source]:
    """The shards that can be read; of the others ``damaged`` holds the ids, so that each is told once."""
    for name in store.names(SHARDS):
        video_id = name.removesuffix(".parquet")
        if video_id == name or video_id in damaged:
            continue
        try:
            with open_shard(store, f"{SHARDS}/{name}") as file:
                yield _describe_source(video_id, file, store.link(f"{SHARDS}/{name}"))
        except SourceError as error:
            if on_bad is None:
                raise
            on_bad(error)
            damaged.add(video_id)


def _describe_source(video_id: str, file: pq.ParquetFile, where: str) -> _Source:
    """What a shard holds, from its footer alone."""
    about = file.metadata
    described = json.dumps([about.to_dict(), sorted(map(str, about.metadata.items()))], sort_keys=True, default=str)
    column = SHARD_SCHEMA.get_field_index("chunk_index")
    chunks: dict[int, list[int]] = {}
    for i in range(about.num_row_groups):
        statistics = about.row_group(i).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.min != statistics.max:
            raise SourceError(f"expected row groups of one chunk each in {where}, found one of several; take it away")
        chunks.setdefault(statistics.min, []).append(i)
    return _Source(
        video_id,
        hashlib.sha256(described.encode()).hexdigest()[:16],
        {key.decode(): value.decode() for key, value in about.metadata.items() if key != b"ARROW:schema"},
        tuple(
            (index, tuple(groups), sum(_stored_bytes(about.row_group(i)) for i in groups))
            for index, groups in sorted(chunks.items())
        ),
    )


def _stored_bytes(group: pq.RowGroupMetaData) -> int:
    return sum(group.column(i).total_compressed_size for i in range(group.num_columns))


def _keep_full(store: Store, index: Index, digests: dict[str, str], whole: set[str], min_bytes: int) -> list[Chunk]:
    """The chunks of files that stay: full, whole, and made of shards as they are now."""
    stay: set[str] = set()
    for file, size in index.bytes_of.items():
        if size >= min_bytes and file.removeprefix(f"{PACKED}/") in whole:
            with open_shard(store, file) as packed:
                made_of = json.loads(packed.metadata.metadata[b"videos"])
            if all(digests.get(video_id) == about["digest"] for video_id, about in made_of.items()):
                stay.add(file)
    return [chunk for chunk in index.chunks if chunk.file in stay]


def _group(pieces: Sequence[_Piece], min_bytes: int, target_bytes: int) -> list[list[_Piece]]:
    """Pieces in order, file by file; too little for a file at the end joins the file before."""
    groups: list[list[_Piece]] = []
    size = target_bytes
    for piece in pieces:
        if size + piece.bytes > target_bytes:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += piece.bytes
    if len(groups) > 1 and size < min_bytes:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _name_of(group: Sequence[_Piece]) -> str:
    content = [[piece.source.video_id, piece.source.digest, piece.chunk_index] for piece in group]
    said = json.dumps([SCHEMA_VERSION, GROUP_ROWS, content])
    return f"{hashlib.sha256(said.encode()).hexdigest()[:16]}.parquet"


def _write(store: Store, name: str, group: Sequence[_Piece]) -> None:
    """Write one packed file; SourceError where a shard turns out damaged."""
    sources = {piece.source.video_id: piece.source for piece in group}
    statistics = _Statistics()
    with tempfile.TemporaryDirectory(prefix="padtrace-") as temporary:
        partial = Path(temporary) / name
        videos = {id: {"digest": source.digest, **source.about} for id, source in sources.items()}
        metadata = {"schema_version": SCHEMA_VERSION, "videos": json.dumps(videos)}
        with parquet_writer(partial, SHARD_SCHEMA, metadata) as writer:
            for video_id in sources:
                shard = f"{SHARDS}/{video_id}.parquet"
                with open_shard(store, shard) as file:
                    for piece in (piece for piece in group if piece.source.video_id == video_id):
                        rows = _read_chunk(file, piece, store.link(shard))
                        statistics.add(rows)
                        for start in range(0, len(rows), GROUP_ROWS):
                            append_rows(writer, rows.slice(start, GROUP_ROWS))
            writer.add_key_value_metadata({"statistics": json.dumps(statistics.as_json())})
        store.upload(partial, f"{PACKED}/{name}")


def _read_chunk(file: pq.ParquetFile, piece: _Piece, where: str) -> pa.Table:
    """All rows of a chunk, checked to be consecutive frames."""
    try:
        rows = file.read_row_groups(list(piece.row_groups))
    except (pa.ArrowException, OSError) as error:
        raise _Damaged(unreadable(where, error), piece.source.video_id) from error
    if not (np.diff(rows["frame_index"].to_numpy()) == 1).all():
        said = f"expected consecutive frames in chunk {piece.chunk_index} of {where}, found a gap; extract it again"
        raise _Damaged(SourceError(said), piece.source.video_id)
    return rows


class _Statistics:
    """Counts over the rows of a file."""

    def __init__(self) -> None:
        self._frames = 0
        self._bytes = 0
        self._known = np.zeros(len(BUTTONS), np.int64)
        self._held = np.zeros(len(BUTTONS), np.int64)

    def add(self, table: pa.Table) -> None:
        rows = Rows.of_table(table)
        self._frames += len(rows)
        self._bytes += table["frame"].nbytes
        self._known += rows.known[:, : len(BUTTONS)].sum(0)
        self._held += rows.buttons.sum(0)

    def as_json(self) -> dict[str, Any]:
        counts = {name: {"known": int(self._known[i]), "held": int(self._held[i])} for i, name in enumerate(BUTTONS)}
        return {"frames": self._frames, "picture_bytes": self._bytes, "buttons": counts}


def _describe(store: Store, name: str) -> Iterator[Chunk]:
    """The chunks of a packed file, from its labels."""
    with open_shard(store, name) as file:
        videos = json.loads(file.metadata.metadata[b"videos"])
        try:
            table = file.read(columns=["video_id", "chunk_index", *LABEL_COLUMNS])
        except (pa.ArrowException, OSError) as error:
            raise unreadable(store.link(name), error) from error
    groups = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    ids, indices = table["video_id"].to_numpy(), table["chunk_index"].to_numpy()
    starts = np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (indices[1:] != indices[:-1])])
    for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
        rows = Rows.of_table(table.slice(start, stop - start))
        first, last = float(rows.timestamp[0]), float(rows.timestamp[-1])
        rate = (len(rows) - 1) / (last - first) if last > first else 0.0
        yield Chunk(
            video_id=str(ids[start]),
            chunk_index=int(indices[start]),
            file=name,
            row_group=int(np.searchsorted(groups, start)),
            start_frame=int(rows.frame_index[0]),
            end_frame=int(rows.frame_index[-1]) + 1,
            start=first,
            end=last + (1 / rate if rate else 0.0),
            rate=rate,
            contiguous=False,
            game=videos[str(ids[start])].get("game", ""),
            family=videos[str(ids[start])].get("family", ""),
            activity=float(find_active(rows.buttons, rows.sticks).mean()),
            confidence=float(rows.confidence.mean()),
        )


def _make_index(store: Store, chunks: Sequence[Chunk]) -> Index:
    """The chunks in order, each with a word on whether it goes on from the one before."""
    ordered = sorted(chunks, key=lambda chunk: (chunk.video_id, chunk.chunk_index))
    joined = [
        replace(chunk, contiguous=before is not None and _goes_on(before, chunk))
        for before, chunk in zip([None, *ordered], ordered, strict=False)
    ]
    sizes = store.sizes(PACKED)
    files = sorted({chunk.file for chunk in joined})
    return Index(tuple(joined), {file: sizes[file.removeprefix(f"{PACKED}/")] for file in files})


def _goes_on(before: Chunk, chunk: Chunk) -> bool:
    same = before.video_id == chunk.video_id and before.end_frame == chunk.start_frame
    return same and abs(chunk.start - before.end) * max(chunk.rate, before.rate) <= LARGEST_GAP
