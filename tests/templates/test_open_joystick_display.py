"""The Open Joystick Display importer: what a theme's page becomes, and what a hostile theme cannot do."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from templates.catalogue import Template, TemplateError, load_templates, save_template
from templates.controls import BUTTONS, STICKS, parse_state
from templates.draw import draw_rgba
from templates.importers.open_joystick_display import import_open_joystick_display

SAMPLE = Path(__file__).parents[3] / "shared" / "overlays" / "open-joystick-display"

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)
HTML = (
    "<div class='theme'><div class='art' ojd-svg='%DIRECTORY%/images/pad.svg'></div>"
    "<div class='gate'><div ojd-directional='0' class='stick'></div></div></div>"
)
# 200 x 100 px of paper that is 100 x 50 units wide.
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" viewBox="0 0 100 50">'
    '<rect width="100" height="50" fill="#00f"/>'
    '<rect class="button" ojd-button="CROSS" x="5" y="5" width="10" height="10" style="fill:#f00"/>'
    '<rect width="100" height="2" y="40" fill="#000"/>'
    '<g class="label" ojd-button="L2"><rect x="30" y="5" width="10" height="10"/></g></svg>'
)
CSS = (
    ".theme { position: relative; width: 200px; height: 100px }"
    ".button.active { fill: white !important } .label.active * { fill: #0f0 !important }"
    ".gate { position: absolute; left: 100px; top: 20px; width: 60px; height: 40px }"
    ".stick { position: absolute; width: 20px; height: 20px; margin: -10px 0 0 -10px; background: #f00 }"
    ".stick.active { background: #fff }"
)


def write_theme(folder: Path, html: str = HTML, svg: str = SVG, css: str = CSS, **fields: object) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "theme.json").write_text(json.dumps({"id": "ojd-pad", "name": "Pad", **fields}))
    (folder / "theme.html").write_text(html)
    (folder / "theme.css").write_text(css)
    (folder / "images" / "pad.svg").write_text(svg)
    cv2.imwrite(str(folder / "images" / "green.png"), np.full((100, 200, 3), (0, 255, 0), np.uint8))
    return folder / "theme.json"


def load(path: Path) -> Template:
    """The one skin of a theme imported, saved and loaded again."""
    (skin,) = import_open_joystick_display(path)
    folder = path.parent / "imported"
    save_template(skin.scene, skin.pictures, folder)
    return load_templates(folder)[skin.scene.id]


def shows(template: Template, x: float, y: float, colour: tuple[int, int, int], state: str = "") -> bool:
    drawn = draw_rgba(template, parse_state(state), round(template.scene.canvas[0]))
    return np.abs(drawn[int(y), int(x)].astype(int) - (*colour, 255)).max() <= 3


def test_an_element_of_a_drawing_is_a_button(tmp_path: Path) -> None:
    template = load(write_theme(tmp_path))
    assert template.scene.canvas == (200, 100)
    assert template.scene.known == ("south", "left_trigger", "j_left")
    assert template.scene.boxes["south"] == (10, 10, 20, 20)  # units of the drawing are 2 px
    assert shows(template, 20, 20, RED)
    assert shows(template, 20, 20, WHITE, "south")
    assert shows(template, 50, 50, BLUE, "south")


def test_a_button_may_be_a_group_with_its_look_inside(tmp_path: Path) -> None:
    template = load(write_theme(tmp_path))
    assert shows(template, 70, 20, BLACK)
    assert shows(template, 70, 20, GREEN, "left_trigger")
    assert shows(template, 70, 20, BLACK, "left_trigger=0.4")


def test_what_lies_above_a_button_stays_above_it(tmp_path: Path) -> None:
    svg = SVG.replace('height="2" y="40"', 'height="2" y="8"')
    template = load(write_theme(tmp_path, svg=svg))
    assert shows(template, 20, 18, BLACK, "south")
    assert shows(template, 20, 14, WHITE, "south")


def test_a_stick_moves_by_half_its_wrapper_and_changes_colour_when_tilted(tmp_path: Path) -> None:
    template = load(write_theme(tmp_path))
    stick = template.scene.sticks["j_left"]
    assert (stick.centre, stick.travel, stick.size) == ((130, 40), (30, 20), (20, 20))
    assert shows(template, 130, 40, RED)
    assert shows(template, 160, 40, WHITE, "j_left=1:0")
    assert shows(template, 130, 20, WHITE, "j_left=0:-1")
    assert shows(template, 130, 40, BLUE, "j_left=0:-1")
    assert any("dead zone" in note for note in template.scene.notes)


def test_an_arcade_stick_follows_the_d_pad(tmp_path: Path) -> None:
    template = load(write_theme(tmp_path, html=HTML.replace("ojd-directional='0'", "ojd-arcade-directional='true'")))
    assert shows(template, 130, 40, RED)
    assert shows(template, 160, 20, WHITE, "dpad_right, dpad_up")
    assert shows(template, 130, 40, BLUE, "dpad_right, dpad_up")
    assert template.scene.sticks == {}


def test_other_directionals_stay_at_rest(tmp_path: Path) -> None:
    scene = load(write_theme(tmp_path, html=HTML.replace("directional='0'", "directional='2'"))).scene
    assert "j_left" not in scene.known
    assert any("'2' is neither stick" in note for note in scene.notes)


def test_a_picture_of_a_button_may_show_only_while_it_is_held(tmp_path: Path) -> None:
    html = "<div class=theme><img class=held src='%DIRECTORY%/images/green.png' ojd-button='PS'/></div>"
    css = ".theme { width: 200px; height: 100px; background: red } .held { opacity: 0 } .held.active { opacity: 1 }"
    template = load(write_theme(tmp_path, html=html, css=css))
    assert shows(template, 100, 50, RED)
    assert shows(template, 100, 50, GREEN, "guide")


def test_a_style_sheet_reaches_into_the_drawing_and_past_its_attributes(tmp_path: Path) -> None:
    css = f"{CSS} .theme > .art rect {{ fill: #fff }} svg .button {{ fill: #000 }}"
    template = load(write_theme(tmp_path, css=css))
    assert shows(template, 150, 90, WHITE)  # a rule beats an attribute
    assert shows(template, 20, 20, RED)  # a style attribute beats a rule


def test_a_drawing_may_be_written_in_the_page(tmp_path: Path) -> None:
    html = f"<div class=theme>{SVG.replace('viewBox', 'VIEWBOX')}</div>"
    assert load(write_theme(tmp_path, html=html)).scene.boxes["south"] == (10, 10, 20, 20)


def test_a_drawing_keeps_its_gradients(tmp_path: Path) -> None:
    gradient = '<defs><linearGradient id="g"><stop stop-color="#0f0"/></linearGradient></defs>'
    svg = SVG.replace("<rect width", f"{gradient}<rect width", 1).replace("fill:#f00", "fill:url(#g)")
    assert shows(load(write_theme(tmp_path, svg=svg)), 20, 20, GREEN)


def test_every_style_is_a_skin_with_its_own_page_and_colours(tmp_path: Path) -> None:
    styles = [
        {"id": "plain", "name": "Plain"},
        {"id": "green", "name": "Green"},
        {"id": "small", "name": "Small", "file": "theme-small.html", "mastercss": "small.css", "cssroot": "css"},
    ]
    path = write_theme(tmp_path, styles=styles)
    (tmp_path / "theme-green.css").write_text(".button.active { fill: #0f0 !important }")
    (tmp_path / "theme-small.html").write_text(HTML.replace("ojd-directional='0'", "ojd-directional='1'"))
    (tmp_path / "css").mkdir()
    (tmp_path / "css" / "small.css").write_text(f"{CSS} .theme {{ background: url(../images/green.png) }}")
    plain, green, small = (skin.scene for skin in import_open_joystick_display(path))
    prefix = "open-joystick-display-pad"
    assert [plain.id, green.id, small.id] == [f"{prefix}-plain", f"{prefix}-green", f"{prefix}-small"]
    assert list(plain.sticks) == list(green.sticks) == ["j_left"]
    assert list(small.sticks) == ["j_right"]


@pytest.mark.parametrize(
    ("theme", "family", "controls"),
    [
        ("xbox", "xbox_one", {"A": "south", "B": "east", "XBOX": "guide"}),
        ("switch", "switch_pro", {"A": "east", "B": "south", "PLUS": "start", "MINUS": "back"}),
        ("snes", "snes", {"X": "north", "Y": "west", "L": "left_shoulder"}),
        ("gamecube", "gamecube", {"A": "south", "X": "east", "Z": "right_shoulder", "L": "left_trigger"}),
        ("n64", "n64", {"A": "south", "B": "west", "Z": "left_trigger"}),
        ("mega-drive", "mega_drive", {"A": "west", "B": "south", "C": "east"}),
        ("sony-playstation", "dualshock_2", {"CROSS": "south", "SQUARE": "west", "R3": "right_thumb"}),
        ("something", "unknown", {"A": "south", "Y": "north"}),
    ],
)
def test_labels_name_controls_by_their_place_on_the_pad(
    tmp_path: Path, theme: str, family: str, controls: dict[str, str]
) -> None:
    for label, control in controls.items():
        path = write_theme(tmp_path / label, svg=SVG.replace("CROSS", label), id=f"ojd-{theme}")
        scene = import_open_joystick_display(path)[0].scene
        assert scene.family == family
        assert control in scene.known


def test_four_letters_are_named_by_where_they_are_drawn(tmp_path: Path) -> None:
    places = {"A": (20, 10), "B": (10, 20), "X": (10, 0), "Y": (0, 10)}  # a Nintendo pad that no name tells of
    rects = (
        f'<rect class="button" ojd-button="{n}" x="{x}" y="{y}" width="5" height="5"/>' for n, (x, y) in places.items()
    )
    svg = SVG.replace("</svg>", f"{''.join(rects)}</svg>").replace("CROSS", "START")
    scene = import_open_joystick_display(write_theme(tmp_path, svg=svg))[0].scene
    controls = {part.name: part.control for part in scene.parts if part.kind == "swap" and part.name in "abxy"}
    assert controls == {"a": "east", "b": "south", "x": "north", "y": "west"}
    assert sum("its place decides" in note for note in scene.notes) == 4


def test_buttons_that_no_pad_has_stay_at_rest(tmp_path: Path) -> None:
    scene = load(write_theme(tmp_path, svg=SVG.replace("CROSS", "CUP"))).scene
    assert "south" not in scene.known
    assert any("CUP is none of the 17 buttons" in note for note in scene.notes)


def test_missing_pictures_and_sheets_draw_nothing_and_are_noted(tmp_path: Path) -> None:
    html = HTML.replace("<div class='gate'>", "<img src='%DIRECTORY%/gone.png'/><div class='gate'>")
    path = write_theme(tmp_path, html=html)
    (tmp_path / "images" / "pad.svg").unlink()
    scene = load(path).scene
    assert scene.known == ("j_left",)
    assert sum("is not in the skin's folder" in note for note in scene.notes) == 2


def test_slips_in_the_page_are_read_as_browsers_do(tmp_path: Path) -> None:
    html = HTML.replace("</div></div></div>", "</p><br>text<!-- a --></DIV>").replace(
        "<div class='gate'>", "<my-tag class=gate>"
    )
    assert load(write_theme(tmp_path, html=html)).scene.boxes["south"] == (10, 10, 20, 20)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_are_understood(tmp_path: Path, encoding: str) -> None:
    path = write_theme(tmp_path)
    for file in (path, tmp_path / "theme.html", tmp_path / "theme.css", tmp_path / "images" / "pad.svg"):
        text = file.read_text().replace("</svg>", "<!-- gr\u00fcn --></svg>").replace('"Pad"', '"Gr\u00fcn"')
        file.write_bytes(text.encode(encoding))
    assert "south" in import_open_joystick_display(path)[0].scene.known


def test_a_folder_gives_all_its_themes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_theme(tmp_path / name, id=f"ojd-{name}")
    ids = [skin.scene.id for skin in import_open_joystick_display(tmp_path, "snes")]
    assert ids == ["open-joystick-display-a", "open-joystick-display-b"]


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        file = path.with_name("images") / name if name == "pad.svg" else path.with_name(name)
        file.write_text(file.read_text().replace(old, new))

    return spoil


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def link_svg(path: Path) -> None:
    link(path.with_name("images") / "pad.svg")


def link_html(path: Path) -> None:
    link(path.with_name("theme.html"))


def no_html(path: Path) -> None:
    path.with_name("theme.html").unlink()


def huge_picture(path: Path) -> None:
    rewrite("theme.html", "<div class='gate'>", "<img src='images/green.png'><div class='gate'>")(path)
    picture = path.with_name("images") / "green.png"
    data = bytearray(picture.read_bytes())
    data[16:20] = (50_000).to_bytes(4, "big")
    picture.write_bytes(data)


def binary_theme(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 1000)


HOSTILE = {
    "outside_svg": rewrite("theme.html", "%DIRECTORY%/images", "%DIRECTORY%/../images"),
    "absolute_svg": rewrite("theme.html", "%DIRECTORY%/images", "/etc"),
    "outside_picture": rewrite("theme.css", ".gate {", ".gate { background: url(../../x.png);"),
    "outside_sheet": rewrite("theme.json", '"Pad"', '"Pad", "styles": [{"id": "a", "mastercss": "../theme.css"}]'),
    "deep_json": rewrite("theme.json", '"Pad"', "[" * 100_000),
    "endless_number": rewrite("theme.json", '"Pad"', "1" * 10_000),
    "list": rewrite("theme.json", '"name"', '"styles": 7, "name"'),
    "no_id": rewrite("theme.json", '"id"', '"di"'),
    "many_styles": rewrite("theme.json", '"Pad"', f'"Pad", "styles": [{", ".join(["{}"] * 300)}]'),
    "deep_html": rewrite("theme.html", "<div class='gate'>", "<div>" * 10_000),
    "many_elements": rewrite("theme.html", "<div class='gate'>", "<br>" * 30_000),
    "open_comments": rewrite("theme.html", "<div class='theme'>", "<!-" * 1_000_000),
    "deep_css": rewrite("theme.css", "20px", "(" * 10_000),
    "huge_page": rewrite("theme.css", "200px", "50000px"),
    "no_page": rewrite("theme.css", "height: 100px", "height: 0"),
    "script": rewrite("pad.svg", "</svg>", "<script>1</script></svg>"),
    "handler": rewrite("pad.svg", 'x="5"', 'x="5" onload="1"'),
    "outside_image": rewrite("pad.svg", "</svg>", '<image href="/etc/a.png"/></svg>'),
    "outside_fill": rewrite("theme.css", "white !important", "url(http://example.com) !important"),
    "entities": rewrite("pad.svg", "<svg", '<!DOCTYPE svg [<!ENTITY a "aaa">]><svg'),
    "deep_svg": rewrite("pad.svg", "</svg>", "<g>" * 10_000 + "</g>" * 10_000 + "</svg>"),
    "broken_svg": rewrite("pad.svg", "</svg>", ""),
    "many_runs": rewrite("pad.svg", "</svg>", '<rect/><rect ojd-button="UP"/>' * 400 + "</svg>"),
}


@pytest.mark.parametrize(
    "spoil",
    [
        link, link_svg, link_html, no_html, huge_picture, binary_theme,
        *(pytest.param(spoil, id=name) for name, spoil in HOSTILE.items()),
    ],
)  # fmt: skip
def test_a_hostile_theme_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    write_theme(tmp_path)
    path = write_theme(tmp_path / "theme")
    spoil(path)
    with pytest.raises(TemplateError) as caught:
        import_open_joystick_display(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


TEXTS = {"html": HTML, "svg": SVG, "css": CSS}
SCRAPS = (
    "<", ">", "</", "/>", "<svg>", "</div>", "<div ", "<img src=%DIRECTORY%/images/green.png>", "<use href='#a'/>", "=",
    "'", '"', "&amp;", "&#0;", "<!--", "-->", "<style>", "<![CDATA[", "ojd-button=UP", "ojd-directional='1'", "viewBox",
    "{", "}", "(", ")", ";", ":", "0", "-9", "1e999px", "50%", "auto", "url(", "none", "position: static", ".active",
    "\x00", "\ud7ff", "\u00e9", "%DIRECTORY%", "NaN",
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cuts=st.lists(
        st.tuples(st.sampled_from(sorted(TEXTS)), st.floats(0, 1), st.integers(0, 20), st.sampled_from(SCRAPS)),
        min_size=1,
        max_size=5,
    )
)
@example(cuts=[("html", 0.3, 0, "<![CDAT[")])  # some versions of the HTML parser fail with an assertion
def test_a_garbled_theme_is_read_or_refused(tmp_path: Path, cuts: list[tuple[str, float, int, str]]) -> None:
    texts = dict(TEXTS)
    for name, where, length, scrap in cuts:
        start = int(where * len(texts[name]))
        texts[name] = f"{texts[name][:start]}{scrap}{texts[name][start + length :]}"
    path = write_theme(tmp_path, **texts)
    try:
        import_open_joystick_display(path)
    except TemplateError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    fields=st.dictionaries(
        st.sampled_from(["id", "name", "styles", "file"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["id", "name", "file", "mastercss", "cssroot"]), inner, max_size=4)
            ),
            max_leaves=8,
        ),
    )
)
def test_a_garbled_theme_file_is_read_or_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    path = write_theme(tmp_path, **fields)
    try:
        import_open_joystick_display(path)
    except TemplateError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    if not SAMPLE.is_dir():
        pytest.skip(f"no sample themes at {SAMPLE}")
    folder = tmp_path_factory.mktemp("imported")
    for skin in import_open_joystick_display(SAMPLE):
        save_template(skin.scene, skin.pictures, folder)
    return load_templates(folder)


@pytest.mark.slow
def test_the_sample_theme_gives_a_skin_for_each_style(sample: dict[str, Template]) -> None:
    colours = ("blue", "green", "orange", "pink", "purple", "red", "white")
    styles = {"analog-black", "digital-gray"} | {f"streamer-{k}-{c}" for k in ("analog", "digital") for c in colours}
    assert set(sample) == {f"open-joystick-display-sony-playstation-{style}" for style in styles}
    assert {template.family for template in sample.values()} == {"dualshock_2"}


@pytest.mark.slow
def test_the_sample_skins_show_what_their_pads_have(sample: dict[str, Template]) -> None:
    for name, template in sample.items():
        lacks = {"guide"} if "streamer-analog" in name else set()
        if "digital" in name:
            lacks = {"guide", "left_thumb", "right_thumb", *STICKS}
        assert set(template.scene.known) == {*BUTTONS, *STICKS} - lacks, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("style", "left", "right", "canvas"),
    [
        # 60 px sticks in 70 px wrappers at (138, 161) and (290, 161)
        ("analog-black", (173, 196), (325, 196), (500, 300)),
        # wrappers at (147, 219) and (278, 219): 254 + 35 + 30 is below the page's 300 px
        ("streamer-analog-red", (182, 254), (313, 254), (500, 319)),
    ],
)
def test_the_sample_sticks_lie_where_the_style_sheet_says(
    sample: dict[str, Template],
    style: str,
    left: tuple[float, ...],
    right: tuple[float, ...],
    canvas: tuple[float, ...],
) -> None:
    scene = sample[f"open-joystick-display-sony-playstation-{style}"].scene
    assert scene.canvas == canvas
    assert [stick.centre for stick in scene.sticks.values()] == [left, right]
    assert {stick.travel for stick in scene.sticks.values()} == {(35, 35)}
    assert {stick.size for stick in scene.sticks.values()} == {(60, 60)}


@pytest.mark.slow
@pytest.mark.parametrize(("style", "colour"), [("red", RED), ("green", GREEN), ("purple", (0x5A, 0x2C, 0xA0))])
def test_the_sample_buttons_light_up_in_the_colour_of_their_style(
    sample: dict[str, Template], style: str, colour: tuple[int, int, int]
) -> None:
    template = sample[f"open-joystick-display-sony-playstation-streamer-analog-{style}"]
    for control in ("south", "dpad_left", "left_shoulder", "right_trigger", "start", "right_thumb"):
        rest, held = (draw_rgba(template, parse_state(state), 500).astype(int) for state in ("", control))
        changed = np.abs(held - rest).max(-1) > 30
        x, y, w, h = template.scene.boxes[control]
        assert changed[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1].sum() == changed.sum() > 50
        assert np.median(held[changed][:, :3], axis=0) == pytest.approx(colour, abs=6)
    assert shows(template, 182 + 35, 254, colour, "j_left=1:0")
