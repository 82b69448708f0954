"""Where sticks fit the pixels of a crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extraction.course import PLACES, settle
from extraction.locate import place_by_hand
from extraction.records import Placement
from extraction.stick_fits import StickFits
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, States
from templates.draw import draw, rasterise
from templates.scene import Move, Picture, Scene, Show, Static
from tests.test_round_trip import render

AT = [(0.0, 0.0), (0.83, -0.31), (-0.45, 0.9), (-1.0, 0.0)]


def fits_of(template_id: str, click: bool = False, calm: bool = False) -> tuple[np.ndarray, Placement]:
    """(4, 2, 15, 15) fits of both sticks at the places AT."""
    frames, place = shown(template_id, click, calm)
    height, width = frames[0].shape[:2]
    return StickFits(place, (0, 0, width, height)).measure(frames)[0], place


def shown(template_id: str, click: bool, calm: bool = False) -> tuple[Sequence[np.ndarray], Placement]:
    """Frames of a template with both sticks at the places AT."""
    states = States.rest(len(AT))
    states.sticks[:] = np.array(AT)[:, None]
    states.buttons[:, BUTTON_INDEX["left_thumb"]] = click
    return render(template_id, states, calm)


@pytest.mark.parametrize("template_id", ["xbox_360/dark", "gamecube/dark", "dualsense/streamer", "n64/white"])
def test_a_stick_fits_best_where_it_stands(template_id: str) -> None:
    fits, _ = fits_of(template_id)
    for stick in np.flatnonzero(~np.isnan(fits).any((0, 2, 3))):
        settled = settle(np.array(AT) + 0.08, fits[:, stick])
        assert settled == pytest.approx(np.array(AT), abs=0.04)


def test_a_game_that_shines_through_does_not_draw_a_stick_to_its_bright_side() -> None:
    frames, place = shown("gamecube/dark", click=False, calm=True)
    height, width = frames[0].shape[:2]
    game = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    game[:, width // 3 :: 70] = 255
    dimmed = [(0.5 * frame + 0.5 * game).round().astype(np.uint8) for frame in frames]
    place = replace(place, gain=0.5, offset=(0.25, 0.25, 0.25))
    fits, _ = StickFits(place, (0, 0, width, height)).measure(dimmed)
    for stick in (0, 1):
        rows, columns = np.divmod(fits[:, stick].reshape(len(AT), -1).argmin(1), len(PLACES))
        assert np.stack([PLACES[columns], PLACES[rows]], 1) == pytest.approx(np.array(AT), abs=0.2)


def test_a_clicked_stick_is_found_as_one_that_is_not() -> None:
    fits, place = fits_of("xbox_360/dark", click=True)
    assert "left_thumb" in place.template.scene.known
    rows, columns = np.divmod(fits[:, 0].reshape(len(AT), -1).argmin(1), len(PLACES))
    assert np.stack([PLACES[columns], PLACES[rows]], 1) == pytest.approx(np.array(AT), abs=0.1)


@pytest.mark.parametrize("template_id", ["xbox_360/dark", "dualsense/dark", "dualshock_2/mono"])
@pytest.mark.parametrize("click", [False, True])
def test_a_click_is_told_wherever_the_stick_stands(template_id: str, click: bool) -> None:
    frames, place = shown(template_id, click)
    _, clicked = StickFits(place, (0, 0, *frames[0].shape[1::-1])).measure(frames)
    assert clicked[:, 0] == pytest.approx(float(click), abs=0.1)
    assert clicked[:, 1] == pytest.approx(0, abs=0.1)


def test_a_tilt_that_looks_like_the_ring_of_a_click_is_none() -> None:
    ring = Picture(svg='<circle cx="60" cy="60" r="22" fill="none" stroke="white" stroke-width="5"/>')
    parts = (
        Static(name="pad", box=(0, 0, 200, 120), picture=Picture(svg='<rect width="200" height="120" fill="#345"/>')),
        Show(name="click", box=(33, 33, 54, 54), control="left_thumb", picture=ring),
        Move(
            name="tilt", box=(33, 33, 54, 54), stick="j_left", picture=Picture(svg=""), travel=(10, 10),
            off_centre=ring,
        ),
    )  # fmt: skip
    template = Template(Scene(id="ring", family="xbox_360", canvas=(200, 120), parts=parts), Path())
    states = States.rest(4)
    states.sticks[1:3, 0] = [(1, 0), (-0.5, 0.6)]
    states.buttons[2:, BUTTON_INDEX["left_thumb"]] = True
    drawn = draw(rasterise(template, 200), states).permute(0, 2, 3, 1).numpy()
    frames = list((drawn[..., :3] * 255).round().astype(np.uint8))
    place = place_by_hand((0, 0, 200, 120), template, frames)
    _, clicked = StickFits(place, (0, 0, 200, 120)).measure(frames)
    assert clicked[:, 0] == pytest.approx([0, 0, 1, 1], abs=0.2)
    assert np.isnan(clicked[:, 1]).all()


def test_a_pad_with_one_stick_has_no_fits_of_the_other() -> None:
    fits, place = fits_of("n64/dark")
    assert np.isnan(fits[:, 1]).all() == ("j_right" not in place.template.scene.sticks)


def test_a_stick_beyond_the_edge_of_the_frame_has_none() -> None:
    states = States.rest()
    frames, place = render("xbox_360/dark", states)
    far = replace(place, affine=place.affine - [[0, 0, 4000], [0, 0, 0]])
    assert np.isnan(StickFits(far, (0, 0, *frames[0].shape[1::-1])).measure(frames)[0]).all()
