"""What a person meets on the command line: help, answers, one-sentence errors and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from flows.arguments import parse_box, parse_moves, parse_states
from flows.bench import loop_packets
from flows.cli import app
from flows.sources import find_videos
from templates.controls import BUTTON_INDEX

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample"
OVERLAYS = ROOT.parent / "shared" / "overlays" / "input-overlay"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def only_sentence(result: Result) -> str:
    """The one error line on standard error."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0].removeprefix("error: ")


def test_help_answers_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "from flows.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'cv2', 'pyarrow', 'transformers', 'prefect', 'yt_dlp'}\n"
        "assert not heavy & set(sys.modules), 'heavy imports'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "extract" in done.stdout and "locate" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract",),  # neither a source nor a place to write
        ("extract", "a.mp4"),  # no --out
        ("extract", "a.mp4", "--out", "o", "--box", "1,2,3,4"),  # a box of what?
        ("extract", "a.mp4", "--out", "o", "--family", "snes"),  # where?
        ("extract", "a.mp4", "--out", "o", "--box", "1,2,3", "--family", "snes"),  # three numbers
        ("extract", "a.mp4", "--out", "o", "--box", "1,2,0,4", "--family", "snes"),  # no width
        ("extract", "a.mp4", "--out", "o", "--box", "1,2,3,4", "--family", "snes", "--pad", "2"),  # a box is one pad
        ("extract", "a.mp4", "--out", "o", "--device", "abacus"),
        ("extract", "a.mp4", "--out", "o", "--active-fraction", "2"),
        ("templates", "import", "nohboard", "a", "--out", "o"),  # a program that is not supported
        ("templates", "show", "no/such"),
        ("templates", "show", "snes/own", "--state", "jump"),  # no such control
        ("nonsense",),
    ],
)
def test_wrong_usage_ends_with_code_2_and_writes_nothing(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert list(tmp_path.iterdir()) == []


def test_an_unsupported_program_is_answered_with_those_that_work() -> None:
    assert "retrospy" in run("templates", "import", "nohboard", "a", "--out", "o").stderr


@pytest.mark.parametrize("command", [("locate",), ("extract", "--out", "o")])
def test_an_address_is_refused_in_one_sentence(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*command, "https://example.org/watch?v=1")
    assert result.exit_code == 1
    assert "download the video first" in only_sentence(result)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    result = run("locate", tmp_path / "gone.mp4")
    assert result.exit_code == 1
    assert str(tmp_path / "gone.mp4") in only_sentence(result)


def test_a_bad_template_folder_is_named(tmp_path: Path) -> None:
    result = run("templates", "list", "--templates", tmp_path / "gone")
    assert result.exit_code == 1
    assert str(tmp_path / "gone") in only_sentence(result)


def test_debug_adds_the_traceback(tmp_path: Path) -> None:
    result = run("templates", "list", "--templates", tmp_path / "gone", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_listing_as_json_names_every_template_once() -> None:
    rows = json.loads(run("templates", "list", "--json").stdout)
    assert len(rows) >= 300
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["family"] for row in rows}) >= 15
    assert all(row["known"] for row in rows)


def test_showing_a_template_draws_the_asked_state(tmp_path: Path) -> None:
    rest, pressed = tmp_path / "rest.png", tmp_path / "new folder" / "pressed.png"
    assert run("templates", "show", "snes/own", "-o", rest, "--width", "200").exit_code == 0
    assert run("templates", "show", "snes/own", "-o", pressed, "--width", "200", "--state", "south").exit_code == 0
    pictures = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (rest, pressed)]
    assert pictures[0].shape[1:] == (200, 4)
    changed = np.argwhere((pictures[0] != pictures[1]).any(axis=2))
    width = pictures[0].shape[1]
    assert len(changed) and changed[:, 1].min() > width / 2, "south sits on the right half of the pad"


def test_a_sheet_shows_all_templates_in_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    assert run("templates", "sheet", "-o", path).exit_code == 0
    height, width, _ = cv2.imread(str(path)).shape
    assert height > 1500 and width > 1500


def test_showing_a_template_without_a_file_describes_it() -> None:
    result = run("templates", "show", "snes/own")
    assert result.exit_code == 0
    assert "family snes" in result.stdout and "dpad_up" in result.stdout


def test_an_unwritable_picture_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("templates", "show", "snes/own", "-o", tmp_path / "file" / "pad.png")
    assert result.exit_code == 1
    assert "file" in only_sentence(result)


def test_an_imported_skin_is_listed_beside_the_library(tmp_path: Path) -> None:
    if not OVERLAYS.is_dir():
        pytest.skip(f"the sample skins are not at {OVERLAYS}")
    result = run("templates", "import", "input-overlay", OVERLAYS / "dualsense", "--out", tmp_path / "mine")
    assert result.exit_code == 0, result.stderr
    built_in = {row["id"] for row in json.loads(run("templates", "list", "--json").stdout)}
    rows = json.loads(run("templates", "list", "--json", "--templates", tmp_path / "mine").stdout)
    new = [row for row in rows if row["id"] not in built_in]
    assert new and {row["family"] for row in new} == {"dualsense"}


def test_a_folder_gives_its_videos_in_order_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.MP4", "b/a.mkv", "notes.txt"):
        (tmp_path / name).touch()
    assert find_videos(str(tmp_path)) == [tmp_path / "b/a.mkv", tmp_path / "z.MP4"]


