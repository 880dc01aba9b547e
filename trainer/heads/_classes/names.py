"""The names that labels are known by: blanks, numbers and truth values in their many spellings."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from trainer.errors import DataError, shown_value

INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # which str.strip leaves
NUMBER = re.compile(r"([+-]?\d+)(?:\.(\d*))?")
TRUTHS = {"true": True, "false": False}
NUMERIC_TRUTHS = {"1": True, "0": False}


def as_name(value: object, where: str) -> str | None:
    """A label as text, as a person would write it: 1 for 1.0.

    Args:
        value: of a field.
        where: the field and its place, for messages.
    Returns:
        None where there is no gold label.
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


def plain_name(name: str) -> str:
    """How a label is known, however it is written: without blanks at its ends, 1 for 1.0."""
    bare = trimmed(name)
    return number_key(bare) or bare


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
    """The labels of train: sorted, numbers by value.

    Names that differ by blanks at their ends are one label. So are numbers that differ by zeros
    behind the point, and truth values however they are written.

    Args:
        counts: how often each name is written there.
    """
    bare: Counter[str] = Counter()
    for name, count in counts.items():
        bare[trimmed(name)] += count
    return sorted_names(_names_of_truths(bare) or _names_of_numbers(bare))


def _names_of_truths(counts: Mapping[str, int]) -> list[str] | None:
    """The names of truth values, if those are all there is and one of them is a word."""
    truths = {truth(name) for name in counts}
    words = [name for name in counts if name.casefold() in TRUTHS]
    if None in truths or not words:
        return None
    return [_name_of_truth(value, words, counts) for value in (False, True) if value in truths]


def _name_of_truth(value: bool, words: Sequence[str], counts: Mapping[str, int]) -> str:
    """As Python writes it where the data does or has no word for it; else as it is mostly written.

    Args:
        value: the truth.
        words: for truths, in the data.
        counts: how often each name is written.
    """
    own = [name for name in words if truth(name) == value]
    if not own or str(value) in own:
        return str(value)
    return max(own, key=lambda name: counts[name])


def _names_of_numbers(names: Iterable[str]) -> list[str]:
    """Each number once: 0 of 0 and 0.0; what is no number as it is.

    Where all numbers are whole, none has zeros behind the point.
    """
    spellings: dict[str, list[str]] = {}
    for name in names:
        key = number_key(name) or name
        spellings.setdefault(key, []).append(name)
    are_whole = all("." not in key and number_key(key) for key in spellings)
    if are_whole:
        return list(spellings)
    return [key if len(written) > 1 else written[0] for key, written in spellings.items()]


def sorted_names(names: Iterable[str]) -> list[str]:
    """Numbers by value, everything else by code point."""
    names = list(names)
    if all(number_key(name) is not None for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


@dataclasses.dataclass(frozen=True)
class Spellings:
    """Finds the label that a written name means.

    Attributes:
        exact: the labels.
        bare: each label by its name without blanks at the ends.
        numbers: each by its number.
        truths: each by its truth, where the labels are true and false.
    """

    exact: frozenset[str]
    bare: Mapping[str, str]
    numbers: Mapping[str, str]
    truths: Mapping[bool, str]

    @classmethod
    def of(cls, labels: Sequence[str]) -> Spellings:
        """Of several labels with the same number the first counts."""
        bare: dict[str, str] = {}
        numbers: dict[str, str] = {}
        truths: dict[bool, str] = {}
        for name in labels:
            plain = trimmed(name)
            bare.setdefault(plain, name)
            key = number_key(plain)
            if key is not None:
                numbers.setdefault(key, name)
            value = truth(name)
            if value is not None:
                truths[value] = name
        has_two_truths = len(labels) == len(truths) == 2
        return cls(frozenset(labels), bare, numbers, truths if has_two_truths else {})

    def find(self, name: str) -> tuple[str | None, str | None]:
        """The label, and the ledger's kind where it is written otherwise.

        (None, None) where the name is none of the labels.
        """
        if name in self.exact:
            return name, None
        bare = trimmed(name)
        if bare in self.bare:
            return self.bare[bare], "label_blanks"
        label = self._by_number(bare) or self._by_truth(bare)
        return label, "label_spellings" if label else None

    def _by_number(self, bare: str) -> str | None:
        key = number_key(bare)
        return None if key is None else self.numbers.get(key)

    def _by_truth(self, bare: str) -> str | None:
        value = truth(bare)
        return None if value is None else self.truths.get(value)


def known_counts(labels: Sequence[str], counts: Mapping[str, int]) -> dict[str, int]:
    """How often each of the labels occurs, however it is written.

    Args:
        labels: those there are.
        counts: how often each name is written.
    """
    spellings = Spellings.of(labels)
    total: Counter[str | None] = Counter()
    for name, count in counts.items():
        label, _ = spellings.find(name)
        total[label] += count
    return {label: total[label] for label in labels}
