"""The labels of a split as numbers, with the ledger of what was odd about them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.ledger import Ledger
from trainer.data.reader import Columns
from trainer.errors import DataError, shown_labels, shown_value
from trainer.heads._classes.doubts import note_doubts
from trainer.heads._classes.mentions import Mentions
from trainer.heads._classes.names import Spellings, trimmed
from trainer.heads._classes.naming import Naming

if TYPE_CHECKING:  # which preparation and evaluation alone need
    from trainer.data.split import Split

UNSEEN_NAMES = "unseen_labels"  # extras of a store
UNSEEN_GIVEN = "unseen_given"


def unseen_names(extras: Columns) -> list[str]:
    """The labels of a split that train does not have."""
    return extras[UNSEEN_NAMES].tolist() if UNSEEN_NAMES in extras else []


@dataclasses.dataclass(frozen=True)
class Numbered:
    """The labels that a split mentions, as numbers.

    Labels that train does not have get the numbers after the vocabulary's, C, C + 1, …: a model
    never gives them.

    Attributes:
        mentions: of the split.
        numbers: (names,) int32, the label of each name.
        unseen: (U,) names of labels that train does not have.
    """

    mentions: Mentions
    numbers: np.ndarray
    unseen: list[str]

    def extras(self) -> Columns:
        """What the metrics need to know of labels that train does not have."""
        return {UNSEEN_NAMES: np.array(self.unseen, np.str_)}


def number_names(
    split: Split, mentions: Mentions, labels: Sequence[str], naming: Naming, ledger: Ledger
) -> Numbered:
    """Finds the label of each name.

    Args:
        split: what is being written: its `name`, `labels` and `origin`.
        mentions: of its labels.
        labels: (C,) of train.
        naming: who named them.
        ledger: takes what is written otherwise.
    Raises:
        DataError: a label is none of these, where `naming` refuses it, or all of them are none.
    """
    spellings = Spellings.of(labels)
    ids = {label: number for number, label in enumerate(labels)}
    counts = mentions.counts()
    numbers = []
    for name in mentions.names:
        label, oddity = spellings.find(name)
        if label is None:
            if split.name == "train" or naming.refuses_unseen:
                raise _unknown(split, mentions, name, labels, naming)
            label = trimmed(name)
            oddity = "unseen_labels"
            ids.setdefault(label, len(ids))
        if oddity:
            origin = split.origin(mentions.first_of(name))
            ledger.add(split.name, oddity, origin, counts[name])
        numbers.append(ids[label])
    unseen = list(ids)[len(labels) :]
    if unseen and split.name in naming.own_files and min(numbers) >= len(labels):
        raise _all_unseen(split, unseen, labels)
    return Numbered(mentions, np.array(numbers, np.int32), unseen)


def _unknown(
    split: Split, mentions: Mentions, name: str, labels: Sequence[str], naming: Naming
) -> DataError:
    origin = split.origin(mentions.first_of(name))
    return DataError(
        f"{origin}: label {shown_value(name)} of {split.name} is not among the labels of"
        f" {naming.known_from}: {shown_labels(labels)}. Correct it, or {naming.remedy}."
    )


def _all_unseen(split: Split, names: Sequence[str], labels: Sequence[str]) -> DataError:
    """A split has none of train's labels: it is likely the wrong file, or the wrong field."""
    return DataError(
        f"data.{split.name}: its labels are none of those of train (first: {split.origin(0)})."
        f" Received {shown_labels(names)}. Expected some of {shown_labels(labels)}. Is it the right"
        " file, and is --data.label the right field?"
    )


def note_doubtful(
    split: Split,
    counts: Mapping[str, int],
    train_counts: Mapping[str, int],
    ledger: Ledger,
    first_with: Callable[[Sequence[int]], int],
) -> None:
    """Counts in the ledger what is doubtful about the labels of a split.

    Args:
        split: what is being written.
        counts: of its labels, in the order of their numbers.
        train_counts: those of train.
        ledger: takes the doubts.
        first_with: the first example that has a label of these numbers.
    """
    numbers = {name: number for number, name in enumerate(counts)}

    def first(names: set[str]) -> str:
        classes = [numbers[name] for name in names]
        return split.origin(first_with(classes))

    note_doubts(split.name, counts, train_counts, ledger, first)


def first_true(parts: Iterable[np.ndarray]) -> float:
    """The place of the first True of all parts; infinite where there is none."""
    start = 0
    for part in parts:
        if part.any():
            return start + int(part.argmax())
        start += len(part)
    return math.inf
