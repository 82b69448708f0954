"""Videos at addresses are looked at for a small part of their bytes, and whatever a server does ends in a row."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from extraction.extract import ExtractOptions
from extraction.video import sample_frames
from flows.bench import loop_packets
from flows.channels import Channel
from flows.cli import app
from flows.download import DownloadOptions, open_ydl
from flows.faults import Kind, VideoFault
from flows.keyframes import Glimpse, Limits, glimpse, limited
from flows.ledger import Row
from flows.run import ExtractJob, Run
from flows.scan import Scan, Scanned, ScanOptions, write_csv
from flows.wording import scan_line, scan_tally, size_words
from tests.flows.clips import SAMPLE, cut_sample, draw_plain
from tests.flows.liars import LIES, Lie, drips, never_ends, tell
from tests.flows.site import Site, send, send_part

QUICK = DownloadOptions(sleep_s=0, sleep_requests_s=0, keep_free_gib=0)
MIB = 2**20


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """10 minutes at 720p."""
    path = tmp_path_factory.mktemp("long") / "video.mp4"
    loop_packets(SAMPLE, path, 600.0)
    return path.read_bytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The first seconds of the sample, with its index at the front."""
    return cut_sample(tmp_path_factory.mktemp("clip") / "clip.mp4", 4.0)


def look(url: str, folder: Path, *, max_bytes: int = 32 * MIB, timeout_s: float = 120.0) -> Glimpse:
    return glimpse(url, folder / "keyframes.mkv", 25, Limits(max_bytes, timeout_s), QUICK)


def fault_of(url: str, folder: Path, **limits: Any) -> VideoFault:
    with pytest.raises(VideoFault) as caught:
        look(url, folder, **limits)
    assert "\n" not in caught.value.detail and caught.value.fetched_bytes is not None
    return caught.value


def counted(site: Site, path: str, content: bytes, *, ranges: bool = True) -> tuple[str, list[int]]:
    """An address of some content, and the sizes of the answers that it gave."""
    sent: list[int] = []

    def answer(request: Any) -> None:
        if not ranges:
            del request.headers["Range"]
        first, _, last = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        sent.append(min(int(last or len(content)), len(content) - 1) + 1 - int(first))
        send_part(request, content)

    site.answers[path] = answer
    return site.address + path, sent


def see_nothing(video: Path, templates: str | None, options: ExtractOptions) -> dict[str, Any]:
    """Stands in for matching, which takes seconds: the keyframes are there, and show no overlay."""
    assert sample_frames(video, options.sample_frames)
    return {"placements": (), "reason": "no_overlay", "size": (1280, 720)}


def crash(video: Path, templates: str | None, options: ExtractOptions) -> dict[str, Any]:
    """A bug that one video brings out."""
    raise ZeroDivisionError("oh")


def scan(*sources: str | Path, match: Any = see_nothing, **options: Any) -> list[Scanned]:
    with Scan(
        [str(source) for source in sources],
        ScanOptions(download=QUICK, **{"at_once": 2, **options}),
        ExtractOptions(),
        match=match,
    ) as run:
        rows = list(run.rows())
        assert run.expected == len(rows)
    return rows


# --- bytes ----------------------------------------------------------------------------------------------


def test_25_frames_of_a_long_video_cost_a_small_part_of_its_bytes(
    site: Site, long_video: bytes, tmp_path: Path
) -> None:
    url, sent = counted(site, "/video.mp4", long_video)
    seen = look(url, tmp_path)
    assert sum(sent) == seen.fetched_bytes < 0.08 * len(long_video)
    assert seen.total_bytes == len(long_video) and seen.note == ""
    assert seen.keyframes is not None
    frames = sample_frames(seen.keyframes)
    assert len(frames) == 25
    assert frames[0][1].shape == (720, 1280, 3)
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(frames)]
    assert max(gaps) < 2 * 600 / 25, "they are spread over the whole video"


