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
        is_marked = mark is not None and not self._says_a_class(mark, label)
        if label is None or is_marked:
            self._leave_out(split, mark, origin)
            return None
        if self._excluded:
            return self._without_excluded(split, label, origin)
        return label

    def _leave_out(self, split: str, mark: str | None, origin: Origin) -> None:
        """Counts an example without a gold label, or refuses it."""
        if self._settings.unlabelled == "error":
            written = "is empty" if mark is None else f"is {shown_value(mark)}, which says so"
            raise DataError(
                f"{origin}: no gold label: field {self._settings.label!r} {written}, and"
                " data.unlabelled is error. Give it a label, or leave such examples out with"
                " --data.unlabelled=drop."
            )
        kind = "unlabelled" if mark is None else "unlabelled_marks"
        self._ledger.add(split, kind, str(origin))

    def _says_a_class(self, mark: str, label: Any) -> bool:
        if mark in self._excluded:
            return True
        # [-1, -1, -1]: no list of classes names one again and again
        if isinstance(label, tuple) and len(label) > 1:
            return False
        if mark not in self._is_class:
            self._is_class[mark] = is_class(mark, self._count_train_labels())
        return self._is_class[mark]

    def _count_train_labels(self) -> Counter[str]:
        """How often train has each label that stands alone."""
        counts: Counter[str] = Counter()
        for label in self._train_labels():
            lone = _lone(label)
            if lone is not None:
                counts[self._head.plain_name(lone)] += 1
        return counts

    def _without_excluded(self, split: str, label: Any, origin: Origin) -> Any | None:
        """One label: None where it is excluded; several: those that are not."""
        if isinstance(label, str):
            labels: tuple[str, ...] = (label,)
        elif isinstance(label, tuple):
            labels = label
        else:
            return label
        kept = []
        excluded = []
        for name in labels:
            plain = self._head.plain_name(name)
            if plain in self._excluded:
                excluded.append(plain)
            else:
                kept.append(name)
        if not excluded:
            return label
        self._met.update(excluded)
        self._ledger.add(split, "excluded_labels", str(origin), len(excluded))
        return None if isinstance(label, str) else tuple(kept)

    def refuse_unknown(self, labels: Iterable[str]) -> None:
        """Raises DataError where a name of data.exclude_labels is the label of no example, such as
        a misspelt one.
        """
        for name in sorted(self._excluded):
            if name in self._met:
                continue
            known = [*labels, *self._met]
            hint = ""
            close = difflib.get_close_matches(name, known, n=1)
            if close:
                hint = f" Did you mean {shown_value(close[0])}?"
            shown = ", ".join(map(shown_name, known[:SHOWN]))
            if len(known) > SHOWN:
                shown += f" and {len(known) - SHOWN:,} more"
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
        if any(map(_is_negative, others)):
            return True
        frequent = counts[mark] >= FREQUENT * counts.total()
        return others <= {"0", "1"} and frequent
    return mark == "-" and "+" in others


def _is_negative(label: str) -> bool:
    return label.startswith("-") and label[1:].isdecimal()


def _lone(label: Any) -> str | None:
    """The only name that a label has, however often; None where there are others, or none."""
    if isinstance(label, tuple):
        if len(set(label)) != 1:
            return None
        label = label[0]
    return label if isinstance(label, str) else None


def _mark(label: Any) -> str | None:
    """The mark that a label is, if it is one; -1.0 is -1."""
    name = _lone(label)
    if name is None:
        return None
    name = name.strip()
    if name in ("-1.0", "-1."):
        name = "-1"
    return name if name in MARKS else None
