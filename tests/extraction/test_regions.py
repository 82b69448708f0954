"""What lights up is found whatever the game does."""

from __future__ import annotations

import numpy as np
import pytest

from extraction.regions import find_game, find_regions
from templates.catalogue import library
from templates.scene import Box

SCENE = library()["xbox_360/dark"].scene
WIDTH, HEIGHT = 280, round(280 * SCENE.canvas[1] / SCENE.canvas[0])
SHOULDERS = ("left_shoulder", "left_trigger", "right_shoulder", "right_trigger")
FACE = ("south", "east", "west", "north")


def places() -> dict[str, Box]:
    """What lights up of the face buttons and shoulders where the family draws them, in pixels."""
    scale = WIDTH / SCENE.canvas[0]
    found: dict[str, Box] = {}
    for name in (*FACE, *SHOULDERS):
        x, y, w, h = SCENE.boxes[name]
        inner = (x + w / 4, y + h / 4, w / 2, h / 2)  # the boxes themselves overlap
        left, top, width, height = (round(side * scale) for side in inner)
        found[name] = (left, top, width, height)
    return found


def crops_of(boxes: dict[str, Box]) -> np.ndarray:
    """A game that flickers everywhere and flashes as a whole, and each button lit now and then."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 25, (120, HEIGHT, WIDTH, 3))
    crops[::17] += 90
    for place, (x, y, w, h) in enumerate(boxes.values()):
        crops[place * 5 + 60 : place * 5 + 64, y : y + h, x : x + w] = 220
        crops[place * 3 + 2, y : y + h, x : x + w] = 220
    return crops.astype(np.uint8)


def test_buttons_are_regions_and_the_game_is_none() -> None:
    boxes = places()
    crops = crops_of(boxes)
    regions = find_regions(crops, np.median(crops, 0).astype(np.uint8))
    for name, box in boxes.items():
        assert any(region.box == pytest.approx(box, abs=3) for region in regions), name
    assert len(regions) == len(boxes)


def test_what_moves_at_the_edge_is_the_game_and_what_moves_inside_is_not() -> None:
    rng = np.random.default_rng(0)
    crops = np.full((30, 80, 120, 3), 60, np.uint8)
    crops[:, 60:] = rng.integers(0, 255, (30, 20, 120, 1))  # below the pad
    crops[:, 20:35, 30:45] = rng.integers(0, 255, (30, 1, 1, 1))  # a button on it
    game = find_game(crops, np.median(crops, 0).astype(np.uint8))
    assert game[62:].mean() > 0.95
    assert not game[:58].any()


def test_a_game_that_stands_still_is_not_told_from_a_pad() -> None:
    still = np.full((12, 80, 120, 3), 60, np.uint8)
    assert not find_game(still, still[0]).any()
