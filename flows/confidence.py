"""``python -m flows.confidence DIR``: bring confidence to scale, on the benchmark extractions of clips in DIR.

Prints the constants of ``extraction.normalise`` that make the confidence of drawings seen in training true, and how
true confidence then is of the drawings that are kept from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from extraction.extract import make_video_id
from extraction.normalise import CONFIDENCE_SHIFT, CONFIDENCE_SLOPE
from extraction.score import find_right
from extraction.trust import calibration_error, errors_caught
from flows.benchmark import compare, read_case
from synthetic.clips import EVALUATION
from templates.controls import CONTROLS


def main() -> None:
    """Fit on the seen, judge on the unseen."""
    extractions = Path(sys.argv[1]) / "videos"
    seen, unseen = ([], [])  # type: tuple[list[Path], list[Path]]
    for folder in sorted(path.parent for path in EVALUATION.glob("*/case.json")):
        (unseen if read_case(folder).unseen else seen).append(folder)
    odds, right = _gather(seen, extractions)
    slope, shift = _fit(odds, right)
    print(f"CONFIDENCE_SLOPE, CONFIDENCE_SHIFT = {slope:.2f}, {shift:.2f}")
    for name, folders in (("seen", seen), ("unseen", unseen)):
        odds, right = _gather(folders, extractions)
        confidence = 1 / (1 + np.exp(-(slope * odds + shift)))
        caught = errors_caught(confidence, right) or 0.0
        print(f"{name}: calibration error {calibration_error(confidence, right):.3f}, errors caught {caught:.3f}")


def _gather(folders: Sequence[Path], extractions: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of all frames read: the log odds before scaling, and whether the frame is right."""
    odds, right = [], []
    for folder in folders:
        case = read_case(folder)
        extracted = extractions / make_video_id(folder / "video.mp4")
        comparison = compare(folder, case, extracted)
        is_shown = np.isin(CONTROLS, case.shown)
        read = comparison.readings.at(comparison.truth.frame_index)
        told = (read.known & comparison.truth.known & is_shown).any(1) & np.isfinite(read.confidence)
        confidence = read.confidence[told].astype(np.float64).clip(1e-6, 1 - 1e-6)
        odds.append((np.log(confidence / (1 - confidence)) - CONFIDENCE_SHIFT) / CONFIDENCE_SLOPE)
        right.append(find_right(read, comparison.truth, is_shown)[told])
    return np.concatenate(odds), np.concatenate(right)


def _fit(odds: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and shift of Platt's scaling, by maximum likelihood."""
    x, y = torch.from_numpy(odds), torch.from_numpy(right).double()
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = binary_cross_entropy_with_logits(line[0] * x + line[1], y)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    slope, shift = line.detach().tolist()
    return slope, shift


if __name__ == "__main__":
    main()
