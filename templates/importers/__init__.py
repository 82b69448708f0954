"""Importers: each turns one overlay program's skins into scenes.

input_overlay           OBS input-overlay presets (JSON + PNG atlas)
retrospy                RetroSpy and NintendoSpy skins (XML + PNG)
vscview                 VSCView layouts (JSON tree + PNG)
gamepadviewer           gamepadviewer.com skins (CSS + SVG, PNG)
open_joystick_display   Open Joystick Display themes (HTML + CSS + SVG)
css, page, svg, easel   what the last two share: rules, their layout, drawings, and parts painted from them
skin                    what all share
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from templates.importers.gamepadviewer import import_gamepadviewer
from templates.importers.input_overlay import import_input_overlay
from templates.importers.open_joystick_display import import_open_joystick_display
from templates.importers.retrospy import import_retrospy
from templates.importers.skin import ImportedSkin
from templates.importers.vscview import import_vscview

IMPORTERS: Final[dict[str, Callable[[Path, str | None], list[ImportedSkin]]]] = {
    "input-overlay": import_input_overlay,
    "retrospy": import_retrospy,
    "vscview": import_vscview,
    "gamepadviewer": import_gamepadviewer,
    "open-joystick-display": import_open_joystick_display,
}


def import_skins(program: str, path: Path, family: str | None = None) -> list[ImportedSkin]:
    """Every skin of ``program`` at a path, a file or a folder; TemplateError where there is none or one is broken.

    ``family`` overrides the one that is guessed from names.
    """
    return IMPORTERS[program](path, family)
