"""What every importer makes, and how it names it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count as count_from
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np
from pydantic import ValidationError

from templates.catalogue import MAX_TEXT_BYTES, TemplateError, files_of, one_sentence, read_limited
from templates.scene import Scene

MAX_SKIN_BYTES: Final = 256 << 20  # all pictures of one skin

Key = TypeVar("Key")

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


def find_files(path: Path, suffix: str, called: str, name: str | None = None) -> list[Path]:
    """The file itself, or every one below a folder, sorted; links are not followed.

    suffix: of the file, such as ".json", in any letter case. called: what errors call it. name: what every file below a
    folder is called, in any letter case, where the suffix says too little.
    """
    if path.is_dir():
        files = (file for file in path.rglob("*") if (file.name if name else file.suffix).lower() == (name or suffix))
        return sorted(file for file in files if not file.is_symlink())
    if path.suffix.lower() != suffix:
        raise TemplateError(f"{path}: expected a folder or {called}, found neither; check the path")
    return [path]


@contextmanager
def naming(file: Path, text: str) -> Iterator[None]:
    """What is wrong with a skin's file is one sentence that names it. text: what it is written in."""
    try:
        yield
    except ValidationError as error:
        raise TemplateError(f"{file}: {one_sentence(error, None)}") from error
    except TemplateError as error:
        raise TemplateError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    except RecursionError as error:
        raise TemplateError(f"{file}: expected {text}, found brackets without end; mend the file") from error


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


class Gallery:
    """The PNGs of one skin, by plain file name."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, name: str, data: bytes) -> str:
        """Keep a PNG under a safe name like ``name`` and return it; an equal PNG is kept once."""
        stem = re.sub(r"[^a-z0-9_]+", "-", Path(name).stem.lower()).strip("-_")[:60] or "picture"
        names = (f"{stem}.png" if number == 1 else f"{stem}-{number}.png" for number in count_from(1))
        chosen = next(name for name in names if self.files.get(name, data) == data)
        self.files[chosen] = data
        if sum(map(len, self.files.values())) > MAX_SKIN_BYTES:
            raise TemplateError(f"expected at most {MAX_SKIN_BYTES >> 20} MB of pictures, found more")
        return chosen

    def used_by(self, scene: Scene) -> dict[str, bytes]:
        """The PNGs that a scene names; others belong to elements that were left out."""
        return {name: self.files[name] for name in sorted(files_of(scene))}


def read_text(path: Path) -> str:
    """A text file as editors on Windows write them: UTF-8 or UTF-16 with a mark, else UTF-8, else Windows-1252."""
    data = read_limited(path, MAX_TEXT_BYTES)
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def find_inside(folder: Path, reference: str) -> Path | None:
    """The file below a folder that a skin's path names; None where there is none.

    Backslashes and letter case are as on Windows. Nothing outside the folder is looked at: a path that
    leads out of it names no file, nor does one through a linked folder.
    """
    steps: list[str] = []
    for step in reference.replace("\\", "/").split("/"):
        if step == ".." and not steps:
            return None
        if step == "..":
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    found: Path | None = folder if steps else None
    for depth, step in enumerate(steps):
        if found is not None:
            found = None if depth and found.is_symlink() else _entry(found, step)
    return found


def sides_of_diamond(centres: Mapping[Key, tuple[float, float]]) -> dict[Key, str]:
    """Which face button, by place, lies at each of four centres, y down; empty where they form no diamond."""
    if len(centres) != 4:
        return {}
    middle = np.mean(list(centres.values()), axis=0)
    sides: dict[Key, str] = {}
    for key, centre in centres.items():
        x, y = np.subtract(centre, middle)
        if abs(x) > 1.5 * abs(y):
            sides[key] = "east" if x > 0 else "west"
        elif abs(y) > 1.5 * abs(x):
            sides[key] = "south" if y > 0 else "north"
    return sides if len(set(sides.values())) == 4 else {}


def encode_png(pixels: np.ndarray) -> bytes:
    """(H, W, 4) uint8 RGBA, straight alpha -> a PNG file."""
    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))
    assert done
    return data.tobytes()


def _entry(folder: Path, name: str) -> Path | None:
    """The folder's entry of that name, in any letter case; the exact one comes first."""
    try:
        entries = sorted(os.listdir(folder), key=lambda entry: (entry != name, entry))
    except OSError:  # no folder
        return None
    return next((folder / entry for entry in entries if entry.casefold() == name.casefold()), None)
