"""Training of XFeat (arXiv 2404.19174) on pairs of a drawing and a game that shows it: resumable, on CPU or GPU.

A run is a folder: ``checkpoint.safetensors`` (network, optimiser, how far it came), ``curve.jsonl`` and
``xfeat.safetensors``, the weights so far with their recipe and scores.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import cv2
import torch
from kornia.feature.xfeat import XFeatModel
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset

from extraction.network import has_bfloat16
from extraction.xfeat import describe, find_corners, make_net, sample
from synthetic.backgrounds import Backgrounds
from synthetic.pairs import WINDOW_WH, Pair, PairMaker
from synthetic.runs import append_line, descend, load_checkpoint, mean_of, rate_at, save_checkpoint, save_whole, stack
from templates.catalogue import Template

WEIGHTS_NAME: Final = "xfeat.safetensors"
CHECK_SEED: Final = 1_000_003  # added to the seed for the pairs that a run is checked on
CHECK_PAIRS: Final = 64
CHECK_EVERY: Final = 10  # reports
HIT_PX: Final = 3.0
NEAR_PX: Final = 8.0  # a cell of the network's maps


class Recipe(BaseModel):
    """Stored in the weights it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: int = 5_000
    """In all."""
    batch: int = 8
    """Pairs per step."""
    learning_rate: float = 1.5e-3
    """Peak; reached after the first 2 % and decayed linearly to zero."""
    weight_decay: float = 0.01
    temperature: float = 0.07
    """Of the softmax over the cosines of descriptors."""
    seed: int = 0


