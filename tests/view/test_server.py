"""What the page is told: the right frames and labels, nothing that is not the dataset's, and not more than it needs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from extraction.extract import make_video_id
from extraction.shards import Labels
from flows.cli import app
from padtrace.dataset.marks import Span, load_marks, save_marks
from padtrace.view.server import PAGE, make_app
from templates.catalogue import library
from templates.controls import BUTTONS, CONTROLS
from tests.made import COLOURS, Made, grey_jpeg, write_empty, write_video

MADE = Made()
HERE = f"/api/videos/{MADE.video_id}"


def open_page(folder: Path) -> TestClient:
    return TestClient(make_app(folder, library()), base_url="http://127.0.0.1:8377")


@pytest.fixture
def page(tmp_path: Path) -> TestClient:
    write_video(tmp_path, MADE)
    return open_page(tmp_path)


def unpack(data: bytes, count: int) -> list[bytes]:
    """The pictures of one answer."""
    lengths = struct.unpack_from(f"<{count}I", data)
    assert len(data) == 4 * count + sum(lengths)
    starts = np.cumsum([4 * count, *lengths])
    return [data[start : start + length] for start, length in zip(starts[:-1], lengths, strict=True)]


def shade_of(jpeg: bytes) -> int:
    return round(float(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE).mean()) / 8)


# Who may ask.


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "", "localhost.example.org:8377"])
def test_a_foreign_name_for_this_machine_is_refused(page: TestClient, host: str) -> None:
    assert page.get("/", headers={"host": host}).status_code == 400
    assert page.put(f"{HERE}/marks/0-1", json={}, headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8377", "localhost:8377"])
def test_this_machine_by_its_own_name_is_answered(page: TestClient, host: str) -> None:
    assert page.get("/api/videos", headers={"host": host}).status_code == 200


def test_no_simple_request_of_a_foreign_page_can_write(page: TestClient, tmp_path: Path) -> None:
    """Browsers send POST unasked, and announce PUT and DELETE first, which is not allowed to anybody."""
    assert page.post(f"{HERE}/marks/0-1", content="{}").status_code == 405
    asked = {"origin": "http://example.org", "access-control-request-method": "PUT"}
    announced = page.options(f"{HERE}/marks/0-1", headers=asked)
    assert announced.status_code == 405
    assert not [name for name in announced.headers if name.startswith("access-control")]
    assert load_marks(tmp_path, MADE.video_id) == ()


@pytest.mark.parametrize(
    "path",
    [
        "/api/videos/no-such",
        "/api/videos/..%2f..%2fetc",
        "/api/videos/%2e%2e/labels?start=0&stop=1",
        "/api/videos/a%00b",
        "/../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/docs",  # FastAPI's own pages would fetch from elsewhere
        "/openapi.json",
    ],
)
def test_what_is_not_the_datasets_is_not_found(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 404


def test_every_answer_forbids_the_page_to_ask_elsewhere(page: TestClient) -> None:
    for path in ("/", "/page.js", "/api/videos"):
        policy = page.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy


def test_the_page_names_no_address_outside() -> None:
    for path in PAGE.iterdir():
        assert not re.search(r"https?:|//[a-z]+\.[a-z]", path.read_text()), path


# What is answered.


def test_the_list_names_every_video_and_what_is_wrong_with_one(tmp_path: Path) -> None:
    write_video(tmp_path, MADE)
    write_empty(tmp_path, "empty-1", title="Nothing here")
    write_video(tmp_path, Made(video_id="broken-1"))
    (tmp_path / "videos" / "broken-1" / "report.json").write_text("{")
    broken, empty, made = open_page(tmp_path).get("/api/videos").json()
    assert broken["id"] == "broken-1" and "broken-1/report.json" in broken["problem"]
    assert empty == {"id": "empty-1", "title": "Nothing here", "family": None, "seconds": 36.0, "chunks": 0, "kept": 0}
    assert (made["id"], made["family"], made["seconds"], made["kept"]) == (MADE.video_id, "xbox_one", 60.0, 2)


def test_a_video_opens_at_its_first_kept_frame(tmp_path: Path) -> None:
    write_video(tmp_path, Made(kept=(False, True)))
    described = open_page(tmp_path).get(HERE).json()
    assert described["first"] == 200
    assert described["frames"] == 400
    assert described["shown"] == [name for name in CONTROLS if name != "guide"]
    assert described["has_source"] is False


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (195, 205), (399, 401), (590, 600)])
def test_frames_are_those_that_were_asked_for_and_dropped_ones_are_empty(
    page: TestClient, start: int, stop: int
) -> None:
    jpegs = unpack(page.get(f"{HERE}/frames?start={start}&stop={stop}").content, stop - start)
    for frame, jpeg in zip(range(start, stop), jpegs, strict=True):
        assert (shade_of(jpeg) if jpeg else None) == (None if 200 <= frame < 400 else frame % COLOURS)


def test_frames_are_found_in_packed_files_that_hold_several_videos(tmp_path: Path) -> None:
    write_video(tmp_path, MADE)
    write_video(tmp_path, Made(video_id="other-1"))
    shards = tmp_path / "shards"
    joined = tmp_path / "packed" / "0000.parquet"
    joined.parent.mkdir()
    singles = sorted(shards.glob("*.parquet"), reverse=True)
    with pq.ParquetWriter(joined, pq.read_schema(singles[0])) as writer:
        for single in singles:
            file = pq.ParquetFile(single)
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group))
            single.unlink()
    page = open_page(tmp_path)
    for video_id in (MADE.video_id, "other-1"):
        jpegs = unpack(page.get(f"/api/videos/{video_id}/frames?start=400&stop=403").content, 3)
        assert [shade_of(jpeg) for jpeg in jpegs] == [frame % COLOURS for frame in (400, 401, 402)]


def test_labels_are_the_rows_of_the_file(page: TestClient, tmp_path: Path) -> None:
    table = pq.read_table(tmp_path / "videos" / MADE.video_id / "actions.parquet").slice(190, 30).to_pylist()
    told = page.get(f"{HERE}/labels?start=190&stop=220").json()
    assert told["start"] == 190
    assert told["time"] == [row["timestamp"] for row in table]
    for i, row in enumerate(table):
        assert [bool(told["held"][i] >> bit & 1) for bit in range(17)] == [bool(row[name]) for name in BUTTONS]
        assert [bool(told["known"][i] >> bit & 1) for bit in range(19)] == [row[name] is not None for name in CONTROLS]
        assert told["sticks"][i] == pytest.approx([*row["j_left"], *row["j_right"]], abs=1e-4)
        assert told["confidence"][i] == pytest.approx(row["confidence"], abs=1e-4)


def test_what_is_unknown_is_null(tmp_path: Path) -> None:
    def uncover(labels: Labels) -> None:
        labels.known[:5] = False
        labels.sticks[:5] = np.nan

    write_video(tmp_path, Made(hide=("j_right",), edit=uncover))
    told = open_page(tmp_path).get(f"{HERE}/labels?start=4&stop=6").json()
    assert told["sticks"][0] == [None] * 4
    assert told["sticks"][1][2:] == [None, None] and None not in told["sticks"][1][:2]
    assert told["confidence"][0] is None and told["confidence"][1] == pytest.approx(0.9)


@pytest.mark.parametrize("what", ["labels", "frames"])
@pytest.mark.parametrize(
    "span", ["start=-1&stop=5", "start=5&stop=5", "start=0&stop=5000", "start=590&stop=601", "start=a"]
)
def test_a_span_that_makes_no_sense_is_refused(page: TestClient, what: str, span: str) -> None:
    assert page.get(f"{HERE}/{what}?{span}").status_code == 422


def test_the_overview_covers_every_frame_once(page: TestClient) -> None:
    told = page.get(f"{HERE}/overview").json()
    assert told["start"][0] == 0 and told["start"] == sorted(set(told["start"]))
    assert len(told["start"]) == len(told["active"]) == len(told["confidence"]) == 600
    assert set(told["active"]) == {1.0}  # the left stick never rests


def test_doubts_that_are_close_are_one_span(tmp_path: Path) -> None:
    def doubt(labels: Labels) -> None:
        labels.confidence[[50, 51, 54]] = (0.4, 0.2, 0.3)  # 0.3 s apart
        labels.confidence[70] = 0.45

    write_video(tmp_path, Made(edit=doubt))
    page = open_page(tmp_path)
    told = page.get(f"{HERE}/doubts?below=0.5").json()
    assert [(span["start_frame"], span["end_frame"]) for span in told] == [(50, 55), (70, 71)]
    assert [span["confidence"] for span in told] == [0.2, 0.45]
    assert told[0]["start_s"] == pytest.approx(5.0)
    assert len(page.get(f"{HERE}/doubts?below=0.42").json()) == 1
    assert page.get(f"{HERE}/doubts?below=2").status_code == 422


def test_chunks_come_with_their_frames_and_reasons(page: TestClient) -> None:
    chunks = page.get(f"{HERE}/spans").json()["chunks"]
    assert [(chunk["start_frame"], chunk["end_frame"]) for chunk in chunks] == [(0, 200), (200, 400), (400, 600)]
    assert [chunk["kept"] for chunk in chunks] == [True, False, True]
    assert (chunks[1]["reason"], chunks[1]["detail"]) == ("inactive", "too little happens")


def test_a_pad_of_a_template_that_nobody_has_is_drawn_as_its_family(tmp_path: Path) -> None:
    write_video(tmp_path, Made(template="fitted-by-hand"))
    assert open_page(tmp_path).get(f"{HERE}/pad/0").json()["sprites"]


def test_a_pad_of_a_family_that_nobody_has_is_told_in_one_sentence(tmp_path: Path) -> None:
    write_video(tmp_path, Made(template="abacus/own", family="abacus"))
    refused = open_page(tmp_path).get(f"{HERE}/pad/0")
    assert refused.status_code == 409
    assert "abacus/own" in refused.json()["detail"] and "--templates" in refused.json()["detail"]


@pytest.mark.parametrize("break_it", ["truncate", "foreign"])
def test_a_shard_that_cannot_be_read_is_told_by_name(tmp_path: Path, break_it: str) -> None:
    write_video(tmp_path, MADE)
    shard = tmp_path / "shards" / f"{MADE.video_id}.parquet"
    if break_it == "truncate":
        shard.write_bytes(shard.read_bytes()[:-100])
    else:
        shutil.copy(tmp_path / "videos" / MADE.video_id / "actions.parquet", shard)
    refused = open_page(tmp_path).get(f"{HERE}/frames?start=0&stop=1")
    assert refused.status_code == 409
    assert str(shard) in refused.json()["detail"]


def test_a_video_without_shards_has_labels_and_no_pictures(page: TestClient, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "shards")
    assert unpack(page.get(f"{HERE}/frames?start=0&stop=2").content, 2) == [b"", b""]
    assert page.get(f"{HERE}/labels?start=0&stop=2").status_code == 200


def test_a_video_that_is_extracted_again_is_read_anew(tmp_path: Path) -> None:
    write_video(tmp_path, MADE)
    page = open_page(tmp_path)
    assert page.get(HERE).json()["frames"] == 600
    shutil.rmtree(tmp_path / "videos")
    write_video(tmp_path, Made(kept=(True,)))
    assert page.get(HERE).json()["frames"] == 200


# What the first frame costs.


def first_frame(page: TestClient, counted: list[int]) -> int:
    """Bytes of all that the page fetches before it shows its first picture. ``counted``: rows that the server reads."""
    counted.clear()
    answers = [
        page.get(f"{HERE}{what}") for what in ("", "/labels?start=0&stop=512", "/frames?start=0&stop=16", "/pad/0")
    ]
    assert all(answer.status_code == 200 for answer in answers)
    return sum(len(answer.content) for answer in answers)


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The rows of every table that is read from a Parquet file."""
    counted: list[int] = []
    for name in ("read", "read_row_group", "read_row_groups"):
        read = getattr(pq.ParquetFile, name)

        def count(self: pq.ParquetFile, *args: object, read: object = read, **options: object) -> object:
            table = read(self, *args, **options)  # type: ignore[operator]
            counted.append(len(table))
            return table

        monkeypatch.setattr(pq.ParquetFile, name, count)
    yield counted


