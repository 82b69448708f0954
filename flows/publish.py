"""One downloaded video -> its files in the store, and its row. Runs in a process of its own (``children.py``).

The process that starts it imports this file too; what needs torch is imported where it is used.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from extraction.extract import ExtractOptions, Outcome, extract_video, make_video_id
from extraction.records import Origin, SourceError
from extraction.video import probe, sample_frames
from flows.channels import Channel
from flows.download import Download
from flows.faults import Kind, VideoFault
from flows.ledger import Ledger, Row, Status
from padtrace.dataset.store import Store, open_store

if TYPE_CHECKING:
    from extraction.parse import Parser
    from templates.catalogue import Template


@cache
def templates_of(folder: str | None) -> Mapping[str, Template]:
    """The library and, besides, the templates in a folder; read once for this process."""
    from templates.catalogue import all_templates

    return all_templates(Path(folder) if folder else None)


def load(templates: str | None, device: str) -> set[str]:
    """Load weights and templates once for this process; the families of pads. SourceError where that fails."""
    _parser(device)
    return {template.family for template in templates_of(templates).values()}


def has_overlay(video: Path, channel: Channel, *, templates: str | None, options: ExtractOptions) -> bool:
    """Whether a video shows an overlay that its channel may show; VideoFault where it cannot be read."""
    from flows.extract import look_for_overlay

    try:
        found = look_for_overlay(video, _chosen(templates, channel.families), options)
    except SourceError as error:
        raise _fault_of(error, error.__cause__) from None
    return bool(found.placements)


def extract_and_publish(
    row: Row,
    file: Download,
    channel: Channel,
    *,
    out: str,
    templates: str | None,
    device: str,
    options: ExtractOptions,
    keep: bool,
) -> Row:
    """Read a video into files beside it, copy these to the store ``out``, and return the settled row.

    Content that another video brought first is not read again. VideoFault where the video cannot be read or the
    disk is full.
    """
    from flows.extract import find_overlay

    load(templates, device)  # what fails here is not the video's fault
    ledger = Ledger(open_store(out))
    scratch = file.path.parent / "extracted"
    try:
        hours = (probe(file.path).duration_s or 0.0) / 3600
        if kind := channel.refuses(hours * 3600, None):
            raise VideoFault(kind, f"{hours * 3600:.0f} s; not asked for")
        row = row.changed(hours_downloaded=hours, kind=None, detail="")
        digest = make_video_id(file.path).rsplit("-", 1)[1]
        first = ledger.first_with_content(digest, row.key)
        if first != row.key:
            return row.changed(status=Status.SKIPPED, kind=Kind.DUPLICATE, detail=f"the same content as {first}")
        outcome = extract_video(
            file.path,
            scratch,
            _chosen(templates, channel.families),
            _parser(device),
            options,
            find_overlay,
            origin=Origin(file.url, file.title, file.format_id, channel.game),
        )
        publish(outcome, scratch, file.path, ledger.store, keep)
    except SourceError as error:
        raise _fault_of(error, error.__cause__) from None
    except OSError as error:
        raise _fault_of(error, error) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _settled(row, outcome)


def publish(outcome: Outcome, scratch: Path, video: Path, store: Store, keep: bool) -> None:
    """Copy the files of a video to the store. The report comes last: where it is, everything is."""
    name = outcome.video_id
    folder = f"videos/{name}"
    store.remove(f"{folder}/report.json")
    if outcome.report["placements"]:
        store.put(f"{folder}/placement.jpg", draw_placement(video, outcome.report["placements"][0]))
    if keep:
        store.upload(video, f"sources/{name}{video.suffix}")
    for kind in ("shards", "rejects"):
        if (scratch / kind / f"{name}.parquet").exists():
            store.upload(scratch / kind / f"{name}.parquet", f"{kind}/{name}.parquet")
    store.upload(scratch / folder / "actions.parquet", f"{folder}/actions.parquet")
    store.upload(scratch / folder / "report.json", f"{folder}/report.json")


def draw_placement(video: Path, placement: Mapping[str, Any]) -> bytes:
    """A JPEG of a frame with a box around the overlay."""
    samples = sample_frames(video, 3)
    bgr = cv2.cvtColor(samples[len(samples) // 2][1], cv2.COLOR_RGB2BGR)
    x, y, width, height = placement["box"]
    cv2.rectangle(bgr, (x, y), (x + width, y + height), (0, 255, 255), 2)
    cv2.putText(bgr, placement["template"], (x, max(12, y - 6)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 255, 255), 1)
    ok, data = cv2.imencode(".jpg", bgr)
    assert ok, "a uint8 picture always encodes"
    return bytes(data)


def _settled(row: Row, outcome: Outcome) -> Row:
    report = outcome.report
    if not report["placements"]:
        return row.changed(status=Status.NO_OVERLAY, video_id=outcome.video_id, detail=report["reason"])
    decoded = report["frames"]["decoded"]
    hours = decoded / report["video"]["fps"] / 3600 if report["video"]["fps"] else row.hours_downloaded
    kept = sum(chunk["frames"] for chunk in report["chunks"] if chunk["kept"])
    return row.changed(
        status=Status.DONE,
        video_id=outcome.video_id,
        template=report["placements"][0]["template"],
        hours_decoded=hours,
        hours_kept=hours * kept / decoded,
    )


def _fault_of(error: Exception, cause: BaseException | None) -> VideoFault:
    """A video that cannot be read, or a disk that cannot be written."""
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return VideoFault(Kind.DISK_FULL, f"expected room for the output, found: {cause.strerror}; free space, go on")
    return VideoFault(Kind.CORRUPT, str(error))


@cache
def _chosen(folder: str | None, families: tuple[str, ...]) -> Mapping[str, Template]:
    templates = templates_of(folder)
    return {id: each for id, each in templates.items() if each.family in families} if families else templates


@cache
def _parser(device: str) -> Parser:
    import torch

    from extraction.parse import Parser

    torch.set_num_threads(1)  # several batches are read at once; threads within each would only wait for each other
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return Parser.load(device="cuda" if cuda else "cpu")
