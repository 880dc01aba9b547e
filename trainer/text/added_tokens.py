"""Added tokens, such as [MASK] written out in a text.

They are found in the strings, in the graph, before anything else splits them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import tensorflow as tf

from trainer.text.flat_arrays import make_ragged
from trainer.text.folder import AddedToken

_MARK = b"\xff"  # cannot occur in UTF-8
# whitespace to Rust
RAW_SPACES = (
    r"[\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]*"
)


class Tokens(NamedTuple):
    """The tokens of a batch of texts.

    Attributes:
        ids: (B, None) int32.
        starts, ends: (B, None) int32; token = text[start:end] in Unicode characters of the original
            text.
        words: (B, None) int32, 1 where the token begins a word, a punctuation mark or an ideograph,
            0 where it goes on with one, -1 where it is white space.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    words: tf.RaggedTensor


class Spans(NamedTuple):
    """The same, flat: (T,) each, and `splits`, (B + 1,) int64.

    Starts and ends count from each string's start, in a unit that the maker says.
    """

    ids: tf.Tensor
    splits: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    words: tf.Tensor

    @classmethod
    def without_places(cls, ids: tf.Tensor, splits: tf.Tensor) -> Spans:
        """Tokens of which only the ids are asked for."""
        nothing = ids[:0]
        return cls(ids, splits, nothing, nothing, nothing)

    def rows(self) -> tf.Tensor:
        """(T,) int64, the text that each token is of."""
        return make_ragged(self.ids, self.splits).value_rowids()

    def ragged(self) -> Tokens:
        """As a row a text."""
        return Tokens(
            make_ragged(self.ids, self.splits),
            make_ragged(self.starts, self.splits),
            make_ragged(self.ends, self.splits),
            make_ragged(self.words, self.splits),
        )


Tokenize = Callable[[tf.Tensor], Spans]  # (B,) string -> their tokens


class Added(NamedTuple):
    """How added tokens are found.

    Attributes:
        pattern: matches any of them.
        spaces: matches the white space that some take in; "" where none does.
        contents, ids: of each token.
    """

    pattern: str
    spaces: str
    contents: tuple[str, ...]
    ids: tuple[int, ...]


def make_added(tokens: Iterable[tuple[AddedToken, str]], spaces: str) -> Added | None:
    """What finds added tokens; None where there are none.

    Args:
        tokens: each with its content, as it is written where it is looked for.
        spaces: pattern of the white space that those with lstrip or rstrip take in.
    """
    # Where several match, the longest wins; of equal ones the last given, as in Hugging Face.
    longest_first = sorted(tokens, key=lambda pair: -len(pair[1]))
    found = [(token, content) for token, content in longest_first if content]
    if not found:
        return None
    ids = {content: token.id for token, content in found}
    any_strips = any(token.lstrip or token.rstrip for token, _ in found)
    return Added(
        pattern="|".join(_pattern(token, content, spaces) for token, content in found),
        spaces=spaces if any_strips else "",
        contents=tuple(ids),
        ids=tuple(ids.values()),
    )


def _pattern(token: AddedToken, content: str, spaces: str) -> str:
    before = spaces if token.lstrip else ""
    behind = spaces if token.rstrip else ""
    return before + re.escape(content) + behind


def around_added(
    texts: tf.Tensor, added: Added | None, unit: str, tokenize: Tokenize, *, clean: bool = False
) -> Spans:
    """Tokenizes texts whose added tokens stay whole.

    Args:
        texts: (B,) string.
        added: what finds the added tokens, or None.
        unit: of the offsets that `tokenize` returns: UTF8_CHAR or BYTE.
        tokenize: for strings without added tokens.
        clean: the texts are known to be valid UTF-8.
    Returns:
        The tokens of the texts; offsets in `unit`.
    """
    if added is None:
        return tokenize(texts)
    marked = _mark(texts, added)

    def split() -> Spans:
        if clean:
            return _split(marked, added, unit, tokenize)
        # Bytes that could be taken for the mark are only now replaced: rarely needed, and offsets
        # stay the same.
        valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        return _split(_mark(valid, added), added, unit, tokenize)

    any_marked = tf.reduce_any(tf.strings.length(marked) > tf.strings.length(texts))
    return tf.cond(any_marked, split, lambda: tokenize(texts))


def _mark(texts: tf.Tensor, added: Added) -> tf.Tensor:
    return tf.strings.regex_replace(texts, added.pattern, _MARK + rb"\0" + _MARK)


def _split(marked: tf.Tensor, added: Added, unit: str, tokenize: Tokenize) -> Spans:
    """Tokenizes what stands between the marks, and puts the added tokens back in between."""
    parts = tf.strings.split(marked, _MARK)  # (B, P): plain, added, plain, …
    is_added = _place_in_row(parts) % 2 == 1
    plain = tokenize(tf.where(is_added, "", parts.values))
    added_parts = tf.boolean_mask(parts.values, is_added)
    added_ids, number = _identify(added_parts, added)

    lengths = tf.strings.length(parts.values, unit=unit)
    added_lengths = tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(lengths, is_added), tf.cast(is_added, tf.int64), validate=False
    )

    def merge(of_plain: tf.Tensor, of_added: tf.Tensor) -> tf.RaggedTensor:
        rows = [make_ragged(of_plain, plain.splits), added_lengths.with_values(of_added)]
        return tf.concat(rows, 1)

    ids = merge(plain.ids, added_ids)
    shift = tf.gather(_length_before(lengths, parts), ids.value_rowids())
    starts = merge(plain.starts, tf.zeros_like(added_lengths.values))
    ends = merge(plain.ends, added_lengths.values)
    words = merge(plain.words, tf.ones_like(number, tf.int32))
    return Spans(
        ids=ids.values,
        splits=tf.gather(ids.row_splits, parts.row_splits),
        starts=starts.values + shift,
        ends=ends.values + shift,
        words=words.values,
    )


def _place_in_row(parts: tf.RaggedTensor) -> tf.Tensor:
    """(B, P) -> (parts,) int64, how many parts of its text stand before each."""
    row_start = tf.gather(parts.row_splits, parts.value_rowids())
    return tf.range(tf.size(parts.values, out_type=tf.int64)) - row_start


def _length_before(lengths: tf.Tensor, parts: tf.RaggedTensor) -> tf.Tensor:
    """(parts,) int32, the length of what stands before each part in its text."""
    before = tf.cumsum(lengths, exclusive=True)
    row_start = tf.gather(tf.concat([before, [0]], 0), parts.row_splits[:-1])
    return before - tf.gather(row_start, parts.value_rowids())


def _identify(added_parts: tf.Tensor, added: Added) -> tuple[tf.Tensor, tf.Tensor]:
    """The id of each added token, and its number among `added.contents`; (n,) each."""
    contents = added_parts
    if added.spaces:
        contents = tf.strings.regex_replace(contents, f"^{added.spaces}|{added.spaces}$", "")
    number = tf.argmax(contents[:, None] == tf.constant(added.contents), -1)
    return tf.gather(tf.constant(added.ids, tf.int32), number), number
