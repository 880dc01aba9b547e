"""The spans of texts as answers: places, types, texts and scores, a row a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trainer.heads.token_classification.rule import Marks
from trainer.lazy import tf


class PlacedWords(NamedTuple):
    """The words that a tokenizer finds in some texts, N in all.

    Attributes:
        text: (N,) int32, which text each is of.
        start, end: (N,) int32, in characters of it.
        score: (N,) float32, the probability of its tag.
    """

    text: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor
    score: tf.Tensor


def spans_of_texts(
    words: PlacedWords, marks: Marks, types: Sequence[str], texts: tf.Tensor
) -> dict[str, tf.Tensor]:
    """The spans of each text, padded with -1 and "".

    Args:
        words: of all texts.
        marks: what they are to spans.
        types: the names of the types of spans.
        texts: (B,) string.
    Returns:
        start, end (B, N) int32 in characters; type, text (B, N) string; score (B, N) float32.
    """
    text = tf.boolean_mask(words.text, marks.opens)
    start = tf.boolean_mask(words.start, marks.opens)
    span_type = tf.boolean_mask(marks.type, marks.opens)
    inside = marks.type >= 0
    number = tf.cumsum(tf.cast(marks.opens, tf.int32)) - 1
    span = tf.boolean_mask(number, inside)
    end = tf.math.segment_max(tf.boolean_mask(words.end, inside), span)
    spans: dict[str, tuple[tf.Tensor, int | float | str]] = {
        "start": (start, -1),
        "end": (end, -1),
        "type": (tf.gather(tf.constant(types), span_type), ""),
        "text": (_slices(texts, text, start, end), ""),
        "score": (_scores(words.score, marks, span), -1.0),
    }
    batch = tf.size(texts)
    counts = tf.math.bincount(text, minlength=batch, maxlength=batch)
    return {name: _padded(column, counts, fill) for name, (column, fill) in spans.items()}


def _padded(column: tf.Tensor, counts: tf.Tensor, fill: int | float | str) -> tf.Tensor:
    """Values of all spans as a row a text, filled up."""
    rows = tf.RaggedTensor.from_row_lengths(column, counts, validate=False)
    return rows.to_tensor(fill)


def _scores(score: tf.Tensor, marks: Marks, span: tf.Tensor) -> tf.Tensor:
    """The mean score of each span's words, but of what only joins them: (spans,) float32.

    Args:
        score: (N,) of the words.
        marks: of the words.
        span: (n,) int32, which span each word inside of one is of.
    """
    inside = marks.type >= 0
    weight = tf.cast(tf.boolean_mask(marks.own, inside), tf.float32)
    weighted = weight * tf.boolean_mask(score, inside)
    score_sum = tf.math.segment_sum(weighted, span)
    return score_sum / tf.math.segment_sum(weight, span)  # words of the span whose tag says it


def _slices(texts: tf.Tensor, text: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """(N,) string: characters start to end of a text each.

    Decodes every text once, however many slices it has.
    """
    characters = tf.strings.unicode_decode(texts, "UTF-8")
    text_start = tf.gather(characters.row_splits, text)
    first = text_start + tf.cast(start, tf.int64)
    limit = text_start + tf.cast(end, tf.int64)
    places = tf.ragged.range(first, limit)
    slices = tf.gather(characters.values, places)
    return tf.strings.unicode_encode(slices, "UTF-8")
