"""A packed dataset for PyTorch: a frame and the actions that follow it.

    from padtrace.dataset import FrameActionStream, SampleOptions

    stream = FrameActionStream("data", SampleOptions(horizon=18, action_shift=3), batch_size=64, seed=0)
    for batch in DataLoader(stream, batch_size=None, num_workers=4):  # the stream makes the batches
        batch["frame"]    # (64, 3, 256, 256) uint8 RGB, the overlay black
        batch["buttons"]  # (64, 18, 17) bool, in the order of ``templates.controls.BUTTONS``

A sample is a dictionary; a batch has one more axis in front, and lists of what is no tensor here:

    frame        (3, 256, 256) uint8 RGB
    buttons      (T, 17) bool in the order of ``BUTTONS``
    j_left       (T, 2) float32, x and y in [-1, 1]; negative y is up. j_right the same
    known        (T, 19) bool in the order of ``CONTROLS``; what the overlay did not show is False or 0 above
    confidence   (T,) float32
    video_id     str
    frame_index  () int64; timestamp () float64, s; rate () float64, frames per second: all of the frame

With ``packed``, ``actions`` (T, 25) float32 in the order of ``PACKED_ORDER`` stands for the buttons and sticks, and
``known`` is (T, 25) like it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from extraction.records import SourceError
from extraction.shards import FRAME_SIDE
from padtrace.dataset.groups import Group, Readers, make_plan
from padtrace.dataset.records import Chunk
from padtrace.dataset.samples import SampleOptions, pack_actions

log = logging.getLogger(__name__)

Sample = dict[str, Any]

BLOCK: Final = 64  # row groups that are shuffled into each other; some 100 MB of JPEGs in each worker
READ_THREADS: Final = 8  # for a bucket, which answers late, but many at once


class FrameActionDataset(Dataset[Sample]):
    """All samples by number, in the order of videos and frames.

    For looking things up and for evaluation. Each read costs a row group: to shuffle, ``FrameActionStream`` is several
    times faster.
    """

    def __init__(self, where: str | os.PathLike[str], options: SampleOptions | None = None, *, skip_bad: bool = False):
        """Open the dataset in a folder or below ``s3://bucket/prefix``.

        SourceError where there is no index, or a file that it names is missing or cut short; with ``skip_bad`` what
        such files hold is left out, with a warning.
        """
        self._plan = make_plan(os.fspath(where), options or SampleOptions(), skip_bad)
        self._ends = np.cumsum(self._plan.counts)
        self._readers = Readers(self._plan)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> Sample:
        """SourceError where the sample's file turns out damaged."""
        if not 0 <= number < len(self):
            raise IndexError(f"expected a sample in 0..{len(self) - 1}, found {number}")
        group = int(np.searchsorted(self._ends, number, side="right"))
        first = int(self._ends[group] - self._plan.counts[group])
        batch = _make_batch([(self._readers.here().group(group), number - first)], self._plan.options)
        return {name: values[0] for name, values in batch.items()}


