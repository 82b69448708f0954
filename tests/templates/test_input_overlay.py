"""The input-overlay importer: what each element becomes, and that real videos look like the import."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from templates.catalogue import Template, TemplateError, load_templates, save_template
from templates.controls import BUTTONS, DPAD, STICKS, TRIGGER_SLICE, States
from templates.draw import draw, rasterise
from templates.importers.input_overlay import import_input_overlay
from templates.scene import Part, Scene

SHARED = Path(__file__).parents[3] / "shared"
PRESETS = SHARED / "overlays" / "input-overlay"
CASES = {"dev_doom_dualsense": "input-overlay-dualsense", "dev_atari_x360": "input-overlay-game-pad"}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # video halves the chroma's resolution; luma is sharp


def write_preset(folder: Path, elements: list[dict], name: str = "pad") -> Path:
    """A preset whose atlas differs in every pixel, so that no two sprites look alike."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 4), dtype=np.uint8)
    noise[..., 3] = 255
    cv2.imwrite(str(folder / f"{name}.png"), noise)
    text = json.dumps({"overlay_width": 200, "overlay_height": 100, "elements": elements})
    (folder / f"{name}.json").write_text(text)
    return folder / f"{name}.json"


def element(kind: int, **fields: object) -> dict:
    return {"type": kind, "id": "it", "pos": [10, 20], "mapping": [5, 6, 30, 40], **fields}


def import_one(tmp_path: Path, *elements: dict) -> Scene:
    return import_input_overlay(write_preset(tmp_path / "preset", list(elements)))[0].scene


def regions_of(part: Part) -> list[tuple[float, ...] | None]:
    return [picture and picture.region for picture in (part.picture, getattr(part, "pressed", None))]


BUTTON = element(2, code=0)


def test_a_button_swaps_to_the_sprite_three_pixels_below(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, BUTTON).parts
    assert (part.kind, part.control, part.box) == ("swap", "south", (10, 20, 30, 40))
    assert regions_of(part) == [(5, 6, 30, 40), (5, 49, 30, 40)]


def test_the_code_names_a_button_whatever_its_id_says(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, element(2, code=4, id="Start")).parts
    assert part.control == "back"


def test_face_buttons_are_named_by_their_place(tmp_path: Path) -> None:
    # A Switch preset: A (code 0) sits east, B (1) south, X (2) north, Y (3) west.
    places = {0: [100, 50], 1: [50, 100], 2: [50, 0], 3: [0, 50]}
    scene = import_one(tmp_path, *(element(2, code=code, pos=pos) for code, pos in places.items()))
    assert [part.control for part in scene.parts] == ["east", "south", "north", "west"]
    assert len(scene.notes) == 4


def test_gamecube_presets_have_codes_of_their_own(tmp_path: Path) -> None:
    path = write_preset(tmp_path, [element(2, code=2), element(2, code=16)], name="gamecube")
    assert [part.control for part in import_input_overlay(path)[0].scene.parts] == ["south", "start"]


def test_old_hitbox_codes_are_understood(tmp_path: Path) -> None:
    scene = import_one(tmp_path, element(2, code=0xEC00 + 13), element(2, code=0xEC00 + 7))
    assert [part.control for part in scene.parts] == ["dpad_up", "start"]


def test_a_stick_moves_by_its_radius_and_swaps_on_a_click(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, element(5, side=1, stick_radius=12)).parts
    assert (part.kind, part.stick, part.travel) == ("move", "j_right", (12, 12))
    assert regions_of(part)[1] == (5, 49, 30, 40)


@pytest.mark.parametrize(("direction", "grows"), [(1, "up"), (2, "down"), (3, "left"), (4, "right")])
def test_a_filling_trigger_is_a_clip_over_its_released_sprite(tmp_path: Path, direction: int, grows: str) -> None:
    released, filled = import_one(tmp_path, element(6, side=0, direction=direction, trigger_mode=False)).parts
    assert (released.kind, filled.kind) == ("static", "clip")
    assert (filled.control, filled.grows) == ("left_trigger", grows)
    assert regions_of(filled)[0] == (5, 49, 30, 40)


def test_a_trigger_in_button_mode_switches_at_a_tenth(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, element(6, side=1, trigger_mode=True)).parts
    assert (part.kind, part.control, part.threshold) == ("swap", "right_trigger", 0.1)


