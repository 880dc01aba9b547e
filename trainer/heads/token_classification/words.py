"""The gold words of some texts among their tokens.

Places are text << TEXT_BITS | character.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.files.mapped import release
from trainer.heads.token_classification.gold import Gold

if TYPE_CHECKING:
    from trainer.data.store_writer import StoreWriter

TEXT_BITS = 32  # of a place: which text, and which of its characters


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokens of some whole texts.

    Attributes:
        texts: which those are.
        first: the number of the first token among those of the split.
        count: how many tokens there are; those below are of words, and owned by their window.
        place, start, end: (N,) int64, of each how many come before it here, and its places.
    """

    texts: range
    first: int
    count: int
    place: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def of_text(self, text: int) -> slice:
        """Those of one text."""
        shift = text << TEXT_BITS
        low, high = np.searchsorted(self.start, [shift, shift + (1 << TEXT_BITS)])
        return slice(int(low), int(high))


class TextWords(NamedTuple):
    """The words of one text.

    Attributes:
        start, end: (W,) int64, places.
        tag: (W,) int32.
    """

    start: np.ndarray
    end: np.ndarray
    tag: np.ndarray


class Words(NamedTuple):
    """The gold words of some texts, one after the other.

    Attributes:
        start, end: (W,) int64, places.
        tag: (W,) int32.
        splits: (texts + 1,) int64, where the words of each text begin.
        invisible: (n,) int64, which of them show nothing.
    """

    start: np.ndarray
    end: np.ndarray
    tag: np.ndarray
    splits: np.ndarray
    invisible: np.ndarray

    @classmethod
    def of(cls, golds: Sequence[Gold], numbers: Sequence[np.ndarray], tokens: Tokens) -> Words:
        """Words as they are given; of spans the words are what tokens and spans begin or end.

        Args:
            golds: of each text.
            numbers: of each text its tags as numbers, (T,) int32.
            tokens: of the texts.
        """
        texts = [
            _of_text(text, gold, tag, tokens)
            for text, gold, tag in zip(tokens.texts, golds, numbers, strict=True)
        ]
        splits = np.cumsum([0, *(len(words.tag) for words in texts)])
        invisible = [
            first + np.array(gold.invisible, np.int64)
            for first, gold in zip(splits[:-1], golds, strict=True)
        ]
        return cls(
            start=np.concatenate([words.start for words in texts]),
            end=np.concatenate([words.end for words in texts]),
            tag=np.concatenate([words.tag for words in texts]).astype(np.int32),
            splits=splits,
            invisible=np.concatenate(invisible),
        )

    def text(self) -> np.ndarray:
        """(W,) which of the texts each word is of."""
        return np.repeat(np.arange(len(self.splits) - 1), np.diff(self.splits))


def tokens_of_texts(writer: StoreWriter) -> Iterator[Tokens]:
    """Those of a split, of some whole texts at a time."""
    mapped = {name: writer.token_column(name) for name in ("words", "owned", "start", "end")}
    for splits, example in writer.whole_texts():
        part = slice(int(splits[0]), int(splits[-1]))
        columns = {name: np.array(column[part]) for name, column in mapped.items()}
        place = np.flatnonzero((columns["words"] > 0) & (columns["owned"] > 0))
        text = np.repeat(example.astype(np.int64), np.diff(splits))
        shift = text[place] << TEXT_BITS
        yield Tokens(
            texts=range(int(example[0]), int(example[-1]) + 1),
            first=part.start,
            count=part.stop - part.start,
            place=place,
            start=shift + columns["start"][place],
            end=shift + columns["end"][place],
        )
        for column in mapped.values():
            release(column)


def _of_text(text: int, gold: Gold, tag: np.ndarray, tokens: Tokens) -> TextWords:
    """The words of a text, or its spans cut into words."""
    shift = text << TEXT_BITS
    start = np.array(gold.start, np.int64) + shift
    end = np.array(gold.end, np.int64) + shift
    given = TextWords(start, end, tag)
    if not gold.spans:
        return given
    own = tokens.of_text(text)
    return _cut(tokens.start[own], tokens.end[own], given)


def _cut(token_start: np.ndarray, token_end: np.ndarray, spans: TextWords) -> TextWords:
    """Words of a text with spans: its tokens' words, cut where a span begins or ends inside one.

    Args:
        token_start, token_end: (N,) places of the tokens.
        spans: whose tags are B- of each one's type.
    """
    edges = np.unique(np.concatenate([token_start, token_end, spans.start, spans.end]))
    left = edges[:-1]
    right = edges[1:]
    _, in_token = _containing(left, token_start, token_end)
    span, in_span = _containing(left, spans.start, spans.end)
    # A span begins at its first token; one of which no token is left is a word without a token, so
    # that it is scored all the same.
    with_token = np.flatnonzero(in_span & in_token)
    without_token = np.flatnonzero(in_span & ~np.isin(span, span[with_token]))
    begins = np.zeros(len(left), bool)
    for places in (with_token, without_token):
        _, first = np.unique(span[places], return_index=True)
        begins[places[first]] = True
    tag = np.zeros(len(left), np.int64)
    tag[in_span] = spans.tag[span[in_span]] + ~begins[in_span]  # B-, then I-
    kept = in_token | begins
    return TextWords(left[kept], right[kept], tag[kept])


def _containing(
    place: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which range begins at or before each place as the last one, and whether it has the place.

    Args:
        place: (P,).
        start, end: (N,) of the ranges, in order.
    """
    last = np.searchsorted(start, place, side="right") - 1
    if not len(start):
        return last, np.zeros(len(place), bool)
    return last, (last >= 0) & (place < end[last])