class FrameActionStream(IterableDataset[Sample]):
    """Batches of all samples, each once an epoch, shuffled; each rank and worker has its part of them.

    The order follows from the seed, the epoch, and how many ranks and workers there are. Call ``set_epoch`` before
    each epoch. Parts differ by at most one sample; the last batch of each worker is what is left.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        options: SampleOptions | None = None,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
        skip_bad: bool = False,
    ):
        """Open the dataset in a folder or below ``s3://bucket/prefix``; rank and ranks come from torch.distributed.

        SourceError as for ``FrameActionDataset``; with ``skip_bad`` also what turns out damaged later is left out.
        """
        super().__init__()
        self._plan = make_plan(os.fspath(where), options or SampleOptions(), skip_bad)
        self._readers = Readers(self._plan)
        self._seed = seed
        self._batch_size = batch_size
        spread = torch.distributed.is_available() and torch.distributed.is_initialized()
        self._rank = rank if rank is not None else torch.distributed.get_rank() if spread else 0
        self._ranks = ranks if ranks is not None else torch.distributed.get_world_size() if spread else 1
        if batch_size < 1:
            raise ValueError(f"expected a batch_size of 1 or more, found {batch_size}")
        if not 0 <= self._rank < self._ranks:
            raise ValueError(f"expected a rank in 0..{self._ranks - 1}, found {self._rank}")
        # Epoch, and the batches of it that are done: shared with workers that outlive an epoch.
        self._position = torch.tensor([0, 0]).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def samples(self) -> int:
        """Samples of this rank in a whole epoch."""
        begin, end = _share(int(self._plan.counts.sum()), self._rank, self._ranks)
        return end - begin

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; a position in the same epoch stays."""
        if epoch != int(self._position[0]):
            self.resume(epoch, 0)

    def resume(self, epoch: int, batches: int) -> None:
        """Go on in an epoch of which this rank has trained ``batches`` batches, as counted by the training loop.

        Ranks and workers must be as many as they were; for the rest compare ``fingerprint``.
        """
        if epoch < 0 or batches < 0:
            raise ValueError(f"expected a position in training, found epoch {epoch}, batch {batches}")
        self._position[:] = torch.tensor([epoch, batches])

    @property
    def fingerprint(self) -> str:
        """Keep it in a checkpoint beside the position: equal where dataset, marks, options, batch size and seed are."""
        return self._plan.fingerprint(self._batch_size, self._seed)

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch, batches = self._position.tolist()
        # The batch that comes next is of the worker whose turn it was, and the new loader asks its first worker.
        worker = (worker + batches) % workers
        parts = [self._part_of(other, workers) for other in range(workers)]
        sizes = [end - begin for begin, end in parts]
        done = _batches_done(sizes, batches, self._batch_size)[worker] * self._batch_size
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._plan.counts))
        pieces = _cut(order, self._plan.counts, *parts[worker])
        picked: list[tuple[Group, int]] = []
        with ThreadPoolExecutor(READ_THREADS) as threads:
            read = threads.map if "://" in self._plan.where else map
            for start in range(0, len(pieces), BLOCK):
                block = pieces[start : start + BLOCK]
                size = sum(stop - begin for _, begin, stop in block)
                shuffled = np.random.default_rng([self._seed, epoch, worker, start]).permutation(size)[done:]
                done = max(done - size, 0)
                if not len(shuffled):
                    continue
                for place in _pick(list(read(self._read, [group for group, _, _ in block])), block, shuffled):
                    picked.append(place)
                    if len(picked) == self._batch_size:
                        yield _make_batch(picked, self._plan.options)
                        picked = []
        if picked:
            yield _make_batch(picked, self._plan.options)

    def _part_of(self, worker: int, workers: int) -> tuple[int, int]:
        """The part of the epoch that a worker of this rank has."""
        return _share(int(self._plan.counts.sum()), self._rank * workers + worker, self._ranks * workers)

    def _read(self, group: int) -> Group | None:
        try:
            return self._readers.here().read(group)
        except SourceError as error:
            if not self._plan.skip_bad:
                raise
            log.warning("left out: %s", error)
            return None


def _pick(
    read: Sequence[Group | None], block: Sequence[tuple[int, int, int]], shuffled: np.ndarray
) -> Iterator[tuple[Group, int]]:
    """The samples of a block in order. block: (row group, first sample in it, behind its last); read: None if bad."""
    places = [(i, number) for i, (_, begin, stop) in enumerate(block) for number in range(begin, stop)]
    for place in shuffled.tolist():
        i, number = places[place]
        if (group := read[i]) is not None:
            yield group, number


