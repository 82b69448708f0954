"""The RetroSpy importer: what each element becomes, how it draws, and what is refused."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from templates.catalogue import TemplateError, load_templates, save_template
from templates.controls import BUTTON_INDEX, BUTTONS, STICKS, TRIGGERS, States
from templates.draw import draw_rgba
from templates.importers.retrospy import import_retrospy
from templates.scene import Scene

SKINS = Path(__file__).parents[3] / "shared" / "overlays" / "retrospy"
GREY, RED, BLUE = (90, 90, 90), (255, 0, 0), (0, 0, 200)
BODY = '<background name="Main" image="body.png"/>'
BUTTON = '<button name="a" image="red.png" x="10" y="20" width="10" height="10"/>'


def write_png(path: Path, rgb: tuple[int, int, int], size_wh: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size_wh[1], size_wh[0], 4), (*rgb[::-1], 255), np.uint8))


def write_skin(folder: Path, *elements: str, type_: str = "xbox360", name: str = "Pad") -> Path:
    """A skin of 100 x 60 px with a grey body; red.png and blue.png are 8 x 8."""
    write_png(folder / "body.png", GREY, (100, 60))
    write_png(folder / "red.png", RED, (8, 8))
    write_png(folder / "blue.png", BLUE, (8, 8))
    file = folder / "skin.xml"
    file.write_text(f'<skin name="{name}" author="me" type="{type_}">{"".join(elements)}</skin>', encoding="utf-8")
    return file


def import_one(tmp_path: Path, *elements: str, type_: str = "xbox360") -> Scene:
    (skin,) = import_retrospy(write_skin(tmp_path / "pad", BODY, *elements, type_=type_))
    return skin.scene


def drawn(tmp_path: Path, state: States, *elements: str, type_: str = "xbox360") -> np.ndarray:
    """The imported skin at 100 px, one for one: (60, 100, 3) uint8."""
    (skin,) = import_retrospy(write_skin(tmp_path / "pad", BODY, *elements, type_=type_))
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


def test_a_button_shows_only_while_it_is_held(tmp_path: Path) -> None:
    assert tuple(drawn(tmp_path, States.rest(), BUTTON)[25, 15]) == GREY
    assert tuple(drawn(tmp_path, held("south"), BUTTON)[25, 15]) == RED
    assert tuple(drawn(tmp_path, held("south"), BUTTON)[25, 25]) == GREY


def test_an_inverted_button_shows_only_while_it_is_not_held(tmp_path: Path) -> None:
    button = BUTTON.replace("/>", ' invert="true"/>')
    assert tuple(drawn(tmp_path, States.rest(), button)[25, 15]) == RED
    assert tuple(drawn(tmp_path, held("south"), button)[25, 15]) == GREY


def test_a_stick_moves_by_its_range_and_negative_y_is_up(tmp_path: Path) -> None:
    stick = '<stick xname="rstick_x" yname="rstick_y" image="red.png" x="50" y="30" xrange="20" yrange="10"/>'
    assert tuple(drawn(tmp_path, States.rest(), stick)[34, 54]) == RED
    assert tuple(drawn(tmp_path, tilted(1, 0), stick)[34, 74]) == RED
    assert tuple(drawn(tmp_path, tilted(1, 0), stick)[34, 54]) == GREY
    assert tuple(drawn(tmp_path, tilted(0, -1), stick)[24, 54]) == RED


@pytest.mark.parametrize(
    ("direction", "reverse", "filled", "empty"),
    [
        ("right", "false", (15, 5), (15, 35)),
        ("left", "false", (15, 35), (15, 5)),
        ("down", "false", (12, 20), (18, 20)),
        ("up", "false", (18, 20), (12, 20)),
        ("right", "true", (15, 5), (15, 35)),  # a quarter pulled: three quarters are left, see below
    ],
)
def test_a_bar_fills_or_is_eaten_away(
    tmp_path: Path, direction: str, reverse: str, filled: tuple[int, int], empty: tuple[int, int]
) -> None:
    bar = (
        f'<analog name="trig_l" image="red.png" x="0" y="10" width="40" height="10" '
        f'direction="{direction}" reverse="{reverse}"/>'
    )
    picture = drawn(tmp_path, pulled(0.5), bar)
    assert tuple(picture[filled]) == RED
    assert tuple(picture[empty]) == GREY
    assert tuple(drawn(tmp_path, pulled(0.25), bar)[15, 29]) == (RED if reverse == "true" else GREY)


def test_a_fading_trigger_is_half_there_at_half_travel(tmp_path: Path) -> None:
    bar = '<analog name="l_trig" image="red.png" x="0" y="0" width="40" height="10" direction="fade"/>'
    np.testing.assert_allclose(drawn(tmp_path, pulled(0.5), bar)[5, 20], np.add(GREY, RED) / 2, atol=1)


def test_kinds_lie_over_each_other_in_a_fixed_order(tmp_path: Path) -> None:
    place = 'x="10" y="10" width="20" height="20"'
    stick = f'<stick xname="lstick_x" yname="lstick_y" image="blue.png" {place} xrange="5" yrange="5"/>'
    detail = f'<detail name="ring" image="red.png" {place}/>'
    button = f'<button name="l3" image="red.png" {place}/>'
    scene = import_one(tmp_path, stick, button, detail)
    assert [part.kind for part in scene.parts] == ["static", "static", "show", "move"]
    assert tuple(drawn(tmp_path, held("left_thumb"), stick, button, detail)[20, 20]) == BLUE


def test_a_range_on_a_trigger_shows_from_its_start(tmp_path: Path) -> None:
    button = '<rangebutton name="trig_r" image="red.png" x="0" y="0" from="0.6" to="1"/>'
    assert tuple(drawn(tmp_path, pulled(0.5), button)[4, 4]) == GREY
    assert tuple(drawn(tmp_path, pulled(0.7), button)[4, 4]) == RED


@pytest.mark.parametrize(
    ("type_", "name", "control"),
    [
        ("xbox360", "a", "south"),
        ("pc360", "trig_r_d", "right_trigger"),
        ("playstation4", "x", "south"),
        ("playstation", "lstick", "left_thumb"),
        ("snes", "b", "south"),
        ("nes", "a", "east"),
        ("switch", "zl", "left_trigger"),
        ("switch", "+", "start"),
        ("gamecube", "b", "west"),
        ("gamecube", "x", "east"),
        ("gamecube", "z", "right_shoulder"),
        ("gamecube", "l", "left_trigger"),
        ("snes", "l", "left_shoulder"),
        ("n64", "z", "left_trigger"),
        ("genesis", "b", "south"),
    ],
)
def test_names_mean_places_by_the_type_of_pad(tmp_path: Path, type_: str, name: str, control: str) -> None:
    button = f'<button name="{name}" image="red.png" x="0" y="0"/>'
    assert import_one(tmp_path, button, type_=type_).parts[-1].control == control


def test_four_face_buttons_go_by_their_place(tmp_path: Path) -> None:
    # Nintendo labels on an Xbox source: b lies below, a to the right.
    places = {"b": (40, 50), "a": (50, 40), "x": (40, 30), "y": (30, 40)}
    buttons = [f'<button name="{name}" image="red.png" x="{x}" y="{y}"/>' for name, (x, y) in places.items()]
    scene = import_one(tmp_path, *buttons, type_="pc360")
    assert [part.control for part in scene.parts[1:]] == ["south", "east", "north", "west"]
    assert scene.notes == ("face buttons are named by their place in the picture: a east, b south, x north, y west",)


def test_a_gamecube_trigger_clicks_near_its_end(tmp_path: Path) -> None:
    (_, click) = import_one(tmp_path, '<button name="r" image="red.png" x="0" y="0"/>', type_="gamecube").parts
    assert (click.control, click.threshold) == ("right_trigger", 0.9)


def test_each_background_is_a_skin_with_its_own_elements(tmp_path: Path) -> None:
    other = '<background name="Other" width="50" height="40" color="#123"/>'
    only = '<button name="b" image="red.png" x="0" y="0" target="Other"/>'
    never = '<button name="x" image="red.png" x="0" y="0" ignore="Other;None"/>'
    skins = import_retrospy(write_skin(tmp_path / "pad", BODY, other, BUTTON, only, never))
    assert [skin.scene.id for skin in skins] == ["retrospy-pad-main", "retrospy-pad-other"]
    assert [skin.scene.known for skin in skins] == [("south", "west"), ("south", "east")]
    assert [skin.scene.canvas for skin in skins] == [(100, 60), (50, 40)]
    assert skins[1].pictures.keys() == {"red.png"}


def test_sections_give_a_skin_for_each_group_of_types(tmp_path: Path) -> None:
    sections = (
        '<section type="switch"><button name="zl" image="red.png" x="0" y="0"/></section>',
        '<section type="pc360;xbox360"><button name="lb" image="red.png" x="0" y="0"/></section>',
    )
    skins = import_retrospy(write_skin(tmp_path / "pad", BODY, BUTTON, *sections, type_="switch;pc360;xbox360"))
    assert [skin.scene.id for skin in skins] == ["retrospy-pad-switch-main", "retrospy-pad-pc360-main"]
    assert [skin.scene.known for skin in skins] == [("east", "left_trigger"), ("south", "left_shoulder")]


@pytest.mark.parametrize(
    ("folder", "type_", "family"),
    [
        ("my-snes", "generic", "snes"),
        ("pad", "playstation3", "dualshock_3"),
        ("pad", "gamecube", "gamecube"),
        ("pad", "switch", "switch_pro"),
        ("pad", "jaguar", "unknown"),
    ],
)
def test_the_family_is_guessed_from_names_then_types(tmp_path: Path, folder: str, type_: str, family: str) -> None:
    file = write_skin(tmp_path / folder, BODY, BUTTON.replace('"a"', '"up"'), type_=type_)
    assert import_retrospy(file)[0].scene.family == family
    assert import_retrospy(file, family="n64")[0].scene.family == "n64"


def test_paths_are_as_on_windows(tmp_path: Path) -> None:
    file = write_skin(tmp_path / "pad", BODY, BUTTON.replace("red.png", r".\Art\\sub\..\RED.png"))
    write_png(tmp_path / "pad" / "art" / "Red.PNG", RED, (8, 8))
    (skin,) = import_retrospy(file)
    assert skin.scene.known == ("south",)


@pytest.mark.parametrize(
    "reference", [r"..\other\red.png", "../other/red.png", r"art\..\..\other\red.png", "missing.png"]
)
def test_a_picture_that_is_not_in_the_folder_draws_nothing(tmp_path: Path, reference: str) -> None:
    write_png(tmp_path / "other" / "red.png", RED, (8, 8))
    scene = import_one(tmp_path, BUTTON.replace("red.png", reference), '<button name="b" image="red.png" x="0" y="0"/>')
    assert scene.known == ("east",)
    assert "button 'a' has no picture" in " ".join(scene.notes)


def test_an_absolute_path_or_a_linked_folder_draws_nothing(tmp_path: Path) -> None:
    write_png(tmp_path / "other" / "red.png", RED, (8, 8))
    (tmp_path / "pad").mkdir()
    (tmp_path / "pad" / "link").symlink_to(tmp_path / "other")
    references = (str(tmp_path / "other" / "red.png"), "link/red.png", r"C:\red.png")
    file = write_skin(tmp_path / "pad", BODY, BUTTON, *(BUTTON.replace("red.png", name) for name in references))
    (skin,) = import_retrospy(file)
    assert len(skin.scene.parts) == 2


def test_a_background_whose_picture_is_missing_is_left_out(tmp_path: Path) -> None:
    file = write_skin(tmp_path / "pad", BODY, '<background name="Gold" image="gold.png"/>', BUTTON)
    (skin,) = import_retrospy(file)
    assert skin.scene.id == "retrospy-pad-main"
    assert "background 'Gold' is left out" in skin.scene.notes[0]


@pytest.mark.parametrize("colour", [(0, 255, 0), (255, 0, 255), (0, 255, 255), (4, 250, 3)])
def test_a_chroma_background_is_keyed_out(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    file = write_skin(tmp_path / "pad", BODY, BUTTON)
    pixels = np.full((60, 100, 3), GREY, np.uint8)
    pixels[:, :40] = colour
    cv2.imwrite(str(tmp_path / "pad" / "body.png"), pixels[..., ::-1])
    (skin,) = import_retrospy(file)
    body = cv2.imdecode(np.frombuffer(skin.pictures["body.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert (body[30, 20, 3], body[30, 60, 3]) == (0, 255)
    assert any("keyed out" in note for note in skin.scene.notes)


@pytest.mark.parametrize(
    ("colour", "seen"), [("lime", 0), ("#0f0", 0), ("#FF00FFFF", 0), ("#80000000", 128), ("red", 255)]
)
def test_a_flat_background_is_drawn_unless_it_is_a_chroma_colour(tmp_path: Path, colour: str, seen: int) -> None:
    flat = f'<background name="Flat" color="{colour}" width="100" height="60"/>'
    (skin,) = import_retrospy(write_skin(tmp_path / "pad", flat, BUTTON))
    save_template(skin.scene, skin.pictures, tmp_path / "saved")
    picture = draw_rgba(load_templates(tmp_path / "saved")[skin.scene.id], States.rest(), 100)
    assert picture[50, 50, 3] == seen


def test_one_button_under_two_names_is_one_part(tmp_path: Path) -> None:
    scene = import_one(
        tmp_path, *(f'<button name="{name}" image="red.png" x="0" y="0"/>' for name in ("share", "select"))
    )
    assert [part.kind for part in scene.parts] == ["static", "show"]


def test_what_no_scene_can_show_is_noted(tmp_path: Path) -> None:
    elements = (
        '<button name="lstick_x-" image="red.png" x="0" y="0" precision="0.5"/>',
        '<button name="northeast" image="red.png" x="0" y="0"/>',
        '<rangebutton name="lstick_x" image="red.png" x="0" y="0" from="-1" to="0"/>',
        '<analog name="lstick_x" image="red.png" x="0" y="0" direction="left" usenegative="true"/>',
        '<analog name="trig_l" image="red.png" x="0" y="0" direction="fade" reverse="true"/>',
        '<stick xname="paddle" yname="" image="red.png" x="0" y="0" xrange="1" yrange="1"/>',
        '<touchpad xname="x1" yname="y1" image="red.png" x="0" y="0" xrange="1" yrange="1"/>',
        '<analogtext name="trig_l" x="0" y="0" font="Arial" color="Red" size="9" range="100"/>',
    )
    scene = import_one(tmp_path, BUTTON, *elements)
    assert [part.kind for part in scene.parts] == ["static", "show", "static"]
    assert len(scene.notes) == len(elements) + 1


def test_a_reversed_axis_is_taken_to_make_up_for_the_pads_sign(tmp_path: Path) -> None:
    stick = (
        '<stick xname="lstick_x" yname="lstick_y" image="red.png" x="0" y="0" xrange="9" yrange="8" yreverse="true"/>'
    )
    scene = import_one(tmp_path, stick, type_="playstation4")
    assert scene.sticks["j_left"].travel == (9, 8)
    assert "has y reversed" in scene.notes[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_windows_editors_are_read(tmp_path: Path, encoding: str) -> None:
    file = write_skin(tmp_path / "pad", BODY.replace("Main", "Größe"), BUTTON)
    file.write_bytes(file.read_text("utf-8").encode(encoding))
    (skin,) = import_retrospy(file)
    assert skin.scene.parts[0].name == "background"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ('<button name="it" x="0" y="0"/>', "button 'it'.*expected an image"),
        ('<button name="it" image="red.png" y="0"/>', "button 'it': x"),
        ('<button name="it" image="red.png" x="left" y="0"/>', "button 'it': x"),
        ('<button name="it" image="red.png" x="nan" y="0"/>', "button 'it': x"),
        ('<button name="it" image="red.png" x="1e9" y="0"/>', "button 'it': x"),
        ('<button name="it" image="red.png" x="0" y="0" width="0"/>', "button 'it': width"),
        ('<analog name="it" image="red.png" x="0" y="0"/>', "analog 'it'.*expected a direction"),
        ('<stick xname="it" yname="y" image="red.png" x="0" y="0"/>', "stick 'it'.*expected an xrange"),
        ('<stick xname="it" yname="y" image="red.png" x="0" y="0" xrange="-1" yrange="1"/>', "stick 'it': xrange"),
        ("<section><section><button/></section></section>", "deeper"),
        ("<background/>", "background ''.*expected an image"),
        ('<background image="no.png" width="50000" height="9"/>', "background ''.*width"),
    ],
)
def test_a_broken_element_is_named_in_one_sentence(tmp_path: Path, fault: str, named: str) -> None:
    file = write_skin(tmp_path / "pad", BODY, BUTTON, fault)
    with pytest.raises(TemplateError, match=named) as caught:
        import_retrospy(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><skin name="&b;" type="snes"/>'


def entity_bomb(file: Path) -> None:
    file.write_text(BOMB)


def entity_bomb_in_utf_16(file: Path) -> None:
    file.write_text(BOMB, encoding="utf-16")


def deep_xml(file: Path) -> None:
    file.write_text("<skin>" + "<section>" * 100_000 + "</section>" * 100_000 + "</skin>")


def huge_xml(file: Path) -> None:
    file.write_bytes(b" " * (5 << 20))


def other_xml(file: Path) -> None:
    file.write_text("<html/>")


def cut_xml(file: Path) -> None:
    file.write_text(file.read_text()[:-9])


def binary_xml(file: Path) -> None:
    file.write_bytes(b"\x00\xff\x01")


def too_many_elements(file: Path) -> None:
    file.write_text(file.read_text().replace(BUTTON, 501 * BUTTON))


def too_many_backgrounds(file: Path) -> None:
    file.write_text(file.read_text().replace(BODY, 201 * BODY))


def no_background(file: Path) -> None:
    file.write_text(file.read_text().replace(BODY, ""))


def missing_body(file: Path) -> None:
    file.with_name("body.png").unlink()


def linked_xml(file: Path) -> None:
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
    picture = file.with_name("body.png")
    picture.write_bytes(picture.read_bytes()[:60])


def no_controls(file: Path) -> None:
    file.write_text(file.read_text().replace('name="a"', 'name="K_A"'))


def no_file(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        entity_bomb, entity_bomb_in_utf_16, deep_xml, huge_xml, other_xml, cut_xml, binary_xml, too_many_elements,
        too_many_backgrounds, no_background, missing_body, linked_xml, linked_picture, huge_picture, cut_picture,
        no_controls, no_file,
    ],
)  # fmt: skip
def test_a_hostile_skin_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    file = write_skin(tmp_path / "pad", BODY, BUTTON)
    spoil(file)
    with pytest.raises(TemplateError) as caught:
        import_retrospy(file)
    assert str(file.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


WHOLE = (
    BODY,
    '<background name="B" color="#0f0" width="9" height="9"/>',
    BUTTON,
    '<stick xname="lstick_x" yname="lstick_y" image="red.png" x="5" y="5" xrange="2" yrange="2" target="B"/>',
    '<analog name="trig_l" image="blue.png" x="0" y="0" direction="up" reverse="true"/>',
    '<section type="xbox360"><rangebutton name="trig_r" image="red.png" x="0" y="0" from="0.5" to="1"/></section>',
    '<detail name="d" image="blue.png" x="1" y="1" ignore="Main"/>',
)
PIECES = (
    "<",
    ">",
    '"',
    "/",
    "&",
    "&#0;",
    "0",
    "-",
    "1e999",
    "nan",
    "\x00",
    "é",
    "\ud800",
    "section",
    ";",
    "../",
    "x=",
    "#f",
)


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_skin(tmp_path_factory.mktemp("fuzz") / "pad", *WHOLE)


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 900), st.integers(0, 12), st.sampled_from(PIECES) | st.text(max_size=5)), max_size=4
    )
)
def test_only_a_template_error_comes_out_of_a_spoilt_skin(playground: Path, edits: list[tuple[int, int, str]]) -> None:
    text = f'<skin name="Pad" type="xbox360;snes">{"".join(WHOLE)}</skin>'
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    playground.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        skins = import_retrospy(playground)
    except TemplateError as error:
        assert "\n" not in str(error)
        return
    with tempfile.TemporaryDirectory() as folder:
        for skin in skins:
            save_template(skin.scene, skin.pictures, Path(folder))
        load_templates(Path(folder))


@pytest.fixture(scope="module")
def samples() -> dict[str, Scene]:
    if not SKINS.is_dir():
        pytest.skip(f"no sample skins at {SKINS}")
    return {skin.scene.id: skin.scene for skin in import_retrospy(SKINS)}


def test_the_sample_skins_show_what_their_pads_have(samples: dict[str, Scene]) -> None:
    families = {name: scene.family for name, scene in samples.items()}
    assert families == {
        "retrospy-gamecube-default-black": "gamecube",
        "retrospy-gamecube-default-purple": "gamecube",
        "retrospy-snes-default-default": "snes",
    }
    absent = {"left_shoulder", "left_thumb", "right_thumb", "back", "guide"}  # from a GameCube pad
    for colour in ("black", "purple"):
        cube = samples[f"retrospy-gamecube-default-{colour}"]
        assert set(cube.known) == {*BUTTONS, *STICKS} - absent
        assert {name: stick.travel for name, stick in cube.sticks.items()} == {"j_left": (20, 20), "j_right": (16, 16)}
        assert sum("is left out" in note for note in cube.notes) == len(cube.notes) - 1 == 6  # missing backgrounds
    snes = samples["retrospy-snes-default-default"]
    assert set(snes.known) == {*BUTTONS} - {*TRIGGERS, "left_thumb", "right_thumb", "guide"}
    assert len(snes.notes) == 1
