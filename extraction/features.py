"""Image -> keypoints, of templates and of what stands still in a video; by SIFT with root-normalised descriptors, or
by any other ``Features``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, Self

import cv2
import faiss
import numpy as np
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from templates.catalogue import Template, content_of
from templates.controls import States
from templates.draw import draw_rgba

log = logging.getLogger(__name__)

CONTRAST: Final = 0.015  # SIFT's default of 0.04 drops most of a translucent overlay
FAINT: Final = 0.006  # SIFT contrast of a second look
TEMPLATE_GREYS: Final = (24, 200)  # backgrounds: outlines look different over dark and bright games
PATIENCE: Final = 50  # templates without kept keypoints, from which on a person is told what takes so long
SHORT: Final = 64  # main axes of the descriptors, along which they are searched for
CELLS: Final = 1024  # of the inverted file: descriptors are searched for in the cells nearest to them
PER_CELL: Final = 39  # descriptors that the middle of a cell is worked out from, the least that faiss is content with
CELLS_ASKED: Final = 8
NEIGHBOURS: Final = 64  # template keypoints that a still one votes for: a family's drawings are much alike
ADDED_AT_ONCE: Final = 16384
BLOCK: Final = 4096  # descriptors that are unpacked at once
MEDIAN_ROWS: Final = 16
KEPT_PER_FRAME: Final = 3000
STILL_RADIUS_PX: Final = 1.5
SUBSETS: Final = 5  # of the sampled frames, each pooled into one median picture
STILL_SUBSETS: Final = 2  # a keypoint counts as standing still when it recurs in this many of them


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """N keypoints: points (N, 2), sizes (N,), angles (N,) in degrees, descriptors (N, D) of unit length; float32."""

    points: np.ndarray
    sizes: np.ndarray
    angles: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: np.ndarray | slice) -> Self:
        return type(self)(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @classmethod
    def join(cls, several: Sequence[Keypoints]) -> Keypoints:
        """All keypoints of several sets."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(each, name) for each in several]) for name in names))


@dataclass(frozen=True, slots=True)
class Features:
    """One way to find keypoints and to describe them.

    version: what its keypoints depend on, besides the picture. find: (H, W) uint8 grey, how many of the strongest to
    keep, and whether faint ones count -> those. likeness: cosine of descriptors, below which nothing matches; sure:
    above which a match is hardly chance. same_point: part of the canvas width, within which keypoints of a template
    count as one; least_part: of these, that must be seen where a template is presumed to be. template_widths: px that
    templates are looked at in; overlays are 90 to 500 px wide in a frame. kept_per_view: keypoints of one such look.
    packed_unit, packed_zero: a descriptor's entry of 1, and what is added to all, as bytes, which saturate.
    """

    name: str
    version: str
    find: Callable[[np.ndarray, int, bool], Keypoints]
    likeness: float
    sure: float
    same_point: float
    least_part: float
    template_widths: tuple[int, ...]
    kept_per_view: int
    packed_unit: int
    packed_zero: int

    def pack(self, keypoints: Keypoints) -> Keypoints:
        """Descriptors in bytes. Reading and joining some hundred templates is bound by memory."""
        entries = (keypoints.descriptors * self.packed_unit).round() + self.packed_zero
        return replace(keypoints, descriptors=entries.clip(0, 255).astype(np.uint8))

    def unpack(self, packed: Keypoints) -> Keypoints:
        """Descriptors in float32."""
        entries = packed.descriptors.astype(np.float32) - self.packed_zero
        return replace(packed, descriptors=entries / self.packed_unit)


def find_sift(grey: np.ndarray, keep: int, faint: bool) -> Keypoints:
    """The strongest ``keep`` SIFT keypoints of an (H, W) uint8 picture. Points: pixel (i, j) covers [i, i + 1)."""
    sift = cv2.SIFT.create(nfeatures=keep, contrastThreshold=FAINT if faint else CONTRAST)
    found, descriptors = sift.detectAndCompute(grey, None)
    if not found:
        empty = np.zeros(0, np.float32)
        return Keypoints(np.zeros((0, 2), np.float32), empty, empty, np.zeros((0, 128), np.float32))
    # RootSIFT (Arandjelovic & Zisserman 2012): Euclidean distance then compares histograms properly.
    root = np.sqrt(descriptors / (descriptors.sum(1, keepdims=True) + 1e-7))
    return Keypoints(
        np.array([keypoint.pt for keypoint in found], np.float32) + 0.5,
        np.array([keypoint.size for keypoint in found], np.float32),
        np.array([keypoint.angle for keypoint in found], np.float32),
        root.astype(np.float32),
    )


