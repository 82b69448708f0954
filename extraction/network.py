"""The parser's network: a SegFormer over two consecutive panels, one laid on the other.

It segments: its output is a map of two logits at a quarter of the input's size. "Pressed", averaged over a button's
tile, is that button's logit. "Stick", over a stick's tile, is an 11 x 11 grid, from which ``course`` tells where the
stick is. ``evidence`` says what its input channels are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, SegformerConfig, SegformerForSemanticSegmentation

from extraction.evidence import FRAME_CHANNELS, REFERENCE_CHANNELS, STICK_MISFITS
from extraction.records import SourceError
from extraction.rectify import STICK_TILE, TILE_XY, tile_size
from templates.controls import BUTTONS, STICKS

GRID: Final = 11
STRIDE: Final = 4
WEIGHTS: Final = Path(__file__).parent / "weights" / "parser.safetensors"


def has_bfloat16(device_type: str) -> bool:
    """Whether bfloat16 is the quick way on "cpu" or "cuda": a processor without it emulates it, slowly."""
    return device_type == "cuda" or torch.cpu._is_avx512_bf16_supported()


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
            SegformerConfig(  # type: ignore[call-arg]
                num_channels=width,
                id2label={0: "pressed", 1: "stick"},
                hidden_sizes=list(config.hidden_sizes),
                depths=list(config.depths),
                num_attention_heads=list(config.heads),
                decoder_hidden_size=config.decoder_size,
                classifier_dropout_prob=0.0,
                drop_path_rate=0.0,
                attn_implementation="few_keys",
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
        # Side by side they cost twice the time and read no better (LOG.md).
        now, before = self._kernels()
        seen = _see(current, now, self.see.bias) + _see(previous, before)
        return self._segment(seen + remembered, current)

    def read_run(self, frames: Tensor, remembered: Tensor) -> tuple[Tensor, Tensor]:
        """``forward`` of N + 1 consecutive frames, each with the one ahead of it: of all but the first.

        A frame goes through the first layer once, for both of its parts.
        """
        shares = _see(frames, torch.cat(self._kernels()))
        now, before = shares.chunk(2, 1)
        assert self.see.bias is not None
        return self._segment(now[1:] + before[:-1] + (remembered + self.see.bias[:, None, None]), frames[1:])

    def _kernels(self) -> tuple[Tensor, Tensor]:
        """Those of the current frame and of the one before it."""
        now, before = (half.contiguous() for half in torch.chunk(self.see.weight, 2, 1))
        return now, before

    def _segment(self, seen: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """From the first layer's output (N, C, 22, 27) on. ``current``: (N, 10, 88, 108)."""
        pressed, stick = self.segformer(seen).logits.float().unbind(1)
        # The template's own stick picture says where it fits; the network corrects that where it is deceived.
        misfits = functional.avg_pool2d(current[:, STICK_MISFITS, :, :STICK_TILE].float(), STRIDE)
        fits = -(self.trust[:, None, None] * misfits).sum(1)
        buttons = torch.stack([_tile_of(pressed, name).mean((1, 2)) for name in BUTTONS], 1)
        return buttons, torch.stack([_tile_of(stick, name) + _tile_of(fits, name) for name in STICKS], 1)


class FoldedHead(nn.Module):
    """A trained decode head for reading: what is linear in it is multiplied out, before maps are made larger.

    The same function but for rounding: projections, fusion and batch norm are linear, and so is bilinear resizing.
    """

    def __init__(self, head: Any) -> None:
        """``head``: a ``SegformerDecodeHead`` in evaluation mode."""
        super().__init__()
        norm, projections = head.batch_norm, [each.proj for each in head.linear_projections]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        # It joins the maps from the last, smallest one to the first.
        shares = (head.linear_fuse.weight[:, :, 0, 0] * scale[:, None]).chunk(len(projections), 1)[::-1]
        bias = norm.bias - norm.running_mean * scale
        for share, projection in zip(shares, projections, strict=True):
            bias = bias + share @ projection.bias
        self.bias = nn.Parameter(bias)
        self.kernels = nn.ParameterList(
            share @ projection.weight for share, projection in zip(shares, projections, strict=True)
        )
        self.classifier = head.classifier

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The stages' maps (N, C, h, w), the largest first -> logits (N, 2, H, W) of its size."""
        first, *smaller = (
            functional.linear(each.permute(0, 2, 3, 1), kernel).permute(0, 3, 1, 2)
            for each, kernel in zip(maps, self.kernels, strict=True)
        )
        total = first + self.bias[:, None, None]
        for each in smaller:
            total += functional.interpolate(each, total.shape[2:], mode="bilinear", align_corners=False)
        classes = self.classifier
        return functional.linear(total.relu_().permute(0, 2, 3, 1), classes.weight[:, :, 0, 0], classes.bias).permute(
            0, 3, 1, 2
        )


def _see(frames: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """The first layer: (N, 10, 88, 108) -> (N, C, 22, 27)."""
    return functional.conv2d(frames, kernels, bias, STRIDE, kernels.shape[2] // 2)


def attend_to_few(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, *, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention where keys are few, as transformers asks for it: (N, heads, T, d) -> (N, T, heads, d).

    SegFormer thins its keys, here to 6 to 12. Libraries take the softmax along them, in vectors of so few; along the
    queries, which are many, it takes half the time.
    """
    shares = ((key * scaling) @ query.transpose(2, 3)).softmax(2)
    return (value.transpose(2, 3) @ shares).permute(0, 3, 1, 2), None


AttentionInterface.register("few_keys", attend_to_few)


def _tile_of(cells: Tensor, control: str) -> Tensor:
    """A control's part of a map (B, rows, columns) of the panel or its left part, a cell for every STRIDE px."""
    x, y = (corner // STRIDE for corner in TILE_XY[control])
    size = tile_size(control) // STRIDE
    return cells[:, y : y + size, x : x + size]


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
