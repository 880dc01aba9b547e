"""Which examples have a gold label: those without one, and those of excluded classes, are left out
and counted.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from trainer.data.ledger import Ledger
from trainer.data.reader import ReadsClasses
from trainer.errors import DataError, shown_name, shown_value
from trainer.settings.schema import DataSettings
from trainer.sources import UNLABELLED_MARKS as MARKS
from trainer.sources import Origin

FREQUENT = 0.05  # of the examples: as many have no mark where 0 and 1 are the others
SHOWN = 30  # labels in a message


class Gold:
    """Decides, example by example, whether there is a label to learn or to score.

    Args:
        head: one that classifies.
        train_labels: reads the labels of train once more; asked only where a mark is met that may
            mean both.
        ledger: takes what is left out.
    """

    def __init__(
        self,
        settings: DataSettings,
        head: ReadsClasses,
        train_labels: Callable[[], Iterable[Any]],
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._head = head
        self._train_labels = train_labels
        self._ledger = ledger
        given = head.given_labels
        # as far as it is known
        self._is_class = {} if given is None else {mark: mark in given for mark in MARKS}
        self._excluded = set(map(head.plain_name, settings.exclude_labels))
        self._met: Counter[str] = Counter()

    def of(self, split: str, label: Any, origin: Origin) -> Any | None:
        """The label; None where the example is to be left out.

        Args:
            label: as the head has read it; None: there is none.
        Raises:
            DataError: there is none, and data.unlabelled is error.
        """
        mark = _mark(label)
        if label is None or (mark is not None and not self._says_a_class(mark, label)):
            if self._settings.unlabelled == "error":
                written = "is empty" if mark is None else f"is {shown_value(mark)}, which says so"
                raise DataError(
                    f"{origin}: no gold label: field {self._settings.label!r} {written}, and"
                    " data.unlabelled is error. Give it a label, or leave such examples out with"
                    " --data.unlabelled=drop."
                )
            self._ledger.add(
                split, "unlabelled" if mark is None else "unlabelled_marks", str(origin)
            )
            return None
        return self._without_excluded(split, label, origin) if self._excluded else label

    def _says_a_class(self, mark: str, label: Any) -> bool:
        if mark in self._excluded:
            return True
        # [-1, -1, -1]: no list of classes names one again and again
        if isinstance(label, tuple) and len(label) > 1:
            return False
        if mark not in self._is_class:
            names = (lone for label in self._train_labels() if (lone := _lone(label)) is not None)
            counts = Counter(map(self._head.plain_name, names))
            self._is_class[mark] = is_class(mark, counts)
        return self._is_class[mark]

    def _without_excluded(self, split: str, label: Any, origin: Origin) -> Any | None:
        """One label: None where it is excluded; several: those that are not."""
        if not isinstance(label, (str, tuple)):
            return label
        found = [
            name
            for name in ((label,) if isinstance(label, str) else label)
            if self._head.plain_name(name) in self._excluded
        ]
        if not found:
            return label
        self._met.update(map(self._head.plain_name, found))
        self._ledger.add(split, "excluded_labels", str(origin), len(found))
        return (
            None if isinstance(label, str) else tuple(name for name in label if name not in found)
        )

    def refuse_unknown(self, labels: Iterable[str]) -> None:
        """Raises DataError where a name of data.exclude_labels is the label of no example, such as
        a misspelt one.
        """
        for name in sorted(self._excluded):
            if name not in self._met:
                known = [*labels, *self._met]
                close = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {shown_value(close[0])}?" if close else ""
                shown = ", ".join(map(shown_name, known[:SHOWN])) + (
                    f" and {len(known) - SHOWN:,} more" if len(known) > SHOWN else ""
                )
                raise DataError(
                    f"data.exclude_labels: no example has the label {shown_value(name)}. Those"
                    f" there are: {shown}.{hint}"
                )


def is_class(mark: str, counts: Counter[str]) -> bool:
    """Whether a mark is a class among the labels of train, whose counts include its own.

    -1 is one beside 1 alone, beside other negative numbers, and beside 0 and 1 where it is
    frequent; - is one beside +. A mark is one, too, where it leaves fewer than two other classes.
    """
    others = {name for name in counts if name not in MARKS}
    if mark != "-1" and "-1" in counts:
        others.add("-1")
    if len(others) < 2 and counts[mark]:
        return True
    if mark == "-1":
        return any(name.startswith("-") and name[1:].isdecimal() for name in others) or (
            others <= {"0", "1"} and counts[mark] >= FREQUENT * counts.total()
        )
    return mark == "-" and "+" in others


def _lone(label: Any) -> str | None:
    """The only name that a label has, however often; None where there are others, or none."""
    if isinstance(label, tuple):
        label = label[0] if len(set(label)) == 1 else None
    return label if isinstance(label, str) else None


def _mark(label: Any) -> str | None:
    """The mark that a label is, if it is one; -1.0 is -1."""
    name = _lone(label)
    if name is None:
        return None
    name = name.strip()
    name = "-1" if name in ("-1.0", "-1.") else name
    return name if name in MARKS else None
