"""Backgrounds: pairs of frames that belong together, from games or made up."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from synthetic.backgrounds import SIZE_WH, Backgrounds, harvest, procedural, to_video
from synthetic.games import EVAL_GAMES, TRAIN_GAMES

SHAPE = (2, SIZE_WH[1], SIZE_WH[0], 3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def harvested(tmp_path: Path) -> Path:
    """A file as ``harvest`` writes it: every pair one colour, brightening from frame to frame."""
    pairs = np.zeros((4, *SHAPE), np.uint8)
    pairs[:, 0], pairs[:, 1] = 100, 110
    np.save(tmp_path / "pairs.npy", pairs)
    return tmp_path / "pairs.npy"


def test_training_and_evaluation_share_no_game() -> None:
    assert len(set(TRAIN_GAMES)) == len(TRAIN_GAMES)
    assert set(TRAIN_GAMES).isdisjoint(EVAL_GAMES)


def test_made_up_pairs_move_a_little_and_differ_from_each_other() -> None:
    pairs = procedural(rng(), 60, 90, 120)
    assert pairs.shape == (60, 2, 90, 120, 3)
    moved = (pairs[:, 0] != pairs[:, 1]).any((1, 2, 3))
    assert 0.3 < moved.mean() < 0.9
    assert len({pair.tobytes() for pair in pairs}) == 60


def test_the_same_seed_samples_the_same_pairs(harvested: Path) -> None:
    first, second = (Backgrounds(harvested).sample_pairs(rng(3), 8) for _ in range(2))
    assert first.shape == (8, *SHAPE)
    assert first.dtype == np.uint8
    assert (first == second).all()


def test_most_pairs_come_from_the_file(harvested: Path) -> None:
    pairs = Backgrounds(harvested).sample_pairs(rng(), 100)
    brightness = pairs.astype(float).mean((2, 3, 4))
    flat = pairs.std((2, 3)).max((1, 2)) == 0
    brightened = flat & (brightness[:, 1] > brightness[:, 0])
    assert 0.5 < brightened.mean() < 0.8  # some of the file's are held still, cut or saturated


def test_both_frames_of_a_pair_are_recoloured_alike(harvested: Path) -> None:
    np.save(harvested, np.repeat(rng().integers(0, 256, (4, 1, *SHAPE[1:]), np.uint8), 2, axis=1))
    pairs = Backgrounds(harvested).sample_pairs(rng(5), 40)
    assert (pairs[:, 0] == pairs[:, 1]).all((1, 2, 3)).mean() > 0.7


def test_an_absent_file_is_one_warning_and_made_up_pairs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        backgrounds = Backgrounds(tmp_path / "none.npy")
        pairs = [backgrounds.sample_pairs(rng(), 4) for _ in range(2)]
    assert len(caplog.records) == 1
    assert pairs[0].shape == (4, *SHAPE)


def test_no_file_wanted_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert Backgrounds(None).sample_pairs(rng(), 3).shape == (3, *SHAPE)
    assert not caplog.records


@pytest.mark.parametrize(
    ("aspect", "bars"),
    [
        (16 / 9, 0),  # fills the video
        (4 / 3, 160),  # 960 of 1280 columns
    ],
)
def test_a_game_keeps_its_aspect_between_black_bars(aspect: float, bars: int) -> None:
    frame = to_video(np.full((210, 160, 3), 200, np.uint8), (1280, 720), aspect, smooth=True)
    assert frame.shape == (720, 1280, 3)
    lit = frame.any((0, 2))
    assert lit.sum() == 1280 - 2 * bars
    assert not lit[:bars].any()


def test_harvest_writes_pairs_of_frames_of_each_game(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("vizdoom")
    path = harvest(tmp_path / "cache" / "pairs.npy", 1, ["atari:pong", "doom:freedoom2/MAP02"], 8)
    pairs = np.load(path)
    assert pairs.shape == (8, *SHAPE)
    assert pairs.std((1, 2, 3, 4)).max() > 5
    change = np.abs(pairs[:, 0].astype(int) - pairs[:, 1]).mean((1, 2, 3))
    assert (change < 60).all()  # neighbours in time
    assert [entry.name for entry in path.parent.iterdir()] == ["pairs.npy"]


def test_an_unknown_game_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="chess"):
        harvest(tmp_path / "pairs.npy", 1, ["chess"], 2)
