"""The pieces of a batch's texts into tokens.

A table knows the pieces that are one token; the others are split, each different piece once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from trainer.text.flat_arrays import count_before, indices_of, put, to_strings
from trainer.text.integer_table import IntegerTable

_HASHES = 2**62
# ids of all pieces, and (pieces + 1,) int64, where those of each begin
PieceTokens = tuple[tf.Tensor, tf.Tensor]
SplitPieces = Callable[[tf.Tensor], PieceTokens]  # of (U,) strings, none empty


class PieceTable:
    """Knows the pieces that are one token."""

    def __init__(self, texts: Sequence[bytes], ids: Sequence[int]) -> None:
        """Takes the pieces' texts, each once, and the token of each."""
        self._texts = tf.constant(texts)
        self._ids = tf.constant(ids, tf.int32)
        self._table = IntegerTable(tf.strings.to_hash_bucket_fast(self._texts, _HASHES).numpy())

    def tokens(self, pieces: tf.Tensor, split: SplitPieces) -> PieceTokens:
        """The tokens of pieces.

        Args:
            pieces: (n,) string, none empty.
            split: finds the tokens of pieces that the table does not have.
        """
        row = self._table.find(tf.strings.to_hash_bucket_fast(pieces, _HASHES))
        place = tf.maximum(row, 0)
        is_same = tf.gather(self._texts, place) == pieces  # not only of the same hash
        known = (row >= 0) & is_same
        whole = tf.gather(self._ids, place)
        count = tf.size(pieces, tf.int64)

        def split_rest() -> PieceTokens:
            rest, number = tf.unique(tf.boolean_mask(pieces, ~known))
            tokens, splits = split(rest)
            # Tokens of the rest stand behind those of the table: here each piece has its range.
            places = indices_of(~known)
            all_tokens = tf.concat([whole, tokens], 0)
            place_in_whole = tf.range(count)
            start = put(place_in_whole, places, count + tf.gather(splits[:-1], number))
            limit = put(place_in_whole + 1, places, count + tf.gather(splits[1:], number))
            taken = tf.ragged.range(start, limit, row_splits_dtype=tf.int64)
            return tf.gather(all_tokens, taken.values), taken.row_splits

        def whole_pieces_only() -> PieceTokens:
            return whole, tf.range(count + 1)

        return tf.cond(tf.reduce_all(known), whole_pieces_only, split_rest)

    def tokens_of_texts(
        self, codes: tf.Tensor, splits: tf.Tensor, is_cut: tf.Tensor, split: SplitPieces
    ) -> PieceTokens:
        """The tokens of texts that are cut into pieces.

        Args:
            codes: (M,) int32, the characters of all texts.
            splits: (B + 1,) int64, where each text's begin.
            is_cut: (M,) bool, where a piece begins; true where a text does.
            split: finds the tokens of pieces that the table does not have.
        Returns:
            The ids of all texts, and (B + 1,) int64, where those of each begin.
        """
        end = tf.size(codes, tf.int64)
        piece_starts = tf.concat([indices_of(is_cut), [end]], 0)
        ids, piece_splits = self.tokens(to_strings(codes, piece_starts), split)
        pieces_before_text = tf.gather(count_before(is_cut), splits)
        return ids, tf.gather(piece_splits, pieces_before_text)


def whole_pieces(texts: Sequence[bytes], ids: Sequence[int], split: SplitPieces) -> PieceTable:
    """The table of those of some tokens whose text, split anew, is the token again.

    Args:
        texts: what each token writes.
        ids: of each.
        split: finds the tokens of pieces.
    """
    split_in_graph = tf.function(split, autograph=False)
    tokens, splits = split_in_graph(tf.constant(texts))
    starts = splits[:-1].numpy()
    lengths = np.diff(splits.numpy())
    first_tokens = tokens.numpy()[starts]
    is_itself = (lengths == 1) & (first_tokens == np.array(ids))
    places = np.flatnonzero(is_itself).tolist()
    return PieceTable(
        texts=[texts[place] for place in places],
        ids=[ids[place] for place in places],
    )
