"""Overlay crops -> raw readings: a SegFormer over two consecutive panels, one laid on the other.

The network segments: its output is a map of two logits at a quarter of the input's size. "Pressed",
averaged over a button's tile, is that button's logit. "Stick", over a stick's tile, is an 11 x 11 grid
which ``course`` makes its place, from many frames. ``evidence`` says what its input channels are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from extraction.course import sample_places
from extraction.evidence import (
    FRAME_CHANNELS,
    REFERENCE_CHANNELS,
    STICK_MISFITS,
    compare,
    complete,
    reference_of,
    reference_width,
    undo_look,
)
from extraction.presence import measure_agreement
from extraction.presses import PressFilters
from extraction.records import Placement, Readings, SourceError
from extraction.rectify import TILE_XY, Rectifier, overlay_width, tile_size
from templates.controls import BUTTONS, STICKS
from templates.draw import rasterise
from templates.scene import Scene

GRID: Final = 11
STRIDE: Final = 4
BATCH: Final = 16  # pairs that go through the network together: what they need stays in the cache
WEIGHTS: Final = Path(__file__).parent / "weights" / "parser.safetensors"


class ParserConfig(BaseModel):
    """The network's size. Stored inside the weights, so that a file says what it fits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_sizes: tuple[int, ...] = (24, 48, 96, 128)
    depths: tuple[int, ...] = (1, 1, 1, 1)
    heads: tuple[int, ...] = (1, 2, 4, 4)
    decoder_size: int = 64


