"""Integrated gradients on the word embeddings.

Source: Sundararajan et al. 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from trainer.data.batch import Batch
from trainer.lazy import tf
from trainer.run.model import Model

FEWEST_STEPS, MOST_STEPS = 32, 512
WANTED_GAP = 0.01  # of the difference that is explained
LEAST_DIFFERENCE = 1e-3  # a score, below which a gap is no share of it
AT_ONCE = 16  # rows of the model
Columns: TypeAlias = Mapping[str, "tf.Tensor"]  # of a row, (1, S) each


class Attribution(NamedTuple):
    """What each token of a row adds to a score.

    Attributes:
        shares: (S,) float64; together they are about the score minus that of the baseline.
        score, baseline: of the row, and of it without its words.
        gap: how far their sum is from that, as a share of it.
        steps: of the path from the baseline to the row.
    """

    shares: np.ndarray
    score: float
    baseline: float
    gap: float
    steps: int


class Gradients:
    """Scores of a row under other word vectors, and their gradients; each traced once.

    Args:
        model: whose logits are explained.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._along = tf.function(self._gradient_along, autograph=False, reduce_retracing=True)
        self._scores = tf.function(self._score, autograph=False, reduce_retracing=True)

    def vectors(self, columns: Columns) -> np.ndarray:
        """(S, E) float32: the embeddings of a row's words."""
        table = self._model.backbone.word_embeddings()
        return np.array(tf.cast(tf.gather(table, columns["token_ids"][0]), tf.float32))

    def scores(self, columns: Columns, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(P,) float64: the weighted sum of the row's logits under each of some word vectors.

        Args:
            columns: of the row.
            vectors: (P, S, E).
            weights: of an example's logits.
        """
        found: np.ndarray = self._scores(dict(columns), tf.constant(vectors), weights).numpy()
        return found.astype(np.float64)

    def attribution(self, columns: Columns, begin: np.ndarray, weights: np.ndarray) -> Attribution:
        """How much each token adds to a score, along the straight path from other word vectors.

        The path has as many steps as bring the gap below WANTED_GAP, at most MOST_STEPS.

        Args:
            columns: of the row.
            begin: (S, E) float32, the word vectors of the baseline.
            weights: of an example's logits.
        """
        end = self.vectors(columns)
        score, baseline = self.scores(columns, np.stack([end, begin]), weights).tolist()
        difference = score - baseline
        steps = FEWEST_STEPS
        while True:
            mean = self._mean_gradient(columns, begin, end, weights, steps)
            shares = ((end - begin) * mean).sum(axis=1, dtype=np.float64)
            gap = abs(shares.sum() - difference) / max(abs(difference), LEAST_DIFFERENCE)
            if gap <= WANTED_GAP or steps >= MOST_STEPS:
                return Attribution(shares, score, baseline, float(gap), steps)
            steps *= 2

    def _mean_gradient(
        self,
        columns: Columns,
        begin: np.ndarray,
        end: np.ndarray,
        weights: np.ndarray,
        steps: int,
    ) -> np.ndarray:
        """(S, E): of the score along the path, by the points and weights of Gauss and Legendre."""
        points, shares = np.polynomial.legendre.leggauss(steps)
        total = np.zeros_like(end)
        for first in range(0, steps, AT_ONCE):
            along = tf.constant((points[first : first + AT_ONCE] + 1) / 2, tf.float32)
            share = tf.constant(shares[first : first + AT_ONCE] / 2, tf.float32)
            total += self._along(dict(columns), begin, end, weights, along, share).numpy()
        return total

    def _gradient_along(
        self,
        columns: Columns,
        begin: tf.Tensor,
        end: tf.Tensor,
        weights: tf.Tensor,
        along: tf.Tensor,
        share: tf.Tensor,
    ) -> tf.Tensor:
        """(S, E): the weighted sum of the gradients at (P,) places of the path."""
        vectors = begin + along[:, None, None] * (end - begin)  # (P, S, E)
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            scores = self._score(columns, vectors, weights)
        gradient = tape.gradient(scores, vectors)
        return tf.einsum("p,pse->se", share, gradient)

    def _score(self, columns: Columns, vectors: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """(P,) float32."""
        times = tf.shape(vectors)[0]
        rows = {name: tf.repeat(column, times, axis=0) for name, column in columns.items()}
        logits = self._model.logits(Batch.one_a_row({**rows, "word_vectors": vectors}))
        return tf.tensordot(logits, weights, axes=len(weights.shape))
