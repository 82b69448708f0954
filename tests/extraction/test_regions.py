"""What lights up is found whatever the game does, and controls are put on it, each on its own."""

from __future__ import annotations

import numpy as np
import pytest

from extraction.regions import find_regions, match_in_place, match_layout
from templates.catalogue import library
from templates.scene import Box

SCENE = library()["xbox_360/dark"].scene
WIDTH, HEIGHT = 280, round(280 * SCENE.canvas[1] / SCENE.canvas[0])
SHOULDERS = ("left_shoulder", "left_trigger", "right_shoulder", "right_trigger")
FACE = ("south", "east", "west", "north")


def places(raised: float = 0.0) -> dict[str, Box]:
    """What lights up of the face buttons and shoulders where the family draws them, in pixels; these ``raised``."""
    scale = WIDTH / SCENE.canvas[0]
    found: dict[str, Box] = {}
    for name in (*FACE, *SHOULDERS):
        x, y, w, h = SCENE.boxes[name]
        inner = (x + w / 4, y + h / 4, w / 2, h / 2)  # the boxes themselves overlap
        left, top, width, height = (round(side * scale) for side in inner)
        found[name] = (left, top - round(raised) if name in SHOULDERS else top, width, height)
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


def test_shoulders_that_are_drawn_elsewhere_are_found_in_their_order() -> None:
    boxes = places(raised=8)
    crops = crops_of(boxes)
    matched = match_layout(find_regions(crops, np.median(crops, 0).astype(np.uint8)), SCENE, (WIDTH, HEIGHT))
    for name, box in boxes.items():
        assert matched.regions[name].box == pytest.approx(box, abs=3), name


def test_a_layout_moves_with_what_lights_up() -> None:
    boxes = {name: (x - 14, y, w, h) for name, (x, y, w, h) in places().items() if name in FACE}
    crops = crops_of(boxes)
    matched = match_layout(find_regions(crops, np.median(crops, 0).astype(np.uint8)), SCENE, (WIDTH, HEIGHT))
    assert {*FACE} <= matched.regions.keys()
    assert matched.boxes["east"] == pytest.approx(boxes["east"], abs=3)
    x = SCENE.boxes["dpad_up"][0] * WIDTH / SCENE.canvas[0]
    assert matched.boxes["dpad_up"][0] == pytest.approx(x - 14, abs=8), "goes along, though nobody pressed it"


def test_a_place_where_nothing_lights_up_gets_no_region() -> None:
    boxes = {"south": places()["south"]}
    crops = crops_of(boxes)
    drawn = {name: np.array(box) * WIDTH / SCENE.canvas[0] for name, box in SCENE.boxes.items()}
    matched = match_in_place(find_regions(crops, np.median(crops, 0).astype(np.uint8)), SCENE, drawn, WIDTH)
    assert [*matched.regions] == ["south"]
