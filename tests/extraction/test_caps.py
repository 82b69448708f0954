"""The caps of sticks that nobody drew are found by what moves, however far off the layout has them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from extraction.caps import Cap, find_caps

SIZE, MIDDLE, RADIUS, TRAVEL = (80, 100), (48.0, 40.0), 10, 8  # h, w; x, y
OFF_BY_SOME = (30.0, 24.0, 36.0, 36.0)  # what it sweeps is 31, 23, 34, 34


def _play(at_rest: int, tilted: int) -> np.ndarray:
    """120 pictures of a stick that rests half of the time."""
    return _draw(_around(), at_rest, tilted)


def _around() -> np.ndarray:
    """Its places (120, 2)."""
    turns = np.linspace(0, 6 * np.pi, 120)
    away = np.stack([np.cos(turns), np.sin(turns)], 1) * TRAVEL * (np.sin(turns / 5) ** 2)[:, None]
    away[::2] = 0
    return away


def _draw(away: np.ndarray, at_rest: int, tilted: int) -> np.ndarray:
    """Pictures of a bright-rimmed cap on a pad with an edge beside it, as far away (N, 2) from its middle."""
    crops = np.full((len(away), *SIZE, 3), 90, np.uint8)
    crops[:, :, :20] = 140
    for crop, by in zip(crops, away, strict=True):
        x, y = (round(middle + step) for middle, step in zip(MIDDLE, by, strict=True))
        cv2.circle(crop, (x, y), RADIUS, (200, 180, 60), -1)
        cv2.circle(crop, (x, y), RADIUS - 3, (at_rest if np.hypot(*by) < 1 else tilted,) * 3, -1)
    return crops


def _find(
    crops: np.ndarray, off: float, box: tuple[float, float, float, float] = OFF_BY_SOME
) -> dict[str, tuple[float, ...]]:
    x, y, w, h = box
    rest, nowhere = np.median(crops, 0).astype(np.uint8), np.zeros(SIZE, bool)
    found = find_caps(crops, rest, {"j_left": (x + off, y - off, w, h)}, [], nowhere)
    return {name: (*cap.middle, cap.side, cap.travel, len(cap.looks)) for name, cap in found.items()}


@pytest.mark.parametrize("off", [0, 6])
def test_a_cap_is_found_where_it_rests_and_as_far_as_it_goes(off: int) -> None:
    x, y, side, travel, looks = _find(_play(40, 40), off)["j_left"]
    assert (x, y) == pytest.approx(MIDDLE, abs=1.6)
    assert side == pytest.approx(2 * RADIUS + 1, abs=4)
    assert travel == pytest.approx(TRAVEL, abs=2)
    assert looks == 1


def test_a_cap_that_turns_white_when_tilted_has_two_looks() -> None:
    x, y, _, travel, looks = _find(_play(40, 255), 3)["j_left"]
    assert (x, y) == pytest.approx(MIDDLE, abs=1.6)
    assert travel == pytest.approx(TRAVEL, abs=2)
    assert looks == 2


def _held_aside() -> np.ndarray:
    """Places (120, 2) of a stick that is held up and right for long, goes all around, and is seldom let go."""
    turns = np.linspace(0, 4 * np.pi, 61, endpoint=False)
    held, around = np.full((52, 2), (0.7, -0.7)), np.stack([np.cos(turns), np.sin(turns)], 1)
    return np.concatenate([held, around, np.zeros((7, 2))])


def _pushed_into_corners() -> np.ndarray:
    """Places (120, 2) of a stick in a square gate."""
    corners = np.array([(1, 1), (-1, 1), (1, -1), (-1, -1), (0, 0), (0, 1), (1, 0), (0, 0)])
    return np.tile(corners, (15, 1)).astype(np.float64)


@pytest.mark.parametrize("places", [_held_aside(), _pushed_into_corners()], ids=["held", "corners"])
def test_a_cap_rests_in_the_middle_of_where_it_goes(places: np.ndarray) -> None:
    x, y, _, travel, _ = _find(_draw(TRAVEL * places, 40, 40), 3)["j_left"]
    assert (x, y) == pytest.approx(MIDDLE, abs=1.6)
    assert travel == pytest.approx(TRAVEL, abs=1.6)


def test_what_looks_like_the_cap_where_no_step_leads_is_not_where_it_goes() -> None:
    away = _around()
    away[50:60] = (2.2 * TRAVEL, 0)
    *_, travel, _ = _find(_draw(away, 40, 40), 0, (24.0, 16.0, 48.0, 48.0))["j_left"]
    assert travel == pytest.approx(TRAVEL, abs=2)


def test_a_digital_stick_jumps() -> None:
    corners = np.array([(0, 0), (1, 0), (0, 0), (0, -1), (-1, 0), (0, 0), (0, 1), (0, 0)])
    *_, travel, _ = _find(_draw(np.tile(corners, (15, 1)) * TRAVEL, 40, 40), 0)["j_left"]
    assert travel == pytest.approx(TRAVEL, abs=2)


def test_what_moves_far_from_the_layout_is_not_the_stick() -> None:
    assert not _find(_play(40, 40), 20)


def test_where_only_a_game_moves_no_cap_is_found() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, *SIZE, 3), np.uint8)
    assert not _find(noise, 0)


def test_where_nothing_moves_no_cap_is_found() -> None:
    assert not _find(np.full((40, *SIZE, 3), 90, np.uint8), 0)


@pytest.mark.parametrize("buttons", [[], [(0.0, 0.0, 100.0, 80.0)]])
@pytest.mark.parametrize("box", [(46.0, 38.0, 4.0, 4.0), (-20.0, 60.0, 30.0, 30.0), (200.0, 200.0, 30.0, 30.0)])
def test_a_box_that_shows_little_or_nothing_does_no_harm(
    box: tuple[float, float, float, float], buttons: list[tuple[float, float, float, float]]
) -> None:
    crops = _play(40, 40)
    rest = np.median(crops, 0).astype(np.uint8)
    found = find_caps(crops, rest, {"j_left": box, "j_right": OFF_BY_SOME}, buttons, np.zeros(SIZE, bool))
    assert set(found) <= {"j_left", "j_right"}
    assert all(np.isfinite((*cap.middle, cap.travel)).all() for cap in found.values())


def test_two_sticks_of_which_one_moves_are_told_apart() -> None:
    """The other one is like it and never moves."""
    crops = _play(40, 40)
    both = np.concatenate([crops, np.repeat(crops[:1], len(crops), 0)], 2)
    found = _find_both(both)
    assert found["j_left"].middle == pytest.approx(MIDDLE, abs=1.6)


def test_a_stick_that_is_hardly_used_wears_the_cap_of_the_other_one() -> None:
    crops = _play(40, 40)
    hardly = np.repeat(crops[:1], len(crops), 0)
    hardly[60:64] = crops[[11, 13, 15, 17]]
    found = _find_both(np.concatenate([crops, hardly], 2))
    assert found["j_right"].middle == pytest.approx((MIDDLE[0] + SIZE[1], MIDDLE[1]), abs=1.6)
    assert found["j_right"].side == pytest.approx(found["j_left"].side, abs=4)


def test_a_clicked_look_is_the_whole_cap() -> None:
    """Clicked in one place only, it would fit anywhere about there as well."""
    crops = _play(40, 40)
    clicked = crops.copy()
    clicked[40:46] = crops[0]
    for crop in clicked[40:46]:
        cv2.circle(crop, (round(MIDDLE[0]), round(MIDDLE[1])), RADIUS, (0, 255, 255), -1)
    rest = np.median(clicked, 0).astype(np.uint8)
    look = find_caps(clicked, rest, {"j_left": OFF_BY_SOME}, [], np.zeros(SIZE, bool))["j_left"].clicked
    assert look is not None
    lit = (np.abs(look[..., :3].astype(int) - (0, 255, 255)).max(2) < 40) & (look[..., 3] > 0)
    assert lit.sum() == pytest.approx(np.pi * RADIUS**2, rel=0.25)


def _find_both(crops: np.ndarray) -> dict[str, Cap]:
    x, y, w, h = OFF_BY_SOME
    boxes = {"j_left": OFF_BY_SOME, "j_right": (x + SIZE[1], y, w, h)}
    return find_caps(crops, np.median(crops, 0).astype(np.uint8), boxes, [], np.zeros(crops.shape[1:3], bool))
