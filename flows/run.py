"""One run over a channel list, without Prefect: what its videos share, and what is done to each.

discover -> queue -> for each video: claim -> scan -> download -> extract and publish -> its row
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, ParamSpec, TypeVar

import platformdirs
from pydantic import BaseModel, ConfigDict, Field

from extraction.extract import ExtractOptions
from extraction.records import SourceError
from flows.breaker import Breaker
from flows.channels import Channel
from flows.children import Children
from flows.download import Download, DownloadOptions, download, list_videos
from flows.faults import Kind, VideoFault
from flows.funnel import order_by_yield
from flows.keyframes import Limits, glimpse
from flows.ledger import MAX_ATTEMPTS, Ledger, Row, Status
from flows.publish import extract_and_publish, has_overlay, load
from padtrace.dataset.store import open_store

log = logging.getLogger(__name__)

LISTING_TIMEOUT_S: Final = 3600.0
LOADING_TIMEOUT_S: Final = 600.0
# Smaller files are fetched at once: asking their host twice would cost more than it saves.
SCAN: Final = Limits(max_bytes=32 * 2**20, timeout_s=120.0, min_bytes=16 * 2**20)

P = ParamSpec("P")
T = TypeVar("T")


class ExtractJob(BaseModel):
    """What one run does. Secrets are not part of it; they are variables of the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: str
    """The channel list, a TOML file."""
    out: str
    """Where the dataset and the ledger are: a folder, or s3://BUCKET/PREFIX."""
    work: str | None = None
    """Local folder for downloads; default: below the user's cache folder."""
    templates: str | None = None
    """A folder of imported templates, besides the library."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""
    options: ExtractOptions = ExtractOptions()
    """How videos are read."""
    download: DownloadOptions = DownloadOptions()
    """What is fetched, and how politely."""
    keep: bool = False
    """Whether the videos themselves are kept, below ``sources/``."""
    max_videos: int | None = Field(None, ge=1)
    """Videos that this run takes from the queue; all where absent."""
    videos_at_once: int = Field(2, ge=1, le=32)
    """Videos that are on their way together; one is read at a time."""
    retries: int = Field(3, ge=0)
    """Further tries at a download in this run, where its fault may pass."""
    retry_delay_s: float = Field(30.0, ge=0)
    """Wait before the first of them; doubles each time."""
    refused_wait_s: float = Field(60.0, gt=0)
    """Wait where a host refuses and does not say how long; doubles each time."""
    extract_timeout_s: float = Field(6 * 3600.0, gt=0)
    """Longer extractions are given up."""
    lease_s: float = Field(600.0, ge=1)
    """After this long without a sign of life, a worker's video goes to another."""


