"""The channels that compare a frame with its template say what they claim."""

import numpy as np
import pytest
import torch

from extraction.evidence import CHANNELS, STICK_MISFIT, compare, join_pairs, reference_of, undo_look, unseen
from extraction.parse import CHANNELS as PARSER_CHANNELS
from extraction.parse import stick_gain
from extraction.records import Placement
from extraction.rectify import PANEL_WH, STICK_TILE, TILE_XY, Rectifier
from templates.catalogue import Template, library
from templates.controls import BUTTON_INDEX, BUTTONS, STICKS, States
from templates.draw import draw, rasterise

WIDTH = 300


def panel_of(template: Template, states: States) -> torch.Tensor:
    """A panel cut from the template drawn over grey: (1, 3, 88, 108)."""
    raster = rasterise(template, WIDTH)
    drawing = draw(raster, states)[0]
    frame = ((drawing[:3] + 0.4 * (1 - drawing[3:])) * 255).permute(1, 2, 0).numpy().astype(np.uint8)
    affine = np.array([[raster.scale, 0, 0], [0, raster.scale, 0]])
    place = Placement(template.id, template.family, affine, (0, 0, *raster.size_wh), 20, 0.0, np.inf)
    rectifier = Rectifier(template.scene, place, raster.size_wh)
    x, y, w, h = rectifier.box_xywh
    return torch.from_numpy(rectifier.panel(frame[y : y + h, x : x + w])).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("name", ["xbox_360/dark", "dualsense/outline", "switch_pro/white"])
@pytest.mark.parametrize(("left", "right"), [((0.0, 0.0), (0.0, 0.0)), ((0.9, 0.0), (-0.5, 0.6)), ((0, -1), (1, 0))])
def test_a_stick_fits_best_where_it_stands(name: str, left: tuple[float, float], right: tuple[float, float]) -> None:
    template = library()[name]
    states = States.rest()
    states.sticks[0] = (left, right)
    misfit = compare(panel_of(template, states), reference_of(template))[0, STICK_MISFIT - 3]
    gain = stick_gain(template.scene)
    for i, stick in enumerate(STICKS):
        x, y = TILE_XY[stick]
        tile = misfit[y : y + STICK_TILE, x : x + STICK_TILE]
        row, column = divmod(int(tile.argmin()), STICK_TILE)
        place = (np.array([column, row]) + 0.5 - STICK_TILE / 2) / (STICK_TILE / 2) * gain[i]
        assert place == pytest.approx(states.sticks[0, i], abs=0.2)


@pytest.mark.parametrize("button", ["south", "dpad_left", "left_shoulder", "start"])
def test_a_pressed_tile_is_nearer_to_the_pressed_picture(button: str) -> None:
    template = library()["xbox_one/dark"]
    states = States.rest()
    states.buttons[0, BUTTON_INDEX[button]] = True
    rest, pressed = compare(panel_of(template, states), reference_of(template))[0, :2]
    for name in BUTTONS[:10]:
        x, y = TILE_XY[name]
        tile = (slice(y + 5, y + 11), slice(x + 5, x + 11))  # neighbours reach into the margin
        assert (pressed[tile].mean() < rest[tile].mean()) == (name == button), name


def test_an_unseen_skin_lends_its_geometry_only() -> None:
    reference = reference_of(library()["xbox_360/dark"])
    blank = unseen(reference)
    assert not blank.panels[:8].any() and not blank.caps.any()
    assert torch.equal(blank.panels[8:], reference.panels[8:])
    assert not compare(torch.rand(2, 3, *PANEL_WH[::-1]), blank).any()


def test_undoing_a_look_restores_the_drawing() -> None:
    drawn = torch.rand(2, 3, *PANEL_WH[::-1])
    gain, offset = torch.tensor([0.5, 0.8]), torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.1, 0.0]])
    shown = gain.view(-1, 1, 1, 1) * drawn + offset.view(-1, 3, 1, 1)
    assert torch.allclose(undo_look(shown, gain, offset), drawn, atol=1e-5)


def test_pairs_have_the_parsers_channels_and_the_current_frame_on_the_right() -> None:
    before, now = torch.zeros(3, 6, 88, 108), torch.ones(3, 6, 88, 108)
    pairs = join_pairs(before, now, torch.zeros(1, 10, 88, 108))
    assert pairs.shape == (3, CHANNELS, 88, 216)
    assert PARSER_CHANNELS == CHANNELS
    assert pairs[:, :6, :, 108:].min() == 1 and pairs[:, :6, :, :108].max() == 0
