"""A clip shows what its truth says: the round trip from states to a video file and back to pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from extraction.logs import Log
from extraction.score import score
from synthetic import clips
from synthetic.clips import ClipOptions, compose_frames, find_corner, render_clip, truth_table
from synthetic.games import EVAL_GAMES
from synthetic.split import UNSEEN_STYLES, training_templates
from synthetic.states import draw_states
from templates.catalogue import Template, library
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, TRIGGERS, States
from templates.draw import rasterise

OPTIONS = ClipOptions(game="atari:pong", size=(640, 360), width_px=200, place="bottom-right", crf=12, seed=3)
SAMPLE = Path(__file__).parents[2] / "sample"
BLINK = 5  # frames; every button is held for as long, then released for as long


@pytest.fixture(scope="module")
def template() -> Template:
    return library()["xbox_one/own"]


@pytest.fixture(scope="module")
def blinking() -> States:
    held = np.arange(30) // BLINK % 2 == 1
    states, pressed = States.rest(30), States.all_pressed(30)
    return States(
        np.where(held[:, None], pressed.buttons, states.buttons),
        states.sticks,
        np.where(held[:, None], pressed.triggers, states.triggers),
    )


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, template: Template, blinking: States) -> Path:
    pytest.importorskip("ale_py", reason="clips need the games of ale-py")
    return render_clip(tmp_path_factory.mktemp("clips") / "pong", template, blinking, OPTIONS)


def decode(video: Path) -> tuple[np.ndarray, list[float]]:
    with av.open(str(video)) as container:
        frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return np.stack([rgb for rgb, _ in frames]), [time or 0.0 for _, time in frames]


def test_the_video_has_one_frame_per_state_at_its_time(case: Path, blinking: States) -> None:
    frames, times = decode(case / "video.mp4")
    assert frames.shape == (len(blinking), 360, 640, 3)
    assert times == pytest.approx([i / 60 for i in range(len(blinking))], abs=1e-6)


def test_the_overlay_blinks_on_the_exact_frames_and_only_in_its_box(case: Path) -> None:
    frames, _ = decode(case / "video.mp4")
    ((_, x, y, w, h),) = json.loads((case / "case.json").read_text())["boxes"]
    inside = frames[:, y : y + h, x : x + w].astype(int)
    changed = np.abs(np.diff(inside, axis=0)).mean((1, 2, 3))
    blinks = np.arange(1, len(frames)) % BLINK == 0
    assert changed[blinks].min() > 3 * changed[~blinks].max()
    outside = np.abs(np.diff(frames.astype(int), axis=0)).mean(3)
    outside[:, y : y + h, x : x + w] = 0
    assert outside.mean((1, 2))[blinks].max() < 0.2 * changed[blinks].min()


def test_truth_reads_back_as_the_states_that_were_drawn() -> None:
    states = draw_states(np.random.default_rng(4), 200)
    table = truth_table(states, 60.0)
    log = Log.of_table(table)
    assert (log.buttons == states.buttons).all()
    assert np.allclose(log.sticks, states.sticks)
    assert np.allclose(log.triggers, states.triggers)
    assert table["timestamp"].to_pylist()[-1] == pytest.approx(199 / 60)
    assert score(log, log, CONTROLS).button_accuracy == 1.0


def test_a_case_says_what_it_shows(case: Path, template: Template) -> None:
    about = json.loads((case / "case.json").read_text())
    assert about["family"] == "xbox_one"
    assert about["shown"] == sorted(
        {"j_left": "left_stick", "j_right": "right_stick"}.get(name, name) for name in template.scene.known
    )
    assert pq.read_schema(case / "truth.parquet").names == [
        "frame_index",
        "timestamp",
        *BUTTONS,
        "j_left",
        "j_right",
        *(f"{name}_value" for name in TRIGGERS),
    ]


def test_a_complete_case_is_left_as_it_is(case: Path, template: Template, blinking: States) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in case.iterdir()}
    render_clip(case, template, blinking, OPTIONS)
    assert {path.name: path.stat().st_mtime_ns for path in case.iterdir()} == before
    assert set(before) == {"video.mp4", "truth.parquet", "case.json"}


def test_colours_survive_the_video(tmp_path: Path, template: Template) -> None:
    """RGB to BT.709 and back: a mix-up of matrices would shift them by more than compression does."""
    pytest.importorskip("ale_py", reason="clips need the games of ale-py")
    options = OPTIONS.model_copy(update={"game": "atari:freeway", "crf": 1})
    state = States.rest(2)
    state.buttons[:, BUTTON_INDEX["south"]] = True
    frames, _ = decode(render_clip(tmp_path / "case", template, state, options) / "video.mp4")
    raster = rasterise(template, options.width_px)
    x, y = find_corner(raster.size_wh, options)
    drawn = next(compose_frames(raster, state, options, (x, y)))
    decoded, blue = (picture[y:, x:].mean((0, 1)) for picture in (frames[0], drawn))  # the pad's own colour
    assert decoded == pytest.approx(blue, abs=1.5)


def test_evaluation_shows_each_family_in_two_drawings_that_training_sees_and_one_that_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Template, ClipOptions]] = []

    def record(folder: Path, template: Template, states: States, options: ClipOptions) -> Path:
        made.append((template, options))
        return folder

    monkeypatch.setattr(clips, "render_clip", record)
    monkeypatch.setattr(clips, "is_visible", lambda *_: True)
    cases = clips.make_evaluation(tmp_path, seed=5)
    families = {template.family for template in library().values()}
    assert len(set(cases)) == len(cases) == 3 * len(families)
    seen, unseen = made[: 2 * len(families)], made[2 * len(families) :]
    trained = training_templates()
    for turn in (seen[: len(families)], seen[len(families) :], unseen):
        assert {template.family for template, _ in turn} == families
    assert all(template.id in trained for template, _ in seen)
    assert not any(template.id in trained for template, _ in unseen)
    assert {options.game for _, options in made} <= set(EVAL_GAMES)
    assert {options.codec for _, options in made} == {"h264", "vp9"}
    first = [options for _, options in made]
    made.clear()
    clips.make_evaluation(tmp_path, seed=5)
    assert [options for _, options in made] == first  # so that a second call goes on with the same cases


def test_black_lines_over_a_black_game_are_no_overlay_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def play_black(states: States, options: ClipOptions) -> Iterator[np.ndarray]:
        for _ in range(len(states)):
            yield np.zeros((*options.size[::-1], 3), np.uint8)

    monkeypatch.setattr(clips, "_play", play_black)
    assert not clips.is_visible(library()["arcade_pad/ink"], States.rest(), OPTIONS)
    assert clips.is_visible(library()["arcade_pad/white"], States.rest(), OPTIONS)


def test_an_overlay_of_which_a_stick_cannot_be_seen_is_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black lines, the upper half over white, the lower half, where the sticks are, over black."""
    template = library()["xbox_one/ink"]
    _, height = rasterise(template, OPTIONS.width_px).size_wh

    def play_half(states: States, options: ClipOptions) -> Iterator[np.ndarray]:
        frame = np.zeros((*options.size[::-1], 3), np.uint8)
        _, y = clips.find_corner((OPTIONS.width_px, height), options)
        frame[: y + round(0.35 * height)] = 255
        for _ in range(len(states)):
            yield frame

    monkeypatch.setattr(clips, "_play", play_half)
    *_, frame = play_half(States.rest(), OPTIONS)
    assert clips.can_be_seen(rasterise(template, OPTIONS.width_px), frame, OPTIONS)
    assert not clips.is_visible(template, States.rest(), OPTIONS)
    assert clips.is_visible(library()["xbox_one/white"], States.rest(), OPTIONS)