SIFT: Final = Features(
    name="sift",
    version=f"{CONTRAST} {cv2.__version__}",
    find=find_sift,
    likeness=0.8,
    sure=0.92,
    same_point=0.008,
    least_part=0.0,  # their number alone decides
    template_widths=(110, 180, 360),
    kept_per_view=300,
    packed_unit=512,  # all but a few entries lie below 0.5
    packed_zero=0,
)


def _load(path: Path) -> Keypoints | None:
    """A template's keypoints from the user's cache folder, packed; None where they are absent or damaged."""
    try:
        return Keypoints(**load_file(path))
    except (OSError, SafetensorError, TypeError):  # a full disk can damage them
        return None


def _make(template: Template, path: Path, features: Features) -> Keypoints:
    """Keypoints of a template's rest picture over dark and bright grey, in canvas units, packed, kept at ``path``."""
    keypoints = features.pack(_compute_template_keypoints(template, features))
    _store(path, save({name: getattr(keypoints, name) for name in Keypoints.__dataclass_fields__}))
    return keypoints


def _folder(features: Features) -> Path:
    return user_cache_path("padtrace") / "keypoints" / features.name


def _cache_path(template: Template, features: Features) -> Path:
    kept = (features.kept_per_view, features.packed_unit, features.packed_zero)
    settings = (features.version, features.template_widths, TEMPLATE_GREYS, *kept)
    digest = hashlib.sha256(repr(settings).encode() + content_of(template))
    return _folder(features) / f"{digest.hexdigest()[:32]}.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The keypoints of many templates, and an inverted file of their descriptors to search in.

    packed: of all templates, one after the other, descriptors in bytes; ``ends`` (T,) says where each one's end.
    cells: finds their descriptors, by position.
    """

    templates: tuple[Template, ...]
    features: Features
    packed: Keypoints
    ends: np.ndarray
    cells: faiss.Index

    def keypoints(self, part: slice | np.ndarray) -> Keypoints:
        """Some of all keypoints."""
        return self.features.unpack(self.packed[part])


@lru_cache(maxsize=2)
def index_of(templates: tuple[Template, ...], features: Features) -> Index:
    """The index of templates; those that have hardly any keypoints are left out. The same templates' index is kept."""
    paths = [_cache_path(template, features) for template in templates]
    found = [_load(path) for path in paths]
    unknown = [i for i, keypoints in enumerate(found) if keypoints is None]
    if len(unknown) > PATIENCE:
        log.warning("working out the keypoints of %d templates: about a minute, once on this machine", len(unknown))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda i: _make(templates[i], paths[i], features), unknown)
        for i, keypoints in zip(unknown, made, strict=True):
            found[i] = keypoints
    rich = [
        (template, path, keypoints)
        for template, path, keypoints in zip(templates, paths, found, strict=True)
        if keypoints and len(keypoints) >= 4
    ]
    everything = Keypoints.join([keypoints for _, _, keypoints in rich])
    ends = np.cumsum([len(keypoints) for _, _, keypoints in rich])
    cells = _cells_of([path for _, path, _ in rich], everything, features)
    return Index(tuple(template for template, _, _ in rich), features, everything, ends, cells)


