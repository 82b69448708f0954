"""Pairs say where each corner went; a run learns, stops, resumes where it stood, and its weights say what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors import safe_open

from extraction.xfeat import open_xfeat
from synthetic.backgrounds import Backgrounds
from synthetic.pairs import WINDOW_WH, Pair, PairMaker
from synthetic.xfeat import Recipe, train
from templates.catalogue import library

TINY = Recipe(pairs=32, batch=4, learning_rate=1e-3)
DRAWINGS = {name: library()[name] for name in ("snes/dark", "xbox_one/own")}


def maker(seed: int = 1) -> PairMaker:
    return PairMaker(DRAWINGS, Backgrounds(None), seed)


def is_same(a: Pair, b: Pair) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Pair.__dataclass_fields__)


def test_a_pair_depends_on_its_number_alone() -> None:
    first, second = maker(), maker()
    first.make(0)
    assert is_same(first.make(5), second.make(5))
    assert not is_same(first.make(5), first.make(6))


def agreement(pair: Pair, off_px: float) -> float:
    """Median correlation of what lies around the same corners of both pictures, one shifted aside."""
    points = pair.points[:, : pair.known]
    patches = [
        [cv2.getRectSubPix(picture, (13, 13), (float(x) - 0.5, float(y) - 0.5)).ravel() for x, y in of]
        for picture, of in zip(pair.pictures, (points[0], points[1] + np.float32(off_px)), strict=True)
    ]
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(*patches, strict=True) if a.std() > 0 and b.std() > 0]
    return float(np.median(found)) if found else 0.0


def test_the_same_corners_of_both_pictures_look_alike_and_places_beside_them_do_not() -> None:
    pairs = [maker().make(i) for i in range(40)]
    assert all((pair.points[:, : pair.known] <= WINDOW_WH).all() for pair in pairs)
    assert np.mean([agreement(pair, 0) for pair in pairs]) > 0.6
    assert np.mean([agreement(pair, 6) for pair in pairs]) < 0.3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    start(folder)
    return folder


def start(folder: Path) -> Path:
    return train(TINY, DRAWINGS, Backgrounds(None), Backgrounds(None), folder, report_every=1)


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_a_run_learns(run: Path) -> None:
    losses = [line["descriptors"] for line in curve(run)]
    assert min(losses[-2:]) < 0.9 * losses[0]


def test_a_killed_run_goes_on_where_it_stood_and_ends_the_same(run: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill_halfway(done: int, line: dict[str, float]) -> None:
        if done >= TINY.pairs // 2:
            raise Killed

    games = Backgrounds(None)
    with pytest.raises(Killed):
        train(TINY, DRAWINGS, games, games, tmp_path, report_every=1, on_progress=kill_halfway)
    start(tmp_path)
    expected = [line["descriptors"] for line in curve(run)]
    assert [line["descriptors"] for line in curve(tmp_path)] == pytest.approx(expected, rel=0.02)


def test_a_finished_run_does_no_more_work(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    start(copy)
    assert len(curve(copy)) == len(curve(run))


def test_weights_carry_their_recipe_and_scores_and_find_keypoints(run: Path) -> None:
    weights = run / "xfeat.safetensors"
    with safe_open(weights, "pt") as file:
        about = json.loads(file.metadata()["padtrace"])
    assert Recipe.model_validate(about["recipe"]) == TINY
    assert set(about["scores_on_held_out_games"]) >= {"repeated", "matched", "trusted"}
    assert weights.stat().st_size < 3e6
    assert open_xfeat(weights).name == "xfeat"
