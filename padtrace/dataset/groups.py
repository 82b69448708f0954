"""The row groups of a packed dataset: which there are, how many samples each gives, and what is in them.

A row group is what can be read by itself. ``loader`` says in which order they are read, and makes batches of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from extraction.records import SourceError
from padtrace.dataset.marks import MARKS_FOLDER, Span, parse_marks
from padtrace.dataset.records import GROUP_ROWS, LABEL_COLUMNS, PACKED, Chunk, Rows, open_shard, read_index, unreadable
from padtrace.dataset.samples import SampleOptions, count_samples, find_reaches, find_samples, goes_on
from padtrace.dataset.store import Store, open_store

log = logging.getLogger(__name__)

OPEN_FILES: Final = 64  # for each thread
CACHED_GROUPS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a dataset holds for these options. Goes to other processes.

    reaches: (C,) see ``find_reaches``. counts: (G,) samples in each row group of all chunks in order. chunk_of: (G,)
    the chunk of each. first_of: (C,) the first row group of each chunk.
    """

    where: str
    options: SampleOptions
    skip_bad: bool
    chunks: tuple[Chunk, ...]
    reaches: np.ndarray
    spans: Mapping[str, Sequence[Span]]
    counts: np.ndarray
    chunk_of: np.ndarray
    first_of: np.ndarray

    def fingerprint(self, *more: object) -> str:
        """A word that another dataset, other marks or options would change."""
        said = repr((self.options, more, sorted({chunk.file for chunk in self.chunks}), len(self.chunks)))
        return hashlib.sha256(said.encode() + self.counts.tobytes()).hexdigest()[:16]


def make_plan(where: str, options: SampleOptions, skip_bad: bool) -> Plan:
    """What the dataset at a place holds; SourceError as for ``FrameActionDataset``."""
    store = open_store(where)
    index = read_index(store)
    if index is None:
        raise SourceError(f"expected {store.link('index.parquet')}, found nothing; run `padtrace pack {where}` first")
    bad = _find_bad_files(store, index.bytes_of, skip_bad)
    wanted = [chunk for chunk in index.chunks if options.games is None or chunk.game in options.games]
    chunks = tuple(chunk for chunk in wanted if chunk.file not in bad)
    needed = options.action_shift + options.horizon
    reaches = find_reaches(chunks, needed)
    spans = {
        name.removesuffix(".json"): parse_marks(data, store.link(f"{MARKS_FOLDER}/{name}"))
        for name, data in store.read_all(MARKS_FOLDER).items()
        if name.endswith(".json")
    }
    reader = _Reader(store, chunks, reaches)
    counts = count_samples(chunks, reaches, spans, options, lambda i: reader.rows(i, 0, int(reaches[i])))
    groups = np.array([len(each) for each in counts], np.int64)
    return Plan(
        where,
        options,
        skip_bad,
        chunks,
        reaches,
        spans,
        np.concatenate(counts) if counts else np.zeros(0, np.int64),
        np.repeat(np.arange(len(chunks)), groups),
        np.cumsum(groups) - groups,
    )


