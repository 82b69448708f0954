"""Small datasets whose every frame and label tells which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from extraction.shards import SHARD_SCHEMA, Labels, append_rows, join_blobs, make_shard, parquet_writer
from padtrace.dataset.pack import pack
from padtrace.dataset.store import open_store
from templates.controls import CONTROLS

CHUNK = 150  # frames of a whole chunk here: two whole row groups and a part
RATE = 7.5
METADATA = {
    "schema_version": "1",
    "source": "a.mp4",
    "url": "",
    "format_id": "",
    "fps": "7.5",
    "size": "640x360",
    "game": "celeste",
    "template": "snes/own",
    "family": "snes",
    "code_version": "0",
}


def labels_of(frames: np.ndarray, shown: Sequence[str] = CONTROLS) -> Labels:
    """Labels that follow from the frames' numbers n: button b is bit b of 7 n, the sticks count."""
    known = np.broadcast_to(np.isin(CONTROLS, shown), (len(frames), len(CONTROLS)))
    buttons = (7 * frames[:, None] >> np.arange(17)) & 1 == 1
    place = (frames % 2001 - 1000) / 1000
    sticks = np.stack([place, -place, place / 2, -place / 2], axis=1).reshape(-1, 2, 2).astype(np.float32)
    return Labels(
        frame_index=frames,
        pts_s=frames / RATE,
        covered=np.ones(len(frames), bool),
        known=known,
        buttons=buttons & known[:, :17],
        sticks=np.where(known[:, 17:, None], sticks, np.float32(np.nan)),
        confidence=(0.5 + (frames % 600) / 1000).astype(np.float32),
    )


def picture_of(frame: int) -> bytes:
    """A JPEG that tells the number of its frame: 12 squares, white for 1."""
    bits = (frame >> np.arange(16)) & 1
    picture = np.repeat(np.repeat(bits.reshape(4, 4) * 255, 64, 0), 64, 1).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", picture)[1])


def number_of(rgb: np.ndarray) -> int:
    """Which frame a (3, 256, 256) picture is of."""
    bits = rgb[1].reshape(4, 64, 4, 64).mean((1, 3)).reshape(-1) > 128
    return int((bits << np.arange(16)).sum())


def write_shard(
    folder: Path,
    video_id: str,
    chunks: Sequence[int] = (0, 1, 3),
    *,
    length: int = CHUNK,
    pictures: bool = True,
    shown: Sequence[str] = CONTROLS,
    **metadata: str,
) -> Path:
    """A shard as ``extract`` writes it; the last chunk is shorter by a third."""
    path = folder / "shards" / f"{video_id}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with parquet_writer(path, SHARD_SCHEMA, METADATA | metadata) as writer:
        for chunk in chunks:
            frames = np.arange(chunk * length, (chunk + 1) * length - (length // 3 if chunk == chunks[-1] else 0))
            jpegs = [picture_of(int(frame)) for frame in frames]
            blobs = join_blobs(b"".join(jpegs), np.array([len(jpeg) for jpeg in jpegs]))
            append_rows(writer, make_shard(video_id, chunk, labels_of(frames, shown), blobs if pictures else None))
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Two videos of 400 frames, packed: chunks 0 and 1 follow one another, 3 stands alone."""
    write_shard(tmp_path, "one")
    write_shard(tmp_path, "two", game="hollow_knight")
    pack(open_store(str(tmp_path)))
    return tmp_path
