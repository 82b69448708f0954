"""How opaque an overlay is drawn is measured; that it cannot be the drawing it was taken for is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from extraction.extract import ExtractOptions
from extraction.look import LEAST_OPACITY, measure_least, measure_limit, measure_look, only_resembles
from flows.extract import find_overlay, look_for_overlay
from templates.catalogue import library
from templates.controls import BUTTON_INDEX, STICKS, States
from templates.draw import draw_rgba
from tests.extraction.conftest import write_play

SIZE_WH = (480, 360)
GAME = np.random.default_rng(0).integers(0, 256, (SIZE_WH[1], SIZE_WH[0], 3)).astype(np.uint8)


def show(
    name: str, states: States, *, width: int = 300, x: int = 60, opacity: float = 1.0, game: np.ndarray = GAME
) -> tuple[np.ndarray, np.ndarray]:
    """A drawing over a game, its corner at (x, 60), and where its canvas is: (H, W, 3) uint8 and (2, 3)."""
    template = library()[name]
    rgba = draw_rgba(template, states, width)[:, max(-x, 0) : SIZE_WH[0] - x].astype(np.float32)
    frame, alpha = game.copy(), opacity * rgba[..., 3:] / 255
    window = frame[60 : 60 + len(rgba), max(x, 0) : max(x, 0) + rgba.shape[1]]
    window[:] = rgba[..., :3] * alpha + window * (1 - alpha)
    scale = width / template.scene.canvas[0]
    return frame, np.array([[scale, 0, x], [0, scale, 60]])


@pytest.mark.parametrize("opacity", [1.0, 0.75, 0.5])
def test_the_look_tells_opacity_and_backdrop(opacity: float) -> None:
    backdrop = np.full_like(GAME, (40, 90, 60))
    frame, affine = show("xbox_series/white", States.rest(), opacity=opacity, game=backdrop)
    gain, offset = measure_look(library()["xbox_series/white"], affine, frame)
    assert gain == pytest.approx(opacity, abs=0.06)
    assert offset == pytest.approx((1 - opacity) * np.array([40, 90, 60]) / 255, abs=0.06)


@pytest.mark.parametrize("name", ["xbox_360/dark", "xbox_360/white", "dualsense/outline", "snes/streamer", "nes/mini"])
@pytest.mark.parametrize("opacity", [1.0, 0.6, 0.35])
@pytest.mark.parametrize("game", [GAME, np.zeros_like(GAME), np.full_like(GAME, 255)], ids=["noise", "black", "white"])
def test_a_drawing_is_not_denied_over_any_game(name: str, opacity: float, game: np.ndarray) -> None:
    frame, affine = show(name, States.rest(), opacity=opacity, game=game)
    assert measure_limit(library()[name], affine, frame) >= 0.95 * opacity > LEAST_OPACITY


def test_a_small_drawing_a_little_beside_its_place_is_not_denied() -> None:
    for name in ("xbox_360/dark", "dualsense/outline", "compact/streamer"):
        frame, affine = show(name, States.rest(), width=100)
        affine[:, 2] += 0.7
        assert measure_limit(library()[name], affine, frame) > 2 * LEAST_OPACITY


def test_buttons_that_are_held_do_not_deny_a_drawing() -> None:
    held = States.rest()
    held.buttons[:, [BUTTON_INDEX[name] for name in ("south", "right_trigger", "right_shoulder", "dpad_up")]] = True
    held.triggers[:, 1] = 1
    held.sticks[:, 0] = (0.7, -0.7)
    for name in ("xbox_360/dark", "xbox_360/streamer", "xbox_360/mini"):
        frame, affine = show(name, held)
        assert measure_limit(library()[name], affine, frame) > 2 * LEAST_OPACITY


@pytest.mark.parametrize("x", [-100, 300])
def test_what_lies_outside_of_the_frame_denies_nothing(x: int) -> None:
    frame, affine = show("xbox_360/white", States.rest(), x=x)
    assert measure_limit(library()["xbox_360/white"], affine, frame) > 0.95
    assert measure_limit(library()["xbox_360/dark"], affine, frame) < LEAST_OPACITY


def test_other_colours_deny_a_drawing() -> None:
    for name, other in (("xbox_360/dark", "xbox_360/white"), ("arcade_pad/own", "arcade_pad/sunken")):
        frame, affine = show(other, States.rest())
        assert measure_limit(library()[name], affine, frame) < LEAST_OPACITY


def _over_a_moving_game(name: str, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """A drawing over 25 pictures of a game, (T, H, W, 3) uint8, and where its canvas is."""
    games = np.random.default_rng(1).integers(0, 256, (25, SIZE_WH[1] // 8, SIZE_WH[0] // 8, 3), np.uint8)
    games = games.repeat(8, 1).repeat(8, 2)
    shown = [show(name, States.rest(), opacity=opacity, game=game) for game in games]
    return np.stack([frame for frame, _ in shown]), shown[0][1]


@pytest.mark.parametrize("opacity", [1.0, 0.7, 0.4])
def test_a_game_shines_through_as_far_as_a_drawing_is_not_opaque(opacity: float) -> None:
    pictures, affine = _over_a_moving_game("xbox_360/white", opacity)
    least = measure_least(library()["xbox_360/white"], affine, pictures)
    assert opacity - 0.2 < least < opacity + 0.05


def test_where_the_game_is_calm_behind_most_of_a_drawing_that_is_not_taken_for_opaque() -> None:
    game = np.zeros((25, *GAME.shape), np.uint8)
    game[::2, :, :200] = 255
    shown = [show("xbox_360/white", States.rest(), opacity=0.5, game=each) for each in game]
    pictures, affine = np.stack([frame for frame, _ in shown]), shown[0][1]
    assert 0.3 < measure_least(library()["xbox_360/white"], affine, pictures) < 0.6


def test_a_game_that_stands_still_tells_nothing() -> None:
    frame, affine = show("xbox_360/white", States.rest())
    assert measure_least(library()["xbox_360/white"], affine, np.stack([frame] * 5)) == 0


@pytest.mark.parametrize("x", [-250, 450])
def test_a_drawing_that_is_hardly_in_the_frame_tells_nothing(x: int) -> None:
    pictures, affine = _over_a_moving_game("xbox_360/white", 1.0)
    affine[:, 2] += (x, 0)
    assert 0 <= measure_least(library()["xbox_360/white"], affine, pictures) <= 1


@pytest.mark.parametrize("opacity", [1.0, 0.7, 0.4])
@pytest.mark.parametrize(("drawn", "taken"), [("xbox_360/dark", "xbox_360/glow"), ("n64/dark", "n64/glow")])
def test_a_drawing_is_itself_and_another_one_is_not(drawn: str, taken: str, opacity: float) -> None:
    pictures, affine = _over_a_moving_game(drawn, opacity)
    median = np.median(pictures, 0).astype(np.uint8)

    def resembles(name: str) -> bool:
        template = library()[name]
        gain, _ = measure_look(template, affine, median)
        return only_resembles(gain, measure_limit(template, affine, median), measure_least(template, affine, pictures))

    assert not resembles(drawn)
    if opacity == 1:
        assert resembles(taken)


def test_a_skin_that_resembles_a_drawing_is_read_by_its_own_look(tmp_path: Path) -> None:
    own, other = library()["arcade_pad/own"], library()["arcade_pad/sunken"]
    write_play(tmp_path / "play.mp4", other, 300, (60, 60), (480, 360))

    found = find_overlay(tmp_path / "play.mp4", {own.id: own}, ExtractOptions())
    [place] = found.placements
    assert (place.template.id[:11], place.template.family) == ("from-video-", "arcade_pad")
    assert np.array(place.box_xywh) == pytest.approx((60, 60, 300, 187), abs=2)
    assert place.inliers >= 20 and (place.support, place.sampled) == (25, 25)
    assert found.reason is None and "resembles arcade_pad/own" in found.detail
    for control in set(place.template.scene.known) - set(STICKS):
        expected = np.array(own.scene.boxes[control]) * 300 / own.scene.canvas[0]
        assert place.template.scene.boxes[control] == pytest.approx(expected, abs=1), control

    [located] = look_for_overlay(tmp_path / "play.mp4", {own.id: own}, ExtractOptions()).placements
    assert located.template is own

    found = find_overlay(tmp_path / "play.mp4", {other.id: other}, ExtractOptions())
    assert ([place.template for place in found.placements], found.detail) == ([other], "")
