"""The one rule from tags of words to spans.

The graph answers by it, the scorer counts by it, and predict tells the tags of given words by it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

from trainer.data.reader import Vocabulary
from trainer.heads.token_classification.vocabulary import marks_spans
from trainer.heads.token_classification.word_kinds import DIRECT_WORD, JOINING_MARK
from trainer.lazy import tf


class TaggedWords(NamedTuple):
    """Consecutive words of some texts, N in all: those that a tokenizer finds, or given ones.

    Attributes:
        text: (N,) int32, which text each is of.
        tag: (N,) int32, places among the labels.
        shares: (N,) bool, whether a word shares its token with the one before; None: none does.
        kind: (N,) int32, one of `word_kinds`, where what no space parts is one span; None: where
            it is not.
    """

    text: tf.Tensor
    tag: tf.Tensor
    shares: tf.Tensor | None = None
    kind: tf.Tensor | None = None


class Marks(NamedTuple):
    """What words are to spans.

    Attributes:
        type: (N,) int32, of the span that each is in; -1 outside.
        opens: (N,) bool, whether it is the first of a span.
        own: (N,) bool, whether its own tag says so, and not that it joins others.
    """

    type: tf.Tensor
    opens: tf.Tensor
    own: tf.Tensor


class Rule(Protocol):
    """How tags are read.

    Attributes:
        types: the names of the types of spans.
    """

    types: tuple[str, ...]

    def mark(self, words: TaggedWords) -> Marks:
        """Where spans stand, and of which type."""
        ...

    def tags(self, marks: Marks) -> tf.Tensor:
        """The other way round: (N,) int32, of words that are marked so; -1 where no tag says it."""
        ...


def rule_of(vocabulary: Vocabulary) -> Rule:
    """How the tags of a vocabulary are read."""
    labels = vocabulary["labels"]
    if not marks_spans(vocabulary):
        return SingleTags(tuple(labels))
    return BioTags(tuple(label[2:] for label in labels[1::2]))


@dataclasses.dataclass(frozen=True)
class SingleTags(Rule):
    """Each word has a tag of its own, such as its part of speech, and is a span of that type."""

    types: tuple[str, ...]

    def mark(self, words: TaggedWords) -> Marks:
        """See `Rule`."""
        every = tf.ones_like(words.tag, tf.bool)
        return Marks(words.tag, every, every)

    def tags(self, marks: Marks) -> tf.Tensor:
        """See `Rule`."""
        return tf.where(marks.own, marks.type, -1)


@dataclasses.dataclass(frozen=True)
class BioTags(Rule):
    """Tags are O, B-x, I-x, B-y, I-y, …; a span that begins with I- is one as well."""

    types: tuple[str, ...]

    def mark(self, words: TaggedWords) -> Marks:
        """See `Rule`."""
        span_type = (words.tag + 1) // 2 - 1
        own = span_type >= 0
        begins = words.tag % 2 == 1
        if words.shares is not None:
            begins &= ~words.shares
        if words.kind is not None:
            span_type, begins = _joined(span_type, begins, words.kind)
        follows = _equals_previous(span_type) & _equals_previous(words.text)
        opens = (span_type >= 0) & (begins | ~follows)
        return Marks(span_type, opens, own)

    def tags(self, marks: Marks) -> tf.Tensor:
        """See `Rule`."""
        begin = 2 * marks.type + 1
        inside = tf.where(marks.opens, begin, begin + 1)
        return tf.where(marks.type < 0, 0, inside)


def _equals_previous(column: tf.Tensor) -> tf.Tensor:
    """(N,) bool: whether the value before is the same; the first has none."""
    equals = column[1:] == column[:-1]
    of_all = tf.concat([[False], equals], 0)
    return of_all[: tf.size(column)]  # an empty column has no first value either


def _joined(
    span_type: tf.Tensor, begins: tf.Tensor, kind: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Lets what no space parts be one span, of the type that its first part has.

    Also across joining marks: U.S. is no three places.

    Args:
        span_type: (N,) int32, -1 outside.
        begins: (N,) bool.
        kind: (N,) int32, see `TaggedWords`.
    Returns:
        the same, joined.
    """
    count = tf.size(span_type)
    place = tf.range(count)
    inside = span_type >= 0
    is_apart = (kind < DIRECT_WORD) | (~inside & (kind != JOINING_MARK))
    run = tf.cumsum(tf.cast(is_apart, tf.int32))
    run -= run[:1]
    # of each run of words the first and the last one inside a span; where none is, all is behind
    first_of_run = tf.math.segment_min(tf.where(inside, place, count), run)
    last_of_run = tf.math.segment_max(tf.where(inside, place, -1), run)
    first = tf.gather(first_of_run, run)
    last = tf.gather(last_of_run, run)
    within = (place >= first) & (place <= last)
    first_type = tf.gather(span_type, tf.minimum(first, count - 1))
    joined_type = tf.where(within, first_type, -1)
    return joined_type, begins & (place == first)