def _find_bad_files(store: Store, bytes_of: Mapping[str, int], skip_bad: bool) -> set[str]:
    """Files of the index that are missing or have another size."""
    sizes = store.sizes(PACKED)
    bad: set[str] = set()
    for file, expected in bytes_of.items():
        found = sizes.get(file.removeprefix(f"{PACKED}/"))
        if found != expected:
            said = (
                f"expected {expected} bytes at {store.link(file)} as the index says, "
                f"found {'no file' if found is None else f'{found} bytes'}; bring it back or run `padtrace pack` again"
            )
            if not skip_bad:
                raise SourceError(said)
            log.warning("left out: %s", said)
            bad.add(file)
    return bad


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A row group that is read. rows: its labels and those that its samples need behind it. at: rows of samples."""

    chunk: Chunk
    rows: Rows
    at: np.ndarray
    jpegs: pa.ChunkedArray


class _Reader:
    """Reads chunks of a dataset. For one thread."""

    def __init__(self, store: Store, chunks: Sequence[Chunk], reaches: np.ndarray) -> None:
        self._store = store
        self._chunks = chunks
        self._reaches = reaches
        self._open = lru_cache(OPEN_FILES)(lambda name: open_shard(store, name))

    def rows(self, i: int, begin: int, stop: int) -> Rows:
        """Labels of rows ``begin`` to ``stop`` - 1, counted from the first of chunk ``i``; they go on in the next."""
        parts: list[Rows] = []
        while True:
            chunk = self._chunks[i]
            if begin < len(chunk):
                groups = range(begin // GROUP_ROWS, -(-min(stop, len(chunk)) // GROUP_ROWS))
                table = self._table(chunk, groups, LABEL_COLUMNS)
                skipped = groups.start * GROUP_ROWS
                parts.append(Rows.of_table(table)[begin - skipped : stop - skipped])
            begin, stop, i = max(begin - len(chunk), 0), stop - len(chunk), i + 1
            if stop <= 0 or i == len(self._chunks) or not goes_on(chunk, self._chunks[i]):
                return Rows.join(parts)

    def jpegs(self, i: int, begin: int) -> pa.ChunkedArray:
        """The pictures of the row group that begins with row ``begin`` of chunk ``i``."""
        return self._table(self._chunks[i], range(begin // GROUP_ROWS, begin // GROUP_ROWS + 1), ("frame",))["frame"]

    def _table(self, chunk: Chunk, groups: range, columns: Sequence[str]) -> pa.Table:
        file: pq.ParquetFile = self._open(chunk.file)
        wanted = [chunk.row_group + group for group in groups]
        try:
            table = file.read_row_groups(wanted, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError, IndexError) as error:
            raise unreadable(self._store.link(chunk.file), error) from error
        expected = min(groups.stop * GROUP_ROWS, len(chunk)) - groups.start * GROUP_ROWS
        if len(table) != expected:
            raise SourceError(
                f"expected {expected} rows of chunk {chunk.chunk_index} of {chunk.video_id} in "
                f"{self._store.link(chunk.file)}, found {len(table)}; run `padtrace pack` again"
            )
        return table


class Readers:
    """A reader for each thread of each process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._local = threading.local()

    def __getstate__(self) -> Plan:
        return self._plan

    def __setstate__(self, plan: Plan) -> None:
        self.__init__(plan)  # type: ignore[misc]

    def here(self) -> GroupReader:
        """That of this thread. After a fork files are opened again."""
        if getattr(self._local, "pid", None) != os.getpid():
            self._local.pid = os.getpid()
            self._local.reader = GroupReader(self._plan)
        reader: GroupReader = self._local.reader
        return reader


class GroupReader:
    """Reads row groups by their number."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reader = _Reader(open_store(plan.where), plan.chunks, plan.reaches)
        self.group = lru_cache(CACHED_GROUPS)(self.read)
        """The same, remembered for a while."""

    def read(self, group: int) -> Group:
        """Row group ``group`` of the plan; SourceError where its file is damaged."""
        plan = self._plan
        i = int(plan.chunk_of[group])
        chunk, begin = plan.chunks[i], (group - int(plan.first_of[i])) * GROUP_ROWS
        stop = min(begin + GROUP_ROWS, len(chunk))
        behind = plan.options.action_shift + plan.options.horizon
        rows = self._reader.rows(i, begin, min(stop + behind, int(plan.reaches[i])))
        at = find_samples(rows, 0, stop - begin, plan.spans.get(chunk.video_id, ()), plan.options)
        if len(at) != plan.counts[group]:
            raise SourceError(
                f"expected {plan.counts[group]} samples in a part of {chunk.file}, found {len(at)}; open it again"
            )
        return Group(chunk, rows, at, self._reader.jpegs(i, begin))
