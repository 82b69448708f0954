"""The templates there are: the built-in library, and folders of imported ones (``template.toml`` + PNG).

A template folder comes from outside, so everything in it is checked before it is used: the fields by
``Scene``, the sizes here, every PNG by its header before it is decoded. A ``TemplateError`` is one
sentence that names the file, the part or field, and the reason.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
import tomli_w
from pydantic import ValidationError

from templates.families import family_scenes
from templates.scene import MAX_CANVAS, Box, Part, Picture, Scene

TEMPLATE_FILE = "template.toml"
MAX_TEXT_BYTES = 4 << 20
MAX_PNG_BYTES = 64 << 20
MAX_PNG_SIDE = 8192  # px; 256 MB decoded
MAX_PARTS = 500

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
# resvg would open the file that such a reference names.
_OUTSIDE_REFERENCE = re.compile(
    r"""<!(?!--)|href\s*=\s*["'](?!#|data:image/png;base64,)|@import|url\(\s*["']?(?!["'#])""", re.IGNORECASE
)


class TemplateError(ValueError):
    """A template that cannot be used. Its text is one sentence: where, expected, found, what to do."""


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity, so that caches can hold it
class Template:
    """A scene, and the folder that holds its pictures; None where every picture is vector markup."""

    scene: Scene
    root: Path | None

    @property
    def id(self) -> str:
        return self.scene.id

    @property
    def family(self) -> str:
        return self.scene.family


def content_of(template: Template) -> bytes:
    """All that decides how a template looks, hashed: equal bytes mean equal drawings."""
    digest = hashlib.sha256(template.scene.model_dump_json().encode())
    for name in sorted(files_of(template.scene)):
        if template.root is not None:
            digest.update(hashlib.sha256((template.root / name).read_bytes()).digest())
    return digest.digest()


@cache
def library() -> dict[str, Template]:
    """The built-in templates by id."""
    return {id: Template(scene, None) for id, scene in family_scenes().items()}


def all_templates(extra: Path | None) -> dict[str, Template]:
    """The library and the templates below ``extra``, by id; an id in both is an error."""
    templates = dict(library())
    if extra is None:
        return templates
    imported = load_templates(extra)
    clashing = sorted(templates.keys() & imported.keys())
    if clashing:
        raise TemplateError(
            f"{imported[clashing[0]].root}: the id {clashing[0]!r} belongs to a built-in template; "
            f"change the id in its {TEMPLATE_FILE}"
        )
    return templates | imported


def load_templates(folder: Path) -> dict[str, Template]:
    """Read every ``template.toml`` below a folder: templates by id, in the order of their paths."""
    if not folder.is_dir():
        raise TemplateError(f"expected a folder of templates at {folder}, found none; check the path")
    templates: dict[str, Template] = {}
    for path in _template_files(folder):
        template = _load_template(path)
        if template.id in templates:
            raise TemplateError(
                f"{path}: the id {template.id!r} is also used in {templates[template.id].root}; change one"
            )
        templates[template.id] = template
    if not templates:
        raise TemplateError(f"expected a {TEMPLATE_FILE} below {folder}, found none; import a skin first")
    return templates


def save_template(scene: Scene, pictures: dict[str, bytes], folder: Path) -> Path:
    """Write one template as ``folder/<slug of its id>/`` and return that path.

    The folder appears complete or not at all; an older version of the same template is replaced.
    ``pictures`` maps file names to PNG bytes and holds exactly the files that the scene names.
    """
    wanted = files_of(scene)
    if wanted != pictures.keys():
        raise TemplateError(f"{scene.id}: expected the pictures {sorted(wanted)}, found {sorted(pictures)}")
    target = folder / slug(scene.id)
    if target.is_symlink() or (target.exists() and not (target / TEMPLATE_FILE).is_file()):
        raise TemplateError(f"{target}: expected an older template or nothing, found other files")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
            fresh = Path(temporary) / "new"
            fresh.mkdir()
            for name, data in pictures.items():
                (fresh / name).write_bytes(data)
            text = tomli_w.dumps(scene.model_dump(mode="json", exclude_none=True))
            (fresh / TEMPLATE_FILE).write_text(text, "utf-8")
            if target.exists():
                target.rename(Path(temporary) / "old")
            fresh.rename(target)
    except OSError as error:
        raise TemplateError(f"{target}: cannot be written ({error.strerror}); check the folder") from error
    return target


