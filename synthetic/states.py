"""What hands do on a pad: sequences of controller states, and pairs of neighbouring states for training."""

from __future__ import annotations

from typing import Final

import numpy as np

from templates.controls import BUTTON_INDEX, BUTTONS, DPAD, TRIGGER_PRESSED_FROM, TRIGGER_SLICE, States

# How often each button is pressed, relative to the face buttons.
_WEIGHTS: Final = {"guide": 0.08, "back": 0.15, "start": 0.2, "left_thumb": 0.35, "right_thumb": 0.35}


def draw_states(rng: np.random.Generator, length: int, fps: float = 60.0) -> States:
    """``length`` consecutive states at ``fps``, as a person plays: some sequences busy, most calm."""
    if length < 1 or fps <= 0:
        raise ValueError(f"expected at least one state and a positive frame rate, found {length} at {fps}")
    busy = np.exp(rng.normal(0, 0.6))  # this player's tempo
    sticks = np.stack([_draw_stick(rng, length, fps, busy) for _ in range(2)], axis=1)
    buttons = np.stack([_draw_button(rng, length, fps, busy * _WEIGHTS.get(name, 1.0)) for name in BUTTONS], axis=1)
    buttons = _without_opposites(_with_chords(rng, buttons))
    triggers = np.stack([_draw_trigger(rng, length, fps, busy) for _ in range(2)], axis=1)
    buttons[:, TRIGGER_SLICE] = triggers >= TRIGGER_PRESSED_FROM
    return States(buttons, sticks, triggers)


def draw_state_pairs(rng: np.random.Generator, count: int) -> tuple[States, States]:
    """``count`` independent pairs (previous frame, current frame), 1/60 or 1/30 s apart.

    Far busier than play, so that a parser sees every control in every state: most pairs hold three or
    four buttons, some none or nearly all, and in about one pair of three something changes.
    """
    rate = rng.beta(1.1, 4.4, (count, 1))  # of this pair; 0.2 in the mean
    rate[rng.random(count) < 0.08] = 0.0
    weights = np.array([max(_WEIGHTS.get(name, 1.0), 0.5) for name in BUTTONS])
    current = rng.random((count, len(BUTTONS))) < rate * weights
    lively = rng.random((count, 1)) < 0.5
    changed = rng.random((count, len(BUTTONS))) < np.where(lively, rng.choice([0.03, 0.2], (count, 1)), 0.0)
    # Whatever changes is as often a press as a release.
    current = np.where(changed, rng.random(changed.shape) < 0.5, current)
    current = _without_opposites(current)
    previous = _without_opposites(current ^ changed)
    now, before = _draw_trigger_pairs(rng, current[:, TRIGGER_SLICE], previous[:, TRIGGER_SLICE])
    current[:, TRIGGER_SLICE], previous[:, TRIGGER_SLICE] = now >= 0.5, before >= 0.5
    sticks_now, sticks_before = _draw_stick_pairs(rng, count)
    return States(previous, sticks_before, before), States(current, sticks_now, now)


def draw_rest_states(rng: np.random.Generator, count: int) -> States:
    """What the medians of ``count`` videos show: everything at rest, mostly.

    A button that is held half of the time is held in the median too, a stick that is pushed half of the time
    stands where it is pushed to, and the median of a short video is no better than one of its frames.
    """
    buttons = rng.random((count, len(BUTTONS))) < np.where(rng.random((count, 1)) < 0.05, 0.2, 0.015)
    triggers = np.where(buttons[:, TRIGGER_SLICE], rng.uniform(TRIGGER_PRESSED_FROM, 1, (count, 2)), 0.0)
    pushed = rng.random((count, 2, 1)) < 0.12
    aims = np.stack([_draw_aims(rng, count) for _ in range(2)], 1)
    sticks = np.where(pushed, aims, rng.normal(0, 0.02, (count, 2, 2)))
    sticks = _within_gate(sticks.reshape(-1, 2), np.zeros(2 * count, bool)).reshape(count, 2, 2)
    return States(_without_opposites(buttons), sticks, triggers.astype(np.float32))


