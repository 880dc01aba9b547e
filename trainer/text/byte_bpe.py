"""Byte-level BPE in the TensorFlow graph, with the ids of GPT-2's and RoBERTa's tokenizers.

Per batch: decode to code points, look up each one's class, cut the texts where GPT-2's pattern
does, and ask a table of the vocabulary for each piece: most words are one token. Only the others,
each once, go through the merges: in rounds, in each of which every piece merges its pair of lowest
rank, all pieces at once.

A piece is also cut between two characters whose bytes stand side by side in no token: no merge can
cross such a place. That keeps Chinese, where a whole clause is one word to GPT-2's pattern, as
short as English.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import tensorflow as tf

from trainer.text.added_tokens import RAW_SPACES, Spans, make_added
from trainer.text.backend import Backend
from trainer.text.byte_merges import ByteMerges
from trainer.text.byte_vocabulary import ids_of_bytes, is_utf8, neighbouring_bytes, token_bytes
from trainer.text.characters import utf8_widths
from trainer.text.flat_arrays import (
    fill_at,
    indices_of,
    keep_ids_below,
    make_ragged,
    of_row,
    put,
)
from trainer.text.gpt2_pattern import (
    ASSIGNED,
    IDEOGRAPH,
    LETTER,
    SPACE,
    WHITE,
    character_classes,
    word_starts,
)
from trainer.text.piece_table import PieceTable, whole_pieces
from trainer.text.tokenizer import Tokenizer


class _Model(TypedDict, total=False):
    """What of a BPE model of tokenizer.json is read here."""

    vocab: dict[str, int]
    merges: list[str | list[str]]
    ignore_merges: bool


class _Characters(NamedTuple):
    """The characters of a batch of B texts.

    Attributes:
        codes: (M,) int32.
        classes: (M,) int8, to GPT-2's pattern.
        splits: (B + 1,) int64, where each text's begin.
        word_starts: (M,) bool, where the pattern begins a match.
    """

    codes: tf.Tensor
    classes: tf.Tensor
    splits: tf.Tensor
    word_starts: tf.Tensor


class ByteBPETokenizer(Tokenizer):
    """GPT-2's and RoBERTa's tokenizer."""

    def __init__(self, backend: Backend) -> None:
        """Builds the constants of the graph.

        Raises:
            WeightsError: the tokenizer is a BPE of another kind.
        """
        super().__init__(name="byte_bpe")
        _check(backend)
        model: _Model = backend.content["model"]
        ids = model["vocab"]
        merges = [_pair(merge) for merge in model["merges"]]
        self.template = backend.template
        self.mask_id = backend.mask_id
        self.eos_id = backend.eos_id
        self.has_pad = backend.pad_id is not None
        self.pad_id = backend.pad_id or 0
        self.unk_id = -1
        self.vocabulary = backend.vocabulary(ids)
        pre_tokenizer = backend.content["pre_tokenizer"] or {}
        self._space_before_text = bool(pre_tokenizer.get("add_prefix_space"))
        added = [(token, token.content) for token in backend.added_tokens]
        self._added = make_added(added, RAW_SPACES)

        written = token_bytes(backend, ids, len(self.vocabulary))
        with tf.device("CPU:0"):
            self._take_constants(written, backend.special)
            self._merges = ByteMerges(merges, ids, ids_of_bytes(backend, ids))
            token_ids = [id for id in sorted(ids.values()) if written[id] and is_utf8(written[id])]
            texts = [written[id] for id in token_ids]
            if model.get("ignore_merges"):  # a piece that is a token is that token
                self._table = PieceTable(texts, token_ids)
            else:
                self._table = whole_pieces(texts, token_ids, self._merges.merge)
        self.fingerprint = self._make_fingerprint(merges)

    def _take_constants(self, written: Sequence[bytes], special: frozenset[int]) -> None:
        """Those about characters and about what each token writes."""
        widths = np.array([len(text) for text in written], np.int32)
        widths_behind_spaces = [len(text.lstrip(b" ")) for text in written]
        widths_before_spaces = [len(text.rstrip(b" ")) for text in written]
        self._classes = tf.constant(character_classes())
        self._are_neighbours = tf.constant(neighbouring_bytes(written))
        self._texts = tf.constant(written)
        self._is_special = tf.constant([id in special for id in range(len(written))])
        self._widths = tf.constant(widths)
        self._leading_spaces = tf.constant(widths - widths_behind_spaces, tf.int32)
        self._trailing_spaces = tf.constant(widths - widths_before_spaces, tf.int32)

    def _make_fingerprint(self, merges: Sequence[tuple[str, str]]) -> str:
        """The classes are part of it: a release of `tokenizers` may know other characters."""
        facts = [
            self.vocabulary,
            merges,
            self._space_before_text,
            self._added,
            self.template,
            hashlib.sha256(character_classes().tobytes()).hexdigest(),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes; special ones nothing. Made when asked for: few runs do."""
        texts = self._texts.numpy().tolist()
        are_special = self._is_special.numpy().tolist()
        return [
            b"" if is_special else text for text, is_special in zip(texts, are_special, strict=True)
        ]

    @property
    def words(self) -> list[str]:
        """How a token is shown: as it is written, the space before it included."""
        return [
            written.decode("utf-8", "replace") or token
            for written, token in zip(self.token_bytes, self.vocabulary, strict=True)
        ]

    def decode(self, ids: tf.RaggedTensor, *, special: bool = False) -> tf.Tensor:
        """The texts of rows of tokens.

        Args:
            ids: (B, None) int32.
            special: write out special tokens, too, such as the end of a text.
        Returns:
            (B,) string; bytes that are no UTF-8 become U+FFFD.
        """
        with tf.device("CPU:0"):
            ids = keep_ids_below(ids, tf.size(self._texts))
            texts = tf.gather(self._texts, ids.values)
            if not special:
                texts = tf.where(tf.gather(self._is_special, ids.values), "", texts)
            joined = tf.strings.reduce_join(ids.with_values(texts), axis=1)
            return tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8")

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        if not self._space_before_text:
            return self._split_spaced(texts, None, with_offsets=with_offsets)
        is_bare = (tf.strings.length(texts) > 0) & (tf.strings.substr(texts, 0, 1) != b" ")
        spaced = tf.where(is_bare, tf.strings.join([" ", texts]), texts)
        return self._split_spaced(spaced, is_bare, with_offsets=with_offsets)

    def _split_spaced(
        self, texts: tf.Tensor, got_space: tf.Tensor | None, *, with_offsets: bool
    ) -> Spans:
        """Tokenizes texts with the space before them.

        Args:
            texts: (B,) string.
            got_space: (B,) bool, which of them got theirs here; None: none.
            with_offsets: False: starts, ends and words are empty.
        """
        characters = self._characters_of(texts)
        is_cut = characters.word_starts | self._is_unmergeable(characters.codes)
        ids, splits = self._table.tokens_of_texts(
            characters.codes, characters.splits, is_cut, self._merges.merge
        )
        if not with_offsets:
            return Spans.without_places(ids, splits)
        return self._place(ids, splits, characters, got_space)

    def _characters_of(self, texts: tf.Tensor) -> _Characters:
        decoded = tf.strings.unicode_decode(texts, "UTF-8")
        codes = decoded.values
        splits = decoded.row_splits
        classes = tf.gather(self._classes, tf.minimum(codes, ASSIGNED))
        of_pattern = tf.where(classes == IDEOGRAPH, tf.constant(LETTER, tf.int8), classes)
        begins_no_text = tf.zeros([tf.size(codes) + 1], tf.int32)
        begins_text = fill_at(begins_no_text, splits, 1)
        starts = word_starts(codes, of_pattern, tf.cast(begins_text, tf.bool))
        return _Characters(codes, classes, splits, starts)

    def _is_unmergeable(self, codes: tf.Tensor) -> tf.Tensor:
        """Where no merge can join a character with the one before: (M,) int32 -> (M,) bool."""
        is_wide = codes >= 0x80
        places = indices_of(is_wide[1:] | is_wide[:-1]) + 1

        def ask() -> tf.Tensor:
            last_byte = _last_byte(tf.gather(codes, places - 1))
            first_byte = _first_byte(tf.gather(codes, places))
            are_neighbours = tf.gather(self._are_neighbours, last_byte * 256 + first_byte)
            return put(tf.zeros_like(is_wide), places, ~are_neighbours)

        return tf.cond(tf.size(places) > 0, ask, lambda: tf.zeros_like(is_wide))

    def _place(
        self,
        ids: tf.Tensor,
        splits: tf.Tensor,
        characters: _Characters,
        got_space: tf.Tensor | None,
    ) -> Spans:
        """Finds the characters of each token: those that it has a byte of, without spaces around.

        Args:
            ids: (T,) int32.
            splits: (B + 1,) int64, where the tokens of each text begin.
            characters: of the texts.
            got_space: (B,) bool, which texts got a space that the original one has not.
        """
        codes, classes, text_starts, starts_word = characters
        character_of_byte = tf.repeat(tf.range(tf.size(codes)), utf8_widths(codes))
        widths = tf.gather(self._widths, ids)
        byte_end = tf.cumsum(widths)
        byte_start = byte_end - widths
        first = tf.gather(character_of_byte, byte_start)
        last = tf.gather(character_of_byte, byte_end - 1)
        leading_spaces = tf.gather(self._leading_spaces, ids)
        trailing_spaces = tf.gather(self._trailing_spaces, ids)
        starts = tf.minimum(first + leading_spaces, last + 1)
        ends = tf.maximum(last + 1 - trailing_spaces, starts)

        # A token may begin inside a character: it then goes on with the word.
        before_start = tf.gather(character_of_byte, byte_start[1:] - 1)
        begins_character = tf.concat([[True], first[1:] != before_start], 0)[: tf.size(ids)]
        class_before = tf.gather(classes, tf.maximum(first - 1, 0))
        after_space_or_ideograph = class_before >= WHITE
        is_ideograph = tf.gather(classes, first) == IDEOGRAPH
        begins_match = tf.gather(starts_word, first)
        begins_word = begins_match | after_space_or_ideograph | is_ideograph
        last_class = tf.gather(classes, last)
        is_white = (last_class == WHITE) | (last_class == SPACE)  # which ends no other word
        words = tf.where(is_white, -1, tf.cast(begins_character & begins_word, tf.int32))

        text = make_ragged(ids, splits).value_rowids()
        origin = of_row(text_starts, text)
        if got_space is not None:
            origin += of_row(got_space, text)
        return Spans(
            ids=ids,
            splits=splits,
            starts=tf.maximum(starts - origin, 0),
            ends=tf.maximum(ends - origin, 0),
            words=words,
        )