def test_without_ranges_it_says_so_and_stops_at_its_limit(site: Site, long_video: bytes, tmp_path: Path) -> None:
    url, _ = counted(site, "/video.mp4", _index_first(long_video, tmp_path), ranges=False)
    seen = look(url, tmp_path, max_bytes=8 * MIB)
    assert "no byte ranges" in seen.note and "first 8 MiB" in seen.note
    assert seen.fetched_bytes <= 8 * MIB
    assert seen.keyframes is not None and len(sample_frames(seen.keyframes)) > 15, "a minute of it"
    assert site.count("/video.mp4") == 1


def test_without_ranges_an_index_beyond_the_limit_is_a_fault(site: Site, long_video: bytes, tmp_path: Path) -> None:
    url, _ = counted(site, "/video.mp4", long_video, ranges=False)
    fault = fault_of(url, tmp_path, max_bytes=4 * MIB)
    assert fault.kind is Kind.TOO_LARGE and "no byte ranges" in fault.detail
    assert fault.fetched_bytes == 4 * MIB


def test_without_ranges_a_small_file_is_read_whole_wherever_its_index_is(site: Site, tmp_path: Path) -> None:
    url, _ = counted(site, "/video.mp4", SAMPLE.read_bytes(), ranges=False)
    seen = look(url, tmp_path)
    assert seen.note == "its server sends no byte ranges"
    assert seen.keyframes is not None and sample_frames(seen.keyframes)


def test_pictures_that_would_fill_the_memory_are_refused(
    site: Site, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extraction.remux.MAX_PIXELS", 1280 * 720 - 1)
    assert "1280x720" in fault_of(site.video("/clip.mp4", clip), tmp_path).detail


def test_a_video_with_few_keyframes_is_copied_whole(site: Site, clip: bytes, tmp_path: Path) -> None:
    seen = look(site.video("/clip.mp4", clip), tmp_path)
    assert seen.keyframes is not None and len(sample_frames(seen.keyframes)) == 25


def test_a_video_is_told_from_a_page_by_its_bytes_and_not_by_its_type(site: Site, clip: bytes, tmp_path: Path) -> None:
    site.answers["/v"] = lambda request: send(request, 200, clip, "text/html")
    assert look(site.address + "/v", tmp_path).keyframes is not None


def test_a_video_behind_a_page_is_found(site: Site, long_video: bytes, tmp_path: Path) -> None:
    url, sent = counted(site, "/video.mp4", long_video)
    page = f'<html><head><title>Run</title></head><body><video src="{url}"></video></body></html>'.encode()
    site.answers["/page"] = lambda request: send(request, 200, page, "text/html")
    seen = look(site.address + "/page", tmp_path)
    assert seen.title.startswith("Run") and seen.keyframes is not None
    assert sum(sent) < seen.fetched_bytes < 0.08 * len(long_video), "the page counts, too"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (("hls-720", "1080", "720-60", "720-30-vp9", "720-30", "480"), "720-30"),  # sharp enough, one file, small index
        (("hls-720", "1080", "480"), "480"),
        (("hls-720", "1080"), "1080"),  # better than nothing
        (("with-sound-360", "hls-720"), "with-sound-360"),
    ],
)
def test_of_a_sites_formats_a_modest_one_is_taken_that_is_one_file(offered: tuple[str, ...], taken: str) -> None:
    formats = [
        {
            "format_id": name,
            "url": f"https://a.example/{name}" + (".m3u8" if "hls" in name else ".mp4"),
            "protocol": "m3u8_native" if "hls" in name else "https",
            "ext": "mp4",
            "height": next(int(word) for word in name.split("-") if word.isdigit()),
            "fps": 60 if "60" in name.split("-") else 30,
            "vcodec": "vp9" if "vp9" in name else "avc1.64001f",
            "acodec": "mp4a.40.2" if "sound" in name else "none",
        }
        for name in offered
    ]
    with open_ydl(QUICK, limited(QUICK, 60.0)) as ydl:
        found = {"id": "1", "title": "t", "extractor": "e", "formats": formats}
        assert ydl.process_ie_result(found, download=False)["format_id"] == taken


