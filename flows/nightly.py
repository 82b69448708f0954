"""The Prefect flows: what ``prefect.yaml`` deploys. Each task is one stage of one video.

    prefect deployment run extract/extract -p job='{"channels": "channels.toml", "out": "data"}'

Prefect names a deployment by its flow and its own name, hence extract/extract.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff
from pydantic import BaseModel, ConfigDict, Field

from extraction.records import SourceError
from flows.channels import Channel, read_channels
from flows.download import Download
from flows.faults import VideoFault
from flows.funnel import by_channel, make_funnel
from flows.ledger import Row, Status
from flows.run import ExtractJob, Run

# As many threads as ExtractJob.videos_at_once may ask for; the flow starts fewer.
RUNNER: Final = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner[Any](max_workers=32))


def _may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed download is worth another try."""
    fault = state.result(raise_on_failure=False)
    return isinstance(fault, VideoFault) and fault.kind.is_retried


# Nothing is cached or persisted by Prefect: the ledger remembers what is done.
@task(task_run_name="discover {channel.name}", cache_policy=NO_CACHE, persist_result=False)
def discover_task(run: Run, channel: Channel) -> int:
    """List a channel and queue what is new."""
    new = run.discover(channel)
    get_run_logger().info("%s: %d new videos", channel.name, new)
    return new


