"""SVG markup as text: style sheets cut to what a drawing needs, and the box that a drawing covers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

import cv2
import numpy as np
import resvg_py

from templates.scene import Box

SVG = "{http://www.w3.org/2000/svg}"

# The hueRotate matrices of SVG's feColorMatrix: a turn keeps a colour's luminance.
_LUMINANCE = np.array([0.213, 0.715, 0.072])
_QUARTER_TURN = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a style sheet.

    needs: for each of its selectors, the classes without which it picks nothing.
    stroke: its stroke width in canvas units, 0 where it sets none.
    """

    text: str
    needs: tuple[frozenset[str], ...]
    stroke: float

    def serves(self, classes: frozenset[str]) -> bool:
        return any(selector <= classes for selector in self.needs)


def read_rules(css: str) -> tuple[Rule, ...]:
    """The rules of a style sheet that selects by class alone."""
    return tuple(map(_read_rule, re.findall(r"[^{}]+{[^{}]*}", css)))


def style_of(rules: Iterable[Rule], classes: frozenset[str]) -> str:
    """A <style> element with the rules that markup with these classes can use."""
    return f"<style>{''.join(rule.text for rule in rules if rule.serves(classes))}</style>"


def reach_of(rules: Iterable[Rule], classes: frozenset[str]) -> float:
    """How far strokes reach beyond shapes of these classes: half the widest, in canvas units."""
    return max((rule.stroke / 2 for rule in rules if rule.serves(classes)), default=0.0)


def classes_of(markup: str) -> frozenset[str]:
    """Every class that markup names."""
    return frozenset(" ".join(re.findall(r'class="([^"]*)"', markup)).split())


def turn_hues(css: str, degrees: float) -> str:
    """A style sheet with every #rrggbb turned about the grey axis; the brightness of each stays as it is."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    grey = np.tile(_LUMINANCE, (3, 1))
    turn = grey + cosine * (np.eye(3) - grey) + sine * _QUARTER_TURN

    def turned(colour: re.Match[str]) -> str:
        rgb = turn @ np.frombuffer(bytes.fromhex(colour[1]), np.uint8)
        return "#" + bytes(rgb.round().clip(0, 255).astype(np.uint8)).hex()

    return re.sub(r"#([0-9a-fA-F]{6})\b", turned, css)


def text_of(element: ElementTree.Element) -> str:
    """An element as text without the namespace, which the outer <svg> sets."""
    element.tail = None
    for node in element.iter():
        node.tag = node.tag.removeprefix(SVG)
    return ElementTree.tostring(element, encoding="unicode")


def covered_box(markup: str, canvas: tuple[float, float]) -> Box:
    """The box around the shapes of markup on a canvas, exact to two canvas units; lines count as hairlines."""
    markup = f"<style>* {{ stroke: #000; stroke-width: 1 }}</style>{markup}"
    coarse = _covered(markup, (0, 0, *canvas), 0.1)
    spare = 10  # one pixel of the coarse look
    x, y, w, h = coarse[0] - spare, coarse[1] - spare, coarse[2] + 2 * spare, coarse[3] + 2 * spare
    return _covered(markup, (x, y, w, h), 0.5)


def _read_rule(text: str) -> Rule:
    selectors, _, declarations = text.strip().partition("{")
    stroke = re.search(r"stroke-width:\s*([\d.]+)", declarations)
    needs = tuple(frozenset(re.findall(r"\.([\w-]+)", selector)) for selector in selectors.split(","))
    return Rule(" ".join(text.split()), needs, float(stroke[1]) if stroke else 0.0)


def _covered(markup: str, window: Box, scale: float) -> Box:
    """The box, in canvas units, of what markup paints within a window; looked at with ``scale`` px per unit."""
    x, y, w, h = window
    png = resvg_py.svg_to_bytes(
        svg_string=f'<svg xmlns="http://www.w3.org/2000/svg" width="{w * scale}" height="{h * scale}" '
        f'viewBox="{x} {y} {w} {h}">{markup}</svg>',
        skip_system_fonts=True,
    )
    alpha = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))[..., 3]
    left, top, width, height = (side / scale for side in cv2.boundingRect(alpha))
    return (x + left, y + top, width, height)
