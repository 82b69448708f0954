"""Training of the proposer on windows that are made as it goes: on CPU, resumable.

A run is a folder: ``checkpoint.safetensors`` (network, optimiser, how far it came), ``curve.jsonl`` and
``proposer.safetensors``, the weights so far with their recipe and scores. Making a window costs five times as much as
learning from it, so each is learned from again, at random, some times.

``python -m synthetic.proposing`` trains for about half an hour on two cores, over the takes of ``synthetic.takes``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset

from extraction.network import has_bfloat16
from extraction.propose import EXTENT, STRIDE, WINDOW_WH, ProposerNet
from synthetic.runs import append_line, descend, load_checkpoint, mean_of, save_checkpoint, save_whole, stack
from synthetic.split import training_templates
from synthetic.takes import TAKES_PATH
from synthetic.windows import IGNORED, PRESENT, WindowMaker
from templates.catalogue import Template, library

# Styles and takes that this network is not trained on: its threshold is chosen on them, no test uses them.
CHECK_STYLES: Final = ("glass", "candy")
CHECK_TAKES: Final = 8  # every so many of the takes
CHECK_SEED: Final = 1_000_003
CHECK_WINDOWS: Final = 128
REPORT_EVERY, CHECK_EVERY = 25, 100  # steps


class Recipe(BaseModel):
    """Stored in the weights it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: int = 11_200
    """New ones in all."""
    fresh: int = 16
    """New ones in a step."""
    again: int = 48
    """Earlier ones in a step."""
    learning_rate: float = 2e-3
    """Peak; decayed linearly to zero."""
    weight_decay: float = 0.02
    seed: int = 0


class Fresh(Dataset[dict[str, Tensor]]):
    """The new windows of each step, from some step on."""

    def __init__(self, maker: WindowMaker, recipe: Recipe, first: int) -> None:
        self._maker, self._recipe, self._first = maker, recipe, first

    def __len__(self) -> int:
        return self._recipe.windows // self._recipe.fresh - self._first

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        start = (self._first + index) * self._recipe.fresh
        return stack([self._maker.make(start + i) for i in range(self._recipe.fresh)])


def split_templates() -> tuple[dict[str, Template], dict[str, Template]]:
    """The drawings that this network is trained on, and those that its threshold is chosen on."""
    allowed = training_templates()
    held_out = {id for id in allowed if id.rpartition("/")[2] in CHECK_STYLES}
    return {id: allowed[id] for id in allowed if id not in held_out}, {id: allowed[id] for id in held_out}


