"""Presses are measured where they show: in the crop, as far as the template's own pictures tell."""

from dataclasses import replace

import numpy as np
import pytest

from extraction.locate import place_by_hand
from extraction.presses import CLEAR_LOGIT, PressFilters, clear_presses
from extraction.records import Placement
from extraction.rectify import Rectifier
from templates.catalogue import library
from templates.controls import BUTTON_INDEX, BUTTONS, States
from templates.draw import draw_rgba

TEMPLATE = library()["xbox_one/dark"]
WIDTH, LEFT, TOP = 160, 31, 17
GREY = 90


def frame_of(states: States, opacity: float = 1.0, game: int = GREY) -> np.ndarray:
    """(240, 320, 3) uint8: the overlay over a grey."""
    rgba = draw_rgba(TEMPLATE, states, WIDTH).astype(np.float32)
    frame = np.full((240, 320, 3), game, np.float32)
    alpha = rgba[..., 3:] / 255 * opacity
    window = frame[TOP : TOP + rgba.shape[0], LEFT : LEFT + WIDTH]
    window[:] = rgba[..., :3] * alpha + window * (1 - alpha)
    return frame.round().astype(np.uint8)


def place(opacity: float = 1.0) -> tuple[Placement, Rectifier]:
    scale = WIDTH / TEMPLATE.scene.canvas[0]
    box = (LEFT, TOP, WIDTH, round(TEMPLATE.scene.canvas[1] * scale))
    placement = replace(place_by_hand(box, TEMPLATE, [frame_of(States.rest(), opacity)]), gain=opacity)
    return placement, Rectifier(TEMPLATE.scene, placement.affine, (320, 240))


def measure(states: States, opacity: float = 1.0, game: int = GREY) -> np.ndarray:
    placement, rectifier = place(opacity)
    x, y, w, h = rectifier.box_xywh
    crop = frame_of(states, opacity, game)[y : y + h, x : x + w]
    return PressFilters(placement, rectifier.box_xywh).measure([crop])[0][0]


@pytest.mark.parametrize("opacity", [1.0, 0.5])
@pytest.mark.parametrize("button", ["south", "dpad_left", "left_shoulder", "start", "right_trigger"])
def test_a_press_goes_all_the_way_and_its_neighbours_stay(button: str, opacity: float) -> None:
    states = States.rest()
    states.buttons[0, BUTTON_INDEX[button]] = True
    if button == "right_trigger":
        states.triggers[0, 1] = 1.0
    gone = measure(states, opacity)
    for name in np.array(BUTTONS)[np.isfinite(gone)]:
        assert gone[BUTTON_INDEX[name]] == pytest.approx(float(name == button), abs=0.15), name


@pytest.mark.parametrize("game", [0, 255])
def test_a_game_that_flashes_behind_the_whole_pad_presses_nothing_and_hides_no_press(game: int) -> None:
    states = States.rest()
    states.buttons[0, BUTTON_INDEX["west"]] = True
    gone = measure(states, 0.5, game)
    for name in ("south", "east", "west", "north", "dpad_up", "dpad_down", "dpad_left", "dpad_right"):
        assert gone[BUTTON_INDEX[name]] == pytest.approx(float(name == "west"), abs=0.2), name


def test_where_no_game_shines_through_what_changes_beside_a_button_presses_nothing() -> None:
    states = States.rest()
    states.buttons[0, BUTTON_INDEX["west"]] = True
    at_rest, held = frame_of(States.rest()), frame_of(states)
    beside = np.where((at_rest == held).all(2, keepdims=True), at_rest + np.minimum(255 - at_rest, 30), at_rest)
    placement, rectifier = place()
    x, y, w, h = rectifier.box_xywh
    gone = PressFilters(placement, rectifier.box_xywh).measure([beside[y : y + h, x : x + w]])[0][0]
    assert gone[BUTTON_INDEX["west"]] == pytest.approx(0, abs=0.01)


def test_what_moves_with_a_stick_or_is_not_shown_is_not_measured() -> None:
    gone = measure(States.rest())
    assert np.isnan(gone[[BUTTON_INDEX["left_thumb"], BUTTON_INDEX["right_thumb"]]]).all()
    assert np.isfinite(gone).sum() == 15


def test_an_overlay_that_the_frame_cuts_off_is_measured_as_far_as_it_goes() -> None:
    frame = np.full((240, 320, 3), GREY, np.uint8)
    placement = place_by_hand((-60, TOP, WIDTH, 120), TEMPLATE, [frame])
    x, y, w, h = Rectifier(TEMPLATE.scene, placement.affine, (320, 240)).box_xywh
    gone = PressFilters(placement, (x, y, w, h)).measure([frame[y : y + h, x : x + w]])[0][0]
    assert np.isnan(gone[BUTTON_INDEX["dpad_left"]])
    assert gone[BUTTON_INDEX["south"]] == pytest.approx(0, abs=0.01)


