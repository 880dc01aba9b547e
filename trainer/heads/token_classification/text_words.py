"""The words of raw texts, found among their tokens in the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trainer.heads._scripts import EAST_ASIAN, UNSPACED
from trainer.heads.token_classification.word_kinds import (
    DIRECT_WORD,
    FIRST_WORD,
    JOINING_MARK,
    NO_WORD,
    WORD,
)
from trainer.lazy import tf

if TYPE_CHECKING:
    from trainer.text.added_tokens import Tokens

JOINING = ".-'&\u2010\u2011\u2019"  # marks within names: U.S., Jean-Paul, O'Neil, AT&T
SPACE = -1  # what the tokenizer says of white space


class TextWords(NamedTuple):
    """The words that tokens are of.

    Attributes:
        kind: (T,) int32, one of `word_kinds`.
        end: (T,) int32, where the word of each token ends, in characters of its text.
    """

    kind: tf.Tensor
    end: tf.Tensor


class _Groups(NamedTuple):
    """Tokens in groups: each is a word, or the white space between two.

    Attributes:
        number: (T,) int32, of each token's group.
        end: (T,) int32, where the group of each token ends.
        is_word: (T,) bool.
    """

    number: tf.Tensor
    end: tf.Tensor
    is_word: tf.Tensor


def find_words(text: tf.Tensor, tokens: Tokens) -> TextWords:
    """Finds where words begin and end.

    Args:
        text: (B,) string.
        tokens: of the texts.
    """
    from trainer.text.flat_arrays import places_of, rows_of

    row = rows_of(tokens.ids.row_splits)
    row_start = tf.gather(tokens.ids.row_splits, row)
    place = places_of(row) - row_start  # within its text
    characters = tf.strings.unicode_decode(text, "UTF-8")
    # of white space at the very end any
    character = _characters_at(characters, row, tokens.starts.values)
    character_before = _characters_before(characters, row, tokens.ends.values)
    meets = _is_unspaced(character) | _is_unspaced(character_before)
    begins = _begins(tokens, meets, place)
    is_beginning = begins == 1
    starts_group = (begins != 0) | (place == 0)
    number = tf.cumsum(tf.cast(starts_group, tf.int32)) - 1
    ends = tf.math.segment_max(tokens.ends.values, number)
    groups = _Groups(number, tf.gather(ends, number), begins != SPACE)
    between = _joins(character, tokens.starts.values, groups)
    kind = tf.where(_is_first(is_beginning, row_start), FIRST_WORD, between)
    return TextWords(tf.where(is_beginning, kind, NO_WORD), groups.end)


def _begins(tokens: Tokens, meets: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """1 where a token begins a word, 0 where it goes on with one, SPACE: (T,) int32.

    Args:
        tokens: of the texts.
        meets: (T,) bool, whether a script that no spaces part stands before or at its beginning.
        place: (T,) of each token in its text.
    """
    begins = tokens.words.values
    # A name may begin and end at any piece where no spaces part words, and where such a script
    # meets another.
    begins = tf.where((begins == 0) & meets, 1, begins)
    # Words that normalization makes of one character are one: two spans cannot stand at the
    # same place. A mark of a space alone, which ends where it begins, may stand between them.
    for back in (1, 2):
        end_before = tf.pad(tokens.ends.values, [[back, 0]])[:-back]
        is_again = (place >= back) & (begins == 1) & (tokens.starts.values < end_before)
        begins = tf.where(is_again, 0, begins)
    return begins


def _is_first(is_beginning: tf.Tensor, row_start: tf.Tensor) -> tf.Tensor:
    """(T,) bool: whether no word of the same text begins before a token."""
    before = tf.cumsum(tf.cast(is_beginning, tf.int32), exclusive=True)  # words, in all texts
    return before == tf.gather(before, row_start)


def _characters_at(characters: tf.RaggedTensor, row: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """The code points in some places of some texts: (T,) int32.

    Args:
        characters: (B, None) int32, of the texts.
        row: (T,) int64, the text of each place.
        place: (T,) int32; behind the end of all texts stands the last character.
    """
    last = tf.size(characters.values, tf.int64) - 1
    text_start = tf.gather(characters.row_splits, row)
    index = text_start + tf.cast(place, tf.int64)
    return tf.gather(characters.values, tf.minimum(index, last))


def _characters_before(characters: tf.RaggedTensor, row: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """The code point that the token before each ends with: (T,) int32; 0 for the first of a text.

    Args:
        characters: (B, None) int32, of the texts.
        row: (T,) int64, the text of each token.
        ends: (T,) int32, where each ends.
    """
    from trainer.text.flat_arrays import previous

    last = _characters_at(characters, row, tf.maximum(ends - 1, 0))
    # code point 0 stands before a text
    before = previous(last, 0)
    row_before = previous(row, -1)
    return tf.where(row == row_before, before, 0)


def _is_unspaced(character: tf.Tensor) -> tf.Tensor:
    """(T,) bool: whether it is of a script whose names begin or end where no space stands."""
    of_scripts = []
    for first, stop in UNSPACED:
        of_script = (character >= first) & (character < stop)
        of_scripts.append(of_script)
    return tf.reduce_any(tf.stack(of_scripts), 0)


def _joins(character: tf.Tensor, start: tf.Tensor, groups: _Groups) -> tf.Tensor:
    """What stands before each token's word: (T,) int32, WORD, DIRECT_WORD or JOINING_MARK.

    WORD in scripts that do not part words by spaces.

    Args:
        character: (T,) int32, the code point that each token begins with.
        start: (T,) int32, where each token begins.
        groups: of the tokens.
    """
    first_token = tf.math.segment_min(tf.range(tf.size(start)), groups.number)
    before = tf.gather(first_token, tf.maximum(groups.number - 1, 0))  # of the group before
    is_spaced = (character < EAST_ASIAN) & ~_is_unspaced(character)
    spaced_word_before = tf.gather(is_spaced & groups.is_word, before)
    is_behind = tf.gather(groups.end, before) == start
    is_direct = is_behind & is_spaced & spaced_word_before
    marks = tf.constant([ord(mark) for mark in JOINING])
    is_any_mark = tf.reduce_any(character[:, None] == marks, axis=1)
    is_single = groups.end == start + 1
    direct = tf.where(is_any_mark & is_single, JOINING_MARK, DIRECT_WORD)
    return tf.where(is_direct, direct, WORD)
