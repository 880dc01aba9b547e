"""Added tokens, such as [MASK] written out in a text: found in the strings, in the graph, before
anything else splits them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import tensorflow as tf

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

    def ragged(self) -> Tokens:
        """As a row a text."""
        return Tokens(
            *(
                tf.RaggedTensor.from_row_splits(values, self.splits, validate=False)
                for values in (self.ids, self.starts, self.ends, self.words)
            )
        )


class Added(NamedTuple):
    """How added tokens are found: a pattern, one that strips what they took in, their contents and
    ids.
    """

    pattern: str
    spaces: str
    contents: tuple[str, ...]
    ids: tuple[int, ...]


def make_added(tokens: Iterable[tuple[AddedToken, str]], spaces: str) -> Added | None:
    """What finds the tokens of given contents; None where there are none.

    Args:
        spaces: pattern of the white space that those with lstrip or rstrip take in.
    """
    contents: dict[str, int] = {}
    patterns, strips = [], False
    # Where several match, the longest wins; of equal ones the last given, as in Hugging Face.
    for token, content in sorted(tokens, key=lambda pair: -len(pair[1])):
        if content:
            contents[content] = token.id
            patterns.append(
                (spaces if token.lstrip else "")
                + re.escape(content)
                + (spaces if token.rstrip else "")
            )
            strips |= token.lstrip or token.rstrip
    return (
        Added(
            "|".join(patterns), spaces if strips else "", tuple(contents), tuple(contents.values())
        )
        if contents
        else None
    )


def around_added(
    texts: tf.Tensor,
    added: Added | None,
    unit: str,
    tokenize: Callable[[tf.Tensor], Spans],
    *,
    clean: bool = False,
) -> Spans:
    """Tokenizes texts whose added tokens stay whole.

    Args:
        texts: (B,) string.
        unit: of the offsets that `tokenize` returns: UTF8_CHAR or BYTE.
        tokenize: for strings without added tokens.
        clean: the texts are known to be valid UTF-8.
    """
    if added is None:
        return tokenize(texts)
    marked = _mark(texts, added)

    def split() -> Spans:
        if clean:
            return _split(marked, added, unit, tokenize)
        # Bytes that could be taken for the mark are only now replaced: rarely needed, and offsets
        # stay the same.
        return _split(
            _mark(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), added),
            added,
            unit,
            tokenize,
        )

    any_marked = tf.reduce_any(tf.strings.length(marked) > tf.strings.length(texts))
    return tf.cond(any_marked, split, lambda: tokenize(texts))


def _mark(texts: tf.Tensor, added: Added) -> tf.Tensor:
    return tf.strings.regex_replace(texts, added.pattern, _MARK + rb"\0" + _MARK)


def _split(
    marked: tf.Tensor, added: Added, unit: str, tokenize: Callable[[tf.Tensor], Spans]
) -> Spans:
    """Tokenizes what stands between the marks,
    and puts the added tokens back between the results.
    """
    split = tf.strings.split(marked, _MARK)  # (B, P): plain, added, plain, …
    pieces = split.flat_values
    place = tf.range(tf.size(pieces, out_type=tf.int64)) - tf.gather(
        split.row_splits, split.value_rowids()
    )
    is_added = tf.equal(place % 2, 1)
    found = tokenize(tf.where(is_added, "", pieces))
    stripped = (
        tf.strings.regex_replace(pieces, f"^{added.spaces}|{added.spaces}$", "")
        if added.spaces
        else pieces
    )
    which = tf.argmax(
        tf.equal(tf.boolean_mask(stripped, is_added)[:, None], tf.constant(added.contents)), -1
    )
    lengths = tf.strings.length(pieces, unit=unit)
    whole = tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(lengths, is_added), tf.cast(is_added, tf.int64), validate=False
    )
    before = tf.cumsum(lengths, exclusive=True)
    before -= tf.gather(
        tf.gather(tf.concat([before, [0]], 0), split.row_splits[:-1]), split.value_rowids()
    )

    def merge(values: tf.Tensor, of_added: tf.Tensor) -> tf.RaggedTensor:
        return tf.concat(
            [
                tf.RaggedTensor.from_row_splits(values, found.splits, validate=False),
                whole.with_values(of_added),
            ],
            1,
        )

    ids = merge(found.ids, tf.gather(tf.constant(added.ids, tf.int32), which))
    shift = tf.gather(before, ids.value_rowids())
    return Spans(
        ids.values,
        tf.gather(ids.row_splits, split.row_splits),
        merge(found.starts, tf.zeros_like(whole.values)).values + shift,
        merge(found.ends, whole.values).values + shift,
        merge(found.words, tf.ones_like(which, tf.int32)).values,
    )
