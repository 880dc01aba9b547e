"""Integrated gradients on the word embeddings.

Source: Sundararajan et al. 2017.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.batch import Batch
from trainer.run.model import Model

FEWEST_STEPS, MOST_STEPS = 32, 512
WANTED_GAP = 0.01  # of the difference that is explained
LEAST_DIFFERENCE = 1e-3  # a score, below which a gap is no share of it
AT_ONCE = 16  # rows of the model


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


def integrated_gradients(
    model: Model, batch: Batch, target: int, is_word: np.ndarray, nothing: np.ndarray
) -> Attribution:
    """How much each token adds to a logit, along the straight path from a row without its words.

    The path has as many steps as bring the gap below WANTED_GAP, at most MOST_STEPS.

    Args:
        model: whose logits are (E, C).
        batch: of one example in one row.
        target: which logit.
        is_word: (S,) bool, the tokens that the baseline lacks; others stay as they are.
        nothing: (E,) float32, the embedding that stands there in the baseline.
    """
    token_ids = batch.rows.token_ids
    word = model.backbone.word_embeddings()
    end = tf.cast(tf.gather(word, token_ids[0]), tf.float32)  # (S, E)
    begin = tf.where(is_word[:, None], nothing[None], end)
    score, baseline = _scores(model, batch, tf.stack([end, begin]), target).numpy().tolist()
    steps = FEWEST_STEPS
    while True:
        mean = _mean_gradient(model, batch, begin, end, target, steps)
        shares = tf.reduce_sum((end - begin) * mean, axis=1).numpy().astype(np.float64)
        difference = score - baseline
        gap = abs(shares.sum() - difference) / max(abs(difference), LEAST_DIFFERENCE)
        if gap <= WANTED_GAP or steps >= MOST_STEPS:
            return Attribution(shares, score, baseline, float(gap), steps)
        steps *= 2


def _mean_gradient(
    model: Model, batch: Batch, begin: tf.Tensor, end: tf.Tensor, target: int, steps: int
) -> tf.Tensor:
    """(S, E): of the logit along the path, by the points and weights of Gauss and Legendre."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = tf.zeros_like(end)
    for first in range(0, steps, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        along = tf.constant((points[part] + 1) / 2, tf.float32)[:, None, None]
        vectors = begin + along * (end - begin)  # (P, S, E)
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            scores = _scores(model, batch, vectors, target)
        gradient = tape.gradient(scores, vectors)
        weight = tf.constant(weights[part] / 2, tf.float32)[:, None, None]
        total += tf.reduce_sum(weight * gradient, axis=0)
    return total


def _scores(model: Model, batch: Batch, vectors: tf.Tensor, target: int) -> tf.Tensor:
    """(P,) float32: the logit of a row with each of (P, S, E) word vectors."""
    return model.logits(with_vectors(batch, vectors))[:, target]


def with_vectors(batch: Batch, vectors: tf.Tensor) -> Batch:
    """A batch of one example as often as there are word vectors for it, (P, S, E)."""
    times = vectors.shape[0]

    def repeated(tensor: tf.Tensor | None) -> tf.Tensor | None:
        return None if tensor is None else tf.repeat(tensor, times, axis=0)

    rows = dataclasses.replace(
        batch.rows,
        **{
            field.name: repeated(getattr(batch.rows, field.name))
            for field in dataclasses.fields(batch.rows)
        },
    )
    rows = dataclasses.replace(rows, word_vectors=vectors)
    examples = dataclasses.replace(
        batch.examples,
        row=tf.range(times),
        start=tf.zeros([times], tf.int32),
        length=repeated(batch.examples.length),
        weight=None,
    )
    own = {name: tf.repeat(column, times, axis=0) for name, column in batch.own.items()}
    return dataclasses.replace(batch, rows=rows, examples=examples, label=None, own=own)
