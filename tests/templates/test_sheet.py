"""The contact sheet: all templates, where they belong."""

import numpy as np

from templates.catalogue import Template
from templates.controls import States
from templates.scene import Picture, Scene, Static, Swap
from templates.sheet import CELL_WH, LABEL, MARGIN, TITLE, contact_sheet

BOX = (0.0, 0.0, 50.0, 40.0)


def template_of(id: str, colour: str) -> Template:
    fill = Picture(svg=f'<rect width="50" height="40" fill="{colour}"/>')
    black = Picture(svg='<rect width="50" height="40"/>')
    parts = (
        Static(name="body", box=BOX, picture=fill),
        Swap(name="a", box=BOX, control="south", picture=None, pressed=black),
    )
    return Template(Scene(id=id, family=id.split("/")[0], canvas=(50, 40), parts=parts), None)


RED, GREEN, BLUE = template_of("a/red", "#f00"), template_of("b/green", "#0f0"), template_of("a/blue", "#00f")


def colour_in(sheet: np.ndarray, row: int, column: int) -> list[int]:
    """The middle of a cell; every row here begins a family."""
    y = MARGIN + (row + 1) * TITLE + row * (CELL_WH[1] + LABEL) + CELL_WH[1] // 2
    colour: list[int] = sheet[y, MARGIN + column * CELL_WH[0] + CELL_WH[0] // 2].tolist()
    return colour


def test_families_stand_together_each_in_rows_of_its_own() -> None:
    sheet = contact_sheet([RED, GREEN, BLUE])
    assert sheet.dtype == np.uint8
    assert sheet.shape == (MARGIN + 2 * (TITLE + CELL_WH[1] + LABEL), 2 * MARGIN + 2 * CELL_WH[0], 3)
    assert colour_in(sheet, 0, 0) == [255, 0, 0]
    assert colour_in(sheet, 0, 1) == [0, 0, 255]
    assert colour_in(sheet, 1, 0) == [0, 255, 0]


def test_a_long_family_wraps() -> None:
    sheet = contact_sheet([RED, BLUE, RED], columns=2)
    assert sheet.shape == (MARGIN + TITLE + 2 * (CELL_WH[1] + LABEL), 2 * MARGIN + 2 * CELL_WH[0], 3)


def test_a_sheet_shows_the_state_that_it_is_given() -> None:
    assert colour_in(contact_sheet([RED], states=States.all_pressed()), 0, 0) == [0, 0, 0]


def test_every_cell_is_named() -> None:
    sheet = contact_sheet([RED])
    label = sheet[MARGIN + TITLE + CELL_WH[1] :, MARGIN:]
    assert label.min() < 128


def test_a_sheet_of_nothing_is_empty() -> None:
    assert len(contact_sheet([])) == MARGIN
