"""A whole night: ``padtrace serve``, ``prefect deployment run``, yt-dlp against a real server, real extraction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.ledger import Ledger, Row
from flows.store import open_store
from tests.flows.clips import cut_sample, draw_plain
from tests.flows.prefect_server import Served, open_served
from tests.flows.site import Site, open_site

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900  # seconds for one night on a busy machine
QUICK = {"sleep_s": 0, "sleep_requests_s": 0, "keep_free_gib": 0, "timeout_s": 15}
COOKIE = "cookie-that-must-never-be-written"
KEY = "key-that-must-never-be-written"

pytestmark = pytest.mark.timeout(PATIENCE)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """Contents: ``good`` show the overlay, ``plain`` do not."""
    folder = tmp_path_factory.mktemp("clips")
    return {
        "good": [cut_sample(folder / f"good{i}.mp4", 1.0, note=str(i)) for i in range(8)],
        "plain": [draw_plain(folder / f"plain{i}.mp4", i) for i in range(15)],
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    cookies = folder / "cookies.txt"
    cookies.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{COOKIE}\n")
    secrets = {"PADTRACE_COOKIES": str(cookies), "AWS_SECRET_ACCESS_KEY": KEY}
    with open_served(folder, (ROOT / "prefect.yaml").read_text(), secrets) as server:
        yield server


def write_list(path: Path, feeds: dict[str, str]) -> str:
    path.write_text(
        "\n".join(
            f'[[channel]]\nname = "{name}"\nurl = "{url}"\nfamilies = ["xbox_one"]' for name, url in feeds.items()
        )
    )
    return str(path)


def make_job(tmp_path: Path, channels: str, **more: Any) -> dict[str, Any]:
    return {
        "channels": channels,
        "out": str(tmp_path / "out"),
        "work": str(tmp_path / "work"),
        "download": QUICK,
        "options": {"active_fraction": 0},
        "videos_at_once": 3,
        "retries": 1,
        "retry_delay_s": 0.5,
        **more,
    }


def rows_of(out: Path) -> dict[str, Row]:
    return {row.title: row for row in Ledger(open_store(str(out))).rows()}


def fill(site: Site, clips: dict[str, list[bytes]]) -> dict[str, str]:
    """Three channels with 30 videos."""
    good = [(f"good {i}", f"/good{i}.mp4") for i in range(8)]
    plain = [(f"plain {i}", f"/plain{i}.mp4") for i in range(15)]
    for kind, videos in (("good", good), ("plain", plain)):
        for content, (_, path) in zip(clips[kind], videos, strict=True):
            site.video(path, content)
    site.video("/twin.mp4", clips["good"][7])
    site.fails("/dead0.mp4", 404)
    site.fails("/dead1.mp4", 410)
    site.fails("/dead2.mp4", 403)
    site.video("/corrupt0.mp4", b"this is no video" * 1000)
    site.video("/..%2f..%2fcorrupt1.mp4", clips["good"][0][:1000])
    site.never_ends("/endless.mp4")
    odd = [
        *((f"dead {i}", f"/dead{i}.mp4") for i in range(3)),
        ("corrupt 0", "/corrupt0.mp4"),
        ("../../../corrupt 1", "/..%2f..%2fcorrupt1.mp4"),
        ("endless", "/endless.mp4"),
        ("twin", "/twin.mp4"),
    ]
    return {
        "first": site.feed("/first.rss", good[:4] + plain[:5]),
        "second": site.feed("/second.rss", good[4:] + odd),
        "third": site.feed("/third.rss", plain[5:]),
    }


def test_a_night_over_three_channels(served: Served, clips: dict[str, list[bytes]], tmp_path: Path) -> None:
    with open_site() as site:
        job = make_job(tmp_path, write_list(tmp_path / "list.toml", fill(site, clips)))
        done = served.run("extract/extract", job)
        assert done.returncode == 0, done.stdout + done.stderr + served.log.read_text()

        rows = rows_of(tmp_path / "out")
        assert len(rows) == 30
        said = Counter((row.status.value, row.kind and row.kind.value) for row in rows.values())
        assert said == {
            ("done", None): 8,
            ("no_overlay", None): 15,
            ("failed", "removed"): 2,
            ("failed", "private"): 1,
            ("failed", "corrupt"): 2,
            ("failed", "timeout"): 1,
            ("skipped", "duplicate"): 1,
        }
        assert all(row.detail for row in rows.values() if row.status.value != "done")
        check_shards(tmp_path / "out", {row.video_id for row in rows.values() if row.status.value == "done"})
        assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()], "videos are deleted"

        before = len(site.asked)
        again = served.run("extract/extract", job)
        assert again.returncode == 0, again.stdout
        assert {path for path, _ in site.asked[before:]} == {"/first.rss", "/second.rss", "/third.rss"}
        assert rows_of(tmp_path / "out") == rows

    assert served.states("extract") == ["Completed", "Completed"]
    check_artifacts(served)
    check_names(served, rows)
    check_secrets(served, tmp_path)
    check_paths(tmp_path)


def check_shards(out: Path, good: set[str | None]) -> None:
    """One shard for each good video, all rows of that video, the source in the metadata."""
    shards = sorted((out / "shards").iterdir())
    assert {path.stem for path in shards} == good and len(good) == 8
    for path in shards:
        table = pq.read_table(path)
        assert set(table["video_id"].to_pylist()) == {path.stem} and 50 < len(table) < 80
        assert table.schema.metadata[b"url"].startswith(b"http://127.0.0.1")
        assert table.schema.metadata[b"format_id"] == b"mp4"
        report = json.loads((out / "videos" / path.stem / "report.json").read_text())
        assert report["origin"]["title"] and report["source"] == report["origin"]["url"]
        assert (out / "videos" / path.stem / "placement.jpg").read_bytes()[:2] == b"\xff\xd8"


def check_artifacts(served: Served) -> None:
    """A person sees the funnel, hours by channel, the placements and the progress."""
    artifacts = {each["key"]: each for each in served.query("artifacts/latest/filter", sort="KEY_ASC")}
    assert {"funnel", "kept-hours", "placements", "progress"} <= set(artifacts)
    funnel = {row["stage"]: row["count"] for row in json.loads(artifacts["funnel"]["data"])}
    assert (funnel["listed"], funnel["with_overlay"], funnel["dropped: no_overlay"]) == (30, 8, 15)
    assert len(json.loads(artifacts["kept-hours"]["data"])) == 3
    assert artifacts["placements"]["data"].count("placement.jpg") == 8
    assert artifacts["progress"]["data"] == 100


def check_names(served: Served, rows: dict[str, Row]) -> None:
    """Task runs are called after their stage and video; logs name the video."""
    tasks = {run["name"] for run in served.query("task_runs/filter", limit=200)}
    assert {f"download {row.key}" for row in rows.values()} <= tasks
    messages = [each["message"] for each in served.query("logs/filter", limit=200)]
    assert any(rows["endless"].key in message and "timeout" in message for message in messages)


def check_secrets(served: Served, tmp_path: Path) -> None:
    """Neither the database, nor logs, nor what was written holds a secret."""
    files = [path for folder in (served.home, tmp_path) for path in folder.rglob("*") if path.is_file()]
    for path in [*files, served.log]:
        content = path.read_bytes()
        assert COOKIE.encode() not in content and KEY.encode() not in content, path


def check_paths(tmp_path: Path) -> None:
    """Nothing was written but below the output and the working folder."""
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "work", "list.toml"}
    for path in (tmp_path / "out").rglob("*"):
        assert "..%" not in str(path) and path.resolve().is_relative_to(tmp_path)
