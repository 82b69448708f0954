"""Real games with overlays of other people's skins: read through an import, and through a template from the video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extraction.adopt import adopt
from extraction.extract import ExtractOptions
from extraction.score import Scores
from flows.benchmark import judge, read_case
from flows.extract import Extractor
from templates.catalogue import Template, library, load_templates, save_template
from templates.importers import import_skins

SHARED = Path(__file__).parents[2] / "shared"
REALSET = SHARED / "realset"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REALSET.exists(), reason="the real test videos are not here"),
]


def read(case: str, own: dict[str, Template], out: Path) -> tuple[Scores | None, list[dict[str, object]], Path]:
    """Extract a case with the library and one's own templates: scores, chunks, folder of the video."""
    extractor = Extractor(out, library() | own, "cpu", ExtractOptions())
    folder = extractor.run(REALSET / case / "video.mp4").folder
    report = json.loads((folder / "report.json").read_text())
    return judge(REALSET / case, read_case(REALSET / case), folder).scores, report["chunks"], folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    folder = tmp_path_factory.mktemp("imported")
    for skin in import_skins("input-overlay", SHARED / "overlays" / "input-overlay"):
        save_template(skin.scene, skin.pictures, folder)
    return load_templates(folder)


@pytest.mark.parametrize("case", ["dev_doom_dualsense", "dev_atari_x360"])
def test_imported_skins_are_read(case: str, imported: dict[str, Template], tmp_path: Path) -> None:
    scores, chunks, _ = read(case, imported, tmp_path)
    assert scores is not None
    assert (scores.stick_r2_mean or 0) >= 0.85
    assert (scores.button_accuracy or 0) >= 0.975
    assert (scores.macro_f1 or 0) >= 0.80
    if case == "dev_doom_dualsense":  # nobody plays from second 22 on
        assert [chunk["kept"] for chunk in chunks] == [True, False, True]


def test_a_template_made_from_a_video_alone_reads_its_sticks(tmp_path: Path) -> None:
    box = (980, 498, 281, 203)
    layout = next(template for template in library().values() if template.family == "xbox_360")
    adopted = adopt(REALSET / "dev_atari_x360" / "video.mp4", box, layout)
    save_template(adopted.scene, adopted.pngs, tmp_path / "mine")
    scores, _, _ = read("dev_atari_x360", load_templates(tmp_path / "mine"), tmp_path / "out")
    assert scores is not None and (scores.stick_r2_mean or 0) >= 0.7
