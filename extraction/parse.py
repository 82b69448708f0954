"""Overlay crops -> raw readings: a SegFormer over two consecutive panels, one laid on the other.

``course`` makes the sticks' places of what it says, from many frames; ``normalise`` makes labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from extraction.course import sample_places, tell_by_fits
from extraction.evidence import compare, complete, reference_of, reference_width, undo_look
from extraction.network import WEIGHTS, FoldedHead, ParserNet, has_bfloat16, load_net
from extraction.presence import measure_agreement
from extraction.presses import PressFilters
from extraction.records import Placement, Readings
from extraction.rectify import Rectifier, overlay_width
from extraction.stick_fits import StickFits
from templates.controls import BUTTON_INDEX, STICKS, THUMB_OF
from templates.draw import rasterise
from templates.scene import Scene

BATCH: Final = 32  # pairs that go through the network together: what they need stays in the cache
THUMBS: Final = [BUTTON_INDEX[THUMB_OF[stick]] for stick in STICKS]


def stick_gain(scene: Scene) -> np.ndarray:
    """Half tiles -> stick units: (2, 2) float32, [left, right] x [x, y]; 0 for a stick that is not shown."""
    gain = np.zeros((2, 2), np.float32)
    for name, stick in scene.sticks.items():
        gain[STICKS.index(name)] = np.array(stick.extent) / np.array(stick.travel)
    return gain


class Parser:
    """The trained network on one device. Load once, then ``open`` it on each placement."""

    def __init__(self, net: ParserNet, device: torch.device, info: dict[str, Any]) -> None:
        self.device = device
        self.info = info
        self.dtype = torch.bfloat16 if has_bfloat16(device.type) else torch.float32
        net.eval().segformer.decode_head = FoldedHead(net.segformer.decode_head)  # type: ignore[assignment]
        self._net = net.to(device, self.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    def read_run(self, frames: Tensor, remembered: Tensor) -> tuple[Tensor, Tensor]:
        """The network's ``read_run``; float32 in and out, whatever it computes in."""
        buttons, sticks = self._net.read_run(frames.to(self.dtype), remembered.to(self.dtype))
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
        self._stick_gain = stick_gain(template.scene)
        self._look = (
            torch.tensor([placement.gain], device=parser.device),
            torch.tensor([placement.offset], device=parser.device),
        )
        self._rest_panel = self._rectifier.panel(placement.rest)
        self._rest = self._prepare(self._rest_panel[None])
        self._presses = PressFilters(placement, self.box_xywh)
        self._sticks = StickFits(placement, self.box_xywh)
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
        gone, residual = self._presses.measure(crops)
        fits, clicked = self._sticks.measure(crops)
        gone[:, THUMBS] = np.where(np.isnan(clicked), gone[:, THUMBS], clicked)
        compared = compare(frames, self._reference, self._rest, torch.from_numpy(gone).to(frames.device))
        frames = torch.cat([frames, compared], 1)
        logits, grids = self._parser.read_run(frames, self._remembered)
        places = sample_places(grids.cpu().numpy(), self._stick_gain) + tell_by_fits(fits[1:], self._sticks.pixels)
        agreement = measure_agreement(panels[1:], self._rest_panel, self._rectifier.whole)
        return logits.cpu().numpy(), places, fits[1:], gone[1:], residual[1:], agreement

    def _prepare(self, panels: np.ndarray) -> Tensor:
        """(N, 88, 108, 3) uint8 panels -> (N, 3, 88, 108) in the template's own colours."""
        pictures = torch.from_numpy(panels.transpose(0, 3, 1, 2).copy())
        return undo_look(pictures.to(self._parser.device).float() / 255, *self._look)
