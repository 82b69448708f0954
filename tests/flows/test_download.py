"""Real yt-dlp against a real server: what is listed, what is fetched, and what each failure means."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.utils import DownloadError, ExtractorError

from extraction.records import SourceError
from flows.breaker import Breaker
from flows.channels import Channel
from flows.children import Children
from flows.download import DownloadOptions, classify, download, list_videos
from flows.faults import Kind, VideoFault, redact
from padtrace.dataset.store import Store
from tests.flows.site import Site

QUICK = DownloadOptions(sleep_s=0, sleep_requests_s=0, keep_free_gib=0)
CONTENT = os.urandom(300_000)


@pytest.fixture
def children() -> Iterator[Children]:
    pool = Children(1)
    yield pool
    pool.stop()


def fetch(url: str, folder: Path, options: DownloadOptions = QUICK, **wanted: Any) -> Path:
    return download(url, Channel(name="c", url=url, **wanted), folder, "video", options).path


def fault_of(url: str, folder: Path, options: DownloadOptions = QUICK) -> VideoFault:
    with pytest.raises(VideoFault) as caught:
        fetch(url, folder, options)
    return caught.value


# --- listing --------------------------------------------------------------------------------------------


def test_a_feed_is_listed_without_asking_for_its_videos(site: Site) -> None:
    url = site.feed("/feed.rss", [("One", "/1.mp4"), ("Two", "/2.mp4")])
    found = list_videos(Channel(name="c", url=url), frozenset(), QUICK)
    assert [(video.title, video.url) for video in found] == [
        ("One", f"{site.address}/1.mp4"),
        ("Two", f"{site.address}/2.mp4"),
    ]
    assert {path for path, _ in site.asked} == {"/feed.rss"}


@pytest.mark.parametrize(
    ("more", "hours"), [("<itunes:duration>1:30:00</itunes:duration>", 1.5), ("", 0.0)], ids=["told", "not told"]
)
def test_a_listing_tells_how_long_its_videos_are(site: Site, more: str, hours: float) -> None:
    url = site.feed("/feed.rss", [("One", "/1.mp4")], more)
    assert [video.hours for video in list_videos(Channel(name="c", url=url), frozenset(), QUICK)] == [hours]


def test_listing_again_gives_only_what_is_new(site: Site) -> None:
    channel = Channel(name="c", url=site.feed("/feed.rss", [("One", "/1.mp4")]))
    known = frozenset(video.key for video in list_videos(channel, frozenset(), QUICK))
    assert list_videos(channel, known, QUICK) == []
    site.feed("/feed.rss", [("One", "/1.mp4"), ("Two", "/2.mp4")])
    assert [video.title for video in list_videos(channel, known, QUICK)] == ["Two"]


def test_a_listing_ends_at_its_limit(site: Site) -> None:
    url = site.feed("/feed.rss", [(str(i), f"/{i}.mp4") for i in range(20)])
    assert len(list_videos(Channel(name="c", url=url, max_videos=7), frozenset(), QUICK)) == 7


def test_one_video_is_a_list_of_one_with_the_key_it_has_in_a_feed(site: Site) -> None:
    [listed] = list_videos(Channel(name="c", url=site.feed("/f", [("One", "/1.mp4")])), frozenset(), QUICK)
    [single] = list_videos(Channel(name="c", url=site.video("/1.mp4", CONTENT)), frozenset(), QUICK)
    assert single.key == listed.key


def test_a_list_without_videos_means_that_the_site_changed(site: Site) -> None:
    with pytest.raises(VideoFault) as caught:
        list_videos(Channel(name="c", url=site.feed("/empty", [])), frozenset(), QUICK)
    assert caught.value.kind is Kind.SITE_CHANGED


def test_titles_lose_their_control_characters(site: Site) -> None:
    url = site.feed("/feed", [("a\tb\u202e../../c", "/1.mp4")])
    [video] = list_videos(Channel(name="c", url=url), frozenset(), QUICK)
    assert video.title.isprintable()


# --- fetching -------------------------------------------------------------------------------------------


def test_a_video_is_fetched_whole_under_the_given_name(site: Site, tmp_path: Path) -> None:
    path = fetch(site.video("/a/..%2f..%2fevil.mp4", CONTENT), tmp_path)
    assert path == tmp_path / "video.mp4"
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_that_breaks_off_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    path = fetch(site.breaks_off("/1.mp4", CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT
    resumed = [headers["Range"] for _, headers in site.asked if "Range" in headers]
    assert resumed and not resumed[0].startswith("bytes=0-")


def test_what_a_killed_download_left_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    (tmp_path / "video.mp4.part").write_bytes(CONTENT[:100_000])
    assert fetch(site.video("/1.mp4", CONTENT), tmp_path).read_bytes() == CONTENT
    assert any(headers.get("Range", "").startswith("bytes=100000") for _, headers in site.asked)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, Kind.REMOVED), (410, Kind.REMOVED), (401, Kind.PRIVATE), (403, Kind.PRIVATE), (451, Kind.REGION_LOCKED)],
)
def test_a_status_tells_whether_a_video_is_gone(site: Site, tmp_path: Path, status: int, kind: Kind) -> None:
    fault = fault_of(site.fails("/1.mp4", status), tmp_path)
    assert fault.kind is kind and not fault.kind.is_retried
    assert "\n" not in fault.detail


def test_a_server_error_is_tried_again(site: Site, tmp_path: Path) -> None:
    assert fault_of(site.fails("/1.mp4", 500), tmp_path).kind is Kind.NETWORK


def test_a_refusal_carries_the_wait_that_was_asked_for(site: Site, tmp_path: Path) -> None:
    url = site.video("/1.mp4", CONTENT)
    site.refuses_until = time.time() + 30
    fault = fault_of(url, tmp_path)
    assert fault.kind is Kind.THROTTLED and fault.wait_s is not None and 25 < fault.wait_s <= 31


def test_a_page_without_a_video_is_unsupported(site: Site, tmp_path: Path) -> None:
    site.answers["/page"] = site.answers["/feed"] = lambda request: None
    from tests.flows.site import send

    site.answers["/page"] = lambda request: send(request, 200, b"<html><body>text</body></html>", "text/html")
    assert fault_of(f"{site.address}/page", tmp_path).kind is Kind.UNSUPPORTED


def test_too_large_a_file_is_given_up(site: Site, tmp_path: Path) -> None:
    small = QUICK.model_copy(update={"max_gib": 100_000 / 2**30})
    assert fault_of(site.video("/1.mp4", CONTENT), tmp_path, small).kind is Kind.TOO_LARGE


def test_below_the_space_to_leave_nothing_is_fetched(site: Site, tmp_path: Path) -> None:
    fault = fault_of(site.video("/1.mp4", CONTENT), tmp_path, QUICK.model_copy(update={"keep_free_gib": 1e6}))
    assert fault.kind is Kind.DISK_FULL and "free space" in fault.detail
    assert site.asked == []


def test_a_disk_that_is_really_full_is_told_from_a_bad_video(site: Site, tmp_path: Path) -> None:
    if os.geteuid() != 0 or ctypes.CDLL(None).mount(b"tmpfs", bytes(tmp_path), b"tmpfs", 0, b"size=128k"):
        pytest.skip("making a small disk needs the right to mount")
    try:
        assert fault_of(site.video("/1.mp4", CONTENT), tmp_path).kind is Kind.DISK_FULL
    finally:
        ctypes.CDLL(None).umount2(bytes(tmp_path), 2)


def test_a_missing_cookies_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADTRACE_COOKIES", str(tmp_path / "gone.txt"))
    with pytest.raises(SourceError, match="PADTRACE_COOKIES"):
        fetch("http://127.0.0.1:9/1.mp4", tmp_path)


def test_cookies_are_sent_and_their_file_is_left_alone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret-value\n"
    cookies.write_text(text)
    monkeypatch.setenv("PADTRACE_COOKIES", str(cookies))
    fetch(site.video("/1.mp4", CONTENT), tmp_path / "out")
    assert any("secret-value" in headers.get("Cookie", "") for _, headers in site.asked)
    assert cookies.read_text() == text


def test_the_proxy_is_used_and_its_password_is_not_told(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADTRACE_PROXY", "http://user:pa55word@127.0.0.1:9")
    fault = fault_of(site.video("/1.mp4", CONTENT), tmp_path)
    assert fault.kind is Kind.NETWORK and "pa55word" not in str(fault)
    assert site.asked == []


# --- what sites say -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Private video. Sign in if you've been granted access to this video", Kind.PRIVATE),
        ("Video unavailable. This video has been removed by the uploader", Kind.REMOVED),
        ("This video is no longer available because the YouTube account has been terminated", Kind.REMOVED),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", Kind.AGE_RESTRICTED),
        ("Sign in to confirm you're not a bot.", Kind.THROTTLED),
        ("The current session has been rate-limited by YouTube for up to an hour.", Kind.THROTTLED),
        ("The uploader has not made this video available in your country", Kind.REGION_LOCKED),
        ("Join this channel to get access to members-only content", Kind.PRIVATE),
        ("Premieres in 4 hours", Kind.LIVE),
        ("Requested format is not available. Use --list-formats", Kind.UNSUPPORTED),
        ("This video is DRM protected", Kind.PROTECTED),
    ],
)
def test_a_sites_words_are_understood(said: str, kind: Kind) -> None:
    cause = ExtractorError(said, expected=True)
    assert classify(DownloadError(f"ERROR: [youtube] x: {said}", (type(cause), cause, None))).kind is kind


def test_an_error_that_the_extractor_did_not_expect_means_that_the_site_changed() -> None:
    cause = ExtractorError("Unable to extract player response", expected=False)
    fault = classify(DownloadError("ERROR: [youtube] x: Unable to extract", (type(cause), cause, None)))
    assert fault.kind is Kind.SITE_CHANGED


def test_a_bug_is_not_taken_for_a_bad_video() -> None:
    with pytest.raises(KeyError):
        classify(KeyError("x"))


def test_texts_lose_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    said = redact("a topsecret\nfrom https://user:word@example.org/v?sig=abc&ip=1.2.3.4 now")
    assert said == "a *** from https://example.org/v?... now"


# --- processes and the breaker --------------------------------------------------------------------------


def test_a_video_that_never_ends_is_given_up_in_time(site: Site, tmp_path: Path, children: Children) -> None:
    url = site.never_ends("/endless.mp4")
    children.run(60, os.getpid)  # the process is there
    with pytest.raises(VideoFault) as caught:
        children.run(6, download, url, Channel(name="c", url=url), tmp_path, "video", QUICK)
    assert caught.value.kind is Kind.TIMEOUT
    assert children.run(60, os.getpid) > 0, "another process takes its place"


def test_a_process_that_dies_is_a_fault_of_its_video(children: Children) -> None:
    with pytest.raises(VideoFault) as caught:
        children.run(60, os._exit, 3)
    assert caught.value.kind is Kind.CRASH


def test_processes_that_are_stopped_end_at_once() -> None:
    children = Children(1)
    threading.Timer(3, children.stop).start()
    with pytest.raises((CancelledError, VideoFault, RuntimeError)):
        children.run(10_000, time.sleep, 10_000)


class Clock(threading.Event):
    """A time that passes only while somebody waits for this event."""

    now = 1e9

    def time(self) -> float:
        return self.now

    monotonic = time

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The breaker's time; give it as the event that stops a wait."""
    clock = Clock()
    monkeypatch.setattr("flows.breaker.time", clock)
    return clock


def test_the_breaker_waits_as_told_for_that_host_only(store: Store, clock: Clock) -> None:
    Breaker(store).open("http://a.example/1", 12.0)
    assert Breaker(store).wait("http://b.example/", clock) == 0
    assert Breaker(store).wait("http://a.example/2", clock) == pytest.approx(12)
    assert Breaker(store).wait("http://a.example/2", clock) == 0


def test_without_a_word_from_the_host_waits_double(store: Store, clock: Clock) -> None:
    breaker, url = Breaker(store, first_wait_s=0.5), "http://a.example/"
    waits = []
    for _ in range(3):
        waits.append(breaker.open(url, None))
        breaker.open(url, None)  # another worker hears the same refusal
        breaker.wait(url, clock)
    assert waits == pytest.approx([0.5, 1.0, 2.0])
    breaker.close(url)
    assert breaker.open(url, None) == pytest.approx(0.5)


def test_a_wait_can_be_interrupted(store: Store) -> None:
    breaker, stop = Breaker(store), threading.Event()
    breaker.open("http://a.example/", 600)
    threading.Timer(0.5, stop.set).start()
    assert breaker.wait("http://a.example/", stop) < 600
