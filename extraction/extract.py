"""One video -> its labels, its shards and its report. The whole chain, and what makes it safe to repeat.

    locate -> decode once: panels to the parser, small frames to a spool file -> calibrate -> judge chunks
           -> actions, shards and rejects under temporary names -> rename them, ``report.json`` last

Memory does not grow with the video beyond some 100 bytes of labels per frame: pictures wait on the disk
until the whole video is calibrated, since only then is it known which chunks are kept. The report is the
mark of a finished video; it carries a fingerprint of everything that could change the result, so the same
run again does nothing, and another run replaces what is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from extraction.filters import Reject
from extraction.gather import Gathered, Reader, gather, shown_by
from extraction.leak import WIDEN_PX, Mask
from extraction.locate import Found
from extraction.normalise import (
    Calibration,
    apply_calibration,
    calibrate,
    decide_buttons,
    score_confidence,
)
from extraction.outputs import partial_folder, publish, reject_row, runs_of, write_chunks, write_rejects, writing_below
from extraction.presses import clear_presses
from extraction.records import Origin, Placement, Reason, SourceError
from extraction.shards import ACTIONS_SCHEMA, SCHEMA_VERSION, Labels, parquet_writer
from extraction.spool import SpooledFrames, mask_box
from extraction.video import VideoInfo, VideoReader, require_file
from templates.catalogue import Template, content_of
from templates.controls import BUTTONS, CONTROLS

log = logging.getLogger(__name__)


class ExtractOptions(BaseModel):
    """How a video is read. Two runs with equal options give equal files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_inliers: int = Field(20, ge=3)
    """Inliers of the affine fit that a localisation needs."""
    sample_frames: int = Field(25, ge=1)
    """Frames, spread over the video, in which the overlay is looked for."""
    active_fraction: float = Field(0.5, ge=0, le=1)
    """Share of a chunk's timesteps that must hold an action for it to be kept."""
    percentile: float = Field(99.0, ge=50, le=100)
    """Percentile of |x| and |y| that becomes 1."""
    frames: bool = True
    """Whether shards hold pictures; without, their ``frame`` column is null."""
    box: tuple[int, int, int, int] | None = None
    """Where the overlay is, x, y, width, height in pixels, for an overlay that the library does not know."""
    family: str | None = None
    """Which pad the overlay in ``box`` shows."""
    pad: int = Field(1, ge=1)
    """Which of several pads that are seen at once is read, as ``Placement.pad`` counts them."""

    @model_validator(mode="after")
    def _box_has_family(self) -> Self:
        if (self.box is None) != (self.family is None):
            raise ValueError("box and family go together")
        if self.box is not None and self.pad != 1:
            raise ValueError("a box is one pad; leave pad out")
        return self


