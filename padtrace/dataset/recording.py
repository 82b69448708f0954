"""A recorder's folder -> a video of the dataset, with the recorder's own log as labels.

    DIR/frames/*.png     one picture a frame, numbered by ``frame_id``
    DIR/actions.jsonl    one ``extraction.logs.RecorderRow`` a line, but with positive y up
    DIR/metadata.json    ``game``, if known; nothing else of it is read

No overlay is looked for: such recordings show none, and the log is better than any reading. Its values are taken as
they are, without calibration; only the sign of y becomes ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from extraction.extract import Outcome, code_version, read_report
from extraction.logs import Log, read_recorder
from extraction.outputs import partial_folder, publish, write_chunks, writing_below
from extraction.records import SourceError
from extraction.shards import FRAME_SIDE, SCHEMA_VERSION, Labels, join_blobs
from extraction.spool import encode_jpeg
from templates.controls import CONTROLS


class _Metadata(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    game: str = ""


def import_recording(
    folder: Path,
    out_dir: Path,
    active_fraction: float = 0.5,
    on_progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Make a video of ``out_dir`` of the recording in ``folder``; nothing is done where that is done already.

    Chunks are judged as those of any video. on_progress: hears the part of the pictures that are packed, in [0, 1].
    SourceError where the recording cannot be read or the output cannot be written.
    """
    if not (folder / "actions.jsonl").is_file():
        raise SourceError(
            f"expected a recording in {folder} (frames/*.png, actions.jsonl, metadata.json), found no actions.jsonl; "
            "name a recorder's folder"
        )
    log = read_recorder(folder / "actions.jsonl")
    metadata = _read_metadata(folder / "metadata.json")
    pictures = match_pictures(folder / "frames", log)
    video_id = _make_video_id(folder)
    home = out_dir / "videos" / video_id
    fingerprint = f"recording {code_version()} {SCHEMA_VERSION} {active_fraction}"
    with writing_below(out_dir):
        report = read_report(home)
        if report is not None and report.get("fingerprint") == fingerprint:
            return Outcome("already_done", video_id, home, report)
        labels = _label(log)
        height, width = next(read_pictures(pictures[:1])).shape[:2]
        rate = (len(log) - 1) / (log.time_s[-1] - log.time_s[0]) if len(log) > 1 else 0.0
        described = {
            "schema_version": SCHEMA_VERSION,
            "source": folder.resolve().name,
            "url": "",
            "format_id": "",
            "fps": f"{rate:.6g}" if rate else "",
            "size": f"{width}x{height}",
            "game": metadata.game,
            "template": "",
            "family": "",
            "code_version": code_version(),
        }

        def load_frames(rows: slice) -> pa.Array:
            jpegs = [_pack(rgb) for rgb in read_pictures(pictures[rows], (height, width, 3))]
            if on_progress is not None:
                on_progress(rows.stop / len(pictures))
            return join_blobs(b"".join(jpegs), np.array([len(jpeg) for jpeg in jpegs], np.int64))

        with partial_folder(home) as partial:
            chunks = write_chunks(partial, video_id, labels, described, active_fraction, load_frames)
            report = {
                "source": str(folder),
                "placements": [],
                "reason": None,
                "video": {
                    "width": width,
                    "height": height,
                    "fps": rate or None,
                    "duration": float(labels.pts_s[-1] - labels.pts_s[0]),
                    "rotation": 0,
                    "codec": "png",
                },
                "frames": {"declared": len(log), "decoded": len(log), "covered": len(log)},
                "unknown": [name for i, name in enumerate(CONTROLS) if not labels.known[:, i].any()],
                "chunks": chunks,
                "video_id": video_id,
                "versions": {"code": code_version(), "schema": SCHEMA_VERSION},
                "fingerprint": fingerprint,
            }
            publish(partial, out_dir, home, video_id, report)
    return Outcome("extracted", video_id, home, report)


def match_pictures(pictures: Path, log: Log) -> list[Path]:
    """The pictures in the order of the log's lines; SourceError unless each has its other.

    A picture is named by the ``frame_id`` of its line, as ``12.png`` or ``frame_000012.png``.
    """
    named = {int(digits[1]): path for path in pictures.glob("*.png") if (digits := re.search(r"(\d+)$", path.stem))}
    wanted = log.frame_index.tolist()
    if missing := [frame for frame in wanted if frame not in named]:
        raise SourceError(
            f"expected a picture for each line of the log in {pictures}, found none for frame_id {missing[0]} "
            f"({len(missing)} in all); add them or delete their lines"
        )
    if surplus := sorted(set(named) - set(wanted)):
        raise SourceError(
            f"expected a line of the log for each picture in {pictures}, found none for {named[surplus[0]].name} "
            f"({len(surplus)} in all); delete those pictures"
        )
    return [named[frame] for frame in wanted]


def read_pictures(paths: Sequence[Path], size: tuple[int, ...] | None = None) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB, all of one size: ``size``, else that of the first."""
    for path in paths:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise SourceError(f"expected a PNG picture at {path}, found data that does not decode; record it again")
        if size is not None and bgr.shape != size:
            raise SourceError(
                f"expected every picture as large as the first ({size[1]}x{size[0]}), "
                f"found {bgr.shape[1]}x{bgr.shape[0]} at {path}; record them at one size"
            )
        size = bgr.shape
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _label(log: Log) -> Labels:
    """The log in our signs, its frames counted from 0 as those of a video are."""
    return Labels(
        frame_index=np.arange(len(log)),
        pts_s=log.time_s - log.time_s[0],
        covered=np.ones(len(log), bool),
        known=log.known,
        buttons=log.buttons,
        sticks=(log.sticks * [1, -1]).astype(np.float32) + np.float32(0),  # no negative zeros
        confidence=np.ones(len(log), np.float32),
    )


def _pack(rgb: np.ndarray) -> bytes:
    small = cv2.resize(rgb, (FRAME_SIDE, FRAME_SIDE), interpolation=cv2.INTER_AREA)
    return encode_jpeg(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


def _make_video_id(folder: Path) -> str:
    digest = hashlib.sha256((folder / "actions.jsonl").read_bytes()).hexdigest()[:12]
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", folder.resolve().name).strip("-")[:60] or "recording"
    return f"{plain}-{digest}"


def _read_metadata(path: Path) -> _Metadata:
    try:
        return _Metadata.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Metadata()
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise SourceError(f"{path} is not a recorder's metadata: {said}; correct it or delete it") from error
