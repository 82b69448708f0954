"""Image -> keypoints by XFeat (arXiv 2404.19174), trained on renders of overlays: see ``synthetic.xfeat``.

Keypoints are corners; the network describes them and says how reliable they are. It tells neither size nor direction:
pictures are looked at in steps of half an octave, a keypoint's size is that of its step, and overlays are upright.
"""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from kornia.feature.xfeat import XFeatModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from extraction.features import Features, Keypoints
from extraction.records import SourceError

LENGTH: Final = 64  # of a descriptor
CELL: Final = 8  # px of a picture for each descriptor of the network's map
TEMPLATE_WIDTH: Final = 360  # px
MULTIPLE: Final = 32  # px; the network's pictures have sides of so many
STEPS: Final = 5  # half octaves that a picture is looked at in
LEAST_SIDE: Final = 64  # px; a smaller picture shows no overlay
LEAST_PART: Final = 0.2  # of a template's corners: 0.3 and more where it is, up to 0.12 where it is not
CORNER, FAINT_CORNER = 2e-5, 5e-6  # least eigenvalue of the gradients of a picture in [0, 1]; that of a second look
CORNERS_APART: Final = 5  # px, odd: the largest of so many pixels either way
WEIGHTS: Final = Path(__file__).parent / "weights" / "xfeat.safetensors"


def make_net() -> XFeatModel:
    """The network with random weights, without the parts that are not used: keypoints, and refinement of matches."""
    net = XFeatModel()
    net.keypoint_head = nn.Sequential()
    net.fine_matcher = nn.Sequential()
    return net


def sample(maps: Tensor, points: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Read maps (N, C, h, w) of pictures of a size at points (N, P, 2), pixel i covers [i, i + 1): (N, P, C)."""
    grid = points / torch.tensor(size_wh, device=points.device) * 2 - 1
    read = functional.grid_sample(maps, grid[:, None], mode="bicubic", padding_mode="border", align_corners=False)
    return read[:, :, 0].transpose(1, 2)


def describe(maps: Tensor, points: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Descriptors of unit length, (N, P, 64), of ``sample``."""
    return functional.normalize(sample(functional.normalize(maps, dim=1), points, size_wh), dim=-1)


def find_corners(grey: np.ndarray, least: float = CORNER) -> np.ndarray:
    """Corners (Shi & Tomasi 1994) of an (H, W) uint8 picture: (N, 2) float32, the middles of their pixels."""
    strength = cv2.cornerMinEigenVal(grey.astype(np.float32) / 255, 3)
    most = cv2.dilate(strength, np.ones((CORNERS_APART, CORNERS_APART)))
    rows, columns = np.nonzero((strength == most) & (strength > least))
    return np.stack([columns, rows], 1).astype(np.float32) + 0.5


@cache
def open_xfeat(weights: Path = WEIGHTS) -> Features:
    """XFeat with trained weights. SourceError where the file does not hold them."""
    net = make_net()
    try:
        net.load_state_dict(load_file(weights))
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except (OSError, SafetensorError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise SourceError(
            f"{weights} does not hold weights of XFeat ({first}); train them with `padtrace train xfeat`"
        ) from error
    net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Features(
        name="xfeat",
        version=f"{digest} {STEPS} {CORNER} {CORNERS_APART}",
        find=partial(find_xfeat, net),
        likeness=0.7,
        sure=0.9,
        same_point=CELL / TEMPLATE_WIDTH,  # corners in one cell have nearly one descriptor
        least_part=LEAST_PART,
        template_widths=(TEMPLATE_WIDTH,),
        kept_per_view=450,
        packed_unit=256,
        packed_zero=128,
    )


@torch.inference_mode()
def find_xfeat(net: XFeatModel, grey: np.ndarray, keep: int, faint: bool) -> Keypoints:
    """The ``keep`` most reliable corners of an (H, W) uint8 picture. Points: pixel (i, j) covers [i, i + 1)."""
    empty = np.zeros(0, np.float32)
    found = [Keypoints(np.zeros((0, 2), np.float32), empty, empty, np.zeros((0, LENGTH), np.float32))]
    reliable = [empty]
    height, width = grey.shape
    for step in range(STEPS):
        small_wh = round(width * 2 ** (-step / 2)), round(height * 2 ** (-step / 2))
        if min(small_wh) < LEAST_SIDE:
            break
        small = grey if step == 0 else cv2.resize(grey, small_wh, interpolation=cv2.INTER_AREA)
        corners = find_corners(small, FAINT_CORNER if faint else CORNER)
        right, bottom = (-side % MULTIPLE for side in small_wh)
        padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        maps, _, reliability = net(torch.from_numpy(padded)[None, None].float() / 255)
        points, padded_wh = torch.from_numpy(corners)[None], (small_wh[0] + right, small_wh[1] + bottom)
        unit = np.array([width, height], np.float32) / small_wh
        sizes = np.full(len(corners), unit[0], np.float32)
        described = describe(maps, points, padded_wh)[0].numpy()
        found.append(Keypoints(corners * unit, sizes, np.zeros_like(sizes), described))
        reliable.append(sample(reliability, points, padded_wh)[0, :, 0].numpy())
    best = np.argsort(-np.concatenate(reliable), kind="stable")[:keep]
    return Keypoints.join(found)[best]
