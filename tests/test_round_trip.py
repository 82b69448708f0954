"""The central promise: a state that is drawn over a game is the state that is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from extraction.course import ANYWHERE, find_sticks, smooth
from extraction.locate import place_by_hand
from extraction.parse import Parser
from extraction.records import Placement
from extraction.rectify import Rectifier
from synthetic.backgrounds import procedural
from synthetic.states import draw_states
from templates.catalogue import Template, library
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, STICKS, TRIGGER_SLICE, States
from templates.draw import draw, rasterise
from templates.scene import Picture, Show

FRAMES = 64
WIDTH = 240


@pytest.fixture(scope="module")
def parser() -> Parser:
    """The shipped weights."""
    return Parser.load(device="cpu")


def lively_states(seed: int) -> States:
    """States of different moments, triggers all the way down or up."""
    many = draw_states(np.random.default_rng(seed), 40 * FRAMES)
    states = many[np.arange(0, 40 * FRAMES, 40)]
    states.triggers[:] = states.buttons[:, TRIGGER_SLICE]
    return states


def render(template_id: str, states: States, calm: bool = False) -> tuple[list[np.ndarray], Placement]:
    """Frames (H, W, 3) uint8 of a template over made-up games or over plain grey, and where it is."""
    template = library()[template_id]
    raster = rasterise(template, WIDTH)
    overlay = draw(raster, states)
    width, height = raster.size_wh
    games = procedural(np.random.default_rng(7), len(states), height + 40, width + 40)[:, 0]
    if calm:
        games = np.full_like(games, 90)
    frames = torch.from_numpy(games).permute(0, 3, 1, 2).float() / 255
    window = frames[:, :, 20 : 20 + height, 20 : 20 + width]
    window.mul_(1 - overlay[:, 3:]).add_(overlay[:, :3])
    pictures = (frames.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    affine = np.array([[raster.scale, 0, 20], [0, raster.scale, 20]])
    rest = Rectifier(template.scene, affine, pictures[0].shape[1::-1]).rest_of(list(pictures))
    box = (20, 20, width, height)
    return list(pictures), Placement(template, affine, box, 99, 0.0, np.inf, rest)


@pytest.mark.parametrize(
    "template_id",
    [
        "xbox_360/dark",
        "xbox_one/white",
        "xbox_series/outline",  # lines only, nine-state d-pad; over noise it reads 0.965, see LOG.md
        "dualshock_3/outline",
        "dualshock_4/solo",  # no body
        "dualsense/own",
        "switch_pro/white",
        "snes/own",  # no sticks
    ],
)
def test_what_is_drawn_is_read(parser: Parser, template_id: str) -> None:
    states = lively_states(seed=len(template_id))
    frames, place = render(template_id, states, calm=template_id == "xbox_series/outline")
    template = library()[template_id]
    placed = parser.open(place, frames[0].shape[1::-1])
    x, y, w, h = placed.box_xywh
    crops = [frame[y : y + h, x : x + w] for frame in frames]
    readings = placed.read(crops[0], crops)
    shown = [i for i, name in enumerate(BUTTONS) if name in template.scene.known]
    right = (readings.logits[:, shown] > 0) == states.buttons[:, shown]
    assert right.mean() >= 0.98
    # Moments that do not follow one another, each by itself.
    masses = np.concatenate([smooth(each[None], [0.0], ANYWHERE, ANYWHERE)[0] for each in readings.places])
    sticks, _ = find_sticks(masses, readings.fits)
    for i, stick in enumerate(STICKS):
        if stick in template.scene.known:
            error = np.abs(sticks[:, i] - states.sticks[:, i])
            assert np.median(error) <= 0.1, stick


def test_frames_read_in_portions_read_the_same(parser: Parser) -> None:
    frames, place = render("xbox_360/dark", lively_states(1)[:9])

    def read(portions: list[slice]) -> np.ndarray:
        placed = parser.open(place, frames[0].shape[1::-1])
        x, y, w, h = placed.box_xywh
        crops = [frame[y : y + h, x : x + w] for frame in frames]
        befores = [crops[max(portion.start - 1, 0)] for portion in portions]
        return np.concatenate(
            [placed.read(before, crops[part]).logits for before, part in zip(befores, portions, strict=True)]
        )

    whole, parts = read([slice(0, 9)]), read([slice(0, 4), slice(4, 5), slice(5, 9)])
    # bfloat16 kernels round differently at different batch sizes; decisions and strengths stay.
    assert np.allclose(whole, parts, atol=0.3)


def test_a_control_that_is_not_shown_has_no_box() -> None:
    snes = library()["snes/own"].scene
    assert not set(snes.known) & {*STICKS, "left_trigger", "right_trigger", "left_thumb", "guide"}
    assert set(snes.known) <= set(CONTROLS) and BUTTON_INDEX["south"] == 0


def test_a_thumb_button_apart_from_any_stick_is_measured_as_others_are(parser: Parser) -> None:
    pad = library()["fight_stick/dark"]
    disc = Picture(svg='<circle cx="60" cy="60" r="30" fill="#fe3"/>')
    part = Show(name="L3", box=(30, 30, 60, 60), control="left_thumb", picture=disc)
    template = Template(pad.scene.model_copy(update={"parts": (*pad.scene.parts, part)}), pad.root)
    states = States.rest(4)
    states.buttons[2:, BUTTON_INDEX["left_thumb"]] = True
    drawn = draw(rasterise(template, WIDTH), states).permute(0, 2, 3, 1).numpy()
    frames = list((drawn[..., :3] * 255).round().astype(np.uint8))
    height, width = frames[0].shape[:2]
    place = place_by_hand((0, 0, width, height), template, frames[:2])
    reader = parser.open(place, (width, height))
    x, y, w, h = reader.box_xywh
    crops = [frame[y : y + h, x : x + w] for frame in frames]
    gone = reader.read(crops[0], crops).gone[:, BUTTON_INDEX["left_thumb"]]
    assert gone == pytest.approx([0, 0, 1, 1], abs=0.1)
