"""Pictures that look like pads and are none: a shaded pad in a menu, touch buttons, a HUD with round icons.

Whole-screen pictures to lay over a game. Nothing on them is ever pressed; the game goes on behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from templates.draw import render_svg

KINDS: Final = ("menu", "touch", "hud")

_PAD: Final = (800, 560)
_LETTERS: Final = {"A": "M-12 14L0-16L12 14M-7 4H7", "B": "M-9-15V15H3A8 8 0 0 0 3 0H-9H2A7 7 0 0 0 2-15Z",
                   "X": "M-10-14L10 14M10-14L-10 14", "Y": "M-11-15L0 0L11-15M0 0V15"}  # fmt: skip
_SHAPES: Final = {"A": "M-11-11L11 11M11-11L-11 11", "B": "M-13 0A13 13 0 1 0 13 0A13 13 0 1 0-13 0",
                  "X": "M-11-11H11V11H-11Z", "Y": "M-13 10L0-13L13 10Z"}  # fmt: skip
_FACE: Final = {"A": (0, 1), "B": (1, 0), "X": (-1, 0), "Y": (0, -1)}
_WORDS: Final = ("JUMP", "ATTACK", "BLOCK", "MOVE", "CAMERA", "PAUSE", "DASH", "ITEM", "MAP", "USE")


def draw_lookalike(rng: np.random.Generator, kind: str, size_wh: tuple[int, int]) -> np.ndarray:
    """A random picture of one of KINDS: (H, W, 4) uint8 RGBA, straight alpha."""
    return _PAINTERS[kind](rng, size_wh)


def _menu(rng: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    """A page of controls: a photo-like pad in the middle, its buttons named; the game is dimmed or hidden."""
    width, height = size_wh
    screen = np.zeros((height, width, 4), np.uint8)
    screen[..., :3] = rng.integers(5, 60, 3)
    screen[..., 3] = rng.choice([255, 215, 165])
    pad_width = int(rng.uniform(0.16, 0.42) * width)
    pad = _photograph(rng, pad_width)
    x, y = (width - pad.shape[1]) // 2, int(rng.uniform(0.3, 0.6) * (height - pad.shape[0]))
    _lay(screen, pad, x, y)
    ink = (*(int(v) for v in rng.integers(150, 256, 3)), 255)
    cv2.putText(screen, "CONTROLS", (60, 90), cv2.FONT_HERSHEY_DUPLEX, 1.6, ink, 3, cv2.LINE_AA)
    for i, word in enumerate(rng.permutation(_WORDS)[:8]):
        row, side = divmod(i, 2)
        at = (x - 200 if side == 0 else x + pad.shape[1] + 40, y + 30 + row * max(30, pad.shape[0] // 5))
        cv2.putText(screen, str(word), at, cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2, cv2.LINE_AA)
        end = (x + int(rng.uniform(0.15, 0.85) * pad.shape[1]), y + int(rng.uniform(0.2, 0.6) * pad.shape[0]))
        cv2.line(screen, (at[0] + (130 if side == 0 else -8), at[1] - 8), end, ink, 1, cv2.LINE_AA)
    return screen


def _touch(rng: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    """Buttons to touch, as a phone's emulator shows them: a d-pad or a stick left, round buttons right."""
    width, height = size_wh
    r = int(rng.uniform(0.045, 0.09) * height)
    alpha = round(float(rng.uniform(0.3, 0.9)), 2)
    fill, ink = _colour(rng, 20, 120), _colour(rng, 170, 256)
    left, right = (4 * r, height - 5 * r), (width - 4 * r, height - 5 * r)
    shapes = [_cross(left, r, fill, ink) if rng.random() < 0.5 else _knob(left, 2 * r, fill, ink)]
    signs = _LETTERS if rng.random() < 0.5 else _SHAPES
    for name, (dx, dy) in _FACE.items():
        at = (right[0] + 1.9 * r * dx, right[1] + 1.9 * r * dy)
        shapes.append(_round_button(at, r, fill, ink, signs[name]))
    for middle in (3 * r, width - 3 * r):
        shapes.append(_bar(middle - 2 * r, r, 4 * r, 1.3 * r, fill, ink))
    for start in (width / 2 - 2.2 * r, width / 2 + 0.4 * r):
        shapes.append(_bar(start, height - 1.5 * r, 1.8 * r, 0.8 * r, fill, ink))
    return render_svg(f'<g opacity="{alpha}">{"".join(shapes)}</g>', (0, 0, width, height), size_wh)


