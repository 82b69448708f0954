"""What the trainings of all networks share: steps, checkpoints to go on from, the curve, and files written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW


def stack(samples: Sequence[Any]) -> dict[str, Tensor]:
    """Samples of one dataclass of arrays and numbers as tensors, by field, one more axis in front."""
    names = samples[0].__dataclass_fields__
    return {name: torch.from_numpy(np.stack([getattr(sample, name) for sample in samples])) for name in names}


def rate_at(step: int, total: int, peak: float) -> float:
    """The learning rate of a step: up to ``peak`` in the first 2 % of all, then down to zero, both linearly."""
    warm = max(1, round(0.02 * total))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (total - step) / (total - warm)


def descend(
    net: nn.Module, optimiser: AdamW, losses: Mapping[str, Tensor], rate: float, steepest: float
) -> dict[str, float]:
    """One step down the sum of losses, along a gradient of a norm of ``steepest`` at most; returns the losses."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), steepest)
    optimiser.step()
    return {name: value.item() for name, value in losses.items()}


def mean_of(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each of the losses over some steps, at least one."""
    return {name: float(np.mean([each[name] for each in losses])) for name in losses[0]}


def save_checkpoint(net: nn.Module, optimiser: AdamW, step: int, run: Path) -> None:
    """Keep what a run goes on from, and how many steps are done."""
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= optimiser_tensors(optimiser) | {"step": torch.tensor(step)}
    save_whole(tensors, run / "checkpoint.safetensors", {})


def load_checkpoint(net: nn.Module, optimiser: AdamW, run: Path) -> int:
    """Go on from a checkpoint; the step that it stands at, 0 without one."""
    path = run / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    net.load_state_dict(tensors_under("net.", tensors))
    restore_optimiser(optimiser, tensors)
    return int(tensors["step"])


def tensors_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose name begins with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def optimiser_tensors(optimiser: AdamW) -> dict[str, Tensor]:
    """What an optimiser remembers, for a checkpoint."""
    entries = optimiser.state_dict()["state"].items()
    return {f"optimiser.{i}.{name}": value for i, entry in entries for name, value in entry.items()}


def restore_optimiser(optimiser: AdamW, tensors: Mapping[str, Tensor]) -> None:
    """Give it back what a checkpoint, of whose tensors other names are passed over, holds of it."""
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors_under("optimiser.", tensors).items():
        index, field = name.split(".", 1)
        entries.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({"state": entries, "param_groups": optimiser.state_dict()["param_groups"]})


def save_whole(tensors: Mapping[str, Tensor], path: Path, about: dict[str, str]) -> None:
    """Write a file of tensors whole or not at all; ``about`` is its metadata."""
    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial, about)
    os.replace(partial, path)


def append_line(path: Path, line: Mapping[str, float]) -> None:
    """One more line of a curve."""
    with path.open("a") as file:
        file.write(json.dumps({name: round(value, 5) for name, value in line.items()}) + "\n")
