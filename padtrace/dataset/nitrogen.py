"""A dataset -> the folder layout of the public NitroGen release.

    OUT/actions/SHARD_0042/<video_id>/<video_id>_chunk_0007/actions_raw.parquet
                                                            actions_processed.parquet
                                                            metadata.json

Both Parquet files hold the same 19 columns and values: labels are by position and scaled already. What that layout has
no place for, which controls were shown, times, confidence, is in ``metadata.json`` under ``padtrace``. Frames are not
part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.filters import CHUNK_S
from extraction.records import SourceError
from padtrace.dataset.records import LABEL_COLUMNS, open_shard, unreadable
from padtrace.dataset.store import FolderStore
from templates.controls import BUTTONS, CONTROLS, STICKS

SHARDS: Final = 100
NITROGEN_SCHEMA: Final = pa.schema(
    [(name, pa.bool_()) for name in sorted(BUTTONS)] + [(name, pa.list_(pa.float64())) for name in STICKS]
)
# Names that the release uses; for other pads our own.
CONTROLLERS: Final = {"dualshock_4": "ps4", "xbox_one": "xboxone", "switch_pro": "switch", "joy_con": "switch"}


class _Placement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    family: str
    box: tuple[int, int, int, int]
    start: float
    end: float


class _Video(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    width: int = Field(ge=1)
    height: int = Field(ge=1)


class _Report(BaseModel):
    """What is needed of ``report.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    placements: tuple[_Placement, ...] = Field(min_length=1)
    video: _Video


def export_nitrogen(
    folder: Path,
    out: Path,
    on_bad: Callable[[SourceError], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> int:
    """Export the kept chunks of the dataset in ``folder`` into ``out``; the number of chunks there.

    What is there already is left as it is; a chunk that has changed or is no longer kept is replaced or removed.
    on_bad: hears of a video that cannot be read and lets the rest go on; without, it is raised as SourceError.
    on_progress: hears the part of the videos that are done, in [0, 1].
    """
    store = FolderStore(folder)
    names = [name for name in store.names("shards") if name.endswith(".parquet")]
    if not names:
        raise SourceError(
            f"expected shards in {folder / 'shards'}, found none; name a folder that `extract` has written"
        )
    count = 0
    for i, name in enumerate(names):
        try:
            count += sum(1 for _ in _export_video(store, folder, out, name.removesuffix(".parquet")))
        except SourceError as error:
            if on_bad is None:
                raise
            on_bad(error)
        if on_progress is not None:
            on_progress((i + 1) / len(names))
    return count


def _export_video(store: FolderStore, folder: Path, out: Path, video_id: str) -> Iterator[Path]:
    """Write the folders of one video's chunks."""
    report = _read_report(folder / "videos" / video_id / "report.json")
    shard = int(hashlib.sha256(video_id.encode()).hexdigest(), 16) % SHARDS
    home = out / "actions" / f"SHARD_{shard:04d}" / video_id
    with open_shard(store, f"shards/{video_id}.parquet") as file:
        about = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
        try:
            table = file.read(columns=["chunk_index", *LABEL_COLUMNS])
        except (pa.ArrowException, OSError) as error:
            raise unreadable(str(folder / "shards" / f"{video_id}.parquet"), error) from error
    kept: set[str] = set()
    for index, places in groupby(range(len(table)), table["chunk_index"].to_pylist().__getitem__):
        rows = list(places)
        final = home / f"{video_id}_chunk_{index:04d}"
        kept.add(final.name)
        _write_chunk(final, table.slice(rows[0], len(rows)), describe_chunk(video_id, index, report, about))
        yield final
    for other in home.glob(f"{video_id}_chunk_*"):
        if other.name not in kept:
            shutil.rmtree(other)


def describe_chunk(video_id: str, index: int, report: _Report, about: dict[str, str]) -> dict[str, Any]:
    """What ``metadata.json`` says whatever the rows are."""
    start_s = index * CHUNK_S
    first = report.placements[0]
    place = next((each for each in report.placements if each.start < start_s + CHUNK_S and each.end > start_s), first)
    return {
        "uuid": f"{video_id}_chunk_{index:04d}_actions",
        "chunk_id": f"{index:04d}",
        "original_video": {
            "resolution": [report.video.height, report.video.width],
            "video_id": video_id,
            "url": about.get("url", ""),
            "source": _site_of(about.get("url", "")),
        },
        "game": re.sub(r"[^a-z0-9]+", "_", about.get("game", "").lower()).strip("_") or "other",
        "controller_type": CONTROLLERS.get(place.family, place.family),
        "bbox_controller_overlay": clip_box(place.box, (report.video.width, report.video.height)),
        "padtrace": {"schema_version": about["schema_version"], "template": about.get("template", "")},
    }


def clip_box(box_xywh: tuple[int, int, int, int], size_wh: tuple[int, int]) -> list[int]:
    """The part of a box that lies in the frame."""
    x, y, width, height = box_xywh
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, size_wh[0]), min(y + height, size_wh[1])
    return [left, top, max(right - left, 0), max(bottom - top, 0)]


def _write_chunk(final: Path, rows: pa.Table, about: dict[str, Any]) -> None:
    """A chunk's folder appears whole; one that says the same is left."""
    times = rows["timestamp"].to_numpy()
    frames = rows["frame_index"].to_numpy()
    if not (np.diff(frames) == 1).all():
        raise SourceError(f"expected consecutive frames in {final.name}, found a gap; extract the video again")
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    start_s = int(about["chunk_id"]) * CHUNK_S
    duration_s = min(round(float(times[-1] - times[0]) + step_s, 3), CHUNK_S)
    about["chunk_size"] = len(rows)
    about["original_video"] |= {
        "start_time": start_s,
        "end_time": start_s + duration_s,
        "duration": duration_s,
        "start_frame": int(frames[0]),
        "end_frame": int(frames[-1]),  # inclusive in this layout
    }
    about["padtrace"] |= {
        "known": [name for name in CONTROLS if rows[name].null_count < len(rows)],
        "timestamps": times.tolist(),
        "confidence": rows["confidence"].to_pylist(),
    }
    said = json.dumps(about) + "\n"
    if (final / "metadata.json").is_file() and (final / "metadata.json").read_text(encoding="utf-8") == said:
        return
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("actions_raw", "actions_processed"):
        pq.write_table(_actions(rows), partial / f"{name}.parquet", compression="zstd")
    (partial / "metadata.json").write_text(said, encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)


def _actions(rows: pa.Table) -> pa.Table:
    """The 19 columns; what is unknown is released and neutral."""
    columns = {name: pc.fill_null(rows[name], False) for name in BUTTONS}
    for name in STICKS:
        columns[name] = pc.fill_null(rows[name], pa.scalar([0, 0], rows[name].type)).cast(pa.list_(pa.float64()))
    return pa.table({name: columns[name] for name in NITROGEN_SCHEMA.names}, schema=NITROGEN_SCHEMA)


def _site_of(url: str) -> str:
    """``youtube``, ``twitch``, another host, or ``local``."""
    host = urlsplit(url).hostname or ""
    for site, hosts in {"youtube": ("youtube.com", "youtu.be"), "twitch": ("twitch.tv",)}.items():
        if any(host == each or host.endswith(f".{each}") for each in hosts):
            return site
    return host or "local"


def _read_report(path: Path) -> _Report:
    try:
        return _Report.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise SourceError(f"expected {path} beside the shard, found nothing; extract the video again") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SourceError(f"{path} is not a report: {where}: {first['msg']}; extract the video again") from error
