"""A whole night: ``padtrace serve``, ``prefect deployment run``, yt-dlp against a real server, real extraction."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from flows.ledger import Ledger, Row
from padtrace.dataset.store import open_store
from tests.flows.clips import cut_sample, draw_plain
from tests.flows.prefect_server import Served, open_served, wait_until
from tests.flows.site import Site, open_site

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900  # seconds for one night on a busy machine
QUICK = {"sleep_s": 0, "sleep_requests_s": 0, "keep_free_gib": 0, "timeout_s": 30}
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
    assert {f"{stage} {row.key}" for row in rows.values() for stage in ("scan", "download")} <= tasks
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


def test_a_host_that_refuses_is_waited_for(served: Served, clips: dict[str, list[bytes]], tmp_path: Path) -> None:
    with open_site() as site:
        videos = [(f"plain {i}", f"/plain{i}.mp4") for i in range(6)]
        for content, (_, path) in zip(clips["plain"], videos, strict=False):
            site.video(path, content)
        job = make_job(
            tmp_path, write_list(tmp_path / "list.toml", {"refusing": site.feed("/feed.rss", videos)}), retries=3
        )
        site.refuses_until = time.time() + 120
        done = served.run("extract/extract", job)
        assert done.returncode == 0, done.stdout
        assert time.time() > site.refuses_until
        assert [row.status.value for row in rows_of(tmp_path / "out").values()] == ["no_overlay"] * 6
        refused = sum(path.endswith(".mp4") for path, _ in site.asked) - 3 * len(videos)
        assert refused <= 6, "videos that are on their way are refused, then nobody asks until the wait is over"
        assert not list((tmp_path / "out" / "hosts").iterdir()), "the breaker is closed"


def test_a_host_that_goes_on_refusing_ends_the_run_and_the_videos_stay_queued(
    served: Served, clips: dict[str, list[bytes]], tmp_path: Path
) -> None:
    with open_site() as site:
        site.fails("/a.mp4", 429)
        site.fails("/b.mp4", 429)
        feed = site.feed("/feed.rss", [("a", "/a.mp4"), ("b", "/b.mp4")])
        job = make_job(tmp_path, write_list(tmp_path / "list.toml", {"refusing": feed}), refused_wait_s=1)
        assert served.run("extract/extract", job).returncode != 0
        rows = rows_of(tmp_path / "out")
        assert {row.status.value for row in rows.values()} == {"queued"}
        assert "the run stopped" in last_message(served)


def test_a_full_disk_stops_the_run_in_one_sentence_and_it_goes_on_later(
    served: Served, clips: dict[str, list[bytes]], tmp_path: Path
) -> None:
    with open_site() as site, small_disk(tmp_path / "work") as disk:
        for i in range(3):
            site.video(f"/plain{i}.mp4", clips["plain"][i])
        feed = site.feed("/feed.rss", [(f"plain {i}", f"/plain{i}.mp4") for i in range(3)])
        job = make_job(tmp_path, write_list(tmp_path / "list.toml", {"full": feed}), videos_at_once=1)
        filler = disk / "filler"
        filler.write_bytes(bytes(4_000_000))
        assert served.run("extract/extract", job).returncode != 0
        assert "full disk" in last_message(served) and "\n" not in last_message(served)
        assert {row.status.value for row in rows_of(tmp_path / "out").values()} == {"queued"}
        filler.unlink()
        assert served.run("extract/extract", job).returncode == 0
        assert {row.status.value for row in rows_of(tmp_path / "out").values()} == {"no_overlay"}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A real file system of 4 MB."""
    folder.mkdir()
    if os.geteuid() != 0 or ctypes.CDLL(None).mount(b"tmpfs", bytes(folder), b"tmpfs", 0, b"size=4m"):
        pytest.skip("making a small disk needs the right to mount")
    try:
        yield folder
    finally:
        ctypes.CDLL(None).umount2(bytes(folder), 2)


def last_message(served: Served) -> str:
    """Why the last flow run failed, in Prefect's words."""
    [run] = served.query("flow_runs/filter", sort="START_TIME_DESC", limit=1)
    message: str = run["state"]["message"]
    return message