def test_training_sees_no_drawing_in_the_styles_that_are_kept_from_it() -> None:
    styles = {id.split("/")[1] for id in library()} - {id.split("/")[1] for id in training_templates()}
    assert styles == set(UNSEEN_STYLES)


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_a_clip_is_made_with_the_codec_and_about_the_bitrate_that_were_asked_for(
    tmp_path: Path, template: Template, blinking: States, codec: clips.Codec
) -> None:
    pytest.importorskip("ale_py", reason="clips need the games of ale-py")
    sizes = []
    for kbps in (200, 4000):
        options = OPTIONS.model_copy(update={"codec": codec, "kbps": kbps})
        video = render_clip(tmp_path / str(kbps), template, blinking, options) / "video.mp4"
        with av.open(str(video)) as container:
            assert container.streams.video[0].codec_context.name == codec
        sizes.append(video.stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_the_sample_of_the_repository_is_whole_small_and_active() -> None:
    frames = pq.read_table(SAMPLE / "truth.parquet")
    with av.open(str(SAMPLE / "video.mp4")) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert len(times) == len(frames)
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 3_000_000
    log = Log.of_table(frames)
    active = log.buttons.any(1) | (np.abs(log.sticks) > 0.1).any((1, 2))
    assert active[: 20 * 60].mean() > 0.6  # a chunk is kept from one half on


def test_an_overlay_wider_than_its_video_is_an_error_that_says_so(
    tmp_path: Path, template: Template, blinking: States
) -> None:
    with pytest.raises(ValueError, match="fits into"):
        render_clip(tmp_path, template, blinking, OPTIONS.model_copy(update={"width_px": 700}))