def _make_batch(picked: Sequence[tuple[Group, int]], options: SampleOptions) -> Sample:
    """Samples of row groups, by their number in each, decoded."""
    groups = [group for group, _ in picked]
    at = [int(group.at[number]) for group, number in picked]
    frames = np.empty((len(picked), 3, FRAME_SIDE, FRAME_SIDE), np.uint8)
    for frame, group, row in zip(frames, groups, at, strict=True):
        _decode(group.jpegs[row], group.chunk, frame)
    spans = [slice(row + options.action_shift, row + options.action_shift + options.horizon) for row in at]

    def gather(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([each[span] for each, span in zip(values, spans, strict=True)])

    confidence = gather([group.rows.confidence for group in groups])
    return {
        "frame": torch.from_numpy(frames),
        **_name_actions(
            gather([group.rows.buttons for group in groups]),
            gather([group.rows.sticks for group in groups]),
            gather([group.rows.known for group in groups]),
            options.packed,
        ),
        "confidence": torch.from_numpy(confidence),
        "video_id": [group.chunk.video_id for group in groups],
        "frame_index": torch.tensor([int(group.rows.frame_index[row]) for group, row in zip(groups, at, strict=True)]),
        "timestamp": torch.tensor(
            [float(group.rows.timestamp[row]) for group, row in zip(groups, at, strict=True)], dtype=torch.float64
        ),
        "rate": torch.tensor([group.chunk.rate for group in groups], dtype=torch.float64),
    }


def _name_actions(buttons: np.ndarray, sticks: np.ndarray, known: np.ndarray, packed: bool) -> Sample:
    """buttons: (B, T, 17). sticks: (B, T, 2, 2). known: (B, T, 19)."""
    if packed:
        values, shown = pack_actions(buttons, sticks, known)
        return {"actions": torch.from_numpy(values), "known": torch.from_numpy(shown)}
    return {
        "buttons": torch.from_numpy(buttons),
        "j_left": torch.from_numpy(sticks[:, :, 0]),
        "j_right": torch.from_numpy(sticks[:, :, 1]),
        "known": torch.from_numpy(known),
    }


def _decode(jpeg: pa.Scalar, chunk: Chunk, planes: np.ndarray) -> None:
    """Into ``planes``, (3, 256, 256) uint8 RGB."""
    if not jpeg.is_valid:
        raise SourceError(f"expected pictures in {chunk.video_id}, found labels alone; extract it without --no-frames")
    bgr = cv2.imdecode(np.frombuffer(jpeg.as_buffer(), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None or bgr.shape != (FRAME_SIDE, FRAME_SIDE, 3):
        raise SourceError(f"expected JPEGs of {FRAME_SIDE}x{FRAME_SIDE} in {chunk.file}, found another; pack it again")
    cv2.split(bgr, [planes[2], planes[1], planes[0]])


def _share(total: int, part: int, parts: int) -> tuple[int, int]:
    """The half-open span of one of several equal parts."""
    return total * part // parts, total * (part + 1) // parts


def _batches_done(samples: Sequence[int], batches: int, batch_size: int) -> list[int]:
    """Of ``batches`` batches that a loader gave, asking its workers in turn, how many came from each."""
    left = [-(-each // batch_size) for each in samples]
    rounds = min(batches // len(samples), min(left))
    done = [rounds] * len(samples)
    rest = batches - rounds * len(samples)
    while rest > 0 and any(done[worker] < left[worker] for worker in range(len(samples))):
        for worker in range(len(samples)):
            if rest and done[worker] < left[worker]:
                done[worker] += 1
                rest -= 1
    return done


def _cut(order: np.ndarray, counts: np.ndarray, begin: int, end: int) -> list[tuple[int, int, int]]:
    """Samples ``begin`` to ``end`` - 1 of row groups in ``order``: (row group, first sample in it, behind its last)."""
    ends = np.cumsum(counts[order])
    starts = ends - counts[order]
    inside = np.flatnonzero((ends > begin) & (starts < end) & (counts[order] > 0))
    return [
        (int(order[i]), int(max(begin - starts[i], 0)), int(min(end, ends[i]) - starts[i])) for i in inside.tolist()
    ]
