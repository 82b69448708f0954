"""The part of CSS that controller skins use: which declaration wins for an element, and what lengths come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tinycss2
import tinycss2.color4
from cssselect2 import ElementWrapper, Matcher, SelectorError, compile_selector_list

from templates.catalogue import TemplateError

MAX_SELECTORS: Final = 3000  # the largest known skin has 150
MAX_NESTING: Final = 20  # of brackets; the parsers below recurse

Token = Any  # a node of tinycss2, which publishes no types
Rgba = tuple[float, float, float, float]  # straight alpha, each in [0, 1]

_PX: Final = {
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "in": 96.0,
    "cm": 96 / 2.54,
    "mm": 9.6 / 2.54,
    "em": 16.0,
    "rem": 16.0,
}
_DEGREES: Final = {"deg": 1.0, "rad": 180 / math.pi, "grad": 0.9, "turn": 360.0}
_SIDES: Final = ("top", "right", "bottom", "left")
_EDGES: Final = {"left": 0.0, "top": 0.0, "center": 0.5, "right": 1.0, "bottom": 1.0}
_PLACES: Final = (*_EDGES, "cover", "contain", "auto")
_REPEATS: Final = ("repeat", "no-repeat", "repeat-x", "repeat-y", "round", "space")
_VENDORS: Final = ("-webkit-", "-moz-", "-ms-", "-o-")
_BACKGROUND: Final = ("color", "image", "position-x", "position-y", "size", "repeat")


@dataclass(frozen=True, slots=True)
class Value:
    """What one property is set to; ``base`` is the folder, below the skin's own, that its url()s start from."""

    tokens: tuple[Token, ...]
    base: str = ""

    @property
    def words(self) -> list[str]:
        """The keywords, in lower case."""
        return [token.lower_value for token in self.tokens if token.type == "ident"]

    @property
    def word(self) -> str:
        """The first keyword; empty where there is none."""
        return next(iter(self.words), "")

    @property
    def css(self) -> str:
        return " ".join(token.serialize() for token in self.tokens)


Style = Mapping[str, Value]
NONE: Final = Value(())


@dataclass(frozen=True, slots=True)
class _Declaration:
    name: str
    value: Value
    important: bool