def test_the_first_frame_of_a_long_video_costs_what_that_of_a_short_one_does(
    tmp_path: Path, rows_read: list[int]
) -> None:
    costs = []
    for name, chunks in (("short", 3), ("long", 60)):
        write_video(tmp_path / name, Made(kept=(True,) * chunks, fps=30))
        costs.append((first_frame(open_page(tmp_path / name), rows_read), sum(rows_read)))
    (short_bytes, short_rows), (long_bytes, long_rows) = costs
    assert long_rows == short_rows == 600 + 600  # one chunk of labels, one of pictures
    assert long_bytes == pytest.approx(short_bytes, abs=20)  # the number of frames has more digits


# Marks.


def test_a_mark_is_written_beside_the_data_and_can_be_removed(page: TestClient, tmp_path: Path) -> None:
    told = page.put(f"{HERE}/marks/10-20", json={"note": "menu <b>"})
    assert told.json() == [{"start_frame": 10, "end_frame": 20, "note": "menu <b>"}]
    page.put(f"{HERE}/marks/5-6", json={})
    assert load_marks(tmp_path, MADE.video_id) == (
        Span(start_frame=5, end_frame=6),
        Span(start_frame=10, end_frame=20, note="menu <b>"),
    )
    assert page.get(f"{HERE}/spans").json()["marks"][1]["note"] == "menu <b>"
    page.delete(f"{HERE}/marks/5-6")
    assert page.delete(f"{HERE}/marks/10-20").json() == []
    assert load_marks(tmp_path, MADE.video_id) == ()


