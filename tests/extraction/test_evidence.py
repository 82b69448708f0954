"""The channels that compare a frame with its template say what they claim."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from extraction.evidence import (
    FRAME_CHANNELS,
    REFERENCE_CHANNELS,
    STICK_MISFITS,
    Reference,
    blank,
    compare,
    complete,
    reference_of,
    reference_width,
    undo_look,
)
from extraction.parse import stick_gain
from extraction.rectify import BUTTON_TILE, PANEL_WH, STICK_TILE, TILE_XY, Rectifier
from templates.catalogue import Template, library
from templates.controls import BUTTON_INDEX, BUTTONS, STICKS, THUMB_OF, States
from templates.draw import draw, rasterise
from templates.scene import NOTHING, Picture, Scene, Show

WIDTH = 300


def drawn_reference(template: Template, overlay_px: float = WIDTH) -> Reference:
    """The reference for an overlay of some width."""
    return reference_of(template, rasterise(template, reference_width(overlay_px)))


def panel_of(template: Template, states: States, width_px: int = WIDTH) -> torch.Tensor:
    """A panel cut from the template drawn over grey: (1, 3, 88, 108)."""
    raster = rasterise(template, width_px)
    drawing = draw(raster, states)[0]
    frame = ((drawing[:3] + 0.4 * (1 - drawing[3:])) * 255).permute(1, 2, 0).numpy().astype(np.uint8)
    affine = np.array([[raster.scale, 0, 0], [0, raster.scale, 0]])
    rectifier = Rectifier(template.scene, affine, raster.size_wh)
    x, y, w, h = rectifier.box_xywh
    return torch.from_numpy(rectifier.panel(frame[y : y + h, x : x + w])).permute(2, 0, 1)[None] / 255


def known_and_undrawn(template: Template) -> list[tuple[Reference, torch.Tensor]]:
    """What is known of a skin that the library draws, and of one that only its video shows; each with its rest."""
    rest, reference = panel_of(template, States.rest()), drawn_reference(template)
    return [(reference, rest), (complete(blank(reference, template.scene.known), template.scene, rest[0]), rest)]


@pytest.mark.parametrize("name", ["xbox_360/dark", "dualsense/outline", "switch_pro/white"])
@pytest.mark.parametrize(("left", "right"), [((0.0, 0.0), (0.0, 0.0)), ((0.9, 0.0), (-0.5, 0.6)), ((0, -1), (1, 0))])
def test_a_stick_fits_best_where_it_stands(name: str, left: tuple[float, float], right: tuple[float, float]) -> None:
    template = library()[name]
    states = States.rest()
    states.sticks[0] = (left, right)
    panel, gain = panel_of(template, states), stick_gain(template.scene)
    for reference, rest in known_and_undrawn(template):
        for channel, i in product(STICK_MISFITS, range(len(STICKS))):
            place = place_of_least(compare(panel, reference, rest)[0, channel - 3], STICKS[i]) * gain[i]
            assert place == pytest.approx(states.sticks[0, i], abs=0.2)


def test_a_stick_that_narrows_as_it_is_tilted_fits_where_it_stands() -> None:
    template = library()["dualshock_4/white"]
    assert min(part.squeeze for part in template.scene.parts if part.kind == "move") < 0.9
    states = States.rest()
    states.sticks[0] = ((1, 0), (0, -1))
    panel, rest, gain = panel_of(template, states), panel_of(template, States.rest()), stick_gain(template.scene)
    misfits = compare(panel, drawn_reference(template), rest)[0]
    for channel, i in product(STICK_MISFITS, range(len(STICKS))):
        place = place_of_least(misfits[channel - 3], STICKS[i]) * gain[i]
        assert place == pytest.approx(states.sticks[0, i], abs=0.1)


def test_a_stick_that_is_only_drawn_while_it_is_tilted_is_in_the_middle_where_none_is_seen() -> None:
    template = library()["xbox_360/streamer"]
    parts = [
        part.model_copy(update={"picture": Picture(svg=""), "pressed": None}) if part.kind == "move" else part
        for part in template.scene.parts
    ]
    template = replace(template, scene=Scene.model_validate({**dict(template.scene), "parts": tuple(parts)}))
    states = States.rest()
    states.sticks[0, 1] = (0.7, -0.7)
    panel, rest, gain = panel_of(template, states), panel_of(template, States.rest()), stick_gain(template.scene)
    misfits = compare(panel, drawn_reference(template), rest)[0]
    for channel, i in product(STICK_MISFITS, range(len(STICKS))):
        place = place_of_least(misfits[channel - 3], STICKS[i]) * gain[i]
        assert place == pytest.approx(states.sticks[0, i], abs=0.15)


def place_of_least(misfit: torch.Tensor, stick: str) -> np.ndarray:
    """Where a stick fits best, [x, y] in half tiles."""
    x, y = TILE_XY[stick]
    row, column = divmod(int(misfit[y : y + STICK_TILE, x : x + STICK_TILE].argmin()), STICK_TILE)
    return (np.array([column, row]) + 0.5) / (STICK_TILE / 2) - 1


def test_a_pale_stick_on_a_pale_pad_is_told_by_what_it_covers() -> None:
    """Alone, its picture fits wherever the pad is as pale; over the pad, where its rim is."""
    template = library()["abstract/white"]
    states = States.rest()
    states.sticks[0] = ((0.6, -0.4), (0.0, 0.7))
    opacity, game = 0.55, 0.9
    rest, panel = (opacity * panel_of(template, each) + (1 - opacity) * game for each in (States.rest(), states))
    look = (torch.tensor([opacity]), torch.full((1, 3), (1 - opacity) * game - 0.04))  # measured nearly right
    rest, panel = (undo_look(each, *look) for each in (rest, panel))
    misfit = compare(panel, drawn_reference(template), rest)[0, STICK_MISFITS[1] - 3]
    for i, gain in enumerate(stick_gain(template.scene)):
        assert place_of_least(misfit, STICKS[i]) * gain == pytest.approx(states.sticks[0, i], abs=0.1)


def test_a_bright_game_that_stands_still_behind_a_translucent_pad_moves_no_stick() -> None:
    template = library()["n64/white"]
    states = States.rest()
    states.sticks[0] = ((0.5, 0.5), (0, 0))
    game = torch.zeros(1, 1, *PANEL_WH[::-1])
    x, y = TILE_XY["j_left"]
    game[:, :, y + STICK_TILE // 2 : y + STICK_TILE, x : x + STICK_TILE] = 0.2  # its lower half shines through
    rest, panel = panel_of(template, States.rest()) + game, panel_of(template, states) + game
    misfit = compare(panel, drawn_reference(template), rest)[0, STICK_MISFITS[1] - 3]
    gain = stick_gain(template.scene)[0]
    assert place_of_least(misfit, "j_left") * gain == pytest.approx((0.5, 0.5), abs=0.1)


@pytest.mark.parametrize("pressed", [False, True])
@pytest.mark.parametrize("name", ["switch_pro/mini", "dualshock_4/blueprint", "xbox_series/dark"])
def test_a_click_is_told_where_the_stick_stands(name: str, pressed: bool) -> None:
    template = library()[name]
    states = States.rest()
    states.sticks[0] = ((0.5, -0.5), (-0.7, 0.3))
    thumbs = [BUTTON_INDEX[THUMB_OF[stick]] for stick in STICKS]
    states.buttons[0, thumbs] = pressed
    reference, rest = known_and_undrawn(template)[0]
    leans = compare(panel_of(template, states), reference, rest)[0, 4]
    for stick in STICKS:
        x, y = TILE_XY[THUMB_OF[stick]]
        assert float(leans[y + 8, x + 8]) == pytest.approx(1 if pressed else -1, abs=0.4)


@pytest.mark.parametrize("overlay_px", [90, 130])
def test_a_small_overlay_is_compared_with_a_picture_as_small(overlay_px: int) -> None:
    template = library()["dualshock_4/blueprint"]
    rest = panel_of(template, States.rest(), overlay_px)
    alike, sharp = (compare(rest, drawn_reference(template, px), rest)[0, 0].mean() for px in (overlay_px, WIDTH))
    assert alike < 0.8 * sharp


def test_a_stick_that_turns_white_when_tilted_is_looked_for_in_white() -> None:
    tinted = next(
        template
        for template in library().values()
        if any(part.kind == "move" and part.off_centre is not None for part in template.scene.parts)
    )
    reference, rest = known_and_undrawn(tinted)[0]
    states = States.rest()
    states.sticks[0, 0] = (0.7, 0)
    misfit = compare(panel_of(tinted, states), reference, rest)[0, STICK_MISFITS[1] - 3]
    place = place_of_least(misfit, "j_left") * stick_gain(tinted.scene)[0]
    assert place == pytest.approx((0.7, 0), abs=0.1)


@pytest.mark.parametrize("button", ["south", "dpad_left", "left_shoulder", "start"])
def test_a_pressed_tile_is_nearer_to_the_pressed_picture(button: str) -> None:
    template = library()["xbox_one/dark"]
    states = States.rest()
    states.buttons[0, BUTTON_INDEX[button]] = True
    own = panel_of(template, States.rest())
    found = compare(panel_of(template, states), drawn_reference(template), own)[0]
    rest, pressed, unlike, _, lean, gone, _ = found
    for name in BUTTONS[:10]:
        x, y = TILE_XY[name]
        tile = (slice(y + 5, y + 11), slice(x + 5, x + 11))  # neighbours reach into the margin
        assert (pressed[tile].mean() < rest[tile].mean()) == (name == button), name
        assert (unlike[tile].mean() > 0.05) == (name == button), name
        assert lean[tile].mean() == pytest.approx(1 if name == button else -1, abs=0.5), name
        assert gone[tile].mean() == pytest.approx(float(name == button), abs=0.3), name


@pytest.mark.parametrize("clicked", [False, True])
def test_a_click_tells_wherever_the_stick_stands(clicked: bool) -> None:
    template = library()["xbox_one/dark"]
    states = States.rest()
    states.sticks[0, 0], states.buttons[0, BUTTON_INDEX["left_thumb"]] = (0.7, -0.5), clicked
    lean = compare(panel_of(template, states), drawn_reference(template), panel_of(template, States.rest()))[0, 4]
    x, y = TILE_XY["left_thumb"]
    assert lean[y, x] == pytest.approx(1 if clicked else -1, abs=0.6)


def test_an_undrawn_skin_lends_its_geometry_only() -> None:
    template = library()["xbox_360/dark"]
    reference, rest = drawn_reference(template), torch.rand(3, *PANEL_WH[::-1])
    alone = complete(blank(reference, template.scene.known), template.scene, rest)
    assert not alone.panels[:8].any()
    assert torch.equal(alone.panels[8:], reference.panels[8:])
    assert not compare(torch.rand(2, 3, *PANEL_WH[::-1]), alone, rest[None])[:, :2].any()


def test_a_button_whose_press_has_no_picture_is_blank_and_the_others_are_not() -> None:
    """As in a template that was adopted from a video in which it was never pressed."""
    drawn = library()["xbox_360/dark"]
    parts = tuple(
        Show(name="south", control="south", box=drawn.scene.boxes["south"], picture=NOTHING)
        if getattr(part, "control", None) == "south"
        else part
        for part in drawn.scene.parts
    )
    adopted = Template(drawn.scene.model_copy(update={"parts": parts}), None)
    panels = drawn_reference(adopted).panels[:8]

    def tile(control: str) -> torch.Tensor:
        x, y = TILE_XY[control]
        return panels[:, y : y + BUTTON_TILE, x : x + BUTTON_TILE]

    assert "south" in adopted.scene.known
    assert not tile("south").any()
    assert tile("east").any()


def test_undoing_a_look_restores_the_drawing() -> None:
    drawn = torch.rand(2, 3, *PANEL_WH[::-1])
    gain, offset = torch.tensor([0.5, 0.8]), torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.1, 0.0]])
    shown = gain.view(-1, 1, 1, 1) * drawn + offset.view(-1, 3, 1, 1)
    assert torch.allclose(undo_look(shown, gain, offset), drawn, atol=1e-5)


def test_channels_are_as_many_as_the_parser_takes() -> None:
    template = library()["snes/own"]
    rest = panel_of(template, States.rest())
    assert 3 + compare(rest, drawn_reference(template), rest).shape[1] == FRAME_CHANNELS
    assert drawn_reference(template).beside(rest.expand(4, -1, -1, -1)).shape == (4, REFERENCE_CHANNELS, 88, 108)
