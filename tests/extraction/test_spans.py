"""When an overlay is there: it comes late, moves, hides, grows, and may not be alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from extraction.extract import ExtractOptions, extract_video
from extraction.locate import Found, locate
from extraction.parse import Parser
from extraction.spans import find_unexplained
from extraction.video import read_frame_at, sample_frames
from flows.extract import find_overlay
from templates.catalogue import Template, library
from templates.controls import States
from templates.draw import draw_rgba
from tests.extraction.conftest import write_video

FRAME_WH = (640, 360)
FPS = 5
FEW = ("xbox_360/dark", "xbox_360/white", "dualsense/own", "snes/dark")
Shown = Sequence[tuple[str, int, int, int]]
"""Template, x, y and width of each overlay in one frame."""


def templates() -> dict[str, Template]:
    return {name: library()[name] for name in FEW}


def make_video(path: Path, seconds: float, shown_at: Callable[[float], Shown]) -> Path:
    """A busy game that pans and changes its scene every two seconds; one keyframe in ten seconds."""
    rng = np.random.default_rng(0)
    pictures: dict[tuple[str, int], np.ndarray] = {}
    frames = []
    for i in range(round(seconds * FPS)):
        if i % (2 * FPS) == 0:
            scene = cv2.resize(rng.integers(0, 256, (24, 40, 3), np.uint8), (800, 360), interpolation=cv2.INTER_CUBIC)
        frame = np.roll(scene, 7 * i, axis=1)[:, : FRAME_WH[0]].copy()
        for name, x, y, width in shown_at(i / FPS):
            if (name, width) not in pictures:
                pictures[name, width] = draw_rgba(library()[name], States.rest(), width).astype(np.float32)
            picture = pictures[name, width]
            alpha = 0.9 * picture[..., 3:] / 255
            window = frame[y : y + picture.shape[0], x : x + width]
            picture, alpha = picture[: window.shape[0]], alpha[: window.shape[0]]
            window[:] = picture[..., :3] * alpha + window * (1 - alpha)
        frames.append(frame)
    write_video(path, frames, [i / FPS for i in range(len(frames))], gop=10 * FPS, crf=26)
    return path


def find(path: Path) -> Found:
    return locate(sample_frames(path), templates(), frame_at=partial(read_frame_at, path))


def told(found: Found, seconds: float) -> list[tuple[str, int, int, int, float, float]]:
    """Template, pad, x, y, begin and end of each placement."""
    return [
        (place.template.id, place.pad, *place.box_xywh[:2], place.start_s, min(place.end_s, seconds))
        for place in found.placements
    ]


def assert_told(found: Found, seconds: float, *expected: tuple[str, int, int, int, float, float]) -> None:
    """Places within 3 px and times within half a second."""
    lines = told(found, seconds)
    assert [line[:2] for line in lines] == [line[:2] for line in expected], lines
    for line, wanted in zip(lines, expected, strict=True):
        assert line[2:4] == pytest.approx(wanted[2:4], abs=3)
        assert line[4:] == pytest.approx(wanted[4:], abs=0.5)


def late_moving_hiding(time_s: float) -> Shown:
    """Appears at 10 s, moves at 30 s, hides from 40 to 45 s."""
    if time_s < 10 or 40 <= time_s < 45:
        return []
    return [("xbox_360/dark", *((20, 200) if time_s < 30 else (400, 20)), 200)]


def test_an_overlay_that_comes_late_moves_and_hides_is_told_within_half_a_second(tmp_path: Path) -> None:
    found = find(make_video(tmp_path / "clip.mp4", 60, late_moving_hiding))
    first, moved = ("xbox_360/dark", 1, 20, 200), ("xbox_360/dark", 1, 400, 20)
    assert_told(found, 60, (*first, 10, 30), (*moved, 30, 40), (*moved, 45, 60))
    assert [place.support for place in found.placements] == pytest.approx([8, 4, 6], abs=1)
    assert {place.sampled for place in found.placements} == {25}


@pytest.mark.slow
def test_the_extraction_agrees_about_the_spans(tmp_path: Path) -> None:
    """It reads every frame; frames outside of the spans have no labels."""
    path = make_video(tmp_path / "clip.mp4", 60, late_moving_hiding)
    done = extract_video(path, tmp_path, templates(), Parser.load(device="cpu"), ExtractOptions(), find_overlay)
    spans = [(place["start"], place["end"]) for place in done.report["placements"]]
    assert np.array(spans) == pytest.approx(np.array([(10, 30), (30, 40), (45, 60)]), abs=0.5)
    actions = pq.read_table(done.folder / "actions.parquet", columns=["timestamp", "overlay", "south"])
    times_s, covered = actions["timestamp"].to_numpy(), actions["overlay"].to_numpy()
    south = np.array([held is not None for held in actions["south"].to_pylist()])
    assert (south == covered).all()
    sure = np.min([np.abs(times_s - change) for change in (10, 30, 40, 45)], axis=0) > 0.5
    shown = np.array([bool(late_moving_hiding(float(time_s))) for time_s in times_s])
    assert (covered == shown)[sure].all()


def test_an_overlay_in_the_last_fifth_alone_is_found(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", 50, lambda time_s: [("snes/dark", 30, 30, 220)] if time_s >= 40 else [])
    assert_told(find(path), 50, ("snes/dark", 1, 30, 30, 40, 50))


def test_another_size_and_another_skin_are_told(tmp_path: Path) -> None:
    """The second skin stands where the first one stood, with the same layout."""

    def shown_at(time_s: float) -> Shown:
        return [
            ("xbox_360/dark", 300, 100, 170)
            if time_s < 18
            else ("xbox_360/dark", 300, 100, 250)
            if time_s < 36
            else ("xbox_360/white", 300, 100, 250)
        ]

    found = find(make_video(tmp_path / "clip.mp4", 54, shown_at))
    box = (1, 300, 100)
    assert_told(
        found,
        54,
        ("xbox_360/dark", *box, 0, 18),
        ("xbox_360/dark", *box, 18, 36),
        ("xbox_360/white", *box, 36, 54),
    )
    assert [place.box_xywh[2] for place in found.placements] == pytest.approx([170, 250, 250], abs=3)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("xbox_360/dark", "dualsense/own"),
        ("snes/dark", "snes/dark"),  # whose keypoints all have a double
    ],
)
def test_two_pads_at_once_are_both_told(tmp_path: Path, left: str, right: str) -> None:
    """The right one is there all the time and so is the first; the left one ends early."""

    def shown_at(time_s: float) -> Shown:
        return [(right, 400, 200, 200), *([(left, 20, 200, 200)] if time_s < 32 else [])]

    found = find(make_video(tmp_path / "clip.mp4", 50, shown_at))
    assert_told(found, 50, (right, 1, 400, 200, 0, 50), (left, 2, 20, 200, 0, 32))


def test_an_overlay_that_leaves_the_frame_has_its_box_clipped(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "clip.mp4", 50, lambda time_s: [("xbox_360/dark", 30, 250 if time_s > 25 else 100, 220)]
    )
    whole, cut = find(path).placements
    assert [place.box_xywh for place in (whole, cut)] == [
        pytest.approx((30, 100, 220, 171), abs=3),
        pytest.approx((30, 250, 220, 110), abs=3),
    ]
    assert cut.box_xywh[1] + cut.box_xywh[3] <= FRAME_WH[1]


def test_where_no_overlay_is_none_is_made_up(tmp_path: Path) -> None:
    assert find(make_video(tmp_path / "clip.mp4", 50, lambda _: [])).placements == ()


def test_what_nothing_explains_is_cut_into_fifths() -> None:
    assert find_unexplained([], 25) == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 25)]
    assert find_unexplained([], 7) == [(0, 3), (3, 7)]
    assert find_unexplained([], 2) == []
