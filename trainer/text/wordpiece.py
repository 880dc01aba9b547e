"""WordPiece in the TensorFlow graph, with the ids of Hugging Face's fast BERT tokenizers, and their
offsets but for one thing: where accents are stripped, a token has those behind its last letter too,
so that a span that ends there is the whole word.

Per batch: decode to code points, look up the table of `normalization`, encode, FastWordpiece. What
is rare (characters that are dropped or become several, words over the length limit, special tokens
written out in the text) is behind `tf.cond`, so that plain text does not pay for it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from trainer.text.added_tokens import RAW_SPACES, Spans, around_added, make_added
from trainer.text.characters import begins_row, look_up, utf8_widths
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

_SUFFIX = "##"
_UNKNOWN = "[UNK]"
_NORMALIZED_SPACES = " *"
_EAST_ASIAN = "\u2e80"  # from this character on scripts do not part words by spaces
# marks that no space stands before, or behind
_CLINGING, _OPENING = tuple(".,!?:;)]}%"), tuple("([{")


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer."""

    def __init__(self, files: WordPieceFiles) -> None:
        """Builds the constants of the graph, in about half a second."""
        super().__init__(name="wordpiece")
        ids = {token: id for id, token in enumerate(files.vocabulary)}
        self.vocabulary = list(files.vocabulary)
        self.pad_id, self.unk_id, cls, sep = (
            ids[files.special[f"{name}_token"]] for name in ("pad", "unk", "cls", "sep")
        )
        self.template = Template((cls,), (sep,), (sep,), segments=True)
        self.mask_id = ids.get(files.special["mask_token"])
        self.eos_id = sep
        written = [_written(piece, files.continuing_prefix) for piece in files.vocabulary]
        special = {self.pad_id, cls, sep, self.mask_id}
        self._word_limit = files.word_limit
        self._normalize_text = files.normalization.normalize
        normalized_added = [
            (token, files.normalization.normalize(token.content))
            for token in files.added_tokens
            if token.normalized
        ]
        alphabet = make_alphabet(
            {*"".join(files.pieces), *"".join(text for _, text in normalized_added)},
            files.normalization,
        )
        table = make_table(alphabet, files.normalization)
        pieces, piece_ids = _rename_pieces(files, alphabet, self.unk_id)
        raw_added = [(token, token.content) for token in files.added_tokens if not token.normalized]
        self._added = make_added(raw_added, RAW_SPACES)
        self._normalized_added = make_added(
            [(token, table.rename(token.content)) for token, _ in normalized_added],
            _NORMALIZED_SPACES,
        )
        # Constants live on the CPU, where the string ops are, also in a process that has a GPU.
        with tf.device("CPU:0"):
            self._pages = tf.constant(table.pages)
            self._entries = tf.constant(table.entries)
            self._texts = tf.constant(
                ["" if id in special else text for id, (text, *_) in enumerate(written)]
            )
            self._opens, self._closes = (
                tf.constant(column) for column in list(zip(*written, strict=True))[1:]
            )
            self._begins = tf.constant(
                [int(not piece.startswith(files.continuing_prefix)) for piece in files.vocabulary]
            )
            self._sequences = tf.constant(table.sequences)
            self._piece_ids = tf.constant(piece_ids, tf.int32)
            self._wordpiece = tf_text.FastWordpieceTokenizer(
                pieces,
                suffix_indicator=_SUFFIX,
                unknown_token=_UNKNOWN,
                max_bytes_per_word=4 * max(files.word_limit, 1),
            )
        self.fingerprint = _fingerprint(
            files, table, [pieces, piece_ids, self._added, self._normalized_added]
        )

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes, with the space before it; special ones nothing.

        Made when asked for: few runs do.
        """
        return [
            text and b" " * opens + text
            for text, opens in zip(
                self._texts.numpy().tolist(), self._opens.numpy().tolist(), strict=True
            )
        ]

    def long_words(self, text: str) -> int:
        """How many words of a text are longer than max_input_chars_per_word, and so [UNK]."""
        return long_words(text, self._word_limit, self._normalize_text)

    def decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The texts of rows of tokens, (B, None) int32 -> (B,) string: words parted by spaces, but
        not in Chinese and not before punctuation.
        """
        with tf.device("CPU:0"):
            ids = tf.ragged.boolean_mask(ids, (ids >= 0) & (ids < tf.size(self._texts)))
            ids = tf.ragged.boolean_mask(
                ids, ids.with_values(tf.gather(self._texts, ids.values) != "")
            )
            count = tf.size(ids.values, tf.int64)
            closes = tf.concat([[True], tf.gather(self._closes, ids.values)[:-1]], 0)[:count]
            spaced = (
                tf.gather(self._opens, ids.values) & ~closes & ~begins_row(ids.row_splits, count)
            )
            texts = tf.strings.join([tf.where(spaced, " ", ""), tf.gather(self._texts, ids.values)])
            return tf.strings.reduce_join(ids.with_values(texts), axis=1)

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        """Tokenizes texts without raw added tokens."""
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        codes, splits, sources = self._normalize(characters, with_offsets=with_offsets)
        codes = self._replace_long_words(codes, splits)
        encoded = tf.strings.unicode_encode(
            tf.RaggedTensor.from_row_splits(codes, splits, validate=False), "UTF-8"
        )
        spans = around_added(encoded, self._normalized_added, "BYTE", self._split_words, clean=True)
        return _to_source(spans, codes, splits, sources, characters) if with_offsets else spans

    def _normalize(
        self, characters: tf.RaggedTensor, *, with_offsets: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Looks up every code point.

        Returns:
            codes: (M,) int32, renamed characters of all texts; splits: (B + 1,) where each text's
                begin;
            sources: (M,) int32, the character each was made from (empty without offsets).
        """
        values = characters.flat_values
        entries = look_up(self._pages, self._entries, values)
        count = tf.size(entries)

        def expand() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            packed = tf.bitwise.invert(entries)
            lengths = tf.where(entries < 0, tf.bitwise.bitwise_and(packed, 7), 1)
            # one range op gives both the source (v >> 3) and the place within it (v & 7)
            numbers = 8 * tf.range(count)
            expanded = tf.ragged.range(numbers, numbers + lengths, row_splits_dtype=tf.int64)
            sources = tf.bitwise.right_shift(expanded.flat_values, 3)
            codes = tf.gather(entries, sources)
            within = tf.bitwise.bitwise_and(expanded.flat_values, 7)
            places = tf.where(
                codes < 0, tf.bitwise.right_shift(tf.bitwise.invert(codes), 3) + within, 0
            )
            codes = tf.where(codes < 0, tf.gather(self._sequences, places), codes)
            return (
                codes,
                tf.gather(expanded.row_splits, characters.row_splits),
                sources if with_offsets else sources[:0],
            )

        def keep() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return entries, characters.row_splits, tf.range(count if with_offsets else 0)

        return tf.cond(tf.reduce_any(entries < 0), expand, keep)

    def _replace_long_words(self, codes: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
        """Makes words over the limit unknown:
        Hugging Face counts characters, FastWordpiece bytes.
        """
        count = tf.size(codes, out_type=tf.int64)
        boundaries = tf.reshape(tf.where(_is_boundary(codes)), [-1])
        edges = tf.concat([[-1], boundaries, [count]], 0)
        # too long by a word at most, where two texts meet
        longest = tf.reduce_max(edges[1:] - edges[:-1]) - 1

        def replace() -> tf.Tensor:
            cuts = tf.sort(tf.concat([boundaries, boundaries + 1, splits], 0))
            long = tf.reshape(tf.where(cuts[1:] - cuts[:-1] > self._word_limit), [-1])
            places = tf.ragged.range(tf.gather(cuts, long), tf.gather(cuts, long + 1)).flat_values
            return tf.tensor_scatter_nd_update(
                codes, places[:, None], tf.fill(tf.shape(places), UNKNOWN_LETTER)
            )

        return tf.cond(longest > self._word_limit, replace, lambda: codes)

    def _split_words(self, encoded: tf.Tensor) -> Spans:
        """Words of normalised, renamed strings into pieces; starts and ends in bytes."""
        numbers, starts, ends = self._wordpiece.tokenize_with_offsets(encoded)
        ids = tf.gather(self._piece_ids, numbers.values)
        return Spans(
            ids,
            numbers.row_splits,
            tf.cast(starts.values, tf.int32),
            tf.cast(ends.values, tf.int32),
            tf.gather(self._begins, ids),
        )


def _fingerprint(files: WordPieceFiles, table: CodePointTable, built: list) -> str:
    """The table is part of it: another release of `tokenizers` may know other characters."""
    digest = hashlib.sha256(
        json.dumps([built, files.vocabulary, files.special, files.word_limit]).encode()
    )
    for array in (table.pages, table.entries, table.sequences):
        digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


def _written(piece: str, prefix: str) -> tuple[str, bool, bool]:
    """A piece's text, whether a space stands before it, and whether none stands behind it."""
    if piece.startswith(prefix):
        return piece.removeprefix(prefix), False, piece[-1:] >= _EAST_ASIAN
    return (
        piece,
        not (piece[:1] >= _EAST_ASIAN or piece[:1] in _CLINGING),
        piece[-1:] >= _EAST_ASIAN or piece in _OPENING,
    )


def _rename_pieces(
    files: WordPieceFiles, alphabet: Alphabet, unk_id: int
) -> tuple[list[str], list[int]]:
    """The pieces that a text can reach, renamed, for FastWordpiece; and the id of each."""
    pieces = {_UNKNOWN: unk_id}
    for piece, id in files.pieces.items():
        word = alphabet.word(piece)
        if word is not None:
            pieces[word] = id
        if piece in alphabet.isolated:
            pieces[alphabet.isolated[piece]] = id
        if piece.startswith(files.continuing_prefix):
            suffix = alphabet.word(piece[len(files.continuing_prefix) :])
            if suffix is not None:
                pieces[_SUFFIX + suffix] = id
    return list(pieces), list(pieces.values())


def _is_boundary(codes: tf.Tensor) -> tf.Tensor:
    """True for spaces, punctuation and ideographs among renamed characters: what `normalization`
    calls isolated.
    """
    ascii_marks = (
        (codes < 48)
        | ((codes > 57) & (codes < 65))
        | ((codes > 90) & (codes < 97))
        | ((codes > 122) & (codes < 128))
    )
    return (
        ascii_marks
        | ((codes >= 0x3400) & (codes < 0xE000))
        | ((codes >= 0x20000) & (codes < 0x30000))
    )


def _to_source(
    spans: Spans,
    codes: tf.Tensor,
    splits: tf.Tensor,
    sources: tf.Tensor,
    characters: tf.RaggedTensor,
) -> Spans:
    """Offsets in bytes of the normalised strings into characters of the original ones."""
    ids, token_splits, starts, ends, words = spans
    widths = utf8_widths(codes)
    numbers = 4 * tf.range(tf.size(codes))
    # v >> 2: the code that has the byte
    by_byte = tf.ragged.range(numbers, numbers + widths, row_splits_dtype=tf.int64)
    source_of_byte = tf.gather(sources, tf.bitwise.right_shift(by_byte.flat_values, 2))
    rows = tf.RaggedTensor.from_row_splits(ids, token_splits, validate=False).value_rowids()
    first_byte = tf.cast(tf.gather(tf.gather(by_byte.row_splits, splits), rows), tf.int32)
    first_source, last_source = (
        tf.cast(tf.gather(edges, rows), tf.int32)
        for edges in (characters.row_splits[:-1], characters.row_splits[1:])
    )
    starts = tf.gather(source_of_byte, first_byte + starts)
    ends = tf.gather(source_of_byte, first_byte + ends - 1) + 1
    borders = _mark_borders()

    def with_marks() -> tf.Tensor:
        marks = tf.searchsorted(borders, characters.values, side="right") % 2 > 0
        others = tf.cast(tf.reshape(tf.where(~marks), [-1]), tf.int32)
        before = tf.cumsum(tf.pad(tf.cast(~marks, tf.int32), [[1, 0]]))  # others before a character
        following = tf.gather(tf.concat([others, [tf.size(marks)]], 0), tf.gather(before, ends))
        opens = begins_row(token_splits, tf.size(ids, tf.int64))
        following = tf.minimum(
            following,
            tf.where(
                tf.concat([opens[1:], [True]], 0)[: tf.size(ids)],
                last_source,
                tf.roll(starts, -1, 0),
            ),
        )
        return tf.maximum(ends, following)

    ends = tf.cond(tf.reduce_any(characters.values >= borders[0]), with_marks, lambda: ends)
    return Spans(ids, token_splits, starts - first_source, ends - first_source, words)


@functools.cache
def _mark_borders() -> np.ndarray:
    """Where characters that stand on the one before (Mn) begin, end, begin again, …: (2 x ranges,)
    int32.
    """
    marks = [unicodedata.category(chr(code)) == "Mn" for code in range(0x1F000)] + [False]
    borders = np.flatnonzero(np.diff(marks)) + 1
    return np.concatenate([borders, [0xE0100, 0xE01F0]]).astype(np.int32)
