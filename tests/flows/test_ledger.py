"""One contract for a folder and for a bucket: files appear whole, one of many creates, a claim has one owner."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extraction.records import SourceError
from flows.cli import app
from flows.faults import Kind, VideoFault
from flows.funnel import make_funnel, order_by_yield
from flows.ledger import Claim, Ledger, Row, Status, make_key
from padtrace.dataset.store import Store, open_store


def row(key: str = "a", **fields: object) -> Row:
    given = {"key": key, "channel": "c", "url": "https://example.org/a.mp4", "updated": datetime.now(UTC), **fields}
    return Row.model_validate(given)


# --- the store ------------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_was_put(store: Store, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"3")
    assert store.read("a/b.json") is None and store.names("a") == []
    store.put("a/b.json", b"1")
    store.put("a/b.json", b"2")
    store.upload(tmp_path / "local", "a/c.json")
    assert store.read_all("a") == {"b.json": b"2", "c.json": b"3"}
    store.remove("a/b.json")
    store.remove("a/b.json")
    assert store.names("a") == ["c.json"]


def test_of_many_that_create_a_file_one_succeeds(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda i: store.create("a/b.json", str(i).encode()), range(24)))
    assert created.count(True) == 1
    assert store.read("a/b.json") == str(created.index(True)).encode()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a//b", "", ".hidden", "a/.x", "a\nb", "a\\b"])
def test_no_name_leaves_the_store(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="plain relative name"):
        store.put(name, b"")


def test_another_kind_of_address_is_refused_in_one_sentence() -> None:
    with pytest.raises(SourceError, match="s3://BUCKET/PREFIX"):
        open_store("ftp://example.org/x")


# --- rows -----------------------------------------------------------------------------------------------


def test_a_video_is_queued_once(store: Store) -> None:
    ledger = Ledger(store)
    assert ledger.queue([row("a"), row("b")]) == 2
    ledger.write(row("a", status=Status.NO_OVERLAY))
    assert ledger.queue([row("a"), row("c")]) == 1
    assert [(each.key, each.status.value) for each in ledger.rows()] == [
        ("a", "no_overlay"),
        ("b", "queued"),
        ("c", "queued"),
    ]


@pytest.mark.parametrize(
    ("kind", "status", "settled"),
    [
        (Kind.REMOVED, Status.FAILED, True),  # gone for good
        (Kind.NETWORK, Status.FAILED, False),  # tried again another night
        (Kind.THROTTLED, Status.QUEUED, False),  # not the video's fault
        (Kind.LIVE, Status.QUEUED, False),  # not over yet
        (Kind.TOO_LONG, Status.SKIPPED, True),  # not asked for
    ],
)
def test_what_follows_from_a_fault(kind: Kind, status: Status, settled: bool) -> None:
    after = row().after(VideoFault(kind, "why"))
    assert (after.status, after.kind, after.is_settled) == (status, kind, settled)


def test_a_fault_that_may_pass_is_given_three_runs() -> None:
    tried = row()
    for _ in range(3):
        assert not tried.is_settled
        tried = tried.after(VideoFault(Kind.NETWORK, "why"))
    assert tried.is_settled


def test_a_row_that_cannot_be_read_is_named(store: Store) -> None:
    store.put("ledger/a.json", b"{")
    with pytest.raises(SourceError, match=r"ledger/a\.json"):
        Ledger(store).rows()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "\x00", "ü", "x" * 500, "CON", "-rf"])
def test_a_key_is_a_plain_name_whatever_the_network_says(name: str) -> None:
    key = make_key("site", name)
    assert key.replace("-", "").replace("_", "").isalnum() and key.isascii() and len(key) < 60
    assert not key.startswith("-")
    assert key != make_key("site", name + "x") and key != make_key("other", name)


def test_content_belongs_to_the_video_that_brought_it_first(store: Store) -> None:
    ledger = Ledger(store)
    assert [ledger.first_with_content("00ff", key) for key in ("a", "b", "a")] == ["a", "a", "a"]


# --- claims ---------------------------------------------------------------------------------------------


def test_of_many_workers_one_gets_the_claim(place: str) -> None:
    ledgers = [Ledger(open_store(place)) for _ in range(6)]

    def hold(ledger: Ledger) -> bool:
        with ledger.claim("a") as claim:
            time.sleep(1)
            return claim is not None

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(hold, ledgers)).count(True) == 1
    with ledgers[0].claim("a") as claim:
        assert claim == Claim("a", 1), "nothing is left of a claim that was given back"


def test_a_claim_that_is_renewed_is_not_taken_over(store: Store) -> None:
    ledger = Ledger(store, lease_s=1.0)
    with ledger.claim("a") as mine:
        time.sleep(2.5)
        with Ledger(store, lease_s=1.0).claim("a") as other:
            assert other is None
        assert mine is not None and ledger.holds(mine)


def test_a_dead_workers_claim_is_taken_over_by_one_and_the_dead_is_counted(store: Store) -> None:
    dead = Ledger(store, lease_s=0.5)
    lost = dead._take("a")  # never renewed, never released: its process was killed
    assert lost is not None
    ledgers = [Ledger(store, lease_s=0.5) for _ in range(4)]
    assert [ledger._take("a") for ledger in ledgers] == [None] * 4
    time.sleep(0.6)
    with ThreadPoolExecutor(4) as pool:
        taken = [claim for claim in pool.map(lambda ledger: ledger._take("a"), ledgers) if claim]
    assert taken == [Claim("a", 2)]
    assert not dead.holds(lost) and ledgers[0].holds(taken[0])
    dead._release(lost)
    assert ledgers[0].holds(taken[0]), "who wakes up late takes nothing away"


# --- the funnel -----------------------------------------------------------------------------------------

HALF_AN_HOUR = {"hours_downloaded": 0.5, "hours_decoded": 0.5}
ROWS = [
    row("a", status=Status.DONE, hours_kept=0.25, **HALF_AN_HOUR),
    row("b", status=Status.DONE, hours_kept=0.0, **HALF_AN_HOUR),
    row("c", status=Status.NO_OVERLAY, hours_downloaded=1.0, channel="d"),
    row("d", status=Status.FAILED, kind=Kind.REMOVED, channel="d"),
    row("e", status=Status.FAILED, kind=Kind.REMOVED, channel="d"),
    row("f"),
]


def test_the_funnel_counts_every_video_once() -> None:
    funnel = make_funnel(ROWS)
    assert funnel.stages == {
        "listed": 6,
        "downloaded": 3,
        "scanned": 3,
        "with_overlay": 2,
        "hours_downloaded": 2.0,
        "hours_decoded": 1.0,
        "hours_kept": 0.25,
    }
    assert list(funnel.dropped.items()) == [("failed: removed", 2), ("no_overlay", 1), ("queued", 1)]


def test_channels_that_gave_overlays_come_first_and_new_ones_before_barren_ones() -> None:
    assert order_by_yield(["d", "new", "c"], ROWS) == ["c", "new", "d"]


def test_status_prints_the_funnel_and_every_row(store: Store, place: str) -> None:
    ledger = Ledger(store)
    ledger.queue(ROWS)
    plain = CliRunner().invoke(app, ["status", place])
    assert plain.exit_code == 0, plain.output
    assert "with overlay" in plain.stdout and "failed: removed" in plain.stdout
    found = json.loads(CliRunner().invoke(app, ["status", place, "--json"]).stdout)
    assert found["stages"]["hours_kept"] == 0.25
    assert found["channels"]["d"]["dropped"] == {"failed: removed": 2, "no_overlay": 1}
    assert len(found["videos"]) == 6
