"""Where a video tells no caps, a drawing of the family lends its own, if it is surely the one that moves there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from extraction.borrowed import borrow_caps
from templates.catalogue import library
from templates.controls import States
from templates.draw import draw_rgba
from templates.scene import Box

DRAWINGS = [library()[f"xbox_360/{style}"] for style in ("outline", "dark", "retro", "glass")]
WIDTH, FRAMES = 240, 60


def play(style: str, opacity: float, used: bool = True, seed: int = 0) -> tuple[np.ndarray, dict[str, Box], np.ndarray]:
    """Crops of a translucent pad over a game, what its sticks sweep in them, and where these are."""
    rng = np.random.default_rng(seed)
    template = library()[f"xbox_360/{style}"]
    states = States.rest(FRAMES)
    away = rng.random(FRAMES) < 0.6 * used
    states.sticks[away] = rng.uniform(-1, 1, (away.sum(), 2, 2)) * 0.9
    crops = []
    for i in range(FRAMES):
        rgba = draw_rgba(template, states[i : i + 1], WIDTH).astype(np.float32)
        alpha = opacity * rgba[..., 3:] / 255
        noise = rng.integers(40, 120, (9, 14, 3), dtype=np.uint8)
        game = cv2.resize(noise, (WIDTH, len(rgba)), interpolation=cv2.INTER_CUBIC)
        crops.append((rgba[..., :3] * alpha + game * (1 - alpha)).round().astype(np.uint8))
    scale = WIDTH / template.scene.canvas[0]
    boxes = {}
    for name in template.scene.sticks:
        x, y, w, h = (side * scale for side in template.scene.boxes[name])
        boxes[name] = (x, y, w, h)
    return np.stack(crops), boxes, states.sticks


@pytest.mark.parametrize("style", ["outline", "dark"])
def test_the_drawing_that_is_seen_moving_lends_its_caps(style: str) -> None:
    crops, boxes, _ = play(style, 0.5)
    borrowed = borrow_caps(crops, boxes, DRAWINGS)
    assert borrowed is not None
    assert borrowed.drawing.id == f"xbox_360/{style}"
    scale = WIDTH / borrowed.drawing.scene.canvas[0]
    for name, cap in borrowed.caps.items():
        stick = borrowed.drawing.scene.sticks[name]
        assert cap.travel == pytest.approx(stick.travel[0] * scale, rel=0.05)
        assert cap.middle == pytest.approx([side * scale for side in stick.centre], abs=2)
        assert cap.looks[0][..., 3].max() > 200
        assert not cap.behind.any()


def test_sticks_that_nobody_uses_lend_nothing() -> None:
    crops, boxes, _ = play("outline", 0.5, used=False)
    assert borrow_caps(crops, boxes, DRAWINGS) is None


def test_a_game_is_no_cap() -> None:
    crops, boxes, _ = play("outline", 0.0)
    assert borrow_caps(crops, boxes, DRAWINGS) is None


def test_without_drawings_that_have_these_sticks_there_is_nothing_to_lend() -> None:
    crops, boxes, _ = play("outline", 0.5)
    assert borrow_caps(crops, boxes, []) is None
    assert borrow_caps(crops, boxes, [library()["snes/dark"]]) is None
