"""The README's picture of ``padtrace view``: the page with the sample clip, photographed in Chromium.

Run ``make demo`` first, then ``make picture``; it shows what is in ``out/demo`` and writes ``docs/view.png``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from docs.make_picture import liveliest_frame
from extraction.logs import Log
from padtrace.dataset.marks import Span, save_marks
from tests.view.browser import chromium, served, wait_for_frame, wait_until_ready

DEMO = Path("out/demo")
PICTURE = Path("docs/view.png")


def main() -> None:
    report = json.loads(next(DEMO.glob("videos/*/report.json")).read_text())
    video_id = report["video_id"]
    frame = liveliest_frame(Log.of_table(pq.read_table(DEMO / "videos" / video_id / "actions.parquet")))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dataset"
        shutil.copytree(DEMO, copy)
        save_marks(
            copy, video_id, [Span(start_frame=frame + 150, end_frame=frame + 210, note="the pause menu is open")]
        )
        with served(copy) as address, chromium() as browser:
            page = browser.new_page(viewport={"width": 1180, "height": 940}, color_scheme="light")
            page.goto(address)
            wait_until_ready(page)
            page.fill("#position", str(frame))
            wait_for_frame(page, frame)
            page.wait_for_timeout(3000)  # the overlay, and what the timeline shows
            page.screenshot(path=PICTURE)
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
