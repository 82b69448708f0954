"""``make bench``: speed and memory of the whole chain on this machine, on one clip.

The sample clip is looped to 60 and 600 seconds by copying its packets. Everything but decoding is
measured in a fresh process that reports on itself, so that no figure inherits another's memory or warmth.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from templates.controls import BUTTONS, CONTROLS, STICKS

SAMPLE: Final = Path("sample/video.mp4")
SHORT_S, LONG_S = 60.0, 600.0
RENDER_GROUPS: Final = 200
FLOW_VIDEOS: Final = 200
LOAD_ROUNDS: Final = 32
RUNTIME_FIGURES: Final = {"frames_per_s": 0, "stick_r2": 4, "button_accuracy": 4, "macro_f1": 4}  # and digits
FINDING: Final = {  # what ``_localise`` measures, as ratios
    "whole": "locating in 600 s, to decoding them",
    "matching": "comparing the keypoints of 25 frames with those of all templates, to working them out",
    "one_by_one": "the same template by template, to that",
}
# Files as servers have them, by the flags of FFmpeg's mp4 writer.
LAYOUTS: Final = {
    "index first": {"movflags": "+faststart"},
    "index last": {},
    "fragments with an index": {"movflags": "+dash+global_sidx+frag_keyframe"},
    "fragments without": {"movflags": "+frag_keyframe+empty_moov+default_base_moof"},
}


@dataclass(frozen=True, slots=True)
class Extraction:
    """One extraction in a process of its own. ``startup_s``: imports and weights, once per run."""

    startup_s: float
    extract_s: float
    peak_mib: float


def main() -> None:
    """Measure and print; or, as a child process, do one measurement and print it as JSON."""
    if len(sys.argv) > 1:
        print(json.dumps(_CHILDREN[sys.argv[1]](*sys.argv[2:])))
        return
    if not SAMPLE.exists():
        sys.exit(f"expected the sample clip at {SAMPLE}, found nothing; run from the root of the repository")
    console = Console()
    with tempfile.TemporaryDirectory() as folder, console.status("measuring: some minutes"):
        tables = measure(Path(folder)), compare_networks()
    console.print(*tables)


def measure(folder: Path) -> Table:
    """All figures as a table."""
    short, long = (folder / f"{seconds:.0f}s.mp4" for seconds in (SHORT_S, LONG_S))
    loop_packets(SAMPLE, short, SHORT_S)
    loop_packets(SAMPLE, long, LONG_S)
    frames, decode_s = decode(short)
    runs = [Extraction(**_in_child("extract", str(video), str(folder / video.stem))) for video in (short, long)]
    pairs_per_s = _in_child("render", str(RENDER_GROUPS))["pairs_per_s"]
    templates = _in_child("library")
    shares = {name: _in_child("glimpse", json.dumps(flags)) for name, flags in LAYOUTS.items()}
    orchestration = _in_child("orchestrate", str(FLOW_VIDEOS))
    finding = _in_child("localise", str(long))
    loading = _in_child("load", str(long), str(folder / long.stem))
    speeds = [frames / seconds for seconds in (decode_s, runs[0].extract_s)]
    with_startup = frames / (runs[0].startup_s + runs[0].extract_s)

    table = Table("figure", "measured", title=f"{SAMPLE} looped to {SHORT_S:.0f} s, {frames} frames")
    table.columns[1].justify = "right"
    table.add_row("decoding alone", f"{speeds[0]:.0f} frames/s")
    table.add_row("whole extraction, localisation and shards included", f"{speeds[1]:.0f} frames/s")
    table.add_row("ratio", f"{speeds[1] / speeds[0]:.2f}")
    table.add_row("start-up, once per run (imports, weights)", f"{runs[0].startup_s:.1f} s")
    table.add_row("ratio when the start-up is counted too", f"{with_startup / speeds[0]:.2f}")
    table.add_row(f"peak memory, {SHORT_S:.0f} s video", f"{runs[0].peak_mib:.0f} MiB")
    table.add_row(f"peak memory, {LONG_S:.0f} s video", f"{runs[1].peak_mib:.0f} MiB")
    for name, seen in shares.items():
        cost = f"{seen['share']:.1%} in {seen['requests']:.0f} requests"
        table.add_row(f"{seen['frames']:.0f} frames of {LONG_S:.0f} s over HTTP, {name}", cost)
    for name, about in FINDING.items():
        clock, processor = finding[name]
        table.add_row(about, f"{clock:.3g} (processor time: {processor:.3g})")
    table.add_row("training pairs rendered", f"{pairs_per_s:.0f} pairs/s")
    table.add_row(f"{templates['count']:.0f} templates loaded", f"{templates['load_s']:.1f} s")
    table.add_row("their rest pictures drawn, 300 px wide", f"{templates['draw_s']:.1f} s")
    table.add_row(f"flow over {FLOW_VIDEOS} videos, stages stubbed out", f"{orchestration['per_video_s']:.2f} s/video")
    table.add_row("memory that its second half added", f"{orchestration['growth_mib']:.0f} MiB")
    table.add_section()
    stream = loading["stream"]
    table.add_row(f"samples of {LONG_S:.0f} s from the shuffled stream, one process", f"{stream:.0f} samples/s")
    table.add_row("of the speed of bare JPEG decoding", f"{stream / loading['jpeg']:.2f}")
    table.add_row("to a recorder's PNG and JSONL, shuffled", f"{stream / loading['png']:.1f} x")
    table.add_row("to seeking in the MP4", f"{stream / loading['mp4']:.1f} x")
    table.add_row("to the NitroGen layout with the MP4", f"{stream / loading['nitrogen']:.1f} x")
    table.add_row("samples by number, at random, to the stream", f"{loading['by_number'] / stream:.2f}")
    return table


def compare_networks() -> Table:
    """The parser's network in all runtimes, and what each reads of the sample."""
    table = Table("runtime", "frames/s", "stick R2", "accuracy", "macro F1", title="the network alone, on all cores")
    for runtime in _in_child("runtimes").values():
        speed, *scores = (f"{runtime[name]:.{digits}f}" for name, digits in RUNTIME_FIGURES.items())
        table.add_row(runtime["name"], speed, *scores)
    return table


