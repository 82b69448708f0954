"""Frames come upright, each with its own time; what cannot be read is named in one sentence."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest

from extraction.records import SourceError
from extraction.remux import copy_keyframes
from extraction.video import VideoReader, probe, read_frames, sample_frames
from tests.extraction.conftest import grey_frames, number_of, write_sound, write_video


def corners(width: int = 96, height: int = 64) -> np.ndarray:
    """A frame whose corners differ: red, green, blue and white, clockwise from the top left."""
    frame = np.zeros((height, width, 3), np.uint8)
    middle_y, middle_x = height // 2, width // 2
    frame[:middle_y, :middle_x] = (220, 20, 20)
    frame[:middle_y, middle_x:] = (20, 220, 20)
    frame[middle_y:, middle_x:] = (20, 20, 220)
    frame[middle_y:, :middle_x] = (220, 220, 220)
    return frame


def test_every_frame_is_read_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(50))
    frames = [(frame.index, number_of(frame.rgb())) for frame in read_frames(path)]
    assert frames == [(i, i) for i in range(50)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_are_the_frames_own_where_the_rate_varies(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    gaps = np.random.default_rng(3).choice([0.01, 0.033, 0.2, 1.5], 40)
    times = write_video(path, grey_frames(40), np.cumsum(gaps).tolist())
    exact = 1e-9 if suffix == "mp4" else 1e-3  # Matroska counts in milliseconds
    assert [frame.pts_s for frame in read_frames(path)] == pytest.approx(times, abs=exact)


def test_probe_tells_size_rate_and_length(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(30))
    info = probe(path)
    assert (info.width, info.height, info.frames, info.rotation) == (96, 64, 30, 0)
    assert info.fps == pytest.approx(10, rel=0.05)
    assert info.duration_s == pytest.approx(3, abs=0.11)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_rotated_phone_video_comes_upright(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, [corners()] * 3, rotation=rotation)
    upright = np.rot90(corners(), rotation // 90)  # the display matrix turns counterclockwise
    info = probe(path)
    assert (info.width, info.height) == upright.shape[1::-1]
    frame = next(read_frames(path))
    assert np.abs(frame.rgb().astype(int) - upright).mean() < 10
    assert frame.size_wh == (info.width, info.height)
    small = frame.thumbnail(32)
    assert np.abs(small[4, 4].astype(int) - upright[4, 4]).max() < 25


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("box", [(10, 20, 30, 16), (0, 0, 64, 64), (11, 21, 31, 17), (63, 63, 1, 1)])
def test_a_crop_equals_that_part_of_the_whole_frame(
    tmp_path: Path, rotation: int, box: tuple[int, int, int, int]
) -> None:
    path = tmp_path / "v.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    write_video(path, [noise], rotation=rotation)
    frame = next(read_frames(path))
    x, y, w, h = box
    crop = frame.crop(*box)
    assert crop.shape == (h, w, 3)
    assert np.abs(crop.astype(int) - frame.rgb()[y : y + h, x : x + w]).max() <= 2


def test_a_crop_outside_the_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(1))
    with pytest.raises(ValueError, match="inside 96x64"):
        next(read_frames(path)).crop(90, 0, 10, 10)


def test_other_pixel_formats_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, [corners()], pix_fmt="yuv444p")
    frame = next(read_frames(path))
    assert np.abs(frame.crop(5, 7, 40, 30).astype(int) - corners()[7:37, 5:45]).mean() < 10


@pytest.mark.parametrize("size_wh", [(16, 16), (2, 2), (1920, 8)])
def test_odd_sizes_of_video_are_read(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(2, size_wh))
    frames = list(read_frames(path))
    assert [frame.rgb().shape for frame in frames] == [(size_wh[1], size_wh[0], 3)] * 2
    assert frames[0].thumbnail(256).shape == (256, 256, 3)


def test_samples_are_distinct_and_spread_over_the_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    count = 600
    shades = [np.full((64, 96, 3), i * 250 // count, np.uint8) for i in range(count)]
    times = write_video(path, shades, gop=120)
    samples = sample_frames(path, 25)
    chosen = [pts_s for pts_s, _ in samples]
    assert len(chosen) == 25
    assert set(np.round(chosen, 6)) <= set(np.round(times, 6))
    assert np.diff(chosen).min() > 0 and np.diff(chosen).max() < 2 * 2.4  # on keyframes where there are new ones
    for pts_s, rgb in samples:  # a picture belongs to its time
        assert rgb.mean() == pytest.approx(pts_s * 10 * 250 / count, abs=4)


def test_a_short_video_gives_every_frame_once(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(7))
    assert [number_of(rgb) for _, rgb in sample_frames(path, 25)] == list(range(7))


def test_a_video_that_cannot_be_sought_is_sampled_in_passing(tmp_path: Path) -> None:
    path = tmp_path / "v.ts"  # a transport stream has no index and declares no frame count
    write_video(path, grey_frames(60) * 5, gop=300)
    samples = sample_frames(path, 25)
    assert 20 <= len(samples) <= 25
    assert np.ptp([pts_s for pts_s, _ in samples]) > 20


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(1))
    assert len(list(read_frames(path))) == 1
    assert len(sample_frames(path)) == 1


def test_a_missing_path_is_named() -> None:
    with pytest.raises(SourceError, match=r"nowhere\.mp4, found nothing"):
        probe(Path("nowhere.mp4"))


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found a folder"):
        probe(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "just some words\n" * 50,
        "",  # an empty file
        "ffconcat version 1.0\nfile /etc/hostname\n",  # a list of other files
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://localhost:9/a.ts\n",  # a playlist from the web
    ],
)
def test_text_named_mp4_is_no_video(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"expected a video in .*notes\.mp4"):
        probe(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    write_sound(path)
    with pytest.raises(SourceError, match="only sound"):
        probe(path)


def test_an_mp4_that_lost_its_index_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the index is at the end
    with pytest.raises(SourceError, match="cannot be opened"):
        probe(path)


def test_of_a_truncated_video_the_rest_is_read_and_the_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    rng = np.random.default_rng(0)
    whole = write_video(path, [rng.integers(0, 255, (64, 96, 3)).astype(np.uint8) for _ in range(50)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoReader(path) as video:
        times = [frame.pts_s for frame in video.frames()]
        assert 10 < len(times) < 40
        assert times == pytest.approx(whole[: len(times)], abs=1e-3)
        assert video.cut_short


def test_a_whole_video_is_not_called_truncated(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_video(path, grey_frames(50))
    with VideoReader(path) as video:
        list(video.frames())
        assert (video.decoded, video.untimed, video.damaged, video.cut_short) == (50, 0, 0, False)


def test_a_last_frame_that_is_held_for_long_is_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    write_video(path, grey_frames(3), [0.0, 0.1, 60.0])
    with VideoReader(path) as video:
        assert len(list(video.frames())) == 3
        assert not video.cut_short


def test_damage_in_the_middle_costs_only_some_frames(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    rng = np.random.default_rng(0)
    write_video(path, [rng.integers(0, 255, (64, 96, 3)).astype(np.uint8) for _ in range(60)], gop=5)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    assert 30 <= len(list(read_frames(path))) <= 60


# --- keyframes alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_passing", [False, True])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_copied_keyframes_are_spread_over_the_video_and_keep_their_times(
    tmp_path: Path, container: str, in_passing: bool
) -> None:
    write_video(tmp_path / f"v.{container}", grey_frames(60), gop=2)
    source = io.BytesIO((tmp_path / f"v.{container}").read_bytes())
    copy_keyframes(source, "v", tmp_path / "keys.mkv", 10, in_passing=in_passing)
    frames = list(read_frames(tmp_path / "keys.mkv"))
    assert len(frames) == 10 and all(frame.is_key for frame in frames)
    numbers = [number_of(frame.rgb()) for frame in frames]
    assert [round(10 * frame.pts_s) for frame in frames] == numbers
    assert max(after - before for before, after in itertools.pairwise([0, *numbers, 60])) <= 12


def test_a_video_with_few_keyframes_is_copied_whole(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", grey_frames(60), gop=60)
    copy_keyframes(io.BytesIO((tmp_path / "v.mp4").read_bytes()), "v", tmp_path / "all.mkv", 25)
    assert [number_of(frame.rgb()) for frame in read_frames(tmp_path / "all.mkv")] == list(range(60))


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"#EXTM3U\nfile:///etc/hostname\n\0", b"ffconcat version 1.0\n\0"])
def test_what_is_no_video_is_refused_and_opens_nothing_else(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SourceError, match="expected a video at http://a"):
        copy_keyframes(io.BytesIO(data), "http://a", tmp_path / "keys.mkv")
    assert not (tmp_path / "keys.mkv").exists()