def two_levels(upper: float, noise: float, held: int = 40) -> np.ndarray:
    """(400, 17): what a filter of the first button says of a press of ``held`` frames; no other button has one."""
    gone = np.full((400, len(BUTTONS)), np.nan, np.float32)
    gone[:, 0] = np.random.default_rng(0).normal(0, noise, 400)
    gone[100 : 100 + held, 0] += upper
    return gone


def clear(gone: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
    return clear_presses(np.zeros_like(gone), gone, np.zeros_like(gone) if residual is None else residual)


def test_a_press_between_clear_levels_is_told_without_the_network() -> None:
    logits = clear(two_levels(0.7, 0.05))
    held = np.zeros(400, bool)
    held[100:140] = True
    assert np.array_equal(logits[:, 0] > 0, held)
    assert np.abs(logits[:, 0]).min() > 3
    assert not logits[:, 1:].any()


@pytest.mark.parametrize(("part", "held"), [(0.45, False), (0.6, True)])
def test_a_frame_that_an_encoder_blended_is_told_by_how_far_it_is_whatever_the_network_says(
    part: float, held: bool
) -> None:
    gone = two_levels(0.9, 0.02)
    gone[99, 0] = gone[140, 0] = part * 0.9
    logits = np.full(gone.shape, -5.0 if held else 5.0, np.float32)
    told = clear_presses(logits, gone, np.zeros_like(gone))
    assert ((told[[99, 140], 0] > 0) == held).all()
    # Elsewhere, and of the other buttons, the network has its say.
    assert (told[[0, 120], 0] == logits[0, 0] + [-CLEAR_LOGIT, CLEAR_LOGIT]).all()
    assert (told[:, 1:] == logits[:, 1:]).all()


@pytest.mark.parametrize(
    "gone",
    [two_levels(0.7, 0.2), two_levels(1.8, 0.05), two_levels(0.2, 0.02)],
    ids=["noise bridges the gap", "brighter than the press can be", "too faint"],
)
def test_of_levels_that_are_not_clear_nothing_is_said(gone: np.ndarray) -> None:
    assert not clear(gone).any()


@pytest.mark.parametrize("held", [0, 3])
def test_a_button_that_is_hardly_ever_held_is_told_by_the_level_it_keeps_to(held: int) -> None:
    logits = clear(two_levels(0.9, 0.08, held))[:, 0]
    assert np.array_equal(np.flatnonzero(logits > 0), 100 + np.arange(held))
    assert np.median(logits) == pytest.approx(-CLEAR_LOGIT)


def test_a_trigger_that_fills_has_no_two_levels() -> None:
    gone = two_levels(0.9, 0.03)
    gone[140:160, 0] += np.linspace(0.9, 0, 20)
    assert not clear(gone).any()


def test_a_game_that_takes_a_filter_as_far_as_a_press_does_leaves_what_no_press_explains() -> None:
    """Lines that are filled when they are pressed, over a game that turns white."""
    placement, rectifier = place()
    x, y, w, h = rectifier.box_xywh
    pressed = frame_of(States.all_pressed())
    changed = np.abs(pressed.astype(np.int16) - frame_of(States.rest())).max(2) > 5
    other = np.where(changed[..., None], np.uint8(255), frame_of(States.rest()))
    crops = [frame[y : y + h, x : x + w] for frame in (frame_of(States.rest()), pressed, other)]
    gone, residual = PressFilters(placement, rectifier.box_xywh).measure(crops)
    held = gone[1] > 0.5
    assert held.sum() >= 8
    assert not residual[0].any()
    assert (residual[1, held] < 0.05).all()
    assert (gone[2, held] > 0.5).all()
    assert (residual[2, held] > 0.15).all()


def test_frames_that_show_something_else_are_no_presses_whatever_the_network_says() -> None:
    gone = two_levels(0.9, 0.03)
    residual = np.zeros_like(gone)
    residual[100:140, 0] = 0.02
    residual[130:140, 0] = 0.6
    logits = clear(gone, residual)[:, 0]
    assert (logits[100:130] == CLEAR_LOGIT).all()
    assert (logits[130:140] < -3 * CLEAR_LOGIT).all()
    # What is always there is how this press looks over a game.
    assert (clear(gone, np.full_like(gone, 0.6))[100:140, 0] == CLEAR_LOGIT).all()