def test_the_same_span_marked_again_has_the_later_note(page: TestClient, tmp_path: Path) -> None:
    page.put(f"{HERE}/marks/10-20", json={"note": "one"})
    page.put(f"{HERE}/marks/10-20", json={"note": "two"})
    assert [span.note for span in load_marks(tmp_path, MADE.video_id)] == ["two"]


def test_marks_that_another_page_made_stay(page: TestClient, tmp_path: Path) -> None:
    page.put(f"{HERE}/marks/10-20", json={})
    save_marks(tmp_path, MADE.video_id, [*load_marks(tmp_path, MADE.video_id), Span(start_frame=1, end_frame=2)])
    page.put(f"{HERE}/marks/30-40", json={})
    assert [span.start_frame for span in load_marks(tmp_path, MADE.video_id)] == [1, 10, 30]


@pytest.mark.parametrize("span", ["5-5", "6-5", "590-601", "0-100000000000", "a-b"])
def test_a_mark_beyond_the_video_is_refused(page: TestClient, tmp_path: Path, span: str) -> None:
    assert page.put(f"{HERE}/marks/{span}", json={}).status_code == 422
    assert load_marks(tmp_path, MADE.video_id) == ()


def test_a_note_without_end_is_refused(page: TestClient) -> None:
    assert page.put(f"{HERE}/marks/0-1", json={"note": "x" * 2001}).status_code == 422