def test_overlapping_runs_do_no_video_twice(served: Served, clips: dict[str, list[bytes]], tmp_path: Path) -> None:
    with open_site() as site:
        videos = [(f"plain {i}", f"/plain{i}.mp4") for i in range(8)]
        for content, (_, path) in zip(clips["plain"], videos, strict=False):
            site.video(path, content)
        job = make_job(
            tmp_path, write_list(tmp_path / "list.toml", {"shared": site.feed("/feed.rss", videos)}), videos_at_once=2
        )
        before = len(served.states("extract"))
        for _ in range(3):
            served.run("extract/extract", job, wait=False)
        wait_until(lambda: served.states("extract")[before:] == ["Completed"] * 3, 300)
        assert [row.status.value for row in rows_of(tmp_path / "out").values()] == ["no_overlay"] * 8
        assert all(site.count(path) == 3 for _, path in videos), "asked twice about each, fetched once"
        assert not [path for path in (tmp_path / "out" / "claims").rglob("*.json")]


def test_a_cancelled_run_leaves_nothing_half_written(
    served: Served, clips: dict[str, list[bytes]], tmp_path: Path
) -> None:
    with open_site() as site:
        site.never_ends("/endless.mp4")
        site.video("/plain.mp4", clips["plain"][0])
        feed = site.feed("/feed.rss", [("endless", "/endless.mp4")])
        patient = {**QUICK, "timeout_s": 600}
        job = make_job(tmp_path, write_list(tmp_path / "list.toml", {"c": feed}), download=patient)
        before = len(served.states("extract"))
        served.run("extract/extract", job, wait=False)
        wait_until(lambda: site.count("/endless.mp4") == 3, 120)
        [run] = served.query("flow_runs/filter", sort="START_TIME_DESC", limit=1)
        assert served.prefect("flow-run", "cancel", run["id"]).returncode == 0
        wait_until(lambda: served.states("extract")[before:] == ["Cancelled"], 120)
        wait_until(lambda: not list((tmp_path / "out" / "claims").rglob("*.json")), 60)
        [row] = rows_of(tmp_path / "out").values()
        assert row.status.value == "queued"
        assert {path.name for path in (tmp_path / "out").iterdir()} <= {"ledger", "claims", "hosts"}


def test_the_schedule_fires(clips: dict[str, list[bytes]], tmp_path: Path) -> None:
    with open_site() as site:
        site.video("/plain.mp4", clips["plain"][0])
        feed = site.feed("/feed.rss", [("plain", "/plain.mp4")])
        job = make_job(tmp_path, write_list(tmp_path / "list.toml", {"c": feed}))
        deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        nightly = next(each for each in deployments["deployments"] if each["name"] == "nightly")
        nightly["parameters"] = {"job": job}
        nightly["schedules"] = [{"cron": "* * * * *", "timezone": "UTC"}]
        deployments["deployments"] = [nightly]
        with open_served(tmp_path / "served", yaml.safe_dump(deployments), {}) as served:
            wait_until(lambda: served.states("nightly").count("Completed") >= 2, 300)
        assert [row.status.value for row in rows_of(tmp_path / "out").values()] == ["no_overlay"]
        assert site.count("/plain.mp4") == 3 and site.count("/feed.rss") >= 2


def test_the_canary_sings_or_fails(served: Served, clips: dict[str, list[bytes]]) -> None:
    with open_site() as site:
        good = {"url": site.video("/good.mp4", clips["good"][0])}
        assert served.run("canary/canary", good).returncode == 0
        gone = served.run("canary/canary", {"url": site.fails("/gone.mp4", 404)})
        assert gone.returncode != 0
        assert "update yt-dlp" in last_message(served)


def test_the_weekly_benchmark_scores_the_sample(served: Served) -> None:
    done = served.run("benchmark/weekly", {"cases": [str(ROOT / "sample")]})
    assert done.returncode == 0, done.stdout
    [artifact] = [
        each for each in served.query("artifacts/latest/filter", sort="KEY_ASC") if each["key"] == "benchmark"
    ]
    assert json.loads(artifact["data"])[0]["button_accuracy"] > 0.9


def test_wrong_parameters_are_refused_before_anything_runs(served: Served) -> None:
    refused = served.run("extract/extract", {"channels": "a.toml", "out": "o", "speed": 3}, wait=False)
    assert refused.returncode != 0
