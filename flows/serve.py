"""``padtrace serve``: Prefect's server, schedules and a worker for the flows of ``prefect.yaml``, in one process.

For one machine: the server keeps its state in SQLite, which one process at a time may write.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from extraction.records import SourceError

if TYPE_CHECKING:
    import uvicorn

HOST: Final = "127.0.0.1"
POOL: Final = "padtrace"
STARTING_S: Final = 120.0  # the first start makes the database
ZOMBIES: Final = "runs that lost their worker"
# Prefect reads its settings when it is imported; what the user set stands.
_DEFAULTS: Final = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # else the database grows for ever
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
}
LOST_AFTER_BEATS: Final = 3


def serve(deployments: Path, port: int) -> None:
    """Run until interrupted. SourceError where the server does not start or the deployments are refused."""
    if not deployments.is_file():
        raise SourceError(f"expected the deployments in {deployments}, found nothing; name a prefect.yaml with --file")
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
    server = _start_server(port)
    try:
        create_zombie_automation()
        _deploy(deployments)
        _work()
    finally:
        server.should_exit = True


def _start_server(port: int) -> uvicorn.Server:
    """Prefect's server on a thread of this process, answering."""
    import uvicorn
    from prefect.server.api.server import create_app

    server = uvicorn.Server(uvicorn.Config(create_app(final=True), host=HOST, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    deadline = time.monotonic() + STARTING_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise SourceError(f"expected to serve on {HOST}:{port}, it did not start; choose another --port")
        time.sleep(0.1)
    return server


def create_zombie_automation() -> None:
    """Let the server mark runs as crashed whose worker sends no heartbeats any more, unless it does so already."""
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    with get_client(sync_client=True) as client:
        if any(automation.name == ZOMBIES for automation in client.read_automations_by_name(ZOMBIES)):
            return
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    beat = "prefect.flow-run.heartbeat"
    within = timedelta(seconds=LOST_AFTER_BEATS * (PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() or 0))
    Automation(
        name=ZOMBIES,
        description="Marks runs as crashed that sent no heartbeat; their videos go to the next run.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *ends},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="its worker was lost")],
    ).create()


def _deploy(deployments: Path) -> None:
    """Create the work pool, and what the file describes, as ``prefect deploy --all`` does anywhere."""
    for arguments in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["deploy", "--all", "--prefect-file", deployments.name],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=deployments.absolute().parent,
            env={**os.environ, "PWD": str(deployments.absolute().parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise SourceError(f"{deployments} was refused: {lines[-1] if lines else 'no reason given'}; correct it")


def _work() -> None:
    """Poll for runs and start each in a process of its own, until interrupted."""
    import anyio
    from prefect.workers import ProcessWorker

    anyio.run(ProcessWorker(work_pool_name=POOL, name="serve").start)
