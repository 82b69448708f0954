"""Pictures of one video, a few frames at a time: what the shards keep, and the overlay in the source video.

Neither is safe to share between threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError

from extraction.extract import make_video_id
from extraction.records import SourceError
from extraction.spool import encode_jpeg
from extraction.video import DecodedFrame, VideoReader
from padtrace.reports import Placed, Report

GROUPS_IN_MEMORY: Final = 3  # of a chunk at most, some 15 MB
CROP_WIDTH: Final = 480  # px at most
SAME_FRAME_S: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Group:
    """A row group of a shard that holds frames ``first`` to ``last`` of one video, and no other rows."""

    path: Path
    index: int
    first: int
    last: int


class KeptFrames:
    """The pictures that the shards hold of one video."""

    def __init__(self, folder: Path, report: Report) -> None:
        """Reads footers, until all kept frames are found; SourceError for a broken file."""
        self._groups = find_groups(folder, report)
        self._files: dict[Path, pq.ParquetFile] = {}  # a footer of an hour takes a while to parse
        self._loaded: OrderedDict[Group, dict[int, bytes]] = OrderedDict()

    def read(self, start: int, stop: int) -> list[bytes]:
        """JPEGs of frames ``start`` to ``stop`` - 1; empty where none is kept."""
        jpegs = [b""] * (stop - start)
        for group in self._groups:
            if group.first < stop and start <= group.last:
                loaded = self._load(group)
                for frame in range(max(start, group.first), min(stop, group.last + 1)):
                    jpegs[frame - start] = loaded.get(frame, b"")
        return jpegs

    def _load(self, group: Group) -> dict[int, bytes]:
        if group not in self._loaded:
            with _naming(group.path):
                if group.path not in self._files:
                    self._files[group.path] = pq.ParquetFile(group.path)
                rows = self._files[group.path].read_row_group(group.index, columns=["frame_index", "frame"])
            frames = zip(rows["frame_index"].to_pylist(), rows["frame"].to_pylist(), strict=True)
            self._loaded[group] = {index: jpeg or b"" for index, jpeg in frames}
        self._loaded.move_to_end(group)
        while len(self._loaded) > GROUPS_IN_MEMORY:
            self._loaded.popitem(last=False)
        return self._loaded[group]


def find_groups(folder: Path, report: Report) -> list[Group]:
    """Where the kept frames of a video are, by frame: in the shard of its name, else wherever they were packed."""
    wanted = sum(chunk.frames for chunk in report.chunks if chunk.kept)
    groups: list[Group] = []
    single = folder / "shards" / f"{report.video_id}.parquet"
    for path in [single] if single.exists() else sorted((folder / "packed").glob("*.parquet")):
        if wanted <= 0:
            break
        with _naming(path):
            footer = pq.read_metadata(path)
        column = {footer.schema.column(i).path: i for i in range(footer.num_columns)}
        if not {"video_id", "frame_index", "frame"} <= column.keys():
            raise SourceError(f"{path} is no shard: it lacks video_id, frame_index or frame; move it out of the folder")
        for index in range(footer.num_row_groups):
            group = footer.row_group(index)
            video, frame = (group.column(column[name]).statistics for name in ("video_id", "frame_index"))
            if video is not None and frame is not None and video.min == video.max == report.video_id:
                groups.append(Group(path, index, frame.min, frame.max))
                wanted -= group.num_rows
    return sorted(groups, key=lambda group: group.first)


def find_source(folder: Path, report: Report) -> Path | None:
    """The video that was read, if it is still at hand: below ``sources/``, or where it was. Told by its content."""
    digest = report.video_id.rsplit("-", 1)[-1]
    for path in (*sorted((folder / "sources").glob(f"{report.video_id}.*")), Path(report.source)):
        try:
            if make_video_id(path).rsplit("-", 1)[-1] == digest:
                return path
        except (SourceError, ValueError):  # not there; not a path at all
            continue
    return None


class OverlayCrops:
    """The overlay as the source video shows it, with a margin."""

    def __init__(self, path: Path, placements: Sequence[Placed]) -> None:
        """Opens the video; SourceError where that fails."""
        self._path = path
        self._placements = placements
        self._video = VideoReader(path)
        self._reached_s = -np.inf

    def read(self, pts_s: Sequence[float]) -> list[bytes]:
        """JPEGs of the frames with these presentation times, at least one, increasing.

        Empty for a frame without an overlay, and for one that does not decode.
        """
        jpegs = [b""] * len(pts_s)
        wanted = np.asarray(pts_s)
        try:
            self._video.skip_towards(pts_s[0], self._reached_s if self._reached_s < pts_s[0] else -np.inf)
        except FFmpegError as error:
            raise SourceError(f"{self._path} cannot be sought ({error.strerror}); remux it into an mp4") from error
        for frame in self._video.frames():
            self._reached_s = frame.pts_s
            nearest = int(np.argmin(np.abs(wanted - frame.pts_s)))
            if abs(wanted[nearest] - frame.pts_s) <= SAME_FRAME_S:
                jpegs[nearest] = self._crop(frame)
            if frame.pts_s >= wanted[-1] - SAME_FRAME_S:
                break
        return jpegs

    def _crop(self, frame: DecodedFrame) -> bytes:
        if frame.size_wh != (self._video.info.width, self._video.info.height):
            return b""
        for place in self._placements:
            if place.start <= frame.pts_s <= place.end:
                return _pack(frame.crop_around(place.box))
        return b""


def _pack(rgb: np.ndarray) -> bytes:
    """As a JPEG, at most 480 px wide."""
    height, width = rgb.shape[:2]
    if width > CROP_WIDTH:
        rgb = cv2.resize(rgb, (CROP_WIDTH, max(1, round(height * CROP_WIDTH / width))), interpolation=cv2.INTER_AREA)
    return encode_jpeg(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of a Parquet file as one sentence with its name."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"expected a whole Parquet file at {path}, found one that cannot be read; extract its video again"
        ) from error
