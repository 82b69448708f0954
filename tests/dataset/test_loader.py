"""What a trainer gets: the right frames with the right actions, each once, in an order that the seed decides."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from extraction.records import SourceError
from padtrace.dataset import PACKED_ORDER, FrameActionDataset, FrameActionStream, SampleOptions
from padtrace.dataset.marks import Span, save_marks
from padtrace.dataset.pack import pack
from padtrace.dataset.store import open_store
from templates.controls import BUTTONS, CONTROLS
from tests.dataset.conftest import CHUNK, labels_of, number_of, write_shard

T = 16
STRETCHES = ((0, 2 * CHUNK), (3 * CHUNK, 4 * CHUNK - CHUNK // 3))  # of each video of ``packed``


def expected_frames(options: SampleOptions) -> list[int]:
    """By hand: frames whose actions do not leave their stretch."""
    reach = options.action_shift + options.horizon - 1
    return [
        frame
        for begin, end in STRETCHES
        for frame in range(begin, end)
        if frame + reach < end and frame % options.frame_stride == 0
    ]


def frames_of(samples: Any) -> list[tuple[str, int]]:
    return [(sample["video_id"], int(sample["frame_index"])) for sample in samples]


@pytest.mark.parametrize(
    "options",
    [
        SampleOptions(),
        SampleOptions(horizon=18, action_shift=3),
        SampleOptions(horizon=1, action_shift=0),
        SampleOptions(horizon=64, action_shift=70),  # reaches over a whole row group
        SampleOptions(frame_stride=7),
        SampleOptions(horizon=120, action_shift=1),  # longer than what the lone chunk has left
    ],
)
def test_every_sample_holds_its_frame_and_the_actions_behind_it(packed: Path, options: SampleOptions) -> None:
    dataset = FrameActionDataset(packed, options)
    wanted = expected_frames(options)
    assert frames_of(dataset) == [(video, frame) for video in ("one", "two") for frame in wanted]
    for i in range(0, len(wanted), 41):
        sample = dataset[i]
        assert sample["frame"].shape == (3, 256, 256) and sample["frame"].dtype == torch.uint8
        assert number_of(sample["frame"].numpy()) == wanted[i]
        truth = labels_of(wanted[i] + options.action_shift + np.arange(options.horizon))
        assert np.array_equal(sample["buttons"], truth.buttons)
        assert np.array_equal(sample["j_left"], truth.sticks[:, 0])
        assert np.array_equal(sample["j_right"], truth.sticks[:, 1])
        assert np.array_equal(sample["known"], truth.known)
        assert np.array_equal(sample["confidence"], truth.confidence)
        assert sample["rate"] == pytest.approx(7.5)


def test_a_control_that_is_not_shown_is_zero_and_not_known(tmp_path: Path) -> None:
    write_shard(tmp_path, "one", shown=("south", "j_left"))
    pack(open_store(str(tmp_path)))
    sample = FrameActionDataset(tmp_path)[5]
    assert sample["known"].all(0).tolist() == [name in ("south", "j_left") for name in CONTROLS]
    assert not sample["buttons"][:, 1:].any() and not sample["j_right"].any() and sample["j_left"].any()


def test_packed_actions_are_in_the_order_of_nitrogen(packed: Path) -> None:
    named, flat = FrameActionDataset(packed)[9], FrameActionDataset(packed, SampleOptions(packed=True))[9]
    assert PACKED_ORDER[0] == "back" and PACKED_ORDER[18] == "south" and PACKED_ORDER[21:23] == ("j_left_x", "j_left_y")
    assert flat["actions"].shape == (T, 25) and flat["known"].shape == (T, 25)
    for slot, name in enumerate(PACKED_ORDER[:21]):
        if name in BUTTONS:
            assert torch.equal(flat["actions"][:, slot] > 0.5, named["buttons"][:, BUTTONS.index(name)])
        else:
            assert not flat["actions"][:, slot].any() and not flat["known"][:, slot].any()
    sticks = torch.cat([named["j_left"], named["j_right"]], 1)
    assert torch.allclose(flat["actions"][:, 21:] * 2 - 1, sticks, atol=1e-6)


def test_marked_frames_and_actions_are_left_out_at_once(packed: Path) -> None:
    before = frames_of(FrameActionDataset(packed))
    save_marks(packed, "one", [Span(start_frame=100, end_frame=110)])
    touched = {("one", frame) for frame in (*range(100, 110), *range(100 - T, 110 - 1))}
    assert frames_of(FrameActionDataset(packed)) == [place for place in before if place not in touched]


def test_doubtful_actions_are_left_out(packed: Path) -> None:
    dataset = FrameActionDataset(packed, SampleOptions(min_confidence=0.6))
    right = [frame for frame in expected_frames(SampleOptions()) if frame + 1 >= 100]  # 0.5 + 0.001 a frame
    assert frames_of(dataset) == [(video, frame) for video in ("one", "two") for frame in right]
    assert all(sample["confidence"].min() >= 0.6 for sample in (dataset[0], dataset[len(dataset) - 1]))


def test_games_are_chosen(packed: Path) -> None:
    dataset = FrameActionDataset(packed, SampleOptions(games=("hollow_knight",)))
    assert {video for video, _ in frames_of(dataset)} == {"two"}
    assert len(FrameActionDataset(packed, SampleOptions(games=("tetris",)))) == 0


def batches_of(stream: FrameActionStream) -> list[list[tuple[str, int]]]:
    return [
        list(zip(batch["video_id"], batch["frame_index"].tolist(), strict=True))
        for batch in DataLoader(stream, batch_size=None, num_workers=2)
    ]


def flat(batches: list[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    return [place for batch in batches for place in batch]


def test_two_ranks_with_two_workers_see_every_sample_once_in_the_order_of_the_seed(packed: Path) -> None:
    options = SampleOptions(frame_stride=3)
    everything = frames_of(FrameActionDataset(packed, options))

    def epoch_of(seed: int, epoch: int) -> list[list[tuple[str, int]]]:
        seen = []
        for rank in range(2):
            stream = FrameActionStream(packed, options, batch_size=8, seed=seed, rank=rank, ranks=2)
            stream.set_epoch(epoch)
            seen.append(flat(batches_of(stream)))
            assert len(seen[-1]) == stream.samples
        return seen

    first = epoch_of(0, 0)
    assert Counter(flat(first)) == Counter(everything) and max(Counter(flat(first)).values()) == 1
    assert abs(len(first[0]) - len(first[1])) <= 1
    assert first == epoch_of(0, 0)
    assert first != epoch_of(1, 0) and first != epoch_of(0, 1)
    positions = [everything.index(place) for place in first[0]]
    assert abs(np.corrcoef(positions, np.arange(len(positions)))[0, 1]) < 0.3


@pytest.mark.parametrize("done", [0, 1, 5, 6, 17, 10_000])
def test_what_is_killed_in_an_epoch_goes_on_without_repeat_or_loss(packed: Path, done: int) -> None:
    options = SampleOptions(frame_stride=3)
    whole = FrameActionStream(packed, options, batch_size=8, seed=3, rank=1, ranks=2)
    whole.set_epoch(2)
    batches = batches_of(whole)
    resumed = FrameActionStream(packed, options, batch_size=8, seed=3, rank=1, ranks=2)
    assert resumed.fingerprint == whole.fingerprint
    resumed.resume(2, min(done, len(batches)))
    resumed.set_epoch(2)  # as the training loop does
    assert batches_of(resumed) == batches[done:]
    resumed.set_epoch(3)
    assert len(flat(batches_of(resumed))) == resumed.samples


def test_workers_that_outlive_an_epoch_hear_of_the_next(packed: Path) -> None:
    stream = FrameActionStream(packed, SampleOptions(frame_stride=9), batch_size=8)
    loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=1, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append([number for batch in loader for number in batch["frame_index"].tolist()])
    assert orders[0] == orders[2] != orders[1]


def test_the_fingerprint_tells_another_dataset_or_seed(packed: Path) -> None:
    first = FrameActionStream(packed, batch_size=8).fingerprint
    assert first != FrameActionStream(packed, batch_size=8, seed=1).fingerprint
    save_marks(packed, "one", [Span(start_frame=0, end_frame=1)])
    assert first != FrameActionStream(packed, batch_size=8).fingerprint


def test_a_dataset_goes_to_other_processes(packed: Path) -> None:
    dataset = pickle.loads(pickle.dumps(FrameActionDataset(packed)))
    assert number_of(dataset[3]["frame"].numpy()) == 3


def test_without_an_index_one_is_told_to_pack(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="padtrace pack"):
        FrameActionDataset(tmp_path)


def test_labels_alone_cannot_be_loaded_as_pictures(tmp_path: Path) -> None:
    write_shard(tmp_path, "one", pictures=False)
    pack(open_store(str(tmp_path)))
    with pytest.raises(SourceError, match="labels alone"):
        FrameActionDataset(tmp_path)[0]
