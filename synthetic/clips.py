"""Whole clips with their truth: a real game, played by logged states, with a library overlay drawn over it.

A case is a folder with ``video.mp4``, ``truth.parquet`` (one row per frame) and ``case.json`` (what was
made, where the overlay is, which controls it shows, whether the drawing is kept from training); ``case.json`` is
written last and marks it complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.video.reformatter import ColorRange, Colorspace
from pydantic import BaseModel, ConfigDict, Field

from synthetic.backgrounds import draw_aspect, to_video
from synthetic.games import EVAL_GAMES, open_game
from synthetic.split import is_unseen
from synthetic.states import draw_states
from templates.catalogue import Template, library
from templates.controls import BUTTONS, STICKS, TRIGGERS, States, parse_state
from templates.draw import Raster, draw, rasterise

TRUTH_SCHEMA: Final = pa.schema(
    [("frame_index", pa.int64()), ("timestamp", pa.float64())]
    + [(name, pa.bool_()) for name in BUTTONS]
    + [(name, pa.list_(pa.float32())) for name in STICKS]
    + [(f"{name}_value", pa.float32()) for name in TRIGGERS]
)

Corner = Literal["bottom-left", "bottom-right", "top-left", "top-right", "bottom"]
CORNERS: Final[tuple[Corner, ...]] = ("bottom-left", "bottom-right", "top-left", "top-right", "bottom")
Codec = Literal["h264", "vp9"]
CODECS: Final[tuple[Codec, ...]] = ("h264", "vp9")
# What streams come in: size, frames per second, and about the bitrate in kbit/s that each codec is given for it.
_STREAMS: Final[tuple[tuple[tuple[int, int], int, dict[Codec, int]], ...]] = (
    ((854, 480), 30, {"h264": 1000, "vp9": 600}),
    ((1280, 720), 60, {"h264": 3200, "vp9": 2200}),
    ((1920, 1080), 60, {"h264": 6000, "vp9": 4500}),
)
_STICK_TITLES: Final = {"j_left": "left_stick", "j_right": "right_stick"}  # as case.json calls them
_DRAWN_AT_ONCE: Final = 32  # frames of overlay held in memory
_VISIBLE_LEVELS, _VISIBLE_SHARE = 8, 0.25  # of 255; of what is drawn
_CHANGED: Final = 0.02  # of what is kept of the game
_BT709: Final = 1  # the number that ITU-T H.273 gives to its primaries, transfer and matrix
_LIMITED: Final = 1


class ClipOptions(BaseModel):
    """How one clip is made; stored in its ``case.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    game: str
    """A game of ``synthetic.games``: atari:<rom> or doom:<wad>/<map>."""
    fps: int = Field(60, ge=1)
    size: tuple[int, int] = (1280, 720)
    """Width and height of the video, even."""
    width_px: int = Field(260, ge=16)
    """Width of the overlay in the video."""
    place: Corner = "bottom-right"
    margin_px: int = 16
    """Between the overlay and the edges of the video."""
    opacity: float = Field(1.0, gt=0, le=1)
    codec: Codec = "h264"
    kbps: int | None = Field(None, ge=50)
    """Mean bitrate, as a stream has it; else the quality is constant."""
    crf: int = Field(26, ge=0, le=63)
    """That quality, as the codec counts it."""
    preset: str = "veryfast"
    """Effort of the H.264 encoder."""
    keyframe_every: int | None = Field(None, ge=1)
    """Frames from one keyframe to the next; else as the encoder sees fit."""
    seed: int = 0


