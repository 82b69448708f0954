"""``padtrace train``: the networks, on pictures that are rendered as they learn."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.options import Debug, Device, DeviceOption, resolve_device
from flows.terminal import faults_told, out, progress_bar

train_app = typer.Typer(help="Training on synthetic pictures.", no_args_is_help=True)


class Recipe(StrEnum):
    PAPER = "paper"
    CPU = "cpu"


@train_app.command("parser")
def train_parser(
    config: Annotated[Recipe, typer.Option(help="cpu: two cores. paper: as published.")] = Recipe.CPU,
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the run, resumed if it is there; default runs/CONFIG."),
    ] = None,
    device: DeviceOption = Device.AUTO,
    debug: Debug = False,
) -> None:
    """Train the parser on pictures that are rendered as it goes.

    The games behind them are those that `python -m synthetic.backgrounds` has recorded.
    """
    with faults_told(debug):
        from synthetic.training import CONFIGS, train

        recipe = CONFIGS[config.value]
        _train(train, recipe, recipe.samples, "loss", run or Path("runs") / config.value, device)


@train_app.command("xfeat")
def train_xfeat(
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run, resumed if it is there.")] = Path(
        "runs/xfeat"
    ),
    device: DeviceOption = Device.AUTO,
    debug: Debug = False,
) -> None:
    """Train XFeat to find drawings again in games, on pairs that are rendered as it goes.

    The games are those that `python -m synthetic.backgrounds` has recorded.
    """
    with faults_told(debug):
        from synthetic.xfeat import Recipe, train

        recipe = Recipe()
        _train(train, recipe, recipe.pairs, "descriptors", run, device)


def _train(train: Callable[..., Path], recipe: object, total: int, loss: str, run: Path, device: Device) -> None:
    """Train on the drawings and recorded games that are there for it. loss: which one the bar tells."""
    from synthetic.backgrounds import EVAL_PATH, TRAIN_PATH, Backgrounds
    from synthetic.split import training_templates

    with progress_bar() as bar:
        task = bar.add_task("training", total=total)

        def tell(done: int, line: dict[str, float]) -> None:
            bar.update(task, completed=done, description=f"loss {line[loss]:.3f}")

        games, held_out = Backgrounds(TRAIN_PATH), Backgrounds(EVAL_PATH)
        weights = train(
            recipe, training_templates(), games, held_out, run, device=resolve_device(device), on_progress=tell
        )
    out.print(f"wrote {weights}", markup=False)
