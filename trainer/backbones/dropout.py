"""Dropout whose masks are a pure function of a seed and a site, drawn and applied in few passes."""

from __future__ import annotations

import tensorflow as tf

# Bits of a draw: the fewest that meet a rate, and what it keeps, to this share of themselves.
WIDTHS = {8: tf.uint8, 16: tf.uint16}
TOLERANCE = 0.02


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int) -> tf.Tensor:
    """Zeroes a share of the values and scales the rest up.

    Args:
        x: any shape, floating.
        rate: the share, in [0, 1), see `threshold`.
        seed: (2,) int32; None: nothing is dropped.
        site: which dropout of the model this is. Heads count from FIRST_HEAD_SITE (sites.py).
    Returns:
        The shape and dtype of x.
    """
    if seed is None or not rate:
        return x
    kept = draw_kept(tf.shape(x), rate, seed, site)
    return only_kept(x, kept) * kept_scale(rate)


def threshold(rate: float) -> tuple[int, int]:
    """How a rate is honoured: values are dropped whose draw is below a number.

    8 bits are cheaper; 16 honour any rate to 1/65536.

    Args:
        rate: in [0, 1).
    Returns:
        the number, and the bits of a draw.
    """
    for bits in WIDTHS:
        draws = 1 << bits
        below = round(rate * draws)
        if abs(below / draws - rate) <= TOLERANCE * min(rate, 1 - rate):
            break
    return min(below, draws - 1), bits


def kept_scale(rate: float) -> float:
    """By what the kept values are multiplied, so that the mean stays."""
    below, bits = threshold(rate)
    draws = 1 << bits
    return draws / (draws - below)


def draw_kept(shape: tf.Tensor, rate: float, seed: tf.Tensor, site: int) -> tf.Tensor:
    """Which values are kept, bool: a pure function of the seed and the site.

    Args:
        shape: of the values, (n,) int32.
        rate: the share that is dropped.
        seed: (2,) int32.
        site: which dropout of the model this is.
    """
    below, bits = threshold(rate)
    # Attention over a large batch has more values than int32 can count.
    count = tf.reduce_prod(tf.cast(shape, tf.int64))
    draws_a_word = 32 // bits
    words = tf.random.stateless_uniform(
        [(count + draws_a_word - 1) // draws_a_word],
        seed=tf.random.experimental.stateless_fold_in(seed, site),
        minval=None,
        maxval=None,
        dtype=tf.uint32,
    )
    draws = tf.reshape(tf.bitcast(words, WIDTHS[bits]), [-1])
    kept = draws >= tf.constant(below, WIDTHS[bits])
    return tf.reshape(kept[:count], shape)


def only_kept(x: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Zeroes what is not kept.

    The derived gradient would keep the mask in the dtype of x, four times as large.

    Args:
        x: floating.
        kept: bool, its shape.
    """

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream * tf.cast(kept, upstream.dtype)

        return x * tf.cast(kept, x.dtype), gradient

    return apply(x)
