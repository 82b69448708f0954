"""What every importer makes, and how it names it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from templates.scene import Scene

# The first word found in a name decides, so "xboxone" comes before "xbox".
FAMILY_WORDS: Final = (
    ("dualsense", "dualsense"), ("ps5", "dualsense"),
    ("dualshock4", "dualshock_4"), ("ds4", "dualshock_4"), ("ps4", "dualshock_4"),
    ("dualshock3", "dualshock_3"), ("ds3", "dualshock_3"), ("ps3", "dualshock_3"),
    ("dualshock2", "dualshock_2"), ("ds2", "dualshock_2"), ("ps2", "dualshock_2"),
    ("joycon", "joy_con"), ("switch", "switch_pro"),
    ("gamecube", "gamecube"), ("gcn", "gamecube"), ("nintendo64", "n64"), ("n64", "n64"),
    ("snes", "snes"), ("superfamicom", "snes"), ("supernintendo", "snes"),
    ("genesis", "mega_drive"), ("megadrive", "mega_drive"), ("famicom", "nes"), ("nes", "nes"),
    ("hitbox", "leverless"), ("leverless", "leverless"), ("arcade", "fight_stick"), ("fightstick", "fight_stick"),
    ("elite", "xbox_elite"),
    ("xboxseries", "xbox_series"), ("seriesx", "xbox_series"),
    ("xboxone", "xbox_one"), ("xone", "xbox_one"),
    ("360", "xbox_360"), ("xbox", "xbox_one"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportedSkin:
    """A scene, and the bytes of the PNGs that it names; ``scene.notes`` says what could not be expressed."""

    scene: Scene
    pictures: dict[str, bytes]


def family_in(names: Iterable[str]) -> str | None:
    """The family that the first telling name speaks of; None where none does."""
    texts = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    return next((family for text in texts for word, family in FAMILY_WORDS if word in text), None)


def with_unique_ids(skins: list[ImportedSkin]) -> list[ImportedSkin]:
    """Number the skins that share an id: presets in different folders may share a name."""
    seen: Counter[str] = Counter()
    unique: list[ImportedSkin] = []
    for skin in skins:
        seen[skin.scene.id] += 1
        count = seen[skin.scene.id]
        renamed = skin.scene.model_copy(update={"id": f"{skin.scene.id}-{count}"})
        unique.append(skin if count == 1 else replace(skin, scene=renamed))
    return unique
