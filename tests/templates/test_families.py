"""The built-in library: what every drawing shows, in every style."""

import re
import tomllib

import numpy as np
import pytest
import torch

from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, THUMB_OF, TRIGGERS, States
from templates.draw import draw, rasterise
from templates.families import LIBRARY, families, family_scenes
from templates.scene import Box, Clip, Opacity, Scene, Show, Swap

WIDTH = 200  # px, a common size of an overlay in a 1080p video
OVERSHOOT = 24  # canvas units that a stick's window may reach over the edge
LEAST_CHANGE = 0.04  # mean absolute difference in [0, 1] over a control's box, alpha included
ON_SNES = tuple(name for name in BUTTONS if name not in (*TRIGGERS, *THUMB_OF.values(), "guide"))

every_template = pytest.mark.parametrize("scene", family_scenes().values(), ids=lambda scene: scene.id)


def _shown_box(scene: Scene, control: str) -> Box:
    """Where a control's light appears; a clicked cap lights up in the middle of the stick's window."""
    for part in scene.parts:
        if part.kind == "move" and THUMB_OF[part.stick] == control and part.pressed is not None:
            return part.box
    return scene.boxes[control]


def held(control: str) -> States:
    states = States.rest()
    states.buttons[0, BUTTON_INDEX[control]] = True
    if control in TRIGGERS:
        states.triggers[0, TRIGGERS.index(control)] = 1
    return states


def test_the_library_has_eight_families_in_three_styles_or_more() -> None:
    assert len(families()) == 8
    assert min(len(family.styles) for family in families().values()) >= 3
    assert {scene.family for scene in family_scenes().values()} == set(families())


def test_every_drawing_has_a_title_and_a_file_of_its_own_for_its_styles() -> None:
    drawings = {path.stem for path in LIBRARY.glob("*.svg")}
    described = {path.stem for path in LIBRARY.glob("*.toml")} - {"styles"}
    assert drawings == described
    assert all(family.title for family in families().values())


def test_every_shared_style_is_worn_by_a_family() -> None:
    shared = tomllib.loads((LIBRARY / "styles.toml").read_text())["styles"]
    assert set(shared) == {name for family in families().values() for name in family.styles}


def test_the_travels_span_what_overlays_in_the_wild_use() -> None:
    travels = [stick.travel[0] / stick.size[0] for scene in family_scenes().values() for stick in scene.sticks.values()]
    assert min(travels) == pytest.approx(0.12)
    assert max(travels) == pytest.approx(1.0)


@every_template
def test_a_template_shows_exactly_the_controls_of_its_pad(scene: Scene) -> None:
    assert scene.known == (ON_SNES if scene.family == "snes" else CONTROLS)


@every_template
def test_every_box_lies_on_the_canvas(scene: Scene) -> None:
    width, height = scene.canvas
    for control, (x, y, w, h) in scene.boxes.items():
        spare = OVERSHOOT if control.startswith("j_") or control in THUMB_OF.values() else 0
        assert w > 0 and h > 0, control
        assert min(x, y) >= -spare, control
        assert x + w <= width + spare and y + h <= height + spare, control


@every_template
def test_a_sticks_box_is_square_about_the_centre_of_its_cap(scene: Scene) -> None:
    for name, centre in families()[scene.family].caps.items():
        assert scene.sticks[name].centre == pytest.approx(centre)
        assert scene.sticks[name].size[0] == scene.sticks[name].size[1]


@every_template
def test_holding_a_control_changes_what_its_box_shows(scene: Scene) -> None:
    raster = rasterise(Template(scene, None), WIDTH)
    buttons = [name for name in scene.known if name in BUTTONS]
    rest, *pressed = torch.cat([draw(raster, state) for state in (States.rest(), *map(held, buttons))]).numpy()
    for control, picture in zip(buttons, pressed, strict=True):
        x, y, w, h = (side * raster.scale for side in _shown_box(scene, control))
        window = np.s_[:, max(int(y), 0) : int(y + h) + 1, max(int(x), 0) : int(x + w) + 1]
        assert np.abs(picture[window] - rest[window]).mean() > LEAST_CHANGE, control


@every_template
def test_nothing_is_painted_outside_a_controls_box(scene: Scene) -> None:
    raster = rasterise(Template(scene, None), WIDTH)
    rest = draw(raster, States.rest())[0]
    # A sliding trigger leaves its box by design; the arm of a nine-state d-pad is longer than its third.
    for control in {part.control for part in scene.parts if isinstance(part, Swap | Show | Clip | Opacity)}:
        changed = (draw(raster, held(control))[0] - rest).abs().amax(0) > 0.02
        x, y, w, h = (side * raster.scale for side in scene.boxes[control])
        changed[max(int(y) - 1, 0) : int(y + h) + 2, max(int(x) - 1, 0) : int(x + w) + 2] = False
        assert not changed.any(), control


def test_drawings_hold_no_text_and_refer_to_nothing() -> None:
    for path in LIBRARY.glob("*.svg"):
        assert not re.search(r"<text|href|url\(|<image|<!", path.read_text()), path.name