class Run:
    """One run over the videos of a list. Close it: it has processes."""

    def __init__(self, job: ExtractJob, channels: Iterable[Channel]) -> None:
        """SourceError where the output cannot be used."""
        self.job = job
        self.channels = {channel.name: channel for channel in channels}
        self.ledger = Ledger(open_store(job.out), job.lease_s)
        self.stopped_by: VideoFault | None = None
        """The fault for which no further video is started."""
        self._breaker = Breaker(self.ledger.store, job.refused_wait_s)
        self._stop = threading.Event()
        self._downloads = Children(job.videos_at_once)
        self._extractions = Children(1)

    def close(self) -> None:
        """End what is under way; its videos stay queued."""
        self._stop.set()
        self._downloads.stop()
        self._extractions.stop()

    def discover(self, channel: Channel) -> int:
        """Queue the new videos of a channel; how many these are. VideoFault where it cannot be listed."""
        known = frozenset(self.ledger.keys())
        listed = self._ask(channel.url, LISTING_TIMEOUT_S, list_videos, channel, known, self.job.download)
        now = datetime.now(UTC)
        rows = [
            Row(key=v.key, channel=channel.name, url=v.url, title=v.title, hours_listed=v.hours, updated=now)
            for v in listed
        ]
        # The oldest first: whoever finds a known video may take those below it for known, even after a kill.
        return self.ledger.queue(reversed(rows))

    def queue(self) -> list[Row]:
        """What is to be done, likely yield first."""
        rows = self.ledger.rows()
        order = {name: i for i, name in enumerate(order_by_yield(list(self.channels), rows))}
        waiting = [row for row in rows if row.channel in order and not row.is_settled]
        return sorted(waiting, key=lambda row: order[row.channel])[: self.job.max_videos]

    def settle(
        self,
        row: Row,
        scan: Callable[[Run, Row], Row],
        download: Callable[[Run, Row], Download],
        extract: Callable[[Run, Row, Download], Row],
    ) -> Row | None:
        """Bring one video to its end and write its row; None where another worker has it or the run ends first."""
        with self.ledger.claim(row.key) as claim:
            if claim is None:
                return None
            row = self.ledger.read(row.key) or row
            if row.is_settled:
                return row
            try:
                if claim.generation > MAX_ATTEMPTS:
                    raise VideoFault(Kind.CRASH, f"expected a worker to survive it, {claim.generation - 1} died")
                settled = scan(self, row)
                if not settled.is_settled:
                    settled = extract(self, row, download(self, row))
            except VideoFault as fault:
                settled = self._faulted(row, fault)
            except CancelledError:  # the run ends; the video stays as it is
                return None
            except Exception as error:  # a bug that one video brings out must not stop the others
                log.warning("%s: %s", row.key, error, exc_info=True)
                settled = self._faulted(row, VideoFault(Kind.CRASH, f"{type(error).__name__}: {error}"))
            if not self.ledger.holds(claim):
                return None
            self.ledger.write(settled)
            if settled.is_settled:
                shutil.rmtree(self._folder(row), ignore_errors=True)
            return settled

    def scan(self, row: Row) -> Row:
        """Settle a video without an overlay for a small part of its bytes; else its row as it was.

        VideoFault where its host may not be asked; what else goes wrong, the download tells.
        """
        channel, options = self.channels[row.channel], self.job.options
        if options.box is not None:
            return row
        keyframes = self._folder(row) / "keyframes.mkv"
        keyframes.parent.mkdir(parents=True, exist_ok=True)
        asked = (row.url, keyframes, options.sample_frames, SCAN, self.job.download, channel)
        try:
            if self._ask(row.url, 2 * SCAN.timeout_s, glimpse, *asked).keyframes is None:
                return row
            templates = self.job.templates
            if self._extractions.run(
                LOADING_TIMEOUT_S, has_overlay, keyframes, channel, templates=templates, options=options
            ):
                return row
        except VideoFault as fault:
            if fault.kind.stops_the_run:
                raise
            return row
        finally:
            keyframes.unlink(missing_ok=True)
        return row.changed(status=Status.NO_OVERLAY, kind=None, detail="none in its keyframes; it was not fetched")

    def download(self, row: Row) -> Download:
        """Fetch a video once its host may be asked; VideoFault where that fails."""
        channel, options = self.channels[row.channel], self.job.download
        stem = row.key.rsplit("-", 1)[0]
        return self._ask(row.url, options.timeout_s, download, row.url, channel, self._folder(row), stem, options)

    def extract(self, row: Row, file: Download) -> Row:
        """Read a video and publish what was read; its settled row. VideoFault where that fails."""
        channel = self.channels[row.channel]
        return self._extractions.run(
            self.job.extract_timeout_s,
            extract_and_publish,
            row,
            file,
            channel,
            out=self.job.out,
            templates=self.job.templates,
            device=self.job.device,
            options=self.job.options,
            keep=self.job.keep,
        )

    def check(self) -> None:
        """Load what reads videos. SourceError where that fails, or a channel hints at a family that no template has."""
        known = self._extractions.run(LOADING_TIMEOUT_S, load, self.job.templates, self.job.device)
        hinted = {family for channel in self.channels.values() for family in channel.families}
        if unknown := sorted(hinted - known):
            raise SourceError(
                f"expected families of pads in {self.job.channels}, found {unknown[0]}; "
                f"the library has {', '.join(sorted(known))}"
            )

    def _ask(self, url: str, timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that talks to the host of ``url``, when that may be asked; tell the breaker how it went."""
        self._breaker.wait(url, self._stop)
        if self._stop.is_set():
            raise self.stopped_by or CancelledError
        with self._breaker.told(url):
            return self._downloads.run(timeout_s, function, *args, **kwargs)

    def _faulted(self, row: Row, fault: VideoFault) -> Row:
        log.warning("%s: %s", row.key, fault)
        if fault.kind.stops_the_run:
            self.stopped_by = fault
            self._stop.set()
        return row.after(fault)

    def _folder(self, row: Row) -> Path:
        """Where a video is downloaded to: the same in every run, so that a broken download goes on."""
        work = Path(self.job.work) if self.job.work else platformdirs.user_cache_path("padtrace") / "work"
        return work / hashlib.sha256(self.job.out.encode()).hexdigest()[:12] / row.key
