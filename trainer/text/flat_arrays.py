"""Idioms of flat arrays: rows of different lengths, one behind another.

M values of B rows; `splits` is (B + 1,) int64: where each row begins, and where the last one ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def make_ragged(values: tf.Tensor, splits: tf.Tensor) -> tf.RaggedTensor:
    """The rows of a flat array, without a check of the splits, which are always our own."""
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def in_columns(rows: tf.RaggedTensor, count: int) -> list[tf.RaggedTensor]:
    """The rows of columns that stand one behind another, as texts are that are tokenized at once.

    Args:
        rows: (count * B, None).
        count: of the columns.
    Returns:
        (B, None) each.
    """
    if count == 1:
        return [rows]
    size = rows.nrows() // count
    columns = []
    for number in range(count):
        splits = rows.row_splits[number * size : (number + 1) * size + 1]
        values = rows.values[splits[0] : splits[-1]]
        columns.append(make_ragged(values, splits - splits[0]))
    return columns


def to_strings(codes: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """The texts of code points.

    Args:
        codes: (M,) int32.
        splits: (B + 1,) int64.
    Returns:
        (B,) string.
    """
    return tf.strings.unicode_encode(make_ragged(codes, splits), "UTF-8")


def keep_ids_below(ids: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Rows of ids without those that no token has: a model may have embeddings to spare.

    Args:
        ids: (B, None) int32.
        count: of the ids that a token has.
    """
    is_known = (ids >= 0) & (ids < count)
    return tf.ragged.boolean_mask(ids, is_known)


def indices_of(mask: tf.Tensor) -> tf.Tensor:
    """(M,) bool -> (K,) int64, the places that are true."""
    return tf.reshape(tf.where(mask), [-1])


def places_of(values: tf.Tensor) -> tf.Tensor:
    """(M,) -> (M,) int64: 0, 1, …"""
    return tf.range(tf.size(values, tf.int64))


def ranges(starts: tf.Tensor, limits: tf.Tensor) -> tf.RaggedTensor:
    """(R,) integers each -> (R, None), the integers from each start on, below its limit."""
    return tf.ragged.range(starts, limits, row_splits_dtype=tf.int64)


def end_to_end(
    pieces: Sequence[tf.RaggedTensor | tuple[int, ...]], like: tf.RaggedTensor
) -> tf.RaggedTensor:
    """Rows made of pieces, one behind another. A fifth of the operations of `tf.concat`.

    Args:
        pieces: (B, None) each, or values that stand in every row.
        like: gives B and the type of the values.
    """
    sources = []
    starts = []
    limits = []
    offset = tf.constant(0, tf.int64)  # of a piece's values among all
    for piece in pieces:
        if isinstance(piece, tf.RaggedTensor):
            sources.append(piece.values)
            borders = piece.row_splits + offset
            starts.append(borders[:-1])
            limits.append(borders[1:])
            offset = borders[-1]
        elif piece:
            sources.append(tf.constant(piece, like.dtype))
            starts.append(tf.fill([like.nrows()], offset))
            offset += len(piece)
            limits.append(tf.fill([like.nrows()], offset))
    if len(sources) == 1:
        return like
    start = tf.stack(starts, 1)  # (B, pieces)
    limit = tf.stack(limits, 1)
    places = ranges(tf.reshape(start, [-1]), tf.reshape(limit, [-1]))
    values = tf.gather(tf.concat(sources, 0), places.values)
    return make_ragged(values, places.row_splits[:: len(sources)])


def splits_of(lengths: tf.Tensor) -> tf.Tensor:
    """(B,) lengths of rows -> (B + 1,), their splits."""
    ends = tf.cumsum(lengths)
    return tf.concat([[0], ends], 0)


def rows_of(splits: tf.Tensor) -> tf.Tensor:
    """(B + 1,) splits -> (M,) int64, the row that each value is of.

    A third of the operations of `RaggedTensor.value_rowids`.
    """
    begun = tf.searchsorted(splits, tf.range(splits[-1]), side="right", out_type=tf.int64)
    return begun - 1


def of_row(borders: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The border of each value's row.

    Args:
        borders: (B,) int64, a place for each row, such as its start; or bool.
        rows: (T,) int64, the row of each value.
    Returns:
        (T,) int32.
    """
    return tf.cast(tf.gather(borders, rows), tf.int32)


def count_before(mask: tf.Tensor) -> tf.Tensor:
    """(M,) bool -> (M + 1,) int64, how many are true before each place, and before the end."""
    return splits_of(tf.cast(mask, tf.int64))


def put(values: tf.Tensor, places: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """The values with others in some places.

    Args:
        values: (M,).
        places: (K,) integers.
        new: (K,) of the type of `values`.
    Returns:
        (M,).
    """
    return tf.tensor_scatter_nd_update(values, places[:, None], new)


def fill_at(values: tf.Tensor, places: tf.Tensor, value: bool | int) -> tf.Tensor:
    """The same with one value in some places.

    Args:
        values: (M,).
        places: (P,) int, of those.
        value: that stands there.
    """
    filler = tf.constant(value, values.dtype)
    filled = tf.fill(tf.shape(places), filler)
    return put(values, places, filled)


def previous(values: tf.Tensor, first: bool | int) -> tf.Tensor:
    """(M,) -> (M,), the value before each; `first` stands before the first."""
    return tf.concat([[first], values], 0)[:-1]


def following(values: tf.Tensor, last: bool | int | tf.Tensor) -> tf.Tensor:
    """(M,) -> (M,), the value behind each; `last` stands behind the last."""
    return tf.concat([values, [last]], 0)[1:]


def begins_row(splits: tf.Tensor) -> tf.Tensor:
    """Which values are the first of their row.

    Args:
        splits: (B + 1,) int64; rows may be empty.
    Returns:
        (M,) bool.
    """
    count = splits[-1]
    ones = tf.ones_like(splits)
    rows_that_begin = tf.scatter_nd(splits[:, None], ones, [count + 1])
    return rows_that_begin[:-1] > 0


def every_other(chosen: tf.Tensor) -> tf.Tensor:
    """Of chosen neighbours keeps the first, third, …

    So pairs that overlap are taken from the left: aaa is (aa)a.

    Args:
        chosen: (M,) bool.
    Returns:
        (M,) bool.
    """

    def thin() -> tf.Tensor:
        opens = chosen & ~previous(chosen, False)
        runs_so_far = tf.cumsum(tf.cast(opens, tf.int32))
        run = tf.maximum(runs_so_far - 1, 0)
        run_start = tf.gather(indices_of(opens), run)
        place_in_run = places_of(chosen) - run_start
        return chosen & (place_in_run % 2 == 0)

    neighbours = chosen[1:] & chosen[:-1]
    return tf.cond(tf.reduce_any(neighbours), thin, lambda: chosen)
