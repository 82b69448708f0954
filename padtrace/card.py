"""The dataset card: README.md, pictures and numbers that a public release needs.

What only the owner of a dataset knows stands in ``DIR/release.toml``, so that the card can be made again at any time:

    name = "Pads of the speedrunners"
    licence = "CC-BY-NC-4.0"
    rights = "Labels by us. Pictures under the games' streaming policies, see https://example.org/policies."
    contact = "data@example.org"
    take_down = "Write to data@example.org with the video's address; it is gone within 7 days."
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.records import SourceError
from extraction.shards import SCHEMA_VERSION
from padtrace.dataset.store import FolderStore
from padtrace.plots import draw_plots, largest
from padtrace.stats import Share, Stats
from templates.controls import BUTTONS

RELEASE_FILE: Final = "release.toml"
MAX_RELEASE_BYTES: Final = 2**20
MADE: Final = "<!-- Made by `padtrace stats --card`; what the owner says comes from release.toml. -->"
NOT_STATED: Final = "**Not stated yet.**"


class Release(BaseModel):
    """What the owner of a dataset says about it; all of it belongs into a public release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", max_length=200)
    """What the dataset is called."""
    description: str = Field("", max_length=20_000)
    """What it is for, how the videos were chosen. Markdown."""
    licence: str = Field("", max_length=200)
    """Of labels and of the selection, as its SPDX identifier."""
    rights: str = Field("", max_length=20_000)
    """Who owns the videos and games, and on what ground their pictures are passed on. Markdown."""
    contact: str = Field("", max_length=1000)
    """Who answers for it."""
    take_down: str = Field("", max_length=20_000)
    """How the maker of a video has it removed, and how soon that is done. Markdown."""
    citation: str = Field("", max_length=20_000)
    """How to cite it."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields that are empty."""
        return tuple(name for name in type(self).model_fields if not getattr(self, name).strip())


@dataclass(frozen=True, slots=True)
class Card:
    """What was written."""

    readme: Path
    missing: tuple[str, ...]


def read_release(dataset: Path) -> Release:
    """``release.toml`` of a dataset, empty where there is none; SourceError where it is not one."""
    path = dataset / RELEASE_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RELEASE_BYTES + 1)
        if len(data) > MAX_RELEASE_BYTES:
            raise ValueError(f"expected at most {MAX_RELEASE_BYTES} bytes, found more")
        return Release.model_validate(tomllib.loads(data.decode("utf-8")))
    except FileNotFoundError:
        return Release()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wanted = ", ".join(Release.model_fields)
        raise SourceError(f"{path}: {place}: {first['msg'].lower()}; it takes {wanted}") from error
    except ValueError as error:  # not UTF-8, not TOML, too long
        raise SourceError(f"{path} is not TOML: {error}; correct it") from error


