"""The pieces of a batch's texts into tokens: by a table where a piece is one token, else each
different piece once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer.text.integer_table import IntegerTable

_HASHES = 2**62
# ids of all pieces, and (pieces + 1,) int64, where those of each begin
Tokens = tuple[tf.Tensor, tf.Tensor]


class PieceTable:
    """Knows the pieces that are one token."""

    def __init__(self, texts: Sequence[bytes], ids: Sequence[int]) -> None:
        """Takes the pieces' texts, each once, and the token of each."""
        self._texts = tf.constant(texts)
        self._ids = tf.constant(ids, tf.int32)
        self._table = IntegerTable(tf.strings.to_hash_bucket_fast(self._texts, _HASHES).numpy())

    def tokens(self, pieces: tf.Tensor, split: Callable[[tf.Tensor], Tokens]) -> Tokens:
        """The tokens of (n,) pieces; `split` finds those of (U,) pieces that the table does not
        have.
        """
        row = self._table.find(tf.strings.to_hash_bucket_fast(pieces, _HASHES))
        place = tf.maximum(row, 0)
        known = (row >= 0) & (tf.gather(self._texts, place) == pieces)
        whole = tf.gather(self._ids, place)
        count = tf.size(pieces, tf.int64)

        def split_rest() -> Tokens:
            rest, which = tf.unique(tf.boolean_mask(pieces, ~known))
            tokens, splits = split(rest)
            places = tf.where(~known)
            start = tf.tensor_scatter_nd_update(
                tf.range(count), places, count + tf.gather(splits, which)
            )
            length = tf.tensor_scatter_nd_update(
                tf.ones_like(start), places, tf.gather(splits[1:] - splits[:-1], which)
            )
            taken = tf.ragged.range(start, start + length, row_splits_dtype=tf.int64)
            return tf.gather(tf.concat([whole, tokens], 0), taken.values), taken.row_splits

        return tf.cond(tf.reduce_all(known), lambda: (whole, tf.range(count + 1)), split_rest)


def whole_pieces(
    texts: Sequence[bytes], ids: Sequence[int], split: Callable[[tf.Tensor], Tokens]
) -> PieceTable:
    """The table of those of some tokens whose text, split anew, is the token again."""
    tokens, splits = (
        values.numpy() for values in tf.function(split, autograph=False)(tf.constant(texts))
    )
    alone = [
        stop - start == 1 and tokens[start] == id
        for id, start, stop in zip(ids, splits[:-1], splits[1:], strict=True)
    ]
    return PieceTable(
        [text for text, keep in zip(texts, alone, strict=True) if keep],
        [id for id, keep in zip(ids, alone, strict=True) if keep],
    )
