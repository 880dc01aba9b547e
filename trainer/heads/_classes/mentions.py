"""What a split mentions: every name that stands for a label in it, and how often."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from trainer.files import spool

Names: TypeAlias = str | tuple[str, ...]  # of an example's labels, as they are written


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
    labels: Sequence[Names]

    @classmethod
    def of(cls, labels: Sequence[Names]) -> Mentions:
        """Reads the labels once: a name, or a tuple of names, for each example."""
        numbers: dict[str, int] = {}
        first: list[int] = []
        times: list[int] = []
        lengths = set()
        for index, names in enumerate(map(_as_tuple, labels)):
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
        """The mentions of some examples at a time, fewer where each takes `width` values.

        Yields:
            (m,) int32, the number of each name that they mention; (n,) int64, how many each does.
        """
        examples = map(_as_tuple, self.labels)
        count = spool.rows_of_a_block((width,))
        while some := list(itertools.islice(examples, count)):
            lengths = [len(names) for names in some]
            mentioned = [self.numbers[name] for names in some for name in names]
            yield np.array(mentioned, np.int32), np.array(lengths, np.int64)


def _as_tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
