"""Small datasets, written as ``extract`` writes them but without a video: every number in them is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from extraction.shards import (
    ACTIONS_SCHEMA,
    SHARD_SCHEMA,
    Labels,
    append_rows,
    make_actions,
    make_shard,
    parquet_writer,
)
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS

COLOURS = 32  # frame i is grey of 8 (i % 32)


@dataclass(frozen=True)
class Made:
    """One video: chunks of 20 seconds, kept or dropped. ``hide``: controls that its overlay does not show."""

    video_id: str = "made-0123456789ab"
    kept: Sequence[bool] = (True, False, True)
    fps: int = 10
    template: str = "xbox_one/own"
    family: str = "xbox_one"
    source: str = "made.mp4"
    start_s: float = 0.0
    title: str = ""
    game: str = ""
    hide: Sequence[str] = ("guide",)
    edit: Callable[[Labels], None] = field(default=lambda labels: None)
    """Changes the labels before they are written."""

    @property
    def chunk_frames(self) -> int:
        return 20 * self.fps

    @property
    def frames(self) -> int:
        return len(self.kept) * self.chunk_frames


def make_labels(made: Made) -> Labels:
    """South is held in every second second, the left stick goes round once in 4 s; confidence is 0.9."""
    index = np.arange(made.frames)
    time_s = made.start_s + index / made.fps
    known = np.broadcast_to(~np.isin(CONTROLS, made.hide), (len(index), len(CONTROLS))).copy()
    buttons = np.zeros((len(index), len(BUTTONS)), bool)
    buttons[:, BUTTON_INDEX["south"]] = (index // made.fps) % 2 == 0
    sticks = np.zeros((len(index), 2, 2), np.float32)
    angle = 2 * np.pi * index / (4 * made.fps)
    sticks[:, 0] = np.stack([np.cos(angle), np.sin(angle)], 1)
    sticks[~known[:, len(BUTTONS) :]] = np.nan
    confidence = np.full(len(index), 0.9, np.float32)
    labels = Labels(index, time_s, known.any(1), known, buttons, sticks, confidence)
    made.edit(labels)
    return labels


def write_video(folder: Path, made: Made) -> Labels:
    """Write one video into the dataset ``folder``; returns its labels."""
    labels = make_labels(made)
    home = folder / "videos" / made.video_id
    home.mkdir(parents=True)
    (folder / "shards").mkdir(exist_ok=True)
    size = made.chunk_frames
    spans = [slice(i * size, (i + 1) * size) for i in range(len(made.kept))]
    with (
        parquet_writer(home / "actions.parquet", ACTIONS_SCHEMA, {}) as actions,
        parquet_writer(folder / "shards" / f"{made.video_id}.parquet", SHARD_SCHEMA, {}) as shard,
    ):
        for i, (rows, kept) in enumerate(zip(spans, made.kept, strict=True)):
            append_rows(actions, make_actions(labels[rows]))
            if kept:
                jpegs = pa.array([grey_jpeg(frame % COLOURS) for frame in range(rows.start, rows.stop)], pa.binary())
                append_rows(shard, make_shard(made.video_id, i, labels[rows], jpegs))
    (home / "report.json").write_text(json.dumps(make_report(made)))
    return labels


def write_empty(folder: Path, video_id: str, title: str = "") -> None:
    """A video in which no overlay was found."""
    made = Made(video_id=video_id, kept=(), title=title)
    report = make_report(made) | {"placements": [], "reason": "no_overlay", "unknown": list(CONTROLS)}
    report["video"]["duration"] = 36.0
    home = folder / "videos" / video_id
    home.mkdir(parents=True)
    with parquet_writer(home / "actions.parquet", ACTIONS_SCHEMA, {}):
        pass
    (home / "report.json").write_text(json.dumps(report))


def make_report(made: Made) -> dict[str, Any]:
    """What ``extract`` says about the video."""
    size = made.chunk_frames
    end_s = made.start_s + made.frames / made.fps
    return {
        "source": made.source,
        "origin": {"url": "", "title": made.title, "format_id": "", "game": made.game},
        "placements": [
            {
                "template": made.template,
                "family": made.family,
                "box": [10, 10, 120, 90],
                "inliers": 50,
                "start": made.start_s,
                "end": end_s,
            }
        ],
        "reason": None,
        "video": {
            "width": 320,
            "height": 180,
            "fps": float(made.fps),
            "duration": made.frames / made.fps,
            "rotation": 0,
            "codec": "h264",
        },
        "unknown": list(made.hide),
        "chunks": [
            {
                "chunk_index": i,
                "start": made.start_s + 20.0 * i,
                "end": made.start_s + 20.0 * (i + 1),
                "frames": size,
                "active_frames": size if kept else size // 10,
                "kept": kept,
                "reason": None if kept else "inactive",
                "detail": None if kept else "too little happens",
            }
            for i, kept in enumerate(made.kept)
        ],
        "video_id": made.video_id,
        "versions": {"code": "0.1.0", "schema": "1", "parser": "made"},
    }


@cache
def grey_jpeg(shade: int) -> bytes:
    """256 x 256, one grey."""
    ok, data = cv2.imencode(".jpg", np.full((256, 256, 3), 8 * shade, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    return bytes(data)
