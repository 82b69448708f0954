"""``padtrace serve`` as a process of its own, and what a person does with it: real server, real worker, real runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTING_S = 180.0


@dataclass(frozen=True)
class Served:
    """A running ``padtrace serve``. ``folder``: its working directory; ``home``: Prefect's database and files."""

    address: str
    folder: Path
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        return Path(self.environment["PREFECT_HOME"])

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    def prefect(self, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """The ``prefect`` command against this server."""
        return subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def run(self, deployment: str, job: Mapping[str, Any], wait: bool = True) -> subprocess.CompletedProcess[str]:
        """``prefect deployment run``; to its end if ``wait``."""
        watch = ["--watch", "--watch-interval", "1"] if wait else []
        return self.prefect("deployment", "run", deployment, "-p", f"job={json.dumps(job)}", *watch)

    def query(self, path: str, **body: Any) -> Any:
        """The server's API."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def states(self, deployment: str | None = None) -> list[str]:
        """The states of all flow runs, oldest first."""
        chosen = {"deployments": {"name": {"any_": [deployment]}}} if deployment else {}
        runs = self.query("flow_runs/filter", sort="START_TIME_ASC", **chosen)
        return [run["state"]["name"] for run in runs]


@contextmanager
def open_served(folder: Path, deployments: str, environment: Mapping[str, str]) -> Iterator[Served]:
    """Serve ``deployments`` (the text of a prefect.yaml) until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prefect.yaml").write_text(deployments)
    port = free_port()
    variables = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    served = Served(f"http://127.0.0.1:{port}", folder, variables)
    command = [sys.executable, "-c", "from flows.cli import main; main()", "serve", "--port", str(port)]
    with served.log.open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_until(lambda: process.poll() is not None or "started!" in served.log.read_text(), STARTING_S)
            assert process.poll() is None, served.log.read_text()
            yield served
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until(is_so: Any, timeout_s: float) -> None:
    """Look every half second."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
