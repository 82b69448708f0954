"""The VSCView importer: what each node becomes, how formulas are read, and what is refused."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from templates.catalogue import TemplateError, load_templates, save_template
from templates.controls import BUTTON_INDEX, BUTTONS, STICKS, States
from templates.draw import draw_rgba
from templates.importers.vscview import Formula, UnreadableFormula, import_vscview
from templates.scene import Scene

THEMES = Path(__file__).parents[3] / "shared" / "overlays" / "vscview"
GREY, RED, BLUE = (90, 90, 90), (255, 0, 0), (0, 0, 200)
BODY = {"type": "image", "image": "body.png", "x": 50, "y": 30, "width": 100, "height": 60, "center": True}


def write_png(path: Path, rgb: tuple[int, int, int], size_wh: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size_wh[1], size_wh[0], 4), (*rgb[::-1], 255), np.uint8))


def write_layout(folder: Path, *nodes: dict, name: str = "all") -> Path:
    """A layout of 100 x 60 px; red.png and blue.png are 8 x 8."""
    write_png(folder / "body.png", GREY)
    write_png(folder / "red.png", RED)
    write_png(folder / "blue.png", BLUE)
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"name": "All", "width": 100, "height": 60, "version": 1, "children": list(nodes)}))
    return file


def image(x: float, y: float, name: str = "red.png", size: float = 10, **fields: object) -> dict:
    return {"type": "image", "image": name, "x": x, "y": y, "width": size, "height": size, "center": True, **fields}


def showhide(formula: str, *children: dict, **fields: object) -> dict:
    return {"type": "showhide", "input": formula, "children": list(children), **fields}


def slider(across: str | None, down: str | None, *children: dict, **fields: object) -> dict:
    return {"type": "slider", "inputX": across, "inputY": down, "children": list(children), **fields}


BUTTON = showhide("quad_right:s", image(20, 20))


def import_one(tmp_path: Path, *nodes: dict) -> Scene:
    (skin,) = import_vscview(write_layout(tmp_path / "pad", BODY, *nodes))
    return skin.scene


def drawn(tmp_path: Path, state: States, *nodes: dict) -> np.ndarray:
    """The imported layout at 100 px, one for one: (60, 100, 3) uint8."""
    (skin,) = import_vscview(write_layout(tmp_path / "pad", BODY, *nodes))
    save_template(skin.scene, skin.pictures, tmp_path / "saved")
    return draw_rgba(load_templates(tmp_path / "saved")[skin.scene.id], state, 100)[..., :3]


def held(*names: str) -> States:
    states = States.rest()
    for name in names:
        states.buttons[0, BUTTON_INDEX[name]] = True
    return states


def pulled(travel: float) -> States:
    states = States.rest()
    states.triggers[:] = travel
    return states


def tilted(x: float, y: float) -> States:
    states = States.rest()
    states.sticks[:] = (x, y)
    return states


def test_a_showhide_shows_its_nodes_while_a_button_is_held(tmp_path: Path) -> None:
    assert tuple(drawn(tmp_path, States.rest(), BUTTON)[20, 20]) == GREY
    assert tuple(drawn(tmp_path, held("south"), BUTTON)[20, 20]) == RED
    assert tuple(drawn(tmp_path, held("east"), BUTTON)[20, 20]) == GREY


@pytest.mark.parametrize(
    ("formula", "control", "inverse", "threshold"),
    [
        ("quad_right:e", "east", False, 0.5),
        ("Quad_Left:N = 1", "dpad_up", False, 0.5),
        ("bumpers:r <> 0", "right_shoulder", False, 0.5),
        ("NOT toBool(menu:l)", "back", True, 0.5),
        ("not (home > 0)", "guide", True, 0.5),
        ("stick_right:click", "right_thumb", False, 0.5),
        ("triggers:l:analog > 0.5", "left_trigger", False, 129 / 256),
        ("triggers:r:stage2 OR If(triggers:r:analog > 0, 1, 0)", "right_trigger", False, 1 / 256),
        ("triggers:l:stage2", "left_trigger", False, 1),
        ("math.max(triggers:l:analog, touch_left:x) >= 0.25", "left_trigger", False, 0.25),
        ("(Math.Abs(stick_left:x) > 0.3) or (Math.Abs(stick_left:y) > 0.3)", "j_left", False, 0.5),
    ],
)
def test_a_condition_names_one_control(
    tmp_path: Path, formula: str, control: str, inverse: bool, threshold: float
) -> None:
    part = import_one(tmp_path, BUTTON, showhide(formula, image(5, 5))).parts[-1]
    assert (part.kind, part.control, part.inverse, part.threshold) == ("show", control, inverse, threshold)


@pytest.mark.parametrize(
    "formula",
    [
        "quad_right:s and quad_right:e",  # no control does it alone
        "quad_right:s or quad_right:e",
        "stick_left:x > 0.5",  # half of a stick
        "touch_center:click",
        "triggers:l:analog ^ 2",
        "if(1)",
        "1 / 0",
        "math.sqrt(0 - 1)",
        "__import__('os').system('false')",
        "(" * 5000,
        "quad_right:s.real",
        "",
    ],
)
def test_a_condition_beyond_one_control_is_noted_and_never_drawn(tmp_path: Path, formula: str) -> None:
    scene = import_one(tmp_path, BUTTON, showhide(formula, image(5, 5)))
    assert len(scene.parts) == 2
    assert len(scene.notes) == 1


def test_a_condition_that_always_holds_is_no_condition(tmp_path: Path) -> None:
    assert import_one(tmp_path, BUTTON, showhide("1 > 0", image(5, 5))).parts[-1].kind == "static"


def test_formulas_work_out_as_in_flee() -> None:
    inputs = {"stick_left:x": 0.5, "stick_left:y": -1.0}
    answers = {
        "stick_left:x * 16": 8,
        "-(stick_left:y + 2) / 4 - 1": -1.25,
        "If(stick_left:x >= .5, Math.PI, 0)": np.pi,
        "max(stick_left:x, 3, 1) + min(2, 1)": 4,
        "Math.Round(Math.ATan2(stick_left:x, 0) * 2 / Math.PI)": 1,
        "stick_left:x <> 0.5 or stick_left:x = 0.5": 1,
    }
    assert {text: pytest.approx(Formula(text).at(inputs)) for text in answers} == answers


@pytest.mark.parametrize("text", ["lambda: 1", "[1]", "a.b.c()", "1 < 2 < 3", "max(*a)", "f'{1}'", "9" * 5000, "1e999"])
def test_python_beyond_formulas_is_not_read(text: str) -> None:
    with pytest.raises(UnreadableFormula):
        Formula(text).at({})


def test_a_stick_moves_by_its_factor_and_negative_y_is_up(tmp_path: Path) -> None:
    stick = slider("stick_left:x * 20", "stick_left:y * 10", image(0, 0), x=50, y=30)
    assert import_one(tmp_path, stick).sticks["j_left"].travel == (20, 10)
    assert import_one(tmp_path, stick).notes == ()
    assert tuple(drawn(tmp_path, States.rest(), stick)[30, 50]) == RED
    assert tuple(drawn(tmp_path, tilted(1, 0), stick)[30, 70]) == RED
    assert tuple(drawn(tmp_path, tilted(1, 0), stick)[30, 50]) == GREY
    assert tuple(drawn(tmp_path, tilted(0, -1), stick)[20, 50]) == RED


def test_a_highlight_in_a_stick_moves_with_it_while_it_is_clicked(tmp_path: Path) -> None:
    stick = slider(
        "stick_left:x * 20", None, image(0, 0), showhide("stick_left:click", image(0, 0, "blue.png")), x=50, y=30
    )
    clicked = held("left_thumb")
    clicked.sticks[:] = (1, 0)
    assert tuple(drawn(tmp_path, clicked, stick)[30, 70]) == BLUE
    assert tuple(drawn(tmp_path, tilted(1, 0), stick)[30, 70]) == RED


def test_a_highlight_in_a_stick_shows_while_it_is_off_centre(tmp_path: Path) -> None:
    ring = showhide("math.abs(stick_left:x) > 0.3 or math.abs(stick_left:y) > 0.3", image(0, 0, "blue.png"))
    stick = slider("stick_left:x * 20", "stick_left:y * 20", image(0, 0), ring, x=50, y=30)
    assert tuple(drawn(tmp_path, States.rest(), stick)[30, 50]) == RED
    assert tuple(drawn(tmp_path, tilted(1, 0), stick)[30, 70]) == BLUE


@pytest.mark.parametrize(
    ("x", "y", "travel"),
    [
        ("stick_right:x * -20", "stick_right:y * 10", (20, 10)),  # mirrored
        ("if(stick_right:x > 0.2, 20, if(stick_right:x < -0.2, -20, 0))", "stick_right:y * 10", (20, 10)),  # it jumps
    ],
)
def test_a_stick_that_moves_otherwise_is_noted(tmp_path: Path, x: str, y: str, travel: tuple[float, float]) -> None:
    scene = import_one(tmp_path, slider(x, y, image(50, 30)))
    assert scene.sticks["j_right"].travel == travel
    assert len(scene.notes) == 1


def test_a_trigger_slides_and_lights_up(tmp_path: Path) -> None:
    light = showhide("triggers:l:analog > 0.5", image(0, 0, "blue.png"))
    trigger = slider(None, "triggers:l:analog * 20", image(0, 0), light, x=50, y=20)
    assert tuple(drawn(tmp_path, States.rest(), trigger)[20, 50]) == RED
    assert tuple(drawn(tmp_path, pulled(0.5), trigger)[30, 50]) == RED
    assert tuple(drawn(tmp_path, pulled(1), trigger)[40, 50]) == BLUE
    assert tuple(drawn(tmp_path, pulled(1), trigger)[20, 50]) == GREY


def test_a_slider_without_a_control_moves_its_nodes_aside(tmp_path: Path) -> None:
    part = import_one(tmp_path, BUTTON, slider("30", "touch_center:0:y * 9 - 2", image(20, 20))).parts[-1]
    assert (part.kind, part.box) == ("static", (45, 13, 10, 10))


@pytest.mark.parametrize(
    ("x", "what"),
    [
        ("quad_left:e * 9 - quad_left:w * 9", "several controls"),  # an arcade stick
        ("stick_left:x ** 2", "cannot be read"),
    ],
)
def test_a_motion_beyond_one_control_is_noted_and_drawn_at_rest(tmp_path: Path, x: str, what: str) -> None:
    scene = import_one(tmp_path, BUTTON, slider(x, None, image(50, 30)))
    assert scene.parts[-1].kind == "static"
    assert what in scene.notes[0]


@pytest.mark.parametrize(
    ("direction", "filled", "empty"),
    [
        ("up", (38, 50), (22, 50)),
        ("down", (22, 50), (38, 50)),
        ("left", (30, 58), (30, 42)),
        (None, (30, 42), (30, 58)),
    ],
)
def test_a_bar_is_half_full_at_half_travel(
    tmp_path: Path, direction: str | None, filled: tuple[int, int], empty: tuple[int, int]
) -> None:
    bar = {"type": "pbar", "x": 50, "y": 30, "width": 20, "height": 20, "input": "triggers:r:analog * 255", "max": 255}
    colours = {"background": "FFFF0000", "foreground": "FF0000C8", "direction": direction}
    picture = drawn(tmp_path, pulled(0.5), bar | colours)
    assert tuple(picture[filled]) == RED
    assert tuple(picture[empty]) == GREY
    assert tuple(picture[20, 50]) == BLUE  # the frame is drawn whatever the travel
    assert tuple(drawn(tmp_path, pulled(0.5), bar | colours | {"image": "blue.png"})[filled]) == BLUE


def test_places_are_told_from_the_parents(tmp_path: Path) -> None:
    group = {"x": 10, "y": 5, "children": [image(20, 10, children=[image(7, 7, "blue.png", 4, center=False)])]}
    scene = import_one(tmp_path, BUTTON, group)
    assert [part.box for part in scene.parts[-2:]] == [(25, 10, 10, 10), (37, 22, 4, 4)]


def test_a_turned_group_turns_places_and_pictures(tmp_path: Path) -> None:
    bar = image(20, 0, size=4) | {"width": 20.0}
    scene = import_one(tmp_path, BUTTON, {"x": 50, "y": 30, "rot": 90, "children": [bar]})
    np.testing.assert_allclose(scene.parts[-1].box, (48, 40, 4, 20), atol=1)
    picture = drawn(tmp_path, States.rest(), {"x": 50, "y": 30, "rot": 90, "children": [bar]}, BUTTON)
    assert tuple(picture[50, 50]) == tuple(picture[43, 50]) == RED
    assert tuple(picture[30, 70]) == tuple(picture[50, 58]) == GREY


def test_a_picture_turned_by_an_eighth_covers_a_diamond(tmp_path: Path) -> None:
    turned = {"x": 50, "y": 30, "rot": 45, "children": [image(0, 0, size=20)]}
    picture = drawn(tmp_path, States.rest(), turned, BUTTON)
    assert tuple(picture[30, 60]) == tuple(picture[40, 50]) == RED
    assert tuple(picture[38, 58]) == GREY


def test_lenient_json_is_read(tmp_path: Path) -> None:
    file = write_layout(tmp_path / "pad", BODY, BUTTON)
    file.write_text("// comment\n" + file.read_text().replace("]}", "],/* comment */}").replace('"name"', "'name'"))
    assert import_vscview(file)[0].scene.known == ("south",)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_windows_editors_are_read(tmp_path: Path, encoding: str) -> None:
    file = write_layout(tmp_path / "pad", BODY, BUTTON)
    file.write_bytes(file.read_text("utf-8").replace("All", "Größe").encode(encoding))
    assert import_vscview(file)[0].scene.known == ("south",)


def test_a_folder_gives_every_layout_and_borrowed_pictures(tmp_path: Path) -> None:
    write_layout(tmp_path / "ds4" / "black", BODY, BUTTON, name="all")
    borrowed = image(9, 9, r"\DS4\Shared\Cap.png"), image(9, 9, r"..\shared\cap.PNG")
    write_layout(tmp_path / "ds4" / "white", BODY, BUTTON, *borrowed, name="no gyro")
    write_png(tmp_path / "ds4" / "shared" / "cap.png", BLUE)
    (tmp_path / "ds4" / "theme.json").write_text('{"name": "theme"}')
    skins = import_vscview(tmp_path)
    assert [skin.scene.id for skin in skins] == ["vscview-black-all", "vscview-white-no-gyro"]
    assert {skin.scene.family for skin in skins} == {"dualshock_4"}
    assert [len(skin.scene.parts) for skin in skins] == [2, 4]
    assert all(skin.scene.notes == () for skin in skins)
    assert import_vscview(tmp_path, family="dualsense")[0].scene.family == "dualsense"


@pytest.mark.parametrize(
    "reference",
    [r"..\other\red.png", "../other/red.png", r"\other\red.png", r"\..\other\red.png", "gone.png", "link/red.png"],
)
def test_a_picture_outside_the_folder_draws_nothing(tmp_path: Path, reference: str) -> None:
    write_png(tmp_path / "other" / "red.png", RED)
    (tmp_path / "pad").mkdir()
    (tmp_path / "pad" / "link").symlink_to(tmp_path / "other")
    scene = import_one(tmp_path, BUTTON, image(5, 5, reference), image(5, 5, str(tmp_path / "other" / "red.png")))
    assert len(scene.parts) == 2
    assert all("no such picture" in note for note in scene.notes)
    assert len(scene.notes) == 2


def test_what_is_no_control_is_noted(tmp_path: Path) -> None:
    nodes = (
        {"type": "trailpad", "image": "red.png", "input": "touch_center:0:touch", "children": [image(5, 5)]},
        {"type": "ppie", "image": "red.png"},
        {"type": "basic3d1", "image": "red.png", "x": 20, "y": 20, "width": 8, "height": 8},
        {"type": "pbar", "x": 5, "y": 5, "width": 5, "height": 5, "input": "quad_right:s"},
        {"type": "image", "image": "red.png", "x": 5, "y": 5},
        slider(None, None, image(9, 9), inputR="stick_left:x * 90"),
    )
    scene = import_one(tmp_path, BUTTON, *nodes)
    assert [part.kind for part in scene.parts] == ["static", "show", "static", "static"]
    assert len(scene.notes) == len(nodes)


def nested(depth: int) -> dict:
    node = image(0, 0)
    for _ in range(depth):
        node = {"children": [node]}
    return node


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (image(0, 0) | {"x": "left"}, "children.*x"),
        (image(0, 0) | {"width": 50_000}, "children.*width"),
        (image(0, 0) | {"width": -1}, "children.*width"),
        (image(1e9, 0), "children.*x"),
        ({"children": 5}, "children"),
        ("text", "children"),
        (nested(45), "nodes within nodes"),
        (nested(300), "all.json"),
        ({"children": [image(0, 0)] * 600}, "at most 500 parts"),
        ({"children": [{}] * 6000}, "5000 in all"),
        (slider("stick_left:x * 50000", None, image(0, 0)), "travel"),
    ],
)
def test_a_broken_node_is_refused_in_one_sentence(tmp_path: Path, fault: dict, named: str) -> None:
    file = write_layout(tmp_path / "pad", BODY, BUTTON, fault)
    with pytest.raises(TemplateError, match=named) as caught:
        import_vscview(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def deep_json(file: Path) -> None:
    file.write_text('{"children":[' * 10_000)


def deep_lenient_json(file: Path) -> None:
    file.write_text("{children:[" * 10_000)


def huge_json(file: Path) -> None:
    file.write_bytes(b" " * (5 << 20))


def huge_lenient_json(file: Path) -> None:
    file.write_text("[1,]" + " " * (1 << 20))


def binary_json(file: Path) -> None:
    file.write_bytes(b"\x00\xff\x01")


def endless_number(file: Path) -> None:
    file.write_text('{"children": [{"x": ' + "1" * 10_000 + "}]}")


def huge_canvas(file: Path) -> None:
    file.write_text('{"width": 50000, "children": []}')


def other_json(file: Path) -> None:
    file.write_text('{"name": "theme"}')


def linked_json(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


def linked_picture(file: Path) -> None:
    picture = file.with_name("red.png")
    picture.rename(file.with_name("elsewhere"))
    picture.symlink_to(file.with_name("elsewhere"))


def huge_picture(file: Path) -> None:
    picture = file.with_name("red.png")
    data = bytearray(picture.read_bytes())
    data[16:20] = (50_000).to_bytes(4, "big")
    picture.write_bytes(data)


def cut_picture(file: Path) -> None:
    picture = file.with_name("red.png")
    picture.write_bytes(picture.read_bytes()[:50])


def no_controls(file: Path) -> None:
    file.write_text(file.read_text().replace("quad_right:s", "touch_center:click"))


def no_file(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        deep_json, deep_lenient_json, huge_json, huge_lenient_json, binary_json, endless_number, huge_canvas,
        other_json, linked_json, linked_picture, huge_picture, cut_picture, no_controls, no_file,
    ],
)  # fmt: skip
def test_a_hostile_layout_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    file = write_layout(tmp_path / "pad", BODY, BUTTON)
    spoil(file)
    with pytest.raises(TemplateError) as caught:
        import_vscview(file)
    assert str(file.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


WHOLE = (
    BUTTON,
    slider("stick_left:x * 16", "stick_left:y * 16", image(5, 5), showhide("stick_left:click", image(1, 1)), x=5),
    slider(None, "triggers:l:analog * 9", image(5, 5), showhide("triggers:l:analog > 0", image(1, 1))),
    {
        "type": "pbar",
        "width": 9,
        "height": 9,
        "input": "triggers:r:analog",
        "min": "0",
        "max": 1,
        "background": "ffff0000",
    },
    {"rot": 30, "children": [image(2, 2), {"type": "basic3d1", "image": "red.png", "width": 3, "height": 3}]},
)
PIECES = (
    "{",
    "}",
    "[",
    "]",
    '"',
    ",",
    "-",
    "1e999",
    "NaN",
    "null",
    "\\",
    "../",
    "*",
    "/",
    "(",
    " or ",
    "0",
    ":",
    "\ud800",
)
EDITS = st.lists(
    st.tuples(st.integers(0, 1800), st.integers(0, 12), st.sampled_from(PIECES) | st.text(max_size=5)), max_size=4
)


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("fuzz") / "pad", BODY, *WHOLE)


@settings(max_examples=200, deadline=None)
@given(edits=EDITS)
def test_only_a_template_error_comes_out_of_a_spoilt_layout(
    playground: Path, edits: list[tuple[int, int, str]]
) -> None:
    text = json.dumps({"width": 100, "height": 60, "children": [BODY, *WHOLE]})
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    playground.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        skins = import_vscview(playground)
    except TemplateError as error:
        assert "\n" not in str(error)
        return
    with tempfile.TemporaryDirectory() as folder:
        for skin in skins:
            save_template(skin.scene, skin.pictures, Path(folder))
        load_templates(Path(folder))


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(alphabet="stick_left:xyquad_right:s0123.*/+-()<>=, maxifnotorand", max_size=60) | st.text(max_size=20)
)
def test_any_text_is_a_formula_or_is_not(text: str) -> None:
    try:
        answer = Formula(text).at({"quad_right:s": 1.0})
    except UnreadableFormula:
        return
    assert np.isfinite(answer)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample theme, with stand-ins for the two sticks that it borrows from a theme not kept here."""
    if not THEMES.is_dir():
        pytest.skip(f"no sample themes at {THEMES}")
    themes = tmp_path_factory.mktemp("vscview") / "themes"
    shutil.copytree(THEMES, themes)
    for side in ("Left", "Right"):
        write_png(themes / "dualshock4" / "default" / "V1" / f"DS4_{side}AnalogStick.png", GREY, (123, 109))
    return themes


def test_the_sample_layouts_show_all_controls(samples: Path) -> None:
    scenes = [skin.scene for skin in import_vscview(samples)]
    assert [scene.id for scene in scenes] == ["vscview-dmc5-all", "vscview-dmc5-nogyro"]
    for scene in scenes:
        assert scene.family == "dualshock_4"
        assert scene.known == (*BUTTONS, *STICKS)
        assert {name: stick.travel for name, stick in scene.sticks.items()} == {name: (34, 34) for name in STICKS}
        assert {stick.size for stick in scene.sticks.values()} == {(123, 109)}
        kinds = [note.split(" ")[0] for note in scene.notes]
        # Both sticks jump to eight places; a touch, its trail and the tilting pad are no controls.
        assert kinds == ["slider", "slider", "showhide", "trailpad", *["basic3d1"] * (scene.id == "vscview-dmc5-all")]


def test_a_sample_theme_alone_lacks_its_borrowed_pictures() -> None:
    if not THEMES.is_dir():
        pytest.skip(f"no sample themes at {THEMES}")
    for skin in import_vscview(THEMES):
        assert sum("no such picture" in note for note in skin.scene.notes) == 2
