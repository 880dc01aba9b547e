"""Byte-level BPE in the TensorFlow graph, with the ids of GPT-2's and RoBERTa's tokenizers.

Per batch: decode to code points, look up each one's class, cut the texts where GPT-2's pattern
does, and ask a table
of the vocabulary for each piece: most words are one token. Only the others, each once, go through
the merges: in rounds, in each of which every piece merges its pair of lowest rank, all pieces at
once.

A piece is also cut between two characters whose bytes stand side by side in no token: no merge can
cross such a place. That keeps Chinese, where a whole clause is one word to GPT-2's pattern, as
short as English.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import numpy as np
import tensorflow as tf
from tokenizers import Regex, normalizers

from trainer.text.added_tokens import RAW_SPACES, Spans, make_added
from trainer.text.backend import Backend
from trainer.text.characters import IDEOGRAPHS, every_other, utf8_widths
from trainer.text.integer_table import IntegerTable, pair_key, pair_keys
from trainer.text.piece_table import PieceTable, whole_pieces
from trainer.text.tokenizer import Tokenizer

# classes of code points to GPT-2's pattern; _SPACE is U+0020
_LETTER, _NUMBER, _OTHER, _WHITE, _SPACE = range(5)
_IDEOGRAPH = 5  # a letter that is a word of its own to taggers
_ASSIGNED = 0x34000  # what Unicode has beyond is marks, private use, or nothing yet: other
_APOSTROPHE = ord("'")
_ONE, _TWO = "stmd", ("re", "ve", "ll")  # endings that an apostrophe begins
_NEVER = np.int32(2**31 - 1)  # the rank of a pair that is not merged


class ByteBPETokenizer(Tokenizer):
    """GPT-2's and RoBERTa's tokenizer."""

    def __init__(self, backend: Backend) -> None:
        """Builds the constants of the graph.

        Raises:
            WeightsError: the tokenizer is a BPE of another kind.
        """
        super().__init__(name="byte_bpe")
        model, prefix = _check(backend)
        self.template = backend.template
        self.mask_id = backend.mask_id
        self.eos_id = backend.eos_id
        self.has_pad = backend.pad_id is not None
        self.pad_id = backend.pad_id or 0
        self.unk_id = -1
        self.vocabulary = backend.vocabulary(model["vocab"])
        self._prefix_space = prefix
        merges = [
            tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair)
            for pair in model["merges"]
        ]
        text = _token_bytes(backend, model["vocab"], len(self.vocabulary))
        self._added = make_added(
            [(token, token.content) for token in backend.added_tokens], RAW_SPACES
        )
        ids = model["vocab"]
        pairs = np.array([(ids[left], ids[right]) for left, right in merges], np.int64).reshape(
            -1, 2
        )
        classes = _classes()
        with tf.device("CPU:0"):
            self._classes = tf.constant(classes)
            self._joined = tf.constant(_joined_bytes(text))
            self._byte_ids = tf.constant(_byte_ids(backend, ids))
            self._ranks = IntegerTable(pair_key(pairs[:, 0], pairs[:, 1]))
            self._merged = tf.constant([ids[left + right] for left, right in merges], tf.int32)
            self._texts = tf.constant(text)
            self._special = tf.constant([id in backend.special for id in range(len(text))])
            self._widths = tf.constant([len(part) for part in text], tf.int32)
            self._leading = tf.constant(
                [len(part) - len(part.lstrip(b" ")) for part in text], tf.int32
            )
            self._trailing = tf.constant(
                [len(part) - len(part.rstrip(b" ")) for part in text], tf.int32
            )
            candidates = [id for id in sorted(ids.values()) if text[id] and _is_text(text[id])]
            make_table = (
                PieceTable
                if model.get("ignore_merges")
                else functools.partial(whole_pieces, split=self._merge)
            )
            self._table = make_table([text[id] for id in candidates], candidates)
        facts = [
            self.vocabulary,
            merges,
            prefix,
            self._added,
            self.template,
            hashlib.sha256(classes.tobytes()).hexdigest(),
        ]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes; special ones nothing. Made when asked for: few runs do."""
        return [
            b"" if special else part
            for part, special in zip(
                self._texts.numpy().tolist(), self._special.numpy().tolist(), strict=True
            )
        ]

    @property
    def words(self) -> list[str]:
        """How a token is shown: as it is written, the space before it included."""
        return [
            part.decode("utf-8", "replace") or token
            for part, token in zip(self.token_bytes, self.vocabulary, strict=True)
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
            # a model may have embeddings to spare
            ids = tf.ragged.boolean_mask(ids, (ids >= 0) & (ids < tf.size(self._texts)))
            texts = tf.gather(self._texts, ids.values)
            if not special:
                texts = tf.where(tf.gather(self._special, ids.values), "", texts)
            return tf.strings.unicode_transcode(
                tf.strings.reduce_join(ids.with_values(texts), axis=1), "UTF-8", "UTF-8"
            )

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        if self._prefix_space:
            bare = (tf.strings.length(texts) > 0) & (tf.strings.substr(texts, 0, 1) != b" ")
            texts = tf.where(bare, tf.strings.join([" ", texts]), texts)
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        codes = characters.values
        rows = characters.row_splits
        kinds = tf.gather(self._classes, tf.minimum(codes, _ASSIGNED))
        first = tf.cast(
            tf.tensor_scatter_nd_update(
                tf.zeros([tf.size(codes) + 1], tf.int32),
                rows[:, None],
                tf.ones_like(rows, tf.int32),
            ),
            tf.bool,
        )
        word = _word_starts(
            codes, tf.where(kinds == _IDEOGRAPH, tf.constant(_LETTER, tf.int8), kinds), first
        )
        cut = word | self._cuts(codes)
        starts = tf.reshape(tf.where(cut), [-1])
        splits = tf.concat([starts, [tf.size(codes, tf.int64)]], 0)
        pieces = tf.strings.unicode_encode(
            tf.RaggedTensor.from_row_splits(codes, splits, validate=False), "UTF-8"
        )
        ids, piece_splits = self._table.tokens(pieces, self._merge)
        # of characters, how many pieces begin before
        counted = tf.concat([[0], tf.cumsum(tf.cast(cut, tf.int64))], 0)
        token_splits = tf.gather(piece_splits, tf.gather(counted, rows))
        if not with_offsets:
            return Spans(ids, token_splits, ids[:0], ids[:0], ids[:0])
        return self._place(
            ids, token_splits, codes, kinds, rows, word, bare if self._prefix_space else None
        )

    def _cuts(self, codes: tf.Tensor) -> tf.Tensor:
        """Where no merge can join a character with the one before."""
        wide = codes >= 0x80
        places = tf.reshape(tf.where(wide[1:] | wide[:-1]), [-1]) + 1

        def cuts() -> tf.Tensor:
            before = tf.gather(codes, places - 1)
            behind = tf.gather(codes, places)
            last = tf.where(
                before < 0x80,
                before,
                tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(before, 0x3F), 0x80),
            )
            lead = tf.where(
                behind < 0x10000,
                tf.bitwise.right_shift(behind, 12) + 0xE0,
                tf.bitwise.right_shift(behind, 18) + 0xF0,
            )
            lead = tf.where(
                behind < 0x80,
                behind,
                tf.where(behind < 0x800, tf.bitwise.right_shift(behind, 6) + 0xC0, lead),
            )
            return tf.tensor_scatter_nd_update(
                tf.zeros_like(wide), places[:, None], ~tf.gather(self._joined, last * 256 + lead)
            )

        return tf.cond(tf.size(places) > 0, cuts, lambda: tf.zeros_like(wide))

    def _merge(self, pieces: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Byte-pair encoding of each of (U,) strings, none empty: ids, and (U + 1,) int64 where
        those of each begin.

        A symbol is known by the place of its first byte. Each round merges, in every piece, all
        occurrences of the pair that was learnt first; pieces with nothing left to merge leave the
        loop.
        """
        count = tf.size(pieces)
        lengths = tf.strings.length(pieces)
        symbols = tf.gather(
            self._byte_ids,
            tf.cast(tf.io.decode_raw(tf.strings.reduce_join(pieces), tf.uint8), tf.int32),
        )
        of = tf.repeat(tf.range(count), lengths)
        place = tf.range(tf.size(symbols))

        def ranks(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
            rank = self._ranks.find(pair_keys(left, right))
            return tf.where(rank >= 0, rank, _NEVER)

        def round_(
            out: tf.Tensor, symbols: tf.Tensor, rank: tf.Tensor, of: tf.Tensor, place: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            """`rank` is of the pair that a symbol begins."""
            least = tf.gather(tf.math.segment_min(rank, of), of)
            active = least < _NEVER
            chosen = every_other((rank == least) & active)
            gone = tf.concat([[False], chosen[:-1]], 0)
            merged = tf.gather(self._merged, tf.boolean_mask(rank, chosen))
            out = tf.tensor_scatter_nd_update(out, tf.boolean_mask(place, chosen)[:, None], merged)
            out = tf.tensor_scatter_nd_update(
                out, tf.boolean_mask(place, gone)[:, None], tf.fill(tf.shape(merged), -1)
            )
            symbols = tf.tensor_scatter_nd_update(symbols, tf.where(chosen), merged)
            kept = tf.reshape(tf.where(active & ~gone), [-1])
            symbols, rank, of, place, chosen = (
                tf.gather(values, kept) for values in (symbols, rank, of, place, chosen)
            )
            # Only pairs with a new symbol have a new rank.
            last = tf.concat([of[1:] != of[:-1], [True]], 0)[: tf.size(of)]
            new = tf.reshape(
                tf.where(chosen | tf.concat([chosen[1:], [False]], 0)[: tf.size(of)]), [-1]
            )
            behind = tf.gather(symbols, tf.minimum(new + 1, tf.size(symbols, tf.int64) - 1))
            found = tf.where(tf.gather(last, new), _NEVER, ranks(tf.gather(symbols, new), behind))
            return out, symbols, tf.tensor_scatter_nd_update(rank, new[:, None], found), of, place

        last = tf.concat([of[1:] != of[:-1], [True]], 0)
        rank = tf.where(last, _NEVER, ranks(symbols, tf.roll(symbols, -1, 0)))
        shapes = (tf.TensorShape([None]),) * 5
        out, *_ = tf.while_loop(
            lambda out, symbols, *_: tf.size(symbols) > 0,
            round_,
            (symbols, symbols, rank, of, place),
            shape_invariants=shapes,
            parallel_iterations=1,
        )
        kept = tf.cast(out >= 0, tf.int64)
        before = tf.concat([[0], tf.cumsum(kept)], 0)
        return tf.boolean_mask(out, out >= 0), tf.gather(
            before, tf.concat([[0], tf.cumsum(lengths)], 0)
        )

    def _place(
        self,
        ids: tf.Tensor,
        token_splits: tf.Tensor,
        codes: tf.Tensor,
        kinds: tf.Tensor,
        rows: tf.Tensor,
        word: tf.Tensor,
        prefixed: tf.Tensor | None,
    ) -> Spans:
        """Finds the characters of each token: those that it has a byte of, spaces around them left
        out.
        """
        of_byte = tf.repeat(tf.range(tf.size(codes)), utf8_widths(codes))
        end_byte = tf.cumsum(tf.gather(self._widths, ids))
        start_byte = end_byte - tf.gather(self._widths, ids)
        first = tf.gather(of_byte, start_byte)
        last = tf.gather(of_byte, end_byte - 1) + 1
        whole = tf.concat(
            [[True], tf.gather(of_byte, start_byte[1:]) != tf.gather(of_byte, start_byte[1:] - 1)],
            0,
        )[: tf.size(ids)]
        before = tf.gather(kinds, tf.maximum(first - 1, 0))
        begins = whole & (
            tf.gather(word, first) | (before >= _WHITE) | (tf.gather(kinds, first) == _IDEOGRAPH)
        )
        kind = tf.gather(kinds, last - 1)
        # white space ends no other word
        words = tf.where((kind == _WHITE) | (kind == _SPACE), -1, tf.cast(begins, tf.int32))
        starts = tf.minimum(first + tf.gather(self._leading, ids), last)
        ends = tf.maximum(last - tf.gather(self._trailing, ids), starts)
        text = tf.RaggedTensor.from_row_splits(ids, token_splits, validate=False).value_rowids()
        origin = tf.cast(tf.gather(rows, text), tf.int32)
        if prefixed is not None:
            origin += tf.cast(tf.gather(prefixed, text), tf.int32)
        return Spans(
            ids, token_splits, tf.maximum(starts - origin, 0), tf.maximum(ends - origin, 0), words
        )


def _word_starts(codes: tf.Tensor, kinds: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    r"""Where the pattern 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    begins a match.

    Args:
        codes: (M,) int32, the characters of all texts.
        kinds: (M,) int8, their classes.
        first: (M + 1,) bool, where a text begins, and the end.
    Returns:
        (M,) bool.
    """
    count = tf.size(codes)
    before = tf.pad(kinds, [[1, 0]], constant_values=_OTHER)[:count]
    behind = tf.pad(kinds[1:], [[0, 1]], constant_values=_SPACE)[:count]
    white = kinds >= _WHITE
    # A space goes with what follows it; other white space before a word stands alone, and so does
    # all before that last one.
    starts = tf.where(
        white,
        (before < _WHITE) | ((behind < _WHITE) & ~first[1:]),
        (before == _WHITE) | ((before < _WHITE) & (before != kinds)),
    )
    starts |= first[:-1]
    opens = (codes == _APOSTROPHE) & (first[:-1] | ((before != _OTHER) & (before != _SPACE)))

    def with_endings() -> tf.Tensor:
        places = tf.reshape(tf.where(opens), [-1])
        padded = tf.pad(codes, [[0, 3]])
        ends = tf.pad(first, [[0, 3]], constant_values=True)
        one = tf.gather(padded, places + 1)
        two = tf.gather(padded, places + 2)
        near = ~tf.gather(ends, places + 1)
        far = ~tf.gather(ends, places + 1) & ~tf.gather(ends, places + 2)
        letter, (left, right) = (
            map(ord, _ONE),
            (map(ord, letters) for letters in zip(*_TWO, strict=True)),
        )
        short = near & tf.reduce_any(one[:, None] == list(letter), 1)
        long = far & tf.reduce_any((one[:, None] == list(left)) & (two[:, None] == list(right)), 1)
        matched = short | long
        inside = tf.boolean_mask(places + 1, matched)
        end = tf.boolean_mask(places + tf.where(long, tf.constant(3, tf.int64), 2), matched)
        marked = tf.tensor_scatter_nd_update(
            tf.pad(starts, [[0, 3]]), inside[:, None], tf.zeros_like(inside, tf.bool)
        )
        return tf.tensor_scatter_nd_update(marked, end[:, None], tf.ones_like(end, tf.bool))[:count]

    return tf.cond(tf.reduce_any(opens), with_endings, lambda: starts)


@functools.cache
def _classes() -> np.ndarray:
    """(0x34001,) int8: the class of each code point, as the regular expressions of `tokenizers` see
    it; the last is that of all beyond.
    """
    asked = [chr(c) for c in range(_ASSIGNED) if not 0xD800 <= c < 0xE000]
    text = "".join(asked)
    classes = np.full(_ASSIGNED + 1, _OTHER, np.int8)
    for pattern, kind in ((r"\p{L}", _LETTER), (r"\p{N}", _NUMBER), (r"\s", _WHITE)):
        left = normalizers.Replace(Regex(pattern), "").normalize_str(text)
        classes[[ord(character) for character in set(asked).difference(left)]] = kind
    classes[ord(" ")] = _SPACE
    for start, stop in IDEOGRAPHS:
        part = classes[start:stop]
        part[part == _LETTER] = _IDEOGRAPH
    return classes


@functools.cache
def _characters_of_bytes() -> dict[str, int]:
    """GPT-2's printable character for each byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {
        chr(256 + index): byte for index, byte in enumerate(hidden)
    }


