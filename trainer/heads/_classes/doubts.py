"""What may be wrong with labels, such as one class in two spellings.

Or misspelt ones, ones of a few examples, ones that a split lacks. It costs no more than a few steps
for each character of the names, so that ten thousand labels take no time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

from trainer.data.ledger import Ledger
from trainer.errors import shown_label, shown_labels
from trainer.sources import UNLABELLED_MARKS

FEW = 3  # examples that a class should have at least
TYPO_TIMES = 20  # how much more frequent the right spelling is, at least
TYPO_COUNT = 5  # examples that a misspelt label has at most
TYPO_CHARACTERS = 4  # of the longer name: cat and bat are two words
# examples of a label that a split should have by train's share, for its lack to be told
EXPECTED = 5
SHOWN = 10  # labels in a warning
Counts: TypeAlias = Mapping[str, int]


class Pair(NamedTuple):
    """A label, and a more frequent one that it may be."""

    label: str
    other: str


Finder: TypeAlias = Callable[[Counts], list[Pair]]


def alike(counts: Counts, known: Collection[str] = ()) -> list[Pair]:
    """Labels that differ from a more frequent one by how they are written alone.

    That is by case, inner blanks, or how Unicode composes characters.

    Args:
        counts: of the labels.
        known: labels that count as more frequent.
    """
    groups: dict[str, list[str]] = {}
    for name in counts:
        composed = unicodedata.normalize("NFKC", name)
        words = composed.casefold().split()
        groups.setdefault(" ".join(words), []).append(name)
    pairs = []
    for names in groups.values():
        most = max(names, key=lambda name: (name in known, counts[name]))
        pairs += [Pair(name, most) for name in names if name != most]
    return pairs


def typos(counts: Counts) -> list[Pair]:
    """Rare labels that are one slip of a key away from a frequent one.

    A slip is a letter more, less, another, or two that changed places.
    """
    frequent = {name for name, count in counts.items() if count >= TYPO_TIMES}
    scarce = [name for name, count in counts.items() if 0 < count <= TYPO_COUNT]
    if not frequent or not scarce:
        return []
    near: dict[str, list[str]] = {}
    for name in frequent:
        for shorter in _shortened(name):
            near.setdefault(shorter, []).append(name)
    pairs = []
    for name in scarce:
        candidates = {other for shorter in _shortened(name) for other in near.get(shorter, ())}
        meant = _meant(name, candidates, counts)
        if meant is not None:
            pairs.append(Pair(name, meant))
    return pairs


def _meant(name: str, candidates: Collection[str], counts: Counts) -> str | None:
    """The most frequent label that a rare one is a slip for."""
    least = TYPO_TIMES * counts[name]
    likely = []
    for other in candidates:
        if counts[other] >= least and _is_slip(name, other):
            likely.append(other)
    return max(likely, key=lambda other: (counts[other], other), default=None)


def _shortened(name: str) -> set[str]:
    """The name, and what it is without one of its characters."""
    shortened = {name}
    for place in range(len(name)):
        before = name[:place]
        behind = name[place + 1 :]
        shortened.add(before + behind)
    return shortened


def _is_slip(name: str, other: str) -> bool:
    """Whether one slip makes one of the other, in letters: class_1 and class_2 are two classes."""
    shorter, longer = sorted((name, other), key=len)
    if len(longer) < TYPO_CHARACTERS or shorter.casefold() == longer.casefold():
        return False
    start = 0
    while shorter[start : start + 1] == longer[start : start + 1]:
        start += 1
    rest = shorter[start:]
    other_rest = longer[start:]
    differing = rest[:1] + other_rest[:1]
    if not differing.isalpha():
        return False
    if len(rest) < len(other_rest):
        return rest == other_rest[1:]
    swapped = rest[1:2] + rest[:1] + rest[2:]
    return rest[1:] == other_rest[1:] or swapped == other_rest


def rare(counts: Counts) -> list[str]:
    """Labels with fewer than three examples."""
    return [name for name, count in counts.items() if count < FEW]


def lacking(counts: Counts, train: Counts) -> list[str]:
    """Labels of train of which a split has no example."""
    return [name for name, count in train.items() if count and not counts.get(name)]


def note_doubts(
    split: str, counts: Counts, train: Counts, ledger: Ledger, first: Callable[[set[str]], str]
) -> None:
    """Counts in the ledger what is doubtful about the labels of a split, each with its first place.

    Args:
        split: its name.
        counts: of the split; of labels as they are known.
        train: those of train.
        ledger: takes the doubts.
        first: of some labels the origin of the first example that has one.
    """
    doubtful: dict[str, Finder] = {
        "labels_alike": partial(alike, known=train),
        "label_typos": typos,
    }
    for kind, find in doubtful.items():
        names = [pair.label for pair in _own(find, split, counts, train)]
        if names:
            ledger.add(split, kind, first(set(names)), sum(counts[name] for name in names))
    if split == "train":
        few = {name for name in rare(counts) if counts[name]}
        if few:
            ledger.add(split, "rare_labels", first(few), len(few))
        return
    absent = lacking(counts, train)
    if absent:
        ledger.add(split, "absent_labels", shown_label(absent[0]), len(absent))


def _own(find: Finder, split: str, counts: Counts, train: Counts) -> list[Pair]:
    """What is found among the labels of train, or in those that another split has beside them."""
    if split == "train":
        return [pair for pair in find(counts) if counts[pair.label]]
    beside = _only_there(counts, train)
    if not beside:
        return []
    pairs = find({**train, **beside})
    return [pair for pair in pairs if pair.label in beside]


def _only_there(counts: Counts, train: Counts) -> dict[str, int]:
    """The labels that a split has and train has not."""
    return {name: count for name, count in counts.items() if count and name not in train}


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
    lines = [line for split, own in counts.items() for line in _of_split(split, own, train)]
    scarce = [] if few else [f"{shown_label(name)} ({train[name]})" for name in rare(train)]
    if scarce:
        lines.append(f"labels: fewer than {FEW} examples in train: {_first_few(scarce)}")
    marks = [] if named else [mark for mark in UNLABELLED_MARKS if train.get(mark)]
    lines += [
        f"labels: {mark} is read as a class. If it means that there is no gold label:"
        f" --data.exclude_labels=[{mark}]"
        for mark in marks
    ]
    return lines


def _of_split(split: str, counts: Counts, train: Counts) -> Iterator[str]:
    for label, other in _own(typos, split, counts, train)[:SHOWN]:
        yield (
            f"labels: {shown_label(label)} ({counts[label]:,} of {split}) looks like"
            f" {shown_label(other)}, misspelt. If so, correct it in the data"
        )
    for label, other in _own(partial(alike, known=train), split, counts, train)[:SHOWN]:
        yield (
            f"labels: {_apart(label, other)} ({counts[label]:,} of {split}) differ by case, inner"
            " blanks or Unicode form alone, and are two labels. If they are one, write them alike"
            " in the data"
        )
    if split != "train":
        yield from _beside(split, counts, train)
        yield from _lacked(split, counts, train)


def _first_few(names: list[str]) -> str:
    """Names between commas; of many the first ones, and how many more there are."""
    left_out = len(names) - SHOWN
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {left_out:,} more" if left_out > 0 else shown


def _apart(label: str, other: str) -> str:
    """Two names that may look the same: then as code points."""
    forms = {unicodedata.normalize("NFKC", name) for name in (label, other)}
    if len(forms) == 1:
        return f"{label!a} and {other!a}"
    return f"{shown_label(label)} and {shown_label(other)}"


def _beside(split: str, counts: Counts, train: Counts) -> Iterator[str]:
    """Where a split has labels that train has not."""
    beside = _only_there(counts, train)
    names = [f"{shown_label(name)} ({count:,})" for name, count in beside.items()]
    if names:
        yield f"labels: {split} has {_first_few(names)}, and train has not: scored as missed"


def _lacked(split: str, counts: Counts, train: Counts) -> Iterator[str]:
    """Where a split has no example of labels of which it should have some."""
    share = sum(counts.values()) / max(sum(train.values()), 1)
    names = [name for name in lacking(counts, train) if train[name] * share >= EXPECTED]
    if names:
        examples = sum(train[name] for name in names)
        yield (
            f"labels: {split} has no example of {shown_labels(names, SHOWN)}, of which train has"
            f" {examples:,}: macro scores of {split} count 0 for it. If it is no class, leave it"
            f" out: --data.exclude_labels=[{', '.join(names[:SHOWN])}]"
        )
