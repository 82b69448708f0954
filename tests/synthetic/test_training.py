"""A run learns, stops, resumes where it stood, and its weights say what they are."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from extraction.network import ParserConfig
from extraction.parse import Parser
from extraction.records import SourceError
from synthetic.backgrounds import Backgrounds
from synthetic.training import CONFIGS, TrainConfig, expect_place, grid_target, train
from templates.catalogue import library

TINY = TrainConfig(
    name="tiny",
    net=ParserConfig(hidden_sizes=(8, 8, 16, 16), depths=(1, 1, 1, 1), heads=(1, 1, 1, 1), decoder_size=16),
    samples=256,
    batch=64,
    learning_rate=1e-3,
    weight_decay=0.0,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    start(folder, TINY)
    return folder


def start(folder: Path, config: TrainConfig) -> Path:
    templates = dict(list(library().items())[:2])
    backgrounds = Backgrounds(None)
    return train(config, templates, backgrounds, backgrounds, folder, report_every=1)


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_a_killed_run_goes_on_where_it_stood_and_ends_the_same(run: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill_halfway(done: int, line: dict[str, float]) -> None:
        if done >= TINY.samples // 2:
            raise Killed

    templates, backgrounds = dict(list(library().items())[:2]), Backgrounds(None)
    with pytest.raises(Killed):
        train(TINY, templates, backgrounds, backgrounds, tmp_path, report_every=1, on_progress=kill_halfway)
    start(tmp_path, TINY)
    assert [line["loss"] for line in curve(tmp_path)] == pytest.approx([line["loss"] for line in curve(run)], rel=0.02)


def test_a_finished_run_does_no_more_work(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    start(copy, TINY)
    assert len(curve(copy)) == len(curve(run))


def test_weights_carry_their_recipe_and_scores(run: Path) -> None:
    parser = Parser.load(run / "parser.safetensors", "cpu")
    assert parser.info["recipe"]["learning_rate"] == TINY.learning_rate
    assert set(parser.info["scores_on_held_out_renders"]) >= {"accuracy", "macro_f1", "stick_r2"}


def test_weights_that_do_not_match_are_refused_in_one_sentence(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(ValueError, match="another network"):
        shutil.copytree(run, other)
        start(other, TINY.model_copy(update={"net": ParserConfig()}))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((run / "parser.safetensors").read_bytes()[:1000])
    with pytest.raises(SourceError, match="does not hold weights"):
        Parser.load(broken, "cpu")


def test_the_paper_recipe_is_the_published_one() -> None:
    paper = CONFIGS["paper"]
    assert (paper.learning_rate, paper.weight_decay, paper.batch, paper.samples) == (
        1e-4,
        0.1,
        256,
        8_000_000,
    )


def test_the_expectation_of_a_grid_target_is_the_place_itself() -> None:
    place = torch.tensor([[[0.0, 0.0], [0.31, -0.77]]])
    mass = grid_target(place)
    assert mass.sum((-1, -2)) == pytest.approx(1)
    read = expect_place((mass + 1e-9).log())
    assert torch.allclose(read, place, atol=1e-4)
