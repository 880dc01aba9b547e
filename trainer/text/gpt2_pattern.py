r"""GPT-2's pattern, which cuts texts into words, in the graph.

It is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+, found here by the
class of each character and of its neighbours.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tokenizers import Regex, normalizers

from trainer.text.characters import IDEOGRAPHS
from trainer.text.flat_arrays import fill_at, following, indices_of, previous

# Classes of code points. The order counts: from WHITE on they are white space, SPACE is U+0020.
LETTER, NUMBER, OTHER, WHITE, SPACE = range(5)
IDEOGRAPH = 5  # a letter that is a word of its own to taggers
ASSIGNED = 0x34000  # what Unicode has beyond is marks, private use, or nothing yet: OTHER
_APOSTROPHE = ord("'")
# endings that an apostrophe begins
_OF_ONE_LETTER = "stmd"
_OF_TWO_LETTERS = ("re", "ve", "ll")


@functools.cache
def character_classes() -> np.ndarray:
    """(0x34001,) int8: the class of each code point; the last is that of all beyond.

    As the regular expressions of `tokenizers` see it.
    """
    asked = [chr(code) for code in range(ASSIGNED) if not 0xD800 <= code < 0xE000]
    text = "".join(asked)
    classes = np.full(ASSIGNED + 1, OTHER, np.int8)
    for pattern, kind in ((r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", WHITE)):
        others = normalizers.Replace(Regex(pattern), "").normalize_str(text)
        matched = set(asked).difference(others)
        classes[[ord(character) for character in matched]] = kind
    classes[ord(" ")] = SPACE
    for start, stop in IDEOGRAPHS:
        block = classes[start:stop]
        block[block == LETTER] = IDEOGRAPH
    return classes


def word_starts(codes: tf.Tensor, classes: tf.Tensor, begins_text: tf.Tensor) -> tf.Tensor:
    """Where the pattern begins a match.

    Args:
        codes: (M,) int32, the characters of all texts.
        classes: (M,) int8, of each; LETTER for an IDEOGRAPH.
        begins_text: (M + 1,) bool, whether a text begins with it; true behind the last.
    Returns:
        (M,) bool.
    """
    before = previous(classes, OTHER)
    behind = following(classes, SPACE)
    is_white = classes >= WHITE
    # A space goes with what follows it; other white space before a word stands alone, and so does
    # all before that last one.
    white_starts = (before < WHITE) | ((behind < WHITE) & ~begins_text[1:])
    other_starts = (before == WHITE) | ((before < WHITE) & (before != classes))
    starts = tf.where(is_white, white_starts, other_starts) | begins_text[:-1]
    may_begin_match = begins_text[:-1] | ((before != OTHER) & (before != SPACE))
    opens_ending = (codes == _APOSTROPHE) & may_begin_match

    def with_endings() -> tf.Tensor:
        return _cut_endings(starts, codes, begins_text, indices_of(opens_ending))

    return tf.cond(tf.reduce_any(opens_ending), with_endings, lambda: starts)


def _cut_endings(
    starts: tf.Tensor, codes: tf.Tensor, begins_text: tf.Tensor, apostrophes: tf.Tensor
) -> tf.Tensor:
    """Makes words of an apostrophe with the one or two letters behind it, such as 's.

    Args:
        starts: (M,) bool, where words begin without this rule.
        codes: (M,) int32.
        begins_text: (M + 1,) bool.
        apostrophes: (K,) int64, those that may begin an ending.
    Returns:
        (M,) bool.
    """
    padded_codes = tf.pad(codes, [[0, 3]])
    ends_text = tf.pad(begins_text, [[0, 3]], constant_values=True)
    letter = tf.gather(padded_codes, apostrophes + 1)
    second_letter = tf.gather(padded_codes, apostrophes + 2)
    has_one = ~tf.gather(ends_text, apostrophes + 1)
    has_two = has_one & ~tf.gather(ends_text, apostrophes + 2)
    short = has_one & _is_any(letter, _OF_ONE_LETTER)
    first_letters, second_letters = zip(*_OF_TWO_LETTERS, strict=True)
    first_matches = _equal_each(letter, first_letters)
    second_matches = _equal_each(second_letter, second_letters)
    any_matches = tf.reduce_any(first_matches & second_matches, 1)
    long = has_two & any_matches

    matched = short | long
    inside = tf.boolean_mask(apostrophes + 1, matched)
    width = tf.where(long, tf.constant(3, tf.int64), 2)
    end = tf.boolean_mask(apostrophes + width, matched)
    padded_starts = tf.pad(starts, [[0, 3]])
    joined = fill_at(padded_starts, inside, False)
    cut = fill_at(joined, end, True)
    return cut[: tf.size(codes)]


def _equal_each(codes: tf.Tensor, characters: Sequence[str]) -> tf.Tensor:
    """(K,) int32 -> (K, characters) bool."""
    return codes[:, None] == list(map(ord, characters))


def _is_any(codes: tf.Tensor, characters: Sequence[str]) -> tf.Tensor:
    """(K,) int32 -> (K,) bool."""
    return tf.reduce_any(_equal_each(codes, characters), 1)