def loop_packets(source: Path, target: Path, seconds: float, options: Mapping[str, str] | None = None) -> None:
    """Copy the video packets of ``source`` again and again, without decoding, until ``seconds`` are full.

    ``options``: of the container that is written.
    """
    with av.open(str(source)) as first, av.open(str(target), "w", options=dict(options or {})) as output:
        stream = output.add_stream_from_template(first.streams.video[0])
        packets = [packet for packet in first.demux(video=0) if packet.pts is not None]
        stamps = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        begin = min(pts for pts, _ in stamps)
        span = max(pts for pts, _ in stamps) - begin
        span += round(span / (len(stamps) - 1))  # the last frame is shown as long as the others
        base = float(first.streams.video[0].time_base or 1)
        loops = 0
        while loops * span * base < seconds:
            for packet, (pts, dts) in zip(packets, stamps, strict=True):
                if (pts - begin + loops * span) * base < seconds:
                    packet.stream, packet.pts, packet.dts = stream, pts + loops * span, dts + loops * span
                    packet.time_base = first.streams.video[0].time_base or packet.time_base
                    output.mux(packet)
            loops += 1


def decode(video: Path) -> tuple[int, float]:
    """Frames, and the seconds it takes to decode them on all cores without looking at them."""
    started = time.perf_counter()
    with av.open(str(video)) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = sum(1 for _ in container.decode(video=0))
    return frames, time.perf_counter() - started


