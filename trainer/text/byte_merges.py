"""Byte-pair encoding in the graph: many pieces at once, in rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.text.flat_arrays import (
    count_before,
    every_other,
    fill_at,
    following,
    indices_of,
    previous,
    put,
    splits_of,
)
from trainer.text.integer_table import IntegerTable, pair_key, pair_keys
from trainer.text.piece_table import PieceTokens

_NEVER = np.int32(2**31 - 1)  # the rank of a pair that is not merged


class _Symbols(NamedTuple):
    """The symbols of all pieces that have something left to merge.

    Attributes:
        ids: (n,) int32, the token of each.
        ranks: (n,) int32, of the pair that each begins.
        pieces: (n,) int32, which piece each is in.
        places: (n,) int32, of its first byte, among the bytes of all pieces.
    """

    ids: tf.Tensor
    ranks: tf.Tensor
    pieces: tf.Tensor
    places: tf.Tensor

    def take(self, places: tf.Tensor) -> _Symbols:
        """Some of them."""
        return _Symbols(
            ids=tf.gather(self.ids, places),
            ranks=tf.gather(self.ranks, places),
            pieces=tf.gather(self.pieces, places),
            places=tf.gather(self.places, places),
        )


class ByteMerges:
    """The merges of a byte-level BPE."""

    def __init__(
        self,
        merges: Sequence[tuple[str, str]],
        ids: Mapping[str, int],
        byte_ids: np.ndarray,
    ) -> None:
        """Builds the constants of the graph.

        Args:
            merges: pairs of tokens, those learnt first first.
            ids: of the tokens.
            byte_ids: (256,) int32, the token of each byte.
        """
        keys = []
        merged = []
        for left, right in merges:
            keys.append(pair_key(ids[left], ids[right]))
            merged.append(ids[left + right])
        self._byte_ids = tf.constant(byte_ids)
        self._ranks = IntegerTable(np.array(keys, np.int64))
        self._merged = tf.constant(merged, tf.int32)

    def merge(self, pieces: tf.Tensor) -> PieceTokens:
        """The tokens of each of (U,) strings, none empty.

        A symbol is known by the place of its first byte. Each round merges, in every piece, all
        occurrences of the pair that was learnt first; pieces with nothing left to merge leave the
        loop.
        """
        lengths = tf.strings.length(pieces)
        joined = tf.strings.reduce_join(pieces)
        all_bytes = tf.io.decode_raw(joined, tf.uint8)
        codes = tf.cast(all_bytes, tf.int32)
        ids = tf.gather(self._byte_ids, codes)
        piece = tf.range(tf.size(pieces))
        piece_of_byte = tf.repeat(piece, lengths)
        next_ids = tf.roll(ids, -1, 0)
        ranks = self._ranks_of(ids, next_ids)
        symbols = _Symbols(
            ids=ids,
            ranks=tf.where(_is_last_of_piece(piece_of_byte), _NEVER, ranks),
            pieces=piece_of_byte,
            places=tf.range(tf.size(ids)),
        )
        vector = tf.TensorShape([None])
        merged, _ = tf.while_loop(
            _any_left,
            self._merge_once,
            (ids, symbols),
            shape_invariants=(vector, _Symbols(*(vector,) * 4)),
            parallel_iterations=1,
        )
        begins_token = merged >= 0
        tokens_before = count_before(begins_token)
        splits = tf.gather(tokens_before, splits_of(lengths))
        return tf.boolean_mask(merged, begins_token), splits

    def _merge_once(self, merged: tf.Tensor, symbols: _Symbols) -> tuple[tf.Tensor, _Symbols]:
        """One round.

        Args:
            merged: (bytes,) int32, the token that begins at each byte, -1 where none does.
            symbols: what may still be merged.
        """
        least_of_piece = tf.math.segment_min(symbols.ranks, symbols.pieces)
        least = tf.gather(least_of_piece, symbols.pieces)
        is_active = least < _NEVER
        opens_pair = every_other((symbols.ranks == least) & is_active)
        is_gone = previous(opens_pair, False)
        pair_ranks = tf.boolean_mask(symbols.ranks, opens_pair)
        new_ids = tf.gather(self._merged, pair_ranks)
        new_places = tf.boolean_mask(symbols.places, opens_pair)
        gone_places = tf.boolean_mask(symbols.places, is_gone)
        merged = put(merged, new_places, new_ids)
        merged = fill_at(merged, gone_places, -1)

        ids = put(symbols.ids, indices_of(opens_pair), new_ids)
        kept = indices_of(is_active & ~is_gone)
        is_new = tf.gather(opens_pair, kept)
        symbols = symbols._replace(ids=ids).take(kept)
        ranks = self._new_ranks(symbols, is_new)
        return merged, symbols._replace(ranks=ranks)

    def _new_ranks(self, symbols: _Symbols, is_new: tf.Tensor) -> tf.Tensor:
        """The ranks after a round: only pairs with a new symbol have another one.

        Args:
            symbols: n, with the ranks before.
            is_new: (n,) bool, which of them were merged.
        Returns:
            (n,) int32.
        """
        changed = indices_of(is_new | following(is_new, False))
        last_place = tf.size(symbols.ids, tf.int64) - 1
        right = tf.minimum(changed + 1, last_place)
        left_ids = tf.gather(symbols.ids, changed)
        right_ids = tf.gather(symbols.ids, right)
        ranks = self._ranks_of(left_ids, right_ids)
        is_last = tf.gather(_is_last_of_piece(symbols.pieces), changed)
        ranks = tf.where(is_last, _NEVER, ranks)
        return put(symbols.ranks, changed, ranks)

    def _ranks_of(self, left_ids: tf.Tensor, right_ids: tf.Tensor) -> tf.Tensor:
        """(n,) int32 each -> (n,) int32, when the pair was learnt."""
        rank = self._ranks.find(pair_keys(left_ids, right_ids))
        return tf.where(rank >= 0, rank, _NEVER)


def _any_left(_: tf.Tensor, symbols: _Symbols) -> tf.Tensor:
    return tf.size(symbols.ids) > 0


def _is_last_of_piece(pieces: tf.Tensor) -> tf.Tensor:
    """(n,) int32, the piece of each symbol -> (n,) bool."""
    return following(pieces, -1) != pieces
