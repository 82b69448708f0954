"""What a dataset holds as pictures, one for each question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from padtrace.stats import BINS, Share, Stats
from templates.controls import BUTTONS, STICKS

INK, PALE, READ, TRUE, BAD = "#202328", "#d7dade", "#d1495b", "#30638e", "#a61e2e"
MOST_ROWS: Final = 20  # of a group; the rest is one row


def draw_plots(folder: Path, stats: Stats) -> list[Path]:
    """Write the pictures into ``folder``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "hours": plot_hours(stats),
        "buttons": plot_buttons(stats),
        "sticks": plot_sticks(stats),
        "density": plot_parts(stats.density, "frames of a chunk that hold an action", "decoded chunks", TRUE),
        "confidence": plot_parts(stats.confidence, "confidence", "kept frames", READ),
        "rejects": plot_rejects(stats),
    }
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=100, facecolor="white")
    return written


def plot_hours(stats: Stats) -> Figure:
    """Listed, decoded and kept hours, and the last two by game, channel and family."""
    groups = {"game": stats.games, "channel": stats.channels, "family": stats.families}
    heights = [3, *(min(len(shares), MOST_ROWS + 1) or 1 for shares in groups.values())]
    figure = Figure(figsize=(10, 2.4 + 0.3 * sum(heights)), layout="constrained")
    figure.suptitle("Hours", color=INK)
    panels = figure.subplots(len(heights), 1, height_ratios=[height + 1 for height in heights])
    totals = {"listed": stats.hours_listed, "decoded": stats.hours_decoded, "kept": stats.hours_kept}
    bars = panels[0].barh(list(totals), list(totals.values()), color=[PALE, TRUE, READ])
    panels[0].bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    panels[0].invert_yaxis()
    tidy(panels[0])
    for axes, (name, shares) in zip(panels[1:], groups.items(), strict=True):
        _plot_shares(axes, shares)
        axes.set_title(f"by {name}: decoded, and of these kept", fontsize=9, loc="left", color=INK)
    return figure


def plot_buttons(stats: Stats) -> Figure:
    """How much of the time each button is held, and how often it goes down."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    figure.suptitle("Buttons in kept frames", color=INK)
    panels = figure.subplots(1, 2, sharey=True)
    uses = [stats.controls[name] for name in BUTTONS]
    names = [name if use.hours_known else f"{name} (never shown)" for name, use in zip(BUTTONS, uses, strict=True)]
    held = panels[0].barh(names, [100 * use.share for use in uses], color=TRUE)
    pressed = panels[1].barh(names, [use.per_minute for use in uses], color=READ)
    for axes, bars, title in zip(panels, (held, pressed), ("held, % of the time", "presses a minute"), strict=True):
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.set_title(title, fontsize=9, color=INK)
        tidy(axes)
    panels[0].invert_yaxis()
    return figure


def plot_sticks(stats: Stats) -> Figure:
    """Where the sticks stand, darker where they are more often; the counts are drawn as logarithms."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    figure.suptitle("Sticks in kept frames, logarithm of the frames", color=INK)
    for axes, name in zip(figure.subplots(1, 2), STICKS, strict=True):
        use = stats.controls[name]
        axes.imshow(np.log1p(stats.stick_grids[name]), extent=(-1, 1, 1, -1), cmap="Blues", interpolation="nearest")
        title = f"off centre {use.share:.0%} of the time" if use.hours_known else "never shown"
        axes.set_title(f"{name}: {title}", fontsize=9, color=INK)
        axes.set(xlabel="x, right is +", ylabel="y, up is -")
        tidy(axes)
    return figure


def plot_parts(counts: np.ndarray, along: str, what: str, colour: str) -> Figure:
    """A histogram over [0, 1]."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar((np.arange(BINS) + 0.5) / BINS, counts, width=0.9 / BINS, color=colour)
    axes.set(xlim=(0, 1), xlabel=along, ylabel=what)
    tidy(axes)
    return figure


def plot_rejects(stats: Stats) -> Figure:
    """Hours that were dropped, and listed videos that never came to it, by reason."""
    figure = Figure(figsize=(10, 1.6 + 0.3 * (len(stats.rejects) + len(stats.dropped))), layout="constrained")
    panels = figure.subplots(1, 2)
    _plot_counts(panels[0], {reason: loss.hours for reason, loss in stats.rejects.items()}, "hours dropped", "%.2f")
    _plot_counts(panels[1], dict(stats.dropped), "listed videos that are not here", "%d")
    return figure


def tidy(*panels: Axes) -> None:
    """Take away the frame's right and upper line."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)


def _plot_shares(axes: Axes, shares: dict[str, Share]) -> None:
    rows = largest(shares)
    names = [_shorten(name) for name, _ in rows]
    axes.barh(names, [share.hours_decoded for _, share in rows], color=PALE)
    bars = axes.barh(names, [share.hours_kept for _, share in rows], color=READ)
    axes.bar_label(bars, [f"{share.hours_kept:.2f}" for _, share in rows], padding=3, fontsize=8)
    axes.invert_yaxis()
    tidy(axes)


def _plot_counts(axes: Axes, counts: dict[str, float] | dict[str, int], title: str, form: str) -> None:
    axes.set_title(title, fontsize=9, color=INK)
    bars = axes.barh([_shorten(name) for name in counts], list(counts.values()), color=BAD)
    axes.bar_label(bars, fmt=form, padding=3, fontsize=8)
    if not counts:
        axes.set(xticks=[], yticks=[], xlabel="none")
    axes.invert_yaxis()
    tidy(axes)


def largest(shares: dict[str, Share]) -> Sequence[tuple[str, Share]]:
    """By kept hours, the 20 largest, and all others together as one."""
    rows = sorted(shares.items(), key=lambda row: (-row[1].hours_kept, -row[1].hours_decoded, row[0]))
    if len(rows) <= MOST_ROWS + 1:
        return rows
    rest = [share for _, share in rows[MOST_ROWS:]]
    others = Share(
        sum(share.videos for share in rest),
        sum(share.hours_decoded for share in rest),
        sum(share.hours_kept for share in rest),
    )
    return [*rows[:MOST_ROWS], (f"{len(rest)} others", others)]


def _shorten(name: str) -> str:
    """A name from outside: short, and without matplotlib's own markup."""
    short = name if len(name) <= 40 else f"{name[:39]}…"
    return short.replace("$", r"\$")
