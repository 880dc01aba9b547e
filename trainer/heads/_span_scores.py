"""How right the spans of tags are, strictly: a span counts where its beginning, end and type do, as
seqeval has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ScoredWords(NamedTuple):
    """The words of a split that have a token, one text's after the other's.

    Attributes:
        gold, predicted: (W,) int32, tags; places in O, B-x, I-x, B-y, I-y, … where they mark spans,
            none of which begins with I-.
        text: (W,) int32, which text each is of.
    """

    gold: np.ndarray
    predicted: np.ndarray
    text: np.ndarray


class SpanCounts(NamedTuple):
    """How many spans of each type, (types,) int64, are predicted rightly, are predicted, and are
    gold.
    """

    right: np.ndarray
    predicted: np.ndarray
    gold: np.ndarray

    def total(self) -> dict[str, float]:
        """precision, recall and f1 over all types."""
        return _shares(*(int(counts.sum()) for counts in self))

    def of_each(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """The same of each type that has a span, and `support`, how many are gold."""
        rows = zip(names, *(counts.tolist() for counts in self), strict=True)
        return {
            name: {**_shares(right, predicted, gold), "support": gold}
            for name, right, predicted, gold in rows
            if predicted or gold
        }


def span_counts(words: ScoredWords, tags: int) -> SpanCounts:
    """Counts the spans of tags, of which there are so many."""
    begins = [np.flatnonzero(tag % 2) for tag in (words.gold, words.predicted)]
    same = np.flatnonzero((words.gold % 2 > 0) & (words.gold == words.predicted))
    gold_end, predicted_end = (_ends(tag, same) for tag in (words.gold, words.predicted))
    counted = (
        words.gold[same[gold_end == predicted_end]],
        words.predicted[begins[1]],
        words.gold[begins[0]],
    )
    return SpanCounts(*(np.bincount(tag // 2, minlength=tags // 2) for tag in counted))


def _ends(tag: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The last word of the spans that begin at some words: the next is none with I-."""
    goes_on = (tag[1:] > 0) & (tag[1:] % 2 == 0)
    last = np.flatnonzero(np.append(~goes_on, True))
    return last[np.searchsorted(last, begins)]


def _shares(right: int, predicted: int, gold: int) -> dict[str, float]:
    """Each 0 where nothing is to be shared."""
    precision = right / predicted if predicted else 0.0
    recall = right / gold if gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