def _draw_stick(rng: np.random.Generator, length: int, fps: float, busy: float) -> np.ndarray:
    """(length, 2) float32 in [-1, 1]: targets held, reached by ramps; circles; drift at neutral."""
    count = int(length / fps * 6 * max(busy, 1)) + 8
    at_rest = rng.random(count) < rng.uniform(0.25, 0.6)
    hold = np.exp(rng.normal(np.log(0.35 / busy), 0.8, count))
    ramp = rng.uniform(0.03, 0.15, count)
    flick = rng.random(count) < 0.2
    hold[flick], ramp[flick] = rng.uniform(0.02, 0.06, flick.sum()), rng.uniform(0.015, 0.04, flick.sum())
    spin = np.where(rng.random(count) < 0.12, rng.normal(0, 9, count), 0.0)  # rad/s while held
    hold[spin != 0] += 0.4
    aim = _draw_aims(rng, count)
    aim[at_rest] = 0
    span = ramp + hold
    ends = np.cumsum(span) * max(1.0, length / fps / span.sum())
    starts = np.concatenate([[0.0], ends[:-1]])
    time = np.arange(length) / fps
    k = np.searchsorted(ends, time, side="right").clip(max=count - 1)
    into = time - starts[k]
    part = (into / ramp[k]).clip(0, 1)
    part = part * part * (3 - 2 * part)
    turned = _rotate(aim[k], spin[k] * (into - ramp[k]).clip(min=0))
    last = _rotate(aim, spin * (ends - starts - ramp))  # where each hold ends
    origin = np.concatenate([np.zeros((1, 2)), last[:-1]])[k]
    drift = rng.normal(0, 0.02) * _wander(rng, length, fps)
    offset = rng.normal(0, 0.02, 2)
    place = origin + (turned - origin) * part[:, None] + drift + offset
    place = np.where(np.hypot(*place.T)[:, None] < rng.choice([0.0, 0.08]), 0.0, place)  # some pads have a dead zone
    return _within_gate(place, np.full(length, rng.random() < 0.2))


def _draw_aims(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 2) targets, mostly at full tilt and mostly in one of eight directions; may exceed the gate."""
    angle = rng.uniform(-np.pi, np.pi, count)
    eighth = np.round(angle / (np.pi / 4)) * (np.pi / 4) + rng.normal(0, 0.06, count)
    angle = np.where(rng.random(count) < 0.65, eighth, angle)
    tilt = np.where(rng.random(count) < 0.6, rng.uniform(0.97, 1.35, count), rng.uniform(0.1, 1.0, count))
    return np.stack([tilt * np.cos(angle), tilt * np.sin(angle)], axis=1)


def _within_gate(place: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Clip (N, 2) places to the unit circle, or to the unit square where ``square``."""
    radius = np.hypot(place[:, 0], place[:, 1])
    circle = place / np.maximum(radius, 1.0)[:, None]
    return np.where(square[:, None], place, circle).clip(-1, 1).astype(np.float32)


def _rotate(place: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * place[:, 0] - sin * place[:, 1], sin * place[:, 0] + cos * place[:, 1]], axis=1)


def _wander(rng: np.random.Generator, length: int, fps: float) -> np.ndarray:
    """(length, 2) slow noise of about unit size."""
    knots = int(length / fps * 3) + 2
    at = np.linspace(0, knots - 1, length)
    return np.stack([np.interp(at, np.arange(knots), rng.normal(0, 1, knots)) for _ in range(2)], axis=1)


def _draw_button(rng: np.random.Generator, length: int, fps: float, busy: float) -> np.ndarray:
    """(length,) bool: presses of 30 ms to several seconds, some in quick bursts; about 5 % at ``busy`` 1."""
    typical = np.exp(rng.normal(np.log(0.12), 0.5))  # this button's usual press, s
    idle = typical * 1.6 / (0.05 * busy * np.exp(rng.normal(0, 0.5)))  # usual gap, s
    count = int(length / fps * 10) + 8
    press = np.exp(rng.normal(np.log(typical), 0.7, count)).clip(0.03, 6)
    gap = rng.exponential(idle, count)
    # A tap that goes on: bursts of six presses or so, eight a second.
    burst = _runs(rng, count, start=0.06, stop=0.16)
    press[burst], gap[burst] = rng.uniform(0.035, 0.09, burst.sum()), rng.uniform(0.04, 0.1, burst.sum())
    edges = np.cumsum(np.stack([gap, press], axis=1).ravel()) - rng.uniform(0, idle)
    passed = np.searchsorted(edges, np.arange(length) / fps, side="right")
    return np.asarray(passed % 2 == 1)


