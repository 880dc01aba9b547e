"""Dropout whose masks are a pure function of a seed and a site, drawn and applied in few passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

# Bits of a draw: the fewest that meet a rate, and what it keeps, to this share of themselves.
WIDTHS = {8: tf.uint8, 16: tf.uint16}
TOLERANCE = 0.02
PHILOX = 1  # TensorFlow's number of the generator
WORDS_A_BLOCK = 4  # that it draws at once


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


@dataclasses.dataclass(frozen=True)
class Masks:
    """Draws the masks of a backbone's dropouts for the rows of a batch, or for some of them.

    Attributes:
        seed: (2,) int32.
        rows_before: () int32, how many rows of the batch stand before these; None: none, these are
            all. The masks are those that the rows have in the batch.
    """

    seed: tf.Tensor
    rows_before: tf.Tensor | None = None

    def kept(self, shape: Sequence[int | tf.Tensor], rate: float, site: int) -> tf.Tensor:
        """Which values are kept, bool.

        Args:
            shape: of the values, the rows first.
            rate: the share that is dropped.
            site: which dropout of the model this is.
        """
        before = None
        if self.rows_before is not None:
            of_a_row = tf.reduce_prod(tf.cast(shape[1:], tf.int64))
            before = tf.cast(self.rows_before, tf.int64) * of_a_row
        return draw_kept(tf.stack(shape), rate, self.seed, site, before=before)


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


def draw_kept(
    shape: tf.Tensor,
    rate: float,
    seed: tf.Tensor,
    site: int,
    *,
    before: tf.Tensor | None = None,
) -> tf.Tensor:
    """Which values are kept, bool: a pure function of the seed and the site.

    Args:
        shape: of the values, (n,) int32.
        rate: the share that is dropped.
        seed: (2,) int32.
        site: which dropout of the model this is.
        before: () int64, how many values stand before these in what is drawn; None: none.
    """
    below, bits = threshold(rate)
    # Attention over a large batch has more values than int32 can count.
    count = tf.reduce_prod(tf.cast(shape, tf.int64))
    draws_a_word = 32 // bits
    seed = tf.random.experimental.stateless_fold_in(seed, site)
    if before is None:
        skipped: tf.Tensor | int = 0
        words = _words((count + draws_a_word - 1) // draws_a_word, seed)
    else:
        draws_a_block = WORDS_A_BLOCK * draws_a_word
        skipped = before % draws_a_block
        drawn = skipped + count
        first = before // draws_a_block
        words = _words_from(first, (drawn + draws_a_word - 1) // draws_a_word, seed)
    draws = tf.reshape(tf.bitcast(words, WIDTHS[bits]), [-1])
    kept = draws >= tf.constant(below, WIDTHS[bits])
    return tf.reshape(kept[skipped : skipped + count], shape)


def _words(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """(count,) uint32."""
    return tf.random.stateless_uniform(
        [count], seed=seed, minval=None, maxval=None, dtype=tf.uint32
    )


def _words_from(block: tf.Tensor, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """What `_words` draws from a block of its generator on, (count,) uint32; on a CPU.

    The generator counts its blocks, so that none before has to be drawn.

    Source: Salmon et al. 2011, Philox4x32.
    """
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    moved = counter + tf.stack([tf.cast(block, tf.uint64), tf.constant(0, tf.uint64)])
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[count], key=key, counter=moved, alg=PHILOX, dtype=tf.uint32
    )


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
