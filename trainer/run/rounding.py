"""Numbers kept in half of the memory, and right on average."""

from __future__ import annotations

import tensorflow as tf

DROPPED_BITS = 16  # of a float32, that a bfloat16 does not have


def round_to_bfloat16(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Each value becomes one of its two neighbours, the nearer the likelier, so that the mean is
    the value itself.

    A moving average in bfloat16 would stand still otherwise: what a step adds is less than half of
    what its last bit is worth.

    Args:
        x: float32, any shape.
        seed: (2,) int32; the rounding is a pure function of it.
    Returns:
        its shape, bfloat16.
    Source: Gupta et al. 2015, section 3.
    """
    drawn = tf.random.stateless_uniform(
        tf.shape(x), seed=seed, minval=None, maxval=None, dtype=tf.uint32
    )
    added = tf.bitcast(x, tf.uint32) + tf.bitwise.right_shift(drawn, DROPPED_BITS)
    kept = tf.bitwise.bitwise_and(added, tf.constant(0xFFFF0000, tf.uint32))
    return tf.cast(tf.bitcast(kept, tf.float32), tf.bfloat16)
