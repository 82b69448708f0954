"""The parser's network in torch, ONNX Runtime and OpenVINO: how fast each is, and what accuracy each keeps.

``make bench`` prints it. padtrace reads with torch; the others are installed for development only.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from extraction.evidence import FRAME_CHANNELS, REFERENCE_CHANNELS
from extraction.extract import ExtractOptions
from extraction.network import FoldedHead, ParserNet, load_net
from extraction.parse import BATCH, Parser
from extraction.rectify import PANEL_WH
from flows.benchmark import run_benchmark
from flows.extract import Extractor
from templates.catalogue import library

# (frames, remembered) -> button logits, stick grids; see ``ParserNet.read_run``.
Network = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
ROUNDS: Final = 100  # batches that each runtime is timed on
CORES: Final = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime: frames a second through the network alone on all cores, and the scores of a case read with it."""

    name: str
    frames_per_s: float
    stick_r2: float | None
    button_accuracy: float | None
    macro_f1: float | None


def compare_runtimes(case: Path) -> list[Runtime]:
    """Read a ground-truth case with the shipped weights in every runtime. Each batch is one thread's, as in use."""
    torch.set_num_threads(1)
    parser = Parser.load(device="cpu")
    net = load_net()[0].eval()
    example = _example(net, BATCH)
    with tempfile.TemporaryDirectory() as folder:
        networks = _networks(parser, net, Path(folder))
        return [_measure(name, network, example, case, Path(folder) / name) for name, network in networks]


def _networks(parser: Parser, net: ParserNet, folder: Path) -> Iterator[tuple[str, Network]]:
    import onnxruntime

    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports its use; without, it does not
    import openvino

    yield f"torch, {str(parser.dtype).removeprefix('torch.')}", parser.read_run
    exported = export(net, folder / "parser.onnx")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported, settings, providers=["CPUExecutionProvider"])

    def in_onnx(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        named = {each.name: tensor.numpy() for each, tensor in zip(session.get_inputs(), tensors, strict=True)}
        return _as_tensors(session.run(None, named))

    yield "ONNX Runtime, float32", in_onnx
    for precision in ("f32", "bf16"):
        hints = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": CORES, "INFERENCE_NUM_THREADS": CORES}
        compiled = openvino.Core().compile_model(exported, "CPU", hints)

        def in_openvino(*tensors: Tensor, compiled: openvino.CompiledModel = compiled) -> tuple[Tensor, Tensor]:
            found = compiled.create_infer_request().infer([tensor.numpy() for tensor in tensors])
            return _as_tensors(list(found.values()))

        yield f"OpenVINO, {precision}", in_openvino


class _Reading(nn.Module):
    """The network as it is used to read."""

    def __init__(self, net: ParserNet) -> None:
        super().__init__()
        self._net = copy.deepcopy(net)
        self._net.segformer.decode_head = FoldedHead(net.segformer.decode_head)  # type: ignore[assignment]

    def forward(self, frames: Tensor, remembered: Tensor) -> tuple[Tensor, Tensor]:
        return self._net.read_run(frames, remembered)


def export(net: ParserNet, path: Path) -> Path:
    """Write the network as ONNX, for any number of consecutive frames."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of libraries that nobody asked for
    shapes = ({0: torch.export.Dim("frames", min=2, max=1024)}, {0: 1})
    torch.onnx.export(_Reading(net).eval(), _example(net, 2), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return path


def _measure(name: str, network: Network, example: tuple[Tensor, ...], case: Path, out: Path) -> Runtime:
    with torch.inference_mode(), ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda _: network(*example), range(2 * CORES)))
        started = time.perf_counter()
        list(pool.map(lambda _: network(*example), range(ROUNDS)))
        speed = ROUNDS * BATCH / (time.perf_counter() - started)
    with patch.object(Parser, "read_run", lambda _, *tensors: network(*tensors)):
        report = run_benchmark([case], Extractor(out, library(), "cpu", ExtractOptions(frames=False)))
    [result] = report.results
    assert result.scores is not None
    scores = result.scores
    return Runtime(name, speed, scores.stick_r2_mean, scores.button_accuracy, scores.macro_f1)


def _example(net: ParserNet, pairs: int) -> tuple[Tensor, Tensor]:
    """Inputs of the network's shapes: noise."""
    width, height = PANEL_WH
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        remembered = net.remember(torch.rand(1, REFERENCE_CHANNELS, height, width, generator=generator))
    return torch.rand(pairs + 1, FRAME_CHANNELS, height, width, generator=generator), remembered.clone()


def _as_tensors(arrays: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    buttons, sticks = (torch.from_numpy(array) for array in arrays)
    return buttons, sticks
