"""Two workers on Postgres and S3: one is killed in each stage in turn, the server is restarted, all is done once.

``make test-scale`` installs Postgres where it is missing and runs this.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from flows.ledger import Ledger, Status
from padtrace.dataset.store import open_store
from tests.flows.clips import cut_sample, draw_plain
from tests.flows.prefect_server import Served, free_port, wait_until
from tests.flows.site import Site, open_site, send_part

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 8
GOOD, PLAIN = 5, 5

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1500)]


@pytest.fixture
def postgres() -> Iterator[str]:
    """Address of a database of its own, for asyncpg."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.fail("expected Postgres below /usr/lib/postgresql, found none; run make test-scale")
    folder, port = Path(tempfile.mkdtemp(prefix="padtrace-postgres-")), free_port()
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres", "postgres")
    initdb = [str(programs[-1] / "initdb"), "-D", str(folder / "data"), "-U", "prefect", "-A", "trust"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **user)
    command = [str(programs[-1] / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
    try:
        ready = [str(programs[-1] / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, 60)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder)


@contextmanager
def running(name: str, served: Served, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``prefect ARGUMENTS`` in the background; whatever is left of it is killed when the block ends."""
    with (served.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=served.folder,
            env={**os.environ, **served.environment},
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            kill_all(process)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and everything that it started, as when its machine loses power."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    doomed = [process.pid]
    for pid in doomed:
        doomed += [child for child, parent in parents.items() if parent == pid]
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


@contextmanager
def server(served: Served, port: int) -> Iterator[None]:
    """Prefect's server, answering."""
    with running("server", served, "server", "start", "--host", "127.0.0.1", "--port", str(port)):
        wait_until(lambda: is_healthy(served), 180)
        yield


def is_healthy(served: Served) -> bool:
    try:
        return bool(served.query("flow_runs/count") >= 0)
    except OSError:
        return False


def fill(site: Site, folder: Path) -> str:
    """Ten videos. Each answer to a fetch takes some seconds, so that there is time to be killed in it."""

    def slow(content: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(request: BaseHTTPRequestHandler) -> None:
            time.sleep(2)
            send_part(request, content)

        return answer

    videos = []
    for i in range(GOOD):
        site.answers[f"/good{i}.mp4"] = slow(cut_sample(folder / f"good{i}.mp4", 1.0, note=str(i)))
        videos.append((f"good {i}", f"/good{i}.mp4"))
    for i in range(PLAIN):
        site.answers[f"/plain{i}.mp4"] = slow(draw_plain(folder / f"plain{i}.mp4", i))
        videos.append((f"plain {i}", f"/plain{i}.mp4"))
    feed = site.feed("/feed.rss", videos)
    at_once = site.answers["/feed.rss"]

    def slow_feed(request: BaseHTTPRequestHandler) -> None:
        time.sleep(3)
        at_once(request)

    site.answers["/feed.rss"] = slow_feed
    return feed


def stages(site: Site, work: Path) -> Mapping[str, Callable[[], bool]]:
    """When a worker is in which stage."""
    asked = len(site.asked)
    return {
        "discover": lambda: len(site.asked) > asked,
        "download": lambda: any(path.endswith(".mp4") for path, _ in site.asked[asked:]),
        "extract": lambda: any(path.name == "extracted" for path in work.rglob("*")),
    }


def test_workers_die_and_everything_is_done_once(postgres: str, bucket: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": postgres,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "OMP_NUM_THREADS": "1",
    }
    served = Served(f"http://127.0.0.1:{port}", tmp_path, environment)
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    out, work = f"{bucket}/night", tmp_path / "work"
    worker = ("worker", "start", "--pool", "padtrace", "--limit", "1")
    with open_site() as site:
        feed = fill(site, tmp_path)
        (tmp_path / "list.toml").write_text(f'[[channel]]\nname = "c"\nurl = "{feed}"\nfamilies = ["xbox_one"]')
        job = {
            "channels": str(tmp_path / "list.toml"),
            "out": out,
            "work": str(work),
            "download": {"sleep_s": 0, "sleep_requests_s": 0, "keep_free_gib": 0},
            "options": {"active_fraction": 0},
            "lease_s": LEASE_S,
        }
        with server(served, port):
            assert served.prefect("work-pool", "create", "padtrace", "--type", "process").returncode == 0
            deployed = served.prefect("deploy", "--all")
            assert deployed.returncode == 0, deployed.stdout + deployed.stderr
            automation = "from flows.serve import create_zombie_automation as create; create()"
            subprocess.run([sys.executable, "-c", automation], check=True, env={**os.environ, **environment})
            for stage in ("discover", "download", "extract"):
                reached = stages(site, work)[stage]
                with running(f"killed in {stage}", served, *worker) as process:
                    assert served.run("extract/extract", job, wait=False).returncode == 0
                    wait_until(reached, 180)
                    kill_all(process)
                shutil.rmtree(work, ignore_errors=True)  # another machine has another disk
        with server(served, port), running("one", served, *worker), running("other", served, *worker):
            ledger = Ledger(open_store(out))
            deadline = time.monotonic() + 600
            while not (rows := ledger.rows()) or not all(row.is_settled for row in rows):
                assert time.monotonic() < deadline, [(row.key, row.status) for row in rows]
                for _ in range(2):
                    served.run("extract/extract", job, wait=False)
                time.sleep(30)
            wait_until(lambda: set(served.states()) <= {"Completed", "Crashed"}, 400)
            assert served.states().count("Crashed") == 3, served.states()

    check(out)


def check(out: str) -> None:
    """No row is missing or there twice; shards hold the good ones; nobody holds a claim."""
    store = open_store(out)
    rows = Ledger(store).rows()
    assert sorted(row.title for row in rows) == sorted(
        [f"good {i}" for i in range(GOOD)] + [f"plain {i}" for i in range(PLAIN)]
    )
    done = [row for row in rows if row.status is Status.DONE]
    assert len(done) == GOOD
    assert all(row.status is Status.NO_OVERLAY for row in rows if row not in done)
    assert store.names("shards") == sorted(f"{row.video_id}.parquet" for row in done)
    assert store.names("claims") == []
    for row in rows:
        assert json.loads(store.read(f"videos/{row.video_id}/report.json") or b"")["video_id"] == row.video_id
