"""What the scores mean, told by readings whose quality is known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.score import Log, count_matches, score
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, States

SOUTH = BUTTON_INDEX["south"]
RIGHT_TRIGGER = BUTTON_INDEX["right_trigger"]


def human_log(length: int = 400, seed: int = 0) -> Log:
    """Presses of 3 to 12 frames on every button and sticks that wander; triggers follow their buttons."""
    rng = np.random.default_rng(seed)
    states = States.rest(length)
    for button in range(17):
        start = int(rng.integers(2, 20))
        while start < length:
            held = int(rng.integers(3, 12))
            states.buttons[start : start + held, button] = True
            start += held + int(rng.integers(3, 40))
    states.sticks[:] = np.clip(np.cumsum(rng.normal(0, 0.1, (length, 2, 2)), axis=0), -1, 1)
    states.triggers[:] = states.buttons[:, BUTTON_INDEX["left_trigger"] : RIGHT_TRIGGER + 1]
    return Log.of_states(states)


def press(*frames: int, length: int = 10, button: int = SOUTH) -> Log:
    """A log in which one button is held in the given frames."""
    log = Log.of_states(States.rest(length))
    log.buttons[list(frames), button] = True
    return log


def test_a_perfect_reading_scores_one_everywhere() -> None:
    truth = human_log()
    scores = score(truth, truth, CONTROLS)
    assert scores.coverage == scores.button_accuracy == scores.macro_f1 == 1
    assert scores.onset_f1 == scores.onset_f1_within_1 == 1
    assert set(scores.stick_r2) == {"j_left_x", "j_left_y", "j_right_x", "j_right_y"}
    assert set(scores.stick_r2.values()) == {1.0}


def test_reading_released_always_scores_the_part_of_released_frames_and_no_press() -> None:
    truth = human_log()
    scores = score(Log.of_states(States.rest(400)), truth, BUTTONS)
    assert scores.button_accuracy == pytest.approx(1 - truth.buttons.mean())
    assert scores.macro_f1 == scores.onset_f1 == scores.onset_f1_within_1 == 0


def test_a_reading_one_frame_late_has_no_exact_onset_and_every_onset_within_one() -> None:
    truth = human_log()
    truth.buttons[-2:] = False  # so that no late press slips out at the end
    truth.triggers[:] = np.nan
    late = replace(truth, buttons=np.roll(truth.buttons, 1, axis=0))
    scores = score(late, truth, BUTTONS)
    assert (scores.onset_f1, scores.onset_f1_within_1) == (0, 1)
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
    columns: dict[str, pa.Array] = {"frame_index": pa.array([0, 1], pa.int64())}
    columns |= {name: pa.array([True, None], pa.bool_()) for name in BUTTONS}
    columns |= {"j_left": pa.array([[0.5, -0.25], None], pair), "j_right": pa.array([None, [0, 1]], pair)}
    log = Log.of_table(pa.table(columns))
    assert log.known[:, SOUTH].tolist() == [True, False]
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


@given(
    found=st.sets(st.integers(0, 30), max_size=6).map(sorted),
    true=st.sets(st.integers(0, 30), max_size=6).map(sorted),
    tolerance=st.integers(0, 3),
)
def test_matching_finds_the_most_pairs_and_is_symmetric(found: list[int], true: list[int], tolerance: int) -> None:
    def best(i: int, used: frozenset[int]) -> int:
        """The same count by trying everything."""
        if i == len(found):
            return 0
        partners = [t for t in true if abs(t - found[i]) <= tolerance and t not in used]
        return max([best(i + 1, used), *(1 + best(i + 1, used | {t}) for t in partners)])

    matches = count_matches(found, true, tolerance)
    assert matches == best(0, frozenset()) == count_matches(true, found, tolerance)
