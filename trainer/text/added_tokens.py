"""Added tokens, such as [MASK] written out in a text.

They are found in the strings, in the graph, before anything else splits them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import tensorflow as tf

from trainer.text.flat_arrays import (
    count_before,
    make_ragged,
    places_of,
    ranges,
    rows_of,
    splits_of,
)
from trainer.text.folder import AddedToken

_MARK = b"\xff"  # cannot occur in UTF-8
_BETWEEN_MARKS = _MARK + rb"\0" + _MARK  # what matched
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
        return rows_of(self.splits)

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
    written = [(token, content) for token, content in tokens if content]
    if not written:
        return None
    # Where several match, the longest wins; of equal ones the last given, as in Hugging Face.
    written.sort(key=lambda pair: -len(pair[1]))
    patterns = []
    ids = {}
    any_strips = False
    for token, content in written:
        patterns.append(_pattern(token, content, spaces))
        ids[content] = token.id
        any_strips |= token.lstrip or token.rstrip
    return Added(
        pattern="|".join(patterns),
        spaces=spaces if any_strips else "",
        contents=tuple(ids),
        ids=tuple(ids.values()),
    )


def _pattern(token: AddedToken, content: str, spaces: str) -> str:
    before = spaces if token.lstrip else ""
    behind = spaces if token.rstrip else ""
    return before + re.escape(content) + behind


def around_added(
    texts: tf.Tensor,
    added: Added | None,
    unit: str,
    tokenize: Tokenize,
    *,
    with_offsets: bool,
    clean: bool = False,
) -> Spans:
    """Tokenizes texts whose added tokens stay whole.

    Args:
        texts: (B,) string.
        added: what finds the added tokens, or None.
        unit: of the offsets that `tokenize` returns: UTF8_CHAR or BYTE.
        tokenize: for strings without added tokens.
        with_offsets: False: starts, ends and words may have any length.
        clean: the texts are known to be valid UTF-8.
    Returns:
        The tokens of the texts; offsets in `unit`.
    """
    if added is None:
        return tokenize(texts)
    marked = _mark(texts, added)
    is_marked = tf.strings.length(marked) > tf.strings.length(texts)
    is_any_marked = tf.reduce_any(is_marked)

    def cut() -> _Parts:
        if clean:
            return _cut(marked)
        # Bytes that could be taken for the mark are only now replaced: rarely needed, and offsets
        # stay the same.
        valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        return _cut(_mark(valid, added))

    # `tokenize` stands in no branch, so that it is in the graph once.
    parts = _Parts(*tf.cond(is_any_marked, cut, lambda: _uncut(texts)))
    plain = tokenize(parts.plain)

    def joined() -> Spans:
        return _put_between(plain, parts, added, unit, with_offsets=with_offsets)

    return Spans(*tf.cond(is_any_marked, joined, lambda: plain))


class _Parts(NamedTuple):
    """Texts cut at their added tokens: plain, added, plain, ….

    Attributes:
        plain: (P,) string, "" where an added token stands.
        written: (P,) string, as they stand in the texts.
        is_added: (P,) bool.
        splits: (B + 1,) int64, where the parts of each text begin.
    """

    plain: tf.Tensor
    written: tf.Tensor
    is_added: tf.Tensor
    splits: tf.Tensor


def _mark(texts: tf.Tensor, added: Added) -> tf.Tensor:
    return tf.strings.regex_replace(texts, added.pattern, _BETWEEN_MARKS)


def _cut(marked: tf.Tensor) -> _Parts:
    parts = tf.strings.split(marked, _MARK)
    is_added = _place_in_row(parts) % 2 == 1
    plain = tf.where(is_added, "", parts.values)
    return _Parts(plain, parts.values, is_added, parts.row_splits)


def _uncut(texts: tf.Tensor) -> _Parts:
    """Texts without added tokens, each one part."""
    count = tf.size(texts, tf.int64)
    return _Parts(texts, texts, tf.zeros_like(texts, tf.bool), tf.range(count + 1))


def _put_between(
    plain: Spans, parts: _Parts, added: Added, unit: str, *, with_offsets: bool
) -> Spans:
    """The tokens of plain parts, and the added ones between them."""
    added_parts = tf.boolean_mask(parts.written, parts.is_added)
    added_ids = _ids_of_added(added_parts, added)
    # The added tokens stand behind all others: here each part has its range.
    count = tf.size(plain.ids, tf.int64)
    added_splits = count_before(parts.is_added) + count
    taken = ranges(
        tf.where(parts.is_added, added_splits[:-1], plain.splits[:-1]),
        tf.where(parts.is_added, added_splits[1:], plain.splits[1:]),
    )

    def merge(of_plain: tf.Tensor, of_added: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.concat([of_plain, of_added], 0), taken.values)

    ids = merge(plain.ids, added_ids)
    splits = tf.gather(taken.row_splits, parts.splits)
    if not with_offsets:
        return Spans.without_places(ids, splits)
    lengths = tf.strings.length(parts.written, unit=unit)
    part_starts = _length_before(lengths, parts.splits)
    shift = tf.gather(part_starts, rows_of(taken.row_splits))
    return Spans(
        ids=ids,
        splits=splits,
        starts=merge(plain.starts, tf.zeros_like(added_ids)) + shift,
        ends=merge(plain.ends, tf.boolean_mask(lengths, parts.is_added)) + shift,
        words=merge(plain.words, tf.ones_like(added_ids)),
    )


def _place_in_row(parts: tf.RaggedTensor) -> tf.Tensor:
    """(B, P) -> (parts,) int64, how many parts of its text stand before each."""
    row_start = tf.gather(parts.row_splits, rows_of(parts.row_splits))
    return places_of(parts.values) - row_start


def _length_before(lengths: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """(parts,) int32, the length of what stands before each part in its text.

    Args:
        lengths: (parts,) int32, of each.
        splits: (B + 1,) int64, where the parts of each text begin.
    """
    borders = splits_of(lengths)
    part_start = borders[:-1]
    row_borders = tf.gather(borders, splits)
    row_start = tf.gather(row_borders, rows_of(splits))
    return part_start - row_start


def _ids_of_added(added_parts: tf.Tensor, added: Added) -> tf.Tensor:
    """(n,) string, the added tokens as they stand in the texts -> (n,) int32."""
    contents = added_parts
    if added.spaces:
        spaces_around = f"^{added.spaces}|{added.spaces}$"
        contents = tf.strings.regex_replace(contents, spaces_around, "")
    ids = tf.constant(added.ids, tf.int32)
    is_content = contents[:, None] == added.contents  # (n, contents)
    number = tf.argmax(is_content, -1)
    return tf.gather(ids, number)
