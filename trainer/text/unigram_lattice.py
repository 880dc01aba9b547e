"""The likeliest tokens of pieces under a unigram model: Viterbi's algorithm in the graph.

All pieces at once, a character at a time. Scores are added in float64, as Hugging Face does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer.text.flat_arrays import (
    count_before,
    fill_at,
    make_ragged,
    places_of,
    put,
    splits_of,
)
from trainer.text.integer_table import IntegerTable
from trainer.text.piece_table import PieceTokens

_UNKNOWN_PENALTY = 10  # below the lowest score
# of the hash of a piece's code points; odd, so that it has an inverse modulo 2^64
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_HASH_BITS = 2**63 - 1
_IMPOSSIBLE = np.float64("-inf")  # the score of no token
_VECTOR = tf.TensorShape([None])


class UnigramLattice:
    """A vocabulary with scores. P is the length of its longest piece, in characters."""

    def __init__(self, ids: Mapping[str, int], scores: np.ndarray, unk_id: int) -> None:
        """Builds the constants of the graph.

        Args:
            ids: of each piece, none empty.
            scores: (V,) float64, of each id.
            unk_id: the token of a character that no piece has.
        """
        id_of_hash = {_hash(piece): id for piece, id in ids.items() if id != unk_id}
        hashes = np.array(list(id_of_hash))
        known_ids = list(id_of_hash.values())
        self._unk_id = unk_id
        self._longest = max(map(len, ids))
        self._scores = tf.constant(scores)
        self._unknown_score = float(scores.min()) - _UNKNOWN_PENALTY
        self._hashes = IntegerTable(hashes)
        self._ids = tf.constant(known_ids, tf.int32)

    def best_tokens(self, pieces: tf.Tensor) -> PieceTokens:
        """The likeliest tokens of each of (U,) strings, none empty.

        Of equally likely ones those whose last token is longest, and so on from the end, as in
        Hugging Face.
        """
        lengths = tf.strings.length(pieces, unit="UTF8_CHAR")
        longest_first = tf.argsort(lengths, direction="DESCENDING", stable=True)
        sorted_pieces = tf.gather(pieces, longest_first)
        decoded = tf.strings.unicode_decode(sorted_pieces, "UTF-8")
        candidates = self._candidates(decoded)  # (n, P)
        best = self._best_last_tokens(decoded, candidates)  # (n,)
        ends_token = self._token_ends(decoded, best)
        tokens = tf.gather(
            tf.boolean_mask(candidates, ends_token),
            tf.boolean_mask(best, ends_token),
            batch_dims=1,
        )
        splits = tf.gather(count_before(ends_token), decoded.row_splits)
        sorted_rows = make_ragged(tokens, splits)
        as_given = tf.gather(sorted_rows, tf.argsort(longest_first))
        return as_given.values, as_given.row_splits

    def _candidates(self, decoded: tf.RaggedTensor) -> tf.Tensor:
        """The tokens that end at each character.

        Args:
            decoded: (U, None) int32, n code points.
        Returns:
            (n, P) int32, the token of each length, the longest first; -1 where there is none.
        """
        lengths = decoded.row_lengths()
        exponents = tf.reduce_max(lengths) + 1
        powers = _powers(_BASE, exponents)
        inverse_powers = _powers(_INVERSE, exponents)
        in_piece = tf.ragged.range(lengths).values  # (n,), place of each character
        codes = tf.cast(decoded.values, tf.int64)
        terms = codes * tf.gather(powers, in_piece)
        sums = splits_of(terms)

        end = places_of(codes)[:, None] + 1  # (n, 1)
        length = tf.range(self._longest, 0, -1, dtype=tf.int64)  # (P,)
        is_inside = length <= in_piece[:, None] + 1
        begin = end - tf.where(is_inside, length, 1)
        # A difference of sums is the hash of what stands between, times a power.
        sum_before = tf.gather(sums, begin)
        shifted_hashes = tf.gather(sums, end) - sum_before
        shift = tf.gather(in_piece, begin)
        hashes = shifted_hashes * tf.gather(inverse_powers, shift)
        ids = self._ids_of_hashes(hashes)
        ids = tf.where(is_inside, ids, -1)
        of_several = ids[:, :-1]
        of_one = ids[:, -1:]
        of_one = tf.where(of_one < 0, self._unk_id, of_one)
        return tf.concat([of_several, of_one], 1)

    def _ids_of_hashes(self, hashes: tf.Tensor) -> tf.Tensor:
        """(n, P) int64 -> (n, P) int32, the token with each hash, -1 where there is none."""
        keys = tf.reshape(hashes & _HASH_BITS, [-1])
        numbers = self._hashes.find(keys)
        known_ids = tf.gather(self._ids, tf.maximum(numbers, 0))
        ids = tf.where(numbers >= 0, known_ids, -1)
        return tf.reshape(ids, tf.shape(hashes))

    def _scores_of(self, candidates: tf.Tensor) -> tf.Tensor:
        """(n, P) int32 -> (n, P) float64; no token is impossible."""
        ids = tf.maximum(candidates, 0)
        scores = tf.gather(self._scores, ids)
        unknown = tf.constant(self._unknown_score, tf.float64)
        is_unknown = candidates == self._unk_id
        scores = tf.where(is_unknown, unknown, scores)
        return tf.where(candidates < 0, _IMPOSSIBLE, scores)

    def _best_last_tokens(self, decoded: tf.RaggedTensor, candidates: tf.Tensor) -> tf.Tensor:
        """Forwards: with which token the likeliest way to each character ends.

        Args:
            decoded: (U, None) int32, the longest piece first; n code points.
            candidates: (n, P) int32.
        Returns:
            (n,) int64, the column of `candidates`.
        """
        scores = self._scores_of(candidates)
        starts = decoded.row_splits[:-1]
        lengths = decoded.row_lengths()
        window_shape = tf.TensorShape([None, self._longest])

        def step(
            t: tf.Tensor, window: tf.Tensor, best: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Character t of all pieces that have one: the first of them.

            Args:
                t: () int64.
                window: (pieces, P) float64, the best scores of the last P places.
                best: (n,) int64, what is known so far.
            """
            pieces = tf.math.count_nonzero(lengths > t)
            window = window[:pieces]
            places = starts[:pieces] + t
            sums = window + tf.gather(scores, places)
            chosen = tf.argmax(sums, axis=1)
            best = put(best, places, chosen)
            best_sum = tf.gather(sums, chosen, batch_dims=1)
            later = window[:, 1:]
            window = tf.concat([later, best_sum[:, None]], 1)
            window = tf.ensure_shape(window, window_shape)
            return t + 1, window, best

        count = tf.size(lengths)
        before_start = tf.fill([count, self._longest - 1], _IMPOSSIBLE)
        at_start = tf.zeros([count, 1], tf.float64)
        *_, best = tf.while_loop(
            lambda t, *_: t < tf.reduce_max(lengths),
            step,
            (
                tf.constant(0, tf.int64),
                tf.concat([before_start, at_start], 1),
                tf.zeros_like(decoded.values, tf.int64),
            ),
            shape_invariants=(tf.TensorShape([]), window_shape, _VECTOR),
            parallel_iterations=1,
        )
        return best

    def _token_ends(self, decoded: tf.RaggedTensor, best: tf.Tensor) -> tf.Tensor:
        """Backwards: where the tokens of the likeliest ways end.

        Args:
            decoded: (U, None) int32, n code points.
            best: (n,) int64, the column of the last token on the way to each character.
        Returns:
            (n,) bool.
        """

        def step_back(
            ends: tf.Tensor, starts: tf.Tensor, is_end: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            is_end = fill_at(is_end, ends, True)
            length = self._longest - tf.gather(best, ends)
            ends -= length
            is_left = ends >= starts
            ends_left = tf.boolean_mask(ends, is_left)
            starts_left = tf.boolean_mask(starts, is_left)
            return ends_left, starts_left, is_end

        splits = decoded.row_splits
        *_, is_end = tf.while_loop(
            lambda ends, *_: tf.size(ends) > 0,
            step_back,
            (splits[1:] - 1, splits[:-1], tf.zeros_like(best, tf.bool)),
            shape_invariants=(_VECTOR, _VECTOR, _VECTOR),
            parallel_iterations=1,
        )
        return is_end


def _hash(piece: str) -> int:
    """The sum of code points times powers of the base, modulo 2^64."""
    total = 0
    power = 1
    for character in piece:
        total += ord(character) * power
        power *= int(_BASE)
        power %= 2**64
    return total % 2**64 & _HASH_BITS


def _powers(base: np.uint64, count: tf.Tensor) -> tf.Tensor:
    """(count,) int64: 1, the base, its square, …, modulo 2^64."""
    factor = tf.constant(base.astype(np.int64))
    factors = tf.fill([count], factor)
    return tf.math.cumprod(factors, exclusive=True)
