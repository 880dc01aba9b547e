"""The temperature that makes probabilities say how often answers are right."""

from __future__ import annotations

import numpy as np

COLDEST, HOTTEST = 0.05, 20.0


def best_temperature(logits: np.ndarray, gold: np.ndarray) -> float:
    """By what logits are to be divided so that the gold labels are likeliest.

    Args:
        logits: (n, C) float64.
        gold: (n,) places among the labels.
    Source: Guo et al. 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    rows = np.arange(len(gold))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[rows, gold]))

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