class ParserNet(nn.Module):
    """The SegFormer and the reading of its map."""

    def __init__(self, config: ParserConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_sizes[0]
        # The first layer in two: what belongs to the placement is worked out once, not for every frame.
        self.see = nn.Conv2d(2 * FRAME_CHANNELS, width, 7, STRIDE, 3)
        self.recall = nn.Conv2d(REFERENCE_CHANNELS, width, 7, STRIDE, 3, bias=False)
        self.segformer = SegformerForSemanticSegmentation(
            SegformerConfig(
                num_channels=width,
                id2label={0: "pressed", 1: "stick"},
                hidden_sizes=list(config.hidden_sizes),
                depths=list(config.depths),
                num_attention_heads=list(config.heads),
                decoder_hidden_size=config.decoder_size,
                classifier_dropout_prob=0.0,
                drop_path_rate=0.0,
            )
        )

        self.segformer.get_submodule("segformer.stages.0.patch_embeddings").proj = nn.Identity()
        self.trust = nn.Parameter(torch.tensor([2.0, 2.0]))

    def remember(self, reference: Tensor) -> Tensor:
        """(N, 13, 88, 108) reference channels -> (N, C, 22, 27), their share of the first layer."""
        recalled: Tensor = self.recall(reference)
        return recalled

    def forward(self, previous: Tensor, current: Tensor, remembered: Tensor) -> tuple[Tensor, Tensor]:
        """Two frames' channels (N, 10, 88, 108) -> button logits (N, 17) and stick grid logits (N, 2, 11, 11).

        remembered: (N or 1, C, 22, 27), see ``remember``.
        """
        # Side by side they cost twice the time and read no better (LOG.md). Each has its half of the kernels: joining
        # the frames first would cost as much as to convolve them.
        now, before = (half.contiguous() for half in torch.chunk(self.see.weight, 2, 1))
        seen = functional.conv2d(current, now, self.see.bias, STRIDE, 3) + remembered
        seen = seen + functional.conv2d(previous, before, None, STRIDE, 3)
        pressed, stick = self.segformer(seen).logits.float().unbind(1)
        # The template's own stick picture says where it fits; the network corrects that where it is deceived.
        fits = -functional.avg_pool2d(current[:, STICK_MISFITS].float(), STRIDE)
        stick = stick + (self.trust[:, None, None] * fits).sum(1)
        buttons = torch.stack([_tile(pressed, name).mean((1, 2)) for name in BUTTONS], 1)
        return buttons, torch.stack([_tile(stick, name) for name in STICKS], 1)


def _tile(cells: Tensor, control: str, stride: int = STRIDE) -> Tensor:
    """A control's part of a (B, 22, 27) map, or of another with a cell for every ``stride`` pixels either way."""
    x, y = (corner // stride for corner in TILE_XY[control])
    size = tile_size(control) // stride
    return cells[:, y : y + size, x : x + size]


def stick_gain(scene: Scene) -> np.ndarray:
    """Half tiles -> stick units: (2, 2) float32, [left, right] x [x, y]; 0 for a stick that is not shown."""
    gain = np.zeros((2, 2), np.float32)
    for name, stick in scene.sticks.items():
        gain[STICKS.index(name)] = np.array(stick.extent) / np.array(stick.travel)
    return gain


def load_net(weights: Path = WEIGHTS) -> tuple[ParserNet, dict[str, Any]]:
    """A trained network, float32, and what its file says of it. SourceError where the file does not hold one."""
    try:
        with safe_open(weights, "pt") as file:
            info = json.loads((file.metadata() or {}).get("padtrace", "{}"))
        net = ParserNet(ParserConfig.model_validate(info.get("config", {})))
        net.load_state_dict(load_file(weights))
        info["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise SourceError(
            f"{weights} does not hold weights of this parser ({first}); train them with `padtrace train parser`"
        ) from error
    return net, info


class Parser:
    """The trained network on one device. Load once, then ``open`` it on each placement."""

    def __init__(self, net: ParserNet, device: torch.device, info: dict[str, Any]) -> None:
        self.device = device
        self.info = info
        # bfloat16 doubles the speed where the processor has it and is emulated, slowly, where it does not.
        half = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
        self.dtype = torch.bfloat16 if half else torch.float32
        self._net = net.to(device, self.dtype).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        for module in self._net.modules():
            if isinstance(module, nn.LayerNorm):
                _in_float32(module, self.dtype)

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "auto") -> Parser:
        """The shipped weights, or a file of one's own. ``device``: auto, cpu or cuda."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        net, info = load_net(weights or WEIGHTS)
        return cls(net, torch.device(device), info)

    @property
    def version(self) -> str:
        """What identifies the weights in a report."""
        return f"{self.info.get('version', 'unversioned')}-{self.info['sha256'][:8]}"

    def open(self, placement: Placement, frame_wh: tuple[int, int]) -> PlacedParser:
        """A reader of one placement in frames of ``frame_wh`` pixels."""
        return PlacedParser(self, placement, frame_wh)

    @torch.inference_mode()
    def remember(self, reference: Tensor) -> Tensor:
        """The network's ``remember``, in float32."""
        remembered: Tensor = self._net.remember(reference.to(self.dtype)).float()
        return remembered

    @torch.inference_mode()
    def read_pairs(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The network on a batch; float32 in and out, whatever it computes in."""
        buttons, sticks = self._net(*(each.to(self.dtype) for each in inputs))
        return buttons, sticks


def _in_float32(norm: nn.LayerNorm, dtype: torch.dtype) -> None:
    """Over few features bfloat16 norms take longer than the way to float32 and back."""
    norm.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    norm.register_forward_hook(lambda _, inputs, output: output.to(dtype))


class PlacedParser:
    """Reads one placement's crops. Holds nothing that changes, so that several threads may read at once."""

    def __init__(self, parser: Parser, placement: Placement, frame_wh: tuple[int, int]) -> None:
        template = placement.template
        self._parser = parser
        self._rectifier = Rectifier(template.scene, placement.affine, frame_wh)
        self.gain = stick_gain(template.scene)
        self._look = (
            torch.tensor([placement.gain], device=parser.device),
            torch.tensor([placement.offset], device=parser.device),
        )
        self._rest_panel = self._rectifier.panel(placement.rest)
        self._rest = self._prepare(self._rest_panel[None])
        self._presses = PressFilters(placement, self.box_xywh)
        width_px = reference_width(overlay_width(template.scene, placement.affine))
        reference = reference_of(template, rasterise(template, width_px))
        self._reference = complete(reference.to(parser.device), template.scene, self._rest[0])
        self._remembered = parser.remember(self._reference.beside(self._rest))

    @property
    def box_xywh(self) -> tuple[int, int, int, int]:
        """The part of the frame that ``read`` wants, in pixels."""
        return self._rectifier.box_xywh

    def read(self, before: np.ndarray, crops: Sequence[np.ndarray]) -> Readings:
        """Readings of consecutive crops (h, w, 3) uint8 of ``box_xywh``; ``before`` is the one ahead of the first.

        The first frame of a video has none; it is paired with itself.
        """
        crops = [before, *crops]
        parts = [self._read_batch(crops[i : i + BATCH + 1]) for i in range(0, len(crops) - 1, BATCH)]
        return Readings(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _read_batch(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """N + 1 crops -> the ``Readings`` of all but the first."""
        panels = np.stack([self._rectifier.panel(crop) for crop in crops])
        frames = self._prepare(panels)
        gone = torch.from_numpy(self._presses.measure(crops)).to(frames.device)
        frames = torch.cat([frames, compare(frames, self._reference, self._rest, gone)], 1)
        logits, grids = self._parser.read_pairs(frames[:-1], frames[1:], self._remembered)
        places = sample_places(grids.cpu().numpy(), self.gain)
        misfit = frames[1:, STICK_MISFITS].mean(1)
        misfits = torch.stack([_tile(misfit, stick, 1) for stick in STICKS], 1)
        agreement = measure_agreement(panels[1:], self._rest_panel, self._rectifier.whole)
        return logits.cpu().numpy(), places, misfits.cpu().numpy(), agreement

    def _prepare(self, panels: np.ndarray) -> Tensor:
        """(N, 88, 108, 3) uint8 panels -> (N, 3, 88, 108) in the template's own colours."""
        pictures = torch.from_numpy(panels.transpose(0, 3, 1, 2).copy())
        return undo_look(pictures.to(self._parser.device).float() / 255, *self._look)
