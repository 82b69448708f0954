"""What capture, scaling and encoding do to a picture, batched in torch and kornia.

A group of samples shares which effects it gets; their strengths differ from sample to sample. Both
frames of a pair go through the same strengths, as one video's neighbouring frames do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn import functional

BT601 = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601


@dataclass(frozen=True, slots=True, eq=False)
class Degradation:
    """The effects on a group of N samples, drawn before any picture exists.

    gain, offset: (N,) contrast and brightness. blur_px: sigma or 0. rescale: (0, 1], the picture is shrunk
    to this and enlarged again. chroma: whether colour is kept at half resolution (4:2:0).
    jpeg_quality: (N,) in 1..100, 0 for samples that are spared. noise: standard deviation. ghost: (N,) share of the
    previous frame that a starved encoder leaves in the current one.
    """

    gain: np.ndarray
    offset: np.ndarray
    blur_px: float
    rescale: float
    chroma: bool
    jpeg_quality: np.ndarray
    noise: float
    noise_seed: int
    ghost: np.ndarray

    def of(self, part: slice) -> Degradation:
        """The effects on some of the samples."""
        some = {name: getattr(self, name)[part] for name in ("gain", "offset", "jpeg_quality", "ghost")}
        return replace(self, **some, noise_seed=self.noise_seed + (part.start or 0))


def draw_degradation(rng: np.random.Generator, count: int) -> Degradation:
    """Draw one group's effects."""
    return Degradation(
        gain=rng.uniform(0.85, 1.1, count).astype(np.float32),
        offset=rng.normal(0, 0.03, count).astype(np.float32),
        blur_px=float(rng.uniform(0.3, 1.1)) if rng.random() < 0.3 else 0.0,
        rescale=float(rng.uniform(0.55, 0.95)) if rng.random() < 0.3 else 1.0,
        chroma=bool(rng.random() < 0.6),
        # An eighth of the samples: kornia's codec costs more than everything else together.
        jpeg_quality=np.where(rng.random(count) < 0.125, rng.uniform(18, 85, count), 0).astype(np.float32),
        noise=float(rng.uniform(0, 0.02)) if rng.random() < 0.5 else 0.0,
        noise_seed=int(rng.integers(2**31)),
        ghost=np.where(rng.random(count) < 0.15, rng.uniform(0, 0.3, count), 0).astype(np.float32),
    )


def degrade(frames: Tensor, how: Degradation) -> Tensor:
    """(N, F, 3, H, W) RGB in [0, 1] -> the same shape and range.

    Frames 0 and 1 are neighbours and get everything; a third is a video's median, in which noise and blocks fade.
    """
    device = frames.device
    per_sample = (-1, 1, 1, 1, 1)
    frames = frames * torch.from_numpy(how.gain).to(device).view(per_sample)
    frames += torch.from_numpy(how.offset).to(device).view(per_sample)
    ghost = torch.from_numpy(how.ghost).to(device).view(-1, 1, 1, 1)
    frames[:, 1] += ghost * (frames[:, 0] - frames[:, 1])
    flat = frames.flatten(0, 1).clamp_(0, 1)
    size = flat.shape[2:]
    if how.blur_px:
        # One picture of many channels: torch convolves that eight times faster than many pictures.
        channels = flat.reshape(1, -1, *size)
        flat = gaussian_blur2d(channels, (5, 5), (how.blur_px, how.blur_px)).reshape(flat.shape)
    if how.rescale < 1:
        small = functional.interpolate(flat, scale_factor=how.rescale, mode="bilinear", antialias=True)
        flat = resize(small, size)
    if how.chroma:
        flat = _halve_chroma(flat)
    quality = torch.zeros(frames.shape[:2], device=device)
    quality[:, :2] = torch.from_numpy(how.jpeg_quality).to(device)[:, None]
    quality = quality.flatten()
    if (coded := quality > 0).any():
        decoded = jpeg_codec_differentiable(_pad_to_16(flat[coded]), quality[coded])
        flat[coded] = decoded[..., : size[0], : size[1]]
    flat = flat.reshape(frames.shape)
    if how.noise:
        generator = torch.Generator(device).manual_seed(how.noise_seed)
        flat[:, :2] += how.noise * torch.randn(flat[:, :2].shape, generator=generator, device=device)
    return flat.clamp_(0, 1)


def resize(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """(..., H, W) -> (..., *size), bilinear. As one picture of many channels, which torch does three times faster."""
    channels = pictures.reshape(1, -1, *pictures.shape[-2:])
    return functional.interpolate(channels, size=tuple(size), mode="bilinear").reshape(*pictures.shape[:-2], *size)


def _halve_chroma(rgb: Tensor) -> Tensor:
    """Luma at full, colour at half resolution. Chroma is linear in colour minus luma, so that is what is averaged."""
    height, width = rgb.shape[2:]
    luma = (rgb[:, :1] * BT601[0]).add_(rgb[:, 1:2], alpha=BT601[1]).add_(rgb[:, 2:], alpha=BT601[2])
    # At half the size, bilinear takes the mean of two by two pixels.
    chroma = resize(rgb - luma, (-(-height // 2), -(-width // 2)))
    return resize(chroma, (height, width)).add_(luma)


def _pad_to_16(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
