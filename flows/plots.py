"""Pictures of one benchmark case: sticks, onsets, and the moments that were read worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extraction.layout import choose_layout
from extraction.logs import Log
from extraction.offset import Offset
from extraction.onsets import OnsetErrors, find_presses, find_releases, pair_onsets
from extraction.score import AXES, STICK_RIGHT_WITHIN, find_wrong, scored_frames
from extraction.video import read_frames
from padtrace.plots import BAD, INK, PALE, READ, TRUE, tidy
from templates.catalogue import Template
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS, STICKS, TRIGGER_SLICE, States
from templates.draw import draw_rgba

TRACE_S: Final = 10.0  # of the liveliest stretch that is drawn in time
REACH: Final = 8  # frames within which an onset is called late or early, else missed
MOMENTS: Final = 8
APART_S: Final = 0.5  # between two moments
PAD_WIDTH: Final = 420  # px
PAD_GROUND: Final = "#6d737b"  # both black and white lines show on it


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The readings of one video beside its log, and the controls that its overlay shows."""

    readings: Log
    truth: Log
    shown: tuple[str, ...]


def draw_plots(
    folder: Path,
    comparison: Comparison,
    offset: Offset | None,
    video: Path,
    placements: Sequence[dict[str, Any]],
    templates: Mapping[str, Template],
) -> list[Path]:
    """Write ``onsets.png``, ``worst.png`` and, for an overlay with sticks, ``sticks.png`` into ``folder``.

    placements: of the extraction's report, at least one. Returns what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    read = comparison.readings.at(comparison.truth.frame_index)
    title = folder.name
    if offset is not None and offset.frames:
        title += f" (the overlay lags {offset.frames} frames behind the log)"
    figures = {
        "onsets": plot_onsets(read, comparison.truth, comparison.shown, title),
        "worst": plot_worst(read, comparison.truth, comparison.shown, title, video, placements, templates),
    }
    if set(STICKS) & set(comparison.shown):
        figures["sticks"] = plot_sticks(read, comparison.truth, comparison.shown, title)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=100, facecolor="white")
    return written


def plot_sticks(read: Log, truth: Log, shown: Sequence[str], title: str) -> Figure:
    """Each axis of each shown stick: reading over truth, and both in time where the sticks move most.

    read, truth: logs of the same frames.
    """
    axes_shown = [(i, a) for i, name in enumerate(STICKS) if name in shown for a in range(len(AXES))]
    figure = Figure(figsize=(12, 0.7 + 2.5 * len(axes_shown)), layout="constrained")
    figure.suptitle(f"{title}: sticks", color=INK)
    panels = figure.subplots(len(axes_shown), 2, width_ratios=(1, 3.4), squeeze=False)
    rows = _liveliest(truth)
    for (scatter, trace), (i, a) in zip(panels, axes_shown, strict=True):
        name = f"{STICKS[i]} {AXES[a]}"
        true, found = truth.sticks[:, i, a], read.sticks[:, i, a]
        both = np.isfinite(true) & np.isfinite(found)
        scatter.plot([-1, 1], [-1, 1], color=PALE, linewidth=1)
        scatter.plot(true[both], found[both], ".", color=READ, markersize=3, alpha=0.3, markeredgewidth=0)
        scatter.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08), xlabel="truth", ylabel=f"{name}, read", aspect="equal")
        trace.plot(truth.time_s[rows], true[rows], color=TRUE, linewidth=2.2, alpha=0.6, label="truth")
        trace.plot(truth.time_s[rows], found[rows], color=READ, linewidth=1, label="read")
        trace.set(ylim=(-1.08, 1.08), ylabel=name)
        tidy(scatter, trace)
    panels[0, 1].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0)
    panels[-1, 1].set_xlabel("seconds, where the sticks move most")
    return figure


def plot_onsets(read: Log, truth: Log, shown: Sequence[str], title: str) -> Figure:
    """How many frames late presses and releases were read, over all shown buttons."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    figure.suptitle(f"{title}: onsets of all shown buttons", color=INK)
    panels = figure.subplots(1, 2, sharey=True)
    scored = scored_frames(truth)
    buttons = [BUTTON_INDEX[name] for name in shown if name in BUTTON_INDEX]
    for axes, name, find in zip(panels, ("press", "release"), (find_presses, find_releases), strict=True):
        errors = [
            pair_onsets(find(read.buttons[scored[:, i], i]), find(truth.buttons[scored[:, i], i]), REACH)
            for i in buttons
        ]
        _plot_lateness(axes, errors, name)
    panels[0].set_ylabel("count")
    return figure


