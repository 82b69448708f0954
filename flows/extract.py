"""Extraction as the commands run it: one set of templates, one set of weights, video after video."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from extraction.adopt import adopt
from extraction.extract import ExtractOptions, Outcome, describe_placement, extract_video
from extraction.features import SIFT, Features, index_of
from extraction.layout import choose_layout, of_family
from extraction.locate import Found, locate, locate_near, place_by_hand
from extraction.look import only_resembles
from extraction.parse import Parser
from extraction.propose import LEAST_FRAMES, Proposer
from extraction.records import Placement, Reason
from extraction.video import probe, read_frame_at, sample_frames
from extraction.xfeat import open_xfeat
from templates.catalogue import Template

Samples = Sequence[tuple[float, np.ndarray]]  # (pts_s, (H, W, 3) uint8 RGB) each


def find_overlay(path: Path, templates: Mapping[str, Template], options: ExtractOptions) -> Found:
    """Where the overlay is and what reads it, or why nowhere; SourceError where the video cannot be read.

    A box given by hand is read with a template that the video itself lends. So is a skin that only resembles the
    drawing that was found, where its pad has one place from the first frame to the last.
    """
    if options.box is not None:
        assert options.family is not None
        layout = choose_layout(templates.values(), options.family, options.box[2:])
        return Found((_lend(path, options.box, layout, templates, options),), None, "")
    found = look_for_overlay(path, templates, options)
    mine = [place for place in found.placements if place.pad == options.pad]
    if len(mine) != 1 or not _only_resembles(mine[0]) or not _is_always_there(mine[0]):
        return found
    [place] = mine
    # In another body controls lie elsewhere than in the drawing's.
    lent = _lend(path, place.box_xywh, place.template, templates, options, place.affine if place.limit > 0 else None)
    lent = replace(lent, inliers=place.inliers, pad=place.pad, support=place.support, sampled=place.sampled)
    placements = tuple(lent if each is place else each for each in found.placements)
    return Found(placements, None, f"{found.detail}; it is read by what the video itself shows")


def look_for_overlay(path: Path, templates: Mapping[str, Template], options: ExtractOptions) -> Found:
    """Where the overlay is in a video, or why nowhere; SourceError where the video cannot be read.

    SIFT looks for it all over the frames. Where it finds nothing, or little of a drawing while XFeat sees more of
    another family there, XFeat looks near the places that look like a pad. The detail names the drawings that what was
    found only resembles. Where no template is found and something looks much like a pad, it says where, for a person to
    confirm.
    """
    with ThreadPoolExecutor(1) as pool:
        # Made once for all videos, while the first is sampled.
        pool.submit(index_of, tuple(templates.values()), SIFT)
        samples = sample_frames(path, options.sample_frames)
    found = look_all_over(path, samples, templates, options, closer=open_xfeat())
    return _named(found if found.placements else look_closer(path, samples, found, templates, options))


def look_all_over(
    path: Path,
    samples: Samples,
    templates: Mapping[str, Template],
    options: ExtractOptions,
    features: Features = SIFT,
    closer: Features | None = None,
) -> Found:
    """What one kind of features finds in the frames that were sampled from a video; see ``locate``."""
    frame_at = partial(read_frame_at, path)
    return locate(
        samples, templates, min_inliers=options.min_inliers, frame_at=frame_at, features=features, closer=closer
    )


def look_closer(
    path: Path, samples: Samples, found: Found, templates: Mapping[str, Template], options: ExtractOptions
) -> Found:
    """What XFeat finds, or what is suspected, near the places that look like a pad; else ``found``, that is nothing."""
    if len(samples) < LEAST_FRAMES:
        return found
    proposals = Proposer.load().propose([rgb for _, rgb in samples])
    frame_at, features = partial(read_frame_at, path), open_xfeat()
    near = locate_near(
        samples, templates, proposals, min_inliers=options.min_inliers, frame_at=frame_at, features=features
    )
    return found if near.reason is Reason.NO_OVERLAY else near


def _named(found: Found) -> Found:
    """What was found; the detail names the drawings that it only resembles."""
    names = dict.fromkeys(place.template.id for place in found.placements if _only_resembles(place))
    return replace(found, detail=f"an unknown skin that resembles {', '.join(names)}") if names else found


def _only_resembles(place: Placement) -> bool:
    """Whether what is there cannot be the template's own drawing."""
    return only_resembles(place.gain, place.limit, place.least)


def _is_always_there(place: Placement) -> bool:
    """Whether a placement holds from the first frame to the last, and these are enough to adopt it from."""
    return place.start_s <= 0 and place.end_s == math.inf and place.sampled >= LEAST_FRAMES


def _lend(
    path: Path,
    box_xywh: tuple[int, int, int, int],
    layout: Template,
    templates: Mapping[str, Template],
    options: ExtractOptions,
    affine: np.ndarray | None = None,
) -> Placement:
    """A placement with a template that the video itself lends; see ``adopt``."""
    adopted = adopt(path, box_xywh, layout, affine=affine, relatives=of_family(templates.values(), layout.family))
    frames = [rgb for _, rgb in sample_frames(path, options.sample_frames)]
    return place_by_hand(box_xywh, adopted.template, frames)


def locate_video(path: Path, templates: Mapping[str, Template], options: ExtractOptions) -> dict[str, Any]:
    """What ``padtrace locate --json`` says about one video; SourceError where it cannot be read."""
    return describe_found(path, look_for_overlay(path, templates, options))


def describe_found(path: Path, found: Found) -> dict[str, Any]:
    """What was found in a video, as JSON; SourceError where it cannot be read."""
    info = probe(path)
    described = [describe_placement(place, info) for place in found.placements]
    return {"source": str(path), "placements": described, "reason": found.reason, "detail": found.detail}


class Extractor:
    """Extracts videos into one dataset."""

    def __init__(self, out_dir: Path, templates: Mapping[str, Template], device: str, options: ExtractOptions) -> None:
        """Loads the weights; SourceError where that fails."""
        torch.set_num_threads(1)  # several batches are read at once; threads within each would only wait for each other
        self._out_dir = out_dir
        self.templates = templates
        self._options = options
        self._parser = Parser.load(device=device)

    def by_hand(self, box: tuple[int, int, int, int], family: str, unknown: str | None = None) -> Extractor:
        """The same in all else, for a video whose overlay is given instead of found: x, y, width, height in pixels.

        unknown: id of a template that is to be left out.
        """
        other = copy.copy(self)
        other.templates = {id: template for id, template in self.templates.items() if id != unknown}
        other._options = self._options.model_copy(update={"box": box, "family": family})
        return other

    def run(self, video: Path, on_progress: Callable[[float], None] | None = None) -> Outcome:
        """Extract one video; see ``extract_video``."""
        return extract_video(
            video, self._out_dir, self.templates, self._parser, self._options, find_overlay, on_progress
        )
