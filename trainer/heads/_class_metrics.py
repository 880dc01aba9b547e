"""How good a classifier is, as scikit-learn has it; labels that train does not have count as
missed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.files.mapped import blocks
from trainer.heads._label_columns import UNSEEN_GIVEN, UNSEEN_NAMES
from trainer.heads._per_label import scores_per_label


def unseen_names(extras: Mapping[str, np.ndarray]) -> list[str]:
    """The labels of a split that train does not have."""
    return extras[UNSEEN_NAMES].tolist() if UNSEEN_NAMES in extras else []


def predicted_labels(logits: np.ndarray, threshold: float | None) -> np.ndarray:
    """(n,) the class of each example; with a threshold (n, C) 0 and 1, as several may be given."""
    from scipy.special import expit

    return logits.argmax(axis=1) if threshold is None else (expit(logits) >= threshold).astype(int)


def gold_and_predicted(
    logits: np.ndarray, label: np.ndarray, extras: Mapping[str, np.ndarray], threshold: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both over the vocabulary's C labels and the split's own U: (n,) numbers below C + U, or (n, C
    + U) 0 and 1.
    """
    predicted = predicted_labels(logits, threshold)
    if threshold is None or UNSEEN_GIVEN not in extras:
        return label, predicted
    unseen = np.asarray(extras[UNSEEN_GIVEN])
    return np.concatenate([label, unseen], axis=1), np.concatenate(
        [predicted, np.zeros_like(unseen)], axis=1
    )


def class_metrics(
    logits: np.ndarray, label: np.ndarray, extras: Mapping[str, np.ndarray], threshold: float | None
) -> dict[str, float]:
    """Over a whole split, every example once and weighing the same; the macro averages over the C +
    U labels.

    The loss is the mean over the examples whose label train has; of several labels over train's.

    Args:
        logits: (n, C) float64.
        label: (n,) int32, or (n, C) 0 and 1.
        extras: of the store, see `label_columns`.
        threshold: of several labels an example; None: each has one.
    """
    from scipy.special import softmax
    from sklearn import metrics

    classes = logits.shape[1]
    gold, predicted = gold_and_predicted(logits, label, extras, threshold)
    values = {
        "loss": _loss(logits, label, several=threshold is not None),
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
    }
    if threshold is not None:
        values["f1_micro"] = float(
            metrics.f1_score(gold, predicted, average="micro", zero_division=0)
        )
    everything = range(classes + len(unseen_names(extras)))
    scores = metrics.precision_recall_fscore_support(
        gold, predicted, labels=everything, average="macro", zero_division=0
    )
    values |= dict(
        zip(("precision_macro", "recall_macro", "f1_macro"), map(float, scores[:3]), strict=True)
    )
    if threshold is None and classes == 2 and np.unique(label).tolist() == [0, 1]:
        values["auc_roc"] = float(metrics.roc_auc_score(label, softmax(logits, axis=1)[:, 1]))
    return values


def _loss(logits: np.ndarray, label: np.ndarray, *, several: bool) -> float:
    from scipy.special import log_softmax

    if several:
        return float(np.mean(np.logaddexp(0, logits) - logits * label))
    known = np.flatnonzero(label < logits.shape[1])
    return (
        float(-np.mean(log_softmax(logits[known], axis=1)[np.arange(len(known)), label[known]]))
        if len(known)
        else 0.0
    )


def class_scores(
    logits: np.ndarray,
    label: np.ndarray,
    extras: Mapping[str, np.ndarray],
    threshold: float | None,
    labels: list[str],
) -> dict[str, dict[str, float]]:
    """precision, recall, f1 and support of each label,
    those that train does not have at the end.
    """
    gold, predicted = gold_and_predicted(logits, label, extras, threshold)
    names = [*labels, *unseen_names(extras)]
    return scores_per_label(gold, predicted, names, list(range(len(names))))


def regression_metrics(value: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """The mean square, and correlations: 0 where undefined."""
    from scipy import stats

    mse = float(np.mean((value - label) ** 2))
    # else a correlation is undefined
    varied = len(value) > 1 and np.ptp(value) > 0 and np.ptp(label) > 0
    return {
        "loss": mse,
        "mse": mse,
        "pearson": float(stats.pearsonr(value, label).statistic) if varied else 0.0,
        "spearman": float(stats.spearmanr(value, label).statistic) if varied else 0.0,
    }


def undefined_class_metrics(
    label: np.ndarray, extras: Mapping[str, np.ndarray], classes: int
) -> dict[str, str]:
    """The metrics that a split cannot give, or for which every model is the same, and why."""
    if label.ndim > 1:
        given = [label, extras[UNSEEN_GIVEN]] if UNSEEN_GIVEN in extras else [label]
        empty = not any(block.any() for values in given for block in blocks(values))
        return (
            dict.fromkeys(
                ("f1_micro", "f1_macro", "recall_macro", "precision_macro"),
                "no example has a label there",
            )
            if empty
            else {}
        )
    if classes != 2:
        return {"auc_roc": f"it is of two classes, and train has {classes:,}"}
    if unseen_names(extras):
        return {"auc_roc": "it is of two classes, and there are labels that train does not have"}
    return (
        {} if len(np.unique(label)) == 2 else {"auc_roc": "all examples have the same label there"}
    )


def undefined_regression_metrics(label: np.ndarray) -> dict[str, str]:
    """The same of a regression."""
    if len(label) < 2:
        return dict.fromkeys(("pearson", "spearman"), "there is one example")
    return (
        {}
        if np.ptp(label) > 0
        else dict.fromkeys(
            ("pearson", "spearman"), f"all examples have the number {float(label[0]):g} there"
        )
    )