def split_takes(takes: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The takes that this network is trained on, and those that its threshold is chosen on."""
    return [take for i, take in enumerate(takes) if i % CHECK_TAKES], list(takes[::CHECK_TAKES])


def train(recipe: Recipe, takes: np.ndarray, run: Path, workers: int) -> Path:
    """Train, or go on where the run folder stands; return the weights' path."""
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)  # a process that is forked from one with running threads waits for them for ever
    cv2.setNumThreads(1)
    families = sorted({template.family for template in library().values()})
    (drawings, check_drawings), (played, check_played) = split_templates(), split_takes(takes)
    net = ProposerNet(len(families)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    step, total = load_checkpoint(net, optimiser, run), recipe.windows // recipe.fresh
    checker = WindowMaker(check_drawings, check_played, families, recipe.seed + CHECK_SEED)
    checks = stack([checker.make(i) for i in range(CHECK_WINDOWS)])
    maker = WindowMaker(drawings, played, families, recipe.seed)
    maker.warm_up()
    fresh = Fresh(maker, recipe, step)
    seen: list[dict[str, Tensor]] = []
    rng, losses, started, first = np.random.default_rng(step), [], time.monotonic(), step
    for batch in DataLoader(fresh, batch_size=None, num_workers=workers):
        seen.append(batch)
        count = recipe.again // recipe.fresh
        again = [seen[i] for i in rng.integers(len(seen), size=count)]
        batch = {name: torch.cat([each[name] for each in (batch, *again)]) for name in batch}
        rate = recipe.learning_rate * min(1.0, (step + 1) / 100) * (total - step) / total
        net.train()
        losses.append(descend(net, optimiser, losses_of(net, batch), rate, 5.0))
        step += 1
        if step % REPORT_EVERY == 0 or step == total:
            speed = (step - first) * recipe.fresh / (time.monotonic() - started)
            line = {"windows": step * recipe.fresh, "windows_per_s": speed, **mean_of(losses)}
            if step % CHECK_EVERY == 0 or step == total:
                line |= check(net, checks)
                save_checkpoint(net, optimiser, step, run)
                _export(net, run, recipe, families, line)
            losses.clear()
            append_line(run / "curve.jsonl", line)
    return run / "proposer.safetensors"


def losses_of(net: ProposerNet, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Focal cross-entropy of the cells (Lin et al. 2017, gamma 2), distance of the boxes, cross-entropy of families."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16("cpu")):
        answers = net(batch["maps"].contiguous(memory_format=torch.channels_last))
    logits, boxes, families = (answer.float() for answer in answers)
    present = batch["present"]
    centred = present == PRESENT
    count = centred.sum().clamp(min=1)
    plain = functional.binary_cross_entropy_with_logits(logits, centred.float(), reduction="none")
    focal = plain * (1 - torch.exp(-plain)) ** 2 * (present != IGNORED)
    window, row, column = centred.nonzero(as_tuple=True)
    target = encode_boxes(batch["box"][window], row, column)
    distance = functional.smooth_l1_loss(boxes[window, :, row, column], target, beta=0.02, reduction="sum")
    named = batch["family"][window]
    known = named >= 0
    kinds = families[window, :, row, column][known]
    family = functional.cross_entropy(kinds, named[known], label_smoothing=0.05) if known.any() else logits.sum() * 0
    return {"cells": focal.sum() / count, "boxes": 2 * distance / count, "families": family}


def encode_boxes(boxes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, 4) centre and size in pixels of the window -> what the network should answer in these cells."""
    middle = (torch.stack([columns, rows], 1) + 0.5) * STRIDE
    return torch.cat([(boxes[:, :2] - middle) / EXTENT, torch.log(boxes[:, 2:] / EXTENT)], 1)


@torch.inference_mode()
def check(net: ProposerNet, windows: dict[str, Tensor]) -> dict[str, float]:
    """Of windows with a pad the part that is found, with a box of IoU 0.8 at its likeliest cell, with its family too;
    of windows without one the part in which one is seen."""
    net.eval()
    logits, boxes, families = (
        torch.cat(each) for each in zip(*map(net, torch.split(windows["maps"], 64)), strict=True)
    )
    best = logits.flatten(1).argmax(1)
    rows, columns = best // (WINDOW_WH[0] // STRIDE), best % (WINDOW_WH[0] // STRIDE)
    each = torch.arange(len(best))
    x, y, w, h = boxes[each, :, rows, columns].T * EXTENT
    seen = torch.stack(
        [(columns + 0.5) * STRIDE + x, (rows + 0.5) * STRIDE + y, *(torch.exp(torch.stack([w, h]) / EXTENT) * EXTENT)],
        1,
    )
    fits = _overlap(seen, windows["box"]) >= 0.8
    found = logits.flatten(1).amax(1) > 0
    there = (windows["present"] == PRESENT).flatten(1).any(1)
    absent = (windows["present"] == 0).flatten(1).all(1)
    right = families[each, :, rows, columns].argmax(1) == windows["family"]
    named = there & (windows["family"] >= 0)
    return {
        "found": float(found[there].float().mean()),
        "placed": float((found & fits)[there].float().mean()),
        "placed_and_named": float((found & fits & right)[named].float().mean()),
        "false": float(found[absent].float().mean()),
    }


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU of (N, 4) boxes given as centre and size."""
    low = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    both = (high - low).clamp(min=0).prod(1)
    return both / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - both).clamp(min=1e-6)


def _export(net: ProposerNet, run: Path, recipe: Recipe, families: list[str], scores: Mapping[str, float]) -> None:
    about = {
        "families": families,
        "recipe": recipe.model_dump(),
        "scores_on_styles_and_games_kept_from_training": dict(scores),
    }
    save_whole(net.state_dict(), run / "proposer.safetensors", {"padtrace": json.dumps(about)})


if __name__ == "__main__":
    train(Recipe(), np.load(TAKES_PATH, mmap_mode="r"), Path("runs/proposer"), os.cpu_count() or 1)
