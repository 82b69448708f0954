"""The page in a real browser: what is seen, what keys do, and what a screen reader finds."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from extraction.shards import Labels
from padtrace.dataset.marks import Span, load_marks
from padtrace.view.server import PAD_WIDTH
from templates.catalogue import library
from templates.controls import BUTTONS, TRIGGER_SLICE, States
from templates.draw import draw_rgba
from tests.made import COLOURS, Made, write_empty, write_video
from tests.view.browser import (
    PATIENCE_MS,
    chromium,
    frame_of,
    served,
    shade_of,
    wait_for_frame,
    wait_until,
    wait_until_ready,
)

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)>"


def doubt_twice(labels: Labels) -> None:
    labels.confidence[50:55] = 0.2
    labels.confidence[450] = 0.4


MADE = Made(title=f"Run {EVIL}", game=EVIL, edit=doubt_twice)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_video(tmp_path, MADE)
    write_empty(tmp_path, "empty-1", title="Nothing")
    return tmp_path


@pytest.fixture
def address(dataset: Path) -> Iterator[str]:
    with served(dataset) as where:
        yield where


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, open at its first frame. A fault in its script fails the test, as does a request to elsewhere."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text) if is_fault(said) else None)
        opened.on("request", lambda asked: faults.append(asked.url) if is_foreign(asked, address) else None)
        opened.goto(address)
        wait_until_ready(opened)
        yield opened
        assert faults == []


def is_fault(said: ConsoleMessage) -> bool:
    """An answer that is an error is not a fault of the page."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")


def is_foreign(request: Request, address: str) -> bool:
    return not request.url.startswith((address, "data:", "blob:"))


def pixels_of(page: Page, canvas: str) -> np.ndarray:
    """(H, W, 4) uint8 of a canvas, straight alpha."""
    address = page.evaluate("id => document.getElementById(id).toDataURL()", canvas)
    png = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return np.asarray(cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA))


def wait_for_picture(page: Page, frame: int, canvas: str = "frame") -> None:
    """Until a canvas shows the grey of a frame; see ``tests.made``."""
    wait_until(lambda: abs(shade_of(page, canvas) - 8 * (frame % COLOURS)) < 4, f"picture of frame {frame}")


def test_the_first_frame_is_shown_with_what_was_read(page: Page) -> None:
    assert frame_of(page) == 0
    wait_for_picture(page, 0)
    expect(page.locator("#readout")).to_have_text(
        "frame 0 · 0:00.0 · confidence 0.90 · held: south · j_left +1.00, +0.00 · j_right +0.00, +0.00"
    )
    expect(page.locator("#about")).to_have_text(f"xbox_one/own · {EVIL} · not shown by the overlay: guide")


# Sticks that only move; that narrow as they tilt; that change their look; a d-pad of nine pictures.
@pytest.mark.parametrize("template", ["xbox_one/own", "abstract/white", "abstract/frost", "abstract/neon"])
def test_the_pad_is_drawn_as_the_renderer_draws_it(browser: Browser, tmp_path: Path, template: str) -> None:
    made = Made(template=template, family=template.split("/")[0], kept=(True,), edit=press_at_random)
    labels = write_video(tmp_path, made)
    with served(tmp_path) as where, browser.new_context() as context:
        page = context.new_page()
        page.goto(where)
        wait_until_ready(page)
        for frame in (0, 5, 13, 37):
            page.fill("#position", str(frame))
            wait_for_frame(page, frame)
            held = labels.buttons[[frame]]
            states = States(held, labels.sticks[[frame]], held[:, TRIGGER_SLICE].astype(np.float32))
            drawn = draw_rgba(library()[template], states, PAD_WIDTH).astype(float)
            shown = pixels_of(page, "pad").astype(float)
            assert shown.shape == drawn.shape
            off = np.abs(shown[..., :3] * shown[..., 3:] - drawn[..., :3] * drawn[..., 3:]) / 255
            # Edges of what moves are sampled a little differently; a stick that is off by a tenth would give 0.24.
            assert off.mean() < 0.1, f"frame {frame}: {off.mean()}"


def press_at_random(labels: Labels) -> None:
    rng = np.random.default_rng(7)
    labels.buttons[:] = (rng.random(labels.buttons.shape) < 0.4) & labels.known[:, : len(BUTTONS)]
    labels.sticks[:, 1] = rng.uniform(-0.7, 0.7, labels.sticks[:, 1].shape)


