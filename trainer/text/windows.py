"""Long texts in several overlapping rows.

No token is lost, and one row answers for each.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.errors import ConfigError
from trainer.text.flat_arrays import ranges, rows_of


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
        text_start = tf.gather(values.row_splits, self.text)
        starts = text_start + self.start
        limits = text_start + self.limit
        places = ranges(starts, limits)
        taken = tf.gather(values.values, places.values)
        return places.with_values(taken)

    def owned(self) -> tf.RaggedTensor:
        """(U, None) int32, 1 where the row answers for the token."""
        places = ranges(self.start, self.limit)
        row = rows_of(places.row_splits)
        own_start = tf.gather(self.own_start, row)
        own_limit = tf.gather(self.own_limit, row)
        from_start = places.values >= own_start
        before_limit = places.values < own_limit
        return places.with_values(tf.cast(from_start & before_limit, tf.int32))


def cut_rows(lengths: tf.Tensor, room: int) -> Windows:
    """Cuts texts into rows that share no token; an empty text has one row.

    Args:
        lengths: (B,) int64, tokens of each text.
        room: tokens of a row at most.
    """
    numbers = _row_numbers(-(-lengths // room))
    text = rows_of(numbers.row_splits)
    start = numbers.values * room
    length = tf.gather(lengths, text)
    limit = tf.minimum(start + room, length)
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
    counts = -((overlap - lengths) // step)  # (n - overlap) / step, rounded up
    numbers = _row_numbers(counts)
    number = numbers.values
    text = rows_of(numbers.row_splits)
    count = tf.gather(numbers.row_lengths(), text)
    length = tf.gather(lengths, text)
    room = tf.gather(room, text)
    step = tf.gather(step, text)

    last_start = tf.maximum(length - room, 0)
    start = tf.minimum(number * step, last_start)
    limit = tf.minimum(start + room, length)
    previous_start = (number - 1) * step
    previous_limit = tf.minimum(previous_start + room, length)
    next_start = tf.minimum((number + 1) * step, last_start)
    # A window answers up to the middle of what it shares with the next one.
    middle_before = (start + previous_limit) // 2
    middle_behind = (next_start + limit) // 2
    is_first = number == 0
    is_last = number == count - 1
    return Windows(
        text,
        start,
        limit,
        own_start=tf.where(is_first, start, middle_before),
        own_limit=tf.where(is_last, length, middle_behind),
    )


def _row_numbers(counts: tf.Tensor) -> tf.RaggedTensor:
    """(B,) int64, rows that texts need -> (B, None) int64, 0, 1, … of each; one row at least."""
    zeros = tf.zeros_like(counts)
    return ranges(zeros, tf.maximum(counts, 1))


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
