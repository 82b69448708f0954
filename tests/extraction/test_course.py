"""Where sticks stand, from many frames and from the dips of their fits."""

from __future__ import annotations

import numpy as np
import pytest

from extraction.course import (
    ANYWHERE,
    PLACES,
    SIDE,
    find_sticks,
    look_back,
    sample_places,
    settle,
    smooth,
    tell_by_fits,
)

FPS = 60
STEP = float(PLACES[1] - PLACES[0])


def seen(course: np.ndarray, clear: float = 12.0, width: float = 0.2) -> np.ndarray:
    """(N, 2) places -> (N, 2, 15, 15) evidence of both sticks there, ``clear`` nats above what is elsewhere."""
    away = (PLACES - course[:, :1])[:, None, :] ** 2 + (PLACES - course[:, 1:])[:, :, None] ** 2
    evidence = clear * np.exp(-away / (2 * width**2))
    return np.repeat(evidence[:, None], 2, 1).astype(np.float32)


def follow(evidence: np.ndarray, fps: float = FPS, batch: int | None = None) -> np.ndarray:
    """(N, 2, 2) sticks of a whole video, ``batch`` frames at a time; nothing fits better than elsewhere."""
    pts_s = (np.arange(len(evidence)) / fps).tolist()
    fits = np.zeros((len(evidence), 2, SIDE, SIDE), np.float32)
    sticks, told = [], ANYWHERE
    for start in range(0, len(evidence), batch or len(evidence)):
        now, then = (slice(start + shift, start + shift + (batch or len(evidence))) for shift in (0, batch or 10**9))
        masses, told = smooth(evidence[now], pts_s[now], told, look_back(evidence[then], pts_s[then]))
        sticks.append(find_sticks(masses, fits[now])[0])
    return np.concatenate(sticks)


def still(frames: int, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return np.tile(np.array([x, y]), (frames, 1))


def dip(at: tuple[float, float], depth: float) -> np.ndarray:
    """Fits that are ``depth`` but for a bowl about a cell wide around ``at``, where they are 0: (1, 15, 15)."""
    away = (PLACES - at[0]) ** 2 + (PLACES[:, None] - at[1]) ** 2
    return np.asarray(depth * np.minimum(away / (2 * STEP) ** 2, 1)[None], np.float32)


@pytest.mark.parametrize("fps", [30, 60])
def test_faint_frames_that_deceive_for_a_moment_move_no_stick(fps: float) -> None:
    evidence = seen(still(120, 0.5, -0.3), clear=4.0)
    evidence[50:52] = seen(still(2, -0.8, 0.6), clear=5.0)
    assert np.abs(follow(evidence, fps) - (0.5, -0.3)).max() < 0.15


def test_a_clear_flick_of_one_frame_is_read_in_its_frame_and_in_no_other() -> None:
    course = still(60)
    course[30] = (1.0, 0.0)
    sticks = follow(seen(course, clear=25.0))
    assert sticks[30, :, 0].min() > 0.9
    assert np.abs(np.delete(sticks, 30, 0)).max() < 0.05


def test_a_stick_that_moves_all_the_time_does_not_lag() -> None:
    angle = np.arange(180) * 9 / FPS
    course = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert np.abs(follow(seen(course)) - course[:, None]).max() < 0.15


def test_a_place_that_draws_the_stick_a_little_in_every_frame_does_not_win() -> None:
    angle = np.arange(180) * 9 / FPS
    course = np.stack([np.cos(angle), np.sin(angle)], 1)
    evidence = np.maximum(seen(course, clear=4.0), seen(still(180, 0.0, -0.8), clear=3.0))
    assert np.abs(follow(evidence) - course[:, None]).mean() < 0.25


def test_batches_read_as_the_whole_does() -> None:
    rng = np.random.default_rng(0)
    course = np.repeat(rng.uniform(-1, 1, (16, 2)), 20, 0)
    evidence = seen(course, clear=4.0) + rng.normal(0, 1, (320, 2, 15, 15)).astype(np.float32)
    assert follow(evidence, batch=64) == pytest.approx(follow(evidence), abs=0.01)


def test_certainty_is_low_where_two_places_are_as_likely() -> None:
    clear = seen(still(1, 0.6, 0.0), clear=20.0)
    torn = np.maximum(clear, seen(still(1, -0.6, 0.0), clear=20.0))
    fits = np.zeros((1, 2, SIDE, SIDE), np.float32)
    certainties = [find_sticks(smooth(each, [0.0], ANYWHERE, ANYWHERE)[0], fits)[1].max() for each in (clear, torn)]
    assert certainties[0] > 0.9
    assert certainties[1] < 0.1


def test_places_are_sampled_where_a_stick_with_that_travel_is() -> None:
    grids = np.zeros((1, 2, 11, 11), np.float32)
    grids[0, :, 5, 8] = 1.0  # 6/11 of half a tile to the right
    gain = np.array([[11 / 6, 11 / 6], [0, 0]], np.float32)  # where that is full tilt; no second stick
    places = sample_places(grids, gain)[0, 0]
    row, column = np.unravel_index(places.argmax(), places.shape)
    assert PLACES[row] == pytest.approx(0, abs=STEP / 2)
    assert PLACES[column] == pytest.approx(1, abs=STEP / 2)


@pytest.mark.parametrize("at", [(0.0, 0.0), (0.31, -0.47), (-0.9, 0.9), (1.17, -1.17)])
def test_a_place_settles_in_a_clear_dip_beside_it(at: tuple[float, float]) -> None:
    coarse = np.array([[at[0] + 0.07, at[1] - 0.05]])
    assert settle(coarse, dip(at, 0.1))[0].tolist() == pytest.approx(at, abs=0.02)


def test_a_shallow_dip_and_one_far_away_move_nothing() -> None:
    place = np.array([[0.1, 0.2]])
    noise = np.random.default_rng(0).normal(0.1, 0.02, (1, SIDE, SIDE)).astype(np.float32)
    assert np.array_equal(settle(place, noise + dip((0.15, 0.2), 0.01)), place)
    assert np.array_equal(settle(place, dip((-0.6, 0.2), 0.1)), place)


def test_a_fit_tells_by_how_far_it_is_above_the_noise() -> None:
    clear, noisy = (np.repeat(dip((0.5, 0.0), 0.1)[None] + noise, 2, 1) for noise in (0.0, 0.1))
    told = [tell_by_fits(each, 5)[0, 0] for each in (clear, noisy)]
    assert [each.max() for each in told] == [0, 0]
    assert told[0].min() < -20 * STEP
    assert -4 < told[1].min() < -1


def test_a_stick_that_is_not_drawn_is_told_by_nothing_else() -> None:
    fits = np.full((3, 2, SIDE, SIDE), np.nan, np.float32)
    assert not tell_by_fits(fits, 5).any()
    masses = smooth(seen(still(3, 0.5, 0.0)), [0.0, 0.1, 0.2], ANYWHERE, ANYWHERE)[0]
    assert np.isfinite(find_sticks(masses, fits)[0]).all()
