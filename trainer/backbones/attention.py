"""Attention over rows, which may hold several examples each."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from trainer.backbones.layers import Inputs, Shape, dropout

# Added to a score that must not be seen. It is finite, so that a row with nothing to see gets
# uniform probabilities and not NaN.
MASKED = -1e9


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the layers need to know of the rows that they read.

    Attributes:
        shape: [B, S].
        mask: to add to the scores, (B or 1, 1, S or 1, T); None: all tokens see all.
        dropout_seed: (2,) int32; None: nothing is dropped.
    """

    shape: Shape
    mask: tf.Tensor | None
    dropout_seed: tf.Tensor | None


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
    scores = tf.matmul(query, key, transpose_b=True)  # (B, N, S, T)
    scores = tf.cast(scores, tf.float32)
    if rows.mask is not None:
        scores += rows.mask
    probabilities = tf.nn.softmax(scores)
    probabilities = tf.cast(probabilities, value.dtype)
    kept = dropout(probabilities, rate, rows.dropout_seed, site)
    mixed = tf.matmul(kept, value)  # (B, N, S, H/N)
    mixed = tf.transpose(mixed, [0, 2, 1, 3])
    _, heads, _, size = query.shape  # those of a cache may not be known
    return tf.reshape(mixed, [-1, heads * size]), probabilities
