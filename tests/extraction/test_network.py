"""The network as it reads beside the network as it is trained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from extraction.evidence import FRAME_CHANNELS, REFERENCE_CHANNELS
from extraction.network import FoldedHead, ParserNet, attend_to_few, load_net
from extraction.rectify import PANEL_WH

WIDTH, HEIGHT = PANEL_WH


@pytest.fixture(scope="module")
def net() -> ParserNet:
    return load_net()[0].eval()


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return torch.rand(4, FRAME_CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_run_of_frames_reads_as_its_pairs(net: ParserNet, frames: Tensor) -> None:
    remembered = net.remember(torch.rand(1, REFERENCE_CHANNELS, HEIGHT, WIDTH))
    for run, pairs in zip(net.read_run(frames, remembered), net(frames[:-1], frames[1:], remembered), strict=True):
        torch.testing.assert_close(run, pairs, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_folded_head_is_the_same_function(net: ParserNet) -> None:
    head = net.segformer.get_submodule("decode_head")
    sizes = zip(net.config.hidden_sizes, [(22, 27), (11, 14), (6, 7), (3, 4)], strict=True)
    maps = [torch.randn(3, channels, *size) for channels, size in sizes]
    torch.testing.assert_close(FoldedHead(head)(maps), head(maps), atol=1e-4, rtol=1e-4)


def test_attention_to_few_keys_is_attention() -> None:
    query, key, value = torch.randn(2, 4, 50, 8), torch.randn(2, 4, 6, 8), torch.randn(2, 4, 6, 8)
    expected = functional.scaled_dot_product_attention(query, key, value, scale=0.3).transpose(1, 2)
    found, _ = attend_to_few(torch.nn.Identity(), query, key, value, None, scaling=0.3)
    torch.testing.assert_close(found, expected)
