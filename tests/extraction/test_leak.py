"""What a mask leaves visible must not tell the labels: a linear probe beside the mask does no better than chance."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import extraction.spool
from extraction.extract import ExtractOptions, Outcome, extract_video
from extraction.leak import find_leak, find_strength, widen_masks
from tests.extraction.conftest import LampParser, find_lamp, write_video

FRAMES = 1600
SIZE_WH = (384, 216)
BOX_XYWH = (163, 99, 58, 27)  # in no macroblock's bounds
RING_PX = 5
SOFT_PX = 1.5
BOX_OF_LAMP = "tests.extraction.conftest.OVERLAY_XYWH"


def held_at_random() -> np.ndarray:
    """(FRAMES,) bool: presses and pauses of 3 to 12 frames."""
    lengths = np.random.default_rng(5).integers(3, 13, FRAMES)
    return np.repeat(np.arange(FRAMES) % 2 == 0, lengths)[:FRAMES]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wandering game under a translucent lamp with soft edges, white while a button is held; a stream's quality."""
    rng = np.random.default_rng(1)
    width, height = SIZE_WH
    game = cv2.resize(
        rng.integers(30, 220, (30, 60, 3)).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    x, y, w, h = BOX_XYWH
    share = np.zeros((height, width, 1))
    share[y : y + h, x : x + w] = 0.5
    share = cv2.GaussianBlur(share, None, SOFT_PX)[..., None]
    frames, shift = [], np.zeros(2)
    for down in held_at_random():
        shift = shift + rng.normal(0, 1.5, 2)
        frame = np.roll(game, np.round(shift).astype(int).tolist(), (0, 1))
        frames.append((frame * (1 - share) + share * (255 if down else 0)).astype(np.uint8))
    path = tmp_path_factory.mktemp("leak") / "lamp.mp4"
    write_video(path, frames, crf=28)
    return path


def extract(video: Path, out: Path) -> Outcome:
    return extract_video(video, out, {}, LampParser(), ExtractOptions(), find_lamp)


def probe_score(out: Path, outcome: Outcome) -> float:
    """How well a linear probe on a ring around the mask tells the button: area under the curve, 0.5 is chance.

    Trained on the first half of the frames, judged on the second.
    """
    table = pq.read_table(out / "shards" / f"{outcome.video_id}.parquet")
    pressed = table["south"].to_numpy()
    grey = np.stack([cv2.imdecode(np.frombuffer(jpeg, np.uint8), 0) for jpeg in table["frame"].to_pylist()])
    left, top, right, bottom = outcome.report["masks"][0]
    ring = np.zeros(grey.shape[1:], bool)
    ring[top - RING_PX : bottom + RING_PX, left - RING_PX : right + RING_PX] = True
    ring[top:bottom, left:right] = False
    pixels = grey[:, ring].astype(np.float64)
    pixels = (pixels - pixels.mean(0)) / (pixels.std(0) + 1e-6)
    half = len(pixels) // 2
    train, test = pixels[:half], pixels[half:]
    wanted = np.where(pressed[:half], 1.0, -1.0)
    weights = np.linalg.solve(train.T @ train + 100 * np.eye(train.shape[1]), train.T @ (wanted - wanted.mean()))
    return area_under_curve(test @ weights, pressed[half:])


def area_under_curve(scores: np.ndarray, pressed: np.ndarray) -> float:
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    held = int(pressed.sum())
    return float((ranks[pressed].sum() - held * (held + 1) / 2) / (held * (len(scores) - held)))


@pytest.fixture(autouse=True)
def lamp_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOX_OF_LAMP, BOX_XYWH)


def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction.spool, "MASK_MARGIN", 0.0)
    monkeypatch.setattr(extraction.spool, "MASK_MARGIN_PX", 0)


def test_a_probe_beside_the_mask_does_no_better_than_chance(video: Path, tmp_path: Path) -> None:
    score = probe_score(tmp_path, extract(video, tmp_path))
    assert abs(score - 0.5) < 0.12


def test_without_margin_and_check_the_probe_tells_the_button(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_margin(monkeypatch)
    monkeypatch.setattr(extraction.spool, "find_leak", lambda strength, masks: np.zeros_like(strength, bool))
    score = probe_score(tmp_path, extract(video, tmp_path))
    assert score > 0.8


def test_without_margin_the_check_widens_the_mask_until_the_probe_is_blind(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_margin(monkeypatch)
    score = probe_score(tmp_path, extract(video, tmp_path))
    assert abs(score - 0.5) < 0.12


def test_a_box_that_is_far_too_small_drops_the_video(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_margin(monkeypatch)
    x, y, w, h = BOX_XYWH
    monkeypatch.setattr(BOX_OF_LAMP, (x, y, w // 2, h))
    outcome = extract(video, tmp_path)
    reasons = [chunk["reason"] for chunk in outcome.report["chunks"]]
    assert "leak" in reasons and None not in reasons
    assert not (tmp_path / "shards" / f"{outcome.video_id}.parquet").exists()
    rejects = pq.read_table(tmp_path / "rejects" / f"{outcome.video_id}.parquet")
    assert rejects["reason"].to_pylist() == reasons


MASK = (slice(100, 140), slice(60, 120))


def strength_of(follows: np.ndarray) -> np.ndarray:
    """Strength where the pixels of ``follows`` take part in what the label does, over noise."""
    rng = np.random.default_rng(3)
    labels = rng.integers(-1, 2, (400, 21)).astype(np.float32)
    pixels = rng.normal(0, 3, (400, 256, 256)) + 4 * follows * labels[:, :1, None]
    return find_strength(pixels.clip(-16, 16).astype(np.int8), labels)


def test_pixels_beside_the_mask_that_follow_a_label_are_covered() -> None:
    follows = np.zeros((256, 256))
    follows[140:143, 90:100] = 1
    leak = find_leak(strength_of(follows), [MASK])
    assert leak[140:143, 90:100].all() and leak.sum() == 30
    assert widen_masks([MASK], leak) == [(slice(100, 144), slice(60, 120))]


def test_a_game_that_answers_all_around_is_no_leak() -> None:
    assert not find_leak(strength_of(np.ones((256, 256))), [MASK]).any()


def test_noise_is_no_leak() -> None:
    assert not find_leak(strength_of(np.zeros((256, 256))), [MASK]).any()


def test_each_of_two_masks_covers_what_is_beside_it() -> None:
    leak = np.zeros((256, 256), bool)
    leak[99, 60] = leak[10, 10] = True
    far = (slice(12, 20), slice(12, 20))
    assert widen_masks([MASK, far], leak) == [(slice(98, 140), slice(59, 120)), (slice(9, 20), slice(9, 20))]
    leak[160, 90] = True  # 21 px off
    assert widen_masks([MASK, far], leak) is None
