"""WordPiece in the TensorFlow graph, with the ids and offsets of Hugging Face's fast BERT tokenizers.

Per batch: decode to code points, look up the table of `normalization`, encode, FastWordpiece. What is rare (characters
that are dropped or become several, words over the length limit, special tokens written out in the text) is behind
`tf.cond`, so that plain text does not pay for it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable

import tensorflow as tf
import tensorflow_text as tf_text

from trainer.text.folder import AddedToken, WordPieceFiles
from trainer.text.normalization import PAGE_BITS, UNKNOWN_LETTER, Alphabet, CodePointTable, make_alphabet, make_table

_MARK = b"\xff"  # cannot occur in UTF-8
_SUFFIX = "##"
_UNKNOWN = "[UNK]"
_RAW_SPACES = r"[\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]*"  # whitespace to Rust
_NORMALIZED_SPACES = " *"

# Tokens of a batch of strings: values and row_splits of the ids, then starts and ends, counted from each string's start.
Spans = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


class WordPieceTokenizer(tf.Module):
    """Tokenizes raw strings; may be held by a tf.Module, called in a tf.function and exported in a SavedModel.

    Attributes:
        vocabulary: list of V str, the token of each id.
        pad_id, unk_id, cls_id, sep_id: int.
        mask_id: int, or None where the vocabulary has no mask token.
        fingerprint: str, sha256 of everything that determines ids and offsets.
    """

    def __init__(self, files: WordPieceFiles) -> None:
        """Builds the constants of the graph, in about half a second."""
        super().__init__(name="wordpiece")
        ids = {token: id for id, token in enumerate(files.vocabulary)}
        self.vocabulary = list(files.vocabulary)
        self.pad_id, self.unk_id = ids[files.special["pad_token"]], ids[files.special["unk_token"]]
        self.cls_id, self.sep_id = ids[files.special["cls_token"]], ids[files.special["sep_token"]]
        self.mask_id = ids.get(files.special["mask_token"])
        self._word_limit = files.word_limit
        normalized_added = [(token, files.normalization.normalize(token.content)) for token in files.added_tokens if token.normalized]
        alphabet = make_alphabet({*"".join(files.pieces), *"".join(text for _, text in normalized_added)}, files.normalization)
        table = make_table(alphabet, files.normalization)
        pieces, piece_ids = _rename_pieces(files, alphabet, self.unk_id)
        raw_added = [(token, token.content) for token in files.added_tokens if not token.normalized]
        self._raw_added = _make_added(raw_added, _RAW_SPACES)
        self._normalized_added = _make_added([(token, table.rename(token.content)) for token, _ in normalized_added], _NORMALIZED_SPACES)
        # Constants live on the CPU, where the string ops are, also in a process that has a GPU.
        with tf.device("CPU:0"):
            self._pages, self._entries = tf.constant(table.pages), tf.constant(table.entries)
            self._continues = tf.constant([piece.startswith(files.continuing_prefix) for piece in files.vocabulary])
            self._sequences, self._piece_ids = tf.constant(table.sequences), tf.constant(piece_ids, tf.int32)
            self._wordpiece = tf_text.FastWordpieceTokenizer(
                pieces, suffix_indicator=_SUFFIX, unknown_token=_UNKNOWN, max_bytes_per_word=4 * max(files.word_limit, 1)
            )
        self.fingerprint = _fingerprint(files, table, [pieces, piece_ids, self._raw_added, self._normalized_added])

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Splits each text into token ids, special tokens not added.

        Args:
            texts: (B,) string, UTF-8. Invalid bytes count as U+FFFD, as after Python's `decode(errors="replace")`.
        Returns:
            (B, None) int32.
        """
        ids, splits = self._graph_ids(texts)
        return tf.RaggedTensor.from_row_splits(ids, splits, validate=False)

    def tokenize_with_offsets(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """As `tokenize`, and where in the text each token stands.

        Args:
            texts: (B,) string.
        Returns:
            ids, starts, ends: each (B, None) int32; token = text[start:end] in Unicode characters of the original text.
        """
        ids, splits, starts, ends = self._graph_spans(texts)
        return tuple(tf.RaggedTensor.from_row_splits(values, splits, validate=False) for values in (ids, starts, ends))

    def begins_word(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """Whether each token begins a word or a punctuation mark, and does not go on with one.

        Args:
            ids: (B, None) int32, of `tokenize_with_offsets`.
        Returns:
            (B, None) bool.
        """
        with tf.device("CPU:0"):
            return ids.with_values(~tf.gather(self._continues, ids.values))

    # Apart from the public methods, which must hold the tokenizer: a tf.function of a method holds it weakly.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _graph_ids(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._tokenize(texts, with_offsets=False)[:2]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _graph_spans(self, texts: tf.Tensor) -> Spans:
        return self._tokenize(texts, with_offsets=True)

    def _tokenize(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        with tf.device("CPU:0"):
            plain = functools.partial(self._tokenize_plain, with_offsets=with_offsets)
            if not self._raw_added:
                return plain(texts)
            marked = _mark(texts, self._raw_added)

            def split() -> Spans:
                # Bytes that could be taken for the mark are only now replaced: rarely needed, and offsets stay the same.
                clean = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
                return _split_on_added(_mark(clean, self._raw_added), self._raw_added, "UTF8_CHAR", plain)

            return tf.cond(_any_marked(marked, texts), split, lambda: plain(texts))

    def _tokenize_plain(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        """Tokenizes texts without raw added tokens."""
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        codes, splits, sources = self._normalize(characters, with_offsets=with_offsets)
        codes = self._replace_long_words(codes, splits)
        encoded = tf.strings.unicode_encode(tf.RaggedTensor.from_row_splits(codes, splits, validate=False), "UTF-8")
        if not self._normalized_added:
            spans = self._split_words(encoded)
        else:
            marked = _mark(encoded, self._normalized_added)
            split = functools.partial(_split_on_added, marked, self._normalized_added, "BYTE", self._split_words)
            spans = tf.cond(_any_marked(marked, encoded), split, lambda: self._split_words(encoded))
        return _to_source(spans, codes, splits, sources, characters.row_splits) if with_offsets else spans

    def _normalize(self, characters: tf.RaggedTensor, *, with_offsets: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Looks up every code point.

        Returns:
            codes: (M,) int32, renamed characters of all texts; splits: (B + 1,) where each text's begin;
            sources: (M,) int32, the character each was made from (empty without offsets).
        """
        values = characters.flat_values
        pages = tf.gather(self._pages, tf.bitwise.right_shift(values, PAGE_BITS))
        low = tf.bitwise.bitwise_and(values, (1 << PAGE_BITS) - 1)
        entries = tf.gather(self._entries, tf.bitwise.bitwise_or(tf.bitwise.left_shift(pages, PAGE_BITS), low))
        count = tf.size(entries)

        def expand() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            packed = tf.bitwise.invert(entries)
            lengths = tf.where(entries < 0, tf.bitwise.bitwise_and(packed, 7), 1)
            numbers = 8 * tf.range(count)  # one range op gives both the source (v >> 3) and the place within it (v & 7)
            expanded = tf.ragged.range(numbers, numbers + lengths, row_splits_dtype=tf.int64)
            sources = tf.bitwise.right_shift(expanded.flat_values, 3)
            codes = tf.gather(entries, sources)
            within = tf.bitwise.bitwise_and(expanded.flat_values, 7)
            places = tf.where(codes < 0, tf.bitwise.right_shift(tf.bitwise.invert(codes), 3) + within, 0)
            codes = tf.where(codes < 0, tf.gather(self._sequences, places), codes)
            return codes, tf.gather(expanded.row_splits, characters.row_splits), sources if with_offsets else sources[:0]

        def keep() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return entries, characters.row_splits, tf.range(count if with_offsets else 0)

        return tf.cond(tf.reduce_any(entries < 0), expand, keep)

    def _replace_long_words(self, codes: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
        """Makes words over the limit unknown: Hugging Face counts characters, FastWordpiece bytes."""
        count = tf.size(codes, out_type=tf.int64)
        boundaries = tf.reshape(tf.where(_is_boundary(codes)), [-1])
        edges = tf.concat([[-1], boundaries, [count]], 0)
        longest = tf.reduce_max(edges[1:] - edges[:-1]) - 1  # too long by a word at most, where two texts meet

        def replace() -> tf.Tensor:
            cuts = tf.sort(tf.concat([boundaries, boundaries + 1, splits], 0))
            long = tf.reshape(tf.where(cuts[1:] - cuts[:-1] > self._word_limit), [-1])
            places = tf.ragged.range(tf.gather(cuts, long), tf.gather(cuts, long + 1)).flat_values
            return tf.tensor_scatter_nd_update(codes, places[:, None], tf.fill(tf.shape(places), UNKNOWN_LETTER))

        return tf.cond(longest > self._word_limit, replace, lambda: codes)

    def _split_words(self, encoded: tf.Tensor) -> Spans:
        """Words of normalised, renamed strings into pieces; starts and ends in bytes."""
        numbers, starts, ends = self._wordpiece.tokenize_with_offsets(encoded)
        ids = tf.gather(self._piece_ids, numbers.values)
        return ids, numbers.row_splits, tf.cast(starts.values, tf.int32), tf.cast(ends.values, tf.int32)


def _fingerprint(files: WordPieceFiles, table: CodePointTable, built: list) -> str:
    """The table is part of it: another release of `tokenizers` may know other characters."""
    digest = hashlib.sha256(json.dumps([built, files.vocabulary, files.special, files.word_limit]).encode())
    for array in (table.pages, table.entries, table.sequences):
        digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


def _rename_pieces(files: WordPieceFiles, alphabet: Alphabet, unk_id: int) -> tuple[list[str], list[int]]:
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


def _make_added(tokens: Iterable[tuple[AddedToken, str]], spaces: str) -> tuple[str, str, tuple[str, ...], tuple[int, ...]] | None:
    """Pattern that finds added tokens, pattern that strips what they took in, their contents and ids."""
    contents: dict[str, int] = {}
    patterns = []
    # Where several match, the longest wins; of equal ones the last given, as in Hugging Face.
    for token, content in sorted(tokens, key=lambda pair: -len(pair[1])):
        if content:
            contents[content] = token.id
            patterns.append((spaces if token.lstrip else "") + re.escape(content) + (spaces if token.rstrip else ""))
    strips = any(token.lstrip or token.rstrip for token, _ in tokens)
    return ("|".join(patterns), spaces if strips else "", tuple(contents), tuple(contents.values())) if contents else None


def _mark(texts: tf.Tensor, added: tuple) -> tf.Tensor:
    return tf.strings.regex_replace(texts, added[0], _MARK + rb"\0" + _MARK)


def _any_marked(marked: tf.Tensor, texts: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(tf.strings.length(marked) > tf.strings.length(texts))


def _split_on_added(marked: tf.Tensor, added: tuple, unit: str, tokenize: Callable[[tf.Tensor], Spans]) -> Spans:
    """Tokenizes what stands between the added tokens, and puts these back between the results.

    Args:
        marked: (B,) string, a mark before and after each added token.
        added: what `_make_added` returned.
        unit: of the offsets that `tokenize` returns: UTF8_CHAR or BYTE.
        tokenize: for strings without added tokens.
    """
    _, spaces, contents, content_ids = added
    split = tf.strings.split(marked, _MARK)  # (B, P): plain, added, plain, …
    pieces = split.flat_values
    place = tf.range(tf.size(pieces, out_type=tf.int64)) - tf.gather(split.row_splits, split.value_rowids())
    is_added = tf.equal(place % 2, 1)
    ids, splits, starts, ends = tokenize(tf.where(is_added, "", pieces))
    stripped = tf.strings.regex_replace(pieces, f"^{spaces}|{spaces}$", "") if spaces else pieces
    which = tf.argmax(tf.equal(tf.boolean_mask(stripped, is_added)[:, None], tf.constant(contents)), -1)
    lengths = tf.strings.length(pieces, unit=unit)
    whole = tf.RaggedTensor.from_row_lengths(tf.boolean_mask(lengths, is_added), tf.cast(is_added, tf.int64), validate=False)
    added_ids = whole.with_values(tf.gather(tf.constant(content_ids, tf.int32), which))
    before = tf.cumsum(lengths, exclusive=True)
    before -= tf.gather(tf.gather(tf.concat([before, [0]], 0), split.row_splits[:-1]), split.value_rowids())

    def merge(values: tf.Tensor, added_values: tf.RaggedTensor, *, shift: bool) -> tf.RaggedTensor:
        merged = tf.concat([tf.RaggedTensor.from_row_splits(values, splits, validate=False), added_values], 1)
        return merged.values + tf.gather(before, merged.value_rowids()) if shift else merged

    merged_ids = merge(ids, added_ids, shift=False)
    all_starts, all_ends = merge(starts, whole.with_values(tf.zeros_like(whole.values)), shift=True), merge(ends, whole, shift=True)
    return merged_ids.values, tf.gather(merged_ids.row_splits, split.row_splits), all_starts, all_ends


def _is_boundary(codes: tf.Tensor) -> tf.Tensor:
    """True for spaces, punctuation and ideographs among renamed characters: what `normalization` calls isolated."""
    ascii_marks = (codes < 48) | ((codes > 57) & (codes < 65)) | ((codes > 90) & (codes < 97)) | ((codes > 122) & (codes < 128))
    return ascii_marks | ((codes >= 0x3400) & (codes < 0xE000)) | ((codes >= 0x20000) & (codes < 0x30000))


def _to_source(spans: Spans, codes: tf.Tensor, splits: tf.Tensor, sources: tf.Tensor, source_splits: tf.Tensor) -> Spans:
    """Offsets in bytes of the normalised strings into characters of the original ones."""
    ids, token_splits, starts, ends = spans
    widths = 1 + sum(tf.cast(codes >= least, tf.int32) for least in (0x80, 0x800, 0x10000))
    numbers = 4 * tf.range(tf.size(codes))
    by_byte = tf.ragged.range(numbers, numbers + widths, row_splits_dtype=tf.int64)  # v >> 2: the code that has the byte
    source_of_byte = tf.gather(sources, tf.bitwise.right_shift(by_byte.flat_values, 2))
    rows = tf.RaggedTensor.from_row_splits(ids, token_splits, validate=False).value_rowids()
    first_byte = tf.cast(tf.gather(tf.gather(by_byte.row_splits, splits), rows), tf.int32)
    first_source = tf.cast(tf.gather(source_splits, rows), tf.int32)
    starts = tf.gather(source_of_byte, first_byte + starts) - first_source
    ends = tf.gather(source_of_byte, first_byte + ends - 1) + 1 - first_source
    return ids, token_splits, starts, ends
