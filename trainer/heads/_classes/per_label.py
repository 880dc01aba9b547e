"""Precision, recall and f1 of each label, as scikit-learn has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NAMES = ("precision", "recall", "f1", "support")


def scores_per_label(
    gold: np.ndarray | Sequence[Any],
    predicted: np.ndarray | Sequence[Any],
    labels: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Of each label `precision`, `recall`, `f1`, and `support`, how often it is right.

    Args:
        gold, predicted: (n,) places among the labels, or (n, C) 0 and 1 where an example has
            several.
        labels: their names.
    """
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        gold, predicted, labels=range(len(labels)), average=None, zero_division=0
    )
    return {
        label: dict(zip(NAMES, (*map(float, scores[:3]), int(scores[3])), strict=True))
        for label, *scores in zip(labels, *columns, strict=True)
    }