def _cells_of(paths: Sequence[Path], packed: Keypoints, features: Features) -> faiss.Index:
    """The inverted file of all keypoints that ``paths`` keep: from the cache folder, or made and put there.

    One is kept, that of the templates last asked for.
    """
    digest = hashlib.sha256(
        repr((SHORT, CELLS, PER_CELL, CELLS_ASKED, faiss.__version__, [path.name for path in paths])).encode()
    )
    path = _folder(features) / f"{digest.hexdigest()[:32]}.faiss"
    with contextlib.suppress(OSError, RuntimeError):  # absent or damaged
        return faiss.deserialize_index(np.fromfile(path, np.uint8))
    count = min(CELLS, len(packed) // PER_CELL)
    cells = faiss.index_factory(packed.descriptors.shape[1], f"PCA{SHORT},IVF{count},SQ8" if count > 1 else "Flat")
    if count > 1:
        faiss.extract_index_ivf(cells).nprobe = CELLS_ASKED
        cells.train(features.unpack(packed[:: len(packed) // (PER_CELL * count)]).descriptors)
    for start in range(0, len(packed), ADDED_AT_ONCE):
        cells.add(features.unpack(packed[start : start + ADDED_AT_ONCE]).descriptors)
    with contextlib.suppress(OSError):  # the folder may be read-only
        for other in path.parent.glob("*.faiss"):
            other.unlink(missing_ok=True)
    _store(path, faiss.serialize_index(cells).tobytes())
    return cells


def nearest_still(index: Index, still: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """For each template keypoint the likest of the still ones that have it among their NEIGHBOURS: (M,) positions,
    and (M,) the cosine of the whole descriptors, -1 for a template keypoint that no still one is near to.
    """
    _, found = index.cells.search(still.descriptors, NEIGHBOURS)
    asker, drawn = np.repeat(np.arange(len(still)), NEIGHBOURS), found.ravel()
    asker, drawn = asker[drawn >= 0], drawn[drawn >= 0]  # fewer than asked for are marked with -1
    cosine = np.empty(len(drawn), np.float32)
    for start in range(0, len(drawn), BLOCK):
        part = slice(start, start + BLOCK)
        cosine[part] = np.einsum("ij,ij->i", index.keypoints(drawn[part]).descriptors, still.descriptors[asker[part]])
    nearest, similarity = np.zeros(len(index.packed), np.int64), np.full(len(index.packed), -1, np.float32)
    rising = np.argsort(cosine, kind="stable")  # so that the likest is written last
    nearest[drawn[rising]], similarity[drawn[rising]] = asker[rising], cosine[rising]
    return nearest, similarity


def _store(path: Path, content: bytes) -> None:
    """Write a cache file whole or not at all; a cache that cannot be written is only slower."""
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            partial = Path(file.name)
            file.write(content)
        os.replace(partial, path)
    except OSError as error:
        _tell_once(f"cannot keep template keypoints in {path.parent}: {error.strerror}")
        if partial is not None:
            partial.unlink(missing_ok=True)


@cache
def _tell_once(text: str) -> None:
    log.warning(text)


def _compute_template_keypoints(template: Template, features: Features) -> Keypoints:
    views = []
    for width in features.template_widths:
        rgba = draw_rgba(template, States.rest(), width).astype(np.float32)
        alpha = rgba[..., 3:] / 255
        for grey in TEMPLATE_GREYS:
            margin = width // 10  # an outline at the canvas edge needs a surrounding
            over = (rgba[..., :3] * alpha + grey * (1 - alpha)).astype(np.uint8)
            framed = cv2.copyMakeBorder(over, *(margin,) * 4, cv2.BORDER_CONSTANT, value=(grey,) * 3)
            found = features.find(cv2.cvtColor(framed, cv2.COLOR_RGB2GRAY), features.kept_per_view, False)
            unit = template.scene.canvas[0] / width
            points = (found.points - margin) * unit
            views.append(Keypoints(points, found.sizes * unit, found.angles, found.descriptors))
    return Keypoints.join(views)


def look_at(median: np.ndarray, keep: int, features: Features = SIFT, faint: bool = False) -> Keypoints:
    """The strongest ``keep`` keypoints of an (H, W, 3) uint8 picture."""
    return features.find(cv2.cvtColor(median, cv2.COLOR_RGB2GRAY), keep, faint)


def look_for_still(
    pictures: Sequence[np.ndarray], median: np.ndarray, features: Features = SIFT
) -> Iterator[Keypoints]:
    """Keypoints of what stands still in (H, W, 3) uint8 frames of one video, at a first look, then at a closer one.

    median: (H, W, 3), of all frames; the first look takes its keypoints, which is enough for most overlays. For the
    second, each subset of the frames is pooled into its temporal median, in which the game behind an overlay fades,
    and keypoints that recur at the same place of several medians are added, their descriptors averaged.
    """
    whole = look_at(median, KEPT_PER_FRAME, features)
    yield whole
    frames = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures])
    subsets = min(SUBSETS, len(frames))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # SIFT uses one core
        medians = pool.map(lambda i: median_of(frames[i::subsets]), range(subsets))
        found = list(pool.map(lambda grey: features.find(grey, KEPT_PER_FRAME, False), medians))
    owner = np.repeat(np.arange(subsets), [len(each) for each in found])
    yield Keypoints.join([_recurring(Keypoints.join(found), owner, min(STILL_SUBSETS, subsets)), whole])


def median_of(frames: np.ndarray) -> np.ndarray:
    """(N, H, ...) uint8 -> (H, ...) uint8, the lower median."""
    return np.asarray(order_of(frames, [(len(frames) - 1) // 2])[0])


def order_of(frames: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """(N, H, ...) uint8 -> (ranks, H, ...) uint8: the values of each pixel that have these ranks in time, 0 the least.

    By Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M): it compares whole
    pictures, which processors do many pixels at a time, some rows after others, so that they stay in the cache.
    """
    bands = [frames[:, row : row + MEDIAN_ROWS] for row in range(0, frames.shape[1], MEDIAN_ROWS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(lambda band: _sorted_pictures(band)[list(ranks)], bands)), axis=1)


def _sorted_pictures(pictures: np.ndarray) -> np.ndarray:
    """(N, ...) uint8, every pixel's values in order along N."""
    ordered = pictures.copy()
    for first, second in _exchanges(len(pictures)):
        low = np.minimum(ordered[first], ordered[second])
        np.maximum(ordered[first], ordered[second], out=ordered[second])
        ordered[first] = low
    return ordered


@cache
def _exchanges(count: int) -> list[tuple[int, int]]:
    """The pairs to put in order, one after the other, that sort ``count`` values."""
    pairs = []
    top = 1 << max(0, count - 1).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            q, r, d = q // 2, p, q - p
        p //= 2
    return pairs


def _recurring(keypoints: Keypoints, owner: np.ndarray, needed: int) -> Keypoints:
    """Average the keypoints that share place, size and direction in at least ``needed`` different frames."""
    if not len(keypoints):
        return keypoints
    cell = 2 * STILL_RADIUS_PX
    groups: list[Keypoints] = []
    # Two grids, half a cell apart, so that no place sits on the border of both.
    for shift in (0.0, 0.5):
        place = np.floor(keypoints.points / cell + shift).astype(np.int64)
        size = np.round(2 * np.log2(keypoints.sizes)).astype(np.int64) + 50
        angle = np.round(keypoints.angles / 30).astype(np.int64) % 12
        key = ((place[:, 1] * 100_000 + place[:, 0]) * 100 + size) * 12 + angle
        _, inverse = np.unique(key, return_inverse=True)
        pairs = np.unique(np.stack([inverse, owner], 1), axis=0)
        seen = np.bincount(pairs[:, 0], minlength=inverse.max() + 1)
        kept = np.flatnonzero(seen >= needed)
        if len(kept):
            groups.append(_average(keypoints, inverse, kept))
    return Keypoints.join(groups) if groups else keypoints[np.zeros(0, int)]


def _average(keypoints: Keypoints, inverse: np.ndarray, kept: np.ndarray) -> Keypoints:
    """The mean of each kept group; angles by the first member, they agree within 30 degrees."""
    position = np.full(inverse.max() + 1, -1)
    position[kept] = np.arange(len(kept))
    member = position[inverse] >= 0
    group = position[inverse[member]]
    count = np.bincount(group, minlength=len(kept)).astype(np.float32)

    def mean(values: np.ndarray) -> np.ndarray:
        total = np.zeros((len(kept), *values.shape[1:]), np.float32)
        np.add.at(total, group, values[member])
        return total / count.reshape(-1, *[1] * (values.ndim - 1))

    first = np.zeros(len(kept), np.int64)
    first[group[::-1]] = np.flatnonzero(member)[::-1]
    descriptors = mean(keypoints.descriptors)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True) + 1e-7
    return Keypoints(mean(keypoints.points), mean(keypoints.sizes), keypoints.angles[first], descriptors)