def _first_byte(codes: tf.Tensor) -> tf.Tensor:
    """(n,) int32 -> (n,) int32, of each in UTF-8."""
    of_two = tf.bitwise.right_shift(codes, 6) + 0xC0
    of_three = tf.bitwise.right_shift(codes, 12) + 0xE0
    of_four = tf.bitwise.right_shift(codes, 18) + 0xF0
    of_many = tf.where(codes < 0x10000, of_three, of_four)
    of_several = tf.where(codes < 0x800, of_two, of_many)
    return tf.where(codes < 0x80, codes, of_several)


def _last_byte(codes: tf.Tensor) -> tf.Tensor:
    """(n,) int32 -> (n,) int32, of each in UTF-8."""
    of_several = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(codes, 0x3F), 0x80)
    return tf.where(codes < 0x80, codes, of_several)


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge is written as a text with a space, or as a list of two."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _check(backend: Backend) -> None:
    """Raises WeightsError where the tokenizer is a BPE of another kind."""
    model = backend.content["model"]
    normalizer = backend.content["normalizer"]
    pre_tokenizer = backend.content["pre_tokenizer"] or {}
    is_byte_level = pre_tokenizer.get("type") == "ByteLevel"
    backend.require(model["type"] == "BPE", "model", "BPE", model["type"])
    backend.require(normalizer is None, "normalizer", "none, for a byte-level BPE", normalizer)
    backend.require(
        is_byte_level and pre_tokenizer.get("use_regex", True),
        "pre_tokenizer",
        "ByteLevel with GPT-2's pattern",
        pre_tokenizer,
    )
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        backend.require(not model.get(key), f"model.{key}", "unset", model.get(key))