Locator = Callable[[Path, Mapping[str, Template], ExtractOptions], Found]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one video. ``folder`` holds ``actions.parquet`` and ``report.json``."""

    status: Literal["extracted", "no_overlay", "already_done"]
    video_id: str
    folder: Path
    report: dict[str, Any]


def extract_video(
    path: Path,
    out_dir: Path,
    templates: Mapping[str, Template],
    parser: Reader,
    options: ExtractOptions,
    locate: Locator,
    on_progress: Callable[[float], None] | None = None,
    origin: Origin | None = None,
) -> Outcome:
    """Extract one video into ``out_dir``; nothing is done where that is done already.

    ``on_progress`` hears the part of the video that is decoded, in [0, 1]. ``origin`` is written into its files; a
    report then names the address as the source, not the file. SourceError where the video
    cannot be read or the output cannot be written; then nothing is left under a final name.
    """
    video_id = make_video_id(path)
    folder = out_dir / "videos" / video_id
    fingerprint = make_fingerprint(templates, options, SCHEMA_VERSION, parser.version)
    with writing_below(out_dir):
        report = read_report(folder)
        if report is not None and report.get("fingerprint") == fingerprint:
            return Outcome("already_done", video_id, folder, report)
        found, others = _choose_pad(locate(path, templates, options), options.pad)
        placements = found.placements
        with VideoReader(path) as video, partial_folder(folder) as partial:
            job = _Job(path, video_id, video, placements, others, parser, options, on_progress, origin or Origin())
            report = {
                "source": origin.url if origin else str(path),
                **({"origin": asdict(origin)} if origin else {}),
                **(job.write(partial) if placements else job.write_nothing(partial, found)),
                "detail": found.detail,
                "other_pads": [describe_placement(place, video.info) for place in others],
                "video_id": video_id,
                "options": options.model_dump(mode="json"),
                "versions": {"code": code_version(), "schema": SCHEMA_VERSION, "parser": parser.version},
                "fingerprint": fingerprint,
            }
            publish(partial, out_dir, folder, video_id, report)
    return Outcome("extracted" if found.placements else "no_overlay", video_id, folder, report)


def _choose_pad(found: Found, pad: int) -> tuple[Found, tuple[Placement, ...]]:
    """What was found of one pad, and the placements of the others."""
    chosen = tuple(place for place in found.placements if place.pad == pad)
    others = tuple(place for place in found.placements if place.pad != pad)
    if others and not chosen:
        return Found((), Reason.NO_SUCH_PAD, f"the sampled frames show no pad {pad}"), others
    return replace(found, placements=chosen), others


def make_video_id(path: Path) -> str:
    """A name for a video that is safe in any path: its file name made plain, and a hash of its content.

    The hash covers the size and a megabyte at the start, the middle and the end. SourceError where the
    file cannot be read.
    """
    require_file(path)
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            for position in (0, max(0, size // 2 - 2**19), max(0, size - 2**20)):
                file.seek(position)
                digest.update(file.read(2**20))
    except OSError as error:
        raise SourceError(
            f"expected a video file at {path}, found: {error.strerror or error}; check the path"
        ) from error
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", path.stem).strip("-")[:60] or "video"
    return f"{plain}-{digest.hexdigest()[:12]}"


def describe_placement(placement: Placement, info: VideoInfo, last_s: float | None = None) -> dict[str, Any]:
    """A placement as JSON. "To the end" becomes the declared end, or ``last_s`` if that is later."""
    start_s = max(placement.start_s, info.start_s)
    end_s = max(info.start_s + (info.duration_s or 0.0), last_s or info.start_s)
    return {
        "template": placement.template.id,
        "family": placement.template.family,
        "box": [int(side) for side in placement.box_xywh],
        "inliers": int(placement.inliers),
        "pad": placement.pad,
        "support": placement.support,
        "sampled": placement.sampled,
        "start": round(start_s, 6),
        "end": round(max(start_s, min(placement.end_s, end_s)), 6),
    }


def code_version() -> str:
    """Version of the installed package."""
    try:
        return metadata.version("padtrace")
    except metadata.PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One video on its way through the chain."""

    path: Path
    video_id: str
    video: VideoReader
    placements: Sequence[Placement]
    others: Sequence[Placement]
    parser: Reader
    options: ExtractOptions
    on_progress: Callable[[float], None] | None
    origin: Origin

    def write_nothing(self, partial: Path, found: Found) -> dict[str, Any]:
        """Files of a video without an overlay: no labels (none of its frames is read), one reject."""
        with parquet_writer(partial / "actions.parquet", ACTIONS_SCHEMA, self._metadata()):
            pass
        why = Reject(found.reason or Reason.NO_OVERLAY, found.detail or "no known overlay in the sampled frames")
        write_rejects(partial, [reject_row(self.video_id, why)], self._metadata())
        return {
            "placements": [],
            "reason": why.reason,
            "video": _describe_video(self.video.info),
            "unknown": list(CONTROLS),
            "chunks": [],
        }

    def write(self, partial: Path) -> dict[str, Any]:
        """Read the video and write its files into ``partial``. Returns its part of the report."""
        with (partial / "spool").open("w+b") as spool:
            masks, pictures = self._masks(), spool if self.options.frames else None
            gathered = gather(self.video, self.placements, self.parser, masks, pictures, self.on_progress)
            raw = gathered.without_hidden()
            labels, calibration = self._label(raw)
            frames = SpooledFrames(spool, raw.jpeg_bytes, masks)
            closed = not self.options.frames or frames.close_leak(labels)
            leak = Reject(Reason.LEAK, f"pixels more than {WIDEN_PX} px beside the mask change with the labels")
            chunks = write_chunks(
                partial,
                self.video_id,
                labels,
                self._metadata(),
                self.options.active_fraction,
                frames.load if self.options.frames else None,
                None if closed else leak,
            )
        last_s = float(labels.pts_s[-1])
        return {
            "placements": [describe_placement(place, self.video.info, last_s) for place in self._spans(raw)],
            "reason": None,
            "video": _describe_video(self.video.info),
            "frames": _count_frames(self.video, labels),
            "unknown": [name for i, name in enumerate(CONTROLS) if not labels.known[:, i].any()],
            "masks": [[columns.start, rows.start, columns.stop, rows.stop] for rows, columns in frames.masks],
            "calibration": calibration.as_json(),
            "chunks": chunks,
        }

    def _masks(self) -> list[Mask]:
        size_wh = (self.video.info.width, self.video.info.height)
        boxes = dict.fromkeys(place.box_xywh for place in (*self.placements, *self.others))
        return [mask_box(box, size_wh) for box in boxes]

    def _spans(self, raw: Gathered) -> list[Placement]:
        """The placements as they were seen: one for each stretch of frames that shows one."""
        spans = []
        for rows in runs_of(raw.place):
            if (place := int(raw.place[rows.start])) >= 0:
                whole = self.placements[place]
                start_s = float(raw.pts_s[rows.start]) if rows.start else whole.start_s
                end_s = float(raw.pts_s[rows.stop]) if rows.stop < len(raw.pts_s) else whole.end_s
                spans.append(replace(whole, start_s=start_s, end_s=end_s))
        return spans

    def _label(self, raw: Gathered) -> tuple[Labels, Calibration]:
        """What only the whole video tells: the sticks' calibration, and which presses are none."""
        calibration = calibrate(raw.sticks, self.options.percentile)
        known = shown_by(self.placements)[raw.place]
        logits = raw.logits.astype(np.float32)
        for rows in raw.rows_by_place():
            logits[rows] = clear_presses(logits[rows], raw.gone[rows], raw.residual[rows])
        held = decide_buttons(logits, known[:, : len(BUTTONS)], drawn=~np.isnan(raw.gone).all(0))
        sticks = apply_calibration(raw.sticks, calibration)
        labels = Labels(
            frame_index=np.arange(len(raw.pts_s)),
            pts_s=raw.pts_s,
            covered=raw.place >= 0,
            known=known,
            buttons=held,
            sticks=sticks,
            confidence=score_confidence(logits, held, raw.certainty, sticks, known),
        )
        return labels, calibration

    def _metadata(self) -> dict[str, str]:
        """What every file says about where it comes from; empty where that is not known."""
        info = self.video.info
        return {
            "schema_version": SCHEMA_VERSION,
            "source": os.fsencode(self.path.name).decode("utf-8", "replace"),  # a name may be any bytes
            "url": self.origin.url,
            "format_id": self.origin.format_id,
            "fps": f"{info.fps:.6g}" if info.fps else "",
            "size": f"{info.width}x{info.height}",
            "game": self.origin.game,
            "template": ",".join(dict.fromkeys(place.template.id for place in self.placements)),
            "family": ",".join(dict.fromkeys(place.template.family for place in self.placements)),
            "code_version": code_version(),
        }


def _describe_video(info: VideoInfo) -> dict[str, Any]:
    return {
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "duration": info.duration_s,
        "rotation": info.rotation,
        "codec": info.codec,
    }


def _count_frames(video: VideoReader, labels: Labels) -> dict[str, Any]:
    if video.cut_short:
        log.warning("%s ends early: %d frames decode; the rest is missing", video.path, video.decoded)
    return {
        "declared": video.info.frames,
        "decoded": video.decoded,
        "covered": int(labels.covered.sum()),
        "without_time": video.untimed,
        "damaged_packets": video.damaged,
        "truncated": video.cut_short,
    }


def make_fingerprint(templates: Mapping[str, Template], options: ExtractOptions, *versions: object) -> str:
    """A hash of all that decides the result beside the video: options, templates, code, and further ``versions``."""
    digest = hashlib.sha256()
    digest.update(json.dumps([[code_version(), *versions], options.model_dump(mode="json")]).encode())
    for id, template in sorted(templates.items()):
        digest.update(id.encode() + content_of(template))
    return digest.hexdigest()[:16]


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report of a finished video; None where there is none that can be read."""
    try:
        report = json.loads((folder / "report.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return report if isinstance(report, dict) else None
