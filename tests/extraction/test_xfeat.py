"""Corners described by a network: where they are, how large, kept by content, and weights that are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from extraction import features as features_module
from extraction.features import Features, Keypoints, index_of
from extraction.records import SourceError
from extraction.xfeat import LENGTH, describe, find_corners, make_net, open_xfeat
from templates.catalogue import library


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A network that nobody trained."""
    torch.manual_seed(0)
    save_file(make_net().state_dict(), tmp_path / "random.safetensors")
    return tmp_path / "random.safetensors"


def noise(width: int, height: int) -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_a_corner_is_found_in_the_middle_of_its_pixel() -> None:
    picture = np.zeros((64, 96), np.uint8)
    picture[20:40, 30:70] = 200
    found = find_corners(picture)
    true = np.array([(30, 20), (70, 20), (30, 40), (70, 40)], np.float32)
    apart = np.linalg.norm(found[:, None] - true, axis=2)
    assert len(found) == 4 and apart.min(0).max() <= 1.5


def test_keypoints_lie_in_the_picture_and_are_of_half_octaves(weights: Path) -> None:
    found = open_xfeat(weights).find(noise(330, 210), 500, False)
    assert len(found) == 500
    assert (found.points > 0).all() and (found.points < (330, 210)).all()
    assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-4)
    steps = 2 * np.log2(found.sizes)
    assert steps == pytest.approx(np.round(steps), abs=0.02) and len(np.unique(np.round(steps))) > 1


@pytest.mark.parametrize("shape", [(16, 16), (64, 64)])
def test_a_picture_without_corners_has_no_keypoints(weights: Path, shape: tuple[int, int]) -> None:
    assert len(open_xfeat(weights).find(np.zeros(shape, np.uint8), 10, True)) == 0


def test_a_descriptor_is_read_where_its_point_is() -> None:
    """A map whose cells tell their own place: read in the middle of a cell, it is that cell's."""
    maps = torch.eye(12).reshape(1, 12, 3, 4)  # of a picture of 32 x 24 px
    points = torch.tensor([[[4.0, 4.0], [28.0, 20.0]]])
    assert describe(maps, points, (32, 24))[0].argmax(1).tolist() == [0, 11]


def test_packed_descriptors_keep_their_angles(weights: Path) -> None:
    features = open_xfeat(weights)
    found = features.find(noise(330, 210), 100, False)
    back = features.unpack(features.pack(found))
    assert found.descriptors.shape[1] == LENGTH
    cosine = (found.descriptors * back.descriptors).sum(1) / np.linalg.norm(back.descriptors, axis=1)
    assert cosine.min() > 0.99


def test_keypoints_of_templates_are_kept_by_content_and_by_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "user_cache_path", lambda name: tmp_path / name)
    templates = (library()["snes/dark"],)
    features = open_xfeat(weights)
    first = index_of(templates, features)
    index_of.cache_clear()

    def refuse(grey: np.ndarray, keep: int, faint: bool) -> Keypoints:
        raise AssertionError("worked out again")

    kept: Features = dataclasses.replace(features, find=refuse)
    again = index_of(templates, kept)
    assert np.array_equal(again.packed.descriptors, first.packed.descriptors)
    with pytest.raises(AssertionError, match="worked out again"):
        index_of(templates, dataclasses.replace(kept, version="other weights"))


def test_weights_of_another_shape_are_refused_in_one_sentence(weights: Path, tmp_path: Path) -> None:
    tensors = load_file(weights)
    name = next(name for name, value in tensors.items() if value.ndim == 4)
    wrong = tmp_path / "wrong.safetensors"
    save_file({**tensors, name: tensors[name][:1].clone()}, wrong)
    short = tmp_path / "short.safetensors"
    short.write_bytes(weights.read_bytes()[:1000])
    for path in (wrong, short, tmp_path / "none.safetensors"):
        with pytest.raises(SourceError, match="does not hold weights of XFeat") as told:
            open_xfeat(path)
        assert "\n" not in str(told.value)
