"""What may be wrong with labels: one class in two spellings, misspelt ones, ones of a few examples,
ones that a split lacks.

It costs no more than a few steps for each character of the names, so that ten thousand labels take
no time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from trainer.heads._labels import Tally, shown_label, shown_labels
from trainer.sources import UNLABELLED_MARKS

FEW = 3  # examples that a class should have at least
TYPO_TIMES = 20  # how much more frequent the right spelling is, at least
TYPO_COUNT = 5  # examples that a misspelt label has at most
TYPO_CHARACTERS = 4  # of the longer name: cat and bat are two words
# examples of a label that a split should have by train's share, for its lack to be told
EXPECTED = 5
SHOWN = 10  # labels in a warning
Counts = Mapping[str, int]


class Pair(NamedTuple):
    """A label, and a more frequent one that it may be."""

    label: str
    other: str


def alike(counts: Counts, known: Collection[str] = ()) -> list[Pair]:
    """Labels that differ from a more frequent one by case, inner blanks, or how Unicode composes
    characters, alone; a known one counts as more frequent.
    """
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(
            " ".join(unicodedata.normalize("NFKC", name).casefold().split()), []
        ).append(name)
    found = []
    for names in groups.values():
        most = max(names, key=lambda name: (name in known, counts[name]))
        found += [Pair(name, most) for name in names if name != most]
    return found


def typos(counts: Counts) -> list[Pair]:
    """Rare labels that are one slip of a key away from a frequent one: a letter more, less,
    another, or two that changed places.
    """
    frequent = {name for name, count in counts.items() if count >= TYPO_TIMES}
    rare = [name for name, count in counts.items() if 0 < count <= TYPO_COUNT]
    if not frequent or not rare:
        return []
    near: dict[str, list[str]] = {}
    for name in frequent:
        for shorter in {name, *_shortened(name)}:
            near.setdefault(shorter, []).append(name)
    found = []
    for name in rare:
        candidates = {
            other for shorter in {name, *_shortened(name)} for other in near.get(shorter, ())
        }
        likely = [
            other
            for other in candidates
            if counts[other] >= TYPO_TIMES * counts[name] and _is_slip(name, other)
        ]
        if likely:
            found.append(Pair(name, max(likely, key=lambda other: (counts[other], other))))
    return found


def _shortened(name: str) -> Iterator[str]:
    return (name[:place] + name[place + 1 :] for place in range(len(name)))


def _is_slip(name: str, other: str) -> bool:
    """Whether one slip makes one of the other, in letters: class_1 and class_2 are two classes."""
    shorter, longer = sorted((name, other), key=len)
    if len(longer) < TYPO_CHARACTERS or shorter.casefold() == longer.casefold():
        return False
    start = next(
        (place for place, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b),
        len(shorter),
    )
    differing = {shorter[start : start + 1], longer[start : start + 1]}
    if any(not ch.isalpha() for ch in differing if ch):
        return False
    if len(shorter) < len(longer):
        return shorter[start:] == longer[start + 1 :]
    swapped = (
        shorter[:start]
        + shorter[start + 1 : start + 2]
        + shorter[start : start + 1]
        + shorter[start + 2 :]
    )
    return shorter[start + 1 :] == longer[start + 1 :] or swapped == longer


def rare(counts: Counts) -> list[str]:
    """Labels with fewer than three examples."""
    return [name for name, count in counts.items() if count < FEW]


def lacking(counts: Counts, train: Counts) -> list[str]:
    """Labels of train of which a split has no example."""
    return [name for name, count in train.items() if count and not counts.get(name)]


def note_doubts(
    split: str, counts: Counts, train: Counts, tally: Tally, first: Callable[[set[str]], str]
) -> None:
    """Counts in the ledger what is doubtful about the labels of a split, each with its first place.

    Args:
        counts: of the split; of labels as they are known.
        train: those of train.
        first: of some labels the origin of the first example that has one.
    """
    doubtful = {
        "labels_alike": _own(partial(alike, known=train), split, counts, train),
        "label_typos": _own(typos, split, counts, train),
    }
    for kind, pairs in doubtful.items():
        if pairs:
            tally.add(
                split,
                kind,
                first({pair.label for pair in pairs}),
                sum(counts[pair.label] for pair in pairs),
            )
    if split == "train" and (few := {name for name in rare(counts) if counts[name]}):
        tally.add(split, "rare_labels", first(few), len(few))
    if split != "train" and (absent := lacking(counts, train)):
        tally.add(split, "absent_labels", shown_label(absent[0]), len(absent))


def _own(
    find: Callable[[Counts], list[Pair]], split: str, counts: Counts, train: Counts
) -> list[Pair]:
    """What is found among the labels of train, or in those that another split has beside them."""
    if split == "train":
        return [pair for pair in find(counts) if counts[pair.label]]
    beside = {name: count for name, count in counts.items() if count and name not in train}
    return [pair for pair in find({**train, **beside}) if pair.label in beside] if beside else []


def doubts_of(
    counts: Mapping[str, Counts], train: Counts, *, named: bool, few: bool = False
) -> list[str]:
    """What a person should know of the labels before training on them.

    Args:
        counts: of each split.
        train: those of train, as the vocabulary has them.
        named: the config names the labels, so that each is meant.
        few: a few examples will do.
    """
    found = []
    for split, own in counts.items():
        found += [
            f"labels: {shown_label(label)} ({own[label]:,} of {split}) looks like"
            f" {shown_label(other)}, misspelt. If so, correct it in the data"
            for label, other in _own(typos, split, own, train)[:SHOWN]
        ]
        found += [
            f"labels: {_apart(label, other)} ({own[label]:,} of {split}) differ by case, inner"
            " blanks or Unicode form alone, and are two labels. If they are one, write them alike"
            " in the data"
            for label, other in _own(partial(alike, known=train), split, own, train)[:SHOWN]
        ]
        if split != "train":
            found += _beside(split, own, train)
            found += _lacked(split, own, train)
    if not few and (scarce := [f"{shown_label(name)} ({train[name]})" for name in rare(train)]):
        more = f" and {len(scarce) - SHOWN:,} more" if len(scarce) > SHOWN else ""
        found.append(
            f"labels: fewer than {FEW} examples in train: {', '.join(scarce[:SHOWN])}{more}"
        )
    if not named:
        found += [
            f"labels: {mark} is read as a class. If it means that there is no gold label:"
            f" --data.exclude_labels=[{mark}]"
            for mark in UNLABELLED_MARKS
            if train.get(mark)
        ]
    return found


def _apart(label: str, other: str) -> str:
    """Two names that may look the same: then as code points."""
    same = unicodedata.normalize("NFKC", label) == unicodedata.normalize("NFKC", other)
    return " and ".join(ascii(name) if same else shown_label(name) for name in (label, other))


def _beside(split: str, counts: Counts, train: Counts) -> list[str]:
    """The labels that a split has and train has not."""
    names = [
        f"{shown_label(name)} ({count:,})"
        for name, count in counts.items()
        if count and name not in train
    ]
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (
        [
            f"labels: {split} has {', '.join(names[:SHOWN])}{more}, and train has not: scored as"
            " missed"
        ]
        if names
        else []
    )


def _lacked(split: str, counts: Counts, train: Counts) -> list[str]:
    """Where a split has no example of labels of which it should have some."""
    share = sum(counts.values()) / max(sum(train.values()), 1)
    names = [name for name in lacking(counts, train) if train[name] * share >= EXPECTED]
    if not names:
        return []
    examples = sum(train[name] for name in names)
    return [
        f"labels: {split} has no example of {shown_labels(names, SHOWN)}, of which train has"
        f" {examples:,}: macro scores of {split} count 0 for it. If it is no class, leave it out:"
        f" --data.exclude_labels=[{', '.join(names[:SHOWN])}]"
    ]


def constant_numbers(split: str, label: np.ndarray) -> list[str]:
    """Where all numbers of a split are the same, as those of a test set whose labels are hidden."""
    if len(label) < 2 or np.ptp(label) > 0:
        return []
    return [
        f"labels: all {len(label):,} numbers of {split} are {float(label[0]):g}, so that"
        f" correlations say nothing. Are they hidden? Then leave data.{split} out: --mode=predict"
        " answers such a file"
    ]
