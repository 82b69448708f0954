"""A contact sheet: every template in one picture, by family, each with the name of its style."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from templates.catalogue import Template
from templates.controls import States
from templates.draw import draw_rgba

CELL_WH = (96, 76)  # px, without the label
LABEL = 15  # px, the line of text below a cell
TITLE = 26  # px, the line of text above a family
MARGIN = 16  # px around the sheet
PAGE = 236  # grey of the sheet
GROUND = (122, 134)  # greys of the checks behind a template: both black and white lines show on them
CHECK = 8  # px


def contact_sheet(templates: Iterable[Template], columns: int = 23, states: States | None = None) -> np.ndarray:
    """Every template in the first of ``states`` (at rest where absent): (H, W, 3) uint8 RGB.

    Families follow one another in the order in which they first appear; a family starts a row of its own.
    """
    families = _by_family(templates)
    columns = min(columns, max((len(members) for _, members in families), default=0))
    width = 2 * MARGIN + columns * CELL_WH[0]
    strips = [np.full((MARGIN, width, 3), PAGE, np.uint8)]
    for family, members in families:
        strips.append(_title(f"{family}  ({len(members)})", width))
        for start in range(0, len(members), columns):
            cells = [_cell(template, states or States.rest()) for template in members[start : start + columns]]
            strips.append(_row(cells, width))
    return np.concatenate(strips)


def _by_family(templates: Iterable[Template]) -> list[tuple[str, list[Template]]]:
    found: dict[str, list[Template]] = {}
    for template in templates:
        found.setdefault(template.family, []).append(template)
    return list(found.items())


def _row(cells: list[np.ndarray], width: int) -> np.ndarray:
    row = np.full((CELL_WH[1] + LABEL, width, 3), PAGE, np.uint8)
    for i, cell in enumerate(cells):
        row[:, MARGIN + i * CELL_WH[0] :][:, : CELL_WH[0]] = cell
    return row


def _cell(template: Template, states: States) -> np.ndarray:
    """A template on checks, as large as fits, with its label below: (CELL + LABEL, CELL, 3) uint8."""
    width, height = CELL_WH
    cell = np.full((height + LABEL, width, 3), PAGE, np.uint8)
    rows, columns = np.indices((height - 4, width - 4)) // CHECK
    cell[2 : height - 2, 2 : width - 2] = np.where((rows + columns) % 2, *GROUND)[..., None]
    across, down = template.scene.canvas
    drawn = draw_rgba(template, states, round(min(width - 10, (height - 10) * across / down)))
    y, x = (height - drawn.shape[0]) // 2, (width - drawn.shape[1]) // 2
    under = cell[y : y + drawn.shape[0], x : x + drawn.shape[1]]
    alpha = drawn[..., 3:] / 255
    under[:] = (under * (1 - alpha) + drawn[..., :3] * alpha).round()
    _write(cell, template.id.removeprefix(f"{template.family}/")[:18], (4, height + 9), 0.34)
    return cell


def _title(text: str, width: int) -> np.ndarray:
    strip = np.full((TITLE, width, 3), PAGE, np.uint8)
    _write(strip, text, (MARGIN + 2, TITLE - 8), 0.5)
    return strip


def _write(picture: np.ndarray, text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (40, 40, 40), 1, cv2.LINE_AA)
