"""The labels of a split as numbers, with the ledger of what was odd about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.errors import DataError, shown_value
from trainer.files.mapped import blocks
from trainer.heads._label_lists import vectors
from trainer.heads._labels import Mentions, Spellings, Tally, shown_labels, trimmed

if TYPE_CHECKING:
    from trainer.data.split import Split

Columns = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
UNSEEN_NAMES, UNSEEN_GIVEN = "unseen_labels", "unseen_given"  # extras of a store


def first_with(numbers: Sequence[int], label: np.ndarray, extras: Mapping[str, np.ndarray]) -> int:
    """The first example that has a label of those numbers."""
    if label.ndim == 1:
        return _first_of(np.isin(block, numbers) for block in blocks(label))
    classes = label.shape[1]
    firsts = [
        _first_of(
            block[:, [number for number in numbers if number < classes]].any(axis=1)
            for block in blocks(label)
        )
    ]
    if UNSEEN_GIVEN in extras:
        others = [number - classes for number in numbers if number >= classes]
        firsts.append(
            _first_of(block[:, others].any(axis=1) for block in blocks(extras[UNSEEN_GIVEN]))
        )
    return min(firsts)


def _first_of(found: Iterable[np.ndarray]) -> float:
    """The place of the first True of all; infinite where there is none."""
    start = 0
    for part in found:
        if part.any():
            return start + int(part.argmax())
        start += len(part)
    return math.inf


class Unseen(NamedTuple):
    """What becomes of labels that train does not have.

    Attributes:
        refuse: in every case.
        held_out: the split is a part of train, and may have none of its labels; a file of its own
            that has none is refused.
        known_from: who names the labels, for messages.
        remedy: how to name one more.
    """

    refuse: bool
    held_out: bool
    known_from: str
    remedy: str = "list every label with --head.labels"


def label_columns(
    split: Split,
    vocabulary: Mapping[str, object],
    ledger: Tally,
    *,
    several: bool,
    unseen: Unseen,
) -> Columns:
    """One label an example, or several.

    Labels that train does not have get the numbers after the vocabulary's, C, C + 1, …: a model
    never gives them.

    Args:
        vocabulary: `labels`, and `vectors` where train has 0 and 1 for each of them.
    Returns:
        columns: `label`, (n,) int32, or (n, C) float32 of 0 and 1.
        extras: `unseen_labels` (U,) their names; where there are several labels an example also
            `unseen_given` (n, U) uint8.
    Raises:
        DataError: a label that the list does not have, where `unseen` refuses it, or none that it
            has.
    """
    labels = list(vocabulary["labels"])
    mentions = Mentions.of(split.labels)
    if vocabulary.get("vectors"):
        label = split.writer.scratch(np.float32, (len(labels),))
        for values in vectors(mentions, len(labels), split.origin):
            label.extend(values)
        return {"label": label.mapped()}, {UNSEEN_NAMES: np.array([], np.str_)}
    numbers, names = _numbers(split, mentions, labels, ledger, unseen)
    if not unseen.held_out and len(names) and (numbers >= len(labels)).all():
        raise _all_unseen(split, names, labels)
    extras = {UNSEEN_NAMES: np.array(names, np.str_)}
    if several:
        label = split.writer.scratch(np.float32, (len(labels),))
        unseen_given = split.writer.scratch(np.uint8, (len(names),))
        for given in _given(mentions, numbers, len(labels) + len(names)):
            label.extend(given[:, : len(labels)])
            unseen_given.extend(given[:, len(labels) :])
        return {"label": label.mapped()}, {**extras, UNSEEN_GIVEN: unseen_given.mapped()}
    label = split.writer.scratch(np.int32)
    for name, _ in mentions.blocks():
        label.extend(numbers[name])
    return {"label": label.mapped()}, extras


def _given(mentions: Mentions, numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """(n, size) bool, which labels each example has, some examples at a time; `numbers` is the
    label of each name.
    """
    for name, lengths in mentions.blocks(size):
        given = np.zeros((len(lengths), size), bool)
        given[np.repeat(np.arange(len(lengths)), lengths), numbers[name]] = True
        yield given


def _numbers(
    split: Split, mentions: Mentions, labels: list[str], ledger: Tally, unseen: Unseen
) -> tuple[np.ndarray, list[str]]:
    """The number of each name that the split mentions, and the names of those beyond the
    vocabulary's.
    """
    spellings = Spellings(labels)
    ids = {label: number for number, label in enumerate(labels)}
    counts = mentions.counts()
    first = dict(zip(mentions.names, mentions.first, strict=True))
    numbers = []
    for name in mentions.names:
        label, oddity = spellings.find(name)
        if label is None:
            if split.name == "train" or unseen.refuse:
                raise _unknown(name, split.origin(first[name]), split.name, labels, unseen)
            label, oddity = trimmed(name), "unseen_labels"
            ids.setdefault(label, len(ids))
        if oddity:
            ledger.add(split.name, oddity, split.origin(first[name]), counts[name])
        numbers.append(ids[label])
    return np.array(numbers, np.int32), list(ids)[len(labels) :]


def _unknown(
    name: str, origin: str, split: str, labels: Sequence[str], unseen: Unseen
) -> DataError:
    return DataError(
        f"{origin}: label {shown_value(name)} of {split} is not among the labels of"
        f" {unseen.known_from}: {shown_labels(labels)}. Correct it, or {unseen.remedy}."
    )


def _all_unseen(split: Split, names: Sequence[str], labels: Sequence[str]) -> DataError:
    """A split has none of train's labels: it is likely the wrong file, or the wrong field."""
    return DataError(
        f"data.{split.name}: its labels are none of those of train (first: {split.origin(0)})."
        f" Received {shown_labels(names)}. Expected some of {shown_labels(labels)}. Is it the right"
        " file, and is --data.label the right field?"
    )