def test_a_state_is_written_as_buttons_travel_and_places() -> None:
    states = parse_states("south, left_trigger=0.7, right_trigger, j_left=0.5:-1")
    held = {name for name, i in BUTTON_INDEX.items() if states.buttons[0, i]}
    assert held == {"south", "left_trigger", "right_trigger"}
    assert states.triggers[0].tolist() == pytest.approx([0.7, 1.0])
    assert states.sticks[0].tolist() == [[0.5, -1.0], [0.0, 0.0]]


def test_a_trigger_below_half_travel_is_drawn_and_not_held() -> None:
    states = parse_states("left_trigger=0.4")
    assert states.triggers[0, 0] == pytest.approx(0.4)
    assert not states.buttons.any()


def test_moves_are_pixels_by_control() -> None:
    assert parse_moves("south=0:-4, j_left=2:1.5") == {"south": (0.0, -4.0), "j_left": (2.0, 1.5)}
    assert parse_moves("") == {}
    with pytest.raises(typer.BadParameter, match="found 'south=3'"):
        parse_moves("south=3")


def test_a_template_is_made_from_a_video_and_lists_with_the_others(tmp_path: Path) -> None:
    made = ("templates", "from-video", SAMPLE / "video.mp4", "--box", "1004,508,260,196", "--family", "xbox_one")
    result = run(*made, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    [folder] = tmp_path.iterdir()
    assert (folder / "fitted.png").exists() and str(folder) in result.stdout
    rows = json.loads(run("templates", "list", "--json", "--templates", tmp_path).stdout)
    assert {"j_left", "j_right", "south"} <= set(next(row for row in rows if row["id"] == folder.name)["known"])


def test_a_box_may_start_outside_the_frame() -> None:
    assert parse_box("-5,10.4,200,100") == (-5, 10, 200, 100)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first seconds of the sample, in a folder with a video that is none."""
    folder = tmp_path_factory.mktemp("videos")
    loop_packets(SAMPLE / "video.mp4", folder / "good.mp4", 3.0)
    (folder / "bad.mp4").write_text("this is no video")
    return folder / "good.mp4"


def test_one_bad_video_stops_no_batch_and_a_second_run_does_nothing(clip: Path, tmp_path: Path) -> None:
    first = run("extract", clip.parent, "--out", tmp_path)
    assert first.exit_code == 1
    assert "bad.mp4" in only_sentence(first)
    assert "1 extracted, 0 without overlay, 0 done before, 1 failed" in first.stdout
    [folder] = (tmp_path / "videos").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["actions.parquet", "report.json"]

    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = run("extract", clip, "--out", tmp_path)
    assert second.exit_code == 0
    assert "1 done before, 0 failed; nothing to do" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written


def test_locating_prints_one_object_for_one_source(clip: Path) -> None:
    result = run("locate", clip, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found) == {"source", "placements", "reason", "detail"}
    [place] = found["placements"]
    assert set(place) == {"template", "family", "box", "inliers", "start", "end", "pad", "support", "sampled"}
    assert (place["pad"], place["support"], place["sampled"]) == (1, 25, 25)
    true = json.loads((SAMPLE / "case.json").read_text())["boxes"][0][1:]
    assert np.abs(np.array(place["box"]) - true).max() <= 3


def test_an_overlay_named_by_hand_is_read_where_it_was_said_to_be(clip: Path, tmp_path: Path) -> None:
    result = run("extract", clip, "--out", tmp_path, "--box", "1004,508,260,196", "--family", "xbox_one", "--json")
    assert result.exit_code == 0, result.stderr
    [report] = json.loads(result.stdout)
    assert report["placements"][0]["box"] == [1004, 508, 260, 196]
    assert report["placements"][0]["family"] == "xbox_one"


def test_a_family_that_no_template_has_is_wrong_usage(clip: Path, tmp_path: Path) -> None:
    result = run("extract", clip, "--out", tmp_path / "o", "--box", "1,2,30,40", "--family", "harp")
    assert result.exit_code == 2
    assert "xbox_one" in result.stderr
    assert not (tmp_path / "o").exists()


def test_the_benchmark_of_the_sample_prints_its_scores_and_draws_its_pictures(tmp_path: Path) -> None:
    result = run("benchmark", SAMPLE, tmp_path / "gone", "--json", "--out", tmp_path)
    assert result.exit_code == 1
    assert str(tmp_path / "gone") in only_sentence(result)
    report = json.loads(result.stdout)
    assert set(report) == {"by_hand", "published", "seen", "unseen", "cases", "failures"}
    [case] = report["cases"]
    assert case["family"] == "xbox_one" and not case["unseen"]
    assert case["box_error_px"] <= 3
    assert case["scores"]["coverage"] == 1
    assert case["scores"]["button_accuracy"] >= 0.98
    assert case["scores"]["macro_f1"] >= 0.9
    assert case["scores"]["stick_r2_mean"] >= 0.9
    assert case["scores"]["impossible_states"] == 0
    assert case["offset"]["frames"] == 0
    for name in ("sticks", "onsets", "worst"):
        picture = cv2.imread(str(tmp_path / "benchmark" / "sample" / f"{name}.png"))
        assert picture.shape[0] > 300 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