def test_a_stream_in_pieces_is_unsupported(site: Site, tmp_path: Path) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n#EXT-X-ENDLIST\n"
    site.answers["/v.m3u8"] = lambda request: send(request, 200, playlist, "application/vnd.apple.mpegurl")
    assert fault_of(site.address + "/v.m3u8", tmp_path).kind is Kind.UNSUPPORTED


def test_a_list_gives_its_videos_and_asks_for_none(site: Site, tmp_path: Path) -> None:
    seen = look(site.feed("/feed", [("One", "/1.mp4"), ("Two", "/2.mp4")]), tmp_path)
    assert [video.title for video in seen.listed] == ["One", "Two"]
    assert {path for path, _ in site.asked} == {"/feed"}


# --- servers that fail or lie ---------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_server_that_lies_ends_in_a_fault_within_the_limits(
    site: Site, clip: bytes, tmp_path: Path, lie: Lie
) -> None:
    fault = fault_of(tell(site, "/v.mp4", lie, clip), tmp_path, max_bytes=4 * MIB, timeout_s=8.0)
    assert fault.kind is not Kind.CRASH
    assert (fault.fetched_bytes or 0) <= 4 * MIB + 1024
    assert len(site.asked) < 100


def test_a_video_in_a_body_that_never_ends_is_read_to_its_own_end(site: Site, clip: bytes, tmp_path: Path) -> None:
    seen = look(tell(site, "/v.mp4", never_ends, clip), tmp_path, max_bytes=4 * MIB)
    assert seen.fetched_bytes < 4 * MIB and seen.total_bytes is None
    assert seen.keyframes is not None and len(sample_frames(seen.keyframes)) == 25


def test_a_broken_connection_is_tried_again(site: Site, clip: bytes, tmp_path: Path) -> None:
    assert look(site.breaks_off("/v.mp4", clip), tmp_path).keyframes is not None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_200_addresses_of_which_a_fifth_is_dead_slow_or_lies_get_a_row_each(site: Site, clip: bytes) -> None:
    good = [site.video(f"/{i}.mp4", clip) for i in range(160)]
    bad = [tell(site, f"/bad{i}.mp4", LIES[i % len(LIES)], clip) for i in range(38)]
    bad += ["http://127.0.0.1:9/dead.mp4", "http://nowhere.invalid/v.mp4"]
    mixed = [url for i in range(40) for url in (*good[4 * i : 4 * i + 4], bad[i])]
    rows = scan(*mixed, at_once=4, max_mib=4.0, timeout_s=30.0)
    assert sorted(row.source for row in rows) == sorted(mixed)
    assert {row.source for row in rows if row.error is not None} == set(bad)
    assert all(row.reason and row.reason != "crash" for row in rows)


def test_a_host_that_refuses_for_long_is_left_alone(site: Site, clip: bytes) -> None:
    urls = [site.video(f"/{i}.mp4", clip) for i in range(5)]
    site.refuses_until = time.time() + 3000
    rows = scan(*urls, at_once=1)
    assert [row.reason for row in rows] == ["throttled"] * 5
    assert len(site.asked) == 1


def test_a_short_refusal_is_waited_for(site: Site, clip: bytes) -> None:
    url = site.video("/1.mp4", clip)
    site.refuses_until = time.time() + 6
    [row] = scan(url, at_once=1)
    assert row.reason == "no_overlay"


# --- rows -----------------------------------------------------------------------------------------------