@task(
    task_run_name="scan {row.key}",
    retry_condition_fn=_may_pass,
    retry_jitter_factor=0.5,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def scan_task(run: Run, row: Row) -> Row:
    """Settle one video without an overlay before it is fetched."""
    return run.scan(row)


@task(
    task_run_name="download {row.key}",
    retry_condition_fn=_may_pass,
    retry_jitter_factor=0.5,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def download_task(run: Run, row: Row) -> Download:
    """Fetch one video."""
    file = run.download(row)
    get_run_logger().info("%s: format %s", row.key, file.format_id)
    return file


@task(task_run_name="extract {row.key}", cache_policy=NO_CACHE, persist_result=False)
def extract_task(run: Run, row: Row, file: Download) -> Row:
    """Find the overlay, read it, publish the result."""
    return run.extract(row, file)


@task(task_run_name="video {row.key}", cache_policy=NO_CACHE, persist_result=False)
def video_task(run: Run, row: Row) -> Row | None:
    """One video from the queue to its row; its stages are tasks inside this one."""
    retries = run.job.retries
    delay = exponential_backoff(run.job.retry_delay_s) if retries else 0
    scan = scan_task.with_options(retries=retries, retry_delay_seconds=delay)
    download = download_task.with_options(retries=retries, retry_delay_seconds=delay)
    settled = run.settle(row, scan, download, extract_task)
    logger = get_run_logger()
    if settled is None:
        logger.info("%s: left to another worker or run", row.key)
    else:
        logger.info("%s: %s", row.key, " ".join(filter(None, (settled.status, settled.kind, settled.detail))))
    return settled


@flow(
    name="extract",
    flow_run_name="extract {job.channels}",
    task_runner=RUNNER,
    persist_result=False,
)
def extract(job: ExtractJob) -> dict[str, Any]:
    """Fetch and read what is new in a channel list. Returns the funnel of the whole store.

    Faults of single videos are in the ledger; the run itself fails only where the list, the output or the disk does.
    """
    run = Run(job, read_channels(Path(job.channels)))
    try:
        run.check()
        touched = _work_off(run)
    finally:
        run.close()
    rows = run.ledger.rows()
    _report(run, rows, touched)
    if run.stopped_by is not None:
        raise SourceError(f"the run stopped: {run.stopped_by.detail}")
    return asdict(make_funnel(rows))


class CanaryJob(BaseModel):
    """One video that is known to show an overlay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Its address."""
    templates: str | None = None
    """A folder of imported templates, besides the library."""


@flow(
    name="canary",
    flow_run_name="canary {job.url}",
    task_runner=RUNNER,
    persist_result=False,
)
def canary(job: CanaryJob) -> str:
    """Extract one known video into nothing; the run fails when the site or the reading changed. Returns its overlay."""
    with tempfile.TemporaryDirectory(prefix="padtrace-canary-") as folder:
        everything = ExtractJob(channels="", out=f"{folder}/out", work=f"{folder}/work", templates=job.templates)
        run = Run(everything, [Channel(name="canary", url=job.url)])
        try:
            run.check()
            _work_off(run)
        finally:
            run.close()
        rows = run.ledger.rows()
    if not any(row.status is Status.DONE for row in rows):
        found = ", ".join(f"{row.status}: {row.detail}" for row in rows) or "no video"
        raise SourceError(f"expected an overlay in {job.url}, found {found}; try it by hand, and update yt-dlp")
    return str(rows[0].template)


class BenchmarkJob(BaseModel):
    """Ground-truth cases, as ``padtrace benchmark`` takes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: tuple[str, ...] = Field(("sample",), min_length=1)
    """Folders with ``video.mp4``, ``truth.parquet`` and ``case.json``."""
    templates: str | None = None
    """A folder of imported templates, besides the library."""


@flow(name="benchmark", persist_result=False)
def benchmark(job: BenchmarkJob) -> dict[str, Any]:
    """Score the reading against ground-truth logs. Returns what ``padtrace benchmark --json`` prints."""
    from extraction.extract import ExtractOptions
    from flows.benchmark import run_benchmark
    from flows.extract import Extractor
    from templates.catalogue import all_templates

    with tempfile.TemporaryDirectory(prefix="padtrace-benchmark-") as out:
        known = all_templates(Path(job.templates) if job.templates else None)
        report = run_benchmark([*map(Path, job.cases)], Extractor(Path(out), known, "auto", ExtractOptions()))
    table = [
        {"case": result.name, **(asdict(result.scores) if result.scores else {"scores": None})}
        for result in report.results
    ]
    create_table_artifact(table, key="benchmark", description="Readings against ground-truth logs")
    if report.failures:
        raise SourceError(f"{report.failures[0].case} was not scored: {report.failures[0].error}")
    return report.as_json()


def _discover(run: Run, channel: Channel) -> None:
    """A channel that cannot be listed must not keep the others from being read."""
    try:
        discover_task(run, channel)
    except VideoFault as fault:
        get_run_logger().error("%s was not listed: %s", channel.name, fault)


def _work_off(run: Run) -> list[Row]:
    """List what is new, bring all queued videos to their ends, some at a time. Returns the rows of this run."""
    for channel in run.channels.values():
        _discover(run, channel)
    queue = run.queue()
    logger = get_run_logger()
    logger.info("%d videos to do", len(queue))
    if not queue:
        return []
    progress = create_progress_artifact(0.0, key="progress", description=f"{len(queue)} videos")
    assert isinstance(progress, UUID)  # a coroutine only inside asynchronous code
    slots = threading.BoundedSemaphore(run.job.videos_at_once)
    futures: list[PrefectFuture[Row | None]] = []
    for done, row in enumerate(queue):
        slots.acquire()
        if run.stopped_by is not None:
            slots.release()
            break
        future = video_task.submit(run, row)
        future.add_done_callback(lambda _: slots.release())
        futures.append(future)
        update_progress_artifact(progress, 100.0 * done / len(queue))
    touched = [row for row in (future.result() for future in futures) if row is not None]
    update_progress_artifact(progress, 100.0)
    return touched


def _report(run: Run, rows: list[Row], touched: list[Row]) -> None:
    """Artifacts for Prefect's pages: the funnel, hours by channel, where overlays were found."""
    funnel = make_funnel(rows)
    table = [{"stage": stage, "count": count} for stage, count in funnel.stages.items()]
    table += [{"stage": f"dropped: {reason}", "count": count} for reason, count in funnel.dropped.items()]
    create_table_artifact(table, key="funnel", description=f"Videos of {run.job.out}")
    channels = [{"channel": name, **each.stages} for name, each in by_channel(rows).items()]
    create_table_artifact(channels, key="kept-hours", description="Hours by channel")
    found = [row for row in touched if row.status is Status.DONE]
    if found:
        lines = ["| video | overlay | kept hours | picture | report |", "|---|---|---|---|---|"]
        lines += [_placement_line(run, row) for row in found]
        create_markdown_artifact("\n".join(lines), key="placements", description="Overlays found by this run")


def _placement_line(run: Run, row: Row) -> str:
    files = f"videos/{row.video_id}"
    title = "".join(letter for letter in row.title if letter not in "|[]<>`") or row.key
    picture, report = (run.ledger.store.link(f"{files}/{name}") for name in ("placement.jpg", "report.json"))
    return f"| {title} | {row.template} | {row.hours_kept:.2f} | [picture]({picture}) | [report]({report}) |"
