"""Spans of a video that a person marked as wrong: ``DIR/marks/<video_id>.json``. The loader leaves them out.

{"schema_version": 1, "spans": [{"start_frame": 120, "end_frame": 180, "note": "menu"}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from extraction.records import SourceError
from padtrace.dataset.store import FolderStore

MARKS_FOLDER: Final = "marks"
MAX_BYTES: Final = 2**24
_VIDEO_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,120}")


class Span(BaseModel):
    """Frames ``start_frame`` to ``end_frame`` - 1 of a video, by ``frame_index``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    start_frame: int = Field(ge=0)
    end_frame: int = Field(ge=1)
    """Exclusive."""
    note: str = Field("", max_length=2000)
    """What is wrong, in the words of whoever marked it."""

    @model_validator(mode="after")
    def _holds_a_frame(self) -> Self:
        if self.end_frame <= self.start_frame:
            raise ValueError(f"end_frame {self.end_frame} must come after start_frame {self.start_frame}")
        return self


class _Marks(BaseModel):
    """A whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    spans: tuple[Span, ...] = Field(max_length=100_000)


def load_marks(folder: Path, video_id: str) -> tuple[Span, ...]:
    """The marked spans of a video of the dataset in ``folder``, by their start; none where there is no file.

    SourceError where the file is not one of marks.
    """
    path = _path_of(folder, video_id)
    try:
        with path.open("rb") as file:
            return parse_marks(file.read(MAX_BYTES + 1), str(path))
    except FileNotFoundError:
        return ()


def save_marks(folder: Path, video_id: str, spans: Iterable[Span]) -> None:
    """Replace the marks of a video by ``spans``, at once; no spans, no file."""
    path = _path_of(folder, video_id)
    marks = _Marks(spans=_in_order(spans))
    if not marks.spans:
        path.unlink(missing_ok=True)
        return
    FolderStore(path.parent).put(path.name, (marks.model_dump_json(indent=2) + "\n").encode())


def parse_marks(data: bytes, where: str) -> tuple[Span, ...]:
    """The spans in the content of a file; SourceError, naming ``where``, if it is not one of marks."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"expected at most {MAX_BYTES} bytes, found more")
        return _in_order(_Marks.model_validate_json(data).spans)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        said = f"{place}: {first['msg'].removeprefix('Value error, ')}"
        raise SourceError(f"{where} does not hold marks: {said}; correct it or delete it") from error
    except ValueError as error:
        raise SourceError(f"{where} does not hold marks: {error}; correct it or delete it") from error


def _in_order(spans: Iterable[Span]) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda span: (span.start_frame, span.end_frame)))


def _path_of(folder: Path, video_id: str) -> Path:
    """Where the marks of a video are; ValueError for an id that ``extract`` does not give."""
    if not _VIDEO_ID.fullmatch(video_id):
        raise ValueError(f"expected a video id of letters, digits, - and _, found {video_id!r}")
    return folder / MARKS_FOLDER / f"{video_id}.json"
