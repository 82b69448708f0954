"""Template folders: what is saved is what is loaded, and what is broken says where and why."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from templates import catalogue
from templates.catalogue import (
    Template,
    TemplateError,
    all_templates,
    load_png,
    load_templates,
    read_picture,
    save_template,
)
from templates.scene import Clip, Move, NineState, Picture, Scene, Static, Swap

BOX = (1.0, 2.0, 8.0, 8.0)
PNG = Picture(file="art.png", region=(2, 3, 4, 5))
SVG = Picture(svg='<circle cx="5" cy="5" r="4"/>')


def pixels_of(shape: tuple[int, ...] = (16, 12, 4), dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def png_of(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def scene_of(id: str = "pad") -> Scene:
    parts = (
        Static(name="body", box=BOX, picture=SVG),
        Swap(name="a", box=BOX, control="south", picture=PNG, pressed=None),
        Move(name="stick", box=BOX, stick="j_left", picture=PNG, travel=(3, 4), squeeze=0.87),
        Clip(name="lt", box=BOX, control="left_trigger", picture=PNG, grows="up", reverse=True),
        NineState(name="dpad", box=BOX, pictures={"idle": PNG, "up_left": SVG}),
    )
    return Scene(id=id, family="snes", canvas=(20, 10), parts=parts, notes=("a note",))


def save_one(folder: Path, id: str = "pad") -> Path:
    return save_template(scene_of(id), {"art.png": png_of(pixels_of())}, folder)


def test_a_saved_template_loads_as_it_was(tmp_path: Path) -> None:
    path = save_one(tmp_path)
    loaded = load_templates(tmp_path)
    assert {id: (each.scene, each.root) for id, each in loaded.items()} == {"pad": (scene_of(), path)}


def test_templates_are_found_at_any_depth(tmp_path: Path) -> None:
    save_one(tmp_path / "deep" / "down", "one")
    save_one(tmp_path, "two")
    assert load_templates(tmp_path).keys() == {"one", "two"}


def test_an_id_becomes_a_safe_folder_name(tmp_path: Path) -> None:
    assert save_one(tmp_path, "../Évil pad/..") == tmp_path / "vil-pad"


def test_saving_again_replaces_the_template(tmp_path: Path) -> None:
    save_one(tmp_path)
    newer = scene_of().model_copy(update={"family": "unknown"})
    save_template(newer, {"art.png": png_of(pixels_of())}, tmp_path)
    assert load_templates(tmp_path)["pad"].family == "unknown"
    assert [path.name for path in tmp_path.iterdir()] == ["pad"]


def test_saving_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "pad").mkdir()
    with pytest.raises(TemplateError, match="other files"):
        save_one(tmp_path)


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(TemplateError, match="No space left"):
        save_one(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_save_cut_short_is_not_loaded(tmp_path: Path) -> None:
    save_one(tmp_path / ".saving-x")
    save_one(tmp_path, "whole")
    assert load_templates(tmp_path).keys() == {"whole"}


def test_saving_wants_exactly_the_pictures_that_are_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"\['art.png'\]"):
        save_template(scene_of(), {}, tmp_path)


def test_one_id_used_twice_is_an_error(tmp_path: Path) -> None:
    save_one(tmp_path / "a")
    save_one(tmp_path / "b")
    with pytest.raises(TemplateError, match="'pad' is also used"):
        load_templates(tmp_path)


def test_an_imported_id_must_not_be_a_built_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = {"pad": Template(scene_of(), None)}
    monkeypatch.setattr(catalogue, "library", lambda: built_in)
    save_one(tmp_path, "mine")
    assert all_templates(None) == built_in
    assert list(all_templates(tmp_path)) == ["pad", "mine"]
    save_one(tmp_path, "pad")
    with pytest.raises(TemplateError, match="built-in"):
        all_templates(tmp_path)


def test_a_picture_is_its_region_of_the_file(tmp_path: Path) -> None:
    template = Template(scene_of(), save_one(tmp_path))
    rgba = cv2.cvtColor(pixels_of(), cv2.COLOR_BGRA2RGBA)
    assert np.array_equal(read_picture(template, PNG), rgba[3:8, 2:6])
    assert np.array_equal(read_picture(template, Picture(file="art.png")), rgba)


def test_a_region_is_transparent_where_it_leaves_the_file(tmp_path: Path) -> None:
    template = Template(scene_of(), save_one(tmp_path))
    picture = read_picture(template, Picture(file="art.png", region=(-1, 14, 4, 5)))
    assert np.array_equal(picture[:2, 1:], cv2.cvtColor(pixels_of(), cv2.COLOR_BGRA2RGBA)[14:, :3])
    assert not picture[2:].any()
    assert not picture[:, 0].any()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((5, 6), np.uint8), ((5, 6, 3), np.uint8), ((5, 6, 4), np.uint8), ((5, 6, 4), np.uint16)],
)
def test_every_kind_of_png_becomes_rgba(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    pixels = pixels_of(shape, dtype)
    (tmp_path / "art.png").write_bytes(png_of(pixels))
    loaded = load_png(tmp_path / "art.png")
    assert (loaded.shape, loaded.dtype) == ((5, 6, 4), np.uint8)
    red = pixels if pixels.ndim == 2 else pixels[..., 2]
    assert np.array_equal(loaded[..., 0], red if dtype is np.uint8 else red >> 8)


def replace(old: str, new: str) -> Callable[[Path], None]:
    """A fault made by changing the template's text."""

    def spoil(folder: Path) -> None:
        text = (folder / "template.toml").read_text()
        assert old in text
        (folder / "template.toml").write_text(text.replace(old, new, 1))

    return spoil


