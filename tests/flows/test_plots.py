"""The pictures of a case show what was read wrong, and where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from extraction.logs import Log
from flows.plots import Comparison, describe_errors, draw_plots, find_worst
from templates.catalogue import library
from templates.controls import BUTTON_INDEX, CONTROLS
from tests.extraction.conftest import human_log, write_video

SHOWN = ("south", "east", "j_left")


def misread() -> tuple[Log, Log]:
    """400 frames of truth, and a reading with one wrong moment: frames 200 to 203."""
    truth = human_log()
    read = replace(truth, buttons=truth.buttons.copy(), sticks=truth.sticks.copy())
    read.buttons[200:204, BUTTON_INDEX["south"]] = True
    truth.buttons[200:204, BUTTON_INDEX["south"]] = False
    read.buttons[201, BUTTON_INDEX["east"]] = False
    truth.buttons[201, BUTTON_INDEX["east"]] = True
    read.sticks[201, 0] = truth.sticks[201, 0] - [0.5, 0.1]
    return read, truth


def test_the_worst_moment_comes_first_and_moments_lie_apart() -> None:
    read, truth = misread()
    rows = find_worst(read, truth, SHOWN)
    assert 201 in rows
    assert len(rows) <= 8 and (np.diff(truth.time_s[rows]) >= 0.5).all()


def test_frames_without_a_reading_are_no_moments() -> None:
    read, truth = misread()
    read.known[150:] = False
    assert (find_worst(read, truth, SHOWN) < 150).all()
    read.known[:] = False
    assert len(find_worst(read, truth, SHOWN)) == 0


def test_what_is_wrong_is_said_in_words() -> None:
    read, truth = misread()
    assert describe_errors(read, truth, SHOWN, 201) == "reads south; misses east; j_left off by -0.50, -0.10"
    assert describe_errors(read, truth, SHOWN, 10) == "all right, sticks within 0.00"


def test_pictures_are_written_and_show_something(tmp_path: Path) -> None:
    read, truth = misread()
    frames = [np.full((96, 128, 3), i % 256, np.uint8) for i in range(400)]
    write_video(tmp_path / "video.mp4", frames, times=[i / 60 for i in range(400)])
    place = {"template": "snes/own", "family": "snes", "box": [90, 60, 60, 40], "start": 0.0, "end": 7.0}  # leaves it
    written = draw_plots(
        tmp_path / "case", Comparison(read, truth, CONTROLS), None, tmp_path / "video.mp4", [place], library()
    )
    assert sorted(path.name for path in written) == ["onsets.png", "sticks.png", "worst.png"]
    for path in written:
        picture = cv2.imread(str(path))
        assert picture.shape[0] >= 400 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_an_overlay_without_sticks_has_no_picture_of_them(tmp_path: Path) -> None:
    read, truth = misread()
    write_video(tmp_path / "video.mp4", [np.zeros((96, 128, 3), np.uint8)] * 30)  # ends before the log does
    place = {"template": "snes/own", "family": "snes", "box": [0, 0, 60, 40], "start": 0.0, "end": 7.0}
    comparison = Comparison(read, truth, ("south",))
    written = draw_plots(tmp_path / "case", comparison, None, tmp_path / "video.mp4", [place], library())
    assert sorted(path.name for path in written) == ["onsets.png", "worst.png"]
