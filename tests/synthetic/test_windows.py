"""Windows that the proposer is trained on: each depends on its number alone, and says where its pad is."""

from __future__ import annotations

import numpy as np

from synthetic.takes import TAKE_FRAMES, TAKE_WH
from synthetic.windows import ABSENT, PRESENT, Window, WindowMaker, draw_hands, play
from templates.catalogue import library
from templates.controls import States
from templates.draw import rasterise


def maker() -> WindowMaker:
    templates = {name: library()[name] for name in ("snes/dark", "xbox_one/own")}
    take = np.random.default_rng(0).integers(0, 256, (TAKE_FRAMES, TAKE_WH[1], TAKE_WH[0], 3), dtype=np.uint8)
    return WindowMaker(templates, [take, take[::-1]], ["snes", "xbox_one"], seed=1)


def is_same(a: Window, b: Window) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Window.__dataclass_fields__)


def test_a_window_depends_on_its_number_alone() -> None:
    first, second = maker(), maker()
    first.make(0)
    assert is_same(first.make(5), second.make(5))
    assert not is_same(first.make(5), first.make(6))


def test_a_pad_is_marked_about_its_centre_and_windows_without_one_say_so() -> None:
    windows = [maker().make(i) for i in range(24)]
    marked = [window for window in windows if (window.present == PRESENT).any()]
    assert marked and any((window.present == ABSENT).all() for window in windows)
    for window in marked:
        rows, columns = np.nonzero(window.present == PRESENT)
        apart = np.hypot((columns + 0.5) * 8 - window.box[0], (rows + 0.5) * 8 - window.box[1])
        assert apart.max() <= 0.1 * max(window.box[2:]) + 8


def test_a_pad_that_nobody_holds_is_not_live() -> None:
    template = library()["snes/dark"]
    raster = rasterise(template, 128)
    assert not play(template, raster, States.rest(TAKE_FRAMES)).live
    rng = np.random.default_rng(4)
    assert any(play(template, raster, draw_hands(rng)).live for _ in range(5))
