"""What ``padtrace stats`` counts, on datasets whose numbers are known."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from extraction.records import SourceError
from extraction.shards import Labels
from flows.cli import app
from flows.ledger import Ledger, Row, Status
from padtrace.card import MADE, Release, make_card, read_release, write_card
from padtrace.dataset.marks import Span, save_marks
from padtrace.dataset.store import open_store
from padtrace.stats import ListedVideo, measure_dataset
from templates.controls import BUTTON_INDEX, BUTTONS, CONTROLS
from tests.made import Made, make_report, write_empty, write_video

SECOND_H = 1 / 3600


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_hours_are_those_of_decoded_and_of_kept_frames(tmp_path: Path) -> None:
    write_video(tmp_path, Made(kept=(True, False, True)))
    write_video(tmp_path, Made(video_id="other-1", kept=(False,), fps=50, family="snes", game="Tetris"))
    stats = measure_dataset(tmp_path)
    assert (stats.videos_listed, stats.videos_decoded) == (2, 2)
    assert stats.hours_decoded == pytest.approx(80 * SECOND_H)
    assert stats.hours_kept == pytest.approx(40 * SECOND_H)
    assert (stats.frames_decoded, stats.frames_kept) == (600 + 1000, 400)


def test_shares_add_up_to_the_whole(tmp_path: Path) -> None:
    write_video(tmp_path, Made(game="Tetris"))
    write_video(tmp_path, Made(video_id="other-1", kept=(True,), family="snes", game="Tetris"))
    write_video(tmp_path, Made(video_id="third-1", kept=(True,)))
    listed = [ListedVideo("speed", 0.1, "other-1", "")]
    stats = measure_dataset(tmp_path, listed)
    assert {name: share.videos for name, share in stats.games.items()} == {"Tetris": 2, "not known": 1}
    assert {name: share.videos for name, share in stats.families.items()} == {"xbox_one": 2, "snes": 1}
    assert {name: share.videos for name, share in stats.channels.items()} == {"speed": 1, "not known": 2}
    for shares in (stats.games, stats.families, stats.channels):
        assert sum(share.hours_decoded for share in shares.values()) == pytest.approx(stats.hours_decoded)
        assert sum(share.hours_kept for share in shares.values()) == pytest.approx(stats.hours_kept)


def test_buttons_count_in_kept_frames_alone(tmp_path: Path) -> None:
    def press_east_where_dropped(labels: Labels) -> None:
        labels.buttons[200:400, BUTTON_INDEX["east"]] = True

    write_video(tmp_path, Made(edit=press_east_where_dropped))
    stats = measure_dataset(tmp_path)
    south = stats.controls["south"]
    assert south.share == pytest.approx(0.5)
    assert south.starts == 20  # ten in each kept chunk
    assert south.per_minute == pytest.approx(30)
    assert stats.controls["east"].hours_known == pytest.approx(40 * SECOND_H)
    assert stats.controls["east"].hours_used == 0


def test_a_control_that_no_overlay_shows_has_no_hours(tmp_path: Path) -> None:
    write_video(tmp_path, Made(hide=("guide", "j_right")))
    stats = measure_dataset(tmp_path)
    assert stats.controls["guide"].hours_known == stats.controls["j_right"].hours_known == 0
    assert stats.stick_grids["j_right"].sum() == 0


def test_a_stick_that_is_held_up_counts_in_the_first_row(tmp_path: Path) -> None:
    def hold_up(labels: Labels) -> None:
        labels.sticks[:, 0] = (0.0, -1.0)

    write_video(tmp_path, Made(kept=(True,), edit=hold_up))
    grid = measure_dataset(tmp_path).stick_grids["j_left"]
    assert grid[0, 20] == grid.sum() == 200


def test_confidence_and_density_are_histograms_over_their_range(tmp_path: Path) -> None:
    def doubt(labels: Labels) -> None:
        labels.confidence[:50] = 0.1
        labels.confidence[50:60] = 1.0

    write_video(tmp_path, Made(kept=(True, False), edit=doubt))
    stats = measure_dataset(tmp_path)
    assert stats.confidence.sum() == 200  # the dropped chunk does not count
    assert (stats.confidence[2], stats.confidence[19], stats.confidence[17] + stats.confidence[18]) == (50, 10, 140)
    assert stats.hours_unsure == pytest.approx(5 * SECOND_H)
    assert stats.density.tolist() == [0, 0, 1, *[0] * 16, 1]  # a tenth of the dropped chunk is active


def test_rejects_count_chunks_and_whole_videos(tmp_path: Path) -> None:
    write_video(tmp_path, Made(kept=(False, False, True)))
    write_empty(tmp_path, "empty-1")
    rejects = measure_dataset(tmp_path).rejects
    assert (rejects["inactive"].chunks, rejects["inactive"].videos) == (2, 0)
    assert rejects["inactive"].hours == pytest.approx(40 * SECOND_H)
    assert (rejects["no_overlay"].chunks, rejects["no_overlay"].videos) == (0, 1)
    assert rejects["no_overlay"].hours == pytest.approx(0.01)


def test_marked_hours_are_kept_ones_and_overlaps_count_once(tmp_path: Path) -> None:
    write_video(tmp_path, Made(kept=(True, False)))
    spans = (
        Span(start_frame=0, end_frame=20),
        Span(start_frame=10, end_frame=30),
        Span(start_frame=250, end_frame=300),
    )
    save_marks(tmp_path, Made().video_id, spans)
    assert measure_dataset(tmp_path).hours_marked == pytest.approx(3 * SECOND_H)


def test_listed_hours_come_from_the_ledger_and_name_what_never_came(tmp_path: Path) -> None:
    write_video(tmp_path, Made(kept=(True,)))
    ledger = Ledger(open_store(str(tmp_path)))
    now = datetime.now(UTC)
    ledger.queue(
        [
            Row(key="a", channel="speed", url="u", hours_listed=2.0, updated=now),
            Row(key="b", channel="speed", url="u", hours_downloaded=0.5, updated=now).changed(
                status=Status.DONE, video_id=Made().video_id
            ),  # its listing told no length
        ]
    )
    found = json.loads(run("stats", tmp_path, "--json").stdout)
    assert found["hours_listed"] == pytest.approx(2.5)
    assert found["videos_listed"] == 2
    assert found["dropped"] == {"queued": 1}
    assert found["channels"]["speed"]["videos"] == 1


def test_the_json_holds_what_was_measured_and_the_tables_name_it(tmp_path: Path) -> None:
    write_video(tmp_path, Made(game="Tet[ris]"))
    found = json.loads(run("stats", tmp_path, "--json").stdout)
    assert found == measure_dataset(tmp_path).as_json()
    said = run("stats", tmp_path)
    assert said.exit_code == 0
    assert "Tet[ris]" in said.stdout and "inactive" in said.stdout


def test_an_unreadable_video_is_told_by_name_and_the_others_are_measured(tmp_path: Path) -> None:
    write_video(tmp_path, Made())
    write_video(tmp_path, Made(video_id="cut-1"))
    write_video(tmp_path, Made(video_id="short-1"))
    write_video(tmp_path, Made(video_id="foreign-1"))
    cut = tmp_path / "videos" / "cut-1" / "actions.parquet"
    cut.write_bytes(cut.read_bytes()[:1000])
    (tmp_path / "videos" / "short-1" / "actions.parquet").unlink()
    (tmp_path / "videos" / "foreign-1" / "report.json").write_text('{"video_id": "foreign-1"}')
    result = run("stats", tmp_path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["videos_decoded"] == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [re.search(r"(\w+-1)/", line)[1] for line in errors] == ["cut-1", "foreign-1", "short-1"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["../../etc", "a b", "x" * 121])
def test_a_report_that_names_another_video_than_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_video(tmp_path, Made())
    path = tmp_path / "videos" / Made().video_id / "report.json"
    path.write_text(json.dumps(make_report(Made()) | {"video_id": name}))
    with pytest.raises(SourceError, match="expected the report of"):
        measure_dataset(tmp_path)


@pytest.mark.parametrize("command", ["stats", "view"])
def test_a_folder_that_is_no_dataset_is_told_in_one_sentence(tmp_path: Path, command: str) -> None:
    result = run(command, tmp_path)
    assert result.exit_code == 1
    assert "expected a dataset in" in result.stderr
    (tmp_path / "videos").mkdir()
    assert "found none that is finished" in run(command, tmp_path).stderr


# The dataset card.

FULL = Release(
    name="Pads",
    description="For tests.",
    licence="CC-BY-NC-4.0",
    rights="Ours.",
    contact="data@example.org",
    take_down="Write to us.",
    citation="None.",
)


def test_a_card_says_what_its_owner_said_and_what_was_measured(tmp_path: Path) -> None:
    write_video(tmp_path, Made(game="Tetris"))
    card = write_card(tmp_path / "card", tmp_path, measure_dataset(tmp_path), FULL)
    text = card.readme.read_text()
    assert card.missing == ()
    for said in ("# Pads", "CC-BY-NC-4.0", "data@example.org", "Write to us.", "| Tetris | 1 | 0.02 | 0.01 |"):
        assert said in text
    assert "Not stated" not in text
    pictures = re.findall(r"!\[\w+\]\(([^)]+)\)", text)
    assert len(pictures) == 6
    assert all((tmp_path / "card" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert json.loads((tmp_path / "card" / "stats.json").read_text())["videos_decoded"] == 1


def test_a_card_shows_what_is_not_stated_and_the_command_says_where_to_write_it(tmp_path: Path) -> None:
    write_video(tmp_path, Made())
    (tmp_path / "release.toml").write_text('name = "Pads"\n')
    result = run("stats", tmp_path, "--card", tmp_path)
    assert result.exit_code == 0, result.output
    assert "it lacks description, licence, rights, contact, take_down, citation" in result.stdout
    text = (tmp_path / "README.md").read_text()
    assert text.count("**Not stated yet.**") == 6
    again = run("stats", tmp_path, "--card", tmp_path)  # a card may be made again in its place
    assert again.exit_code == 0 and (tmp_path / "README.md").read_text() == text


def test_a_readme_that_somebody_wrote_is_not_replaced(tmp_path: Path) -> None:
    write_video(tmp_path, Made())
    (tmp_path / "README.md").write_text("mine")
    assert run("stats", tmp_path, "--card", tmp_path).exit_code == 1
    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_front_matter_is_yaml_whatever_the_name(tmp_path: Path) -> None:
    write_video(tmp_path, Made())
    release = FULL.model_copy(update={"name": 'a: "b"\n---\n# c'})
    _, front, text = make_card(measure_dataset(tmp_path), release, "shards", []).split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["pretty_name"] == 'a: "b" --- # c'
    assert fields["license"] == "cc-by-nc-4.0"
    assert fields["configs"][0]["data_files"] == "shards/*.parquet"
    assert text.lstrip().startswith(MADE)


def test_names_from_outside_stay_in_their_cell(tmp_path: Path) -> None:
    write_video(tmp_path, Made(game="a | b\n# c <script>"))
    text = make_card(measure_dataset(tmp_path), FULL, "shards", [])
    assert "| a \\| b # c &lt;script> | 1 |" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name = ", "is not TOML"),
        ('licence = "x"\nlicense = "y"', "license"),  # a field that there is not
        ("contact = 3", "contact"),
    ],
)
def test_a_release_file_that_is_wrong_is_told_by_name(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "release.toml").write_text(content)
    with pytest.raises(SourceError, match=said) as told:
        read_release(tmp_path)
    assert "release.toml" in str(told.value)


def test_every_control_and_column_is_named_in_the_card(tmp_path: Path) -> None:
    write_video(tmp_path, Made())
    text = make_card(measure_dataset(tmp_path), FULL, "shards", [])
    assert all(f"`{name}`" in text for name in (*BUTTONS, *CONTROLS, "video_id", "frame", "confidence", "known"))


def test_a_dataset_in_which_nothing_is_kept_has_a_card_too(tmp_path: Path) -> None:
    write_empty(tmp_path, "empty-1")
    stats = measure_dataset(tmp_path)
    assert np.isfinite([use.share for use in stats.controls.values()]).all()
    assert write_card(tmp_path / "card", tmp_path, stats, FULL).readme.exists()