def test_a_d_pad_takes_nine_sprites_from_a_row(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, element(8)).parts
    columns = {name: (picture.region[0] - 5) / 33 for name, picture in part.pictures.items()}
    names = ("idle", "left", "right", "up", "down", "up_left", "up_right", "down_left", "down_right")
    assert columns == {name: column for column, name in enumerate(names)}


def test_a_guide_button_is_the_fifth_sprite_while_pressed(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, element(7)).parts
    assert (part.kind, part.control, part.picture.region) == ("show", "guide", (137, 6, 30, 40))


def test_what_no_gamepad_has_is_noted(tmp_path: Path) -> None:
    scene = import_one(tmp_path, BUTTON, element(1, code=30), element(9), element(2, code=20))
    assert [part.kind for part in scene.parts] == ["swap", "static"]  # a touchpad's sprite stays, at rest
    assert len(scene.notes) == 3


def test_a_button_that_never_changes_is_not_shown(tmp_path: Path) -> None:
    path = write_preset(tmp_path, [BUTTON, element(2, code=1)])
    cv2.imwrite(str(tmp_path / "pad.png"), np.zeros((300, 400, 4), np.uint8))
    with pytest.raises(TemplateError, match="gamepad elements"):
        import_input_overlay(path)


def test_a_pressed_sprite_below_the_atlas_draws_nothing(tmp_path: Path) -> None:
    (part,) = import_one(tmp_path, element(2, code=0, mapping=[5, 270, 30, 40])).parts
    assert regions_of(part) == [(5, 270, 30, 40), None]


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    path = write_preset(tmp_path, [BUTTON])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert import_input_overlay(path)[0].scene.known == ("south",)


def test_every_colour_variant_becomes_a_skin(tmp_path: Path) -> None:
    path = write_preset(tmp_path, [BUTTON])
    for name in ("white", "black"):
        (tmp_path / f"{name}.png").write_bytes((tmp_path / "pad.png").read_bytes())
    ids = [skin.scene.id for skin in import_input_overlay(path)]
    assert ids == ["input-overlay-pad-black", "input-overlay-pad", "input-overlay-pad-white"]


