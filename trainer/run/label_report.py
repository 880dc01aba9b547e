"""The labels of each split, counted, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from trainer.data.store import TokenStore
from trainer.heads._labels import shown_label

SHOWN = 8  # the most frequent ones, in a line
Vocabulary = Mapping[str, object]


class Labelled(Protocol):
    """A head, as far as its labels are concerned."""

    def label_counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split."""

    def label_range(self, store: TokenStore) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split."""


def label_counts(
    head: Labelled, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]
) -> dict[str, dict[str, int]]:
    """Of each split how often each label occurs; {} where there are no labels."""
    counts = {split: head.label_counts(vocabulary, store) for split, store in splits.items()}
    return {split: own for split, own in counts.items() if own}


def label_lines(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line a split: "train negative (30), positive (28)", the most frequent labels and how many
    more there are.
    """
    return [f"{split} {count_line(own)}" for split, own in counts.items()]


def range_lines(head: Labelled, splits: Mapping[str, TokenStore]) -> list[str]:
    """A line a split where numbers are predicted: "train 0 to 5, mean 2.61"."""
    ranges = {split: head.label_range(store) for split, store in splits.items()}
    return [
        f"{split} {own[0]:g} to {own[2]:g}, mean {own[1]:.4g}"
        for split, own in ranges.items()
        if own
    ]


def vector_line(vocabulary: Vocabulary) -> list[str]:
    """Says it where the labels were read as 0 and 1 for each."""
    if not vocabulary.get("vectors"):
        return []
    return [
        f"each example has 0 or 1 for each of {len(vocabulary['labels'])} labels, which head.labels"
        " may name in their order"
    ]


def count_line(counts: Mapping[str, int]) -> str:
    """Labels with their counts: few in their order, of many the most frequent ones."""
    there = [name for name in counts if counts[name]]
    shown = there if len(there) <= SHOWN else sorted(there, key=lambda name: -counts[name])[:SHOWN]
    more = f" and {len(there) - SHOWN:,} more" if len(there) > SHOWN else ""
    return ", ".join(f"{shown_label(name)} ({counts[name]:,})" for name in shown) + more