def _hud(rng: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    """Bars, a round map, and round icons of abilities in a row or a diamond, each named by a button's letter."""
    width, height = size_wh
    r = int(rng.uniform(0.025, 0.06) * height)
    signs = _LETTERS if rng.random() < 0.7 else _SHAPES
    corner = (width - 5 * r, height - 5 * r)
    shapes = []
    for i, (name, (dx, dy)) in enumerate(_FACE.items()):
        at = (corner[0] + 2.3 * r * dx, corner[1] + 2.3 * r * dy)
        if rng.random() < 0.3:
            at = (corner[0] - 2.6 * r * i, corner[1] + 2 * r)
        shapes.append(_round_button(at, r, _colour(rng, 20, 200), _colour(rng, 170, 256), signs[name]))
    map_r = int(rng.uniform(2, 3.5) * r)
    shapes.append(_knob((map_r + 30, height - map_r - 30), map_r, _colour(rng, 10, 90), _colour(rng, 170, 256)))
    shapes.append(_cross((map_r + 30, height - map_r - 30), r * 0.6, _colour(rng, 90, 200), _colour(rng, 170, 256)))
    for row in range(int(rng.integers(1, 4))):
        shapes.append(_bar(30, 30 + 28 * row, rng.uniform(120, 320), 18, _colour(rng, 60, 256), "#111"))
    for i in range(int(rng.integers(3, 9))):  # hearts, coins
        shapes.append(_round_button((width - 40 - 44 * i, 44), 17, _colour(rng, 60, 256), "#fff", ""))
    return render_svg("".join(shapes), (0, 0, width, height), size_wh)


def _photograph(rng: np.random.Generator, width: int) -> np.ndarray:
    """A pad as a photo shows it: shaded, lit from one side, a little from above, with grain: (h, width, 4)."""
    dark, light = (20, 70) if rng.random() < 0.6 else (150, 235)
    body, key = _colour(rng, dark, light), _colour(rng, 25, 60)
    low_left = rng.random() < 0.5  # sticks side by side, or one above the d-pad
    jitter = rng.uniform(-12, 12, (6, 2))
    stick, pad = ((285, 335), (175, 225)) if low_left else ((190, 225), (290, 335))
    places = [np.array(at) + move for at, move in zip((stick, (515, 335), pad, (630, 225)), jitter, strict=False)]
    grip, waist = rng.uniform(470, 540), rng.uniform(360, 430)
    signs = _LETTERS if rng.random() < 0.5 else _SHAPES
    parts = [
        f'<path d="M150 95Q400 {rng.uniform(80, 130):.0f} 650 95Q740 110 785 {grip - 60:.0f}Q765 {grip:.0f} 690 '
        f"{grip:.0f}Q620 {waist:.0f} 400 {waist:.0f}Q180 {waist:.0f} 110 {grip:.0f}Q35 {grip:.0f} 15 {grip - 60:.0f}"
        f'Q60 110 150 95Z" fill="url(#body)" stroke="#0008" stroke-width="5"/>',
        *(f'<rect x="{x}" y="52" width="150" height="52" rx="24" fill="url(#key)"/>' for x in (120, 530)),
        _cross(places[2], 34, "url(#key)", "#0009"),
        *(_shaded_stick(place) for place in places[:2]),
        *(
            _round_button(places[3] + 62 * np.array(way), 29, "url(#key)", _colour(rng, 140, 256), signs[name])
            for name, way in _FACE.items()
        ),
        *(f'<ellipse cx="{x}" cy="215" rx="18" ry="11" fill="url(#key)"/>' for x in (345, 455)),
    ]
    defs = (
        f'<defs><linearGradient id="body" x2="{rng.uniform(-0.5, 0.5):.2f}" y2="1"><stop stop-color="#ddd"/>'
        f'<stop offset=".25" stop-color="{body}"/><stop offset="1" stop-color="#080808"/></linearGradient>'
        f'<radialGradient id="key" cx=".4" cy=".3" r=".8"><stop stop-color="#999"/><stop offset=".5" '
        f'stop-color="{key}"/><stop offset="1" stop-color="#050505"/></radialGradient></defs>'
    )
    height = round(width * _PAD[1] / _PAD[0])
    rgba = render_svg(defs + "".join(parts), (0, 0, *_PAD), (width, height)).astype(np.float32)
    rgba[..., :3] += rng.normal(0, 6, (height, width, 1))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    tilt = rng.uniform(0, 0.09) * width
    seen = corners + np.array([[tilt, tilt], [-tilt, tilt], [0, 0], [0, 0]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, seen)
    return np.asarray(cv2.warpPerspective(rgba.clip(0, 255).astype(np.uint8), matrix, (width, height)))


def _shaded_stick(at: np.ndarray) -> str:
    x, y = at
    rings = ((66, "#0a0a0a"), (54, "url(#key)"), (38, "#1a1a1a"), (34, "url(#key)"))
    return "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r}" fill="{fill}"/>' for r, fill in rings)


def _round_button(at: tuple[float, float] | np.ndarray, r: float, fill: str, ink: str, sign: str) -> str:
    """A disc with a sign on it; signs are drawn for a radius of 29."""
    x, y = at
    return (
        f'<g transform="translate({x:.1f} {y:.1f}) scale({r / 29:.3f})"><circle r="29" fill="{fill}" stroke="{ink}" '
        f'stroke-width="3"/><path d="{sign or "M0 0"}" fill="none" stroke="{ink}" stroke-width="5"/></g>'
    )


def _bar(x: float, y: float, width: float, height: float, fill: str, ink: str) -> str:
    """A rectangle with rounded corners."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{0.35 * height:.1f}" '
        f'fill="{fill}" stroke="{ink}" stroke-width="3"/>'
    )


def _cross(at: tuple[float, float] | np.ndarray, r: float, fill: str, ink: str) -> str:
    """A d-pad with arms ``2 r`` wide."""
    x, y = at
    return (
        f'<path transform="translate({x:.1f} {y:.1f}) scale({r:.2f})" d="M-1-3H1V-1H3V1H1V3H-1V1H-3V-1H-1Z" '
        f'fill="{fill}" stroke="{ink}" stroke-width=".12"/>'
    )


def _knob(at: tuple[float, float], r: float, fill: str, ink: str) -> str:
    """A ring with a disc in it."""
    x, y = at
    return (
        f'<circle cx="{x}" cy="{y}" r="{r}" fill="{fill}" fill-opacity=".5" stroke="{ink}" stroke-width="4"/>'
        f'<circle cx="{x}" cy="{y}" r="{0.45 * r}" fill="{fill}" stroke="{ink}" stroke-width="3"/>'
    )


def _colour(rng: np.random.Generator, low: int, high: int) -> str:
    return "rgb({},{},{})".format(*rng.integers(low, high, 3))


def _lay(screen: np.ndarray, picture: np.ndarray, x: int, y: int) -> None:
    """Paint an RGBA picture onto an RGBA screen whose own alpha grows with it."""
    height, width = picture.shape[:2]
    window = screen[y : y + height, x : x + width]
    alpha = picture[..., 3:].astype(np.float32) / 255
    colour = window[..., :3] * (1 - alpha) + picture[..., :3] * alpha
    window[:] = np.concatenate([colour, np.maximum(window[..., 3:], picture[..., 3:])], -1).astype(np.uint8)


_PAINTERS: Final[dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]]] = {
    "menu": _menu,
    "touch": _touch,
    "hud": _hud,
}
