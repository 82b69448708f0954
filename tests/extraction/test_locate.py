"""An overlay is found where it is, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from extraction.features import SIFT, Features, look_at, median_of
from extraction.fits import Fit
from extraction.locate import Found, locate, locate_near, place_by_hand
from extraction.look import COMPARED_WIDTH, LEAST_OPACITY
from extraction.outline import Outline
from extraction.propose import Proposal
from extraction.records import Reason, SourceError
from extraction.relatives import is_doubtful
from extraction.video import sample_frames
from extraction.votes import find_candidates, vote
from extraction.xfeat import open_xfeat
from templates.catalogue import Template, library, load_templates, save_template
from templates.controls import States
from templates.draw import draw_rgba
from templates.importers.input_overlay import import_input_overlay
from templates.scene import Box, Picture, Static

SHARED = Path(__file__).parents[3] / "shared"
FRAME_WH = (1280, 720)
FEW = ("xbox_360/dark", "dualsense/own", "switch_pro/outline", "snes/dark")  # the others only cost time


def templates(*names: str) -> dict[str, Template]:
    return {name: library()[name] for name in names or FEW}


def moving_game(count: int, seed: int = 0) -> list[np.ndarray]:
    """Frames of a busy scene: another blurred noise each, so that nothing stands still."""
    rng = np.random.default_rng(seed)
    small = [rng.integers(0, 256, (24, 40, 3), dtype=np.uint8) for _ in range(count)]
    return [cv2.resize(picture, FRAME_WH, interpolation=cv2.INTER_CUBIC) for picture in small]


def put(frame: np.ndarray, template: Template, x: int, y: int, width: int, opacity: float = 1.0) -> tuple[int, ...]:
    """Draw a template at rest onto a frame; returns its box."""
    picture = draw_rgba(template, States.rest(), width).astype(np.float32)
    height = picture.shape[0]
    alpha = opacity * picture[..., 3:] / 255
    window = frame[y : y + height, x : x + width]
    window[:] = (picture[..., :3] * alpha + window * (1 - alpha)).astype(np.uint8)
    return (x, y, width, height)


def outline_box(template: Template, affine: np.ndarray) -> Box:
    """The box around all that a drawing shows, at rest or pressed, where ``affine`` puts its canvas.

    Through the middle of its outermost pixels, as an outline goes.
    """
    shown = [draw_rgba(template, states, COMPARED_WIDTH)[..., 3] for states in (States.rest(), States.all_pressed())]
    x, y, w, h = cv2.boundingRect((np.maximum(*shown) > 40).astype(np.uint8))
    (a, _, left), (_, d, top) = affine.tolist()
    unit = template.scene.canvas[0] / COMPARED_WIDTH
    return (x + 0.5) * unit * a + left, (y + 0.5) * unit * d + top, (w - 1) * unit * a, (h - 1) * unit * d


def find(frames: Sequence[np.ndarray], names: Sequence[str] = FEW, features: Features = SIFT) -> Found:
    return locate([(float(i), frame) for i, frame in enumerate(frames)], templates(*names), features=features)


@pytest.fixture(params=["sift", "xfeat"])
def features(request: pytest.FixtureRequest) -> Features:
    return SIFT if request.param == "sift" else open_xfeat()


def side_error(found: Sequence[int], true: Sequence[int]) -> int:
    """The largest distance between the same sides of two boxes."""
    sides = [(x, y, x + w, y + h) for x, y, w, h in (found, true)]
    return max(abs(a - b) for a, b in zip(*sides, strict=True))


@pytest.mark.parametrize(
    ("name", "x", "y", "width", "opacity"),
    [
        ("xbox_360/dark", 30, 500, 260, 1.0),
        ("dualsense/own", 1000, 20, 230, 0.7),  # translucent, another corner
        ("switch_pro/outline", 600, 420, 330, 1.0),  # nothing but lines
        ("snes/dark", 500, 560, 240, 1.0),  # no sticks
        ("snes/dark", 20, 20, 130, 0.6),  # small and faint: a second look finds what the first one missed
    ],
)
def test_an_overlay_is_placed_within_three_pixels(
    name: str, x: int, y: int, width: int, opacity: float, features: Features
) -> None:
    frames = moving_game(10)
    true = [put(frame, library()[name], x, y, width, opacity) for frame in frames][-1]
    found = find(frames, features=features)
    assert [place.template.id for place in found.placements] == [name]
    assert side_error(found.placements[0].box_xywh, true) <= 3
    assert found.placements[0].inliers >= 20
    assert found.reason is None


def test_a_drawing_with_more_than_another_does_not_stand_for_it() -> None:
    """What is seen of both votes alike for both."""
    pad = library()["snes/dark"]
    width, height = pad.scene.canvas
    markup = f'<circle cx="90" cy="{height + 340}" r="30"/>'
    panel = Static(name="panel", box=(0, height + 300, width, 80), picture=Picture(svg=markup))

    def drawing(id: str, *more: Static) -> Template:
        update = {"id": id, "canvas": (width, height + 400), "parts": (*pad.scene.parts, *more)}
        return Template(pad.scene.model_copy(update=update), pad.root)

    known = {id: drawing(id, *more) for id, more in (("larger", (panel,)), ("twin", (panel,)), ("smaller", ()))}
    frame = moving_game(1)[0]
    put(frame, pad, 500, 300, 240)
    votes = vote(look_at(frame[280:480, 480:760], 500, SIFT), known, SIFT)
    assert votes is not None
    each_says = np.column_stack([votes.index.packed.points, votes.nearest])
    _, which, count = np.unique(each_says, axis=0, return_inverse=True, return_counts=True)
    of_all = (count == len(known))[which.ravel()]
    candidates = find_candidates(votes, of_all & (votes.similarity > SIFT.likeness), 4)
    assert sorted(each.template.id for each in candidates) == ["larger", "smaller"]


def test_a_large_video_is_placed_in_its_own_pixels() -> None:
    frames = [cv2.resize(frame, (1920, 1080)) for frame in moving_game(6)]
    true = [put(frame, library()["xbox_360/dark"], 1400, 700, 420) for frame in frames][-1]
    assert side_error(find(frames).placements[0].box_xywh, true) <= 3


def test_an_overlay_that_hangs_over_the_edge_is_clipped_to_the_frame() -> None:
    frames = moving_game(6)
    wide = [cv2.copyMakeBorder(frame, 0, 60, 0, 0, cv2.BORDER_REPLICATE) for frame in frames]
    for frame in wide:
        put(frame, library()["xbox_360/dark"], 40, 560, 280)
    x, y, w, h = find([frame[:720] for frame in wide]).placements[0].box_xywh
    assert side_error((x, y, w, h), (40, 560, 280, 160)) <= 3
    assert y + h <= 720


def test_a_game_without_an_overlay_has_none(features: Features) -> None:
    found = find(moving_game(10), features=features)
    assert (found.placements, found.reason) == ((), Reason.NO_OVERLAY)
    assert found.detail


def test_a_still_picture_that_is_no_pad_is_not_taken_for_one(features: Features) -> None:
    """Whatever resembles a keypoint or two stands still in all frames; it counts once, not once a frame."""
    still = moving_game(1)[0]
    for i in range(40):  # round buttons and labels, as a menu has them
        centre = (60 + 110 * (i % 11), 80 + 160 * (i // 11))
        cv2.circle(still, centre, 26, (220, 220, 220), 3)
        cv2.putText(
            still, "ABXY"[i % 4], (centre[0] - 9, centre[1] + 9), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2
        )
    found = find([still] * 25, features=features)
    assert found.reason is Reason.NO_OVERLAY


def test_a_fragment_of_a_pad_is_not_taken_for_the_whole() -> None:
    """Four face buttons hold many keypoints; a clump of them does not say where the rest should be."""
    frames = moving_game(10)
    for frame in frames:
        game = frame.copy()
        x, y, w, h = put(frame, library()["xbox_360/dark"], 300, 200, 400)
        game[y + h // 6 : y + h * 6 // 10, x + w * 6 // 10 : x + w] = frame[
            y + h // 6 : y + h * 6 // 10, x + w * 6 // 10 : x + w
        ]
        frame[:] = game
    assert find(frames).reason is Reason.NO_OVERLAY


def find_near(frames: Sequence[np.ndarray], *boxes: tuple[int, int, int, int], score: float = 0.1) -> Found:
    sampled = [(float(i), frame) for i, frame in enumerate(frames)]
    proposals = [Proposal(box, score, "snes", 0.5) for box in boxes]
    return locate_near(sampled, templates(), proposals, features=open_xfeat())


def test_a_closer_look_finds_what_is_small_and_faint_near_a_box_that_is_off() -> None:
    frames = moving_game(10)
    true = [put(frame, library()["dualsense/own"], 900, 500, 110, 0.6) for frame in frames][-1]
    [place] = find_near(frames, (100, 100, 200, 140), (915, 495, 130, 100)).placements
    assert place.template.id == "dualsense/own" and place.limit >= LEAST_OPACITY
    assert side_error(place.box_xywh, true) <= 3


@pytest.mark.parametrize(("score", "reason"), [(0.76, Reason.NO_OVERLAY), (0.78, Reason.UNKNOWN_SKIN)])
def test_a_closer_look_at_a_game_finds_nothing_and_suspects_what_looks_much_like_a_pad(
    score: float, reason: Reason
) -> None:
    found = find_near(moving_game(10), (100, 100, 300, 200), (900, 400, 150, 110), score=score)
    assert (found.placements, found.reason) == ((), reason)
    assert ("--box 100,100,300,200 --family snes" in found.detail) == (reason is Reason.UNKNOWN_SKIN)


@pytest.mark.parametrize(
    ("name", "part", "likeness", "doubtful"),
    [
        ("xbox_360/dark", 0.1, 0.7, True),
        ("xbox_360/dark", 0.4, 0.7, False),
        ("xbox_360/dark", 0.1, 0.95, False),
        ("dualsense/own", 0.1, 0.7, False),
    ],
)
def test_a_find_of_which_little_is_seen_is_doubted_if_more_is_seen_of_another_family(
    name: str, part: float, likeness: float, doubtful: bool
) -> None:
    frames = moving_game(10)
    for frame in frames:
        put(frame, library()["dualsense/own"], 900, 500, 230)
    template = library()[name]
    scale = 230 / template.scene.canvas[0]
    nothing = look_at(np.zeros((64, 64, 3), np.uint8), 1)
    fit = Fit(template, nothing, np.array([[scale, 0, 900], [0, scale, 500]]), 30, part, likeness)
    assert is_doubtful(fit, templates(), median_of(np.stack(frames)), open_xfeat()) == doubtful


def test_a_find_that_the_closer_look_doubts_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("extraction.locate.is_doubtful", lambda fit, *_: asked.append(fit.template.id) or True)
    frames = moving_game(10)
    for frame in frames:
        put(frame, library()["dualsense/own"], 900, 500, 230)
    sampled = [(float(i), frame) for i, frame in enumerate(frames)]
    found = locate(sampled, templates(), closer=open_xfeat())
    assert found.reason is Reason.NO_OVERLAY
    assert set(found.doubted) == set(asked) == {"dualsense/own"}
    assert locate(sampled, templates()).placements


BODY, ELSEWHERE = (905, 490, 240, 150), (1100, 560, 150, 100)


@pytest.mark.parametrize(
    ("body", "agreement", "believed"), [(BODY, 0.8, True), (BODY, 0.5, False), (ELSEWHERE, 0.8, False)]
)
def test_a_skin_with_another_body_has_the_box_of_that_if_it_is_clear_and_looked_like_a_pad(
    body: tuple[int, int, int, int], agreement: float, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extraction.relatives.fit_outline", lambda *_: Outline(body, agreement, before=0.3))
    monkeypatch.setattr("extraction.relatives.fit_window", lambda box, _: box)
    frames = moving_game(10)
    for frame in frames:
        put(frame, library()["dualsense/own"], 900, 500, 230)
    found = find_near(frames, (910, 495, 230, 150))
    assert [(place.box_xywh, place.limit) for place in found.placements] == [(body, 0)] * believed
    # What resembles a drawing is suspected, however little it looks like a pad, and by that drawing's family.
    assert ("--box 910,495,230,150 --family dualsense" in found.detail) != believed


def test_a_skin_in_a_window_of_its_own_has_the_box_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extraction.relatives.measure_limit", lambda *_: 0.2)  # other colours than the drawing's
    name, frames = "dualsense/own", moving_game(10)
    scale = 230 / library()[name].scene.canvas[0]
    x, y, w, h = map(round, outline_box(library()[name], np.array([[scale, 0, 900], [0, scale, 500]])))
    for frame in frames:
        frame[y - 30 : y + h + 30, x : x + w] = 0
        put(frame, library()[name], 900, 500, 230)
    [place] = find_near(frames, (910, 495, 230, 150)).placements
    assert side_error(place.box_xywh, (x, y - 30, w, h + 60)) <= 5


def test_no_frames_is_a_reason_of_its_own() -> None:
    assert locate([], templates()).reason is Reason.NO_FRAMES


def test_tiny_frames_hold_no_overlay(features: Features) -> None:
    assert find([np.zeros((16, 16, 3), np.uint8)] * 3, features=features).reason is Reason.NO_OVERLAY


def test_a_box_by_hand_stretches_the_canvas_over_it() -> None:
    template = library()["xbox_360/dark"]
    place = place_by_hand((100, 50, 200, 150), template, [np.zeros((720, 1280, 3), np.uint8)])
    assert place.affine @ (*template.scene.canvas, 1) == pytest.approx((300, 200))


@pytest.mark.parametrize("box", [(1280, 0, 10, 10), (0, 0, 0, 10), (-50, 0, 40, 40)])
def test_a_box_outside_the_frame_is_refused_in_one_sentence(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(SourceError, match="expected a box inside 1280x720"):
        place_by_hand(box, library()["xbox_360/dark"], [np.zeros((720, 1280, 3), np.uint8)])


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "realset").exists(), reason="the real test videos are not here")
@pytest.mark.parametrize("case", ["dev_doom_dualsense", "dev_atari_x360", "dev_doom_none"])
def test_real_overlays_of_imported_skins_are_placed_within_three_pixels(case: str, tmp_path: Path) -> None:
    for skin in import_input_overlay(SHARED / "overlays" / "input-overlay"):
        save_template(skin.scene, skin.pictures, tmp_path)
    folder = SHARED / "realset" / case
    boxes = json.loads((folder / "case.json").read_text())["boxes"]
    found = locate(sample_frames(folder / "video.mp4"), library() | load_templates(tmp_path))
    assert len(found.placements) == len(boxes)
    for place, (_, *box) in zip(found.placements, boxes, strict=True):
        assert side_error(place.box_xywh, box) <= 3
        assert place.template.id.startswith("input-overlay-")
