"""Labels and frames of one video -> its files below the dataset's folder, whole or not at all.

Files are written into a hidden folder of the video and get their final names together, the report last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from extraction.filters import CHUNK_S, Reject, chunk_indices, find_active, judge_chunk
from extraction.records import SourceError
from extraction.shards import (
    ACTIONS_SCHEMA,
    REJECTS_SCHEMA,
    SHARD_SCHEMA,
    Labels,
    append_rows,
    make_actions,
    make_rejects,
    make_shard,
    parquet_writer,
)

ROW_GROUP: Final = 256  # frames of a chunk that are in memory together, some 3 MB of pictures
PARTIAL: Final = ".partial"  # folder of the unfinished files of one video


def write_chunks(
    partial: Path,
    video_id: str,
    labels: Labels,
    metadata: Mapping[str, str],
    active_fraction: float,
    load_frames: Callable[[slice], pa.Array] | None,
    flaw: Reject | None = None,
) -> list[dict[str, Any]]:
    """Judge chunk by chunk; all go to the actions, kept ones to the shard. Returns the report on them.

    load_frames: rows -> their JPEGs, asked for in order; None for labels only. flaw: why no chunk may be kept.
    """
    chunks = chunk_indices(labels.pts_s)
    active = find_active(labels.buttons, labels.sticks)
    spans = runs_of(chunks)
    verdicts = [judge_chunk(active[rows], labels.covered[rows], active_fraction) or flaw for rows in spans]
    with parquet_writer(partial / "actions.parquet", ACTIONS_SCHEMA, dict(metadata)) as actions:
        for rows in spans:
            append_rows(actions, make_actions(labels[rows]))
    kept = [rows for rows, verdict in zip(spans, verdicts, strict=True) if verdict is None]
    if kept:
        with parquet_writer(partial / "shard.parquet", SHARD_SCHEMA, dict(metadata)) as shard:
            for rows in (portion for span in kept for portion in _portions(span)):
                jpegs = load_frames(rows) if load_frames else None
                append_rows(shard, make_shard(video_id, int(chunks[rows.start]), labels[rows], jpegs))
    start_s = float(labels.pts_s[0])
    report = [
        _describe_chunk(int(chunks[rows.start]), start_s, active[rows], verdict)
        for rows, verdict in zip(spans, verdicts, strict=True)
    ]
    rejected = [
        reject_row(video_id, verdict, chunk)
        for chunk, verdict in zip(report, verdicts, strict=True)
        if verdict is not None
    ]
    if rejected:
        write_rejects(partial, rejected, metadata)
    return report


def write_rejects(partial: Path, rows: Sequence[dict[str, Any]], metadata: Mapping[str, str]) -> None:
    """Write the rejects of a video."""
    with parquet_writer(partial / "rejects.parquet", REJECTS_SCHEMA, dict(metadata)) as writer:
        append_rows(writer, make_rejects(rows))


def reject_row(video_id: str, why: Reject, chunk: dict[str, Any] | None = None) -> dict[str, Any]:
    """A row of the rejects: of a chunk as the report describes it, or of the whole video."""
    where = {name: chunk and chunk[name] for name in ("chunk_index", "start", "end", "frames")}
    return {"video_id": video_id, **where, "reason": why.reason, "detail": why.detail}


@contextmanager
def writing_below(out_dir: Path) -> Iterator[None]:
    """What the system says against writing, as a SourceError that names the output and what to do."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"expected to write below {out_dir}, found: {error.strerror or error}; "
            "free space or name another folder, then run it again"
        ) from error


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for unfinished files; it goes when the block ends, as do those of killed runs."""
    partial = folder / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def publish(partial: Path, out_dir: Path, folder: Path, video_id: str, report: dict[str, Any]) -> None:
    """Give finished files their final names. The old report goes first and the new one comes last.

    In between there is no report, so that a kill makes the next run do this video again.
    """
    unfinished = partial / "report.json"
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    (folder / "report.json").unlink(missing_ok=True)
    finals = {
        "actions.parquet": folder / "actions.parquet",
        "shard.parquet": out_dir / "shards" / f"{video_id}.parquet",
        "rejects.parquet": out_dir / "rejects" / f"{video_id}.parquet",
    }
    for name, final in finals.items():
        final.parent.mkdir(parents=True, exist_ok=True)
        if (partial / name).exists():
            os.replace(partial / name, final)
        else:
            final.unlink(missing_ok=True)
    for parent in {final.parent for final in finals.values()}:
        _sync_folder(parent)
    os.replace(unfinished, folder / "report.json")
    _sync_folder(folder)


def runs_of(values: np.ndarray) -> list[slice]:
    """The stretches of equal values in (T,), as slices."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [slice(a, b) for a, b in pairwise(cuts)]


def _portions(rows: slice) -> list[slice]:
    """A stretch in parts of at most ``ROW_GROUP`` rows."""
    return [slice(a, min(a + ROW_GROUP, rows.stop)) for a in range(rows.start, rows.stop, ROW_GROUP)]


def _describe_chunk(index: int, start_s: float, active: np.ndarray, verdict: Reject | None) -> dict[str, Any]:
    return {
        "chunk_index": index,
        "start": round(start_s + index * CHUNK_S, 6),
        "end": round(start_s + (index + 1) * CHUNK_S, 6),
        "frames": len(active),
        "active_frames": int(active.sum()),
        "kept": verdict is None,
        "reason": verdict and verdict.reason,
        "detail": verdict and verdict.detail,
    }


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
