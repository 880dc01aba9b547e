"""Spans of tokens and words in the graph: which words belong together, and the text that a span
has.
"""

from __future__ import annotations

from trainer.lazy import tf

# from this character on scripts do not part words by spaces, or each character is a word to the
# tokenizer
EAST_ASIAN = 0x2E80
# Scripts that do not part words by spaces, or not their names from what goes with them: Thai, Lao,
# Tibetan, Burmese; Hangul's letters; Khmer; Tai Le, New Tai Lue, Tai Tham; kana, Bopomofo,
# ideographs, Yi; the rest of Hangul and Burmese, Javanese; syllables.
UNSPACED = (
    (0x0E00, 0x10A0),
    (0x1100, 0x1200),
    (0x1780, 0x1800),
    (0x1950, 0x1AB0),
    (EAST_ASIAN, 0xA4D0),
    (0xA960, 0xAA00),
    (0xAA60, 0xAAE0),
    (0xAC00, 0xD800),
    (0xF900, 0xFB00),
    (0xFF65, 0xFFDD),
    (0x16FE0, 0x18D80),
    (0x1AFF0, 0x1B300),
    (0x20000, 0x34000),
)
JOINING = ".-'&\u2010\u2011\u2019"  # marks within names: U.S., Jean-Paul, O'Neil, AT&T


def first_characters(text: tf.Tensor, start: tf.RaggedTensor) -> tf.Tensor:
    """(T,) int32, the code point that each token begins with;
    of white space at the very end any.
    """
    return _characters(text, start.value_rowids(), start.values)


def characters_before(text: tf.Tensor, end: tf.RaggedTensor) -> tf.Tensor:
    """(T,) int32, the code point that the token before each ends with; 0 for the first of a text.

    Args:
        text: (B,) string.
        end: (B, None) int32, where each token ends, in characters of its text.
    """
    row = end.value_rowids()
    last = _characters(text, row, tf.maximum(end.values - 1, 0))
    opens = tf.concat([[True], row[1:] != row[:-1]], 0)[: tf.size(row)]
    return tf.where(opens, 0, tf.pad(last, [[1, 0]])[:-1])


def _characters(text: tf.Tensor, row: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    characters = tf.strings.unicode_decode(text, "UTF-8")
    place = tf.gather(characters.row_splits, row) + tf.cast(place, tf.int64)
    return tf.gather(characters.values, tf.minimum(place, tf.size(characters.values, tf.int64) - 1))


def is_unspaced(character: tf.Tensor) -> tf.Tensor:
    """(T,) bool: whether it is of a script in which a name may begin or end where no
    space stands.
    """
    return tf.reduce_any(
        tf.stack([(character >= first) & (character < stop) for first, stop in UNSPACED]), 0
    )


def joins(
    character: tf.Tensor, start: tf.Tensor, word_end: tf.Tensor, word: tf.Tensor, is_word: tf.Tensor
) -> tf.Tensor:
    """(T,) int32 of each token's word: 0 behind a space, 2 right behind the word before, 3 where it
    is also a joining mark; 0 in scripts that do not part words by spaces.

    Args:
        character: (T,) int32, see `first_characters`; start, word_end: (T,) int32, of the token,
            and the end of its word.
        word: (T,) int32, the number of each token's word, white space between two included;
            is_word: (T,) bool, false for that.
    """
    first = tf.math.segment_min(tf.range(tf.size(word)), word)  # the first token of each word
    before = tf.gather(first, tf.maximum(word - 1, 0))
    spaced = (character < EAST_ASIAN) & ~is_unspaced(character)
    direct = (tf.gather(word_end, before) == start) & spaced & tf.gather(spaced & is_word, before)
    mark = tf.reduce_any(
        character[:, None] == tf.constant([ord(mark) for mark in JOINING]), axis=1
    ) & (word_end == start + 1)
    return tf.where(direct, tf.where(mark, 3, 2), 0)


def joined(
    tag: tf.Tensor, entity: tf.Tensor, begins: tf.Tensor, words: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What no space parts is one span, of the type that its first part has, also across joining
    marks: U.S. is no three places.

    Args:
        tag: (N,) int32; entity, begins: (N,) bool, of it; words: (N,) int32, as `encode` has it.
    Returns:
        the same of the words after joining.
    """
    place, count = tf.range(tf.size(tag)), tf.size(tag)
    run = tf.cumsum(tf.cast((words < 3) | (~entity & (words != 4)), tf.int32))
    run -= run[:1]
    first = tf.gather(tf.math.segment_min(tf.where(entity, place, count), run), run)
    last = tf.gather(tf.math.segment_max(tf.where(entity, place, -1), run), run)
    inside = (place >= first) & (place <= last)
    return (
        tf.where(inside, tf.gather(tag, tf.minimum(first, count - 1)), tag),
        inside,
        begins & (place == first),
    )


def slices(texts: tf.Tensor, of: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """(N,) string: characters first to last of a text each.

    Decodes every text once, however many slices it has.
    """
    characters = tf.strings.unicode_decode(texts, "UTF-8")
    begin = tf.gather(characters.row_splits, of)
    places = tf.ragged.range(begin + tf.cast(first, tf.int64), begin + tf.cast(last, tf.int64))
    return tf.strings.unicode_encode(tf.gather(characters.values, places), "UTF-8")
