"""How right tags and their spans are, strictly.

A span counts where its beginning, end and type do, as seqeval has it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer.heads.token_classification.gold_spans import goes_inside


class ScoredWords(NamedTuple):
    """Some words that have a token, of whole texts, one after the other.

    Attributes:
        gold, predicted: (W,) int32, tags; places in O, B-x, I-x, B-y, I-y, … where they mark spans,
            none of which begins with I-.
        text: (W,) int32, which text of the split each is of; ascending.
        token: (W,) int64, its token in the split.
        texts: of which these are all words.
    """

    gold: np.ndarray
    predicted: np.ndarray
    text: np.ndarray
    token: np.ndarray
    texts: range


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many of each kind are predicted rightly, are predicted, and are gold: (kinds,) int64."""

    right: np.ndarray
    predicted: np.ndarray
    gold: np.ndarray

    @classmethod
    def none(cls, kinds: int) -> Counts:
        """Of so many kinds nothing."""
        nothing = np.zeros(kinds, np.int64)
        return cls(nothing, nothing, nothing)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.right + other.right, self.predicted + other.predicted, self.gold + other.gold
        )

    def accuracy(self) -> float:
        """The share of what is gold that is predicted."""
        return float(self.right.sum() / max(self.gold.sum(), 1))

    def total(self) -> dict[str, float]:
        """precision, recall and f1 over all kinds."""
        return _shares(int(self.right.sum()), int(self.predicted.sum()), int(self.gold.sum()))

    def of_each(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """The same of each kind, and `support`, how many are gold."""
        columns = (self.right.tolist(), self.predicted.tolist(), self.gold.tolist())
        return {
            name: {**_shares(right, predicted, gold), "support": gold}
            for name, right, predicted, gold in zip(names, *columns, strict=True)
        }


def tag_counts(words: ScoredWords, tags: int) -> Counts:
    """Counts words by their tags.

    Args:
        words: some.
        tags: how many there are.
    """
    right = words.gold[words.gold == words.predicted]
    return Counts(
        right=np.bincount(right, minlength=tags),
        predicted=np.bincount(words.predicted, minlength=tags),
        gold=np.bincount(words.gold, minlength=tags),
    )


def span_counts(words: ScoredWords, tags: int) -> Counts:
    """Counts spans by their types.

    Args:
        words: of whole texts.
        tags: how many there are, two a type and one for what is outside.
    """
    gold_begins = words.gold % 2 == 1
    begins_alike = np.flatnonzero(gold_begins & (words.gold == words.predicted))
    ends_alike = _ends(words.gold, begins_alike) == _ends(words.predicted, begins_alike)
    right = words.gold[begins_alike[ends_alike]]
    predicted = words.predicted[words.predicted % 2 == 1]
    types = tags // 2
    return Counts(
        right=np.bincount(right // 2, minlength=types),
        predicted=np.bincount(predicted // 2, minlength=types),
        gold=np.bincount(words.gold[gold_begins] // 2, minlength=types),
    )


def _ends(tag: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The last word of the spans that begin at some words: the next is none with I-."""
    goes_on = np.append(goes_inside(tag[1:]), [False])[: len(tag)]
    last = np.flatnonzero(~goes_on)
    return last[np.searchsorted(last, begins)]


def _shares(right: int, predicted: int, gold: int) -> dict[str, float]:
    """precision, recall and f1, each 0 where nothing is to be shared."""
    precision = right / predicted if predicted else 0.0
    recall = right / gold if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