def plot_worst(
    read: Log,
    truth: Log,
    shown: Sequence[str],
    title: str,
    video: Path,
    placements: Sequence[dict[str, Any]],
    templates: Mapping[str, Template],
) -> Figure:
    """The moments with the most and largest errors: the video's overlay, the reading and the truth."""
    rows = find_worst(read, truth, shown)
    places = [_placement_at(placements, float(truth.time_s[row])) for row in rows]
    crops = _crop_frames(video, truth.frame_index[rows].tolist(), [place["box"] for place in places])
    figure = Figure(figsize=(14, 0.6 + 2.3 * ((len(rows) + 1) // 2)), layout="constrained")
    figure.suptitle(f"{title}: worst moments, in order of time", color=INK)
    pairs = figure.subfigures(max((len(rows) + 1) // 2, 1), 2, hspace=0.04, wspace=0.02, squeeze=False)
    cells = pairs.ravel()
    for cell, row, place, crop in zip(cells, rows, places, crops, strict=False):  # an odd last cell stays empty
        # A layout that was fitted by hand draws nothing itself.
        template = templates.get(place["template"]) or choose_layout(
            templates.values(), place["family"], (place["box"][2], place["box"][3])
        )
        panels = cell.subplots(1, 3)
        pictures = (crop, *(draw_rgba(template, _states(log, row), PAD_WIDTH) for log in (read, truth)))
        for axes, picture, name in zip(panels, pictures, ("video", "read", "truth"), strict=True):
            axes.imshow(picture, interpolation="nearest" if name == "video" else "antialiased")
            axes.set(xticks=[], yticks=[], facecolor=PAD_GROUND, xlabel=name)
        errors = describe_errors(read, truth, shown, int(row))
        when = f"frame {truth.frame_index[row]}, {truth.time_s[row]:.2f} s"
        cell.suptitle(f"{when}\n{errors}", fontsize=9, color=INK if errors.startswith("all right") else BAD)
    return figure


def find_worst(read: Log, truth: Log, shown: Sequence[str]) -> np.ndarray:
    """Rows of the worst moments, at most 8 and half a second apart, in order of time.

    A wrong button weighs 1, as does a stick that is off by its whole way on one axis. Rows without a reading are no
    moments: there is nothing to look at.
    """
    wrong, error = find_wrong(read, truth, np.isin(CONTROLS, shown))
    badness = wrong.sum(axis=1) + np.abs(error).sum(axis=(1, 2))
    badness[~read.known.any(axis=1)] = -1
    chosen: list[int] = []
    while len(chosen) < MOMENTS and badness[row := int(np.argmax(badness))] >= 0:
        chosen.append(row)
        badness[np.abs(truth.time_s - truth.time_s[row]) < APART_S] = -1
    return np.array(sorted(chosen), np.int64)


def describe_errors(read: Log, truth: Log, shown: Sequence[str], row: int) -> str:
    """``reads south; misses east; j_left off by +0.31, -0.02``, or that nothing is far off."""
    wrong, error = find_wrong(read, truth, np.isin(CONTROLS, shown))
    named = [(name, read.buttons[row, i]) for i, name in enumerate(BUTTONS) if wrong[row, i]]
    parts = []
    if extra := [name for name, held in named if held]:
        parts.append(f"reads {', '.join(extra)}")
    if missed := [name for name, held in named if not held]:
        parts.append(f"misses {', '.join(missed)}")
    for name, (x, y) in zip(STICKS, error[row], strict=True):
        if max(abs(x), abs(y)) > STICK_RIGHT_WITHIN:
            parts.append(f"{name} off by {x:+.2f}, {y:+.2f}")
    return "; ".join(parts) or f"all right, sticks within {np.abs(error[row]).max():.2f}"


def _plot_lateness(axes: Axes, errors: Sequence[OnsetErrors], name: str) -> None:
    """Bars of early, exact and late onsets, and beside them of those without a partner."""
    late = np.array([frames for each in errors for frames in each.late], np.int64)
    missed, extra = (sum(getattr(each, kind) for each in errors) for kind in ("missed", "extra"))
    counts = [int((late == frames).sum()) for frames in range(-REACH, REACH + 1)]
    places = [*range(-REACH, REACH + 1), REACH + 2, REACH + 4]
    colours = [TRUE if frames == 0 else READ for frames in range(-REACH, REACH + 1)] + [BAD, BAD]
    bars = axes.bar(places, [*counts, missed, extra], color=colours)
    axes.bar_label(bars, labels=[str(count or "") for count in [*counts, missed, extra]], fontsize=8)
    ticks = [*range(-REACH, REACH + 1, 2)]
    names = [f"{frames:+d}" if frames else "0" for frames in ticks]
    axes.set_xticks([*ticks, REACH + 2, REACH + 4], [*names, "missed", "extra"])
    axes.set_title(f"{name}: {len(late) + missed} true, {len(late) + extra} read")
    axes.set_xlabel("frames late")
    tidy(axes)


def _liveliest(truth: Log) -> np.ndarray:
    """The rows of the ten seconds in which the sticks travel farthest."""
    steps = np.nan_to_num(np.abs(np.diff(truth.sticks, axis=0, prepend=truth.sticks[:1]))).sum(axis=(1, 2))
    travelled = steps.cumsum()
    ends = np.searchsorted(truth.time_s, truth.time_s + TRACE_S).clip(max=len(truth) - 1)
    start = int(np.argmax(travelled[ends] - travelled))
    return np.arange(start, ends[start] + 1)


def _placement_at(placements: Sequence[dict[str, Any]], time_s: float) -> dict[str, Any]:
    """The placement that covers a time, else the first."""
    return next((place for place in placements if place["start"] <= time_s < place["end"]), placements[0])


def _crop_frames(video: Path, frame_index: Sequence[int], boxes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The overlay and a margin, of increasing frames: (h, w, 3) uint8 RGB each; fewer where the video ends earlier."""
    crops: list[np.ndarray] = []
    for frame in read_frames(video):
        if len(crops) == len(frame_index):
            break
        if frame.index == frame_index[len(crops)]:
            crops.append(frame.crop_around(boxes[len(crops)]))
    return crops


def _states(log: Log, row: int) -> States:
    """One row to draw; what is unknown is drawn at rest, and a trigger whose travel is not logged all the way."""
    held = log.buttons[[row], TRIGGER_SLICE].astype(np.float32)
    travel = log.triggers[[row]].astype(np.float32)
    return States(
        log.buttons[[row]],
        np.nan_to_num(log.sticks[[row]]).astype(np.float32),
        np.where(np.isfinite(travel), travel, held),
    )