def _token_bytes(backend: Backend, ids: dict[str, int], count: int) -> list[bytes]:
    """The bytes of each token; added ones are written as they are."""
    table = _characters_of_bytes()
    text = [b""] * count
    for token, id in ids.items():
        if all(character in table for character in token):
            text[id] = bytes(table[character] for character in token)
    for token in backend.added_tokens:
        text[token.id] = token.content.encode()
    return text


def _byte_ids(backend: Backend, ids: dict[str, int]) -> np.ndarray:
    table = _characters_of_bytes()
    missing = [character for character in table if character not in ids]
    backend.require(
        not missing,
        "vocabulary",
        "one with a token for each of the 256 bytes",
        f"none for {len(missing)}, such as {missing[:5]}",
    )
    return np.array(
        [ids[character] for character in sorted(table, key=table.__getitem__)], np.int32
    )


def _joined_bytes(text: list[bytes]) -> np.ndarray:
    """(65536,) bool: for two bytes, first * 256 + second, whether they stand side by side in a
    token.
    """
    joined = np.zeros(65536, bool)
    for part in text:
        values = np.frombuffer(part, np.uint8).astype(np.int32)
        joined[values[:-1] * 256 + values[1:]] = True
    return joined


def _is_text(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check(backend: Backend) -> tuple[dict[str, Any], bool]:
    """The model, and whether a space is put before each text."""
    content = backend.content
    model = backend.content["model"]
    backend.require(model["type"] == "BPE", "model", "BPE", model["type"])
    backend.require(
        content["normalizer"] is None,
        "normalizer",
        "none, for a byte-level BPE",
        content["normalizer"],
    )
    split = content["pre_tokenizer"] or {}
    backend.require(
        split.get("type") == "ByteLevel" and split.get("use_regex", True),
        "pre_tokenizer",
        "ByteLevel with GPT-2's pattern",
        split,
    )
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        backend.require(not model.get(key), f"model.{key}", "unset", model.get(key))
    return model, bool(split.get("add_prefix_space"))
