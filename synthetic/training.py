"""Training of the parser on pictures rendered as it goes: resumable, on CPU or GPU.

A run is a folder: ``checkpoint.safetensors`` (network, its moving average, the optimiser and how far it
came), ``curve.jsonl`` (one line per report) and
``parser.safetensors``, the weights so far with their recipe and scores.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from extraction.network import GRID, ParserConfig, ParserNet, has_bfloat16
from synthetic.backgrounds import Backgrounds
from synthetic.compose import GROUP, Batch, Composer
from synthetic.runs import (
    append_line,
    descend,
    optimiser_tensors,
    rate_at,
    restore_optimiser,
    save_whole,
    tensors_under,
)
from templates.catalogue import Template

log = logging.getLogger(__name__)

HELD_OUT_SEED: Final = 1_000_003  # added to the seed for the pictures that a run is checked on
HELD_OUT_GROUPS: Final = 24
WEIGHTS_NAME: Final = "parser.safetensors"


class TrainConfig(BaseModel):
    """One recipe. Stored in the weights it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    net: ParserConfig
    samples: int
    """Training pairs in all."""
    batch: int
    """Pairs per step; a multiple of the composer's group."""
    learning_rate: float
    """Peak; reached after the first 2 % and decayed linearly to zero."""
    weight_decay: float
    ema: float = 0.999
    """Decay per step of the moving average that is shipped."""
    seed: int = 0


CONFIGS: Final = {
    # The published recipe (NitroGen, arXiv 2601.02427, appendix): AdamW, 1e-4, 0.1, 256, 8 M; SegFormer-B0 sizes.
    "paper": TrainConfig(
        name="paper",
        net=ParserConfig(hidden_sizes=(32, 64, 160, 256), depths=(2, 2, 2, 2), heads=(1, 2, 5, 8), decoder_size=256),
        samples=8_000_000,
        batch=256,
        learning_rate=1e-4,
        weight_decay=0.1,
    ),
    # An hour or two on two cores: a smaller network, a higher rate.
    "cpu": TrainConfig(
        name="cpu", net=ParserConfig(), samples=740_000, batch=64, learning_rate=1e-3, weight_decay=0.05
    ),
}


def train(
    config: TrainConfig,
    templates: Mapping[str, Template],
    backgrounds: Backgrounds,
    held_out: Backgrounds,
    run: Path,
    *,
    device: str = "cpu",
    report_every: int = 50,
    on_progress: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train until ``config.samples``, or go on where the run folder stands; return the weights' path.

    held_out: games for the scores. on_progress hears how many pairs were learned from, and a line of the curve.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    state = _Run.start(config, run, device)
    steps = Steps(Composer(templates, backgrounds, config.seed, device), config, state.step)
    checks = Composer(templates, held_out, config.seed + HELD_OUT_SEED, device)
    total, started, losses = config.samples // config.batch, time.monotonic(), []
    first = state.step
    # A GPU renders for itself; processor cores render beside the one that learns.
    renderers = max(1, (os.cpu_count() or 1) - 1) if device == "cpu" else 0
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - renderers))
    for batch in DataLoader(steps, batch_size=None, num_workers=renderers):
        losses.append(state.learn(batch, rate_at(state.step, total, config.learning_rate)))
        if state.step % report_every == 0 or state.step == total:
            speed = (state.step - first) * config.batch / (time.monotonic() - started)
            line = {
                "samples": state.step * config.batch,
                "loss": sum(losses) / len(losses),
                "pairs_per_s": speed,
            }
            if state.step % (report_every * 10) == 0 or state.step == total:
                line |= evaluate(state.shipped, checks)
                _export(state, run, line)
            losses.clear()
            append_line(run / "curve.jsonl", line)
            state.save()
            if on_progress:
                on_progress(state.step * config.batch, line)
    return run / WEIGHTS_NAME


