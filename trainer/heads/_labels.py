"""Labels as data has them, and the names that they are known by: blanks, numbers and truth values
in their many spellings.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from trainer.errors import DataError, shown_value
from trainer.files import spool

INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # which str.strip leaves
NUMBER = re.compile(r"([+-]?\d+)(?:\.(\d*))?")
TRUTHS = {"true": True, "false": False}
NUMERIC_TRUTHS = {"1": True, "0": False}
SHOWN_LABELS = 30  # in a message
SHOWN_CHARACTERS = 60  # of a label
Label = str | tuple[str, ...]


class Tally(Protocol):
    """The ledger, as far as labels are concerned."""

    def add(self, split: str, kind: str, origin: str, count: int = 1) -> None:
        """Adds `count` occurrences; the first origin is kept."""


class Mentions(NamedTuple):
    """Every label that the examples of a split have, as it is written there.

    Attributes:
        numbers: the different names, in the order of their first mention, and the number of each.
        first: of each the example in which it is met first.
        times: how often each is mentioned.
        shortest, longest: how many labels an example has, at least and at most.
        labels: what `blocks` reads again, as all mentions may be too many for the memory.
    """

    numbers: dict[str, int]
    first: list[int]
    times: list[int]
    shortest: int
    longest: int
    labels: Sequence[Label]

    @classmethod
    def of(cls, labels: Sequence[Label]) -> Mentions:
        """Reads the labels once: a name, or a tuple of names, for each example."""
        numbers: dict[str, int] = {}
        first = []
        times = []
        lengths = set()
        for index, names in enumerate(map(_names, labels)):
            lengths.add(len(names))
            for name in names:
                number = numbers.setdefault(name, len(first))
                if number == len(first):
                    first.append(index)
                    times.append(0)
                times[number] += 1
        return cls(numbers, first, times, min(lengths, default=0), max(lengths, default=0), labels)

    @property
    def names(self) -> list[str]:
        """The different names."""
        return list(self.numbers)

    def counts(self) -> dict[str, int]:
        """How often each name is mentioned."""
        return dict(zip(self.numbers, self.times, strict=True))

    def first_of(self, name: str) -> int:
        """The example in which a name is met first."""
        return self.first[self.numbers[name]]

    def blocks(self, width: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of some examples at a time, fewer where each takes `width` values: (m,) int32, the number
        of each name that they mention; and (n,) int64, how many each does.
        """
        labels = map(_names, self.labels)
        while some := list(itertools.islice(labels, spool.rows_of_a_block((width,)))):
            lengths = np.fromiter(map(len, some), np.int64, len(some))
            yield (
                np.array([self.numbers[name] for names in some for name in names], np.int32),
                lengths,
            )


def _names(label: Label) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else label


def as_name(value: object, where: str) -> str | None:
    """A label as text: 1, 1.0 and "1" are what a person would write; None where there is no gold
    label.

    Raises:
        DataError: it is no label, such as a list.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        raise DataError(
            f"{where} should be a label. Received {shown_value(value)} ({type(value).__name__})."
        )
    return str(value) if trimmed(str(value)) else None


def trimmed(name: str) -> str:
    """Without the white space, seen or unseen, at its ends."""
    return name.strip().strip(INVISIBLE).strip()


def number_key(name: str) -> str | None:
    """The same for 4, 4.0 and 4.00; None for what is no number.

    Leading zeros stay: 007 is a code, not 7.
    """
    match = NUMBER.fullmatch(name)
    if match is None:
        return None
    fraction = (match[2] or "").rstrip("0")
    return f"{match[1]}.{fraction}" if fraction else match[1]


def truth(name: str) -> bool | None:
    """What true, "TRUE" or 1 say; None for what says neither true nor false."""
    return TRUTHS.get(name.casefold(), NUMERIC_TRUTHS.get(name))


def learnt_names(counts: Mapping[str, int]) -> list[str]:
    """The labels of train, of the names as they are written there: sorted, numbers by value.

    Names that differ by blanks at their ends are one label, so are numbers that differ by zeros
    behind the point, and truth values however they are written.
    """
    names = Counter()
    for name, count in counts.items():
        names[trimmed(name)] += count
    return sorted_names(_truths(names) or _numbers(names))


def _truths(names: Mapping[str, int]) -> list[str] | None:
    """The names by which truth values are known, if those are all there is and one is in words."""
    if not all(truth(name) is not None for name in names) or not any(
        name.casefold() in TRUTHS for name in names
    ):
        return None
    words = [name for name in names if name.casefold() in TRUTHS]
    chosen = []
    for value in sorted({truth(name) for name in names}):
        own = [name for name in words if truth(name) == value]
        chosen.append(
            str(value) if str(value) in own or not own else max(own, key=lambda name: names[name])
        )
    return chosen


def _numbers(names: Mapping[str, int]) -> list[str]:
    """Each number once: 0 of 0 and 0.0; all without their zeros behind the point where all are
    whole.
    """
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(number_key(name) or name, []).append(name)
    whole = all("." not in key and number_key(key) for key in spellings)
    return [key if whole or len(written) > 1 else written[0] for key, written in spellings.items()]


def sorted_names(names: Iterable[str]) -> list[str]:
    """Numbers by value, everything else by code point."""
    names = list(names)
    if all(number_key(name) is not None for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


class Spellings:
    """Finds the label that a written name means."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = set(labels)
        self._trimmed = {trimmed(name): name for name in reversed(labels)}
        self._numbers = {
            key: name for name in reversed(labels) if (key := number_key(trimmed(name)))
        }
        truths = {truth(name): name for name in labels}
        self._truths = truths if set(truths) == {True, False} and len(labels) == 2 else {}

    def find(self, name: str) -> tuple[str | None, str | None]:
        """The label, and the ledger's kind where it is written otherwise than the label is; (None,
        None) where it is none.
        """
        if name in self._exact:
            return name, None
        bare = trimmed(name)
        if bare in self._trimmed:
            return self._trimmed[bare], "label_blanks"
        key = number_key(bare)
        label = self._numbers.get(key) if key is not None else None
        label = label or self._truths.get(truth(bare))
        return label, "label_spellings" if label else None


def shown_label(name: str) -> str:
    """A label for people: between quotes where blanks, commas or characters that cannot be seen
    would deceive; cut to length.
    """
    plain = (
        name
        and name.isprintable()
        and name == " ".join(name.split())
        and not set(name) & set(",;:'\"")
    )
    short = name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "…"
    return short if plain else repr(short)


def shown_labels(names: Sequence[str], most: int = SHOWN_LABELS) -> str:
    """Labels between commas; of many the first ones, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(shown_label, names[:most])) + more
