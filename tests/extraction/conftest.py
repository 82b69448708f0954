"""Small real videos, encoded on the spot, and a chain that runs on them without trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from extraction.course import SIDE
from extraction.locate import Found
from extraction.logs import Log
from extraction.normalise import OPPOSITES
from extraction.records import Placement, Readings, Reason
from synthetic.backgrounds import procedural
from synthetic.states import draw_states
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, TRIGGER_SLICE, States
from templates.draw import draw, rasterise
from templates.scene import Move, Picture, Scene, Static, Swap

TICKS = Fraction(1, 12800)  # time base of written videos: fine enough for any frame time used here
OVERLAY_XYWH = (40, 24, 32, 16)  # where the made-up overlay is, in frames of SIZE_WH
SIZE_WH = (96, 64)


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[float] | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    gop: int = 30,
    crf: int = 12,
) -> list[float]:
    """Encode (H, W, 3) uint8 frames; returns the exact times that the file holds, in seconds."""
    times = times if times is not None else [i / 10 for i in range(len(frames))]
    ticks = [round(time / TICKS) for time in times]
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = stream.codec_context.time_base = TICKS
        stream.codec_context.gop_size = gop
        if codec == "libx264":
            stream.options = {"crf": str(crf), "preset": "ultrafast"}
        if rotation:
            stream.set_display_rotation(rotation)
        for tick, pixels in zip(ticks, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = tick, TICKS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return [float(tick * TICKS) for tick in ticks]


def write_play(
    path: Path, skin: Template, width: int, at: tuple[int, int], size_wh: tuple[int, int], opacity: float = 1.0
) -> None:
    """24 seconds of a lively pad, ``width`` wide with its corner ``at`` (x, y), over a game that moves."""
    states = draw_states(np.random.default_rng(3), 12 * 240)[np.arange(0, 12 * 240, 12)]
    drawing = opacity * draw(rasterise(skin, width), states).permute(0, 2, 3, 1).numpy()
    game = procedural(np.random.default_rng(1), 8, size_wh[1], size_wh[0])[5, 0]
    frames = []
    for i, overlay in enumerate(drawing):
        frame = np.roll(game, 3 * i, axis=1)
        window = frame[at[1] : at[1] + overlay.shape[0], at[0] : at[0] + width]
        window[:] = (window * (1 - overlay[..., 3:]) + overlay[..., :3] * 255).clip(0, 255)
        frames.append(frame)
    write_video(path, frames)


def write_sound(path: Path) -> None:
    """A second of silence, without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        for i in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def grey_frames(count: int, size_wh: tuple[int, int] = SIZE_WH) -> list[np.ndarray]:
    """Frames that tell their own number: frame i is grey 4 i + 8, up to 60 frames."""
    width, height = size_wh
    return [np.full((height, width, 3), 4 * i + 8, np.uint8) for i in range(count)]


def number_of(rgb: np.ndarray) -> int:
    """Which of ``grey_frames`` this is."""
    return round((float(rgb.mean()) - 8) / 4)


def pad_frames(held: Sequence[bool]) -> list[np.ndarray]:
    """Frames of a noisy game with the made-up overlay: white while the button is held, else dark."""
    rng = np.random.default_rng(0)
    game = rng.integers(60, 200, (SIZE_WH[1], SIZE_WH[0], 3)).astype(np.uint8)
    x, y, w, h = OVERLAY_XYWH
    frames = []
    for i, down in enumerate(held):
        frame = np.roll(game, i, axis=1)
        frame[y : y + h, x : x + w] = 250 if down else 5
        frames.append(frame)
    return frames


def human_log(length: int = 400, seed: int = 0) -> Log:
    """Presses of 3 to 12 frames on every button and sticks that wander; triggers follow their buttons.

    Opposite sides of the d-pad are never held together.
    """
    rng = np.random.default_rng(seed)
    states = States.rest(length)
    for button in range(17):
        start = int(rng.integers(2, 20))
        while start < length:
            held = int(rng.integers(3, 12))
            states.buttons[start : start + held, button] = True
            start += held + int(rng.integers(3, 40))
    for a, b in OPPOSITES:
        states.buttons[:, BUTTON_INDEX[b]] &= ~states.buttons[:, BUTTON_INDEX[a]]
    states.sticks[:] = np.clip(np.cumsum(rng.normal(0, 0.1, (length, 2, 2)), axis=0), -1, 1)
    states.triggers[:] = states.buttons[:, TRIGGER_SLICE]
    return Log.of_states(states)


PICTURE = Picture(svg="<g/>")
TEMPLATE = Template(
    Scene(
        id="test/lamp",
        family="test",
        canvas=(32, 16),
        parts=(
            Static(name="body", box=(0, 0, 32, 16), picture=PICTURE),
            Swap(name="a", control="south", box=(0, 0, 32, 16), picture=PICTURE, pressed=PICTURE),
            Move(name="l", stick="j_left", box=(8, 4, 8, 8), travel=(4, 4), picture=PICTURE),
        ),
    ),
    None,
)
TEMPLATES = {TEMPLATE.id: TEMPLATE}


@dataclass(frozen=True)
class LampReader:
    """Stands in for the network: reads ``south`` from the brightness of the overlay, the stick as centred."""

    box_xywh: tuple[int, int, int, int]

    def read(self, before: np.ndarray, crops: Sequence[np.ndarray]) -> Readings:
        brightness = np.array([crop.mean() for crop in crops], np.float32)
        logits = np.full((len(crops), 17), 9.0, np.float32)  # nonsense where the overlay shows nothing
        logits[:, BUTTON_INDEX["south"]] = (brightness - 128) / 16
        places = np.zeros((len(crops), 2, SIDE, SIDE), np.float32)
        places[:, :, SIDE // 2, SIDE // 2] = 1000.0
        fits = np.full((len(crops), 2, SIDE, SIDE), np.nan, np.float32)
        gone = np.full((len(crops), len(BUTTONS)), np.nan, np.float32)
        return Readings(logits, places, fits, gone, np.zeros_like(gone), np.ones(len(crops), np.float32))


@dataclass(frozen=True)
class LampParser:
    version: str = "test-1"

    def open(self, placement: Placement, frame_wh: tuple[int, int]) -> LampReader:
        return LampReader(placement.box_xywh)


def placed(start_s: float = -np.inf, end_s: float = np.inf) -> Placement:
    x, y, _, _ = OVERLAY_XYWH
    affine = np.array([[1.0, 0, x], [0, 1.0, y]])
    rest = np.zeros((OVERLAY_XYWH[3], OVERLAY_XYWH[2], 3), np.uint8)
    return Placement(TEMPLATE, affine, OVERLAY_XYWH, 42, start_s, end_s, rest)


def find_lamp(*_: object) -> Found:
    """Stands in for localisation: the overlay is where the made-up videos have it."""
    return Found((placed(),), None, "")


def find_nothing(*_: object) -> Found:
    return Found((), Reason.NO_OVERLAY, "")


def suspect_something(*_: object) -> Found:
    return Found((), Reason.UNKNOWN_SKIN, "what stands still looks like a pad")


@pytest.fixture(scope="session")
def lamp_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """65 s at 10 frames/s: chunk 0 is held, chunk 1 idle, chunk 2 held for exactly half, chunk 3 held."""
    held = [True] * 200 + [False] * 200 + [True] * 100 + [False] * 100 + [True] * 50
    path = tmp_path_factory.mktemp("lamp") / "lamp.mp4"
    write_video(path, pad_frames(held))
    return path