def remove_picture(folder: Path) -> None:
    (folder / "art.png").unlink()


def link_picture(folder: Path) -> None:
    (folder / "art.png").rename(folder / "real.png")
    (folder / "art.png").symlink_to("real.png")


def pipe_picture(folder: Path) -> None:
    (folder / "art.png").unlink()
    os.mkfifo(folder / "art.png")


def inflate_picture(folder: Path) -> None:
    data = bytearray((folder / "art.png").read_bytes())
    data[16:20] = (8193).to_bytes(4, "big")
    (folder / "art.png").write_bytes(data)


def fatten_picture(folder: Path) -> None:
    with (folder / "art.png").open("ab") as file:
        file.truncate((64 << 20) + 1)


def cut_picture(folder: Path) -> None:
    (folder / "art.png").write_bytes((folder / "art.png").read_bytes()[:-20])


def not_text(folder: Path) -> None:
    (folder / "template.toml").write_bytes(b"\xff\xfe")


def nest(folder: Path) -> None:
    (folder / "template.toml").write_text("a = " + "[" * 100_000)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (replace('control = "south"', 'control = "sauth"'), r"'a': unknown control 'sauth'"),
        (replace('control = "south"', 'contrl = "south"'), r"part 1 \('a'\).*contrl"),
        (replace('family = "snes"\n', ""), "family: field required"),
        (replace('kind = "swap"', 'kind = "swop"'), r"part 1 \('a'\).*swop"),
        (replace('file = "art.png"', 'file = "../art.png"'), "plain name"),
        (replace('file = "art.png"', 'file = "/etc/passwd"'), "plain name"),
        (replace("20.0", "50000.0"), "canvas sides"),
        (replace("20.0", "nan"), "canvas"),
        (replace("8.0", "nan"), "'body'.*box"),
        (replace("8.0", "-1.0"), "'body'.*box"),
        (replace("8.0", "1e9"), "'body'.*box"),
        (replace("3.0", "300.0"), r"'a'.*region"),
        (replace("0.87", "0.0"), "'stick'.*squeeze"),
        (replace("<circle", "<image href='file:///etc/passwd'/><circle"), "'body'.*svg"),
        (replace("id = ", "id = = "), "expected TOML"),
        (not_text, "expected TOML"),
        (nest, "expected TOML"),
        (remove_picture, "'a'.*art.png.*No such file"),
        (link_picture, "'a'.*art.png.*plain file"),
        (pipe_picture, "'a'.*art.png.*plain file"),
        (inflate_picture, "'a'.*8193"),
        (fatten_picture, "'a'.*at most 64 MB"),
        (cut_picture, "'a'.*complete PNG"),
    ],
)
def test_a_broken_template_names_file_part_and_reason(
    tmp_path: Path, spoil: Callable[[Path], None], named: str
) -> None:
    folder = save_one(tmp_path)
    spoil(folder)
    with pytest.raises(TemplateError, match=named) as caught:
        load_templates(tmp_path)
    assert str(caught.value).startswith(str(folder / "template.toml"))
    assert "\n" not in str(caught.value)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    data = bytearray(png_of(pixels_of()))
    data[45:60] = bytes(15)
    (tmp_path / "art.png").write_bytes(data)
    with pytest.raises(TemplateError, match=r"art\.png"):
        load_png(tmp_path / "art.png")


def test_a_folder_without_templates_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"template\.toml"):
        load_templates(tmp_path)
    with pytest.raises(TemplateError, match="check the path"):
        load_templates(tmp_path / "nowhere")
