"""Answers as JSON, for predict: entities, and the tags of given words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from trainer.heads.contract import Results
from trainer.heads.token_classification.rule import Marks, Rule, TaggedWords
from trainer.lazy import tf

BEHIND_ALL = np.iinfo(np.int64).max  # characters


class Entity(TypedDict):
    """A span of a text."""

    start: int
    end: int
    type: str
    text: str
    score: float


class WordPlaces(NamedTuple):
    """Where W given words stand in the text that they make, in characters.

    Attributes:
        start, end: (W,) int64.
        first: (W,) int64, where each one's first token begins; `end` where it has no token.
    """

    start: np.ndarray
    end: np.ndarray
    first: np.ndarray


def entities_of(answers: Results, row: int) -> list[Entity]:
    """The spans of one text.

    Args:
        answers: of some texts, as `spans_of_texts` has them.
        row: which text.
    """
    count = np.count_nonzero(answers["start"][row] >= 0)
    return [
        Entity(
            start=int(answers["start"][row, place]),
            end=int(answers["end"][row, place]),
            type=answers["type"][row, place].decode(),
            text=answers["text"][row, place].decode(),
            score=answers["score"][row, place].item(),
        )
        for place in range(count)
    ]


def word_places(
    words: Sequence[str], separator: str, token_start: np.ndarray, token_end: np.ndarray
) -> WordPlaces:
    """Finds the first token of each word.

    Args:
        words: joined by the separator they are the text.
        separator: between them.
        token_start, token_end: (T,) int32, of the tokens of the text.
    """
    lengths = np.array([len(word) for word in words], np.int64)
    limits = np.cumsum(lengths + len(separator))
    end = limits - len(separator)
    start = end - lengths
    token = np.searchsorted(token_end, start, side="right")
    starts = np.append(token_start, end[-1:])  # behind the last token none begins
    first = np.maximum(start, starts[token])
    return WordPlaces(start, end, np.minimum(first, end))


def word_tags(
    places: WordPlaces, entities: Sequence[Entity], rule: Rule, labels: Sequence[str]
) -> list[str]:
    """The tag of each given word: that of its first token; "" where none says it.

    A word without a token is of the span that goes on around it.

    Args:
        places: of the words.
        entities: of their text.
        rule: of the graph.
        labels: the tags.
    """
    table = _table(entities, rule.types)
    entity = np.searchsorted(table.end, places.first, side="right")
    entity_start = table.start[entity]
    has_token = places.first < places.end
    begins_before = np.where(has_token, places.first + 1, places.start)
    is_inside = entity_start < begins_before
    marks = Marks(
        type=tf.constant(np.where(is_inside, table.type[entity], -1)),
        opens=tf.constant(has_token & (entity_start == places.first)),
        own=tf.constant(has_token),
    )
    tag = rule.tags(marks)
    words = TaggedWords(text=tf.zeros_like(tag), tag=tag)
    tags = rule.tags(rule.mark(words)).numpy().tolist()
    return [labels[number] if number >= 0 else "" for number in tags]


class _Entities(NamedTuple):
    """The entities of a text, and one behind all words.

    Attributes:
        start, end: (N + 1,) int64, in characters.
        type: (N + 1,) int32.
    """

    start: np.ndarray
    end: np.ndarray
    type: np.ndarray


def _table(entities: Sequence[Entity], types: Sequence[str]) -> _Entities:
    number_of = {name: number for number, name in enumerate(types)}
    return _Entities(
        start=np.array([*(entity["start"] for entity in entities), BEHIND_ALL], np.int64),
        end=np.array([*(entity["end"] for entity in entities), BEHIND_ALL], np.int64),
        type=np.array([*(number_of[entity["type"]] for entity in entities), -1], np.int32),
    )
