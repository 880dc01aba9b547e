"""What each token is to predict."""

from __future__ import annotations

from trainer.lazy import tf


def following(rows: tf.RaggedTensor) -> tf.RaggedTensor:
    """At each place of a row the next one's number; 0 at its last.

    Args:
        rows: (B, None) int32.
    """
    numbers = rows.values
    shifted = tf.concat([numbers[1:], [0]], 0)
    shifted = shifted[: tf.size(numbers)]
    has_tokens = rows.row_lengths() > 0
    last = tf.boolean_mask(rows.row_splits[1:] - 1, has_tokens)
    zeros = tf.zeros_like(last, tf.int32)
    targets = tf.tensor_scatter_nd_update(shifted, last[:, None], zeros)
    return rows.with_values(targets)
