"""Logistic regression, for constants that are fitted to what was measured."""

from __future__ import annotations

from typing import Final

import numpy as np

ROUNDS: Final = 50
RIDGE: Final = 1e-6  # keeps the weights finite where the two kinds do not mix


def fit_logistic(inputs: np.ndarray, is_true: np.ndarray) -> np.ndarray:
    """The weights (K,) of inputs (N, K) that make N truths likeliest, by Newton's method; logits: inputs @ weights."""
    weights, ridge = np.zeros(inputs.shape[1]), RIDGE * np.eye(inputs.shape[1])
    for _ in range(ROUNDS):
        likely = 1 / (1 + np.exp(-inputs @ weights))
        bend = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + ridge
        weights += np.linalg.solve(bend, inputs.T @ (is_true - likely) - RIDGE * weights)
    return weights