def _runs(rng: np.random.Generator, count: int, start: float, stop: float) -> np.ndarray:
    """(count,) bool in runs: the latest event before each place was a start."""
    event = rng.random(count)
    kind = np.where(event < start, 1, np.where(event < start + stop, 0, -1))
    latest = np.maximum.accumulate(np.where(kind >= 0, np.arange(count), 0))
    return np.asarray(kind[latest] == 1)


def _with_chords(rng: np.random.Generator, buttons: np.ndarray) -> np.ndarray:
    """Some pairs of buttons are always pressed together in a stretch of the sequence."""
    length, count = buttons.shape
    buttons = buttons.copy()
    for _ in range(rng.integers(0, 4)):
        first, second = rng.choice(count - 3, 2, replace=False)  # not start, back, guide
        begin = int(rng.integers(length))
        stretch = slice(begin, begin + length // 3 + 1)
        buttons[stretch, second] |= buttons[stretch, first]
    return buttons


def _without_opposites(buttons: np.ndarray) -> np.ndarray:
    """A d-pad rocks: up rules out down, left rules out right."""
    buttons = buttons.copy()
    up, down, left, right = (BUTTON_INDEX[name] for name in DPAD)
    buttons[:, down] &= ~buttons[:, up]
    buttons[:, right] &= ~buttons[:, left]
    return buttons


def _draw_trigger(rng: np.random.Generator, length: int, fps: float, busy: float) -> np.ndarray:
    """(length,) float32 travel: a press of a button, ramped, sometimes held part-way."""
    held = _draw_button(rng, length, fps, busy * 1.5)
    began = np.flatnonzero(held & ~np.concatenate([[False], held[:-1]]))
    depth = np.where(rng.random(len(began) + 1) < 0.75, 1.0, rng.uniform(0.1, 1.0, len(began) + 1))
    target = np.where(held, depth[np.searchsorted(began, np.arange(length), side="right")], 0.0)
    ramp = max(1, round(rng.uniform(0.01, 0.08) * fps))  # frames from one end to the other
    return (
        np.convolve(np.pad(target, (ramp - 1, 0), mode="edge"), np.full(ramp, 1 / ramp), "valid")
        .clip(0, 1)
        .astype(np.float32)
    )


def _draw_trigger_pairs(rng: np.random.Generator, now: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(count, 2) float32 travels for pressed or not: at an end mostly, part-way in about one of eight."""
    partial = rng.random(now.shape) < 0.12
    anywhere = rng.random(now.shape)
    step = rng.normal(0, 0.15, now.shape) * (rng.random(now.shape) < 0.5)
    travel_now = np.where(partial, anywhere, now)
    travel_before = np.where(partial, anywhere + step, before)
    return travel_now.astype(np.float32), travel_before.clip(0, 1).astype(np.float32)


def _draw_stick_pairs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 2, 2) float32 places now and one frame before; both at rest, resting-near or tilted."""
    size = count * 2
    aim = _draw_aims(rng, size)
    at_rest = rng.random(size) < 0.2
    aim[at_rest] = rng.normal(0, 0.03, (at_rest.sum(), 2)) * (rng.random((at_rest.sum(), 1)) < 0.5)
    square = rng.random(size) < 0.15
    now = _within_gate(aim, square)
    kind = rng.random(size)
    moving = np.where(rng.random((size, 1)) < 0.5, rng.normal(0, 0.12, (size, 2)), _draw_aims(rng, size) - now)
    moving *= rng.random((size, 1))
    jitter = rng.normal(0, 0.008, (size, 2))
    shift = np.where(kind[:, None] < 0.5, 0.0, np.where(kind[:, None] < 0.65, jitter, moving))
    before = _within_gate(now + shift, square)
    return now.reshape(count, 2, 2), before.reshape(count, 2, 2)