def test_playing_shows_frames_in_order_and_ends_at_the_last(page: Page) -> None:
    page.evaluate(
        """() => {
            window.seen = [];
            new MutationObserver(() => window.seen.push(Number(document.body.dataset.frame)))
                .observe(document.body, {attributeFilter: ["data-frame"]});
        }"""
    )
    page.fill("#position", "560")
    page.select_option("#speed", "4")
    page.click("#play")
    wait_for_frame(page, 599)
    expect(page.locator("#play")).to_have_text("Play")
    wait_for_picture(page, 599)
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen) and len(set(seen)) > 3
    page.click("#play")  # again from the start
    wait_until(lambda: frame_of(page) < 500, "the start")


def test_dragging_the_slider_ends_at_the_frame_where_it_stops(page: Page) -> None:
    for frame in (*range(0, 200, 3), 590, 10, 444):
        page.evaluate(
            """frame => {
                const slider = document.getElementById("position");
                slider.value = frame;
                slider.dispatchEvent(new Event("input"));
            }""",
            frame,
        )
    wait_for_frame(page, 444)
    wait_for_picture(page, 444)


def test_a_click_on_the_overview_goes_there(page: Page) -> None:
    box = page.locator("#overview").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    expect(page.locator("#position")).to_have_value("450")


def test_a_dropped_chunk_says_why(page: Page) -> None:
    page.get_by_role("button", name="0:20.0 dropped: inactive, 10% active").click()
    wait_for_frame(page, 200)
    assert page.get_by_role("button", name="0:20.0 dropped").get_attribute("title") == "too little happens"
    expect(page.get_by_role("button", name="0:20.0 dropped")).to_have_attribute("aria-current", "true")


def test_everything_is_done_by_keys_alone(page: Page, dataset: Path) -> None:
    """From the top: find the doubts, look around, mark, and take the mark away."""
    keys = page.keyboard
    keys.press("ArrowRight")
    wait_for_frame(page, 1)
    keys.press("Shift+ArrowRight")
    wait_for_frame(page, 11)
    keys.press("ArrowLeft")
    wait_for_frame(page, 10)
    expect(page.get_by_role("button", name="0:05.0 5 frames, down to 0.20")).to_be_visible()
    keys.press("n")
    wait_for_frame(page, 50)
    keys.press("n")
    wait_for_frame(page, 450)
    keys.press("n")
    expect(page.get_by_role("status")).to_have_text("no doubt after this frame")
    keys.press("p")
    wait_for_frame(page, 50)
    keys.press("PageDown")
    wait_for_frame(page, 200)
    keys.press("PageUp")
    wait_for_frame(page, 0)
    keys.press("End")
    wait_for_frame(page, 599)
    keys.press("Home")
    wait_for_frame(page, 0)

    for _ in range(5):
        keys.press("ArrowRight")
    keys.press("m")
    for _ in range(4):
        keys.press("ArrowRight")
    keys.press("m")
    expect(page.get_by_role("status")).to_have_text("marked frames 5 to 9 as wrong")
    assert load_marks(dataset, MADE.video_id) == (Span(start_frame=5, end_frame=10),)
    keys.press("x")
    expect(page.get_by_role("status")).to_have_text("removed the mark on frames 5 to 9")
    assert load_marks(dataset, MADE.video_id) == ()

    keys.press("m")
    keys.press("Escape")
    expect(page.get_by_role("button", name="Mark from here")).to_be_visible()
    keys.press("Space")
    expect(page.locator("#play")).to_have_text("Pause")
    keys.press("Space")
    expect(page.locator("#play")).to_have_text("Play")
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    keys.press("[")
    expect(page.locator("#readout")).to_contain_text("No overlay was found in this video (no_overlay)")
    keys.press("]")
    wait_until_ready(page)


def test_of_two_videos_that_are_chosen_at_once_the_later_one_opens(page: Page) -> None:
    page.route("**/api/videos/empty-1", lambda route: (time.sleep(1), route.continue_()))  # it answers last
    page.evaluate(
        """ids => {
            const choice = document.getElementById("video");
            for (const id of ids) {
                choice.value = id;
                choice.dispatchEvent(new Event("change"));
            }
        }""",
        ["empty-1", MADE.video_id],
    )
    wait_until_ready(page)
    page.wait_for_timeout(1500)
    expect(page.locator("#readout")).to_contain_text("frame 0")


