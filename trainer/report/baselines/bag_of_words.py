"""Logistic regression on TF-IDF of tokens and of pairs of neighbours, by scikit-learn.

Tokens are those of the store, so that languages without spaces are served as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.reader import Vocabulary
from trainer.data.store import TokenStore
from trainer.heads.contract import Results

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PAIRS = 1 << 18  # columns that pairs of tokens share
FACTOR = 1_000_003  # of the first of a pair, a prime
MOST_TOKENS = 4_000_000  # of train; what follows is left out
STRENGTH = 10.0  # C of scikit-learn: how little weights are held back
ITERATIONS = 300


class Counted:
    """TF-IDF as train has taught it.

    Args:
        train: the split.
    """

    def __init__(self, train: TokenStore) -> None:
        self.examples = int(np.searchsorted(train.row_splits, MOST_TOKENS, side="right")) - 1
        self.examples = max(1, min(self.examples, len(train)))
        self._words = 1 + int(np.asarray(train.tokens["token_ids"]).max(initial=0))
        counts = self._counts(train, self.examples)
        occurs = np.bincount(counts.indices, minlength=counts.shape[1])
        self._weights = np.log((1 + counts.shape[0]) / (1 + occurs)) + 1
        self.train = self._weighed(counts)

    def of(self, store: TokenStore) -> csr_matrix:
        """(n, columns) of another split."""
        return self._weighed(self._counts(store, len(store)))

    def _counts(self, store: TokenStore, examples: int) -> csr_matrix:
        from scipy.sparse import csr_matrix

        splits = np.asarray(store.row_splits[: examples + 1])
        tokens = np.asarray(store.tokens["token_ids"][: splits[-1]], np.int64)
        tokens = np.minimum(tokens, self._words)  # what train does not have
        row = np.repeat(np.arange(examples), np.diff(splits))
        is_pair = row[1:] == row[:-1]
        pairs = (tokens[:-1] * FACTOR + tokens[1:]) % PAIRS + self._words + 1
        columns = np.concatenate([tokens, pairs[is_pair]])
        rows = np.concatenate([row, row[1:][is_pair]])
        ones = np.ones(len(rows), np.float32)
        width = self._words + 1 + PAIRS
        counts = csr_matrix((ones, (rows, columns)), shape=(examples, width))
        counts.sum_duplicates()
        return counts

    def _weighed(self, counts: csr_matrix) -> csr_matrix:
        from sklearn.preprocessing import normalize

        weighed = counts.copy()
        weighed.data = (1 + np.log(weighed.data)) * self._weights[weighed.indices]
        return normalize(weighed)


def one_label(train: TokenStore, vocabulary: Vocabulary) -> Callable[[TokenStore], Results]:
    """See above."""
    from sklearn.linear_model import LogisticRegression

    counted = Counted(train)
    label = np.asarray(train.columns["label"])[: counted.examples]
    classes = len(vocabulary["labels"])
    known = np.unique(label)
    if len(known) < 2:
        return lambda store: {"logits": np.zeros((len(store), classes), np.float32)}
    model = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS).fit(counted.train, label)

    def predicts(store: TokenStore) -> Results:
        logits = np.full((len(store), classes), -np.inf)
        logits[:, known] = model.predict_log_proba(counted.of(store))
        return {"logits": np.maximum(logits, -50).astype(np.float32)}

    return predicts


def several_labels(train: TokenStore, vocabulary: Vocabulary) -> Callable[[TokenStore], Results]:
    """One of each label."""
    from sklearn.linear_model import LogisticRegression

    counted = Counted(train)
    labels = np.asarray(train.columns["label"])[: counted.examples]
    models = []
    for of_label in labels.T:
        if 0 < of_label.sum() < len(of_label):
            model = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS)
            models.append(model.fit(counted.train, of_label))
        else:
            models.append(None)

    def predicts(store: TokenStore) -> Results:
        counts = counted.of(store)
        logits = np.zeros((len(store), len(models)), np.float32)
        for column, (model, of_label) in enumerate(zip(models, labels.T, strict=True)):
            if model is None:
                logits[:, column] = 10 if of_label.all() else -10
            else:
                logits[:, column] = model.decision_function(counts)
        return {"logits": logits}

    return predicts


def number(train: TokenStore, vocabulary: Vocabulary) -> Callable[[TokenStore], Results]:
    """Ridge regression."""
    from sklearn.linear_model import Ridge

    counted = Counted(train)
    label = np.asarray(train.columns["label"], np.float64)[: counted.examples]
    model = Ridge().fit(counted.train, label)

    def predicts(store: TokenStore) -> Results:
        return {"logits": model.predict(counted.of(store)).astype(np.float32)[:, None]}

    return predicts
