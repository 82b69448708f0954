"""``make bench``, the page: how long its first picture takes, and how it follows a hand, on a minute and on an hour.

    python -m tests.view.measure [DIR]

The sample clip (or the one video in DIR, as ``extract`` wrote it) is repeated until it lasts a minute and an hour; the
pictures are its own, so that files are as large as real ones. Everything is looked at in Chromium.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.table import Table

from extraction.extract import ExtractOptions, make_video_id
from extraction.shards import parquet_writer
from flows.bench import SAMPLE, loop_packets
from padtrace.reports import find_reports
from tests.view.browser import chromium, served, wait_until_ready

MINUTE_S, HOUR_S = 60.0, 3600.0
PLACES = 40
PLAY_S = 5.0


@dataclass(frozen=True, slots=True)
class Feel:
    """first_s: from the address to the first picture. moves_s: from a move of the slider to its picture, sorted.

    played: seconds of video that pass in a second while it plays.
    """

    first_s: float
    moves_s: list[float]
    played: float


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Console().status("measuring: some minutes"):
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else _extract(Path(folder) / "sample")
        feels = {}
        with chromium() as browser:
            for name, seconds in (("a minute", MINUTE_S), ("an hour", HOUR_S)):
                dataset = Path(folder) / name.split()[-1]
                repeat_video(source, dataset, seconds)
                feels[name] = feel(browser, dataset)
    table = Table("padtrace view, in Chromium", *feels)
    table.add_row("first picture", *(f"{each.first_s:.2f} s" for each in feels.values()))
    table.add_row(
        f"{PLACES} moves of the slider, median",
        *(f"{statistics.median(each.moves_s):.2f} s" for each in feels.values()),
    )
    table.add_row("the slowest", *(f"{each.moves_s[-1]:.2f} s" for each in feels.values()))
    table.add_row("played in a second", *(f"{each.played:.2f} s" for each in feels.values()))
    Console().print(table)


def feel(browser: Browser, dataset: Path) -> Feel:
    """Open, move about, play."""
    with served(dataset) as address, browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(address)
        wait_until_ready(page)
        first_s = time.perf_counter() - started
        page.wait_for_selector("#chunks button")
        rng = random.Random(0)
        last = int(page.get_attribute("#position", "max") or 0)
        moves_s = sorted(_move(page, rng.randint(0, last - 600)) for _ in range(PLACES))
        page.evaluate("document.activeElement.blur()")
        before = int(page.input_value("#position"))
        page.keyboard.press("Space")
        started = time.perf_counter()
        page.wait_for_timeout(1000 * PLAY_S)
        page.keyboard.press("Space")
        seconds = time.perf_counter() - started
        return Feel(first_s, moves_s, (int(page.input_value("#position")) - before) / 60 / seconds)


def _move(page: Page, frame: int) -> float:
    """Seconds until the picture of a frame is drawn after the slider was set to it; measured in the page."""
    seconds: float = page.evaluate(
        """frame => new Promise((done) => {
            const started = performance.now();
            document.body.dataset.state = "moving";
            const watcher = new MutationObserver(() => {
                if (document.body.dataset.state !== "ready" || Number(document.body.dataset.frame) !== frame) return;
                watcher.disconnect();
                done((performance.now() - started) / 1000);
            });
            watcher.observe(document.body, { attributeFilter: ["data-state", "data-frame"] });
            const slider = document.getElementById("position");
            slider.value = frame;
            slider.dispatchEvent(new Event("input"));
        })""",
        frame,
    )
    return seconds


def _extract(folder: Path) -> Path:
    from flows.extract import Extractor
    from templates.catalogue import library

    Extractor(folder, library(), "auto", ExtractOptions()).run(SAMPLE)
    return folder


def repeat_video(source: Path, target: Path, seconds: float) -> None:
    """The one video of a dataset, with its source video, again and again until ``seconds`` are full.

    Chunks stay chunks: the last, short one of the source is left out.
    """
    target.mkdir()
    video = target / "looped.mp4"
    loop_packets(SAMPLE, video, seconds)
    video_id = make_video_id(video)
    (old,) = find_reports(source)
    report = json.loads(old.read_text())
    chunk = report["chunks"][0]
    count = round(seconds / 20)
    home = target / "videos" / video_id
    home.mkdir(parents=True)
    (target / "shards").mkdir()
    actions = pq.read_table(old.with_name("actions.parquet")).slice(0, chunk["frames"])
    shard = pq.read_table(source / "shards" / f"{old.parent.name}.parquet").slice(0, chunk["frames"])
    _write(home / "actions.parquet", _shifted(actions, count, video_id))
    _write(target / "shards" / f"{video_id}.parquet", _shifted(shard, count, video_id))
    report["video_id"], report["source"] = video_id, str(video)
    report["video"]["duration"] = report["placements"][0]["end"] = seconds
    report["chunks"] = [
        {**chunk, "chunk_index": i, "start": 20.0 * i, "end": 20.0 * (i + 1), "kept": True} for i in range(count)
    ]
    (home / "report.json").write_text(json.dumps(report))


def _shifted(rows: pa.Table, count: int, video_id: str) -> Iterator[pa.Table]:
    """The rows of one chunk as those of chunk 0, 1, 2 ..."""
    step = len(rows)
    for i in range(count):
        changed = {
            "video_id": pa.array([video_id] * step),
            "chunk_index": pa.array(np.full(step, i)),
            "frame_index": pa.array(np.arange(i * step, (i + 1) * step)),
            "timestamp": pa.array(np.arange(i * step, (i + 1) * step) / 60.0),
        }
        columns = [changed.get(name, rows[name]) for name in rows.column_names]
        yield pa.table(columns, schema=rows.schema)


def _write(path: Path, groups: Iterator[pa.Table]) -> None:
    """One row group for every 256 rows, as ``extract`` writes them."""
    first = next(groups)
    with parquet_writer(path, first.schema.remove_metadata(), first.schema.metadata or {}) as writer:
        for group in (first, *groups):
            writer.write_table(group, row_group_size=256)


if __name__ == "__main__":
    main()
