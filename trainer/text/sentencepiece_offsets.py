"""Where SentencePiece tokens stand in the original texts."""

from __future__ import annotations

import tensorflow as tf

from trainer.text.added_tokens import Spans
from trainer.text.characters import CodePointMap, is_ideograph
from trainer.text.flat_arrays import of_row
from trainer.text.normalized import Normalized
from trainer.text.sentencepiece_normalizer import MARK


def place_tokens(
    spans: Spans, marked: Normalized, origins: tf.Tensor, punctuation: CodePointMap
) -> Spans:
    """From characters of the marked texts to those of the original ones.

    Args:
        spans: T tokens; starts and ends count characters of all marked texts.
        marked: the texts, with a mark before each word.
        origins: (B + 1,) int64, where the original characters of each text begin.
        punctuation: 1 for what is punctuation.
    """
    mark = ord(MARK)
    has_mark = tf.gather(marked.codes, spans.starts) == mark
    last = spans.ends - 1
    behind_mark = spans.starts + tf.cast(has_mark, tf.int32)
    first = tf.minimum(behind_mark, last)
    is_mark_alone = has_mark & (spans.starts == last)
    origin = of_row(origins, spans.rows())
    starts = tf.gather(marked.first_sources, first) - origin
    ends = tf.gather(marked.end_sources, last) - origin

    before = tf.maximum(first - 1, 0)
    code = tf.gather(marked.codes, first)
    code_before = tf.gather(marked.codes, before)
    # a character is a word of its own to taggers, whatever piece it is in, where it is one of these
    around = tf.stack([code, code_before])
    is_punctuation = punctuation.look_up(around) > 0
    stands_alone = is_ideograph(around) | is_punctuation
    follows_mark = code_before == mark
    opens_word = has_mark | follows_mark | tf.reduce_any(stands_alone, 0)
    words = tf.cast(opens_word, tf.int32)
    return spans._replace(
        starts=starts,
        ends=tf.where(is_mark_alone, starts, ends),
        words=tf.where(is_mark_alone, -1, words),
    )


def to_source(spans: Spans, normalized: Normalized, origins: tf.Tensor) -> Spans:
    """From characters of each normalised text to those of the original ones.

    Args:
        spans: T tokens of B normalised texts.
        normalized: the texts.
        origins: (B + 1,) int64, where the original characters of each text begin.
    """
    text = spans.rows()
    origin = of_row(origins, text)
    text_start = of_row(normalized.splits, text)
    text_end = of_row(normalized.splits, text + 1)
    first = text_start + spans.starts
    last = text_start + spans.ends - 1
    first = tf.minimum(first, text_end - 1)
    last = tf.maximum(last, text_start)
    starts = tf.gather(normalized.first_sources, first) - origin
    ends = tf.gather(normalized.end_sources, last) - origin
    is_nowhere = spans.ends <= spans.starts  # a mark of a space alone
    return spans._replace(
        starts=starts,
        ends=tf.where(is_nowhere, starts, ends),
    )
