"""The gamepadviewer importer: what CSS makes of the site's page, and what a hostile skin cannot do."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from templates.catalogue import Template, TemplateError, load_templates, save_template
from templates.controls import BUTTONS, STICKS, parse_state
from templates.draw import draw_rgba
from templates.importers.gamepadviewer import import_gamepadviewer
from templates.scene import Scene

SAMPLE = Path(__file__).parents[3] / "shared" / "overlays" / "gamepadviewer"

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
BODY = ".controller.custom { width: 200px; height: 100px; background: #0000ff }\n"
BUTTON = (
    ".custom .a { position: absolute; left: 20px; top: 30px; width: 40px; height: 20px; background: url(red.png) }\n"
)
PAD = BODY + BUTTON + ".custom .a.pressed { background-image: url(green.png) }\n"
START = ".custom .start { width: 9px; height: 9px } .custom .start.pressed { background: #fff }\n"
STICK = (
    ".custom .stick { position: absolute; left: 80px; top: 40px; width: 20px; height: 20px; background: #f00 }\n"
    ".custom .stick.right { left: 150px }\n"
)


def write_png(path: Path, *columns: tuple[int, int, int], size: tuple[int, int] = (20, 20)) -> None:
    """A picture of vertical stripes."""
    width, height = size
    stripes = np.array([(*colour, 255) for colour in columns], np.uint8)[None].repeat(height, 0)
    pixels = stripes.repeat(width // len(columns), 1)
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))


def write_svg(path: Path, markup: str = '<rect width="20" height="20" fill="red"/>', head: str = "") -> None:
    path.write_text(f'{head}<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">{markup}</svg>')


def write_skin(folder: Path, css: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        write_png(folder / f"{name}.png", colour)
    write_png(folder / "strip.png", RED, GREEN, size=(40, 20))
    write_svg(folder / "red.svg")
    (folder / "pad.css").write_text(css)
    return folder / "pad.css"


def load(path: Path) -> Template:
    """A skin imported, saved and loaded again."""
    (skin,) = import_gamepadviewer(path)
    folder = path.parent / "imported"
    save_template(skin.scene, skin.pictures, folder)
    return load_templates(folder)[skin.scene.id]


def pixel(template: Template, x: float, y: float, state: str = "") -> tuple[int, ...]:
    """(r, g, b, a) at a place of the canvas."""
    width = round(template.scene.canvas[0])
    drawn = draw_rgba(template, parse_state(state), width)
    return tuple(int(side) for side in drawn[int(y), int(x)])


def shows(template: Template, x: float, y: float, colour: tuple[int, int, int], state: str = "") -> bool:
    return np.abs(np.subtract(pixel(template, x, y, state), (*colour, 255))).max() <= 3


def test_a_button_takes_the_picture_of_its_pressed_rule(tmp_path: Path) -> None:
    template = load(write_skin(tmp_path, BODY + BUTTON + ".custom .a.pressed { background-image: url(green.png) }"))
    assert template.scene.boxes["south"] == (20, 30, 40, 20)
    assert shows(template, 40, 40, RED)
    assert shows(template, 40, 40, GREEN, "south")
    assert shows(template, 40, 40, RED, "east")
    assert shows(template, 10, 40, BLUE)


def test_a_button_that_shows_only_while_pressed(tmp_path: Path) -> None:
    css = BODY + BUTTON + ".custom .button { opacity: 0 } .custom .button.pressed { opacity: 1 }"
    template = load(write_skin(tmp_path, css))
    assert shows(template, 40, 40, BLUE)
    assert shows(template, 40, 40, RED, "south")


@pytest.mark.parametrize(
    ("css", "colour"),
    [
        (".custom .a.pressed { background: #0f0 } .controller .button.a { background: #fff }", WHITE),  # more specific
        (".custom .a.pressed { background: #0f0 } .custom .a.pressed { background: #fff }", WHITE),  # later
        (".custom .a.pressed { background: #0f0 !important } .custom .a.pressed { background: #fff }", GREEN),
        (".custom:not(.disconnected) .a.pressed { background: #0f0 }", GREEN),
        (".custom.disconnected .a { background: #0f0 } .a.pressed::after { background: #fff }", RED),
        (".custom .a.pressed { background: #0f0; nonsense } } .b {", GREEN),
        ("/* (((((((((((((((((((((((((( */ .custom .a.pressed { background: #0f0 }", GREEN),
        (".CUSTOM .a { background: #0f0 } .custom .a.pressed { BACKGROUND: LIME }", GREEN),
    ],
)
def test_the_winning_declaration_is_drawn(tmp_path: Path, css: str, colour: tuple[int, int, int]) -> None:
    template = load(write_skin(tmp_path, BODY + BUTTON + START + css))
    assert shows(template, 40, 40, colour, "south")


@pytest.mark.parametrize(
    ("css", "red", "green"),
    [
        ("background: url(strip.png)", 0, 20),  # two stripes of 20 px
        ("background: url(strip.png) -20px 0", 20, 0),
        ("background: url(strip.png) 20px 0", 20, 0),  # to the right; what leaves comes back
        ("background: url(strip.png) no-repeat 20px 0", 20, None),
        ("background: url(strip.png); background-position-x: -60px", 20, 0),
        ("background: url(strip.png) right 20px top / 40px 20px", 20, 0),
        ("background: url(strip.png) 0 0 / 200% 100%", 0, None),  # only red is left
        ("background: url(strip.png) 100% 0 / 200% 100% no-repeat", None, 0),
        ("background: url(strip.png); transform: rotateY(180deg)", 20, 0),  # mirrored
        ("background: url(strip.png); transform: scaleX(-1)", 20, 0),
        ("background: url(strip.png); transform: rotate(.5turn)", 20, 0),
        ("background: url(strip.png); background-size: contain", 0, 20),
        ("background: url(strip.png) center / cover", 0, 20),
        ("background: url('strip.png') no-repeat center, url(red.png)", 0, 20),
    ],
)
def test_sprites_are_cut_as_browsers_do(tmp_path: Path, css: str, red: int | None, green: int | None) -> None:
    pressed = f".custom .a.pressed {{ {css} }}"
    template = load(write_skin(tmp_path, BODY + BUTTON.replace("url(red.png)", "#fff") + pressed))
    if red is not None:
        assert shows(template, 30 + red, 40, RED, "south")
    if green is not None:
        assert shows(template, 30 + green, 40, GREEN, "south")


@pytest.mark.parametrize(
    ("css", "box"),
    [
        (".custom .back { width: 10px; height: 20px }", (0, 0, 10, 20)),
        (".custom .back { float: right; width: 10px; height: 20px }", (190, 0, 10, 20)),
        (".arrows { position: absolute; left: 50px; width: 100px } .back { float: right; width: 10px; height: 9px }",
         (140, 0, 10, 9)),
        (".custom .back { position: absolute; right: 0; bottom: 0; width: 10%; height: 50% }", (180, 50, 20, 50)),
        (".back { position: absolute; top: calc(100% - 2 * 10px); left: calc(50% + 5px); width: 9px; height: 9px }",
         (105, 80, 9, 9)),
        (".custom .back { position: absolute; inset: 10px 20px 30px 40px }", (40, 10, 140, 60)),
        (".back { position: absolute; left: 50%; margin-left: -5px; width: 10px; height: 9px }", (95, 0, 10, 9)),
        (".arrows { position: relative; top: 10px } .custom .back { margin: 5px 7px; width: 10px; height: 9px }",
         (7, 15, 10, 9)),
        (".arrows { margin-top: 10px; padding: 0 } .custom .back { position: absolute; width: 10px; height: 9px }",
         (0, 10, 10, 9)),
    ],
)  # fmt: skip
def test_boxes_are_laid_out_as_browsers_do(tmp_path: Path, css: str, box: tuple[float, ...]) -> None:
    rules = ".custom .back { background: #f00 } .custom .back.pressed { background: #0f0 }"
    template = load(write_skin(tmp_path, BODY + css + rules))
    assert template.scene.boxes["back"] == pytest.approx(box, abs=0.5)


def test_where_and_how_large_the_page_shows_the_pad_does_not_matter(tmp_path: Path) -> None:
    fitted = (
        ".controller.custom { position: fixed; top: 50%; margin: -50px; transform: scale(1.5) translate(-50%, -50%) }"
    )
    pressed = ".custom .a.pressed { background: #0f0 }"
    template = load(write_skin(tmp_path, BODY + fitted + BUTTON + pressed))
    assert template.scene.canvas == (200, 100)
    assert template.scene.boxes["south"] == (20, 30, 40, 20)


def test_a_pad_without_a_size_is_as_large_as_its_picture(tmp_path: Path) -> None:
    css = ".controller.custom { background: url(strip.png) no-repeat; width: 100%; height: 100% }" + START
    template = load(write_skin(tmp_path, css))
    assert template.scene.canvas == (40, 20)
    assert shows(template, 30, 10, GREEN)


def test_a_stick_moves_and_narrows_as_the_site_does(tmp_path: Path) -> None:
    template = load(write_skin(tmp_path, BODY + STICK + ".custom .stick.pressed { background: #0f0 }"))
    stick = template.scene.sticks["j_left"]
    assert (stick.centre, stick.travel, stick.size) == ((90, 50), (25, 25), (20, 20))
    assert template.scene.parts[-1].squeeze == 0.87
    assert shows(template, 90, 50, RED)
    assert shows(template, 115, 50, RED, "j_left=1:0")
    assert shows(template, 90, 25, GREEN, "j_left=0:-1, left_thumb")
    assert shows(template, 90, 50, BLUE, "j_left=1:0")
    assert shows(template, 160, 50, RED, "j_left=1:0")


def test_the_canvas_grows_where_a_stick_leaves_it(tmp_path: Path) -> None:
    template = load(write_skin(tmp_path, BODY + STICK.replace("top: 40px", "top: 70px")))
    assert template.scene.canvas == (200, 115)
    assert shows(template, 90, 105, RED, "j_left=0:1")


def test_an_analog_trigger_fades_in(tmp_path: Path) -> None:
    css = BODY + ".custom .trigger { width: 40px; height: 20px; background: #f00; opacity: 0 } .trigger { float: left }"
    template = load(write_skin(tmp_path, css))
    assert shows(template, 20, 10, BLUE)
    assert shows(template, 20, 10, RED, "left_trigger")
    assert pixel(template, 20, 10, "left_trigger=0.5") == pytest.approx((128, 0, 128, 255), abs=3)
    assert template.scene.boxes["right_trigger"] == (40, 0, 40, 20)


def test_a_digital_trigger_switches_early(tmp_path: Path) -> None:
    trigger = ".custom .trigger-button.left { width: 9px; height: 9px; background: #f00 }"
    template = load(write_skin(tmp_path, f"{BODY}{trigger}.custom .trigger-button.left.pressed {{ background: #0f0 }}"))
    assert shows(template, 5, 5, RED, "left_trigger=0.1")
    assert shows(template, 5, 5, GREEN, "left_trigger=0.15")


def test_an_arcade_stick_has_nine_states(tmp_path: Path) -> None:
    css = (
        ".fstick { position: absolute; left: 50px; width: 30px; height: 30px; background: #fff }"
        ".fstick.up { background: #f00 } .fstick.up.right { background: #0f0 }"
    )
    template = load(write_skin(tmp_path, BODY + css))
    assert shows(template, 65, 15, WHITE)
    assert shows(template, 65, 15, RED, "dpad_up")
    assert shows(template, 65, 15, GREEN, "dpad_up, dpad_right")


def test_face_buttons_are_named_by_their_place(tmp_path: Path) -> None:
    # Nintendo's order: the class "a" sits east, "b" south, "x" north, "y" west.
    places = {"a": (150, 40), "b": (130, 60), "x": (130, 20), "y": (110, 40)}
    css = "".join(f".custom .{name} {{ left: {x}px; top: {y}px }}" for name, (x, y) in places.items())
    rule = ".custom .button { position: absolute; width: 9px; height: 9px; background: #f00 } .pressed { opacity: 0 }"
    scene = import_gamepadviewer(write_skin(tmp_path, BODY + rule + css))[0].scene
    assert [part.control for part in scene.parts if part.kind == "swap"] == ["east", "south", "north", "west"]
    assert len(scene.notes) == 4


def test_a_rounded_box_is_drawn_without_its_corners(tmp_path: Path) -> None:
    pressed = ".custom .a.pressed { background: #0f0; border-radius: 50%; height: 40px }"
    template = load(write_skin(tmp_path, BODY + BUTTON + pressed))
    assert shows(template, 40, 50, GREEN, "south")
    assert shows(template, 22, 32, BLUE, "south")


def test_svg_pictures_are_drawn(tmp_path: Path) -> None:
    template = load(write_skin(tmp_path, PAD.replace("green.png", "red.svg").replace("red.png", "blue.png")))
    assert shows(template, 30, 40, BLUE)
    assert shows(template, 30, 40, RED, "south")


def test_a_button_that_never_changes_is_noted(tmp_path: Path) -> None:
    scene = import_gamepadviewer(write_skin(tmp_path, BODY + BUTTON + START))[0].scene
    assert scene.known == ("start",)
    assert any("south looks the same" in note for note in scene.notes)


def test_a_missing_picture_draws_nothing_and_is_noted(tmp_path: Path) -> None:
    css = ".custom .a { background-image: url(gone.svg) } .custom .a.pressed { background-image: url(green.png) }"
    template = load(write_skin(tmp_path, BODY + BUTTON + css))
    assert shows(template, 40, 40, BLUE)
    assert shows(template, 40, 40, GREEN, "south")
    assert any("gone.svg" in note for note in template.scene.notes)


@pytest.mark.parametrize("address", ["http://example.com/a.png", "//example.com/a.png", "data:image/png;base64,AAAA"])
def test_what_is_not_on_this_disk_draws_nothing_and_is_noted(tmp_path: Path, address: str) -> None:
    css = BODY + BUTTON + f".custom .a.pressed {{ background-image: url({address}) }}"
    scene = import_gamepadviewer(write_skin(tmp_path, css))[0].scene
    assert scene.known == ("south",)
    assert any("is not a file of the skin" in note for note in scene.notes)


def test_letter_case_backslashes_and_spaces_are_as_on_windows(tmp_path: Path) -> None:
    path = write_skin(tmp_path, BODY + BUTTON + r".custom .a.pressed { background: url('ART\\My%20Green.PNG?v=2') }")
    (tmp_path / "art").mkdir()
    write_png(tmp_path / "art" / "my green.png", GREEN)
    assert shows(load(path), 40, 40, GREEN, "south")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_are_understood(tmp_path: Path, encoding: str) -> None:
    path = write_skin(tmp_path, "")
    text = "/* gr\u00fcn */" + BODY + BUTTON + ".custom .a.pressed { opacity: 0 }"
    path.write_bytes(text.encode(encoding))
    assert import_gamepadviewer(path)[0].scene.known == ("south",)


def test_a_folder_gives_all_its_skins_named_by_file_or_folder(tmp_path: Path) -> None:
    css = BODY + BUTTON + ".custom .a.pressed { opacity: 0 }"
    for name in ("ds4/skin.css", "snes/snes-grey.css"):
        write_skin(tmp_path / name.split("/")[0], css).rename(tmp_path / name)
    (tmp_path / "site.css").write_text("body { margin: 0 }")
    skins = import_gamepadviewer(tmp_path)
    assert [skin.scene.id for skin in skins] == ["gamepadviewer-ds4", "gamepadviewer-snes-grey"]
    assert [skin.scene.family for skin in skins] == ["dualshock_4", "snes"]
    assert {skin.scene.family for skin in import_gamepadviewer(tmp_path, "xbox_360")} == {"xbox_360"}


def parent_picture(path: Path) -> None:
    path.write_text(PAD.replace("red.png", "../red.png"))


def roundabout_picture(path: Path) -> None:
    path.write_text(PAD.replace("red.png", "art/..%2f../red.png"))


def absolute_picture(path: Path) -> None:
    path.write_text(PAD.replace("red.png", str(path.with_name("red.png"))))


def drive_picture(path: Path) -> None:
    path.write_text(PAD.replace("red.png", "file:///etc/passwd.png"))


def linked_picture(path: Path) -> None:
    path.with_name("red.png").rename(path.with_name("elsewhere"))
    path.with_name("red.png").symlink_to(path.with_name("elsewhere"))


def linked_css(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def huge_picture(path: Path) -> None:
    data = bytearray(path.with_name("red.png").read_bytes())
    data[16:20] = (50_000).to_bytes(4, "big")
    path.with_name("red.png").write_bytes(data)


def cut_picture(path: Path) -> None:
    path.with_name("red.png").write_bytes(path.with_name("red.png").read_bytes()[:60])


def no_size(path: Path) -> None:
    path.write_text(PAD.replace("width: 200px", ""))


def huge_canvas(path: Path) -> None:
    path.write_text(PAD.replace("200px", "50000px"))


def endless_length(path: Path) -> None:
    path.write_text(PAD.replace("20px", "1e38px"))


def endless_scale(path: Path) -> None:
    path.write_text(PAD.replace("left", "transform: scale(1e300) scale(1e300); left"))


def huge_sprite(path: Path) -> None:
    path.write_text(PAD + ".custom .a { background-size: 900000px }")


def deep_selector(path: Path) -> None:
    path.write_text(PAD + ":not(" * 10_000 + ".a" + ")" * 10_000 + " { top: 0 }")


def deep_value(path: Path) -> None:
    path.write_text(PAD + ".custom .a { top: " + "calc(" * 10_000 + "1px" + ")" * 10_000 + " }")


def deep_blocks(path: Path) -> None:
    path.write_text(PAD + ".a {" * 10_000)


def many_rules(path: Path) -> None:
    path.write_text(PAD + ".a { top: 0 }\n" * 5000)


def huge_css(path: Path) -> None:
    path.write_bytes(b" " * (5 << 20))


def binary_css(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def no_css(path: Path) -> None:
    path.unlink()


def svg_of(markup: str, head: str = "") -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_text(PAD.replace("red.png", "red.svg"))
        write_svg(path.with_name("red.svg"), markup, head)

    return spoil


ENTITIES = '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
MANY_USES = "".join(f'<g id="a{n + 1}">' + f'<use href="#a{n}"/>' * 10 + "</g>" for n in range(9))
HUGE_PNG = "iVBORw0KGgoAAAANSUhEUgAAw1AAAMNQCAYAAACc9ceYAAAAAElFTkSuQmCC"

HOSTILE_SVGS = {
    "entities": svg_of("<text>&b;</text>", ENTITIES),
    "script": svg_of("<script>alert(1)</script>"),
    "handler": svg_of('<rect width="9" height="9" onclick="alert(1)"/>'),
    "foreign": svg_of("<foreignObject/>"),
    "outside_image": svg_of('<image href="/etc/hostname.png" width="9" height="9"/>'),
    "outside_link": svg_of('<image xmlns:x="http://www.w3.org/1999/xlink" x:href="a.png" width="9" height="9"/>'),
    "outside_use": svg_of('<use href="other.svg#a"/>'),
    "outside_fill": svg_of('<rect width="9" height="9" fill="url(http://example.com/#a)"/>'),
    "outside_style": svg_of('<style>rect { fill: url("x.svg#a") }</style><rect width="9" height="9"/>'),
    "import": svg_of("<style>@import 'x.css';</style>"),
    "nested_svg": svg_of('<image href="data:image/svg+xml;base64,PHN2Zy8+" width="9" height="9"/>'),
    "huge_png": svg_of(f'<image href="data:image/png;base64,{HUGE_PNG}" width="9" height="9"/>'),
    "broken_png": svg_of('<image href="data:image/png;base64,AAA" width="9" height="9"/>'),
    "many_uses": svg_of(f'<defs><g id="a0"><rect width="9" height="9"/></g>{MANY_USES}</defs><use href="#a9"/>'),
    "circle": svg_of('<g id="a"><use href="#a"/></g>'),
    "deep": svg_of("<g>" * 10_000 + "</g>" * 10_000),
    "many": svg_of('<rect width="1" height="1"/>' * 30_000),
    "broken": svg_of("<g>"),
    "other_xml": svg_of("</svg><svg>"),
    "deep_style": svg_of(f"<style>{'(' * 10_000}</style>"),
    "odd_style": svg_of('<rect width="9" height="9" style="fill:url(a.svg)"/>'),
}


@pytest.mark.parametrize(
    "spoil",
    [
        parent_picture, roundabout_picture, absolute_picture, drive_picture, linked_picture, linked_css, huge_picture,
        cut_picture, no_size, huge_canvas, endless_length, endless_scale, huge_sprite, deep_selector, deep_value,
        deep_blocks, many_rules, huge_css, binary_css, no_css,
        *(pytest.param(spoil, id=name) for name, spoil in HOSTILE_SVGS.items()),
    ],
)  # fmt: skip
def test_a_hostile_skin_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    write_skin(tmp_path, "")
    path = write_skin(tmp_path / "skin", PAD)
    spoil(path)
    with pytest.raises(TemplateError) as caught:
        import_gamepadviewer(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_filters_of_boundless_cost_are_left_out(tmp_path: Path) -> None:
    octaves = '<filter id="f"><feTurbulence numOctaves="1000000000"/></filter><rect height="9" filter="url(#f)"/>'
    path = write_skin(tmp_path, PAD.replace("red.png", "red.svg"))
    write_svg(tmp_path / "red.svg", octaves)
    assert import_gamepadviewer(path)[0].scene.known == ("south",)


FUZZED = (
    BODY + BUTTON + STICK + ".custom .a.pressed { background: url(red.svg) 3px 0 / 50% no-repeat; margin: 2px }"
    ".custom .dpad { float: right; width: 50% } .face { width: calc(10px + 5%); height: 9px; transform: rotate(9deg) }"
)
SCRAPS = (
    "{", "}", "(", ")", "[", "]", ";", ":", ",", ".", "#", "@", "!", "/", "*", '"', "'", "\\", "%", "-", "+", "0", "-1",
    "1e999", "1e38px", "nan", "inf", "calc(", "url(", "url()", "rotate(", "scale(0)", "matrix(", "rgb(", "hsl(1e999",
    "auto", "none", "inherit", "var(--a)", ":not(", ":has(", "::before", ">", "~", "<!--", "-->", "@media", "@import",
    "!important", "position", "float", "width", "left", "background", "background-size", "transform", "opacity",
    "50000px", "-9%", "linear-gradient(", "border", "scale(1e300)",
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.tuples(st.integers(0, len(FUZZED)), st.integers(0, 12), st.sampled_from(SCRAPS)), max_size=6))
def test_a_garbled_style_sheet_is_read_or_refused(tmp_path: Path, cuts: list[tuple[int, int, str]]) -> None:
    css = FUZZED
    for start, length, scrap in cuts:
        css = f"{css[:start]}{scrap}{css[start + length :]}"
    path = write_skin(tmp_path, css)
    try:
        import_gamepadviewer(path)
    except TemplateError as error:
        assert "\n" not in str(error)


SVG_TEXT = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20" viewBox="0 0 20 20"><style>.a{fill:red}</style>'
    '<defs><linearGradient id="g"><stop offset="0" stop-color="red"/></linearGradient></defs>'
    '<g transform="rotate(9)"><rect class="a" width="9" height="9" rx="2"/>'
    '<path d="M1 1l5 5z" style="fill:url(#g)"/></g></svg>'
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, len(SVG_TEXT)),
            st.integers(0, 9),
            st.sampled_from([*SCRAPS, "<", "/>", "&amp;", "&", "<use href='#g'/>", "\x00", "NaN", "1e39", "-"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_garbled_drawing_is_read_or_refused(tmp_path: Path, cuts: list[tuple[int, int, str]]) -> None:
    text = SVG_TEXT
    for start, length, scrap in cuts:
        text = f"{text[:start]}{scrap}{text[start + length :]}"
    path = write_skin(tmp_path, PAD.replace("red.png", "red.svg"))
    (tmp_path / "red.svg").write_text(text)
    try:
        import_gamepadviewer(path)
    except TemplateError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Template:
    if not SAMPLE.is_dir():
        pytest.skip(f"no sample skins at {SAMPLE}")
    folder = tmp_path_factory.mktemp("imported")
    (skin,) = import_gamepadviewer(SAMPLE)
    save_template(skin.scene, skin.pictures, folder)
    return load_templates(folder)[skin.scene.id]


def test_the_sample_skin_shows_all_controls_but_the_guide(sample: Template) -> None:
    scene: Scene = sample.scene
    assert (scene.id, scene.family, scene.canvas) == ("gamepadviewer-dualshock2-black", "dualshock_2", (594, 420))
    assert set(scene.known) == {*BUTTONS, *STICKS} - {"guide"}
    assert {name: stick.centre for name, stick in scene.sticks.items()} == {
        "j_left": (211.5, 287.0),  # 173 + 77 / 2, 249 + 76 / 2
        "j_right": (384.5, 287.0),  # 173 + 248 - 75 + 77 / 2
    }
    assert [note for note in scene.notes if "dpad.svg" in note]


@pytest.mark.parametrize("control", [*BUTTONS[:10], "left_trigger", "right_trigger", "start", "back"])
def test_the_sample_skin_turns_red_where_a_button_is(sample: Template, control: str) -> None:
    if control not in sample.scene.boxes:
        pytest.skip(f"the skin shows no {control}")
    x, y, w, h = sample.scene.boxes[control]
    rest, held = (draw_rgba(sample, parse_state(state), 594).astype(int) for state in ("", control))
    area = np.s_[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1]
    changed = np.abs(held - rest).max(-1) > 30
    assert changed[area].sum() == changed.sum() > 100
    assert np.median(held[changed], axis=0) == pytest.approx((255, 0, 0, 255), abs=40)
