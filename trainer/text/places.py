"""Which characters the tokens of rows stand for."""

from __future__ import annotations

import tensorflow as tf


def places_of(
    starts: tf.RaggedTensor, ends: tf.RaggedTensor, numbers: tf.RaggedTensor
) -> tf.RaggedTensor:
    """Three values a token as one: (U, None) int32 each -> (U, None, 3) int32.

    A token that stands for no character is at -1.

    Args:
        starts, ends: its first character, and the one behind its last.
        numbers: in which text.
    """
    values = tf.stack([starts.values, ends.values, numbers.values], axis=1)
    is_empty = starts.values >= ends.values
    values = tf.where(is_empty[:, None], -1, values)
    return starts.with_values(values)
