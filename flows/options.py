"""The options that several commands share, and what becomes of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import wrong_usage


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


TemplatesDir = Annotated[
    Path | None, typer.Option("--templates", metavar="DIR", help="Imported templates, besides the library.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where the network runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log what happens.")]


def resolve_device(device: Device) -> str:
    """cpu or cuda; asking for a GPU that is not there is wrong usage."""
    import torch

    if device is Device.CUDA and not torch.cuda.is_available():
        raise wrong_usage("--device cuda needs a GPU and a CUDA build of torch, found none; use --device cpu")
    return "cuda" if device is not Device.CPU and torch.cuda.is_available() else "cpu"
