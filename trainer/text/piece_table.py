"""The pieces of a batch's texts into tokens.

A table knows the pieces that are one token; the others are split, each different piece once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer.text.flat_arrays import count_before, indices_of, put, ranges, to_strings
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
        hashes = _hashes(self._texts)
        self._table = IntegerTable(hashes.numpy())

    def tokens(self, pieces: tf.Tensor, split: SplitPieces) -> PieceTokens:
        """The tokens of pieces.

        Args:
            pieces: (n,) string, none empty.
            split: finds the tokens of pieces that the table does not have.
        """
        row = self._table.find(_hashes(pieces))
        entry = tf.maximum(row, 0)
        is_same = tf.gather(self._texts, entry) == pieces  # not only of the same hash
        is_known = (row >= 0) & is_same
        whole = tf.gather(self._ids, entry)
        count = tf.size(pieces, tf.int64)

        def split_rest() -> PieceTokens:
            places = indices_of(~is_known)
            rest, number = tf.unique(tf.gather(pieces, places))
            tokens, splits = split(rest)
            # Tokens of the rest stand behind those of the table: here each piece has its range.
            all_tokens = tf.concat([whole, tokens], 0)
            rest_splits = splits + count
            rest_start = tf.gather(rest_splits, number)
            rest_limit = tf.gather(rest_splits, number + 1)
            start = tf.range(count)
            limit = start + 1
            taken = ranges(
                put(start, places, rest_start),
                put(limit, places, rest_limit),
            )
            return tf.gather(all_tokens, taken.values), taken.row_splits

        def whole_pieces_only() -> PieceTokens:
            return whole, tf.range(count + 1)

        return tf.cond(tf.reduce_all(is_known), whole_pieces_only, split_rest)

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
        pieces = to_strings(codes, piece_starts)
        ids, piece_splits = self.tokens(pieces, split)
        pieces_before = count_before(is_cut)
        pieces_before_text = tf.gather(pieces_before, splits)
        return ids, tf.gather(piece_splits, pieces_before_text)


def _hashes(pieces: tf.Tensor) -> tf.Tensor:
    """(n,) string -> (n,) int64."""
    return tf.strings.to_hash_bucket_fast(pieces, _HASHES)


def whole_pieces(texts: Sequence[bytes], ids: Sequence[int], split: SplitPieces) -> PieceTable:
    """The table of those of some tokens whose text, split anew, is the token again.

    Args:
        texts: what each token writes.
        ids: of each.
        split: finds the tokens of pieces.
    """
    split_in_graph = tf.function(split, autograph=False)
    tokens, splits = split_in_graph(tf.constant(texts))
    first_token = tf.gather(tokens, splits[:-1])
    lengths = splits[1:] - splits[:-1]
    is_itself = (lengths == 1) & (first_token == ids)
    whole_texts = []
    whole_ids = []
    for place in indices_of(is_itself).numpy():
        whole_texts.append(texts[place])
        whole_ids.append(ids[place])
    return PieceTable(whole_texts, whole_ids)
