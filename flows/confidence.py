"""``python -m flows.confidence DIR``: bring confidence to scale, on the benchmark extractions of clips in DIR.

Prints the constants of ``extraction.normalise`` that make the confidence of drawings seen in training true, and how
true confidence then is of the drawings that are kept from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from extraction.extract import make_video_id
from extraction.normalise import CONFIDENCE_SCALE, moves_on
from extraction.score import find_right
from extraction.trust import calibration_error, errors_caught
from flows.benchmark import compare, read_case
from synthetic.clips import EVALUATION
from synthetic.logistic import fit_logistic
from templates.controls import CONTROLS


def main() -> None:
    """Fit on the seen, judge on the unseen."""
    extractions = Path(sys.argv[1]) / "videos"
    seen, unseen = ([], [])  # type: tuple[list[Path], list[Path]]
    for folder in sorted(path.parent for path in EVALUATION.glob("*/case.json")):
        (unseen if read_case(folder).unseen else seen).append(folder)
    scale = fit_logistic(*_gather(seen, extractions))  # Platt's scaling with one input more
    print(f"CONFIDENCE_SCALE = ({', '.join(f'{each:.2f}' for each in scale)})")
    for name, folders in (("seen", seen), ("unseen", unseen)):
        told, right = _gather(folders, extractions)
        confidence = 1 / (1 + np.exp(-told @ scale))
        caught = errors_caught(confidence, right) or 0.0
        print(f"{name}: calibration error {calibration_error(confidence, right):.3f}, errors caught {caught:.3f}")


def _gather(folders: Sequence[Path], extractions: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of all frames read: (N, 3) log odds before scaling, how far sticks move on, and 1; (N,) whether it is right."""
    slope, price, shift = CONFIDENCE_SCALE
    told, right = [], []
    for folder in folders:
        case = read_case(folder)
        extracted = extractions / make_video_id(folder / "video.mp4")
        comparison = compare(folder, case, extracted)
        is_shown = np.isin(CONTROLS, case.shown)
        moved = dict(zip(comparison.readings.frame_index, moves_on(comparison.readings.sticks), strict=True))
        read = comparison.readings.at(comparison.truth.frame_index)
        use = (read.known & comparison.truth.known & is_shown).any(1) & np.isfinite(read.confidence)
        confidence = read.confidence[use].astype(np.float64).clip(1e-6, 1 - 1e-6)
        move = np.array([moved[index] for index in read.frame_index[use]])
        odds = (np.log(confidence / (1 - confidence)) - shift - price * move) / slope
        told.append(np.stack([odds, move, np.ones_like(move)], 1))
        right.append(find_right(read, comparison.truth, is_shown)[use])
    return np.concatenate(told), np.concatenate(right)


if __name__ == "__main__":
    main()
