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

import tensorflow as tf

from trainer.text.added_tokens import RAW_SPACES, Spans, make_added
from trainer.text.backend import Backend
from trainer.text.byte_merges import ByteMerges
from trainer.text.byte_vocabulary import ids_of_bytes, is_utf8, neighbouring_bytes, token_bytes
from trainer.text.characters import utf8_widths
from trainer.text.flat_arrays import (
    indices_of,
    keep_ids_below,
    of_row,
    previous,
    put,
    rows_of,
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
            byte_ids = ids_of_bytes(backend, ids)
            self._merges = ByteMerges(merges, ids, byte_ids)
            ids_of_texts = sorted(id for id in ids.values() if _is_text(written[id]))
            texts = [written[id] for id in ids_of_texts]
            if model.get("ignore_merges"):  # a piece that is a token is that token
                self._table = PieceTable(texts, ids_of_texts)
            else:
                self._table = whole_pieces(texts, ids_of_texts, self._merges.merge)
        self.fingerprint = self._make_fingerprint(merges)

    def _take_constants(self, written: Sequence[bytes], special: frozenset[int]) -> None:
        """Those about characters and about what each token writes."""
        is_special = [id in special for id in range(len(written))]
        widths = []
        leading_spaces = []
        trailing_spaces = []
        for text in written:
            width = len(text)
            widths.append(width)
            leading_spaces.append(width - len(text.lstrip(b" ")))
            trailing_spaces.append(width - len(text.rstrip(b" ")))
        self._classes = tf.constant(character_classes())
        self._are_neighbours = tf.constant(neighbouring_bytes(written))
        self._texts = tf.constant(written)
        self._is_special = tf.constant(is_special)
        self._widths = tf.constant(widths, tf.int32)
        self._leading_spaces = tf.constant(leading_spaces, tf.int32)
        self._trailing_spaces = tf.constant(trailing_spaces, tf.int32)

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
        content = json.dumps(facts).encode()
        return hashlib.sha256(content).hexdigest()

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
                is_special = tf.gather(self._is_special, ids.values)
                texts = tf.where(is_special, "", texts)
            rows = ids.with_values(texts)
            joined = tf.strings.reduce_join(rows, axis=1)
            return tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8")

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        if not self._space_before_text:
            return self._split_spaced(texts, None, with_offsets=with_offsets)
        first_byte = tf.strings.substr(texts, 0, 1)  # "" of an empty text
        is_bare = (first_byte != b"") & (first_byte != b" ")
        with_space = tf.strings.join([" ", texts])
        spaced = tf.where(is_bare, with_space, texts)
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
        is_unmergeable = self._is_unmergeable(characters.codes)
        ids, splits = self._table.tokens_of_texts(
            characters.codes,
            characters.splits,
            characters.word_starts | is_unmergeable,
            self._merges.merge,
        )
        if not with_offsets:
            return Spans.without_places(ids, splits)
        return self._place(ids, splits, characters, got_space)

    def _characters_of(self, texts: tf.Tensor) -> _Characters:
        decoded = tf.strings.unicode_decode(texts, "UTF-8")
        codes = decoded.values
        splits = decoded.row_splits
        entry = tf.minimum(codes, ASSIGNED)
        classes = tf.gather(self._classes, entry)
        letter = tf.constant(LETTER, tf.int8)
        is_ideograph = classes == IDEOGRAPH
        classes_of_pattern = tf.where(is_ideograph, letter, classes)
        starts = word_starts(codes, classes_of_pattern, splits)
        return _Characters(codes, classes, splits, starts)

    def _is_unmergeable(self, codes: tf.Tensor) -> tf.Tensor:
        """Where no merge can join a character with the one before: (M,) int32 -> (M,) bool."""
        is_wide = codes >= 0x80
        nowhere = tf.zeros_like(is_wide)
        touches_wide = is_wide[1:] | is_wide[:-1]

        def ask() -> tf.Tensor:
            before = indices_of(touches_wide)
            places = before + 1
            last_byte = _last_byte(tf.gather(codes, before))
            first_byte = _first_byte(tf.gather(codes, places))
            pair = last_byte * 256 + first_byte
            are_neighbours = tf.gather(self._are_neighbours, pair)
            return put(nowhere, places, ~are_neighbours)

        return tf.cond(tf.reduce_any(touches_wide), ask, lambda: nowhere)

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
        character = tf.range(tf.size(characters.codes))
        character_of_byte = tf.repeat(character, utf8_widths(characters.codes))
        byte_end = tf.cumsum(tf.gather(self._widths, ids))
        first_byte = previous(byte_end, 0)
        first = tf.gather(character_of_byte, first_byte)
        last = tf.gather(character_of_byte, byte_end - 1)
        behind = last + 1
        leading_spaces = tf.gather(self._leading_spaces, ids)
        trailing_spaces = tf.gather(self._trailing_spaces, ids)
        starts = tf.minimum(first + leading_spaces, behind)
        ends = tf.maximum(behind - trailing_spaces, starts)

        text = rows_of(splits)
        origin = of_row(characters.splits, text)
        if got_space is not None:
            origin += of_row(got_space, text)
        return Spans(
            ids=ids,
            splits=splits,
            starts=tf.maximum(starts - origin, 0),
            ends=tf.maximum(ends - origin, 0),
            words=_words(first, last, characters),
        )


def _words(first: tf.Tensor, last: tf.Tensor, characters: _Characters) -> tf.Tensor:
    """Which tokens begin a word, as `Tokens.words` says it.

    Args:
        first: (T,) int32, the first character that each token has a byte of.
        last: (T,) int32, the last one.
        characters: of the texts.
    Returns:
        (T,) int32.
    """
    # A token may begin inside a character: it then goes on with the word.
    begins_character = first != previous(last, -1)
    before = tf.maximum(first - 1, 0)
    after_space_or_ideograph = tf.gather(characters.classes, before) >= WHITE
    is_ideograph = tf.gather(characters.classes, first) == IDEOGRAPH
    begins_match = tf.gather(characters.word_starts, first)
    may_begin_word = begins_match | after_space_or_ideograph | is_ideograph
    begins_word = tf.cast(begins_character & may_begin_word, tf.int32)
    last_class = tf.gather(characters.classes, last)
    is_white = (last_class == WHITE) | (last_class == SPACE)  # which ends no other word
    return tf.where(is_white, -1, begins_word)


def _is_text(written: bytes) -> bool:
    return bool(written) and is_utf8(written)


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
    of_several = (codes & 0x3F) | 0x80
    return tf.where(codes < 0x80, codes, of_several)


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge is written as a text with a space, or as a list of two."""
    if isinstance(merge, str):
        merge = merge.split(" ")
    left, right = merge
    return left, right


def _check(backend: Backend) -> None:
    """Raises WeightsError where the tokenizer is a BPE of another kind."""
    model = backend.content["model"]
    kind = model["type"]
    normalizer = backend.content["normalizer"]
    pre_tokenizer = backend.content["pre_tokenizer"] or {}
    is_byte_level = pre_tokenizer.get("type") == "ByteLevel"
    backend.require(kind == "BPE", "model", "BPE", kind)
    backend.require(normalizer is None, "normalizer", "none, for a byte-level BPE", normalizer)
    backend.require(
        is_byte_level and pre_tokenizer.get("use_regex", True),
        "pre_tokenizer",
        "ByteLevel with GPT-2's pattern",
        pre_tokenizer,
    )
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        setting = model.get(key)
        backend.require(not setting, f"model.{key}", "unset", setting)
