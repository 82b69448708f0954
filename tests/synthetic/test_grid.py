"""Clips of the localisation benchmark: a grid that shows every drawing, and clips that show none."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from synthetic import grid
from synthetic.clips import ClipOptions
from synthetic.grid import CASES, CELLS, MOMENT_FRAMES, MOMENTS, make_grid
from synthetic.lookalikes import KINDS, draw_lookalike
from templates.catalogue import Template, library


def test_the_grid_has_each_cell_alike_and_each_drawing_at_least_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Template, ClipOptions]] = []
    monkeypatch.setattr(grid, "_render_case", lambda _, template, options, seed: made.append((template, options)))
    folders = list(make_grid(tmp_path, CASES, seed=0))
    assert len(set(folders)) == len(made) == CASES
    assert {template.id for template, _ in made} == set(library())
    cells = [(options.width_px, options.opacity, options.codec) for _, options in made]
    assert {cells.count(cell) for cell in CELLS} == {CASES // len(CELLS)}


def test_a_case_shows_its_overlay_in_sparse_moments_each_from_a_keyframe_on(tmp_path: Path) -> None:
    pytest.importorskip("ale_py", reason="clips need the games of ale-py")
    pytest.importorskip("vizdoom", reason="clips need the games of ViZDoom")
    (folder,) = islice(make_grid(tmp_path, 1, seed=3), 1)
    about = json.loads((folder / "case.json").read_text())
    template = library()[about["overlay"]]
    assert (about["family"], about["width_px"]) == (template.family, about["boxes"][0][3])
    with av.open(str(folder / "video.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == MOMENTS * MOMENT_FRAMES
    assert all(frame.key_frame for frame in frames[::MOMENT_FRAMES])
    assert (frames[0].width, frames[0].height) == (1280, 720)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lookalike_is_drawn_from_its_seed_alone_and_leaves_some_of_the_screen(kind: str) -> None:
    first, again, other = (draw_lookalike(np.random.default_rng(seed), kind, (640, 360)) for seed in (1, 1, 2))
    assert first.shape == (360, 640, 4) and (first == again).all() and (first != other).any()
    assert (first[..., 3] > 0).any()
