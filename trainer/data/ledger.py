"""The ledger: everything preparation changed or lost, counted, with the first place of each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict

from trainer.console.excerpt import short_place

LEFT_OUT = ("unlabelled", "unlabelled_marks", "excluded_labels")  # kinds that cost examples or gold
# kind -> what it means, for people; those of a head alone are its own (`Reader.losses_of_data`)
MEANINGS = {
    "truncated_examples": "texts longer than seq_len, cut",
    "truncated_tokens": "tokens cut off",
    "extra_windows": "more rows for texts longer than seq_len, overlapping",
    "split_words": (
        "words that the text writes as one (1-2 in CoNLL-U), read as their parts, which no raw"
        " text has"
    ),
    "empty_nodes": "empty nodes (8.1 in CoNLL-U), left out",
    "empty_texts": "texts without a character",
    "long_words": "words longer than the tokenizer takes, each unknown as a whole",
    "unknown_tokens": "tokens the vocabulary does not have",
    "unlabelled": "examples without a gold label, left out",
    "unlabelled_marks": (
        "examples whose label says that there is none (-1, -, nan, null), left out; to make it a"
        " class, name it in head.labels"
    ),
    "excluded_labels": "labels of data.exclude_labels, left out",
    "label_blanks": "labels with white space at their ends, which is left out",
    "label_spellings": (
        "labels that write a number or a truth value in another way (0.0 for 0, 1 for true), read"
        " as that"
    ),
    "unseen_labels": "labels that train does not have: scored as missed",
    "labels_alike": (
        "labels that differ from a more frequent one by case, inner blanks or Unicode normal form"
        " alone, kept apart"
    ),
    "label_typos": "labels that look like a frequent one misspelt",
    "rare_labels": "labels of which train has fewer than three examples",
    "absent_labels": "labels of train of which this split has no example",
    "contradicting_labels": "texts that stand in the same split with another label",
    "contradicting_train": "texts that stand in train with another label",
    "duplicates": "texts that stand in the same split before",
    "duplicates_of_train": "texts that stand in train as well",
}


class Entry(TypedDict):
    """How often a kind happened in a split, and where first."""

    count: int
    first: str


class Ledger:
    """Counts by split and kind, with the origin of the first occurrence.

    Attributes:
        entries: split -> kind -> count and first origin; JSON has them as they are.
        meanings: kind -> what it means, for people.
    """

    def __init__(
        self,
        own_meanings: Mapping[str, str] = MappingProxyType({}),
        entries: dict[str, dict[str, Entry]] | None = None,
    ) -> None:
        self.meanings = {**MEANINGS, **own_meanings}
        self.entries = entries or {}

    def add(self, split: str, kind: str, origin: str, count: int = 1) -> None:
        """Adds occurrences; the first origin is kept.

        Args:
            split: train, validation or test.
            kind: one of `meanings`.
            origin: where it happened, file:line.
            count: how often.
        """
        if kind not in self.meanings:
            kinds = ", ".join(self.meanings)
            raise KeyError(f"expected one of {kinds}. Received {kind!r}.")
        entries = self.entries.setdefault(split, {})
        entry = entries.setdefault(kind, {"count": 0, "first": origin})
        entry["count"] += int(count)

    def count(self, split: str, kind: str) -> int:
        """How often `kind` happened in `split`."""
        entry = self._entry(split, kind)
        return entry["count"] if entry else 0

    def first(self, split: str, kind: str) -> str:
        """Where `kind` was first met in `split`; "" where it was not."""
        entry = self._entry(split, kind)
        return entry["first"] if entry else ""

    def _entry(self, split: str, kind: str) -> Entry | None:
        kinds = self.entries.get(split, {})
        return kinds.get(kind)

    def lines(self, most: int | None = None) -> list[str]:
        """For people: a line that says what this is, then a line a kind; [] where nothing is.

        Args:
            most: kinds to show, those that cost examples first; None: all.
        """
        kinds = self._kinds()
        shown = kinds[:most]
        if not kinds:
            return []
        title = "ledger: what preparation cut, left out or doubts"
        if len(shown) < len(kinds):
            title += f"; {len(shown)} of {len(kinds)} kinds, ledger.json has all"
        return [title, *(f"  {self._line(kind)}" for kind in shown)]

    def _kinds(self) -> list[str]:
        """The kinds that occurred; what costs examples first, then what the head alone knows."""
        own = [kind for kind in self.meanings if kind not in MEANINGS]
        order = dict.fromkeys([*LEFT_OUT, *own, *MEANINGS])
        return [kind for kind in order if any(kind in kinds for kinds in self.entries.values())]

    def _line(self, kind: str) -> str:
        """A kind over all splits: "12 tokens cut off (train 10, test 2; first: a.csv:3)"."""
        counts = {}
        firsts = []
        for split, kinds in self.entries.items():
            if kind in kinds:
                counts[split] = kinds[kind]["count"]
                firsts.append(kinds[kind]["first"])
        total = f"{sum(counts.values()):,}"
        if len(counts) == 1:
            where = f"in {next(iter(counts))}"
        else:
            where = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        first = short_place(firsts[0])
        return f"{total} {self.meanings[kind]} ({where}; first: {first})"
