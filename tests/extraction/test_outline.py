"""The outline of a drawing goes to the edges of what is there, and stays where it is right."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from extraction.outline import fit_outline, fit_window
from templates.catalogue import library
from templates.controls import States
from templates.draw import draw_rgba
from tests.extraction.test_locate import moving_game, outline_box, put

WIDTH = 260
CORNER = (500, 300)


def affine_of(name: str) -> np.ndarray:
    """Where a drawing WIDTH wide is, its corner at CORNER: (2, 3)."""
    scale = WIDTH / library()[name].scene.canvas[0]
    return np.array([[scale, 0, CORNER[0]], [0, scale, CORNER[1]]])


@pytest.mark.parametrize(("name", "opacity"), [("xbox_360/dark", 1.0), ("dualsense/own", 0.6)])
def test_an_outline_that_is_right_stays(name: str, opacity: float) -> None:
    game = moving_game(1)[0]
    put(game, library()[name], *CORNER, WIDTH, opacity)
    outline = fit_outline(library()[name], affine_of(name), game)
    assert outline.was_there
    assert outline.box_xywh == pytest.approx(outline_box(library()[name], affine_of(name)), abs=4)


@pytest.mark.parametrize("name", ["switch_pro/outline", "snes/streamer"])
def test_thin_lines_and_loose_buttons_are_known_to_be_there(name: str) -> None:
    game = moving_game(1)[0]
    put(game, library()[name], *CORNER, WIDTH)
    assert fit_outline(library()[name], affine_of(name), game).was_there


@pytest.mark.parametrize("stretch", [(1.15, 1.0), (0.9, 1.12), (1.0, 0.85)])
def test_the_sides_go_to_the_body_of_another_skin(stretch: tuple[float, float]) -> None:
    name, game = "xbox_360/dark", moving_game(1)[0]
    picture = draw_rgba(library()[name], States.rest(), WIDTH).astype(np.float32)
    picture = cv2.resize(picture, None, fx=stretch[0], fy=stretch[1], interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    alpha = picture[..., 3:] / 255
    window = game[CORNER[1] : CORNER[1] + height, CORNER[0] : CORNER[0] + width]
    window[:] = picture[..., :3] * alpha + window * (1 - alpha)

    outline = fit_outline(library()[name], affine_of(name), game)
    assert not outline.was_there
    body = affine_of(name) * [[stretch[0], 1, 1], [1, stretch[1], 1]]
    assert outline.box_xywh == pytest.approx(outline_box(library()[name], body), abs=4)


def test_where_nothing_has_edges_an_outline_stays() -> None:
    name = "xbox_360/dark"
    outline = fit_outline(library()[name], affine_of(name), np.full((720, 1280, 3), 90, np.uint8))
    assert (outline.agreement, outline.before) == (0, 0)
    assert outline.box_xywh == pytest.approx(outline_box(library()[name], affine_of(name)), abs=1)


PAD = (500, 300, 260, 160)


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ((498, 270, 264, 215), True),  # above and below
        ((465, 300, 330, 160), True),  # on both sides
        ((500, 300, 260, 160), True),  # none
        ((0, 270, 1280, 215), False),  # a band of the game, that goes on beyond the pad
        ((500, 150, 260, 450), False),  # farther away than a window reaches
    ],
)
def test_the_window_that_a_pad_is_drawn_in_ends_with_it(window: tuple[int, int, int, int], found: bool) -> None:
    game = moving_game(1)[0]
    x, y, w, h = window
    game[y : y + h, x : x + w] = (0, 0, 0)
    cv2.ellipse(game, (630, 380), (129, 79), 0, 0, 360, (200, 180, 60), -1)
    assert fit_window(PAD, game) == pytest.approx(window if found else PAD, abs=8)


def test_a_pad_over_a_game_has_no_window() -> None:
    game = moving_game(1)[0]
    put(game, library()["xbox_360/dark"], *CORNER, WIDTH)
    box = outline_box(library()["xbox_360/dark"], affine_of("xbox_360/dark"))
    assert fit_window(box, game) == box
