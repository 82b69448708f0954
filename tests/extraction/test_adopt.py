"""A skin is adopted from a video: its sticks are found, its presses harvested, and doubt leaves a control out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from extraction.adopt import Adopted, adopt, fit_layout, measure_activity
from extraction.layout import Activity
from extraction.matching import match_in_place
from extraction.records import SourceError
from extraction.regions import Region, find_regions
from templates.catalogue import library, load_templates, save_template
from templates.controls import STICKS, States
from templates.draw import draw, rasterise
from tests.extraction.conftest import write_play

WIDTH, AT = 240, (30, 24)
SKIN, LAYOUT = library()["xbox_360/white"], library()["xbox_360/dark"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lively pad over a game that moves."""
    path = tmp_path_factory.mktemp("adopt") / "play.mp4"
    write_play(path, SKIN, WIDTH, AT, (320, 240))
    return path


@pytest.fixture(scope="module")
def adopted(video: Path) -> Adopted:
    height = round(WIDTH * SKIN.scene.canvas[1] / SKIN.scene.canvas[0])
    return adopt(video, (*AT, WIDTH, height), LAYOUT)


def test_sticks_are_found_where_they_rest(adopted: Adopted) -> None:
    scale = WIDTH / SKIN.scene.canvas[0]
    for stick in STICKS:
        expected = np.array(SKIN.scene.sticks[stick].centre) * scale
        # A disc fits anywhere in a flat cap, which is 31 px wide; the video's own neutral is measured when it is read.
        assert adopted.scene.sticks[stick].centre == pytest.approx(expected, abs=5)


def test_both_sticks_have_the_same_size(adopted: Adopted) -> None:
    left, right = (adopted.scene.sticks[stick] for stick in STICKS)
    assert left.size == pytest.approx(right.size, abs=2)
    assert left.travel == pytest.approx(right.travel, abs=2)
    assert all(part.off_centre is None for part in adopted.scene.parts if part.kind == "move")


def test_a_stick_that_changes_its_colour_when_tilted_has_two_looks(tmp_path: Path) -> None:
    skin = library()["xbox_one/streamer"]
    write_play(tmp_path / "play.mp4", skin, WIDTH, AT, (320, 260))
    height = round(WIDTH * skin.scene.canvas[1] / skin.scene.canvas[0])
    found = adopt(tmp_path / "play.mp4", (*AT, WIDTH, height), skin)
    raster, states = rasterise(found.template, WIDTH), States.rest(2)
    states.sticks[1, 0] = (0.7, 0)
    x, y, w, h = (round(side) for side in found.scene.boxes["j_left"])
    rest, tilted = draw(raster, states)[:, :3, y : y + h, x : x + w]
    assert tilted.amin(0).max() > 0.85, "white when tilted"
    assert rest.amin(0).max() < 0.7, "in its own colour at rest"


def test_what_was_seen_pressed_is_known_and_the_rest_is_explained(adopted: Adopted) -> None:
    assert {"south", "east", "west", "north"} <= set(adopted.scene.known)
    left_out = set(LAYOUT.scene.known) - set(adopted.scene.known)
    assert all(any(note.startswith(f"{control} ") for note in adopted.scene.notes) for control in left_out)


def test_the_template_is_saved_and_shows_the_press(adopted: Adopted, tmp_path: Path) -> None:
    save_template(adopted.scene, adopted.pngs, tmp_path)
    [template] = load_templates(tmp_path).values()
    assert template.family == "xbox_360"
    held = States.rest()
    held.buttons[0, 0] = True
    raster = rasterise(template, WIDTH)
    change = (draw(raster, held) - draw(raster, States.rest())).abs().amax((0, 1))
    x, y, w, h = (round(side) for side in template.scene.boxes["south"])
    assert change[y : y + h, x : x + w].max() > 0.2
    change[y : y + h, x : x + w] = 0
    assert change.max() < 0.02


def test_a_person_moves_a_control(video: Path, adopted: Adopted) -> None:
    box = (*AT, *map(round, adopted.scene.canvas))
    moved = adopt(video, box, LAYOUT, {"south": (-2, 3)})
    x, y, _, _ = adopted.scene.boxes["south"]
    assert moved.scene.boxes["south"][:2] == pytest.approx((x - 2, y + 3), abs=1)
    with pytest.raises(SourceError, match="expected a control among"):
        adopt(video, box, LAYOUT, {"paddle": (1, 1)})


