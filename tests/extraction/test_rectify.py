"""Every control has its tile, wherever the overlay puts the control."""

import numpy as np
import pytest

from extraction.rectify import BUTTON_TILE, PANEL_WH, STICK_TILE, TILE_XY, Rectifier, tile_map, tile_size
from templates.controls import CONTROLS
from templates.scene import Move, Picture, Scene, Swap

PICTURE = Picture(svg="<g/>")
SCENE = Scene(
    id="test/pad",
    family="test",
    canvas=(200, 100),
    parts=(
        Swap(name="a", control="south", box=(150, 50, 16, 16), picture=PICTURE, pressed=PICTURE),
        Move(name="l", stick="j_left", box=(30, 30, 40, 40), travel=(10, 20), picture=PICTURE),
    ),
)


def placed(scale: float, x: float, y: float) -> np.ndarray:
    """Canvas units -> pixels."""
    return np.array([[scale, 0, x], [0, scale, y]])


def test_tiles_do_not_overlap_and_fill_the_panel_they_are_given() -> None:
    owner = np.zeros(PANEL_WH[::-1], int)
    for name in CONTROLS:
        (x, y), size = TILE_XY[name], tile_size(name)
        owner[y : y + size, x : x + size] += 1
    assert owner.max() == 1
    assert owner.sum() == 2 * STICK_TILE**2 + 17 * BUTTON_TILE**2


def test_the_map_is_unknown_exactly_where_no_control_is_shown() -> None:
    points, _ = tile_map(SCENE)
    assert np.isfinite(points[..., 0]).sum() == STICK_TILE**2 + BUTTON_TILE**2


def test_stick_units_are_zero_at_the_neutral_and_one_at_full_tilt() -> None:
    _, units = tile_map(SCENE)
    tile = units[:STICK_TILE, :STICK_TILE]
    assert tile.mean((0, 1)) == pytest.approx([0, 0], abs=1e-5)
    stick = SCENE.sticks["j_left"]
    half_tile = np.array(stick.extent) / stick.travel
    assert tile[-1, -1] == pytest.approx(half_tile * (1 - 1 / STICK_TILE), rel=1e-5)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])  # small, native and shrunk before cutting
def test_a_tile_shows_its_control_at_any_size(scale: float) -> None:
    frame = np.zeros((360, 640, 3), np.uint8)
    x0, y0 = 40 + 150 * scale, 30 + 50 * scale
    side = 16 * scale
    frame[round(y0) : round(y0 + side), round(x0) : round(x0 + side)] = (255, 0, 0)
    rectifier = Rectifier(SCENE, placed(scale, 40, 30), (640, 360))
    x, y, w, h = rectifier.box_xywh
    panel = rectifier.panel(frame[y : y + h, x : x + w])
    (tx, ty), size = TILE_XY["south"], BUTTON_TILE
    tile = panel[ty : ty + size, tx : tx + size, 0].astype(float) / 255
    rows, columns = np.indices(tile.shape)
    centre = (tile * columns).sum() / tile.sum(), (tile * rows).sum() / tile.sum()
    assert centre == pytest.approx((7.5, 7.5), abs=0.3)
    assert tile.mean() == pytest.approx(1 / 1.5**2, rel=0.1)  # the box with a quarter of margin all around


def test_an_overlay_that_hangs_over_the_edge_reads_black_outside() -> None:
    frame = np.full((100, 100, 3), 255, np.uint8)
    rectifier = Rectifier(SCENE, placed(1.0, -160, 0), (100, 100))
    x, y, w, h = rectifier.box_xywh
    assert x >= 0 and y >= 0 and x + w <= 100 and y + h <= 100
    panel = rectifier.panel(frame[y : y + h, x : x + w])
    assert panel[:STICK_TILE, :STICK_TILE].max() == 0


def test_rest_is_what_most_frames_show_in_the_box() -> None:
    calm, pressed = np.full((100, 200, 3), 40, np.uint8), np.full((100, 200, 3), 200, np.uint8)
    rectifier = Rectifier(SCENE, placed(1.0, 0, 0), (200, 100))
    rest = rectifier.rest_of([calm, pressed, calm, calm, pressed])
    assert rest.shape == (rectifier.box_xywh[3], rectifier.box_xywh[2], 3) and rest.dtype == np.uint8
    assert (rest == 40).all()