class Steps(Dataset[Batch]):
    """The batches of a run from some step on, in order."""

    def __init__(self, composer: Composer, config: TrainConfig, first: int) -> None:
        self._composer = composer
        self._groups = config.batch // GROUP
        self._first = first
        self._count = max(0, config.samples // config.batch - first)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        return self._composer.batch((self._first + index) * self._groups, self._groups)


def loss_of(net: ParserNet, batch: Batch, half: bool) -> Tensor:
    """Cross-entropy of shown buttons, of stick grids, and the distance of the grids' expectation."""
    with torch.autocast(batch.current.device.type, torch.bfloat16, enabled=half):
        logits, grids = net(batch.previous, batch.current, net.remember(batch.reference))
    logits, grids = logits.float(), grids.float()
    button = functional.binary_cross_entropy_with_logits(logits, batch.buttons, reduction="none")
    button_loss = (button * batch.known).sum() / batch.known.sum()
    known = batch.sticks_known.float()
    count = known.sum().clamp(min=1)
    target = grid_target(batch.sticks / batch.gain.clamp(min=1e-6))
    grid = -(target.flatten(2) * grids.flatten(2).log_softmax(-1)).sum(-1)
    place = expect_place(grids)
    distance = functional.smooth_l1_loss(place * batch.gain, batch.sticks, reduction="none", beta=0.1).sum(-1)
    stick_loss: Tensor = ((0.3 * grid + 2 * distance) * known).sum() / count
    return 3 * button_loss + stick_loss


def expect_place(grids: Tensor) -> Tensor:
    """Expectation of stick grids, finer than a cell: (..., 11, 11) logits -> (..., 2) [x, y] in half tiles."""
    mass = grids.flatten(-2).softmax(-1).reshape(grids.shape)
    cells = (torch.arange(GRID, device=grids.device) - GRID // 2) * (2 / GRID)
    return torch.stack([(mass.sum(-2) * cells).sum(-1), (mass.sum(-1) * cells).sum(-1)], -1)


def grid_target(place: Tensor) -> Tensor:
    """(N, 2, 2) places in half tiles -> (N, 2, 11, 11) masses, shared by the four cells around each place.

    The expectation of the target is the place itself.
    """
    cells = (place * (GRID / 2) + GRID // 2).clamp(0, GRID - 1)
    positions = torch.arange(GRID, device=place.device)
    weights = (1 - (cells[..., None] - positions).abs()).clamp(min=0)  # (N, 2, 2, 11): x, y
    return weights[:, :, 1, :, None] * weights[:, :, 0, None, :]


@torch.inference_mode()
def evaluate(net: ParserNet, composer: Composer) -> dict[str, float]:
    """Accuracy, macro F1 and stick R2 on pictures and backgrounds that training does not use."""
    net.eval()
    batches = [composer.group(i) for i in range(HELD_OUT_GROUPS)]
    truth = Batch.join(batches)
    outputs = [net(batch.previous, batch.current, net.remember(batch.reference)) for batch in batches]
    pressed = torch.cat([logits for logits, _ in outputs]) > 0
    place = expect_place(torch.cat([grids for _, grids in outputs]))
    held = truth.buttons.bool()
    right = ((pressed == held) & truth.known).sum() / truth.known.sum()
    hits = (pressed & held & truth.known).sum(0)
    wrong = ((pressed != held) & truth.known).sum(0)
    f1 = (2 * hits / (2 * hits + wrong).clamp(min=1)).mean()
    known = truth.sticks_known
    error = (place * truth.gain - truth.sticks)[known].square().sum()
    spread = (truth.sticks[known] - truth.sticks[known].mean(0)).square().sum()
    return {"accuracy": float(right), "macro_f1": float(f1), "stick_r2": float(1 - error / spread)}


class _Run:
    """Network, moving average and optimiser of one run, and their checkpoint."""

    def __init__(self, config: TrainConfig, run: Path, device: str) -> None:
        self.config = config
        self.net = ParserNet(config.net).to(device)
        average = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.net, multi_avg_fn=average, use_buffers=True)
        self.optimiser = AdamW(self.net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.step = 0
        self._path = run / "checkpoint.safetensors"
        self._half = has_bfloat16(torch.device(device).type)

    @classmethod
    def start(cls, config: TrainConfig, run: Path, device: str) -> _Run:
        state = cls(config, run, device)
        if state._path.exists():
            state._load()
            log.info("going on at %d of %d pairs", state.step * config.batch, config.samples)
        return state

    @property
    def shipped(self) -> ParserNet:
        """The moving average of the network."""
        assert isinstance(self.average.module, ParserNet)
        return self.average.module

    def learn(self, batch: Batch, rate: float) -> float:
        """One optimiser step; returns the loss."""
        self.net.train()
        loss = loss_of(self.net, batch, self._half)
        descend(self.net, self.optimiser, {"loss": loss}, rate, 1.0)
        self.average.update_parameters(self.net)
        self.step += 1
        return loss.item()

    def save(self) -> None:
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        tensors |= optimiser_tensors(self.optimiser)
        about = {"step": str(self.step), "net": self.config.net.model_dump_json()}
        save_whole(tensors, self._path, about)

    def _load(self) -> None:
        with safe_open(self._path, "pt") as file:
            about = file.metadata()
        if ParserConfig.model_validate_json(about["net"]) != self.config.net:
            raise ValueError(f"{self._path} was made with another network; choose another run folder or delete it")
        tensors = load_file(self._path)
        self.net.load_state_dict(tensors_under("net.", tensors))
        self.average.load_state_dict(tensors_under("average.", tensors))
        restore_optimiser(self.optimiser, tensors)
        self.step = int(about["step"])


def _export(state: _Run, run: Path, scores: dict[str, float]) -> None:
    """Write the moving average with its recipe and scores so far."""
    samples = state.step * state.config.batch
    info: dict[str, Any] = {
        "version": f"{state.config.name}-{samples}",
        "config": state.config.net.model_dump(),
        "recipe": state.config.model_dump(exclude={"net"}),
        "scores_on_held_out_renders": scores,
    }
    path = run / WEIGHTS_NAME
    save_whole(state.shipped.state_dict(), path, {"padtrace": json.dumps(info)})
