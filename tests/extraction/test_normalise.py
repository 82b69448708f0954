"""Each video calibrates its own sticks, and noise is never blown up into actions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.normalise import OPPOSITES, apply_calibration, calibrate, decide_buttons, find_rest, score_confidence
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS


def play(count: int, rest_share: float = 0.4, seed: int = 0) -> np.ndarray:
    """(count, 2) true stick places: at rest for a part of the time, else anywhere in the disc."""
    rng = np.random.default_rng(seed)
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    places = np.stack([reach * np.cos(angle), reach * np.sin(angle)], 1)
    places[rng.random(count) < rest_share] = 0
    return places


def read(truth: np.ndarray, offset: tuple[float, float], gain: float, noise: float = 0.02) -> np.ndarray:
    """Raw readings (T, 2, 2) as a shifted and mis-scaled template gives them; the right stick is unknown."""
    places = truth * gain + offset + np.random.default_rng(1).normal(0, noise, truth.shape)
    return np.stack([places, np.full_like(places, np.nan)], 1)


@pytest.mark.parametrize("gain", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.15, -0.1), (-0.2, 0.3)])
def test_shift_and_scale_of_a_template_are_taken_out(offset: tuple[float, float], gain: float) -> None:
    truth = play(3000)
    raw = read(truth, offset, gain)
    calibration = calibrate(raw)
    assert calibration.measured.tolist() == [True, False]
    assert calibration.neutral[0] == pytest.approx(offset, abs=0.02)
    read_back = apply_calibration(raw, calibration)[:, 0]
    assert np.abs(read_back - truth).mean() < 0.04
    assert np.abs(read_back).max() <= 1


def test_a_player_who_never_lets_go_is_measured_from_the_template_centre() -> None:
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    circling = np.stack([np.cos(angle), np.sin(angle)], 1)
    calibration = calibrate(read(circling, (0.1, 0.1), 1.0))
    assert not calibration.measured[0]
    assert calibration.neutral[0].tolist() == [0, 0]


def test_passing_through_the_centre_is_no_rest() -> None:
    sweep = np.linspace(-1, 1, 4001)
    assert find_rest(np.stack([sweep, np.zeros_like(sweep)], 1)) is None


def test_holding_a_direction_most_of_the_time_does_not_become_the_neutral() -> None:
    truth = np.zeros((1000, 2))
    truth[:800] = (0.0, -1.0)
    calibration = calibrate(read(truth, (0, 0), 1.0))
    assert calibration.neutral[0] == pytest.approx([0, 0], abs=0.02)


def test_a_stick_that_never_moved_keeps_the_template_units() -> None:
    raw = read(np.zeros((1000, 2)), (0, 0), 1.0, noise=0.03)
    calibration = calibrate(raw)
    assert calibration.scale[0].tolist() == [1, 1]
    assert np.abs(apply_calibration(raw, calibration)[:, 0]).max() < 0.2


@pytest.mark.parametrize("gain", [0.7, 1.0, 1.2])
def test_an_axis_that_is_never_pushed_fully_is_not_stretched_to_full(gain: float) -> None:
    truth = play(3000)
    truth[:, 1] *= 0.4
    calibration = calibrate(read(truth, (0, 0), gain))
    assert calibration.scale[0, 0] == pytest.approx(gain, abs=0.1)
    assert calibration.scale[0, 1] == pytest.approx(min(gain, 1), abs=0.1)


def test_a_stick_that_is_never_pushed_fully_takes_the_travel_of_the_other() -> None:
    pushed, touched = play(3000), 0.5 * play(3000, seed=1)
    raw = np.stack([read(each, (0, 0), 0.8)[:, 0] for each in (pushed, touched)], 1)
    assert calibrate(raw).scale[1] == pytest.approx([0.8, 0.8], abs=0.06)


def test_the_percentile_is_what_becomes_one() -> None:
    truth = play(5000, rest_share=0.3)
    raw = read(truth, (0, 0), 1.5, noise=0)
    read_back = apply_calibration(raw, calibrate(raw, 90.0))[:, 0]
    assert np.mean(np.abs(read_back) == 1, axis=0) == pytest.approx([0.1, 0.1], abs=0.01)


def test_unknown_stays_unknown() -> None:
    raw = np.full((50, 2, 2), np.nan)
    calibration = calibrate(raw)
    assert not calibration.measured.any()
    assert np.isnan(apply_calibration(raw, calibration)).all()


def test_a_video_without_frames_has_a_calibration() -> None:
    assert calibrate(np.zeros((0, 2, 2))).scale.tolist() == [[1, 1], [1, 1]]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 200))
def test_sticks_always_lie_in_their_range(seed: int, count: int) -> None:
    raw = np.random.default_rng(seed).normal(0, 2, (count, 2, 2))
    sticks = apply_calibration(raw, calibrate(raw))
    assert np.abs(sticks).max() <= 1
    assert sticks.dtype == np.float32


def logits_of(**values: float) -> np.ndarray:
    logits = np.full((1, len(BUTTONS)), -5.0, np.float32)
    for name, value in values.items():
        logits[0, BUTTON_INDEX[name]] = value
    return logits


DRAWN = np.ones(len(BUTTONS), bool)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ({"south": 0.1}, {"south"}),
        ({"south": 0.0}, set()),  # undecided is not held
        ({"dpad_up": 2, "dpad_right": 1}, {"dpad_up", "dpad_right"}),  # a diagonal
        ({"dpad_up": 2, "dpad_down": 1}, {"dpad_up"}),  # impossible: the likelier side wins
        ({"dpad_left": 1, "dpad_right": 3}, {"dpad_right"}),
        ({"dpad_left": 1, "dpad_right": 1}, {"dpad_left"}),  # a tie is settled, the same way every time
    ],
)
def test_a_button_is_held_when_its_logit_is_positive_and_that_is_possible(
    values: dict[str, float], held: set[str]
) -> None:
    buttons = decide_buttons(logits_of(**values), np.ones((1, len(BUTTONS)), bool), DRAWN)
    assert {name for name in BUTTONS if buttons[0, BUTTON_INDEX[name]]} == held


def test_an_unknown_button_is_never_held_and_never_wins_over_a_known_one() -> None:
    known = np.ones((1, len(BUTTONS)), bool)
    known[0, BUTTON_INDEX["dpad_up"]] = False
    buttons = decide_buttons(logits_of(dpad_up=9, dpad_down=1), known, DRAWN)
    assert buttons[0].nonzero()[0].tolist() == [BUTTON_INDEX["dpad_down"]]


def course_of(*logits: float, drawn: np.ndarray = DRAWN) -> list[int]:
    """Whether south is held, frame by frame."""
    frames = np.full((len(logits), len(BUTTONS)), -5.0, np.float32)
    frames[:, BUTTON_INDEX["south"]] = logits
    held = decide_buttons(frames, np.ones(frames.shape, bool), drawn)
    return held[:, BUTTON_INDEX["south"]].astype(int).tolist()


def test_one_doubtful_frame_makes_no_press_and_no_release() -> None:
    assert course_of(-6, -6, 2, -6, -6) == [0, 0, 0, 0, 0]
    assert course_of(6, 6, -2, 6, 6) == [1, 1, 1, 1, 1]


def test_a_button_that_no_picture_shows_pressed_must_be_surer() -> None:
    assert course_of(-6, -6, 3, -6, -6) == [0, 0, 1, 0, 0]
    assert course_of(-6, -6, 3, -6, -6, drawn=~DRAWN) == [0, 0, 0, 0, 0]
    assert course_of(-6, -6, 3, 3, -6, drawn=~DRAWN) == [0, 0, 1, 1, 0]


def test_one_certain_frame_does() -> None:
    assert course_of(-6, -6, 6, -6, -6) == [0, 0, 1, 0, 0]
    assert course_of(6, 6, -6, 6, 6) == [1, 1, 0, 1, 1]


def test_a_press_begins_and_ends_where_its_logits_change_sign_however_faint_they_are_there() -> None:
    assert course_of(-6, -0.1, 0.1, 6, 6, 0.1, -0.1, -6) == [0, 0, 1, 1, 1, 1, 0, 0]


def test_what_lies_hours_back_weighs_nothing() -> None:
    assert course_of(*[-20] * 20_000, *[3] * 3)[-4:] == [0, 1, 1, 1]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20))
def test_no_course_holds_two_opposites_or_an_unknown_button(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    known = rng.random((50, len(BUTTONS))) < 0.9
    held = decide_buttons(rng.normal(0, spread, known.shape).astype(np.float32), known, DRAWN)
    assert not (held & ~known).any()
    for pair in OPPOSITES:
        assert not held[:, [BUTTON_INDEX[name] for name in pair]].all(1).any()


def confidence_of(logit: float, certainty: float, known: int = len(CONTROLS), held: bool = True) -> float:
    """Of a frame whose first ``known`` controls are known, all buttons held or not with the same logit."""
    mask = np.arange(len(CONTROLS))[None] < known
    logits = np.full((1, len(BUTTONS)), logit, np.float32)
    still = np.zeros((1, 2, 2), np.float32)
    return float(score_confidence(logits, np.full(logits.shape, held), np.full((1, 2), certainty), still, mask)[0])


def test_a_frame_is_as_sure_as_all_its_controls_together() -> None:
    assert confidence_of(30, 1.0) > 0.99
    assert confidence_of(3, 1.0) < confidence_of(6, 1.0)
    assert confidence_of(30, 0.5) < confidence_of(30, 0.9)
    assert confidence_of(3, 1.0, known=17) < confidence_of(3, 1.0, known=2)


def test_a_state_that_its_logit_speaks_against_is_doubtful() -> None:
    assert confidence_of(-2, 1.0, held=True) < confidence_of(-2, 1.0, held=False)


def test_where_nothing_is_known_nothing_is_sure() -> None:
    assert confidence_of(30, 1.0, known=0) == 0


def test_a_stick_that_moves_on_may_have_been_there_before() -> None:
    known = np.ones((6, len(CONTROLS)), bool)
    sticks = np.zeros((6, 2, 2), np.float32)
    sticks[3:, 1, 0] = 1.0
    sticks[:, 0] = np.nan
    held = np.zeros((6, len(BUTTONS)), bool)
    confidence = score_confidence(np.full(held.shape, -6.0, np.float32), held, np.ones((6, 2)), sticks, known)
    assert confidence[1] == confidence[2] < confidence[0] == confidence[3] == confidence[5]
    short = score_confidence(np.full((1, 17), -6.0, np.float32), held[:1], np.ones((1, 2)), sticks[:1], known[:1])
    assert short == confidence[:1]
