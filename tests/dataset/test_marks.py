"""Marks are written whole, read back as they were, and refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extraction.records import SourceError
from padtrace.dataset.marks import Span, load_marks, save_marks

SPANS = (
    Span(start_frame=10, end_frame=20, note="menu"),
    Span(start_frame=0, end_frame=1),
)


def test_a_video_without_marks_has_none(tmp_path: Path) -> None:
    assert load_marks(tmp_path, "a-1") == ()


def test_marks_come_back_by_their_start(tmp_path: Path) -> None:
    save_marks(tmp_path, "a-1", SPANS)
    assert load_marks(tmp_path, "a-1") == (SPANS[1], SPANS[0])
    assert load_marks(tmp_path, "a-2") == ()
    written = json.loads((tmp_path / "marks" / "a-1.json").read_text())
    assert written == {
        "schema_version": 1,
        "spans": [
            {"start_frame": 0, "end_frame": 1, "note": ""},
            {"start_frame": 10, "end_frame": 20, "note": "menu"},
        ],
    }


def test_saving_no_spans_takes_the_marks_away_and_nothing_else_is_left(tmp_path: Path) -> None:
    save_marks(tmp_path, "a-1", SPANS)
    save_marks(tmp_path, "a-1", ())
    assert list((tmp_path / "marks").iterdir()) == []


@pytest.mark.parametrize("video_id", ["../a", "a/b", "", ".a", "a.json", "a\0", "x" * 121])
def test_an_id_never_leaves_the_folder(tmp_path: Path, video_id: str) -> None:
    with pytest.raises(ValueError, match="video id"):
        load_marks(tmp_path, video_id)
    with pytest.raises(ValueError, match="video id"):
        save_marks(tmp_path, video_id, SPANS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"schema_version": 2, "spans": []}', "schema_version"),  # from the future
        ('{"schema_version": 1, "spans": [{"start_frame": 5, "end_frame": 5, "note": ""}]}', "must come after"),
        ('{"schema_version": 1, "spans": [{"start_frame": -1, "end_frame": 5, "note": ""}]}', "spans.0.start_frame"),
        ('{"schema_version": 1, "spans": [{"start_frame": 0.5, "end_frame": 5, "note": ""}]}', "spans.0.start_frame"),
    ],
)
def test_a_foreign_file_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "a-1.json").write_text(content)
    with pytest.raises(SourceError, match=said) as refused:
        load_marks(tmp_path, "a-1")
    assert "marks/a-1.json" in str(refused.value)