def test_files_folders_and_lists_give_a_row_for_each_video(site: Site, clip: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip)
    (tmp_path / "b.mp4").write_text("this is no video")
    site.video("/1.mp4", clip)
    inner = site.feed("/inner", [("One", "/1.mp4"), ("Gone", "/gone.mp4")])
    outer = site.feed("/outer", [("List", "/inner"), ("One again", "/1.mp4")])
    rows = {row.source: row for row in scan(tmp_path, outer, inner, tmp_path / "nothing")}
    address = site.address
    files = {str(tmp_path / name) for name in ("a.mp4", "b.mp4", "nothing")}
    assert set(rows) == {f"{address}/1.mp4", f"{address}/gone.mp4", *files}
    assert rows[f"{address}/1.mp4"].reason == "no_overlay"
    assert rows[f"{address}/gone.mp4"].reason == "removed"
    assert "b.mp4" in (rows[str(tmp_path / "b.mp4")].error or "")
    assert rows[str(tmp_path / "a.mp4")].fetched_bytes == 0


def test_a_bug_that_one_video_brings_out_is_its_row(site: Site, clip: bytes) -> None:
    [row] = scan(site.video("/1.mp4", clip), match=crash)
    assert row.reason == "crash" and "oh" in (row.error or "") and row.fetched_bytes


@pytest.mark.parametrize(
    ("address", "found"),
    [("ftp://a.example/v.mp4", "http"), ("http://me:secret@a.example/v", "password"), ("file:///etc/passwd", "http")],
)
def test_an_address_that_cannot_be_asked_is_said_to_be_so(address: str, found: str) -> None:
    [row] = scan(address)
    assert row.error is not None and found in row.error


FOUND = Scanned(
    source="https://a.example/1",
    title="=cmd()",
    placements=(
        {"template": "snes/own", "family": "snes", "box": [1, 2, 30, 40], "inliers": 33, "start": 0.0, "end": 9.0},
    ),
    size=(1280, 720),
    fetched_bytes=1_300_000,
    total_bytes=90_000_000,
    seconds=2.25,
)
NONE = Scanned("https://a.example/2", reason="no_overlay", fetched_bytes=700_000, total_bytes=10_000_000, seconds=1.0)
FAILED = Scanned("https://a.example/3", reason="network", error="no route", fetched_bytes=None, seconds=9.0)


def test_a_row_is_a_line_and_all_rows_are_counted() -> None:
    assert scan_line(FOUND) == "https://a.example/1: snes/own (snes) at 1,2 size 30x40, 1.3 MB fetched, 2.2 s"
    assert scan_line(NONE) == "https://a.example/2: no_overlay, 700 kB fetched, 1.0 s"
    tally = scan_tally([FOUND, NONE, FAILED])
    assert tally == "3 videos, 1 with an overlay (33.3%), 2.0 MB fetched of 100 MB, 1 failed"
    assert [size_words(size) for size in (0, 999, 41_300_000, 18 * 10**9)] == ["0 B", "999 B", "41 MB", "18 GB"]


def test_a_row_as_json_says_whether_there_is_an_overlay_or_nobody_knows() -> None:
    assert [row.as_json()["overlay"] for row in (FOUND, NONE, FAILED)] == [True, False, None]
    assert json.loads(json.dumps(FOUND.as_json()))["placements"][0]["box"] == [1, 2, 30, 40]


