"""What each layer knows: a linear model of the run's own labels on the states of one layer.

Source: Alain and Bengio 2016; Tenney et al. 2019 for the layers of BERT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from trainer.data.batch import Batch
from trainer.data.store import TokenStore
from trainer.files.json_file import JsonObject
from trainer.lazy import tf
from trainer.report.rows import batches_by_length, filled_up, spread
from trainer.run.kept_model import KeptModel
from trainer.run.model import Model

BATCH = 32  # examples at once
COLUMNS = ("token_ids", "segment_ids", "label")
TOKENS_AN_EXAMPLE = 8  # of a tagger, that are looked at
MOST_TOKENS = 50_000  # of long texts fewer are looked at
ITERATIONS = 200
Predicts: TypeAlias = Callable[[np.ndarray], np.ndarray]  # (n, H) -> (n,) or (n, C)


class States(NamedTuple):
    """What the layers make of some examples.

    Attributes:
        layers: (layers + 1, n, H) float32: the embeddings, and behind each layer; of a text the
            mean over its tokens.
        gold: (n,) or (n, C), as the store has it.
    """

    layers: np.ndarray
    gold: np.ndarray


def probe(
    kept: KeptModel, kind: str, train: TokenStore, judged: TokenStore, count: int
) -> JsonObject | None:
    """How well the labels can be read off each layer; None where there is no such probe.

    Args:
        kept: the model, which stays as it is.
        kind: of the head.
        train: on so many examples of which the probe learns.
        judged: on half as many of which it is scored.
        count: how many.
    """
    if kind not in PROBES:
        return None
    fit, metric, score = PROBES[kind]
    states = states_of(kept.model, train, count)
    others = states_of(kept.model, judged, max(1, count // 2))
    if len(np.unique(states.gold)) < 2:
        return None
    scores = []
    for of_train, of_judged in zip(states.layers, others.layers, strict=True):
        mean, spread = of_train.mean(axis=0), of_train.std(axis=0) + 1e-6
        predicts = fit((of_train - mean) / spread, states.gold)
        scores.append(float(score(others.gold, predicts((of_judged - mean) / spread))))
    return {
        "probe": {
            "metric": metric,
            "layers": scores,
            "train": len(states.gold),
            "judged": len(others.gold),
        }
    }


def states_of(model: Model, store: TokenStore, count: int) -> States:
    """The states of some examples, spread over a split.

    Args:
        model: whose states they are.
        store: the split.
        count: how many examples, at most.
    """
    count = min(count, max(1, int(MOST_TOKENS / max(store.lengths.mean(), 1))))
    read = _Reads(model)
    is_tagger = "label" in store.tokens
    layers: list[np.ndarray] = []
    golds: list[np.ndarray] = []
    for rows in batches_by_length(store, spread(count, len(store)), BATCH):
        columns = filled_up(store, rows, COLUMNS)
        label = columns.pop("label", None)
        states = read.states(columns)  # (layers + 1, R, L, H)
        mask = columns["padding_mask"]
        if is_tagger and label is not None:
            row, token = _labelled(label)
            layers.append(states[:, row, token])
            golds.append(label[row, token] - 1)
        else:
            own = mask[None, :, :, None] / mask.sum(axis=1)[None, :, None, None]
            layers.append((states * own).sum(axis=2))
            golds.append(np.asarray(store.columns["label"])[rows])
    return States(np.concatenate(layers, axis=1), np.concatenate(golds))


class _Reads:
    """The states of all layers, traced once."""

    def __init__(self, model: Model) -> None:
        self._states = tf.function(
            lambda columns: tf.stack(
                [
                    tf.cast(state, tf.float32)
                    for state in model.backbone(
                        Batch.one_a_row(columns).rows.as_inputs(), output_hidden_states=True
                    )["hidden_states"]
                ]
            ),
            autograph=False,
            reduce_retracing=True,
        )

    def states(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        found: np.ndarray = self._states(
            {name: tf.constant(column) for name, column in columns.items()}
        ).numpy()
        return found


def _labelled(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and tokens that have a label, a few of each row, spread over it."""
    rows, tokens = [], []
    for row, of_row in enumerate(label):
        known = np.flatnonzero(of_row > 0)
        if len(known):
            tokens.append(known[spread(TOKENS_AN_EXAMPLE, len(known))])
            rows.append(np.full(len(tokens[-1]), row))
    empty = np.zeros(0, int)
    return np.concatenate([*rows, empty]), np.concatenate([*tokens, empty])


def _classes(states: np.ndarray, gold: np.ndarray) -> Predicts:
    """Logistic regression."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=ITERATIONS, C=0.1).fit(states, gold)
    return lambda others: np.asarray(model.predict(others))


def _labels(states: np.ndarray, gold: np.ndarray) -> Predicts:
    """Logistic regression of each label; one that all or none have is given to all or none."""
    models = [
        _classes(states, column) if 0 < column.sum() < len(column) else None for column in gold.T
    ]

    def predicts(others: np.ndarray) -> np.ndarray:
        columns = [
            np.full(len(others), of_label[0]) if model is None else model(others)
            for model, of_label in zip(models, gold.T, strict=True)
        ]
        return np.stack(columns, axis=1)

    return predicts


def _number(states: np.ndarray, gold: np.ndarray) -> Predicts:
    """Ridge regression."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=states.shape[1]).fit(states, gold)
    return lambda others: np.asarray(model.predict(others))


def _accuracy(gold: np.ndarray, answers: np.ndarray) -> float:
    return float(np.mean(gold == answers))


def _f1_micro(gold: np.ndarray, answers: np.ndarray) -> float:
    right = int(((gold > 0) & (answers > 0)).sum())
    given_and_gold = int((gold > 0).sum() + (answers > 0).sum())
    return 2 * right / max(given_and_gold, 1)


def _pearson(gold: np.ndarray, answers: np.ndarray) -> float:
    if not gold.std() or not answers.std():
        return 0.0
    return float(np.corrcoef(gold, answers)[0, 1])


OF_ONE_LABEL = (_classes, "accuracy", _accuracy)
PROBES: dict[
    str,
    tuple[
        Callable[[np.ndarray, np.ndarray], Predicts],
        str,
        Callable[[np.ndarray, np.ndarray], float],
    ],
] = {
    "single_label": OF_ONE_LABEL,
    "prompt": OF_ONE_LABEL,
    "multi_label": (_labels, "f1_micro", _f1_micro),
    "regression": (_number, "pearson", _pearson),
    "token_classification": OF_ONE_LABEL,
}
