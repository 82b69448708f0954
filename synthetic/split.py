"""Which of the library's drawings training may see; the others tell how well unknown skins are read."""

from __future__ import annotations

from typing import Final

from templates.catalogue import Template, library

# Whole styles, so that no other pad in the same clothes is seen either: buttons that float without a body, a small
# stick in a deep well, lines with bars for triggers, buttons that are invisible until pressed.
UNSEEN_STYLES: Final = ("streamer", "sunken", "blueprint", "mini")


def is_unseen(template_id: str) -> bool:
    """Whether no shipped weights were trained on a drawing: imported skins and whole styles of the library."""
    return template_id not in library() or template_id.rpartition("/")[2] in UNSEEN_STYLES


def training_templates() -> dict[str, Template]:
    """The drawings that training may see, by id."""
    return {id: template for id, template in library().items() if not is_unseen(id)}