def slug(text: str) -> str:
    """A safe file name: lower-case ASCII letters, digits, '-' and '_'."""
    safe = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")[:80]
    if not safe:
        raise TemplateError(f"expected a name with letters or digits, found {text!r}; rename it")
    return safe


def files_of(scene: Scene) -> set[str]:
    """Names of the picture files that a scene's parts refer to."""
    return {picture.file for part in scene.parts for picture in pictures_of(part) if picture.file}


def pictures_of(part: Part) -> Iterator[Picture]:
    """Every picture that a part may draw."""
    if part.kind == "nine_state":
        yield from part.pictures.values()
        return
    for picture in (part.picture, getattr(part, "pressed", None), getattr(part, "off_centre", None)):
        if picture is not None:
            yield picture


def read_picture(template: Template, picture: Picture) -> np.ndarray:
    """A picture file's region: (h, w, 4) uint8 RGBA, straight alpha; transparent where it leaves the file."""
    if template.root is None or picture.file is None:
        raise TemplateError(f"{template.id}: expected a picture file in the template's folder, found none")
    path = template.root / picture.file
    pixels = load_png(path)
    if picture.region is None:
        return pixels
    return crop(pixels, _pixel_region(picture.region, (pixels.shape[1], pixels.shape[0]), path))


def crop(pixels: np.ndarray, region: tuple[int, int, int, int]) -> np.ndarray:
    """The (h, w, 4) rectangle [x, y, w, h] of a picture, zero where it reaches outside."""
    x, y, w, h = region
    cut = np.zeros((h, w, 4), np.uint8)
    x0, y0 = max(x, 0), max(y, 0)
    inside = pixels[y0 : max(y + h, 0), x0 : max(x + w, 0)]
    cut[y0 - y : y0 - y + inside.shape[0], x0 - x : x0 - x + inside.shape[1]] = inside
    return cut


def load_png(path: Path) -> np.ndarray:
    """A PNG file as (H, W, 4) uint8 RGBA, straight alpha, read-only; checked before it is decoded."""
    data = read_limited(path, MAX_PNG_BYTES)
    png_size(data, path)
    return _decode_png(data, path)


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; links and devices are refused."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise TemplateError(f"{path}: expected a plain file, found a link or a device; copy it here")
        if status.st_size > limit:
            size_mb = status.st_size / 2**20
            raise TemplateError(f"{path}: expected at most {limit >> 20} MB, found {size_mb:.1f} MB")
        return path.read_bytes()
    except OSError as error:
        raise TemplateError(f"{path}: cannot read the file ({error.strerror}); check the path") from error


def png_size(data: bytes, path: Path) -> tuple[int, int]:
    """(width, height) from a PNG's header; sides beyond ``MAX_PNG_SIDE`` are refused, so are cut files."""
    if len(data) < 33 or not data.startswith(_PNG_START) or b"IEND" not in data:
        raise TemplateError(f"{path}: expected a complete PNG, found other data; save it as PNG again")
    width, height = struct.unpack(">II", data[16:24])
    if not (0 < width <= MAX_PNG_SIDE and 0 < height <= MAX_PNG_SIDE):
        raise TemplateError(f"{path}: expected sides of 1 to {MAX_PNG_SIDE} px, found {width}x{height}")
    return width, height


def one_sentence(error: ValidationError, raw: object) -> str:
    """The first fault of a pydantic error: field, reason, value found, with the part's name from ``raw``."""
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    # A misspelt field comes first: the field that is then missing is its consequence.
    location = [str(step) for step in faults[0]["loc"]]
    where = ".".join(location)
    listed = raw.get(location[0]) if isinstance(raw, dict) and len(location) > 1 and location[1].isdigit() else None
    if isinstance(listed, list) and isinstance(part := listed[int(location[1])], dict):
        name = part.get("name", part.get("id"))
        where = ", ".join([f"{location[0].removesuffix('s')} {location[1]} ({name!r})", *location[2:]])
    message = faults[0]["msg"].removeprefix("Value error, ")
    value = repr(faults[0]["input"])
    found = f", found {value}" if len(value) < 60 and "found" not in message else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    reason = f"{message[:1].lower()}{message[1:]}{found}{more}"
    return f"{where}: {reason}" if where else reason


