"""Scores of labels, as scikit-learn has them."""

from __future__ import annotations

import numpy as np

MACRO = ("precision_macro", "recall_macro", "f1_macro")


def macro_scores(gold: np.ndarray, predicted: np.ndarray, labels: int) -> dict[str, float]:
    """Means over all labels; 0 of one that is neither there nor predicted.

    Args:
        gold: (n,) numbers of labels, or (n, labels) 0 and 1 where an example has several.
        predicted: the same.
        labels: how many there are.
    """
    from sklearn.metrics import precision_recall_fscore_support

    scores = precision_recall_fscore_support(
        gold, predicted, labels=range(labels), average="macro", zero_division=0
    )
    return dict(zip(MACRO, map(float, scores[:3]), strict=True))
