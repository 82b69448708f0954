"""What ``extract`` says about each video of a dataset: ``videos/<video_id>/report.json``, and its labels beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.records import SourceError
from extraction.shards import ACTIONS_SCHEMA
from templates.controls import CONTROLS

MAX_REPORT_BYTES: Final = 2**26
_VIDEO_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,120}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Placed(_Part):
    """Where an overlay is, and when: pixels of the video, seconds."""

    template: str
    family: str
    box: tuple[int, int, int, int]
    start: float
    end: float


class Chunk(_Part):
    """The verdict on one chunk; ``start`` and ``end`` in seconds."""

    chunk_index: int = Field(ge=0)
    start: float
    end: float
    frames: int = Field(ge=0)
    active_frames: int = Field(ge=0)
    kept: bool
    reason: str | None
    detail: str | None


class Source(_Part):
    """Where a fetched video came from; empty where that is not known."""

    url: str = ""
    title: str = ""
    game: str = ""


class Picture(_Part):
    """What the video file says about itself."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    fps: float | None
    duration: float | None


class Report(_Part):
    """One video, as far as anybody here asks."""

    video_id: str
    source: str
    origin: Source = Source()
    placements: tuple[Placed, ...]
    reason: str | None
    video: Picture
    unknown: tuple[str, ...]
    chunks: tuple[Chunk, ...]
    versions: dict[str, str]

    @property
    def frames(self) -> int:
        """Decoded frames; 0 for a video without an overlay, of which none is read."""
        return sum(chunk.frames for chunk in self.chunks)

    @property
    def spans(self) -> list[slice]:
        """The frames of each chunk, as ``frame_index`` counts them."""
        cuts = accumulate((chunk.frames for chunk in self.chunks), initial=0)
        return [slice(*pair) for pair in pairwise(cuts)]

    @property
    def shown(self) -> tuple[str, ...]:
        """The controls that are known in some frame."""
        return tuple(name for name in CONTROLS if name not in self.unknown)


def find_reports(folder: Path) -> list[Path]:
    """The reports of a dataset's videos, by name; SourceError where there is no dataset."""
    if not (folder / "videos").is_dir():
        raise SourceError(
            f"expected a dataset in {folder}, found no folder 'videos' there; name what `extract --out` wrote"
        )
    paths = sorted((folder / "videos").glob("*/report.json"))
    if not paths:
        raise SourceError(f"expected videos in {folder / 'videos'}, found none that is finished; extract one first")
    return paths


def report_path(folder: Path, video_id: str) -> Path:
    """Where the report of a video is, if there is one; ValueError for an id that ``extract`` does not give."""
    if not _VIDEO_ID.fullmatch(video_id):
        raise ValueError(f"expected a video id of letters, digits, - and _, found {video_id!r}")
    return folder / "videos" / video_id / "report.json"


def read_report(path: Path) -> Report:
    """One report; SourceError where it is not that of the video after which its folder is named."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REPORT_BYTES + 1)
        if len(data) > MAX_REPORT_BYTES:
            raise ValueError(f"expected at most {MAX_REPORT_BYTES} bytes, found more")
        report = Report.model_validate_json(data)
        if report.video_id != path.parent.name or not _VIDEO_ID.fullmatch(report.video_id):
            raise ValueError(f"expected the report of {path.parent.name}, found that of {report.video_id!r}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _refusal(path, f"{place}: {first['msg']}") from error
    except ValueError as error:
        raise _refusal(path, str(error)) from error
    return report


def open_actions(folder: Path, report: Report) -> pq.ParquetFile:
    """``actions.parquet`` of a video, its footer read; SourceError where it is missing, broken or of another kind.

    Row *i* is frame *i*.
    """
    path = folder / "videos" / report.video_id / "actions.parquet"
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise SourceError(f"expected the labels of a video at {path}, found nothing; extract it again") from error
    except (pa.ArrowException, OSError) as error:
        raise _refusal(path, "no whole Parquet file") from error
    if not file.schema_arrow.equals(ACTIONS_SCHEMA, check_metadata=False):
        raise _refusal(path, "its columns are not those that this version writes")
    if file.metadata.num_rows != report.frames:
        raise _refusal(path, f"expected {report.frames} rows as the report counts, found {file.metadata.num_rows}")
    return file


def read_rows(file: pq.ParquetFile, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows ``start`` to ``stop`` - 1, cut to what there is, reading no row group that holds none of them."""
    groups: list[int] = []
    first = 0
    for group, rows in enumerate(group_spans(file)):
        if rows.start < stop and start < rows.stop:
            first = first if groups else rows.start
            groups.append(group)
    table = file.read_row_groups(groups, columns=columns)
    return table.slice(max(start - first, 0), max(stop - max(start, first), 0))


def group_spans(file: pq.ParquetFile) -> Iterator[slice]:
    """The rows of each row group."""
    counts = (file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
    return (slice(*pair) for pair in pairwise(accumulate(counts, initial=0)))


def _refusal(path: Path, found: str) -> SourceError:
    return SourceError(f"{path} is not what `extract` writes: {found}; extract the video again")