def check_sizes(scene: Scene) -> None:
    """Refuse a scene whose parts are too many, too large, empty or far off; the renderer trusts the rest."""
    if len(scene.parts) > MAX_PARTS:
        raise TemplateError(f"expected at most {MAX_PARTS} parts, found {len(scene.parts)}")
    for part in scene.parts:
        x, y, w, h = part.box
        # Written so that NaN fails too.
        if not (0 < w <= MAX_CANVAS and 0 < h <= MAX_CANVAS and max(abs(x), abs(y)) <= MAX_CANVAS):
            raise TemplateError(f"part {part.name!r}: box must lie within {MAX_CANVAS}, found {part.box}")
        reach: Iterable[float] = getattr(part, "travel", ()) or getattr(part, "offset", ())
        if not all(abs(side) <= MAX_CANVAS for side in reach):
            raise TemplateError(f"part {part.name!r}: travel must lie within {MAX_CANVAS}, found {reach}")
        if part.kind == "move" and not (min(part.travel) >= 0 and 0.1 <= part.squeeze <= 1):
            raise TemplateError(
                f"part {part.name!r}: travel must not be negative and squeeze lie in 0.1..1, "
                f"found {part.travel} and {part.squeeze}"
            )


def _template_files(folder: Path) -> list[Path]:
    """Every template file below a folder, sorted; hidden folders are unfinished ones."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if TEMPLATE_FILE in files:
            found.append(Path(root) / TEMPLATE_FILE)
    return sorted(found)


def _load_template(path: Path) -> Template:
    text = read_limited(path, MAX_TEXT_BYTES)
    raw: object = None
    try:
        raw = tomllib.loads(text.decode("utf-8"))
        template = Template(Scene.model_validate(raw), path.parent)
    except ValidationError as error:
        raise TemplateError(f"{path}: {one_sentence(error, raw)}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested without end
        reason = str(error).splitlines()[0]
        raise TemplateError(f"{path}: expected TOML text ({reason}); mend the file") from error
    try:
        check_sizes(template.scene)
        for part in template.scene.parts:
            for picture in pictures_of(part):
                _check_picture(picture, part.name, path.parent)
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from error
    return template


def _check_picture(picture: Picture, part: str, root: Path) -> None:
    if picture.svg is not None and _OUTSIDE_REFERENCE.search(picture.svg):
        raise TemplateError(f"part {part!r}: its svg must not refer to anything outside itself")
    if picture.file is None:
        return
    path = root / picture.file
    try:
        size = png_size(read_limited(path, MAX_PNG_BYTES), path)
        if picture.region is not None:
            _pixel_region(picture.region, size, path)
    except TemplateError as error:
        raise TemplateError(f"part {part!r}: {error}") from error


def _pixel_region(region: Box, size_wh: tuple[int, int], path: Path) -> tuple[int, int, int, int]:
    """A region in whole pixels; one that is empty, huge or wholly outside the picture is refused."""
    x, y, w, h = region
    width, height = size_wh
    if not (0 < w <= MAX_PNG_SIDE and 0 < h <= MAX_PNG_SIDE and -w < x < width and -h < y < height):
        raise TemplateError(f"{path}: the region {region} does not lie in the picture of {width}x{height} px")
    return round(x), round(y), max(1, round(w)), max(1, round(h))


@lru_cache(maxsize=2)  # one atlas serves every part of a skin
def _decode_png(data: bytes, path: Path) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise TemplateError(f"{path}: expected a sound PNG, found one that cannot be decoded; save it again")
    if decoded.dtype == np.uint16:
        decoded = np.right_shift(decoded, 8).astype(np.uint8)
    channels = 1 if decoded.ndim == 2 else decoded.shape[2]
    conversion = {1: cv2.COLOR_GRAY2RGBA, 3: cv2.COLOR_BGR2RGBA, 4: cv2.COLOR_BGRA2RGBA}[channels]
    pixels = cv2.cvtColor(decoded, conversion)
    pixels.setflags(write=False)  # the cache hands out one array to all
    return pixels
