"""A recorder's pictures become a video that holds every pixel and every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from extraction.logs import Log
from extraction.records import SourceError
from extraction.video import read_frames
from flows.recording import encode_recording
from templates.controls import States

TIMES_S = np.array([1_700_000_000.0, 1_700_000_000.016667, 1_700_000_000.05, 1_700_000_000.3])  # no constant rate
NUMBERS = np.array([7, 8, 10, 200])


def log_of(numbers: np.ndarray = NUMBERS, times_s: np.ndarray = TIMES_S) -> Log:
    return replace(Log.of_states(States.rest(len(numbers))), frame_index=numbers, time_s=times_s)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures of noise, of an odd size."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in NUMBERS:
        cv2.imwrite(str(folder / f"frame_{number:04d}.png"), rng.integers(0, 256, (33, 47, 3)).astype(np.uint8))
    return folder


def test_every_pixel_and_every_time_survives(pictures: Path, tmp_path: Path) -> None:
    encode_recording(pictures, log_of(), tmp_path / "video.mp4")
    frames = [(frame.pts_s, frame.rgb()) for frame in read_frames(tmp_path / "video.mp4")]
    assert [pts_s for pts_s, _ in frames] == pytest.approx(TIMES_S - TIMES_S[0], abs=2e-6)
    for number, (_, rgb) in zip(NUMBERS, frames, strict=True):
        drawn = cv2.cvtColor(cv2.imread(str(pictures / f"frame_{number:04d}.png")), cv2.COLOR_BGR2RGB)
        assert np.array_equal(rgb, drawn)


def test_the_same_pictures_give_the_same_video(pictures: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        encode_recording(pictures, log_of(), tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_line_without_its_picture_is_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "frame_0010.png").unlink()
    with pytest.raises(SourceError, match=r"found none for frame_id 10 \(1 in all\)"):
        encode_recording(pictures, log_of(), tmp_path / "video.mp4")


def test_a_picture_without_its_line_is_named(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"found none for frame_0200\.png"):
        encode_recording(pictures, log_of(NUMBERS[:3], TIMES_S[:3]), tmp_path / "video.mp4")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no picture", r"frame_0010\.png, found data that does not decode"),
        (cv2.imencode(".png", np.zeros((5, 6, 3), np.uint8))[1].tobytes(), r"\(47x33\), found 6x5 at"),
    ],
)
def test_a_picture_that_does_not_fit_is_named(content: bytes, says: str, pictures: Path, tmp_path: Path) -> None:
    (pictures / "frame_0010.png").write_bytes(content)
    with pytest.raises(SourceError, match=says):
        encode_recording(pictures, log_of(), tmp_path / "video.mp4")