class Steps(Dataset[dict[str, Tensor]]):
    """The batches of a run from some step on, in order."""

    def __init__(self, maker: PairMaker, recipe: Recipe, first: int) -> None:
        self._maker, self._recipe, self._first = maker, recipe, first

    def __len__(self) -> int:
        return max(0, self._recipe.pairs // self._recipe.batch - self._first)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        start = (self._first + index) * self._recipe.batch
        return stack([self._maker.make(start + i) for i in range(self._recipe.batch)])


def train(
    recipe: Recipe,
    templates: Mapping[str, Template],
    backgrounds: Backgrounds,
    held_out: Backgrounds,
    run: Path,
    *,
    device: str = "cpu",
    report_every: int = 25,
    on_progress: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train until ``recipe.pairs``, or go on where the run folder stands; return the weights' path.

    held_out: games for the scores. on_progress hears how many pairs were learned from, and a line of the curve.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    net = make_net().to(device)
    optimiser = AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    step, total = load_checkpoint(net, optimiser, run), recipe.pairs // recipe.batch
    # A GPU has processor cores to itself that make pairs; they make them beside the one that learns.
    makers = max(1, (os.cpu_count() or 1) - 1)
    torch.set_num_threads(1 if device == "cpu" else makers)
    cv2.setNumThreads(1)
    checks = PairMaker(templates, held_out, recipe.seed + CHECK_SEED)
    checked = [checks.make(i) for i in range(CHECK_PAIRS)] if step < total else []
    steps = Steps(PairMaker(templates, backgrounds, recipe.seed), recipe, step)
    losses, started, first = [], time.monotonic(), step
    for batch in DataLoader(steps, batch_size=None, num_workers=makers):
        batch = {name: value.to(device) for name, value in batch.items()}
        net.train()
        parts = losses_of(net, batch, recipe.temperature)
        losses.append(descend(net, optimiser, parts, rate_at(step, total, recipe.learning_rate), 5.0))
        step += 1
        if step % report_every == 0 or step == total:
            speed = (step - first) * recipe.batch / (time.monotonic() - started)
            line = {"pairs": float(step * recipe.batch), "pairs_per_s": speed, **mean_of(losses)}
            if step % (report_every * CHECK_EVERY) == 0 or step == total:
                line |= check(net, checked)
                about = {"recipe": recipe.model_dump(), "scores_on_held_out_games": line}
                save_whole(net.state_dict(), run / WEIGHTS_NAME, {"padtrace": json.dumps(about)})
            losses.clear()
            append_line(run / "curve.jsonl", line)
            save_checkpoint(net, optimiser, step, run)
            if on_progress:
                on_progress(step * recipe.batch, line)
    return run / WEIGHTS_NAME


def losses_of(net: XFeatModel, batch: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """Dual softmax of descriptors, and how far reliability is from its certainty: as in the paper, without keypoints.

    Corners of the game are like none of the drawing's, and not reliable.
    """
    count = len(batch["pictures"])
    pictures = batch["pictures"].flatten(0, 1)[:, None].float() / 255
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=has_bfloat16(pictures.device.type)):
        maps, _, heat = net(pictures.contiguous(memory_format=torch.channels_last))
    maps, heat = (each.float().unflatten(0, (count, 2)) for each in (maps, heat))
    known = _first(batch["known"], batch["points"].shape[2])
    free = _first(batch["others_known"], batch["others"].shape[1])
    points, others = batch["points"], batch["others"]
    drawn, seen = (describe(maps[:, i], points[:, i], WINDOW_WH)[known] for i in (0, 1))
    other = describe(maps[:, 1], others, WINDOW_WH)[free]
    # Neighbours share most of what describes them, so that neither is asked to be unlike the other.
    owner = torch.arange(count, device=known.device)[:, None].expand_as(known)[known]
    places = points[:, 0][known]
    near = (owner[:, None] == owner) & (torch.cdist(places, places) < NEAR_PX)
    near.fill_diagonal_(False)
    alike = (drawn @ seen.T / temperature).masked_fill(near, -torch.inf)
    there = torch.cat([alike, drawn @ other.T / temperature], 1).log_softmax(1).diagonal()
    back = alike.log_softmax(0).diagonal()
    certainty = (there + back).detach().exp()
    trust = [sample(heat[:, i], points[:, i], WINDOW_WH)[known][:, 0] for i in (0, 1)]
    doubt = sample(heat[:, 1], others, WINDOW_WH)[free][:, 0]
    far = torch.cat([*((each - certainty).abs() for each in trust), doubt.abs()])
    return {"descriptors": -(there + back).mean(), "reliability": far.mean()}


def _first(counts: Tensor, most: int) -> Tensor:
    """(N,) -> (N, most) bool, that many True in each row."""
    return torch.arange(most, device=counts.device) < counts[:, None]


@torch.inference_mode()
def check(net: XFeatModel, pairs: list[Pair]) -> dict[str, float]:
    """Of the corners of drawings the part that is a corner in the game within HIT_PX, the part whose likest corner is
    there, and how much more reliable these corners are than those of the game, in [-1, 1]."""
    net.eval()
    device = next(net.parameters()).device
    repeated, matched, trusted = [], [], []
    for pair in pairs:
        maps, _, heat = net(torch.from_numpy(pair.pictures[:, None]).to(device).float() / 255)
        points = torch.from_numpy(pair.points[:, : pair.known]).to(device)
        found = torch.from_numpy(find_corners(pair.pictures[1])).to(device)
        likest = (describe(maps[:1], points[:1], WINDOW_WH) @ describe(maps[1:], found[None], WINDOW_WH).mT)[0].argmax(
            1
        )
        apart = torch.cdist(points[1], found)
        repeated.append(apart.amin(1) < HIT_PX)
        matched.append(apart.gather(1, likest[:, None])[:, 0] < HIT_PX)
        mine = apart.amin(0) < HIT_PX
        trust = sample(heat[1:], found[None], WINDOW_WH)[0, :, 0]
        trusted.append(torch.where(mine, trust / mine.sum().clamp(min=1), -trust / (~mine).sum().clamp(min=1)).sum())
    return {
        "repeated": float(torch.cat(repeated).float().mean()),
        "matched": float(torch.cat(matched).float().mean()),
        "trusted": float(torch.stack(trusted).mean()),
    }
