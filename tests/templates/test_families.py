"""The built-in library: what every drawing shows, in every style."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, DPAD, THUMB_OF, TRIGGERS, States
from templates.draw import draw, rasterise
from templates.drawings import LIBRARY, Family, Style, families
from templates.families import dress, family_scenes
from templates.scene import Box, Clip, Opacity, Scene, Show, Swap

WIDTH = 160  # px, a small overlay in a 1080p video
OVERSHOOT = 24  # canvas units that a stick's window may reach over the edge
LEAST_CHANGE = 0.04  # mean absolute difference in [0, 1] over a control's box, alpha included
# Two templates are alike when their pictures differ by less than this part of what each differs from plain grey.
# Pairs just above it, as the white DualShock 3 and 4, are told apart at a glance; those below, by searching.
ALIKE = 0.2
LOOK_WH = (48, 36)  # px of the pictures that are compared


@dataclass(frozen=True)
class Drawn:
    """A template at rest, with each button held, and with all of them held; pictures (4, H, W)."""

    scene: Scene
    scale: float
    rest: np.ndarray
    held: Mapping[str, np.ndarray]
    busy: np.ndarray


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures this small cost more to share among threads than to draw."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=family_scenes().values(), ids=lambda scene: scene.id)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    """Every template in turn, drawn once for all tests."""
    scene: Scene = request.param
    raster = rasterise(Template(scene, None), WIDTH)
    buttons = [name for name in scene.known if name in BUTTONS]
    rest, busy, *held = draw(raster, stacked(States.rest(), all_at_once(), *map(holding, buttons))).numpy()
    return Drawn(scene, raster.scale, rest, dict(zip(buttons, held, strict=True)), busy)


@pytest.fixture(scope="module")
def looks() -> dict[str, np.ndarray]:
    """What the eye compares, by template id; filled as the templates are drawn."""
    return {}


def holding(control: str) -> States:
    states = States.rest()
    states.buttons[0, BUTTON_INDEX[control]] = True
    if control in TRIGGERS:
        states.triggers[0, TRIGGERS.index(control)] = 1
    return states


def all_at_once() -> States:
    """Every button held, triggers beyond half, sticks tilted two ways."""
    buttons = States.all_pressed().buttons
    sticks = np.array([[[-0.7, -0.7], [0.7, 0.4]]], np.float32)
    return States(buttons, sticks, np.full((1, 2), 0.6, np.float32))


def stacked(*states: States) -> States:
    return States(*(np.concatenate([getattr(s, f) for s in states]) for f in ("buttons", "sticks", "triggers")))


def shown_box(scene: Scene, control: str) -> Box:
    """Where a control's light appears; a clicked cap lights up in the middle of the stick's window."""
    for part in scene.parts:
        if part.kind == "move" and THUMB_OF[part.stick] == control and part.pressed is not None:
            return part.box
    return scene.boxes[control]


def look_of(drawn: Drawn) -> np.ndarray:
    """A template at rest and busy as Lab differences from plain grey, both cut to what is drawn: (2 x H x W x 3)."""
    grey = cv2.cvtColor(np.full((1, 1, 3), 0.5, np.float32), cv2.COLOR_RGB2LAB)
    x, y, w, h = cv2.boundingRect((drawn.rest[3] > 0.05).astype(np.uint8))
    found = []
    for picture in (drawn.rest, drawn.busy):
        rgba = picture[:, y : y + h, x : x + w].transpose(1, 2, 0)
        rgb = (rgba[..., :3] + 0.5 * (1 - rgba[..., 3:])).clip(0, 1)
        small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), LOOK_WH, interpolation=cv2.INTER_AREA)
        found.append(cv2.GaussianBlur(small, (0, 0), 1) - grey)
    return np.stack(found).ravel()


def test_the_library_has_three_hundred_templates_in_fifteen_families() -> None:
    assert len(family_scenes()) >= 300
    assert len({scene.family for scene in family_scenes().values()}) >= 15


def test_every_drawing_has_a_title_and_a_file_of_its_own_for_its_styles() -> None:
    drawings = {path.stem for path in LIBRARY.glob("*.svg")}
    described = {path.stem for path in LIBRARY.glob("*.toml")} - {"styles"}
    assert drawings == described
    assert all(family.title for family in families().values())


def test_every_shared_style_is_worn_by_a_family() -> None:
    shared = tomllib.loads((LIBRARY / "styles.toml").read_text())["styles"]
    assert set(shared) == {name for family in families().values() for name in family.styles}


def test_every_behaviour_is_worn_by_a_family() -> None:
    styles = [style for family in families().values() for style in family.styles.values()]
    for field in ("press", "trigger", "thumb", "dpad"):
        assert {getattr(style, field) for style in styles} == set(get_args(Style.model_fields[field].annotation)), field
    assert any(style.squeeze < 1 for style in styles)
    assert any(style.off_centre for style in styles)
    assert any(style.sink for style in styles)


def test_the_travels_span_what_overlays_in_the_wild_use() -> None:
    travels = [stick.travel[0] / stick.size[0] for scene in family_scenes().values() for stick in scene.sticks.values()]
    assert min(travels) == pytest.approx(0.12)
    assert max(travels) == pytest.approx(1.0)


def test_drawings_hold_no_text_and_refer_to_nothing() -> None:
    for path in LIBRARY.glob("*.svg"):
        assert not re.search(r"<text|href|url\(|<image|<!", path.read_text()), path.name


BALL = Family(
    name="stick",
    title="Arcade stick",
    canvas=(100, 100),
    groups={"dpad": '<circle cx="50" cy="50" r="20"/>'},
    areas={"dpad": (30, 30, 40, 40)},
    caps={},
    styles={"plain": Style(css=".pressed { fill: #fff }", travel=0.3)},
)


@pytest.mark.parametrize(
    ("held", "centre"),
    [
        ((), (50, 50)),
        (("dpad_left",), (32, 50)),  # 0.45 of its width
        (("dpad_up", "dpad_right"), (68, 32)),
    ],
)
def test_an_arcade_stick_is_a_ball_that_leans(held: tuple[str, ...], centre: tuple[int, int]) -> None:
    scene = dress(BALL, "plain")
    assert scene.known == DPAD
    assert scene.boxes["dpad_left"] == pytest.approx((12, 12 + 76 / 3, 76 / 3, 76 / 3))
    states = States.rest()
    states.buttons[0, [BUTTON_INDEX[name] for name in held]] = True
    alpha = draw(rasterise(Template(scene, None), 100), states)[0, 3].numpy()
    rows, columns = np.indices(alpha.shape)
    found = ((columns + 0.5) * alpha).sum() / alpha.sum(), ((rows + 0.5) * alpha).sum() / alpha.sum()
    assert found == pytest.approx(centre, abs=0.1)


def test_a_bar_lights_its_end_only_at_full_travel() -> None:
    template = Template(family_scenes()["xbox_one/mono"], None)
    ends = [part for part in template.scene.parts if part.name == "left_trigger.end"]
    x, y, w, h = (side * WIDTH / template.scene.canvas[0] for side in ends[0].box)
    at = (int(y + h / 2), int(x + w / 2))
    states = [States.rest(), holding("left_trigger"), holding("left_trigger")]
    states[1].triggers[0, 0] = 0.9
    colours = draw(rasterise(template, WIDTH), stacked(*states))[:, :3, *at].tolist()
    assert colours[0] == colours[1] != colours[2]


def test_a_family_without_stick_clicks_shows_none() -> None:
    family = families()["xbox_one"]
    groups = {name: markup for name, markup in family.groups.items() if name not in THUMB_OF.values()}
    for name in ("dark", "mono", "candy"):  # clicks on the cap, as a ring, in boxes
        scene = dress(replace(family, groups=groups), name)
        assert not set(scene.known) & set(THUMB_OF.values())
        assert scene.canvas == family.canvas


def test_a_template_shows_exactly_the_controls_of_its_pad() -> None:
    for scene in family_scenes().values():
        shown = families()[scene.family].controls
        assert scene.known == tuple(name for name in CONTROLS if name in shown), scene.id


def test_every_box_lies_on_the_canvas() -> None:
    for scene in family_scenes().values():
        width, height = scene.canvas
        for control, (x, y, w, h) in scene.boxes.items():
            spare = OVERSHOOT if control.startswith("j_") or control in THUMB_OF.values() else 0
            assert w > 0 and h > 0, (scene.id, control)
            assert min(x, y) >= -spare, (scene.id, control)
            assert x + w <= width + spare and y + h <= height + spare, (scene.id, control)


def test_a_sticks_box_is_square_about_the_centre_of_its_cap() -> None:
    for scene in family_scenes().values():
        for name, centre in families()[scene.family].caps.items():
            assert scene.sticks[name].centre == pytest.approx(centre), scene.id
            assert scene.sticks[name].size[0] == scene.sticks[name].size[1], scene.id


def test_holding_a_control_changes_what_its_box_shows(drawn: Drawn) -> None:
    for control, picture in drawn.held.items():
        x, y, w, h = (side * drawn.scale for side in shown_box(drawn.scene, control))
        window = np.s_[:, max(int(y), 0) : int(y + h) + 1, max(int(x), 0) : int(x + w) + 1]
        assert np.abs(picture[window] - drawn.rest[window]).mean() > LEAST_CHANGE, control


def test_nothing_is_painted_outside_a_controls_box(drawn: Drawn) -> None:
    # A sliding trigger leaves its box by design; the arm of a nine-state d-pad is longer than its third.
    for control in {part.control for part in drawn.scene.parts if isinstance(part, Swap | Show | Clip | Opacity)}:
        changed = np.abs(drawn.held[control] - drawn.rest).max(0) > 0.02
        x, y, w, h = (side * drawn.scale for side in drawn.scene.boxes[control])
        changed[max(int(y) - 1, 0) : int(y + h) + 2, max(int(x) - 1, 0) : int(x + w) + 2] = False
        assert not changed.any(), control


def test_a_template_looks_unlike_those_before_it(drawn: Drawn, looks: dict[str, np.ndarray]) -> None:
    look = look_of(drawn)
    for id, other in looks.items():
        difference = np.abs(look - other).mean()
        assert difference > ALIKE * (np.abs(look).mean() + np.abs(other).mean()) / 2, id
    looks[drawn.scene.id] = look
