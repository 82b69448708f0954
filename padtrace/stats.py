"""A dataset -> what is in it: hours by game, channel and family; density, buttons, sticks, confidence, rejects.

Buttons, sticks and confidence are those of kept frames, what a trainer reads. One video is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from extraction.filters import DEAD_ZONE, find_active
from extraction.logs import Log
from extraction.records import SourceError
from padtrace.dataset.marks import load_marks
from padtrace.reports import Report, find_reports, open_actions, read_report
from templates.controls import BUTTONS, CONTROLS, STICKS

BINS: Final = 20  # of density and confidence, over [0, 1]
STICK_BINS: Final = 41  # of each axis, over [-1, 1]; the middle one holds neutral
UNSURE: Final = 0.5  # confidence below which a frame is more likely wrong than right
NOT_KNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """One video of a channel list. ``video_id``: its name in the dataset, None where it never came to that.

    dropped: why it is not in the dataset, or not yet; empty where it is.
    """

    channel: str
    hours: float
    video_id: str | None
    dropped: str


@dataclass(slots=True)
class Share:
    """A part of a dataset: of one game, channel or family."""

    videos: int = 0
    hours_decoded: float = 0.0
    hours_kept: float = 0.0


@dataclass(slots=True)
class Use:
    """How one control is used in the kept frames of overlays that show it.

    hours_used: a button is held, a stick stands outside the dead zone. starts: how often that begins.
    """

    hours_known: float = 0.0
    hours_used: float = 0.0
    starts: int = 0

    @property
    def share(self) -> float:
        """Part of the time in which it is used."""
        return self.hours_used / self.hours_known if self.hours_known else 0.0

    @property
    def per_minute(self) -> float:
        return self.starts / (60 * self.hours_known) if self.hours_known else 0.0


@dataclass(slots=True)
class Loss:
    """What was dropped for one reason: chunks, or videos as a whole."""

    chunks: int = 0
    videos: int = 0
    hours: float = 0.0


@dataclass(slots=True)
class Stats:
    """What a dataset holds.

    hours_listed: of the channel lists, or of the videos where there are none; as declared. hours_unsure: kept
    frames with a confidence below 0.5. hours_marked: kept frames that a person marked as wrong.
    frames_active, frames_active_kept: decoded and kept frames that hold an action.
    density: (20,) decoded chunks by the part of their frames that hold an action.
    confidence: (20,) kept frames. stick_grids: (41, 41) kept frames of each stick, [y][x] over [-1, 1], row 0 up.
    dropped: listed videos by why they are not in the dataset.
    """

    videos_listed: int = 0
    videos_decoded: int = 0
    hours_listed: float = 0.0
    hours_decoded: float = 0.0
    hours_kept: float = 0.0
    hours_unsure: float = 0.0
    hours_marked: float = 0.0
    frames_decoded: int = 0
    frames_kept: int = 0
    frames_active: int = 0
    frames_active_kept: int = 0
    games: dict[str, Share] = field(default_factory=dict)
    channels: dict[str, Share] = field(default_factory=dict)
    families: dict[str, Share] = field(default_factory=dict)
    density: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    controls: dict[str, Use] = field(default_factory=lambda: {name: Use() for name in CONTROLS})
    stick_grids: dict[str, np.ndarray] = field(
        default_factory=lambda: {name: np.zeros((STICK_BINS, STICK_BINS), np.int64) for name in STICKS}
    )
    rejects: dict[str, Loss] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    code_versions: set[str] = field(default_factory=set)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; hours to a hundredth of a second."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def measure_dataset(
    folder: Path,
    listed: Iterable[ListedVideo] = (),
    on_failure: Callable[[SourceError], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Stats:
    """Measure every video in ``folder``.

    listed: of its channel lists, if it comes from such. ``on_failure`` hears of a video that cannot be read, and
    the rest goes on; without it, SourceError. ``on_progress`` hears the part that is done.
    """
    stats = Stats()
    channel_of: dict[str, str] = {}
    for video in listed:
        stats.videos_listed += 1
        stats.hours_listed += video.hours
        if video.dropped:
            stats.dropped[video.dropped] = stats.dropped.get(video.dropped, 0) + 1
        if video.video_id is not None:
            channel_of[video.video_id] = video.channel
    paths = find_reports(folder)
    for done, path in enumerate(paths):
        try:
            _add_video(stats, folder, read_report(path), channel_of)
        except SourceError as error:
            if on_failure is None:
                raise
            on_failure(error)
        if on_progress is not None:
            on_progress((done + 1) / len(paths))
    return stats


def _add_video(stats: Stats, folder: Path, report: Report, channel_of: dict[str, str]) -> None:
    hours_declared = (report.video.duration or 0.0) / 3600
    log = Log.of_table(open_actions(folder, report).read()) if report.frames else None
    marks = load_marks(folder, report.video_id)
    if report.video_id not in channel_of:
        stats.videos_listed += 1
        stats.hours_listed += hours_declared
    stats.code_versions.add(report.versions.get("code", NOT_KNOWN))
    if log is None:
        loss = stats.rejects.setdefault(report.reason or NOT_KNOWN, Loss())
        loss.videos += 1
        loss.hours += hours_declared
        return

    kept = np.zeros(len(log), bool)
    for chunk, rows in zip(report.chunks, report.spans, strict=True):
        kept[rows] = chunk.kept
    marked = np.zeros(len(log), bool)
    for span in marks:
        marked[span.start_frame : span.end_frame] = True
    frame_h = _frame_hours(log)
    active = find_active(log.buttons, log.sticks)

    stats.videos_decoded += 1
    stats.frames_decoded += len(log)
    stats.frames_kept += int(kept.sum())
    stats.frames_active += int(active.sum())
    stats.frames_active_kept += int((active & kept).sum())
    stats.hours_decoded += frame_h * len(log)
    stats.hours_kept += frame_h * int(kept.sum())
    stats.hours_unsure += frame_h * int((kept & (log.confidence < UNSURE)).sum())
    stats.hours_marked += frame_h * int((kept & marked).sum())
    for shares, name in (
        (stats.games, report.origin.game),
        (stats.channels, channel_of.get(report.video_id)),
        (stats.families, report.placements[0].family),
    ):
        share = shares.setdefault(name or NOT_KNOWN, Share())
        share.videos += 1
        share.hours_decoded += frame_h * len(log)
        share.hours_kept += frame_h * int(kept.sum())
    for chunk in report.chunks:
        if not chunk.kept:
            loss = stats.rejects.setdefault(chunk.reason or NOT_KNOWN, Loss())
            loss.chunks += 1
            loss.hours += frame_h * chunk.frames
    stats.density += _histogram([chunk.active_frames / chunk.frames for chunk in report.chunks if chunk.frames])
    stats.confidence += _histogram(log.confidence[kept])
    _add_use(stats, log, kept, frame_h)


def _add_use(stats: Stats, log: Log, kept: np.ndarray, frame_h: float) -> None:
    """Buttons and sticks of the kept frames."""
    used = np.concatenate([log.buttons, np.hypot(log.sticks[..., 0], log.sticks[..., 1]) > DEAD_ZONE], axis=1)
    begins = used & ~np.concatenate([np.zeros_like(used[:1]), used[:-1]])
    known = log.known & kept[:, None]
    for i, name in enumerate(CONTROLS):
        use = stats.controls[name]
        use.hours_known += frame_h * int(known[:, i].sum())
        use.hours_used += frame_h * int((known[:, i] & used[:, i]).sum())
        use.starts += int((known[:, i] & begins[:, i]).sum())
    for i, name in enumerate(STICKS):
        x, y = log.sticks[known[:, len(BUTTONS) + i], i].T
        edges = np.linspace(-1, 1, STICK_BINS + 1)
        stats.stick_grids[name] += np.histogram2d(y, x, bins=(edges, edges))[0].astype(np.int64)


def _frame_hours(log: Log) -> float:
    """How long a frame of this video lasts on average."""
    seconds = float(log.time_s[-1] - log.time_s[0])
    return seconds / max(len(log) - 1, 1) / 3600


def _histogram(parts: Iterable[float] | np.ndarray) -> np.ndarray:
    """(20,) int64: how many values in [0, 1] lie in each twentieth."""
    return np.histogram(np.asarray(list(parts), np.float64), bins=BINS, range=(0, 1))[0]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return round(value, 6) if isinstance(value, float) else value
