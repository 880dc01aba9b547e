"""Attention over rows, which may hold several examples each."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from trainer.backbones.dropout import kept_scale, only_kept
from trainer.backbones.layers import Inputs, Rows, Shape, known_shape

# Added to a score that must not be seen. It is finite, so that a row with nothing to see gets
# uniform probabilities and not NaN.
MASKED = -1e9
Gradient = Callable[..., tuple[tf.Tensor, ...]]


def attention_mask(inputs: Inputs, *, causal: bool = False) -> tf.Tensor | None:
    """What to add to the attention scores.

    Args:
        inputs: of the backbone; padding_mask and sequence_ids are looked at.
        causal: tokens see none behind them.
    Returns:
        (B, 1, 1, S) for padding, (B, 1, S, S) for packed rows, at least (1, 1, S, S) where causal;
        None where all tokens see all.
    """
    rules = []
    if "sequence_ids" in inputs:
        ids = inputs["sequence_ids"]
        ours = ids[:, :, None]
        theirs = ids[:, None, :]
        seen = (ours == theirs) & (theirs != 0)
        rules.append(seen[:, None])  # (B, 1, S, S)
    if "padding_mask" in inputs:
        seen = tf.cast(inputs["padding_mask"], tf.bool)
        rules.append(seen[:, None, None, :])  # (B, 1, 1, S)
    if causal:
        width = tf.shape(inputs["token_ids"])[1]
        place = tf.range(width)
        seen = place[:, None] >= place[None, :]
        rules.append(seen[None, None])  # (1, 1, S, S)
    if not rules:
        return None
    seen = functools.reduce(tf.logical_and, rules)
    return tf.where(seen, 0.0, MASKED)


def split_heads(fused: tf.Tensor, shape: Shape, heads: int) -> list[tf.Tensor]:
    """Takes queries, keys and values apart, and the heads of each.

    Args:
        fused: (B*S, 3H).
        shape: [B, S].
        heads: N.
    Returns:
        Three of (B, N, S, H/N).
    """
    size = fused.shape[-1] // (3 * heads)
    fused = tf.reshape(fused, [*shape, 3, heads, size])
    fused = tf.transpose(fused, [2, 0, 3, 1, 4])
    return tf.unstack(fused)


def attend(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    rows: Rows,
    *,
    rate: float,
    site: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes the values of the tokens that each token sees.

    Args:
        query: (B, N, S, H/N), scaled.
        key, value: (B, N, T, H/N), of the tokens that may be seen.
        rows: whose mask says which may not.
        rate: of dropout of the probabilities.
        site: of this dropout.
    Returns:
        The mixed values, (B*S, H); the probabilities, (B, N, S, T).
    """
    kept = None
    if rows.masks is not None and rate:
        shape = [*known_shape(query)[:-1], known_shape(key)[2]]  # (B, N, S, T)
        kept = rows.masks.kept(shape, rate, site)
        value *= kept_scale(rate)  # smaller than the probabilities
    mixed, probabilities = _mix(query, key, value, rows, kept)
    mixed = tf.transpose(mixed, [0, 2, 1, 3])
    _, heads, _, size = query.shape  # those of a cache may not be known
    return tf.reshape(mixed, [-1, heads * size]), probabilities


def _mix(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    rows: Rows,
    kept: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mixed values, (B, N, S, H/N), and the probabilities, which have no gradient.

    The gradient is written out: what softmax's takes from each of a token's gradients, a sum over
    all tokens that it sees, is the product of its mixed values and their gradient. And of dropout's
    mask nothing is needed but the probabilities that it has left.

    Args:
        query, key, value, rows: as those of `attend`.
        kept: (B, N, S, T) bool, the probabilities that are not dropped; None: all are kept.
    Source: Dao et al. 2022, appendix B.
    """

    @tf.custom_gradient
    def mix(
        query: tf.Tensor, key: tf.Tensor, value: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], Gradient]:
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        if rows.mask is not None:
            scores += rows.mask
        probabilities = tf.cast(tf.nn.softmax(scores), value.dtype)
        left = probabilities if kept is None else only_kept(probabilities, kept)
        mixed = tf.matmul(left, value)

        def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
            of_left = tf.matmul(upstream, value, transpose_b=True)
            of_scores = rows.run(_softmax_slope, probabilities, left, of_left, mixed, upstream)
            return (
                tf.matmul(of_scores, key),
                tf.matmul(of_scores, query, transpose_a=True),
                tf.matmul(left, upstream, transpose_a=True),
            )

        return (mixed, probabilities), gradient

    return mix(query, key, value)


def _softmax_slope(
    probabilities: tf.Tensor,
    left: tf.Tensor,
    of_left: tf.Tensor,
    mixed: tf.Tensor,
    of_mixed: tf.Tensor,
) -> tf.Tensor:
    """The gradient of the scores.

    Args:
        probabilities, left: before dropout and after it, (B, N, S, T).
        of_left: the gradient of `left`.
        mixed, of_mixed: the mixed values and their gradient, (B, N, S, H/N).
    """
    products = tf.cast(mixed, tf.float32) * tf.cast(of_mixed, tf.float32)
    taken = tf.cast(tf.reduce_sum(products, -1, keepdims=True), left.dtype)
    return left * of_left - probabilities * taken
