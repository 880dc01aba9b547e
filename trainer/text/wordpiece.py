"""WordPiece in the TensorFlow graph, with the ids of Hugging Face's fast BERT tokenizers.

Offsets are theirs, too, but for one thing: where accents are stripped, a token has those behind its
last letter too, so that a span that ends there is the whole word.

Per batch: decode to code points, look up the table of `normalization`, encode, FastWordpiece. What
is rare (characters that are dropped or become several, words over the length limit, special tokens
written out in the text) is behind `tf.cond`, so that plain text does not pay for it.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from trainer.text.added_tokens import RAW_SPACES, Spans, around_added, make_added
from trainer.text.characters import CodePointMap
from trainer.text.flat_arrays import fill_at, indices_of, ranges, to_strings
from trainer.text.folder import WordPieceFiles
from trainer.text.long_words import long_words
from trainer.text.normalization import (
    UNKNOWN_LETTER,
    Alphabet,
    CodePointTable,
    make_alphabet,
    make_table,
)
from trainer.text.tokenizer import Template, Tokenizer
from trainer.text.wordpiece_decoding import WordPieceDecoder
from trainer.text.wordpiece_offsets import to_source

_SUFFIX = "##"
_UNKNOWN = "[UNK]"
_NORMALIZED_SPACES = " *"
# blocks of spaces, ASCII marks and ideographs: what `normalization` calls isolated
_BOUNDARIES = (
    (0, 48),
    (58, 65),
    (91, 97),
    (123, 128),
    (0x3400, 0xE000),
    (0x20000, 0x30000),
)


class _Normalized(NamedTuple):
    """Normalised, renamed texts.

    Attributes:
        codes: (M,) int32, the characters of all texts.
        splits: (B + 1,) int64, where each text's begin.
        sources: (M,) int32, the original character that each was made from; empty without offsets.
    """

    codes: tf.Tensor
    splits: tf.Tensor
    sources: tf.Tensor


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer."""

    def __init__(self, files: WordPieceFiles) -> None:
        """Builds the constants of the graph, in about half a second."""
        super().__init__(name="wordpiece")
        ids = {token: id for id, token in enumerate(files.vocabulary)}
        self.vocabulary = list(files.vocabulary)
        self.pad_id = ids[files.special["pad_token"]]
        self.unk_id = ids[files.special["unk_token"]]
        self.mask_id = ids.get(files.special["mask_token"])
        cls_id = ids[files.special["cls_token"]]
        sep_id = ids[files.special["sep_token"]]
        self.eos_id = sep_id
        self.template = Template((cls_id,), (sep_id,), (sep_id,), segments=True)
        self._word_limit = files.word_limit
        self._normalize_text = files.normalization.normalize

        alphabet = _alphabet(files)
        table = make_table(alphabet, files.normalization)
        raw = []
        normalized = []
        for token in files.added_tokens:
            if token.normalized:
                normalized.append((token, table.rename(token.content)))
            else:
                raw.append((token, token.content))
        self._added = make_added(raw, RAW_SPACES)
        self._normalized_added = make_added(normalized, _NORMALIZED_SPACES)
        piece_ids = _rename_pieces(files, alphabet, self.unk_id)
        # Constants live on the CPU, where the string ops are, also in a process that has a GPU.
        with tf.device("CPU:0"):
            silent = {self.pad_id, cls_id, sep_id, self.mask_id}
            self._decoder = WordPieceDecoder(files.vocabulary, files.continuing_prefix, silent)
            self._take_constants(files, table, piece_ids)
        built = [
            list(piece_ids),
            list(piece_ids.values()),
            self._added,
            self._normalized_added,
        ]
        self.fingerprint = _fingerprint(files, table, built)

    def _take_constants(
        self, files: WordPieceFiles, table: CodePointTable, piece_ids: dict[str, int]
    ) -> None:
        """Those that splitting a text needs.

        Args:
            files: the tokenizer.
            table: from code points to renamed characters.
            piece_ids: the id of each renamed piece.
        """
        begins_word = []
        for piece in files.vocabulary:
            goes_on = piece.startswith(files.continuing_prefix)
            begins_word.append(0 if goes_on else 1)
        ids = list(piece_ids.values())
        self._entries = CodePointMap(table.pages, table.entries)
        self._sequences = tf.constant(table.sequences)
        self._piece_ids = tf.constant(ids, tf.int32)
        self._begins_word = tf.constant(begins_word)
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            list(piece_ids),
            suffix_indicator=_SUFFIX,
            unknown_token=_UNKNOWN,
            max_bytes_per_word=4 * max(files.word_limit, 1),
        )

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes, with the space before it; special ones nothing."""
        return self._decoder.token_bytes

    def long_words(self, text: str) -> int:
        """How many words of a text are longer than max_input_chars_per_word, and so [UNK]."""
        return long_words(text, self._word_limit, self._normalize_text)

    def decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The texts of rows of tokens.

        Words are parted by spaces, but not in Chinese and not before punctuation.

        Args:
            ids: (B, None) int32.
        Returns:
            (B,) string.
        """
        with tf.device("CPU:0"):
            return self._decoder.decode(ids)

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        """Tokenizes texts without raw added tokens."""
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        normalized = self._normalize(characters, with_offsets=with_offsets)
        splits = normalized.splits
        codes = self._replace_long_words(normalized.codes, splits)
        encoded = to_strings(codes, splits)
        spans = around_added(
            encoded,
            self._normalized_added,
            "BYTE",
            self._split_words,
            with_offsets=with_offsets,
            clean=True,
        )
        if not with_offsets:
            return spans
        return to_source(spans, codes, splits, normalized.sources, characters)

    def _normalize(self, characters: tf.RaggedTensor, *, with_offsets: bool) -> _Normalized:
        """Looks up every code point of (B, None)."""
        entries = self._entries.look_up(characters.values)
        any_changes = tf.reduce_any(entries < 0)

        def keep() -> _Normalized:
            count = tf.size(entries) if with_offsets else 0
            return _Normalized(entries, characters.row_splits, tf.range(count))

        def expand() -> _Normalized:
            codes, code_splits, sources = _expand(entries, self._sequences)
            splits = tf.gather(code_splits, characters.row_splits)
            if not with_offsets:
                sources = sources[:0]
            return _Normalized(codes, splits, sources)

        return tf.cond(any_changes, expand, keep)

    def _replace_long_words(self, codes: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
        """Makes words over the limit unknown: it is in characters, FastWordpiece's is in bytes.

        Args:
            codes: (M,) int32, renamed characters.
            splits: (B + 1,) int64, where each text's begin.
        Returns:
            (M,) int32.
        """
        count = tf.size(codes, out_type=tf.int64)
        boundaries = indices_of(_is_boundary(codes))
        boundary_before = tf.concat([[-1], boundaries], 0)
        boundary_behind = tf.concat([boundaries, [count]], 0)
        # too long by a word at most, where two texts meet
        lengths = boundary_behind - boundary_before - 1
        any_long = tf.reduce_any(lengths > self._word_limit)

        def replace() -> tf.Tensor:
            cuts = tf.concat([boundaries, boundaries + 1, splits], 0)
            cuts = tf.sort(cuts)
            starts = cuts[:-1]
            limits = cuts[1:]
            is_long = limits - starts > self._word_limit
            in_long_words = ranges(
                tf.boolean_mask(starts, is_long),
                tf.boolean_mask(limits, is_long),
            )
            return fill_at(codes, in_long_words.values, UNKNOWN_LETTER)

        return tf.cond(any_long, replace, lambda: codes)

    def _split_words(self, encoded: tf.Tensor) -> Spans:
        """Words of normalised, renamed strings into pieces; starts and ends in bytes."""
        numbers, starts, ends = self._wordpiece.tokenize_with_offsets(encoded)
        ids = tf.gather(self._piece_ids, numbers.values)
        return Spans(
            ids=ids,
            splits=numbers.row_splits,
            starts=tf.cast(starts.values, tf.int32),
            ends=tf.cast(ends.values, tf.int32),
            words=tf.gather(self._begins_word, ids),
        )


def _fingerprint(files: WordPieceFiles, table: CodePointTable, built: list[object]) -> str:
    """The table is part of it: another release of `tokenizers` may know other characters.

    Args:
        files: the tokenizer.
        table: from code points to renamed characters.
        built: what else the graph is made of.
    """
    facts = [built, files.vocabulary, files.special, files.word_limit]
    content = json.dumps(facts).encode()
    digest = hashlib.sha256(content)
    for array in (table.pages, table.entries, table.sequences):
        digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


def _alphabet(files: WordPieceFiles) -> Alphabet:
    """The characters of all pieces and of the added tokens that are looked for in words."""
    characters = set("".join(files.pieces))
    for token in files.added_tokens:
        if token.normalized:
            characters.update(files.normalization.normalize(token.content))
    return make_alphabet(characters, files.normalization)


def _rename_pieces(files: WordPieceFiles, alphabet: Alphabet, unk_id: int) -> dict[str, int]:
    """The pieces that a text can reach, renamed, for FastWordpiece; and the id of each.

    Args:
        files: the tokenizer.
        alphabet: new names of characters.
        unk_id: id of what cannot be split.
    """
    ids = {_UNKNOWN: unk_id}
    for piece, id in files.pieces.items():
        word = alphabet.word(piece)
        if word is not None:
            ids[word] = id
        if piece in alphabet.isolated:
            ids[alphabet.isolated[piece]] = id
        if piece.startswith(files.continuing_prefix):
            suffix = alphabet.word(piece.removeprefix(files.continuing_prefix))
            if suffix is not None:
                ids[_SUFFIX + suffix] = id
    return ids


def _expand(entries: tf.Tensor, sequences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Characters that become several, or none.

    Args:
        entries: (N,) int32, of `CodePointTable`.
        sequences: its sequences.
    Returns:
        (M,) int32, the renamed characters; (N + 1,) int64, where those of each entry begin; and
        (M,) int32, the number of the entry that each was made from.
    """
    lengths = tf.where(entries < 0, ~entries & 7, 1)
    # One range op gives both the source (v >> 3) and the place within it (v & 7).
    numbers = 8 * tf.range(tf.size(entries))
    expanded = ranges(numbers, numbers + lengths)
    sources = tf.bitwise.right_shift(expanded.values, 3)
    within = expanded.values & 7
    entry = tf.gather(entries, sources)
    is_packed = entry < 0
    start = tf.bitwise.right_shift(~entry, 3)
    place = tf.where(is_packed, start + within, 0)
    unpacked = tf.gather(sequences, place)
    codes = tf.where(is_packed, unpacked, entry)
    return codes, expanded.row_splits, sources


def _is_boundary(codes: tf.Tensor) -> tf.Tensor:
    """Which renamed characters are spaces, punctuation or ideographs; (M,) int32 -> (M,) bool."""
    is_boundary = tf.zeros_like(codes, tf.bool)
    for start, stop in _BOUNDARIES:
        in_block = (codes >= start) & (codes < stop)
        is_boundary |= in_block
    return is_boundary
