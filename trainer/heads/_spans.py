"""Spans of tokens and words in the graph: which words belong together, and the text that a span has."""

from __future__ import annotations

from trainer.lazy import tf

EAST_ASIAN = 0x2E80  # from this character on scripts do not part words by spaces, or each character is a word to the tokenizer
JOINING = ".-'&\u2010\u2011\u2019"  # marks within names: U.S., Jean-Paul, O'Neil, AT&T


def joins(text: tf.Tensor, start: tf.RaggedTensor, word_end: tf.Tensor, word: tf.Tensor) -> tf.Tensor:
    """(T,) int32 of each token's word: 0 behind a space, 2 right behind the word before, 3 where it is also a joining mark; 0 in
    scripts that do not part words by spaces.
    """
    characters = tf.strings.unicode_decode(text, "UTF-8")
    place = tf.gather(characters.row_splits, start.value_rowids()) + tf.cast(start.values, tf.int64)
    first = tf.math.segment_min(tf.range(tf.size(word)), word)  # the first token of each word
    before = tf.gather(first, tf.maximum(word - 1, 0))
    character = tf.gather(characters.values, tf.minimum(place, tf.size(characters.values, tf.int64) - 1))  # of white space at the very end none
    spaced = character < EAST_ASIAN
    direct = (tf.gather(word_end, before) == start.values) & spaced & tf.gather(spaced, before)
    mark = tf.reduce_any(character[:, None] == tf.constant([ord(mark) for mark in JOINING]), axis=1) & (word_end == start.values + 1)
    return tf.where(direct, tf.where(mark, 3, 2), 0)


def joined(tag: tf.Tensor, entity: tf.Tensor, begins: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What no space parts is one span, of the type that its first part has, also across joining marks: U.S. is no three places.

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
    return tf.where(inside, tf.gather(tag, tf.minimum(first, count - 1)), tag), inside, begins & (place == first)


def slices(texts: tf.Tensor, of: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """(N,) string: characters first to last of a text each. Decodes every text once, however many slices it has."""
    characters = tf.strings.unicode_decode(texts, "UTF-8")
    begin = tf.gather(characters.row_splits, of)
    places = tf.ragged.range(begin + tf.cast(first, tf.int64), begin + tf.cast(last, tf.int64))
    return tf.strings.unicode_encode(tf.gather(characters.values, places), "UTF-8")
