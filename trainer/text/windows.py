"""Long texts in several overlapping rows.

No token is lost, and one row answers for each.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.errors import ConfigError


class Windows(NamedTuple):
    """Where the rows of a batch of texts lie. U rows, those of a text together and in order.

    Attributes:
        text: (U,) int64, the text each row is of.
        start, limit: (U,) int64, its tokens within the text.
        own_start, own_limit: (U,) int64, those of them that it answers for: each token of a text
            belongs to one row, the one where it stands farther from the edge.
    """

    text: tf.Tensor
    start: tf.Tensor
    limit: tf.Tensor
    own_start: tf.Tensor
    own_limit: tf.Tensor

    def take(self, values: tf.RaggedTensor) -> tf.RaggedTensor:
        """(B, None), any value a token, as (U, None)."""
        first = tf.gather(values.row_splits, self.text)
        places = tf.ragged.range(first + self.start, first + self.limit, row_splits_dtype=tf.int64)
        return places.with_values(tf.gather(values.values, places.values))

    def owned(self) -> tf.RaggedTensor:
        """(U, None) int32, 1 where the row answers for the token."""
        places = tf.ragged.range(self.start, self.limit, row_splits_dtype=tf.int64)
        rows = places.value_rowids()
        from_start = places.values >= tf.gather(self.own_start, rows)
        before_limit = places.values < tf.gather(self.own_limit, rows)
        return places.with_values(tf.cast(from_start & before_limit, tf.int32))


def cut_rows(lengths: tf.Tensor, room: int) -> Windows:
    """Cuts texts into rows that share no token; an empty text has one row.

    Args:
        lengths: (B,) int64, tokens of each text.
        room: tokens of a row at most.
    """
    numbers = _row_numbers(-(-lengths // room))
    text = numbers.value_rowids()
    start = numbers.values * room
    limit = tf.minimum(start + room, tf.gather(lengths, text))
    return Windows(text, start, limit, start, limit)


def make_windows(lengths: tf.Tensor, room: tf.Tensor, overlap: tf.Tensor) -> Windows:
    """Covers texts with as few windows as their overlap allows.

    A text that fits has one, an empty one too.

    Args:
        lengths: (B,) int64, tokens of each text.
        room: (B,) int64, tokens that a window of it holds, > overlap.
        overlap: (B,) int64, tokens that neighbouring windows share at least; the last may share
            more, so that it is full.
    """
    step = room - overlap
    numbers = _row_numbers(-((overlap - lengths) // step))  # (n - overlap) / step, rounded up
    number = numbers.values
    text = numbers.value_rowids()
    count = tf.gather(numbers.row_lengths(), text)
    length = tf.gather(lengths, text)
    room = tf.gather(room, text)
    step = tf.gather(step, text)

    last_start = tf.maximum(length - room, 0)
    start = tf.minimum(number * step, last_start)
    limit = tf.minimum(start + room, length)
    previous_limit = tf.minimum((number - 1) * step + room, length)
    next_start = tf.minimum((number + 1) * step, last_start)
    # A window answers up to the middle of what it shares with the next one.
    own_start = tf.where(number == 0, tf.zeros_like(start), (start + previous_limit) // 2)
    own_limit = tf.where(number == count - 1, length, (next_start + limit) // 2)
    return Windows(text, start, limit, own_start, own_limit)


def _row_numbers(counts: tf.Tensor) -> tf.RaggedTensor:
    """(B,) int64, rows that texts need -> (B, None) int64, 0, 1, … of each; one row at least."""
    at_least_one = tf.maximum(tf.constant(1, tf.int64), counts)
    return tf.ragged.range(tf.zeros_like(counts), at_least_one, row_splits_dtype=tf.int64)


def window_overlap(seq_len: int, special: int, overlap: int | None) -> int:
    """Tokens that neighbouring windows share.

    Args:
        seq_len: S.
        special: how many special tokens a row has.
        overlap: as the config says it; None: a quarter of a window.
    Raises:
        ConfigError: the windows would not move on.
    """
    room = seq_len - special
    overlap = room // 4 if overlap is None else overlap
    if not 0 <= overlap < room:
        raise ConfigError(
            f"data.window_overlap: expected less than {room}, the tokens of a window of"
            f" data.seq_len = {seq_len} without its {special} special tokens. Received {overlap}."
        )
    return overlap
