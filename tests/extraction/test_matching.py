"""Controls are put on what lights up, each on its own, however the skin draws them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from extraction.matching import match_in_place, match_layout
from extraction.regions import Region
from templates.catalogue import library
from templates.scene import Box

PADS = {family: library()[f"{family}/dark"].scene for family in ("xbox_360", "dualshock_2", "snes")}
WIDTH = 280
SHOULDERS = ("left_shoulder", "left_trigger", "right_shoulder", "right_trigger")
FACE = ("south", "east", "west", "north")


def size_of(family: str) -> tuple[int, int]:
    width, height = PADS[family].canvas
    return WIDTH, round(WIDTH * height / width)


def places(family: str, *names: str) -> dict[str, Box]:
    """Where the family draws them, in pixels; what lights up is half as large."""
    scale = WIDTH / PADS[family].canvas[0]
    found: dict[str, Box] = {}
    for name in names:
        x, y, w, h = (side * scale for side in PADS[family].boxes[name])
        found[name] = (x + w / 4, y + h / 4, w / 2, h / 2)
    return found


def region(box: Box, quality: float = 0.7, share: float = 0.05) -> Region:
    return Region(box, np.arange(200) < 200 * share, 10, quality)


def match(family: str, lit: Mapping[str, Box], *others: Region) -> dict[str, Box]:
    """What each control gets where these light up, and other things, too."""
    matched = match_layout([*map(region, lit.values()), *others], PADS[family], size_of(family))
    return {name: found.box for name, found in matched.regions.items()}


def moved(boxes: Mapping[str, Box], x: float, y: float) -> dict[str, Box]:
    return {name: (left + x, top + y, w, h) for name, (left, top, w, h) in boxes.items()}


@pytest.mark.parametrize("family", ["xbox_360", "dualshock_2"])
def test_shoulders_that_are_drawn_elsewhere_are_found_in_their_order(family: str) -> None:
    lit = places(family, *FACE) | moved(places(family, *SHOULDERS), 0, -10)
    assert match(family, lit) == lit


def test_a_layout_moves_with_what_lights_up() -> None:
    lit = moved(places("xbox_360", *FACE), -14, 0)
    matched = match_layout([*map(region, lit.values())], PADS["xbox_360"], size_of("xbox_360"))
    assert {name: found.box for name, found in matched.regions.items()} == lit
    drawn = places("xbox_360", "start")["start"]
    x, _, w, _ = matched.boxes["start"]
    assert x + w / 2 == pytest.approx(drawn[0] + drawn[2] / 2 - 14, abs=4), "start goes along"


@pytest.mark.parametrize("wider", [0.7, 1.5])
def test_face_buttons_nearer_together_or_farther_apart_stay_a_figure(wider: float) -> None:
    lit = places("dualshock_2", *FACE)
    x, y = (float(np.mean([box[i] + box[i + 2] / 2 for box in lit.values()])) for i in (0, 1))
    lit = {
        name: (x + (left + w / 2 - x) * wider - w / 2, y + (top + h / 2 - y) * wider - h / 2, w, h)
        for name, (left, top, w, h) in lit.items()
    }
    assert match("dualshock_2", lit) == lit


def test_what_fits_no_figure_does_not_push_buttons_aside() -> None:
    """Patches of the game above two face buttons, each where the layout could have a button."""
    lit = places("dualshock_2", "south", "west", "north", "dpad_left", "dpad_down", "dpad_right")
    x, y, w, h = lit["north"]
    game = [region((x - 30, y - 14, w * 1.6, h * 0.7), 0.7), region((x + 34, y - 20, w * 0.6, h * 1.6), 0.7)]
    assert match("dualshock_2", lit, *game).items() >= lit.items()


def test_triggers_right_beside_the_bumpers_are_nearer_to_the_middle() -> None:
    lit = places("dualshock_2", *FACE, "left_shoulder", "right_shoulder")
    for side, by in (("left", 0.15 * WIDTH), ("right", -0.15 * WIDTH)):
        lit |= {f"{side}_trigger": moved({"": lit[f"{side}_shoulder"]}, by, 4)[""]}
    assert match("dualshock_2", lit) == lit


def test_a_pad_without_triggers_has_its_shoulders() -> None:
    lit = places("snes", *FACE, "left_shoulder", "right_shoulder")
    assert match("snes", lit) == lit


def test_what_is_often_lit_is_rather_the_game() -> None:
    lit = places("dualshock_2", *FACE, *SHOULDERS)
    x, y, w, h = lit["left_shoulder"]
    game = region((x + 3, y + h, w, h), 0.7, share=0.5)
    assert match("dualshock_2", lit, game) == lit


def test_what_lies_on_a_button_is_no_shoulder() -> None:
    """A patch of the game over a face button, where a bumper would be if what lights up above it were a trigger."""
    face = moved(places("dualshock_2", *FACE), 0, -25)
    x, y, w, h = face["north"]
    right = (x + w / 2 - 14, y - 14, 28.0, 10.0)
    bumpers = {"left_shoulder": (WIDTH - right[0] - right[2], *right[1:]), "right_shoulder": right}
    game = region((x - 7, y - 2, w + 14, h + 4), 0.9)
    assert match("dualshock_2", face | bumpers, game) == face | bumpers


def test_nothing_lit_leaves_the_layout_as_it_is() -> None:
    matched = match_layout([], PADS["xbox_360"], size_of("xbox_360"))
    assert not matched.regions
    x, y, w, h = (side * WIDTH / PADS["xbox_360"].canvas[0] for side in PADS["xbox_360"].boxes["south"])
    assert matched.boxes["south"] == pytest.approx((x, y, w, h), abs=0.5)


def test_a_place_where_nothing_lights_up_gets_no_region() -> None:
    scene = PADS["xbox_360"]
    scale = WIDTH / scene.canvas[0]
    boxes = {name: np.array(box) * scale for name, box in scene.boxes.items()}
    lit = places("xbox_360", "south", "east")
    matched = match_in_place([*map(region, lit.values())], scene, boxes, WIDTH)
    assert set(matched.regions) == {"south", "east"}
    assert matched.boxes["south"] == lit["south"]
