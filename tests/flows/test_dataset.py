"""From a video on the command line to batches for training, and what the commands say on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader
from typer.testing import CliRunner, Result

from extraction.logs import Log, read_truth
from extraction.score import score
from flows.cli import app
from padtrace.dataset import FrameActionStream, SampleOptions
from templates.catalogue import library
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, TRIGGERS, States
from templates.draw import draw_rgba
from tests.dataset.conftest import write_shard

SAMPLE = Path(__file__).resolve().parents[2] / "sample"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_pack_says_what_it_made(tmp_path: Path) -> None:
    write_shard(tmp_path, "one")
    done = run("pack", tmp_path)
    assert done.exit_code == 0, done.output
    assert "3 chunks, 0.01 hours, in 1 files; 1 of them written now" in done.stdout
    told = json.loads(run("pack", tmp_path, "--json").stdout)
    assert told["files"] == 1 and told["written"] == 0 and told["chunks"] == 3


def test_a_bad_shard_is_one_sentence_and_skip_bad_goes_on(tmp_path: Path) -> None:
    write_shard(tmp_path, "good")
    write_shard(tmp_path, "bad").write_bytes(b"PAR1 no")
    stopped = run("pack", tmp_path)
    assert stopped.exit_code == 1 and not (tmp_path / "index.parquet").exists()
    (line,) = [line for line in stopped.stderr.splitlines() if line]
    assert line.startswith("error: expected a whole Parquet file at") and "shards/bad.parquet" in line
    went_on = run("pack", tmp_path, "--skip-bad")
    assert went_on.exit_code == 1 and "3 chunks" in went_on.stdout and (tmp_path / "index.parquet").exists()


def test_import_and_export_refuse_what_they_cannot_read(tmp_path: Path) -> None:
    for arguments in (
        ("import", "recording", tmp_path, "--out", tmp_path / "o"),
        ("export", "nitrogen", tmp_path, "o"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and result.stderr.startswith("error: expected"), result.output
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_the_sample_shows_comes_out_of_the_loader(tmp_path: Path) -> None:
    """extract, pack, load, redraw: what the batches hold is what the log of the clip holds."""
    for command in (("extract", SAMPLE / "video.mp4", "--out", tmp_path), ("pack", tmp_path)):
        done = run(*command)
        assert done.exit_code == 0, done.output
    stream = FrameActionStream(tmp_path, SampleOptions(horizon=1, action_shift=0), batch_size=32)
    frames, buttons, sticks = [], [], []
    for batch in DataLoader(stream, batch_size=None):
        frames.append(batch["frame_index"].numpy())
        buttons.append(batch["buttons"][:, 0].numpy())
        sticks.append(np.stack([batch["j_left"][:, 0], batch["j_right"][:, 0]], axis=1))
        assert batch["known"].all()
    order = np.argsort(np.concatenate(frames))
    index = np.concatenate(frames)[order]
    loaded = States(
        np.concatenate(buttons)[order], np.concatenate(sticks)[order], np.zeros((len(order), 2), np.float32)
    )
    truth = read_truth(SAMPLE / "truth.parquet")
    assert index.tolist() == truth.frame_index.tolist()  # every chunk of the sample is kept
    scores = score(Log.of_states(loaded, fps=60.0), truth, CONTROLS)
    actions = Log.of_table(pq.read_table(next(tmp_path.glob("videos/*/actions.parquet"))))
    assert scores.stick_r2_mean == pytest.approx(score(actions, truth, CONTROLS).stick_r2_mean, abs=1e-6)
    assert scores.stick_r2_mean is not None and scores.stick_r2_mean > 0.99
    assert scores.button_accuracy is not None and scores.button_accuracy > 0.99
    template = library()["xbox_one/own"]
    for row in range(0, len(index), 131):
        pictures = [draw_rgba(template, states, 200) for states in (redraw(loaded, row), redraw(of_log(truth), row))]
        apart = np.abs(pictures[0].astype(float) - pictures[1]).mean()
        assert apart < 1.0, f"frame {index[row]}"


def of_log(log: Log) -> States:
    return States(log.buttons, log.sticks.astype(np.float32), np.zeros((len(log), 2), np.float32))


def redraw(states: States, row: int) -> States:
    """One state, its triggers all the way down or up, since labels hold no more."""
    state = states[slice(row, row + 1)]
    travel = state.buttons[:, [BUTTON_INDEX[name] for name in TRIGGERS]].astype(np.float32)
    assert state.buttons.shape == (1, len(BUTTONS))
    return States(state.buttons, state.sticks, travel)