def test_marks_that_cannot_be_read_are_told_and_not_replaced(page: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "marks" / f"{MADE.video_id}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"schema_version": 2}))
    refused = page.put(f"{HERE}/marks/0-1", json={})
    assert refused.status_code == 409 and path.name in refused.json()["detail"]
    assert path.read_text() == json.dumps({"schema_version": 2})


# The source video.


def draw_source(path: Path) -> None:
    """600 frames at 10 a second from 3 s on; the box of the overlay is grey of 8 (i % 32), the rest is black."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "g": "50", "qp": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for i in range(600):
            picture = np.zeros((180, 320, 3), np.uint8)
            picture[:120, :150] = 8 * (i % 32)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = i + 30
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def with_source(tmp_path: Path) -> tuple[Path, str]:
    """A dataset whose source video is at hand, and the video's id."""
    source = tmp_path / "run.mp4"
    draw_source(source)
    video_id = make_video_id(source)
    write_video(tmp_path / "out", Made(video_id=video_id, source=str(source), start_s=3.0))
    return tmp_path / "out", video_id


def test_overlays_come_from_the_frames_with_the_same_times_in_any_order(with_source: tuple[Path, str]) -> None:
    folder, video_id = with_source
    page = open_page(folder)
    assert page.get(f"/api/videos/{video_id}").json()["has_source"] is True
    for start in (0, 32, 64, 570, 100, 99, 131, 0):  # on, far ahead, and back
        stop = min(start + 32, 600)
        jpegs = unpack(page.get(f"/api/videos/{video_id}/overlays?start={start}&stop={stop}").content, stop - start)
        assert [shade_of(jpeg) for jpeg in jpegs] == [frame % 32 for frame in range(start, stop)]


def test_a_source_that_was_kept_in_the_store_is_found_there(with_source: tuple[Path, str]) -> None:
    folder, video_id = with_source
    (folder / "sources").mkdir()
    shutil.move(folder.parent / "run.mp4", folder / "sources" / f"{video_id}.mp4")
    assert open_page(folder).get(f"/api/videos/{video_id}").json()["has_source"] is True


def test_another_file_in_the_place_of_the_source_is_not_shown(with_source: tuple[Path, str]) -> None:
    folder, video_id = with_source
    (folder.parent / "run.mp4").write_bytes(b"something that a dataset from elsewhere points to")
    page = open_page(folder)
    assert page.get(f"/api/videos/{video_id}").json()["has_source"] is False
    assert page.get(f"/api/videos/{video_id}/overlays?start=0&stop=1").status_code == 404


def test_the_pictures_of_the_made_dataset_differ() -> None:
    assert [shade_of(grey_jpeg(shade)) for shade in range(COLOURS)] == list(range(COLOURS))


# The command.


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    write_video(tmp_path, MADE)
    command = [sys.executable, "-u", "-c", "from flows.cli import main; main()", "view", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(found[0] + "api/videos") as answer:
            assert json.load(answer)[0]["id"] == MADE.video_id
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_told_in_one_sentence(tmp_path: Path) -> None:
    write_video(tmp_path, MADE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["view", str(tmp_path), "--port", str(port)])
    assert result.exit_code == 1
    assert f"expected port {port} to be free" in result.stderr and "--port" in result.stderr
