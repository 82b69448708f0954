"""What the scores mean, told by readings whose quality is known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.logs import Log
from extraction.score import ButtonScores, Scores, mean_scores, score
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, States
from tests.extraction.conftest import human_log

SOUTH = BUTTON_INDEX["south"]
RIGHT_TRIGGER = BUTTON_INDEX["right_trigger"]


def press(*frames: int, length: int = 10, button: int = SOUTH) -> Log:
    """A log in which one button is held in the given frames."""
    log = Log.of_states(States.rest(length))
    log.buttons[list(frames), button] = True
    return log


def test_a_perfect_reading_scores_one_everywhere() -> None:
    truth = human_log()
    scores = score(truth, truth, CONTROLS)
    assert scores.coverage == scores.button_accuracy == scores.macro_f1 == 1
    assert scores.onset_f1 == scores.onset_f1_within_1 == scores.release_f1 == scores.release_f1_within_1 == 1
    assert set(scores.buttons.values()) == {ButtonScores(1.0, 1.0)}
    assert scores.phantoms_per_minute == scores.impossible_states == 0
    assert scores.frames_right == 1
    assert set(scores.stick_r2) == {"j_left_x", "j_left_y", "j_right_x", "j_right_y"}
    assert set(scores.stick_r2.values()) == {1.0}


def test_reading_released_always_scores_the_part_of_released_frames_and_no_press() -> None:
    truth = human_log()
    scores = score(Log.of_states(States.rest(400)), truth, BUTTONS)
    assert scores.button_accuracy == pytest.approx(1 - truth.buttons.mean())
    assert scores.macro_f1 == scores.onset_f1 == scores.onset_f1_within_1 == 0
    assert scores.release_f1 == scores.release_f1_within_1 == 0
    assert scores.phantoms_per_minute == 0
    for name, i in BUTTON_INDEX.items():
        assert scores.buttons[name] == ButtonScores(pytest.approx(1 - truth.buttons[:, i].mean()), 0)


def test_sticks_always_centred_score_what_the_truth_is_off_centre() -> None:
    truth = human_log()
    true = truth.sticks[:, 0, 0]
    r2 = score(Log.of_states(States.rest(400)), truth, ["j_left"]).stick_r2["j_left_x"]
    assert r2 == pytest.approx(-(true.mean() ** 2) / true.var())


def test_a_reading_one_frame_late_has_no_exact_onset_and_every_onset_within_one() -> None:
    truth = human_log()
    truth.buttons[-2:] = False  # so that no late press slips out at the end
    truth.triggers[:] = np.nan
    late = replace(truth, buttons=np.roll(truth.buttons, 1, axis=0))
    scores = score(late, truth, BUTTONS)
    assert (scores.onset_f1, scores.onset_f1_within_1) == (0, 1)
    assert (scores.release_f1, scores.release_f1_within_1) == (0, 1)
    assert scores.phantoms_per_minute == 0
    assert scores.macro_f1 is not None and 0.5 < scores.macro_f1 < 1


def test_a_reading_two_frames_late_misses_the_onset_within_one() -> None:
    assert score(press(5, 6), press(3, 4), ["south"]).onset_f1_within_1 == 0


def test_one_press_read_twice_is_one_hit_and_one_false_onset() -> None:
    scores = score(press(3, 5), press(4, 5), ["south"])  # onsets read at 3 and 5, true at 4
    assert scores.onset_f1 == 0
    assert scores.onset_f1_within_1 == pytest.approx(2 / 3)


def test_a_press_already_held_on_the_first_frame_is_no_onset() -> None:
    assert score(press(0, 1), press(0, 1), ["south"]).onset_f1 is None


def test_controls_that_the_overlay_does_not_show_are_not_scored() -> None:
    truth = human_log()
    wrong = replace(truth, buttons=truth.buttons.copy(), sticks=-truth.sticks)
    wrong.buttons[:, 1:] ^= True
    scores = score(wrong, truth, ["south"])
    assert scores.button_accuracy == 1
    assert scores.stick_r2 == {} and scores.stick_r2_mean is None


def test_a_button_never_pressed_counts_in_the_accuracy_and_not_in_macro_f1() -> None:
    truth, read = press(4, 5), press(4, 5)
    read.buttons[7, BUTTON_INDEX["guide"]] = True
    scores = score(read, truth, ["south", "guide"])
    assert scores.macro_f1 == 1
    assert scores.button_accuracy == pytest.approx(0.95)


def test_an_unknown_reading_is_wrong_rather_than_released() -> None:
    truth = Log.of_states(States.rest(10))
    unread = replace(truth, known=np.zeros_like(truth.known), sticks=np.full_like(truth.sticks, np.nan))
    scores = score(unread, truth, CONTROLS)
    assert scores.coverage == 0
    assert scores.button_accuracy == 0


def test_an_unknown_stick_scores_like_a_centred_one() -> None:
    truth = human_log()
    unread = replace(truth, sticks=np.full_like(truth.sticks, np.nan))
    centred = replace(truth, sticks=np.zeros_like(truth.sticks))
    assert score(unread, truth, ["j_left"]).stick_r2 == score(centred, truth, ["j_left"]).stick_r2


def test_an_axis_that_never_moves_has_no_r2_and_stays_out_of_the_mean() -> None:
    truth = human_log()
    truth.sticks[:, 0, 1] = 0.3
    scores = score(truth, truth, ["j_left"])
    assert scores.stick_r2 == {"j_left_x": 1.0, "j_left_y": None}
    assert scores.stick_r2_mean == 1


def test_reading_the_mean_of_an_axis_has_r2_zero() -> None:
    truth = human_log()
    mean = replace(truth, sticks=np.broadcast_to(truth.sticks.mean(axis=0), truth.sticks.shape))
    assert score(mean, truth, ["j_left"]).stick_r2_mean == pytest.approx(0)


def test_frames_of_a_half_pressed_trigger_are_left_out_for_that_trigger_alone() -> None:
    truth = press(5, 6, 7, button=RIGHT_TRIGGER)
    truth.triggers[:, 1] = [0, 0, 0, 0, 0.4, 0.6, 0.9, 1, 0.1, 0]
    early = press(4, 5, 6, 7, button=RIGHT_TRIGGER)  # presses one frame early, in a frame that is left out
    early.buttons[4, SOUTH] = True
    scores = score(early, truth, ["right_trigger", "south"])
    assert scores.button_accuracy == pytest.approx((1 + 0.9) / 2)  # south is wrong in 1 of all 10 frames
    assert score(early, truth, ["right_trigger"]).onset_f1 == 1


def test_rows_meet_by_frame_index_and_a_missing_row_is_unknown() -> None:
    truth = human_log()
    second_half = Log.of_states(States(truth.buttons[200:], truth.sticks[200:], truth.triggers[200:]), first=200)
    scores = score(second_half, truth, CONTROLS)
    assert scores.coverage == 0.5
    assert scores.button_accuracy == pytest.approx(0.5)


def test_no_reading_at_all_scores_zero_instead_of_failing() -> None:
    nothing = Log.of_states(States.rest(0))
    scores = score(nothing, human_log(), BUTTONS)
    assert (scores.coverage, scores.button_accuracy, scores.macro_f1) == (0, 0, 0)


def test_an_unknown_control_name_is_refused() -> None:
    with pytest.raises(ValueError, match="left_stick"):
        score(human_log(), human_log(), ["left_stick"])


def test_a_repeated_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="increase"):
        replace(press(1), frame_index=np.zeros(10, np.int64))


def test_nulls_in_a_table_are_unknown() -> None:
    pair = pa.list_(pa.float32(), 2)
    columns: dict[str, pa.Array] = {"frame_index": pa.array([0, 1], pa.int64()), "timestamp": pa.array([0.0, 0.1])}
    columns |= {name: pa.array([True, None], pa.bool_()) for name in BUTTONS}
    columns |= {"j_left": pa.array([[0.5, -0.25], None], pair), "j_right": pa.array([None, [0, 1]], pair)}
    log = Log.of_table(pa.table(columns))
    assert log.known[:, SOUTH].tolist() == [True, False]
    assert log.known[:, CONTROLS.index("j_right")].tolist() == [False, True]
    assert log.buttons[:, SOUTH].tolist() == [True, False]
    assert log.sticks[0, 0].tolist() == [0.5, -0.25]
    assert np.isnan(log.sticks[1, 0]).all() and np.isnan(log.sticks[0, 1]).all()
    assert np.isnan(log.triggers).all()


def test_a_table_without_a_control_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="guide"):
        Log.of_table(pa.table({"frame_index": [0]}))


pressed_frames = st.lists(st.booleans(), min_size=20, max_size=20)


@given(read=pressed_frames, true=pressed_frames)
def test_scores_stay_in_range_and_tolerance_never_lowers_them(read: list[bool], true: list[bool]) -> None:
    scores = score(press(*np.flatnonzero(read), length=20), press(*np.flatnonzero(true), length=20), ["south"])
    assert scores.button_accuracy == pytest.approx(np.mean(np.array(read) == np.array(true)))
    for value in (scores.macro_f1, scores.onset_f1, scores.onset_f1_within_1):
        assert value is None or 0 <= value <= 1
    if scores.onset_f1 is not None and scores.onset_f1_within_1 is not None:
        assert scores.onset_f1 <= scores.onset_f1_within_1


def test_a_release_is_missed_where_two_presses_are_read_as_one() -> None:
    scores = score(press(2, 3, 4, 5, 6), press(2, 3, 5, 6), ["south"])
    assert scores.onset_f1 == scores.release_f1 == pytest.approx(2 / 3)  # one of two, and none too many


@pytest.mark.parametrize(
    ("read", "true", "phantoms"),
    [
        ((5,), (), 1),  # a single frame that nobody pressed
        ((5, 6, 7), (), 1),  # one press, however long
        ((2, 5), (), 2),
        ((5,), (6,), 0),  # a frame early is not made up
        ((5,), (4,), 0),
        ((5,), (7,), 1),  # two frames early is
        ((5, 6, 7, 8), (8,), 0),  # begins far too early, but the press is there
        ((0,), (), 1),
        ((9,), (), 1),
    ],
)
def test_a_press_that_nobody_made_is_a_phantom(read: tuple[int, ...], true: tuple[int, ...], phantoms: int) -> None:
    # 10 frames at 60 a second last 1/6 s.
    assert score(press(*read), press(*true), ["south"]).phantoms_per_minute == pytest.approx(phantoms * 360)


def test_phantoms_are_counted_on_shown_buttons_and_never_while_a_trigger_is_halfway() -> None:
    truth = press()
    truth.triggers[4:7, 1] = 0.4
    assert score(press(5, button=RIGHT_TRIGGER), truth, ["right_trigger"]).phantoms_per_minute == 0
    assert score(press(5, button=RIGHT_TRIGGER), truth, ["south"]).phantoms_per_minute == 0


def test_opposite_sides_of_the_dpad_and_sticks_beyond_their_range_are_impossible() -> None:
    truth = press()
    read = replace(truth, buttons=truth.buttons.copy(), sticks=truth.sticks.copy())
    read.buttons[2:5, [BUTTON_INDEX["dpad_up"], BUTTON_INDEX["dpad_down"]]] = True
    read.buttons[7, [BUTTON_INDEX["dpad_up"], BUTTON_INDEX["dpad_left"]]] = True  # a diagonal is possible
    read.sticks[4, 0, 0] = 1.5  # in a frame that is counted already
    read.sticks[8, 1, 1] = np.inf
    read.sticks[9, 0] = np.nan
    assert score(read, truth, CONTROLS).impossible_states == 5


def test_an_unknown_stick_is_not_impossible() -> None:
    truth = press()
    read = replace(truth, sticks=np.full_like(truth.sticks, np.nan), known=truth.known.copy())
    read.known[:, [CONTROLS.index("j_left"), CONTROLS.index("j_right")]] = False
    assert score(read, truth, CONTROLS).impossible_states == 0


def test_a_frame_is_right_when_all_that_was_read_is() -> None:
    truth = press(4, 5)
    read = replace(press(5), confidence=np.array([0.9] * 4 + [0.3] + [0.9] * 5))  # frame 4 is wrong
    read.sticks[7, 0, 0] = 0.3  # so is this one, by more than 0.25
    read.sticks[8, 0, 0] = 0.2
    scores = score(read, truth, ["south", "j_left"])
    assert scores.frames_right == pytest.approx(0.8)
    assert scores.errors_caught == 0.5
    assert score(read, truth, ["south"]).frames_right == pytest.approx(0.9)


def test_confidence_is_judged_where_something_was_read() -> None:
    truth = press(length=20)
    read = replace(truth, known=truth.known.copy(), confidence=np.full(20, 0.5))
    read.known[10:] = False
    scores = score(read, truth, ["south"])
    assert scores.frames_right == 1
    assert scores.calibration_error == pytest.approx(0.5)
    assert score(replace(read, confidence=np.full(20, np.nan)), truth, ["south"]).calibration_error is None


def test_frames_that_the_truth_does_not_know_are_not_scored() -> None:
    truth = human_log()
    read = replace(truth, buttons=truth.buttons.copy(), sticks=truth.sticks.copy())
    read.buttons[100:200] ^= True
    read.sticks[100:200] *= -1
    blind = replace(truth, known=truth.known.copy(), sticks=truth.sticks.copy())
    blind.known[100:200] = False
    blind.sticks[100:200] = np.nan
    scores = score(read, blind, ["south", "j_left"])
    assert scores.frames == 300
    assert scores.button_accuracy == scores.macro_f1 == scores.stick_r2_mean == scores.frames_right == 1


def test_means_leave_out_what_is_undecided_and_add_up_what_is_counted() -> None:
    truth = human_log()
    perfect = score(truth, truth, ["south", "j_left"])
    blind = score(Log.of_states(States.rest(400)), truth, ["south", "guide"])
    mean = mean_scores([perfect, blind])
    assert mean.frames == 800
    assert mean.stick_r2_mean == 1  # the other has no stick
    assert mean.macro_f1 == 0.5
    assert mean.buttons["south"].f1 == 0.5
    assert mean.buttons["guide"] == blind.buttons["guide"]
    assert isinstance(mean, Scores)
