"""SentencePiece's unigram model in the TensorFlow graph, with the ids of XLM-R's and ALBERT's
tokenizers.

Per batch: decode to code points, normalise them by tables that were built by asking Hugging Face,
put the mark of a space
before each word, and ask a table of the vocabulary for each piece: a word, cut between characters
that stand side by side in no token, as nearly all are in Chinese. Only pieces that are no token,
each once, go through Viterbi's algorithm, all at once, a character at a time.

tensorflow-text has SentencePiece as an op. It adds scores in float32, so that between "o oo" and
"oo o" rounding decides, where Hugging Face's float64 takes the first; and it applies the character
map otherwise. Seen: 72 of 25,000 reviews differ.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tokenizers import Tokenizer as BackendTokenizer
from tokenizers import models, normalizers

from trainer.text.added_tokens import RAW_SPACES, Spans, around_added, make_added
from trainer.text.backend import Backend
from trainer.text.characters import (
    WHITE_SPACE,
    begins_row,
    every_other,
    is_ideograph,
    look_up,
    punctuation,
    two_levels,
    utf8_widths,
)
from trainer.text.integer_table import IntegerTable, pair_key, pair_keys
from trainer.text.piece_table import whole_pieces
from trainer.text.tokenizer import Tokenizer

_MARK = "\u2581"  # how a piece writes the space before a word
# normalizers that are a table
_BY_CHARACTER = ("NFKD", "NFD", "StripAccents", "Lowercase", "Precompiled")
_MAPPED_TOGETHER = 6  # a letter with its marks is looked up at once where it has fewer bytes
_EXTENDS, _PREPENDS, _CONTROLS, _MAPPED = 1, 2, 4, 8  # what a character is to its neighbours; bits
# nothing becomes of what Unicode has not given a meaning
_ASSIGNED = (*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200))
# no ideographs, no Hangul syllables
_MAY_ATTACH = (
    *range(0x80, 0x3400),
    *range(0xA000, 0xAC00),
    *range(0xF900, 0x20000),
    *range(0xE0000, 0xE0200),
)
# characters of all pieces x those of the longest, which is what their table takes; XLM-R's are 2 *
# 10^7
_LARGEST_LATTICE = 10**8
_UNKNOWN_PENALTY = 10  # below the lowest score
# of the hash of a piece's code points; odd, so that it has an inverse modulo 2^64
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
_HASH_BITS = 2**63 - 1


class SentencePieceTokenizer(Tokenizer):
    """XLM-R's and ALBERT's tokenizer."""

    def __init__(self, backend: Backend) -> None:
        """Builds the constants of the graph.

        Raises:
            WeightsError: the tokenizer does something else before its unigram model.
        """
        super().__init__(name="sentencepiece")
        model, steps = _check(backend)
        # of equal pieces the last counts
        ids = {piece: id for id, (piece, _) in enumerate(model["vocab"])}
        scores = np.array([score for _, score in model["vocab"]])
        self.template = backend.template
        self.mask_id = backend.mask_id
        self.eos_id = backend.eos_id
        self.has_pad = backend.pad_id is not None
        self.pad_id = backend.pad_id or 0
        self.unk_id = model["unk_id"]
        self.vocabulary = backend.vocabulary(ids)
        self._added = make_added(
            [(token, token.content) for token in backend.added_tokens if not token.normalized],
            RAW_SPACES,
        )
        normalizer = _normalizer(
            [backend.content["normalizer"]] if backend.content["normalizer"] else []
        )
        normalized = [
            (token, normalizer.normalize_str(token.content))
            for token in backend.added_tokens
            if token.normalized
        ]
        self._normalized_added = make_added(normalized, RAW_SPACES)
        self._pairs = [
            (ord(step["pattern"]["String"][0]), ord(step["content"]))
            for step in steps
            if step["type"] == "Replace"
        ]
        steps = [step for step in steps if step["type"] in _BY_CHARACTER]
        answers = _answers(steps)
        table = _character_table(answers)
        marks = _marks(steps, answers)
        pieces = [piece for piece in ids if piece]
        keys = {_hash(piece): id for piece, id in ids.items() if piece and id != self.unk_id}
        joined = sorted(
            {pair_key(ord(a), ord(b)) for piece in pieces for a, b in itertools.pairwise(piece)}
        )
        with tf.device("CPU:0"):
            self._characters = tuple(map(tf.constant, table))
            self._marks = marks
            self._punctuation = tuple(map(tf.constant, punctuation()))
            self._scores = tf.constant(scores)
            self._unknown_score = float(scores.min()) - _UNKNOWN_PENALTY
            self._longest = max(map(len, pieces))
            self._hashes = IntegerTable(np.array(list(keys)))
            self._of_hash = tf.constant(list(keys.values()), tf.int32)
            self._joined = IntegerTable(np.array(joined, np.int64))
            self._widths = tf.constant(
                [
                    1 if id == self.unk_id else len(piece)
                    for id, piece in enumerate(self.vocabulary)
                ],
                tf.int32,
            )
            candidates = [piece for piece in pieces if ids[piece] != self.unk_id]
            silent = {*backend.special, self.unk_id}
            self._texts = tf.constant(
                [
                    "" if id in silent else piece.replace(_MARK, " ")
                    for id, piece in enumerate(self.vocabulary)
                ]
            )
            self._table = whole_pieces(
                [piece.encode() for piece in candidates],
                [ids[piece] for piece in candidates],
                self._viterbi,
            )
        facts = [
            self.vocabulary,
            scores.tolist(),
            self._added,
            self._normalized_added,
            self.template,
            self._pairs,
            steps,
        ]
        self.fingerprint = hashlib.sha256(
            json.dumps(facts).encode() + b"".join(map(np.ndarray.tobytes, table))
        ).hexdigest()

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes, with the space before it; special and unknown ones nothing."""
        return self._texts.numpy().tolist()

    @property
    def words(self) -> list[str]:
        """How a token is shown that stands alone."""
        return [
            text.decode().lstrip(" ") or piece
            for text, piece in zip(self.token_bytes, self.vocabulary, strict=True)
        ]

    def decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The texts of rows of tokens, (B, None) int32 -> (B,) string, without the space that the
        first word has before it.
        """
        with tf.device("CPU:0"):
            ids = tf.ragged.boolean_mask(ids, (ids >= 0) & (ids < tf.size(self._texts)))
            return tf.strings.regex_replace(
                tf.strings.reduce_join(ids.with_values(tf.gather(self._texts, ids.values)), axis=1),
                "^ ",
                "",
            )

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        codes, splits, sources = self._normalize(characters)
        if self._normalized_added is None:
            return self._split_words(
                codes, splits, sources, characters.row_splits, with_offsets=with_offsets
            )

        def split(parts: tf.Tensor) -> Spans:
            decoded = tf.strings.unicode_decode(parts, "UTF-8")
            place = tf.range(tf.size(decoded.values))
            return self._split_words(
                decoded.values,
                decoded.row_splits,
                tf.stack([place, place + 1], 1),
                decoded.row_splits,
                with_offsets=with_offsets,
            )

        normalized = tf.strings.unicode_encode(
            tf.RaggedTensor.from_row_splits(codes, splits, validate=False), "UTF-8"
        )
        spans = around_added(normalized, self._normalized_added, "UTF8_CHAR", split, clean=True)
        return _to_source(spans, splits, sources, characters.row_splits) if with_offsets else spans

    def _split_words(
        self,
        codes: tf.Tensor,
        splits: tf.Tensor,
        sources: tf.Tensor,
        origins: tf.Tensor,
        *,
        with_offsets: bool,
    ) -> Spans:
        """Normalised codes without added tokens into tokens; `origins` (B + 1,) is where the
        characters that `sources` counts begin in each text.
        """
        codes, rows, sources = self._marked_words(codes, splits, sources)
        count = tf.size(codes, tf.int64)
        word = codes == ord(_MARK)  # each begins with one
        follows = self._joined.find(pair_keys(codes[:-1], codes[1:])) >= 0
        cut = word | tf.concat([[True], ~follows], 0)[:count]
        piece_splits = tf.concat([tf.reshape(tf.where(cut), [-1]), [count]], 0)
        pieces = tf.strings.unicode_encode(
            tf.RaggedTensor.from_row_splits(codes, piece_splits, validate=False), "UTF-8"
        )
        ids, token_splits = self._table.tokens(pieces, self._viterbi)
        end = tf.cumsum(tf.gather(self._widths, ids))  # in characters of all marked texts
        start = end - tf.gather(self._widths, ids)
        # A word's neighbouring unknown characters are one token.
        unknown = ids == self.unk_id
        goes_on = (
            unknown
            & tf.concat([[False], unknown[:-1]], 0)[: tf.size(ids)]
            & ~tf.gather(word, start)
        )
        kept = tf.reshape(tf.where(~goes_on), [-1])
        # pieces that begin before a character
        before = tf.concat([[0], tf.cumsum(tf.cast(cut, tf.int64))], 0)
        tokens_before = tf.concat([[0], tf.cumsum(tf.cast(~goes_on, tf.int64))], 0)
        splits = tf.gather(tokens_before, tf.gather(token_splits, tf.gather(before, rows)))
        ids = tf.gather(ids, kept)
        if not with_offsets:
            return Spans(ids, splits, ids[:0], ids[:0], ids[:0])
        start = tf.gather(start, kept)
        end = tf.concat([start[1:], tf.cast(count, tf.int32)[None]], 0)[: tf.size(ids)]
        return _place(ids, splits, start, end, codes, sources, origins, self._punctuation)

    def _normalize(self, characters: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The normalised codes of all texts, where each text's begin, and (first, last + 1) of the
        characters that each was made from, (M, 2).
        """
        codes = characters.values
        splits = characters.row_splits
        place = tf.range(tf.size(codes))
        sources = tf.stack([place, place + 1], 1)
        for double, single in self._pairs:
            codes, splits, sources = _replace_pairs(double, single, codes, splits, sources)
        mapped = codes
        if self._marks is not None:
            codes, splits, sources, mapped = self._marks.join(codes, splits, sources)
        pages, entries, sequences = self._characters
        # -1: stays itself; else where its characters begin in `sequences`, and how many there are
        packed = look_up(pages, entries, mapped)
        lengths = tf.where(packed < 0, 1, tf.bitwise.bitwise_and(packed, 31))
        first = tf.where(packed < 0, 0, tf.bitwise.right_shift(packed, 5))
        taken = tf.ragged.range(first, first + lengths, row_splits_dtype=tf.int64)
        of = taken.value_rowids()
        codes = tf.where(
            tf.gather(packed, of) < 0, tf.gather(codes, of), tf.gather(sequences, taken.values)
        )
        return codes, tf.gather(taken.row_splits, splits), tf.gather(sources, of)

    def _marked_words(
        self, codes: tf.Tensor, splits: tf.Tensor, sources: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """White space left out, and a mark before each word that has none of its own."""
        white = tf.reduce_any(
            codes[:, None] == tf.constant([ord(character) for character in WHITE_SPACE]), 1
        )
        count = tf.size(codes, tf.int64)
        opens = begins_row(splits, count)
        begins = ~white & (opens | tf.concat([[True], white[:-1]], 0)[:count])
        marked = begins & (codes != ord(_MARK))
        copies = tf.where(white, 0, tf.where(marked, 2, 1))
        of = tf.repeat(tf.range(count), copies)
        before = tf.concat([[0], tf.cumsum(tf.cast(copies, tf.int64))], 0)
        is_mark = tf.gather(marked, of) & (tf.range(tf.size(of, tf.int64)) == tf.gather(before, of))
        sources = tf.gather(sources, of)
        sources = tf.where(is_mark[:, None], sources[:, :1], sources)  # nowhere
        return (
            tf.where(is_mark, ord(_MARK), tf.gather(codes, of)),
            tf.gather(before, splits),
            sources,
        )

    def _viterbi(self, pieces: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The likeliest tokens of each of (U,) strings, none empty: ids, and (U + 1,) int64 where
        those of each begin.

        Of equally likely ones those whose last token is longest, and so on from the end, as in
        Hugging Face.
        """
        order = tf.argsort(
            tf.strings.length(pieces, unit="UTF8_CHAR"), direction="DESCENDING", stable=True
        )
        decoded = tf.strings.unicode_decode(tf.gather(pieces, order), "UTF-8")
        codes = decoded.values
        splits = decoded.row_splits
        lengths = decoded.row_lengths()
        # (n, P) int32, the token of each length, the longest first, that ends at a character
        candidates = self._candidates(decoded)
        scores = tf.where(
            candidates == self.unk_id,
            tf.constant(self._unknown_score, tf.float64),
            tf.where(
                candidates < 0,
                tf.constant(-np.inf, tf.float64),
                tf.gather(self._scores, tf.maximum(candidates, 0)),
            ),
        )
        longest, count = self._longest, tf.size(lengths)

        def step(
            t: tf.Tensor, window: tf.Tensor, chosen: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Character t of all pieces that have one: the first of them.

            `window`: the best scores of the last P places.
            """
            active = tf.searchsorted(-lengths, [-t], out_type=tf.int64)[0]  # those longer than t
            places = tf.gather(splits, tf.range(active)) + t
            sums = window[:active] + tf.gather(scores, places)
            best = tf.argmax(sums, axis=1)
            chosen = tf.tensor_scatter_nd_update(chosen, places[:, None], best)
            window = tf.concat(
                [window[:active, 1:], tf.gather(sums, best, batch_dims=1)[:, None]], 1
            )
            return t + 1, tf.ensure_shape(window, [None, longest]), chosen

        window = tf.concat(
            [
                tf.fill([count, longest - 1], tf.constant(-np.inf, tf.float64)),
                tf.zeros([count, 1], tf.float64),
            ],
            1,
        )
        shapes = (tf.TensorShape([]), tf.TensorShape([None, longest]), tf.TensorShape([None]))
        *_, chosen = tf.while_loop(
            lambda t, *_: t < tf.reduce_max(lengths),
            step,
            (tf.constant(0, tf.int64), window, tf.zeros_like(codes, tf.int64)),
            shape_invariants=shapes,
            parallel_iterations=1,
        )

        def back(
            ends: tf.Tensor, starts: tf.Tensor, is_end: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            is_end = tf.tensor_scatter_nd_update(is_end, ends[:, None], tf.ones_like(ends, tf.bool))
            ends -= longest - tf.gather(chosen, ends)
            left = tf.reshape(tf.where(ends >= starts), [-1])
            return tf.gather(ends, left), tf.gather(starts, left), is_end

        shapes = (tf.TensorShape([None]),) * 3
        *_, is_end = tf.while_loop(
            lambda ends, *_: tf.size(ends) > 0,
            back,
            (splits[1:] - 1, splits[:-1], tf.zeros_like(codes, tf.bool)),
            shape_invariants=shapes,
            parallel_iterations=1,
        )
        tokens = tf.gather(
            tf.boolean_mask(candidates, is_end), tf.boolean_mask(chosen, is_end), batch_dims=1
        )
        before = tf.concat([[0], tf.cumsum(tf.cast(is_end, tf.int64))], 0)
        sorted_rows = tf.RaggedTensor.from_row_splits(
            tokens, tf.gather(before, splits), validate=False
        )
        rows = tf.gather(sorted_rows, tf.argsort(order))  # in the order they were given
        return rows.values, rows.row_splits

    def _candidates(self, decoded: tf.RaggedTensor) -> tf.Tensor:
        codes = decoded.values
        lengths = decoded.row_lengths()
        local = tf.ragged.range(lengths).values
        powers = tf.math.cumprod(
            tf.fill([tf.reduce_max(lengths) + 1], tf.constant(_BASE.astype(np.int64))),
            exclusive=True,
        )
        inverses = tf.math.cumprod(
            tf.fill([tf.reduce_max(lengths) + 1], tf.constant(_INVERSE.astype(np.int64))),
            exclusive=True,
        )
        sums = tf.concat([[0], tf.cumsum(tf.cast(codes, tf.int64) * tf.gather(powers, local))], 0)
        place = tf.range(tf.size(codes, tf.int64))[:, None]
        length = tf.range(self._longest, 0, -1, dtype=tf.int64)[None, :]
        inside = length <= local[:, None] + 1
        begin = tf.where(inside, place + 1 - length, place)
        keys = (tf.gather(sums, place + 1) - tf.gather(sums, begin)) * tf.gather(
            inverses, tf.gather(local, begin)
        )
        number = self._hashes.find(tf.reshape(tf.bitwise.bitwise_and(keys, _HASH_BITS), [-1]))
        ids = tf.where(number >= 0, tf.gather(self._of_hash, tf.maximum(number, 0)), -1)
        ids = tf.where(inside, tf.reshape(ids, tf.shape(inside)), -1)
        # a character alone is unknown, if no token
        return tf.concat([ids[:, :-1], tf.where(ids[:, -1:] < 0, self.unk_id, ids[:, -1:])], 1)


class _Marks:
    """What the character map does to a letter and the marks on it together."""

    def __init__(self, kinds: np.ndarray, pairs: dict[int, int]) -> None:
        """Takes the kind of every code point, (0x110000,) int32 of bits, and what pairs of
        characters compose to.
        """
        self._kinds = tuple(map(tf.constant, two_levels(kinds)))
        self._pairs = IntegerTable(np.array(list(pairs), np.int64))
        self._composed = tf.constant(list(pairs.values()), tf.int32)

    def join(
        self, codes: tf.Tensor, splits: tf.Tensor, sources: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Replaces letters with marks by what they are together; short ones whose letter is mapped
        alone lose the marks.
        """
        kinds = look_up(*self._kinds, codes)

        def are(bit: int) -> tf.Tensor:
            return tf.bitwise.bitwise_and(kinds, bit) > 0

        def join() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            count = tf.size(codes, tf.int64)
            opens = begins_row(splits, count)
            controls = are(_CONTROLS)  # nothing attaches to them
            attached = are(_EXTENDS)[1:] | (are(_PREPENDS)[:-1] & ~controls[1:])
            group = (
                tf.cumsum(
                    tf.cast(opens | tf.concat([[True], controls[:-1] | ~attached], 0), tf.int32)
                )
                - 1
            )
            small = tf.gather(
                tf.math.segment_sum(utf8_widths(codes), group) < _MAPPED_TOGETHER, group
            )
            base = tf.gather(tf.math.segment_min(tf.range(count), group), group)
            second = tf.minimum(base + 1, count - 1)
            number = self._pairs.find(pair_keys(tf.gather(codes, base), tf.gather(codes, second)))
            alone = tf.gather(are(_MAPPED), base)
            composes = small & ~alone & (number >= 0) & (tf.gather(group, second) == group)
            is_base = base == tf.range(count)
            gone = ~is_base & (composes | (small & alone))
            last = tf.cast(tf.gather(tf.math.segment_max(sources[:, 1], group), group), tf.int32)
            whole = tf.where(
                (is_base & small & (composes | alone))[:, None],
                tf.stack([sources[:, 0], last], 1),
                sources,
            )
            joined = tf.where(
                composes & is_base, tf.gather(self._composed, tf.maximum(number, 0)), codes
            )
            before = tf.concat([[0], tf.cumsum(tf.cast(~gone, tf.int64))], 0)
            kept = tf.boolean_mask(joined, ~gone)
            final = tf.boolean_mask(composes, ~gone)  # already mapped
            return (
                kept,
                tf.gather(before, splits),
                tf.boolean_mask(whole, ~gone),
                tf.where(final, ord("a"), kept),
            )

        return tf.cond(
            tf.reduce_any(are(_EXTENDS | _PREPENDS)), join, lambda: (codes, splits, sources, codes)
        )


def _hash(piece: str) -> int:
    total, power = 0, 1
    for character in piece:
        total = total + ord(character) * power
        power = power * int(_BASE) % 2**64
    return total % 2**64 & _HASH_BITS


def _place(
    ids: tf.Tensor,
    splits: tf.Tensor,
    start: tf.Tensor,
    end: tf.Tensor,
    codes: tf.Tensor,
    sources: tf.Tensor,
    origins: tf.Tensor,
    punctuation: tuple[tf.Tensor, tf.Tensor],
) -> Spans:
    """From characters of the marked texts to those of the original ones."""
    opens = tf.gather(codes, start) == ord(_MARK)
    # behind the mark, unless that is all
    first = tf.minimum(start + tf.cast(opens, tf.int32), end - 1)
    alone = opens & (end == start + 1)
    text = tf.RaggedTensor.from_row_splits(ids, splits, validate=False).value_rowids()
    origin = tf.cast(tf.gather(origins, text), tf.int32)
    begin = tf.gather(sources[:, 0], first) - origin
    stop = tf.where(alone, begin, tf.gather(sources[:, 1], end - 1) - origin)
    code = tf.gather(codes, first)
    before = tf.gather(codes, tf.maximum(first - 1, 0))
    # a character is a word of its own to taggers, whatever piece it is in, where it is one of these
    around = tf.stack([code, before])
    begins = (
        opens
        | (before == ord(_MARK))
        | tf.reduce_any(is_ideograph(around) | (look_up(*punctuation, around) > 0), 0)
    )
    return Spans(ids, splits, begin, stop, tf.where(alone, -1, tf.cast(begins, tf.int32)))


def _to_source(spans: Spans, splits: tf.Tensor, sources: tf.Tensor, origins: tf.Tensor) -> Spans:
    """Offsets in characters of the normalised texts into those of the original ones."""
    text = tf.RaggedTensor.from_row_splits(spans.ids, spans.splits, validate=False).value_rowids()
    origin, first, last = (
        tf.cast(tf.gather(borders, text), tf.int32) for borders in (origins, splits, splits[1:] - 1)
    )
    begin = tf.gather(sources[:, 0], tf.minimum(first + spans.starts, last)) - origin
    end = tf.gather(sources[:, 1], tf.maximum(first + spans.ends - 1, first)) - origin
    # a mark of a space alone is nowhere
    return Spans(
        spans.ids, spans.splits, begin, tf.where(spans.ends > spans.starts, end, begin), spans.words
    )


def _replace_pairs(
    double: int, single: int, codes: tf.Tensor, splits: tf.Tensor, sources: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A character that stands twice becomes another one, as ALBERT writes quotation marks."""

    def replace() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        count = tf.size(codes, tf.int64)
        opens = begins_row(splits, count)
        same = codes == double
        pairs = every_other(tf.concat([same[:-1] & same[1:] & ~opens[1:], [False]], 0))
        kept = ~tf.concat([[False], pairs[:-1]], 0)
        before = tf.concat([[0], tf.cumsum(tf.cast(kept, tf.int64))], 0)
        whole = tf.stack([sources[:, 0], sources[:, 1] + tf.cast(pairs, tf.int32)], 1)
        return (
            tf.boolean_mask(tf.where(pairs, single, codes), kept),
            tf.gather(before, splits),
            tf.boolean_mask(whole, kept),
        )

    return tf.cond(tf.reduce_any(codes == double), replace, lambda: (codes, splits, sources))


def _check(backend: Backend) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The model, and the normaliser's steps."""
    content = backend.content
    model = backend.content["model"]
    backend.require(not model.get("byte_fallback"), "model.byte_fallback", "false", True)
    count = len(model["vocab"])
    unknown = model.get("unk_id")
    backend.require(
        type(unknown) is int and 0 <= unknown < count,
        "model.unk_id",
        f"the number of one of its {count:,} tokens",
        unknown,
    )
    backend.require(
        all(map(math.isfinite, (score for _, score in model["vocab"]))),
        "scores",
        "finite numbers",
        "others",
    )
    longest = max(len(piece) for piece, _ in model["vocab"])
    characters = sum(len(piece) for piece, _ in model["vocab"])
    backend.require(
        0 < longest * characters <= _LARGEST_LATTICE,
        "longest piece",
        "one of a few characters",
        f"{longest:,} of them",
    )
    normalizer = content["normalizer"] or {"type": "Sequence", "normalizers": []}
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    # Words are split at spaces, however many there are.
    steps = [
        step
        for step in steps
        if step["type"] != "Strip"
        and not (step["type"] == "Replace" and step["pattern"].get("Regex") == " {2,}")
    ]
    for step in steps:
        known = step["type"] in (*_BY_CHARACTER, "Replace")
        backend.require(
            known, "normalizer", f"made of Replace, {', '.join(_BY_CHARACTER)}", step["type"]
        )
        if step["type"] == "Replace":
            old = step["pattern"].get("String", "")
            new = step["content"]
            backend.require(
                len(old) == 2 and old[0] == old[1] and len(new) == 1,
                "normalizer's Replace",
                "of a pair of equal characters by one",
                step,
            )
    split = content["pre_tokenizer"] or {}
    parts = split.get("pretokenizers", [split])
    *others, last = parts
    spaces = (
        last.get("type") == "Metaspace"
        and last.get("prepend_scheme", "always") == "always"
        and last.get("replacement") == _MARK
    )
    spaces &= all(part.get("type") == "WhitespaceSplit" for part in others)
    backend.require(spaces, "pre_tokenizer", "Metaspace, with a space before each text", split)
    return model, steps


def _normalizer(steps: Sequence[dict[str, Any]]) -> normalizers.Normalizer:
    content = json.loads(BackendTokenizer(models.WordLevel({"": 0}, "")).to_str())
    return BackendTokenizer.from_str(
        json.dumps(content | {"normalizer": {"type": "Sequence", "normalizers": list(steps)}})
    ).normalizer


def _answers(steps: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What becomes of each character alone."""
    asked = list(map(chr, _ASSIGNED))
    if not steps:
        return dict(zip(asked, asked, strict=True))
    separator = "\ue000"  # private use: nothing becomes it, and it changes nothing beside it
    found = _normalizer(steps).normalize_str(separator.join(asked)).split(separator)
    index = asked.index(separator)  # itself two empty answers
    return dict(zip(asked, [*found[:index], separator, *found[index + 2 :]], strict=True))


def _character_table(answers: dict[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pages and entries of two levels, and the characters that they point to."""
    entries = np.full(0x110000, -1, np.int32)
    sequences = []
    known = {}
    for character, answer in answers.items():
        if answer != character:
            if answer not in known:
                known[answer] = len(sequences) << 5 | len(answer)
                sequences += map(ord, answer)
            entries[ord(character)] = known[answer]
    return *two_levels(entries), np.array(sequences or [0], np.int32)


def _marks(steps: Sequence[dict[str, Any]], answers: dict[str, str]) -> _Marks | None:
    """None where there is no character map, or accents are gone before it."""
    if not any(step["type"] == "Precompiled" for step in steps) or any(
        step["type"] == "StripAccents" for step in steps
    ):
        return None
    normalizer, pairs = _normalizer(steps), {}
    kinds = np.zeros(0x110000, np.int32)
    extends, prepends = _attaching(normalizer, answers)
    kinds[extends], kinds[prepends] = _EXTENDS, _PREPENDS
    kinds[
        [
            code
            for code in _ASSIGNED
            if not kinds[code] and unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp")
        ]
    ] = _CONTROLS
    kinds[[ord(character) for character, answer in answers.items() if answer != character]] |= (
        _MAPPED
    )
    for code_point in _ASSIGNED:
        parts = unicodedata.decomposition(chr(code_point)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (int(part, 16) for part in parts)
            together = normalizer.normalize_str(chr(first) + chr(second))
            if len(together) == 1 and together != answers[chr(first)] + answers[chr(second)]:
                pairs[pair_key(first, second)] = ord(together)
    return _Marks(kinds, pairs)


def _attaching(
    normalizer: normalizers.Normalizer, answers: dict[str, str]
) -> tuple[list[int], list[int]]:
    """The characters that are one with what stands before them, such as marks, and those that are
    with what stands behind.

    They are asked for, as Unicode adds some every year: a letter that is mapped loses the mark on
    it, unless another character makes the group too long to be looked up together.
    """
    letter = next(
        (
            chr(code)
            for code in range(0x80, 0x800)
            if answers[chr(code)] != chr(code) and chr(code).isalpha()
        ),
        None,
    )
    if letter is None:
        return [], []
    # nothing attaches to a line's end
    marked = letter + "\u0301"
    end = "\n"
    separator = "\ue000"

    def differ(texts: list[str], expected: list[str]) -> list[int]:
        found = normalizer.normalize_str(separator.join(text + end for text in texts)).split(
            separator
        )
        return [
            code
            for code, one, other in zip(_MAY_ATTACH, found, expected, strict=True)
            if one != other + answers[end]
        ]

    characters = [chr(code) for code in _MAY_ATTACH]
    return (
        differ(
            [marked + character for character in characters],
            [answers[letter] + answers[character] for character in characters],
        ),
        differ(
            [character + marked for character in characters],
            [answers[character] + answers[letter] for character in characters],
        ),
    )