class Sheet:
    """The rules of one or more style sheets. Among equally specific ones the later wins."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._matcher = Matcher()
        self._selectors = 0

    def add(self, css: str, base: str = "") -> None:
        """Append a style sheet that lies in the folder ``base`` of the skin.

        As in a browser, what is not CSS is passed over. Raises TemplateError where there are too many selectors
        or brackets nest too deep.
        """
        _check_nesting(css)
        for rule in tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True):
            if rule.type == "at-rule":
                self.notes.append(f"@{rule.at_keyword[:40]} is left out")
            if rule.type != "qualified-rule":
                continue
            try:
                selectors = compile_selector_list(rule.prelude)
            except SelectorError:
                continue
            self._selectors += len(selectors)
            if self._selectors > MAX_SELECTORS:
                raise TemplateError(f"expected at most {MAX_SELECTORS} CSS selectors, found more")
            declarations = tuple(_declarations(rule.content, base))
            for selector in selectors:
                if selector.pseudo_element is None:
                    self._matcher.add_selector(selector, declarations)

    def style_of(self, element: ElementWrapper) -> Style:
        """The declarations that hold for an element, its ``style`` attribute included; nothing is inherited."""
        declared = [declaration for *_, rule in self._matcher.match(element) for declaration in rule]
        inline = element.etree_element.get("style", "")
        _check_nesting(inline)
        declared += _declarations(inline, "")
        return {each.name: each.value for each in sorted(declared, key=lambda each: each.important)}


def _check_nesting(css: str) -> None:
    depth = 0
    for character in "".join(piece.partition("/*")[0] for piece in css.split("*/")):  # comments may say anything
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_NESTING:
            raise TemplateError(f"expected CSS brackets at most {MAX_NESTING} deep, found more")


def _declarations(content: Token, base: str) -> Iterator[_Declaration]:
    for node in tinycss2.parse_blocks_contents(content, skip_comments=True, skip_whitespace=True):
        if node.type != "declaration":
            continue
        tokens = [token for token in node.value if token.type not in ("whitespace", "comment")]
        for name, part in _longhands(_unprefixed(node.lower_name), tokens):
            yield _Declaration(name, Value(tuple(part), base), node.important)


def _unprefixed(name: str) -> str:
    return next((name.removeprefix(vendor) for vendor in _VENDORS if name.startswith(vendor)), name)


def _longhands(name: str, tokens: list[Token]) -> Iterator[tuple[str, Sequence[Token]]]:
    """A shorthand as the properties that it sets; any other property as it is."""
    if name == "background":
        yield from _background(tokens)
    elif name == "background-position":
        x, y = _position(_first_layer(tokens))
        yield "background-position-x", x
        yield "background-position-y", y
    elif name in ("margin", "inset") and tokens:
        count = len(tokens)
        sides = (0, min(1, count - 1), 2 if count > 2 else 0, 3 if count > 3 else min(1, count - 1))
        for side, index in zip(_SIDES, sides, strict=True):
            yield (side if name == "inset" else f"margin-{side}"), [tokens[index]]
    elif name.startswith("background-"):
        yield name, _first_layer(tokens)
    elif name == "border":
        yield "border-width", [token for token in tokens if length(token, None) is not None]
        yield "border-color", [token for token in tokens if colour(token) is not None]
    else:
        yield name, tokens


def _first_layer(tokens: list[Token]) -> list[Token]:
    """The layer that is drawn on top; the others are not drawn."""
    commas = [index for index, token in enumerate(tokens) if token == ","]
    return tokens[: commas[0]] if commas else tokens


def _background(tokens: list[Token]) -> Iterator[tuple[str, Sequence[Token]]]:
    found: dict[str, list[Token]] = {name: [] for name in ("position", *_BACKGROUND)}
    found["color"] = [token for token in tokens if colour(token) is not None][-1:]  # the last layer has it
    place = "position"
    for token in _first_layer(tokens):
        if token == "/":
            place = "size"
        elif token.type == "url" or (token.type == "function" and token.lower_name != "calc" and not colour(token)):
            found["image"] = [token]
        elif token.type == "ident" and token.lower_value in _REPEATS:
            found["repeat"].append(token)
        elif _is_length(token) or (token.type == "ident" and token.lower_value in _PLACES):
            found[place].append(token)
    found["position-x"], found["position-y"] = _position(found.pop("position"))
    for name in _BACKGROUND:
        yield f"background-{name}", found[name]


def _position(tokens: list[Token]) -> tuple[list[Token], list[Token]]:
    """A background position as (x, y), each an edge, a length, or an edge and the distance from it."""
    groups: list[list[Token]] = []
    for token in tokens:
        if len(tokens) > 2 and groups and _is_length(token) and groups[-1][0].type == "ident":
            groups[-1].append(token)
        else:
            groups.append([token])
    x, y = [*groups, [], []][:2]
    upright = [group and group[0].type == "ident" and group[0].lower_value in ("top", "bottom") for group in (x, y)]
    sideways = bool(y) and y[0].type == "ident" and y[0].lower_value in ("left", "right")
    if upright[0] or sideways:
        x, y = y, x
    return (x or _CENTRE if groups else []), (y or _CENTRE if groups else [])


_CENTRE: Final[list[Token]] = tinycss2.parse_component_value_list("center")


def _is_length(token: Token) -> bool:
    return token.type in ("dimension", "percentage", "number") or (
        token.type == "function" and token.lower_name == "calc"
    )


def length(token: Token, whole: float | None) -> float | None:
    """A length in px; a percentage is of ``whole``. None for anything else, and where ``whole`` is not known."""
    result: float | None = None
    if token.type == "dimension" and token.lower_unit in _PX:
        result = token.value * _PX[token.lower_unit]
    elif token.type == "number":
        result = token.value
    elif token.type == "percentage" and whole is not None:
        result = token.value / 100 * whole
    elif token.type == "() block":
        result = _calculate(token.content, whole)
    elif token.type == "function" and token.lower_name == "calc":
        result = _calculate(token.arguments, whole)
    return result if result is not None and math.isfinite(result) else None


def _calculate(tokens: Sequence[Token], whole: float | None) -> float | None:
    """The sum that calc() holds; products before sums."""
    tokens = [token for token in tokens if token.type not in ("whitespace", "comment")]
    numbers, signs = tokens[::2], tokens[1::2]
    values = [length(token, whole) for token in numbers]
    if len(numbers) != len(signs) + 1 or None in values:
        return None
    terms: list[float] = [values[0] or 0.0]
    for sign, value in zip(signs, values[1:], strict=True):
        value = value or 0.0
        if sign == "+" or sign == "-":
            terms.append(value if sign == "+" else -value)
        elif sign == "*":
            terms[-1] *= value
        elif sign == "/" and value:
            terms[-1] /= value
        else:
            return None
    return sum(terms)


def length_of(style: Style, name: str, whole: float | None) -> float | None:
    """A property's one length in px; None where it is absent or ``auto``."""
    tokens = style.get(name, NONE).tokens
    return length(tokens[0], whole) if tokens else None


def number_of(style: Style, name: str, default: float) -> float:
    """A property's number; a percentage is of 1."""
    tokens = style.get(name, NONE).tokens
    value = length(tokens[0], 1.0) if tokens else None
    return default if value is None else value


def place_of(value: Value, room: float) -> float:
    """Where a picture starts on one axis of its box; ``room`` is what the box has to spare, perhaps negative."""
    edge, distance = 0.0, 0.0
    for token in value.tokens:
        if token.type == "ident":
            edge = _EDGES.get(token.lower_value, 0.0)
        else:
            distance = length(token, room) or 0.0
    return edge * room + (-distance if edge == 1.0 else distance)


def degrees(token: Token) -> float:
    """An angle; 0 for what is none."""
    known = token.type == "dimension" and token.lower_unit in _DEGREES and math.isfinite(token.value)
    return token.value * _DEGREES[token.lower_unit] if known else 0.0


def colour(token: Token) -> Rgba | None:
    """A colour; None for what is none, and for those that depend on the page."""
    try:
        found = tinycss2.color4.parse_color(token)
    except (ValueError, OverflowError):  # numbers beyond all colours
        return None
    if found is None or found == "currentcolor":
        return None
    try:
        red, green, blue = (min(max(float(part or 0), 0.0), 1.0) for part in found.to("srgb").coordinates)
    except (NotImplementedError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return (red, green, blue, min(max(float(found.alpha), 0.0), 1.0))


def url(token: Token) -> str | None:
    """The address in ``url(...)``, with or without quotes."""
    if token.type == "url":
        return str(token.value)
    if token.type == "function" and token.lower_name == "url":
        return next((str(part.value) for part in token.arguments if part.type == "string"), None)
    return None
