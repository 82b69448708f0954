"""Where an overlay is that no template knows: a small network that has learned what stands still, looks like a pad, and
moves only in its parts.

    sampled frames, at several sizes -> what stands still of each -> network -> the likeliest places
    each of them, cut out at one size -> what stands still -> the same network -> a finer box, score, family

A proposal is a guess that says how sure it is. Nothing is read by it until a drawing is found there, see
``relatives``, or a person confirms it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from extraction.features import order_of
from templates.scene import Box

MAP_CHANNELS: Final = 5
STRIDE: Final = 8  # px of a picture for each cell of the network's answer
WINDOW_WH: Final = (160, 120)
EXTENT: Final = 96.0  # px in a window: what the second look brings an overlay to
EXTENTS: Final = (56.0, 136.0)  # px; the network answers to overlays of this size alone
LEVELS: Final = (905, 640, 453, 320)  # px, widths that frames are shrunk to: overlays of 79 to 544 px of 1280
EDGE: Final = 24  # px of black around a frame
LEAST_FRAMES: Final = 10  # fewer do not tell what stands still
LOOKS: Final = 3  # closer ones, each at the place that the last one found
PLACES: Final = 4  # that are looked at closer
APART: Final = 0.3  # IoU; what overlaps more is one place
SUSPECTED: Final = 0.77  # score from which a proposal is told of; LOG.md has what it costs
WEIGHTS: Final = Path(__file__).parent / "weights" / "proposer.safetensors"


@dataclass(frozen=True, slots=True)
class Proposal:
    """An overlay that no template knows.

    box_xywh: the canvas of its pad in pixels of the frame, clipped to it. score: in [0, 1], how much this looks like a
    pad that shows its player's hands. family, family_score: which pad it seems to be, and how likely, in [0, 1].
    """

    box_xywh: tuple[int, int, int, int]
    score: float
    family: str
    family_score: float

    @property
    def sentence(self) -> str:
        """What a person is told, and how to confirm it."""
        box = ",".join(map(str, self.box_xywh))
        return (
            f"what stands still at {box} looks like a pad that no template draws, perhaps {self.family} "
            f"({self.score:.2f}); look at it and say what it is: --box {box} --family {self.family}"
        )


def map_still(frames: np.ndarray) -> np.ndarray:
    """What stands still in N frames (N, h, w, 3) uint8 RGB and what moves: (5, h, w) uint8.

    The temporal median (3); how far the middle half of a pixel's values reach, 0 where it stands still; how far nearly
    all of them reach, above 0 where it also comes alive. Both are the most of the three colours.
    """
    last = len(frames) - 1
    ranks = [round(part * last) for part in (0.04, 0.25, 0.5, 0.75, 0.96)]
    least, low, middle, high, most = order_of(frames, ranks)
    spreads = [(high - low).max(-1), (most - least).max(-1)]
    return np.concatenate([middle.transpose(2, 0, 1), np.stack(spreads)])


class ProposerNet(nn.Module):
    """Maps -> for each cell of 8 x 8 px whether a pad is centred there, its box and its family."""

    def __init__(self, families: int, width: int = 80) -> None:
        super().__init__()
        sizes = (MAP_CHANNELS, 24, 48, width)
        self.stem = nn.Sequential(*(_conv(a, b, stride=2) for a, b in pairwise(sizes)))
        self.blocks = nn.ModuleList(_conv(width, width, dilation=reach) for reach in (1, 2, 4, 1, 2, 4))
        self.head = nn.Sequential(_conv(width, width), nn.Conv2d(width, 5 + families, 1))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 5, h, w) uint8 -> logits (N, h', w'), boxes (N, 4, h', w') and family logits (N, F, h', w').

        A box is its centre's way from the middle of the cell and the logarithm of its width and height, all in units
        of EXTENT.
        """
        x = maps.float() / 255
        x = self.stem(torch.cat([x[:, :3] - 0.5, x[:, 3:].sqrt()], 1))
        for block in self.blocks:
            x = x + block(x)
        out = self.head(x)
        return out[:, 0], out[:, 1:5], out[:, 5:]


def _conv(inside: int, outside: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(outside), nn.ReLU()
    )