def _in_child(what: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "flows.bench", what, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _extract(video: str, out: str) -> dict[str, float]:
    started = time.perf_counter()
    from extraction.extract import ExtractOptions
    from flows.extract import Extractor
    from templates.catalogue import library

    extractor = Extractor(Path(out), library(), "auto", ExtractOptions())
    ready = time.perf_counter()
    extractor.run(Path(video))
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return asdict(Extraction(ready - started, done - ready, peak))


def _glimpse(options: str) -> dict[str, float]:
    """What ``padtrace scan`` fetches of a long video, as its server counts it."""
    from extraction.video import sample_frames
    from flows.download import DownloadOptions
    from flows.keyframes import Limits, glimpse

    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: without, each answer waits for the last one's acknowledgement

        def do_GET(self) -> None:
            first, last = (int(place) for place in self.headers["Range"].removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(part)
            sent.append(len(part))

        def log_message(self, format: str, *args: object) -> None: ...

    with tempfile.TemporaryDirectory() as folder, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        loop_packets(SAMPLE, Path(folder) / "video.mp4", LONG_S, json.loads(options))
        content = (Path(folder) / "video.mp4").read_bytes()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/video.mp4"
        seen = glimpse(url, Path(folder) / "seen.mkv", 25, Limits(len(content), 600.0), DownloadOptions())
        server.shutdown()
        assert seen.keyframes is not None
        frames = len(sample_frames(seen.keyframes))
    return {"share": sum(sent) / len(content), "requests": len(sent), "frames": frames}


def _localise(video: str) -> dict[str, tuple[float, float]]:
    """The ratios of FINDING, by the clock and by processor time; opening the index is not counted, it is once a run."""
    import cv2

    from extraction.extract import ExtractOptions
    from extraction.features import SIFT, index_of, look_for_still, median_of, nearest_still
    from extraction.video import sample_frames
    from flows.extract import locate_video
    from templates.catalogue import library

    index = index_of(tuple(library().values()), SIFT)
    pictures = [rgb for _, rgb in sample_frames(Path(video))]
    one_by_one = cv2.BFMatcher(cv2.NORM_L2)
    drawn = [index.keypoints(slice(*ends)).descriptors for ends in zip((0, *index.ends), index.ends, strict=False)]
    decoding = _timed(lambda: decode(Path(video)))
    whole = _timed(lambda: locate_video(Path(video), library(), ExtractOptions()))
    looks = list(look_for_still(pictures, median_of(np.stack(pictures))))
    features = _timed(lambda: list(look_for_still(pictures, median_of(np.stack(pictures)))))
    matching = _timed(lambda: [nearest_still(index, look) for look in looks])
    naive = _timed(lambda: [one_by_one.knnMatch(each, look.descriptors, 2) for look in looks for each in drawn])
    ratios = {"whole": whole / decoding, "matching": matching / features, "one_by_one": naive / matching}
    return {name: tuple(ratio.tolist()) for name, ratio in ratios.items()}


def _timed(work: Callable[[], object]) -> np.ndarray:
    """Seconds by the clock, and of processor time."""
    started = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.asarray(np.array([time.perf_counter(), time.process_time()]) - started)


def _render(groups: str) -> dict[str, float]:
    from torch.utils.data import DataLoader

    from synthetic.backgrounds import Backgrounds
    from synthetic.compose import GROUP, Composer
    from synthetic.training import CONFIGS, Steps
    from templates.catalogue import library

    config = CONFIGS["cpu"].model_copy(update={"batch": GROUP, "samples": 2 * int(groups) * GROUP})
    steps = Steps(Composer(library(), Backgrounds(None), seed=0), config, 0)
    # One process a core, as training renders; the first half rasterises drawings, as the first minutes of a run do.
    started = time.perf_counter()
    for done, _ in enumerate(DataLoader(steps, batch_size=None, num_workers=os.cpu_count() or 1)):
        if done == int(groups):
            started = time.perf_counter()
    return {"pairs_per_s": (int(groups) - 1) * GROUP / (time.perf_counter() - started)}


def _library() -> dict[str, float]:
    import torch

    from templates.catalogue import library
    from templates.controls import States
    from templates.draw import draw_rgba

    torch.set_num_threads(1)
    started = time.perf_counter()
    templates = library()
    loaded = time.perf_counter()
    for template in templates.values():
        draw_rgba(template, States.rest(), 300)
    return {"count": len(templates), "load_s": loaded - started, "draw_s": time.perf_counter() - loaded}


def _load(video: str, dataset: str) -> dict[str, float]:
    """Samples a second, shuffled, of the same 10 minutes: from the stream, and in the ways that trainers have now.

    Reading a PNG, or seeking, costs the same for every frame, so that these read a part of the frames only.
    """
    import cv2
    import torch
    from torch.utils.data import DataLoader

    from padtrace.dataset import FrameActionDataset, FrameActionStream
    from padtrace.dataset.nitrogen import export_nitrogen
    from padtrace.dataset.pack import pack
    from padtrace.dataset.store import open_store

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pack(open_store(dataset))
    by_number = FrameActionDataset(dataset)
    rng = np.random.default_rng(0)
    drawn = [int(by_number[i]["frame_index"]) for i in rng.integers(len(by_number), size=LOAD_ROUNDS).tolist()]
    batches = chain.from_iterable(repeat(DataLoader(FrameActionStream(dataset, batch_size=64), batch_size=None)))
    shard = pq.ParquetFile(next(Path(dataset, "shards").glob("*.parquet")))
    spread = np.linspace(0, shard.num_row_groups - 1, 24).astype(int).tolist()
    jpegs = [jpeg.as_py() for jpeg in shard.read_row_groups(spread, columns=["frame"])["frame"]]
    export_nitrogen(Path(dataset), Path(dataset, "nitrogen"))
    chunks = {int(path.name[-4:]): path for path in Path(dataset, "nitrogen").glob("actions/*/*/*_chunk_*")}
    recording, seeker = Path(dataset, "recording"), _Seeker(Path(video))
    _write_recording(recording, seeker, drawn, shard)
    actions = _recorded_actions(recording)

    def decode_jpegs() -> None:
        for i in rng.integers(len(jpegs), size=512).tolist():
            cv2.imdecode(np.frombuffer(jpegs[i], np.uint8), cv2.IMREAD_COLOR)

    # What one round reads, of a frame that it is given or of any, and how many samples these are.
    readers: dict[str, tuple[Callable[[int], object], int]] = {
        "stream": (lambda _: deque(islice(batches, 8), maxlen=0), 512),
        "jpeg": (lambda _: decode_jpegs(), 512),
        "by_number": (lambda _: [by_number[i] for i in rng.integers(len(by_number), size=64).tolist()], 64),
        "png": (lambda frame: (_read_png(recording, frame), actions[frame + 1 : frame + 17]), 1),
        "mp4": (lambda frame: (seeker.read(frame), actions[frame + 1 : frame + 17]), 1),
        "nitrogen": (lambda frame: (seeker.read(frame), _nitrogen_actions(chunks, frame)), 1),
    }
    spent = dict.fromkeys(readers, 0.0)
    for frame in drawn:  # in small turns, so that other work on the machine slows all of them alike
        for name, (read, _) in readers.items():
            started = time.perf_counter()
            read(frame)
            spent[name] += time.perf_counter() - started
    return {name: LOAD_ROUNDS * count / spent[name] for name, (_, count) in readers.items()}


class _Seeker:
    """Frames of a video by their number, as a trainer reads them from an MP4: seek, decode up to it, make it small."""

    def __init__(self, video: Path) -> None:
        self._container = av.open(str(video))
        self._stream = self._container.streams.video[0]
        self._ticks = float(1 / ((self._stream.average_rate or 60) * (self._stream.time_base or 1)))

    def read(self, number: int, side: int = 256) -> np.ndarray:
        import cv2

        tick = round(number * self._ticks) + (self._stream.start_time or 0)
        self._container.seek(tick, stream=self._stream)
        for frame in self._container.decode(self._stream):
            if frame.pts is not None and frame.pts >= tick - self._ticks / 2:
                rgb = frame.to_ndarray(format="rgb24")
                return rgb if not side else cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        raise EOFError(f"no frame {number}")


def _write_recording(folder: Path, seeker: _Seeker, frames: list[int], shard: pq.ParquetFile) -> None:
    """What a recorder keeps: pictures of full size (only those that are asked for), and a line for every frame."""
    import cv2

    (folder / "frames").mkdir(parents=True)
    for number in frames:
        rgb = seeker.read(number, 0)
        cv2.imwrite(str(folder / "frames" / f"frame_{number:06d}.png"), rgb[..., ::-1])
    rows = shard.read(columns=["frame_index", "timestamp", *CONTROLS]).to_pylist()
    with (folder / "actions.jsonl").open("w") as file:
        for row in rows:
            sticks = {name: row[name] or [0.0, 0.0] for name in STICKS}
            buttons = [float(bool(row[name])) for name in BUTTONS]
            line = {"frame_id": row["frame_index"], "timestamp": row["timestamp"], **sticks, "buttons": buttons}
            file.write(json.dumps(line) + "\n")


def _recorded_actions(folder: Path) -> np.ndarray:
    """(T, 17) bool, as large as the last frame asks; read once, as a trainer would."""
    from extraction.logs import read_recorder

    log = read_recorder(folder / "actions.jsonl")
    held = np.zeros((int(log.frame_index[-1]) + 1, len(BUTTONS)), bool)
    held[log.frame_index] = log.buttons
    return held


def _read_png(folder: Path, number: int) -> np.ndarray:
    import cv2

    bgr = np.asarray(cv2.imread(str(folder / "frames" / f"frame_{number:06d}.png")))
    return np.asarray(cv2.resize(bgr, (256, 256), interpolation=cv2.INTER_AREA)[..., ::-1])


def _nitrogen_actions(chunks: dict[int, Path], number: int) -> pa.Table:
    """The actions behind a frame, from its chunk's folder: 20 s at the 60 frames per second of the sample."""
    folder = chunks[number // 1200]
    start = json.loads((folder / "metadata.json").read_bytes())["original_video"]["start_frame"]
    return pq.read_table(folder / "actions_processed.parquet").slice(number - start + 1, 16)


def _orchestrate(count: str) -> dict[str, float]:
    """The flow ``extract`` on a server of its own, on SQLite, over videos whose stages do nothing."""
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"  # these are read when Prefect is imported
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect.testing.utilities import prefect_test_harness

    import flows.nightly
    from flows.channels import Channel
    from flows.download import Download
    from flows.ledger import Row, Status
    from flows.run import ExtractJob, Run

    sizes: list[int] = []

    class Stubbed(Run):
        def check(self) -> None: ...

        def discover(self, channel: Channel) -> int:
            now = datetime.now(UTC)
            return self.ledger.queue(
                Row(key=f"video-{i}", channel=channel.name, url=channel.url, updated=now) for i in range(int(count))
            )

        def scan(self, row: Row) -> Row:
            return row

        def download(self, row: Row) -> Download:
            return Download(Path(), "", "", "", None, None, None)

        def extract(self, row: Row, file: Download) -> Row:
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            return row.changed(status=Status.DONE)

    with (
        tempfile.TemporaryDirectory() as folder,
        prefect_test_harness(server_startup_timeout=120),
        patch.object(flows.nightly, "Run", Stubbed),
    ):
        channels = Path(folder) / "list.toml"
        channels.write_text('[[channel]]\nname = "bench"\nurl = "http://127.0.0.1/"\n')
        started = time.perf_counter()
        flows.nightly.extract(ExtractJob(channels=str(channels), out=f"{folder}/out"))
        seconds = time.perf_counter() - started
    growth_mib = (sizes[-1] - sizes[len(sizes) // 2]) / (1024 if sys.platform != "darwin" else 1024**2)
    return {"per_video_s": seconds / int(count), "growth_mib": growth_mib}


def _runtimes() -> dict[str, Any]:
    from flows.runtimes import compare_runtimes

    return {runtime.name: asdict(runtime) for runtime in compare_runtimes(SAMPLE.parent)}


_CHILDREN: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "extract": _extract,
    "glimpse": _glimpse,
    "localise": _localise,
    "render": _render,
    "library": _library,
    "runtimes": _runtimes,
    "orchestrate": _orchestrate,
    "load": _load,
}

if __name__ == "__main__":
    main()