def test_the_csv_has_a_row_for_each_video_and_no_title_from_the_network(tmp_path: Path) -> None:
    write_csv([FOUND, NONE, FAILED], tmp_path / "rows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["overlay"] for row in rows] == ["True", "False", ""]
    assert [rows[0][side] for side in ("x", "y", "width", "height")] == ["1", "2", "30", "40"]
    assert rows[2]["error"] == "no route" and rows[2]["fetched_bytes"] == ""
    assert "cmd" not in (tmp_path / "rows.csv").read_text()


# --- scheduled runs -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduled_run_fetches_only_what_shows_an_overlay_or_is_small(
    site: Site, long_video: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_plain(tmp_path / "short.mp4", 0)
    loop_packets(tmp_path / "short.mp4", tmp_path / "plain.mp4", 120.0)
    plain = (tmp_path / "plain.mp4").read_bytes()
    contents = {"good": long_video, "plain": plain, "small": plain[: len(plain) // 3]}
    urls, sent = {}, {}
    for name, content in contents.items():
        urls[name], sent[name] = counted(site, f"/{name}.mp4", content)
    monkeypatch.setattr("flows.run.SCAN", Limits(32 * MIB, 120.0, min_bytes=len(plain)))
    job = ExtractJob(channels="", out=str(tmp_path / "out"), work=str(tmp_path / "work"), download=QUICK)
    scheduled = Run(job, [Channel(name="c", url=site.address, families=("xbox_one",))])
    try:
        rows = {
            name: scheduled.scan(Row(key=f"{name}-1", channel="c", url=url, updated=datetime.now(UTC)))
            for name, url in urls.items()
        }
    finally:
        scheduled.close()
    assert {name: row.status.value for name, row in rows.items()} == {
        "good": "queued",
        "plain": "no_overlay",
        "small": "queued",
    }
    assert sum(sent["good"]) < 0.08 * len(long_video)
    assert sum(sent["plain"]) < len(plain)
    assert len(sent["small"]) == 1
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


# --- the command ----------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_finds_the_overlay_of_a_video_at_an_address(site: Site, long_video: bytes, tmp_path: Path) -> None:
    url, _ = counted(site, "/video.mp4", long_video)
    result = run("scan", url, site.address + "/gone.mp4", "--csv", tmp_path / "rows.csv", "--json")
    assert result.exit_code == 1
    rows = {row["source"]: row for row in json.loads(result.stdout)}
    assert rows[site.address + "/gone.mp4"]["reason"] == "removed"
    found = rows[url]
    assert found["overlay"] and found["reason"] is None and found["size"] == [1280, 720]
    true = json.loads((SAMPLE.parent / "case.json").read_text())["boxes"][0][1:]
    box = found["placements"][0]["box"]
    assert max(abs(side - expected) for side, expected in zip(box, true, strict=True)) <= 3
    assert found["fetched_bytes"] < 0.08 * found["total_bytes"]
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3
    assert "gone.mp4" in result.stderr and "Traceback" not in result.stderr


def test_a_source_that_names_nothing_is_code_1_and_one_sentence(tmp_path: Path) -> None:
    result = run("scan", tmp_path / "gone.mp4")
    assert result.exit_code == 1
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert str(tmp_path / "gone.mp4") in line
    assert "1 video, 0 with an overlay (0.0%), 1 failed" in result.stdout


def test_an_interrupted_scan_tells_what_it_knows_by_then(site: Site, clip: bytes, tmp_path: Path) -> None:
    url = tell(site, "/slow.mp4", drips, clip)
    # Whoever runs the tests in the background may have had Ctrl-C ignored, which is inherited.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from flows.cli import main; main()"
    command = [sys.executable, "-c", code, "scan", tmp_path / "gone.mp4", url]
    running = subprocess.Popen(
        [*command, "--csv", tmp_path / "rows.csv"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        while not site.asked:
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 1
    assert "an end after 1" in said and "Traceback" not in said
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2


def test_a_bad_template_folder_is_told_before_anything_is_asked(site: Site, tmp_path: Path) -> None:
    result = run("scan", site.address + "/1.mp4", "--templates", tmp_path / "gone")
    assert result.exit_code == 1 and str(tmp_path / "gone") in result.stderr
    assert site.asked == []


def _index_first(video: bytes, folder: Path) -> bytes:
    import av

    (folder / "last.mp4").write_bytes(video)
    with (
        av.open(str(folder / "last.mp4")) as source,
        av.open(str(folder / "first.mp4"), "w", options={"movflags": "+faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    return (folder / "first.mp4").read_bytes()