def test_the_chart_shows_every_fitted_control(adopted: Adopted) -> None:
    assert adopted.fitted.shape[1] >= 700
    assert adopted.fitted.dtype == np.uint8


def test_a_box_outside_the_frame_is_refused(video: Path) -> None:
    with pytest.raises(SourceError, match="expected a box inside 320x240"):
        adopt(video, (200, 100, 200, 100), LAYOUT)


@pytest.mark.parametrize("shift", [0, 6])
def test_a_faint_pad_over_a_lively_game_is_fitted_by_its_outlines(shift: int) -> None:
    """The game shines through everywhere, so that nothing is livelier inside the controls than beside them."""
    skin = library()["compact/blueprint"]
    raster = rasterise(skin, WIDTH)
    overlay = 0.45 * draw(raster, States.rest())[0].permute(1, 2, 0).numpy()
    rng = np.random.default_rng(0)
    games = rng.uniform(0, 90, (40, *overlay.shape[:2], 1))
    crops = (games * (1 - overlay[..., 3:]) + 255 * overlay[..., :3]).astype(np.uint8)
    crops = np.roll(crops, shift, axis=2)
    boxes = fit_layout(measure_activity(crops, np.median(crops, 0).astype(np.uint8)), [], skin.scene).boxes
    for control in ("south", "dpad_up", "back", "j_left"):
        x, y, w, h = (side * raster.scale for side in skin.scene.boxes[control])
        assert boxes[control][:2] == pytest.approx((x + shift, y), abs=0.3 * max(w, h)), control


def test_what_lights_up_counts_where_keypoints_and_the_fitted_layout_agree() -> None:
    """The drawing has rings around its sticks that light up in a click; here what is seen is faint."""
    scene = library()["xbox_360/glow"].scene
    width, height = (round(side / 3) for side in scene.canvas)
    places = {name: np.array(box) / 3 for name, box in scene.boxes.items()}

    def region(name: str, quality: float, off: float = 0.0) -> Region:
        x, y, w, h = places[name].tolist()
        return Region((x + w / 4 + off * w, y + h / 4, w / 2, h / 2), np.arange(100) < 5, 10, quality)

    face = ("south", "east", "west", "north")
    regions = [*(region(name, 0.7) for name in face), region("right_thumb", 0.4, 0.2)]
    calm = np.zeros((height, width), np.float32)
    assert "right_thumb" in match_in_place(regions, scene, places, width).regions
    matched = fit_layout(Activity(calm, calm, calm), regions, scene, np.diag([1 / 3, 1 / 3, 1])[:2])
    assert set(matched.regions) == set(face)
    for name in set(places) - set(STICKS):
        assert matched.boxes[name] == pytest.approx(places[name].tolist())


def test_a_click_is_looked_for_on_the_cap_where_the_layout_has_a_ring_around_it(video: Path, adopted: Adopted) -> None:
    layout = library()["xbox_360/glow"]
    scale, height = WIDTH / layout.scene.canvas[0], round(WIDTH * SKIN.scene.canvas[1] / SKIN.scene.canvas[0])
    found = adopt(video, (*AT, WIDTH, height), layout, affine=np.array([[scale, 0, AT[0]], [0, scale, AT[1]]]))

    def clicks(each: Adopted) -> set[str]:
        return {part.stick for part in each.scene.parts if part.kind == "move" and part.pressed is not None}

    assert clicks(found) == clicks(adopted) != set()


def test_where_nothing_moves_the_layout_fills_the_box() -> None:
    still = np.full((12, 120, 160, 3), 90, np.uint8)
    activity = measure_activity(still, still[0])
    boxes = fit_layout(activity, find_regions(still, still[0]), LAYOUT.scene).boxes
    x, y, w, h = LAYOUT.scene.boxes["south"]
    scale = (160 / LAYOUT.scene.canvas[0], 120 / LAYOUT.scene.canvas[1])
    assert boxes["south"] == pytest.approx((x * scale[0], y * scale[1], w * scale[0], h * scale[1]), abs=0.5)
