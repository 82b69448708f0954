"""An overlay that hides is noticed, and what the game shows in its place is not taken for input."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from extraction.extract import ExtractOptions, extract_video
from extraction.parse import Parser
from extraction.presence import find_visible, measure_agreement
from extraction.video import read_frames
from flows.extract import find_overlay
from templates.catalogue import library
from templates.controls import BUTTONS

SAMPLE = Path(__file__).parents[2] / "sample" / "video.mp4"
FRAMES, HIDDEN = 360, slice(120, 210)  # of the sample, at 60 a second
RNG = np.random.default_rng(0)


def panels(count: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, 88, 108, 3)).astype(np.uint8)


def test_a_frame_like_the_rest_picture_agrees_and_another_does_not() -> None:
    rest, known = panels(1)[0], np.ones(len(BUTTONS), bool)
    darker = (rest * 0.5 + 20).astype(np.uint8)
    assert measure_agreement(np.stack([rest, darker]), rest, known) == pytest.approx([1, 1], abs=0.01)
    assert np.abs(measure_agreement(panels(3), rest, known)).max() < 0.2
    assert measure_agreement(np.zeros_like(rest)[None], rest, known) == pytest.approx(0), "a black screen shows nothing"


def test_presses_of_some_buttons_do_not_hide_an_overlay() -> None:
    rest, known = panels(1)[0], np.ones(len(BUTTONS), bool)
    pressed = rest.copy()
    pressed[:48, 44:] = panels(1)[0][:48, 44:]  # twelve of seventeen buttons look otherwise
    assert measure_agreement(pressed[None], rest, known) == pytest.approx(1, abs=0.01)


def test_an_overlay_without_buttons_is_always_there() -> None:
    assert measure_agreement(panels(2), panels(1)[0], np.zeros(len(BUTTONS), bool)).tolist() == [1, 1]


@pytest.mark.parametrize("fps", [30, 60])
def test_hiding_is_found_to_the_frame_and_a_flicker_is_not(fps: int) -> None:
    agreement = 0.9 + RNG.normal(0, 0.03, 10 * fps)
    agreement[2 * fps : 4 * fps] = RNG.normal(0, 0.05, 2 * fps)
    agreement[6 * fps] = 0
    visible = find_visible(agreement, np.arange(10 * fps) / fps)
    assert np.flatnonzero(~visible).tolist() == list(range(2 * fps, 4 * fps))


def test_where_no_frame_is_like_the_rest_picture_nothing_is_judged() -> None:
    assert find_visible(np.full(100, 0.1), np.arange(100) / 60).all()
    assert find_visible(np.zeros(1), np.zeros(1)).all()


@pytest.fixture(scope="module")
def hiding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of the sample clip; for one and a half the game goes on where the overlay was."""
    path = tmp_path_factory.mktemp("hiding") / "video.mp4"
    [place] = find_overlay(SAMPLE, {"xbox_one/own": library()["xbox_one/own"]}, ExtractOptions()).placements
    x, y, w, h = place.box_xywh
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=60, options={"crf": "26", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for frame in read_frames(SAMPLE):
            if frame.index == FRAMES:
                break
            rgb = frame.rgb()
            if HIDDEN.start <= frame.index < HIDDEN.stop:
                rgb[y : y + h, x : x + w] = rgb[y : y + h, rgb.shape[1] - x - w : rgb.shape[1] - x][:, ::-1]
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts, picture.time_base = frame.index, Fraction(1, 60)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def test_frames_without_the_overlay_have_no_labels(hiding: Path, tmp_path: Path) -> None:
    templates = {"xbox_one/own": library()["xbox_one/own"]}
    done = extract_video(hiding, tmp_path, templates, Parser.load(device="cpu"), ExtractOptions(), find_overlay)
    spans = [(each["start"], each["end"]) for each in done.report["placements"]]
    assert np.array(spans) == pytest.approx(np.array([(0, 2), (3.5, 6)]), abs=0.1)
    actions = pq.read_table(done.folder / "actions.parquet")
    hidden = actions.slice(HIDDEN.start + 6, HIDDEN.stop - HIDDEN.start - 12)
    shown = actions.slice(0, HIDDEN.start - 6)
    for name in ("south", "j_left"):
        assert hidden[name].null_count == len(hidden)
        assert shown[name].null_count == 0
    assert not any(hidden["overlay"].to_pylist()) and all(shown["overlay"].to_pylist())
    assert max(hidden["confidence"].to_pylist()) == 0
