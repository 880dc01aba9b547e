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
from trainer.text.flat_arrays import begins_row, fill_at, following, indices_of, previous

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
        remover = normalizers.Replace(Regex(pattern), "")
        others = remover.normalize_str(text)
        for character in set(asked).difference(others):
            classes[ord(character)] = kind
    classes[ord(" ")] = SPACE
    for start, stop in IDEOGRAPHS:
        block = classes[start:stop]
        block[block == LETTER] = IDEOGRAPH
    return classes


def word_starts(codes: tf.Tensor, classes: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """Where the pattern begins a match.

    Args:
        codes: (M,) int32, the characters of all texts.
        classes: (M,) int8, of each; LETTER for an IDEOGRAPH.
        splits: (B + 1,) int64, where each text begins.
    Returns:
        (M,) bool.
    """
    begins_text = begins_row(splits)
    ends_text = following(begins_text, True)
    before = previous(classes, OTHER)
    behind = following(classes, SPACE)
    follows_word = before < WHITE
    # A space goes with what follows it; other white space before a word stands alone, and so does
    # all before that last one.
    is_last_white = (behind < WHITE) & ~ends_text
    white_starts = follows_word | is_last_white
    class_changes = follows_word & (before != classes)
    other_starts = class_changes | (before == WHITE)
    is_white = classes >= WHITE
    starts = begins_text | tf.where(is_white, white_starts, other_starts)
    may_begin_match = (before != OTHER) & (before != SPACE)
    opens_ending = (codes == _APOSTROPHE) & (begins_text | may_begin_match)

    def with_endings() -> tf.Tensor:
        apostrophes = indices_of(opens_ending)
        return _cut_endings(starts, codes, ends_text, apostrophes)

    return tf.cond(tf.reduce_any(opens_ending), with_endings, lambda: starts)


def _cut_endings(
    starts: tf.Tensor, codes: tf.Tensor, ends_text: tf.Tensor, apostrophes: tf.Tensor
) -> tf.Tensor:
    """Makes words of an apostrophe with the one or two letters behind it, such as 's.

    Args:
        starts: (M,) bool, where words begin without this rule.
        codes: (M,) int32.
        ends_text: (M,) bool, whether a character is the last of its text.
        apostrophes: (K,) int64, those that may begin an ending.
    Returns:
        (M,) bool.
    """
    padded_codes = tf.pad(codes, [[0, 2]])
    padded_ends = tf.pad(ends_text, [[0, 1]], constant_values=True)
    behind = apostrophes + 1
    letter = tf.gather(padded_codes, behind)
    second_letter = tf.gather(padded_codes, behind + 1)
    has_one = ~tf.gather(ends_text, apostrophes)
    has_two = has_one & ~tf.gather(padded_ends, behind)
    short = has_one & _is_any(letter, _OF_ONE_LETTER)
    long = has_two & _is_any_pair(letter, second_letter, _OF_TWO_LETTERS)

    matched = short | long
    width = tf.where(long, tf.constant(3, tf.int64), 2)
    inside = tf.boolean_mask(behind, matched)
    end = tf.boolean_mask(apostrophes + width, matched)
    padded_starts = tf.pad(starts, [[0, 3]])
    joined = fill_at(padded_starts, inside, False)
    cut = fill_at(joined, end, True)
    return cut[: tf.size(codes)]


def _is_any(letter: tf.Tensor, characters: str) -> tf.Tensor:
    """(K,) int32 -> (K,) bool."""
    is_any = tf.zeros_like(letter, tf.bool)
    for character in characters:
        is_any |= letter == ord(character)
    return is_any


def _is_any_pair(first: tf.Tensor, second: tf.Tensor, pairs: Sequence[str]) -> tf.Tensor:
    """(K,) int32 each -> (K,) bool."""
    is_any = tf.zeros_like(first, tf.bool)
    for pair in pairs:
        first_code, second_code = map(ord, pair)
        is_any |= (first == first_code) & (second == second_code)
    return is_any