def render_clip(folder: Path, template: Template, states: States, options: ClipOptions) -> Path:
    """Make the case ``folder``: one frame per state. A complete case is left as it is."""
    if is_complete(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    raster = rasterise(template, options.width_px)
    corner = find_corner(raster.size_wh, options)
    encode(compose_frames(raster, states, options, corner), folder / "video.mp4", options)
    pq.write_table(truth_table(states, options.fps), folder / "truth.parquet", compression="zstd")
    about = {"seconds": len(states) / options.fps, **options.model_dump()}
    complete(folder, about | describe_overlay(template, raster, options))
    return folder


def is_complete(folder: Path) -> bool:
    """Whether a case was made to its end."""
    return (folder / "case.json").exists()


def complete(folder: Path, about: Mapping[str, object]) -> None:
    """Write ``case.json``, whole."""
    partial = folder / "case.partial"
    partial.write_text(json.dumps({"name": folder.name, **about}, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / "case.json")


def describe_overlay(template: Template, raster: Raster, options: ClipOptions) -> dict[str, object]:
    """What ``case.json`` says of the overlay."""
    return {
        "overlay": template.id,
        "family": template.family,
        "unseen": is_unseen(template.id),
        "boxes": [[0.0, *find_corner(raster.size_wh, options), *raster.size_wh]],
        "shown": sorted(_STICK_TITLES.get(name, name) for name in template.scene.known),
    }


def truth_table(states: States, fps: float) -> pa.Table:
    """The log of a clip: one row per frame, timestamps in seconds from 0."""
    frame_index = np.arange(len(states))
    columns: dict[str, object] = {"frame_index": frame_index, "timestamp": frame_index / fps}
    columns |= {name: states.buttons[:, i] for i, name in enumerate(BUTTONS)}
    columns |= {name: list(states.sticks[:, i]) for i, name in enumerate(STICKS)}
    columns |= {f"{name}_value": states.triggers[:, i] for i, name in enumerate(TRIGGERS)}
    return pa.table(columns, schema=TRUTH_SCHEMA)


def make_evaluation(out: Path, seed: int) -> list[Path]:
    """Three cases per family, on games that training never sees: two drawings that it sees and one that it does not.

    The first drawing of every family comes first, then one of another style in each family, then one that is kept
    from training. Complete cases are kept, so that a second call goes on.
    """
    families: dict[str, list[Template]] = {}
    for template in library().values():
        families.setdefault(template.family, []).append(template)
    cases: list[Path] = []
    for turn in range(3):
        for position, family in enumerate(sorted(families)):
            template = _choose_drawing(families[family], turn, position)
            folder = out / template.id.replace("/", "_")
            if not is_complete(folder):
                rng = np.random.default_rng((seed, len(cases)))
                options, states = _draw_case(rng, len(cases) + turn)
                while not is_visible(template, states, options):
                    options, states = _draw_case(rng, len(cases) + turn)
                render_clip(folder, template, states, options)
            cases.append(folder)
    return cases


def is_visible(template: Template, states: States, options: ClipOptions) -> bool:
    """Whether somebody would keep this overlay over this game: what it draws, and each control, can be told from it.

    Two seconds into the clip, that is. Black lines over a black screen are no overlay.
    """
    *_, frame = _play(states[: 2 * options.fps], options)
    raster = rasterise(template, options.width_px)
    alone = (parse_state(f"{name}=1:0" if name in STICKS else name) for name in template.scene.known)
    return can_be_seen(raster, frame, options) and changes_can_be_seen(raster, alone, frame, options)


def can_be_seen(raster: Raster, frame: np.ndarray, options: ClipOptions) -> bool:
    """Whether at least a quarter of what is drawn, at rest, differs from a game's (H, W, 3) frame by 8 levels."""
    game = _behind(raster, frame, options)
    [(colour, keep)] = _draw_overlays(raster, States.rest(), options.opacity)
    change = np.abs(game * keep + colour - game).max(-1)
    return bool((change[keep[..., 0] < 0.9] >= _VISIBLE_LEVELS).mean() >= _VISIBLE_SHARE)


def changes_can_be_seen(raster: Raster, states: Iterable[States], frame: np.ndarray, options: ClipOptions) -> bool:
    """Whether at least a quarter of what each state changes of the drawing at rest changes the frame by 8 levels."""
    game = _behind(raster, frame, options)
    [(rest, rest_keep)] = _draw_overlays(raster, States.rest(), options.opacity)
    for state in states:
        [(colour, keep)] = _draw_overlays(raster, state, options.opacity)
        drawn = (np.abs(colour - rest).max(-1) >= _VISIBLE_LEVELS) | (np.abs(keep - rest_keep)[..., 0] >= _CHANGED)
        change = np.abs(game * (keep - rest_keep) + colour - rest).max(-1)
        if drawn.any() and (change[drawn] >= _VISIBLE_LEVELS).mean() < _VISIBLE_SHARE:
            return False
    return True


def _behind(raster: Raster, frame: np.ndarray, options: ClipOptions) -> np.ndarray:
    """What of a game's frame lies behind the overlay: (h, w, 3) float32."""
    (x, y), (width, height) = find_corner(raster.size_wh, options), raster.size_wh
    return np.asarray(frame[y : y + height, x : x + width], np.float32)


def _choose_drawing(drawings: list[Template], turn: int, position: int) -> Template:
    """Of one family: its first drawing, then another that training sees, then one that it does not."""
    unseen = [template for template in drawings if is_unseen(template.id)]
    others = [template for template in drawings[1:] if not is_unseen(template.id)]
    return (drawings[:1], others, unseen)[turn][3 * position % (1, len(others), len(unseen))[turn]]


def make_sample(out: Path) -> Path:
    """The clip of the repository: 22 s of Freedoom (BSD licence) with a library overlay, below 3 MB."""
    options = ClipOptions(
        game="doom:freedoom2/MAP01", place="bottom-right", width_px=260, crf=31, preset="slow", seed=48
    )
    states = draw_states(np.random.default_rng(2), 22 * options.fps, options.fps)
    sticks = states.sticks.copy()
    sticks[:, 0, 1] = -np.abs(sticks[:, 0, 1])  # walk ahead: backing off ends at the nearest wall
    return render_clip(out, library()["xbox_one/own"], States(states.buttons, sticks, states.triggers), options)


def _draw_case(rng: np.random.Generator, turn: int) -> tuple[ClipOptions, States]:
    """How one evaluation clip is made: a Doom game for an even ``turn``, an Atari game for an odd one."""
    games = [name for name in EVAL_GAMES if name.startswith(("doom", "atari")[turn % 2])]
    size, fps, rates = _STREAMS[rng.integers(len(_STREAMS))]
    codec: Codec = "vp9" if rng.random() < 0.5 else "h264"
    options = ClipOptions(
        game=str(rng.choice(games)),
        fps=fps,
        size=size,
        width_px=round(float(np.exp(rng.uniform(np.log(120), np.log(420))))),
        place=draw_place(rng),
        margin_px=int(rng.integers(0, 40)),
        opacity=round(float(rng.choice([1.0, rng.uniform(0.4, 1.0)])), 2),
        codec=codec,
        kbps=rates[codec],
        seed=int(rng.integers(2**31)),
    )
    return options, draw_states(rng, round(rng.uniform(10, 14)) * fps, fps)


def draw_place(rng: np.random.Generator) -> Corner:
    """A corner, or the middle of the lower edge."""
    return CORNERS[rng.integers(len(CORNERS))]


def find_corner(size_wh: tuple[int, int], options: ClipOptions) -> tuple[int, int]:
    """x, y of the overlay's top left pixel in the video."""
    (width, height), (overlay_w, overlay_h), margin = options.size, size_wh, options.margin_px
    if overlay_w > width or overlay_h > height:
        raise ValueError(
            f"expected an overlay that fits into {options.size}, found {size_wh}; choose a smaller width_px"
        )
    left, right = min(margin, width - overlay_w), max(width - overlay_w - margin, 0)
    top, bottom = min(margin, height - overlay_h), max(height - overlay_h - margin, 0)
    x = (width - overlay_w) // 2 if options.place == "bottom" else left if "left" in options.place else right
    return x, top if "top" in options.place else bottom


def compose_frames(
    raster: Raster, states: States, options: ClipOptions, corner: tuple[int, int]
) -> Iterator[np.ndarray]:
    """The finished frames: the game after each state, the overlay showing that state."""
    return lay_over(_play(states, options), raster, states, options.opacity, corner)


def lay_over(
    frames: Iterable[np.ndarray], raster: Raster, states: States, opacity: float, corner: tuple[int, int]
) -> Iterator[np.ndarray]:
    """One frame for each state, the overlay drawn into it with its top left pixel at ``corner``."""
    (x, y), (width, height) = corner, raster.size_wh
    overlays = _draw_overlays(raster, states, opacity)
    for frame, (colour, keep) in zip(frames, overlays, strict=True):
        window = frame[y : y + height, x : x + width]
        window[:] = (window * keep + colour).round().clip(0, 255)
        yield frame


def _draw_overlays(raster: Raster, states: States, opacity: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per state: premultiplied colour (H, W, 3) in 0..255, and the game's share (H, W, 1) in [0, 1]."""
    for start in range(0, len(states), _DRAWN_AT_ONCE):
        drawn = draw(raster, states[start : start + _DRAWN_AT_ONCE]).permute(0, 2, 3, 1).numpy() * opacity
        for picture in drawn:
            yield picture[..., :3] * 255, 1 - picture[..., 3:]


def _play(states: States, options: ClipOptions) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 video frames of the game; it keeps its own clock, so a slower game repeats pictures."""
    rng = np.random.default_rng(options.seed)
    with open_game(options.game, options.seed) as game:
        game.step(states[:1], round(game.hz))
        aspect, smooth = draw_aspect(rng, game.picture()), bool(rng.random() < 0.6)
        for i in range(len(states)):
            ticks = int((i + 1) * game.hz / options.fps) - int(i * game.hz / options.fps)
            if ticks:
                game.step(states[i : i + 1], ticks)
            yield to_video(game.picture(), options.size, aspect, smooth).copy()


def encode(frames: Iterator[np.ndarray], path: Path, options: ClipOptions) -> None:
    """Write (H, W, 3) uint8 RGB frames as yuv420p, BT.709, as most videos come."""
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        encoder, settings = _encoder(options)
        stream = container.add_stream(encoder, rate=options.fps, options=settings)
        stream.width, stream.height = options.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, options.fps)
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        for index, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = index, Fraction(1, options.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    os.replace(partial, path)


def _encoder(options: ClipOptions) -> tuple[Literal["libx264", "libvpx-vp9"], dict[str, str]]:
    """The encoder's name and settings."""
    quality = {"b": f"{options.kbps}k"} if options.kbps else {"crf": str(options.crf)}
    if options.keyframe_every:
        quality["g"] = str(options.keyframe_every)
    if options.codec == "h264":
        return "libx264", {**quality, "preset": options.preset}
    constant = {} if options.kbps else {"b": "0"}  # libvpx takes crf alone for a limit of its default bitrate
    return "libvpx-vp9", {**quality, **constant, "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}


EVALUATION: Final = Path(".cache/evaluation")

if __name__ == "__main__":
    for case in make_evaluation(EVALUATION, seed=0):
        print(case)
