"""An overlay counts as found where its box and its family are right; whatever else is placed is false."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extraction.extract import ExtractOptions
from extraction.records import Reason
from flows import localisation
from flows.benchmark import Case
from flows.localisation import Finding, Localisation, judge, run_localisation

BOX = (100.0, 50.0, 200.0, 100.0)


def case_of(*boxes: tuple[float, float, float, float, float], family: str | None = "snes") -> Case:
    return Case(name="case", boxes=boxes, shown=(), family=family, width_px=200, opacity=0.7)


def located(*places: tuple[tuple[float, ...], str]) -> dict[str, Any]:
    described = [{"template": f"{family}/own", "family": family, "box": list(box)} for box, family in places]
    return {"placements": described, "reason": None if places else Reason.NO_OVERLAY}


@pytest.mark.parametrize(
    ("places", "found", "false"),
    [
        ([(BOX, "snes")], True, 0),
        ([((105.0, 52.0, 200.0, 100.0), "snes")], True, 0),  # IoU 0.914
        ([((110.0, 52.0, 200.0, 100.0), "snes")], False, 1),  # IoU 0.871
        ([(BOX, "nes")], False, 1),  # there, but another pad
        ([((700.0, 400.0, 200.0, 100.0), "snes")], False, 1),  # elsewhere
        ([(BOX, "snes"), ((700.0, 400.0, 200.0, 100.0), "nes")], True, 1),  # and another that is not there
        ([], False, 0),
    ],
)
def test_found_is_an_iou_of_nine_tenths_and_the_right_family(
    places: list[tuple[tuple[float, ...], str]], found: bool, false: int
) -> None:
    finding = judge(case_of((0.0, *BOX)), located(*places), "sift")
    assert (finding.found, finding.false) == (found, false)


def test_whatever_is_placed_in_a_clip_without_an_overlay_is_false() -> None:
    assert judge(case_of(), located((BOX, "snes")), "sift").false == 1
    nothing = judge(case_of(), located(), "sift")
    assert (nothing.found, nothing.false) == (False, 0)


def test_an_overlay_that_moves_is_found_in_all_its_places() -> None:
    case = case_of((0.0, *BOX), (30.0, 700.0, 400.0, 200.0, 100.0))
    assert not judge(case, located((BOX, "snes")), "sift").found
    assert judge(case, located((BOX, "snes"), ((700.0, 400.0, 200.0, 100.0), "snes")), "sift").found


def test_shares_are_by_width_and_opacity_and_leave_out_clips_without_an_overlay() -> None:
    shown, empty = case_of((0.0, *BOX)), case_of()
    findings = (
        judge(shown, located((BOX, "snes")), "sift"),
        judge(shown, located((BOX, "nes")), "sift"),
        judge(empty, located((BOX, "nes")), "sift"),
    )
    report = Localisation(findings, ()).as_json()
    assert report["shares"]["sift"] == [{"width_px": 200, "opacity": 0.7, "cases": 2, "found": 1, "false": 1}]
    assert report["without_overlay"]["sift"] == {"cases": 1, "false": 1}
    assert report["shares"]["xfeat"] == []


def test_a_bad_case_is_told_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "case.json").write_text(json.dumps({"name": "bad"}))
    told: list[Exception] = []
    report = run_localisation([tmp_path / "none", tmp_path / "bad"], {}, ExtractOptions(), on_failure=told.append)
    assert [Path(failure.case).name for failure in report.failures] == ["none", "bad"] and len(told) == 2
    assert report.findings == ()


def test_what_is_kept_of_a_case_is_used_as_long_as_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []

    def look(folder: Path, **_: Any) -> list[Finding]:
        looked.append(folder)
        return [judge(case_of((0.0, *BOX)), located((BOX, "snes")), name) for name in Localisation.FEATURES]

    def run() -> Localisation:
        return run_localisation([folder], {}, ExtractOptions(), kept=tmp_path / "kept")

    monkeypatch.setattr(localisation, "_look_each_way", look)
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "case.json").write_text("{}")
    (folder / "video.mp4").write_bytes(b"a video")
    first = run()
    assert run().as_json() == first.as_json() and len(looked) == 1
    (folder / "video.mp4").write_bytes(b"another")
    assert not run().failures and len(looked) == 2
    (tmp_path / "kept" / "one.json").write_text("{")
    assert not run().failures and len(looked) == 3
    (folder / "case.json").write_text("{ }")
    assert not run().failures and len(looked) == 4


def test_a_finding_is_plain_data() -> None:
    finding = judge(case_of((0.0, *BOX)), located(), "sift")
    assert isinstance(finding, Finding)
    assert json.loads(json.dumps(Localisation((finding,), ()).as_json()))["cases"][0]["reason"] == "no_overlay"