def write_card(folder: Path, dataset: Path, stats: Stats, release: Release) -> Card:
    """Write ``README.md``, ``stats.json`` and ``plots/`` about ``dataset`` into ``folder``.

    SourceError where a README.md is there that was not made here: nothing of a person's is replaced.
    """
    readme = folder / "README.md"
    if readme.exists() and MADE not in readme.read_text("utf-8", "replace"):
        raise SourceError(f"expected no README.md at {readme} but one of a card, found another; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(folder / "plots", stats)
    store = FolderStore(folder)
    store.put("stats.json", (json.dumps(stats.as_json(), indent=2) + "\n").encode())
    rows = "packed" if (dataset / "packed").is_dir() else "shards"
    store.put(readme.name, make_card(stats, release, rows, [path.stem for path in plots]).encode())
    return Card(readme, release.missing)


def make_card(stats: Stats, release: Release, rows: str, plots: Iterable[str]) -> str:
    """The text of README.md. ``rows``: the folder of the Parquet files. ``plots``: names of pictures in ``plots/``."""
    unsure = stats.hours_unsure / stats.hours_kept if stats.hours_kept else 0.0
    parts = [
        _front_matter(release, rows),
        MADE,
        f"# {_one_line(release.name) or 'A padtrace dataset'}",
        release.description.strip() or NOT_STATED,
        "## What is in it",
        _table(
            ("", "videos", "hours"),
            [
                ("listed", stats.videos_listed, stats.hours_listed),
                ("decoded, with an overlay", stats.videos_decoded, stats.hours_decoded),
                ("kept", "", stats.hours_kept),
                ("kept, marked as wrong by a person", "", stats.hours_marked),
            ],
        ),
        f"{stats.frames_kept:,} frames are kept, {_percent(stats.frames_active_kept, stats.frames_kept)} of them "
        f"with an action. The reader's own confidence is below 0.5 in {unsure:.1%} of them.",
        *(
            _table((name, "videos", "hours decoded", "hours kept"), _share_rows(shares))
            for name, shares in (("game", stats.games), ("channel", stats.channels), ("family", stats.families))
            if shares
        ),
        "## What was dropped",
        _table(
            ("reason", "videos", "chunks", "hours"),
            [(reason, loss.videos, loss.chunks, loss.hours) for reason, loss in sorted(stats.rejects.items())],
        )
        if stats.rejects
        else "Nothing.",
        "## In pictures",
        "\n".join(f"![{name}](plots/{name}.png)" for name in plots),
        "## Files and columns",
        _files(rows),
        "## How the labels were made, and what is wrong with them",
        _method(stats),
        "## Licence and rights",
        f"Licence of the labels: {_one_line(release.licence) or NOT_STATED}",
        release.rights.strip() or f"Rights in the videos and games that the frames show: {NOT_STATED}",
        "## Take-down",
        release.take_down.strip() or f"How the maker of a video has it removed: {NOT_STATED}",
        "Every row names its video (`video_id`), and `videos/<video_id>/report.json` its address, so that one video "
        f"can be found and removed: its rows in `{rows}/`, its files in `videos/`, `rejects/` and `marks/`. Whoever "
        "holds a copy is asked to do the same.",
        "## Contact",
        _one_line(release.contact) or NOT_STATED,
        "## Citation",
        release.citation.strip() or NOT_STATED,
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(release: Release, rows: str) -> str:
    """What hubs read: YAML, of which JSON strings are a part."""
    licence = release.licence.strip().lower()
    lines = [
        "---",
        f"pretty_name: {json.dumps(_one_line(release.name) or 'A padtrace dataset')}",
        *([f"license: {json.dumps(licence)}"] if licence else []),
        "tags: [gameplay, controller, behavior-cloning, imitation-learning]",
        "configs:",
        "- config_name: default",
        f'  data_files: "{rows}/*.parquet"',
        "---",
    ]
    return "\n".join(lines)


def _files(rows: str) -> str:
    return (
        f"`{rows}/*.parquet`: one row per frame of a kept chunk. `videos/<video_id>/actions.parquet`: the labels of "
        "every decoded frame; `report.json` beside it: where the overlay was found, the verdict on every chunk. "
        f"`marks/<video_id>.json`: spans that a person marked as wrong. Schema version {SCHEMA_VERSION}.\n\n"
        + _table(
            ("column", "type", "meaning"),
            [
                ("`video_id`, `chunk_index`", "string, int64", "the video; its 20-second chunk"),
                ("`frame_index`, `timestamp`", "int64, float64", "0-based, in decode order; the frame's own time in s"),
                ("`frame`", "binary", "JPEG, 256x256, the overlay blacked out; null where only labels are passed on"),
                (", ".join(f"`{name}`" for name in BUTTONS), "bool", "held; by position on the pad; null: not shown"),
                ("`j_left`, `j_right`", "2 x float32", "x, y in [-1, 1]; right is +, **up is -**; null: not shown"),
                ("`confidence`", "float32", "how likely all that is known of the frame is right"),
                ("`known`", "list of string", "the controls that the overlay shows"),
            ],
        )
    )


def _method(stats: Stats) -> str:
    versions = ", ".join(sorted(stats.code_versions)) or "unknown"
    return (
        f"A controller overlay in each video was found and read by padtrace {versions}: nobody logged the "
        "controllers themselves. Labels say what the overlay showed, and when; how late the recording showed it is not "
        "known. Triggers are binary, pressed from half their travel. Sticks are centred on each video's own neutral "
        "and divided by a high percentile of their way, the 99th unless another was asked for. A chunk is kept when "
        "enough of its frames hold an action, half of them unless another share was asked for, so idle play is "
        "rarer here than in the videos. `confidence` is the reader's own estimate."
    )


def _share_rows(shares: dict[str, Share]) -> list[tuple[object, ...]]:
    return [(name, share.videos, share.hours_decoded, share.hours_kept) for name, share in largest(shares)]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; hours to two decimals, names from outside made harmless."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return _one_line(str(value)).replace("|", "\\|").replace("<", "&lt;")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"