def test_a_folder_gives_all_its_gamepad_presets(tmp_path: Path) -> None:
    write_preset(tmp_path / "a", [BUTTON])
    write_preset(tmp_path / "b", [BUTTON])
    write_preset(tmp_path / "keys", [element(1, code=30)])
    (tmp_path / "settings.json").write_text("{}")
    ids = [skin.scene.id for skin in import_input_overlay(tmp_path)]
    assert ids == ["input-overlay-pad", "input-overlay-pad-2"]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("dualsense-black", "dualsense"),
        ("ds4", "dualshock_4"),
        ("xbox-one-controller", "xbox_one"),
        ("gamepad-360", "xbox_360"),
        ("switch-pro", "switch_pro"),
        ("snes", "snes"),
        ("nes", "nes"),
        ("genesis", "mega_drive"),
        ("keys", "unknown"),
    ],
)
def test_the_family_is_guessed_from_names(tmp_path: Path, name: str, family: str) -> None:
    path = write_preset(tmp_path / "preset", [BUTTON], name=name)
    assert import_input_overlay(path)[0].scene.family == family
    assert import_input_overlay(path, family="snes")[0].scene.family == "snes"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (element(0, mapping=[900, 0, 10, 10]), "'it'.*outside the 400x300 px atlas"),
        (element(0, mapping=[0, 0, -10, 10]), "'it'.*mapping, 2"),
        (element(0, mapping=[0, 0, 1e9, 10]), "'it'.*mapping, 2"),
        (element(0, pos=["left", 0]), "'it'.*pos, 0"),
        (element(0, pos=[float("nan"), 0]), "'it'.*pos, 0"),
        (element(0, mapping=None), "'it'.*expected a mapping"),
        (element(5, stick_radius=10), "'it'.*expected side"),
        (element(5, side=0), "'it'.*expected a stick_radius"),
        (element(6, side=0, direction=7), "'it'.*direction"),
    ],
)
def test_a_broken_element_is_named_in_one_sentence(tmp_path: Path, fault: dict, named: str) -> None:
    path = write_preset(tmp_path, [BUTTON, fault])
    with pytest.raises(TemplateError, match=named) as caught:
        import_input_overlay(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def deep_json(path: Path) -> None:
    path.write_text("[" * 100_000)


def huge_json(path: Path) -> None:
    path.write_bytes(b" " * (5 << 20))


def linked_json(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def other_json(path: Path) -> None:
    path.write_text("{}")


def binary_json(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def endless_number(path: Path) -> None:
    path.write_text('{"elements": [' + "1" * 10_000 + "]}")


def huge_canvas(path: Path) -> None:
    path.write_text('{"overlay_width": 50000, "overlay_height": 9, "elements": []}')


def too_many_elements(path: Path) -> None:
    raw = {"overlay_width": 9, "overlay_height": 9, "elements": [BUTTON] * 501}
    path.write_text(json.dumps(raw))


def missing_atlas(path: Path) -> None:
    path.with_suffix(".png").unlink()


def linked_atlas(path: Path) -> None:
    atlas = path.with_suffix(".png")
    atlas.rename(path.with_name("elsewhere"))
    atlas.symlink_to(path.with_name("elsewhere"))


def huge_atlas(path: Path) -> None:
    atlas = path.with_suffix(".png")
    data = bytearray(atlas.read_bytes())
    data[16:20] = (50_000).to_bytes(4, "big")
    atlas.write_bytes(data)


def cut_atlas(path: Path) -> None:
    atlas = path.with_suffix(".png")
    atlas.write_bytes(atlas.read_bytes()[:2000])


def no_file(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        deep_json, huge_json, linked_json, other_json, binary_json, endless_number, huge_canvas,
        too_many_elements, missing_atlas, linked_atlas, huge_atlas, cut_atlas, no_file,
    ],
)  # fmt: skip
def test_a_hostile_preset_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = write_preset(tmp_path, [BUTTON])
    spoil(path)
    with pytest.raises(TemplateError) as caught:
        import_input_overlay(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    if not PRESETS.is_dir():
        pytest.skip(f"no sample skins at {PRESETS}")
    folder = tmp_path_factory.mktemp("imported")
    for skin in import_input_overlay(PRESETS):
        save_template(skin.scene, skin.pictures, folder)
    return load_templates(folder)


def test_the_sample_presets_show_all_controls(imported: dict[str, Template]) -> None:
    assert {name: template.family for name, template in imported.items()} == {
        "input-overlay-dualsense": "dualsense",
        "input-overlay-game-pad": "xbox_360",
    }
    for template in imported.values():
        assert template.scene.known == (*BUTTONS, *STICKS)


def flip_y(states: States) -> States:
    return States(states.buttons, states.sticks * np.array([1, -1], np.float32), states.triggers)


def flip_x(states: States) -> States:
    return States(states.buttons, states.sticks * np.array([-1, 1], np.float32), states.triggers)


def swap_sticks(states: States) -> States:
    return States(states.buttons, states.sticks[:, ::-1].copy(), states.triggers)


def swap_triggers(states: States) -> States:
    return States(states.buttons, states.sticks, states.triggers[:, ::-1].copy())


def invert_triggers(states: States) -> States:
    return States(states.buttons, states.sticks, 1 - states.triggers)


def shift_buttons(states: States, start: int, stop: int) -> States:
    buttons = states.buttons.copy()
    buttons[:, start:stop] = np.roll(buttons[:, start:stop], 1, axis=1)
    return States(buttons, states.sticks, states.triggers)


def shift_face(states: States) -> States:
    return shift_buttons(states, 0, 4)


def shift_dpad(states: States) -> States:
    return shift_buttons(states, 4, 4 + len(DPAD))


def shift_shoulders(states: States) -> States:
    return shift_buttons(states, 8, TRIGGER_SLICE.start)


def shift_thumbs(states: States) -> States:
    return shift_buttons(states, TRIGGER_SLICE.stop, TRIGGER_SLICE.stop + 2)


def shift_start_and_back(states: States) -> States:
    return shift_buttons(states, TRIGGER_SLICE.stop + 2, TRIGGER_SLICE.stop + 4)


MISREADINGS = (
    flip_y, flip_x, swap_sticks, swap_triggers, invert_triggers,
    shift_face, shift_dpad, shift_shoulders, shift_thumbs, shift_start_and_back,
)  # fmt: skip


class Footage:
    """Frames of a case that show every control in use, with their true states."""

    def __init__(self, case: str) -> None:
        folder = SHARED / "realset" / case
        info = json.loads((folder / "case.json").read_text())
        truth = pq.read_table(folder / "truth.parquet")
        sticks = [np.array(truth[name].to_pylist(), np.float32) for name in STICKS]
        triggers = [truth[f"{side}_trigger_value"].to_numpy() for side in ("left", "right")]
        buttons = [truth[name].to_numpy() for name in BUTTONS]
        states = States(np.stack(buttons, 1), np.stack(sticks, 1), np.stack(triggers, 1).astype(np.float32))
        indices = telling_frames(states)
        _, x, y, w, h = info["boxes"][0]
        self.opacity = info.get("opacity", 1.0)
        self.width = w
        self.states = states[np.array(indices)]
        frames = []
        with av.open(str(folder / "video.mp4")) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in indices:
                    frames.append(frame.to_ndarray(format="rgb24")[y : y + h, x : x + w])
                if index == indices[-1]:
                    break
        self.rgb = np.stack(frames).astype(np.float32) / 255  # (T, h, w, 3)

    def draw(self, template: Template, states: States) -> np.ndarray:
        """(T, h, w, 4) premultiplied RGBA in [0, 1], as strong as in the video."""
        drawn = draw(rasterise(template, self.width), states).permute(0, 2, 3, 1).numpy()
        return drawn[:, : self.rgb.shape[1]] * self.opacity

    def luma_errors(self, template: Template, states: States) -> np.ndarray:
        """(T,) mean absolute difference, of 255, where the drawing of ``states`` is solid."""
        drawn = self.draw(template, states)
        solid = (drawn[..., 3] > 0.95 * self.opacity).astype(np.uint8)
        inner = np.stack([cv2.erode(mask, np.ones((5, 5), np.uint8)) for mask in solid]).astype(bool)
        error = np.abs((drawn[..., :3] - self.rgb) @ LUMA) * 255
        return np.array([frame[mask].mean() for frame, mask in zip(error, inner, strict=True)])

    def contradictions(self, template: Template, states: States, instead: States) -> tuple[float, float]:
        """How far the frames, of 255, are from any that the two drawings allow, where these two differ.

        Whatever the game behind a drawing, it adds between nothing and all that the drawing lets through.
        """
        drawings = self.draw(template, states), self.draw(template, instead)
        differs = np.abs(drawings[0] - drawings[1]).max(-1) > 0.2
        assert differs.any()
        first, second = (self._contradiction(drawn)[differs].mean() for drawn in drawings)
        return float(first), float(second)

    def _contradiction(self, drawn: np.ndarray) -> np.ndarray:
        game = self.rgb - drawn[..., :3]
        return np.maximum(np.maximum(-game, game - (1 - drawn[..., 3:])), 0).mean(-1) * 255


def telling_frames(states: States) -> list[int]:
    """A frame for each button held, for each end of each stick axis, and for each trigger half way."""
    held = [np.flatnonzero(column) for column in states.buttons.T]
    frames = {int(rows[len(rows) // 2]) for rows in held if len(rows)}
    axes = states.sticks.reshape(len(states), 4)
    frames |= {int(row) for row in (*axes.argmin(0), *axes.argmax(0))}
    frames |= {int(row) for row in np.abs(states.triggers - 0.5).argmin(0)}
    return sorted(frames)


@pytest.fixture(scope="module", params=CASES)
def footage(request: pytest.FixtureRequest, imported: dict[str, Template]) -> tuple[Footage, Template]:
    if not (SHARED / "realset" / request.param).is_dir():
        pytest.skip(f"no ground-truth case {request.param} in {SHARED}")
    return Footage(request.param), imported[CASES[request.param]]


@pytest.mark.slow
def test_an_imported_skin_looks_like_the_overlay_in_a_video(footage: tuple[Footage, Template]) -> None:
    scene, template = footage
    errors = scene.luma_errors(template, scene.states)
    assert errors.mean() < 6
    assert errors.max() < 10


@pytest.mark.slow
@pytest.mark.parametrize("misread", MISREADINGS)
def test_a_misread_state_contradicts_the_video(
    footage: tuple[Footage, Template], misread: Callable[[States], States]
) -> None:
    scene, template = footage
    true, false = scene.contradictions(template, scene.states, misread(scene.states))
    assert false > 1.5 * true