class Proposer:
    """A trained network and the names of the families that it tells apart."""

    def __init__(self, net: ProposerNet, families: Sequence[str]) -> None:
        self._net = net.eval()
        self._families = tuple(families)

    @classmethod
    @cache
    def load(cls) -> Proposer:
        """The shipped weights."""
        with safe_open(WEIGHTS, "pt") as file:
            families = json.loads(file.metadata()["padtrace"])["families"]
        net = ProposerNet(len(families))
        net.load_state_dict(load_file(WEIGHTS))
        return cls(net, families)

    def propose(self, frames: Sequence[np.ndarray]) -> list[Proposal]:
        """The likeliest places of an overlay in (H, W, 3) uint8 RGB frames sampled from one video, however unlikely.

        At least one, at most PLACES, and first the one that stands out most from afar.
        """
        frame_wh = np.array(frames[0].shape[1::-1])
        return [self._look_at(frames, *place, frame_wh) for place in self._look_around(frames)]

    def _look_around(self, frames: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Centres and sizes (x, y) in pixels of the frame of the likeliest places at any size, the likeliest first."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            levels = list(pool.map(lambda width: _map_level(frames, width), LEVELS))
        found = []
        for width, maps in zip(LEVELS, levels, strict=True):
            logits, boxes, _ = self._answer(maps)
            unit = frames[0].shape[1] / width
            peaks = logits == functional.max_pool2d(logits[None], 3, stride=1, padding=1)[0]
            logits = logits.masked_fill(~peaks, -torch.inf)
            best = torch.topk(logits.flatten(), min(2 * PLACES, int(peaks.sum())))
            for logit, cell in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                centre, size = _box_of(boxes, *divmod(cell, logits.shape[1]))
                found.append((logit, (centre - EDGE) * unit, size * unit))
        places: list[tuple[np.ndarray, np.ndarray]] = []
        for _, centre, size in sorted(found, key=lambda each: -each[0]):
            if all(overlap(_around(centre, size), _around(*other)) < APART for other in places):
                places.append((centre, size))
        return places[:PLACES]

    def _look_at(
        self, frames: Sequence[np.ndarray], centre: np.ndarray, size: np.ndarray, frame_wh: np.ndarray
    ) -> Proposal:
        """LOOKS closer looks at a place."""
        for _ in range(LOOKS):
            centre, size, score, likely = self._look_closer(frames, centre.clip(0, frame_wh - 1), size)
        best = int(likely.argmax())
        low = np.round(centre - size / 2).astype(int).clip(0, frame_wh - 1)
        high = np.round(centre + size / 2).astype(int).clip(low + 1, frame_wh)
        x, y, w, h = (int(side) for side in (*low, *(high - low)))
        return Proposal((x, y, w, h), score, self._families[best], float(likely[best]))

    def _look_closer(
        self, frames: Sequence[np.ndarray], centre: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Centre and size as a look at this place finds them, its score, and the likelihood of each family (F,)."""
        unit = extent_of(size) / EXTENT
        window = np.array(WINDOW_WH)
        to_frame = np.array([[unit, 0, centre[0] - unit * window[0] / 2], [0, unit, centre[1] - unit * window[1] / 2]])
        logits, boxes, families = self._answer(map_still(np.stack([_cut(frame, to_frame) for frame in frames])))
        top, left = logits.shape[0] // 3, logits.shape[1] // 3
        middle = logits[top:-top, left:-left]
        row, column = divmod(int(middle.argmax()), middle.shape[1])
        row, column = row + top, column + left
        seen_at, seen_size = _box_of(boxes, row, column)
        score = float(torch.sigmoid(logits[row, column]))
        likely = torch.softmax(families[:, row, column], 0).numpy()
        return seen_at * unit + to_frame[:, 2], seen_size * unit, score, likely

    @torch.inference_mode()
    def _answer(self, maps: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        logits, boxes, families = self._net(torch.from_numpy(maps)[None])
        return logits[0], boxes[0], families[0]


def overlap(a: Box, b: Box) -> float:
    """IoU of two boxes x, y, width, height."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(across, 0) * max(down, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def extent_of(size: np.ndarray) -> float:
    """The width of a 4:3 picture that holds a box of (width, height)."""
    return float(max(size[0], size[1] * WINDOW_WH[0] / WINDOW_WH[1]))


def _around(centre: np.ndarray, size: np.ndarray) -> Box:
    (x, y), (w, h) = (centre - size / 2).tolist(), size.tolist()
    return x, y, w, h


def _box_of(boxes: Tensor, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size, (x, y) in pixels of the maps, of what a cell answers."""
    x, y, w, h = boxes[:, row, column].numpy()
    middle = (np.array([column, row]) + 0.5) * STRIDE
    return middle + np.array([x, y]) * EXTENT, np.exp(np.array([w, h]).clip(-3, 1)) * EXTENT


def _map_level(frames: Sequence[np.ndarray], width: int) -> np.ndarray:
    """What stands still of frames shrunk to a width, in a black frame that is a multiple of the stride."""
    height = round(frames[0].shape[0] * width / frames[0].shape[1])
    small = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
    maps = map_still(small)
    right, bottom = EDGE + -width % STRIDE, EDGE + -height % STRIDE
    return np.pad(maps, ((0, 0), (EDGE, bottom), (EDGE, right)))


def _cut(frame: np.ndarray, to_frame: np.ndarray) -> np.ndarray:
    """A window (120, 160, 3) of a frame, black outside of it; ``to_frame``: window -> pixels of the frame."""
    unit = to_frame[0, 0]
    x0, y0 = np.floor(to_frame[:, 2]).astype(int).tolist()
    x1, y1 = np.ceil(to_frame[:, 2] + unit * np.array(WINDOW_WH)).astype(int).tolist()
    height, width = frame.shape[:2]
    inside = frame[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    above, below, left, right = max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)
    framed = cv2.copyMakeBorder(inside, above, below, left, right, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.resize(framed, WINDOW_WH, interpolation=cv2.INTER_AREA if unit > 1 else cv2.INTER_LINEAR))
