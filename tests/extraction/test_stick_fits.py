"""Where sticks fit the pixels of a crop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from extraction.course import PLACES, settle
from extraction.records import Placement
from extraction.stick_fits import StickFits
from templates.controls import BUTTON_INDEX, States
from tests.test_round_trip import render

AT = [(0.0, 0.0), (0.83, -0.31), (-0.45, 0.9), (-1.0, 0.0)]


def fits_of(template_id: str, click: bool = False, calm: bool = False) -> tuple[np.ndarray, Placement]:
    """(4, 2, 15, 15) fits of both sticks at the places AT."""
    states = States.rest(len(AT))
    states.sticks[:] = np.array(AT)[:, None]
    states.buttons[:, BUTTON_INDEX["left_thumb"]] = click
    frames, place = render(template_id, states, calm)
    height, width = frames[0].shape[:2]
    return StickFits(place, (0, 0, width, height)).measure(frames), place


@pytest.mark.parametrize("template_id", ["xbox_360/dark", "gamecube/dark", "dualsense/streamer", "n64/white"])
def test_a_stick_fits_best_where_it_stands(template_id: str) -> None:
    fits, _ = fits_of(template_id)
    for stick in np.flatnonzero(~np.isnan(fits).any((0, 2, 3))):
        settled = settle(np.array(AT) + 0.08, fits[:, stick])
        assert settled == pytest.approx(np.array(AT), abs=0.04)


def test_a_clicked_stick_is_found_as_one_that_is_not() -> None:
    fits, place = fits_of("xbox_360/dark", click=True)
    assert "left_thumb" in place.template.scene.known
    rows, columns = np.divmod(fits[:, 0].reshape(len(AT), -1).argmin(1), len(PLACES))
    assert np.stack([PLACES[columns], PLACES[rows]], 1) == pytest.approx(np.array(AT), abs=0.1)


def test_a_pad_with_one_stick_has_no_fits_of_the_other() -> None:
    fits, place = fits_of("n64/dark")
    assert np.isnan(fits[:, 1]).all() == ("j_right" not in place.template.scene.sticks)


def test_a_stick_beyond_the_edge_of_the_frame_has_none() -> None:
    states = States.rest()
    frames, place = render("xbox_360/dark", states)
    far = replace(place, affine=place.affine - [[0, 0, 4000], [0, 0, 0]])
    assert np.isnan(StickFits(far, (0, 0, *frames[0].shape[1::-1])).measure(frames)).all()