def test_tab_reaches_every_control(page: Page) -> None:
    expect(page.get_by_role("button", name="0:40.0 kept")).to_be_visible()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    wanted = {"video", "help", "play", "position", "speed", "zoom", "mark", "note", "below"}
    assert wanted <= reached
    assert {"0:40.0 kept, 100% active", "0:45.0 1 frame, down to 0.40"} <= reached


def test_letters_typed_into_a_note_are_text_and_it_is_kept_with_the_mark(page: Page, dataset: Path) -> None:
    page.keyboard.press("m")
    page.focus("#note")
    page.keyboard.type("menu, next mark? <b>x</b>")
    page.get_by_role("button", name="Mark 0 up to here").click()
    expect(page.get_by_role("button", name="frames 0 to 0: menu, next mark? <b>x</b>", exact=True)).to_be_visible()
    assert load_marks(dataset, MADE.video_id) == (Span(start_frame=0, end_frame=1, note="menu, next mark? <b>x</b>"),)
    remove = page.get_by_role("button", name="Remove the mark on frames 0 to 0")
    remove.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("nothing is marked")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "marks"  # the focus is not lost with the button


def test_a_lower_limit_leaves_fewer_doubts(page: Page) -> None:
    expect(page.locator("#doubts button")).to_have_count(2)
    page.fill("#below", "0.3")
    page.keyboard.press("Tab")
    expect(page.locator("#doubts button")).to_have_count(1)


def test_what_the_server_cannot_read_is_told_on_the_page(page: Page, dataset: Path) -> None:
    (dataset / "marks").mkdir()
    (dataset / "marks" / f"{MADE.video_id}.json").write_text("{")
    with page.expect_response("**/marks/**") as answered:
        page.keyboard.press("m")
        page.keyboard.press("m")
    assert answered.value.status == 409
    expect(page.get_by_role("alert")).to_contain_text("does not hold marks")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.keyboard.press("m")
    page.keyboard.press("m")
    expect(page.get_by_role("button", name="Remove the mark")).to_be_visible()
    expect(page.get_by_role("button", name="0:40.0 kept")).to_be_visible()
    check_with_axe(page)
    page.keyboard.press("?")
    check_with_axe(page)
    page.keyboard.press("Escape")
    page.keyboard.press("[")
    expect(page.locator("#readout")).to_contain_text("No overlay")
    check_with_axe(page)


def check_with_axe(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_axe_sees_what_is_wrong(page: Page) -> None:
    """The check can fail."""
    page.evaluate("document.querySelector('label[for=position]').remove()")
    assert Axe().run(page).violations_count > 0


def test_the_first_frame_of_a_long_video_needs_no_more_bytes(browser: Browser, tmp_path: Path) -> None:
    needed = []
    for name, chunks in (("short", 3), ("long", 60)):
        write_video(tmp_path / name, Made(kept=(True,) * chunks, fps=30))
        with served(tmp_path / name) as where, browser.new_context() as context:
            page = context.new_page()
            sizes: list[int] = []
            page.route("**/spans", lambda route: route.abort())  # what comes after the first frame ends here
            page.on("requestfinished", lambda asked, sizes=sizes: sizes.append(asked.sizes()["responseBodySize"]))
            page.goto(where)
            wait_until_ready(page)
            page.wait_for_timeout(500)
            needed.append(sum(sizes))
    short, long = needed
    assert long == pytest.approx(short, rel=0.02)


def test_the_overlay_of_the_source_video_is_shown_beside_the_pad(browser: Browser, tmp_path: Path) -> None:
    from extraction.extract import make_video_id
    from tests.view.test_server import draw_source

    source = tmp_path / "run.mp4"
    draw_source(source)
    write_video(tmp_path / "out", Made(video_id=make_video_id(source), source=str(source), start_s=3.0))
    with served(tmp_path / "out") as where, browser.new_context() as context:
        page = context.new_page()
        page.goto(where)
        wait_until_ready(page)
        expect(page.get_by_role("img", name="The overlay in the video")).to_be_visible(timeout=PATIENCE_MS)
        page.fill("#position", "333")
        wait_for_picture(page, 333, "overlay")
