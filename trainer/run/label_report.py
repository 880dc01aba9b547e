"""The labels of each split, counted, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.data.reader import Reader, Vocabulary
from trainer.data.store import TokenStore
from trainer.errors import shown_label

SHOWN = 8  # the most frequent ones, in a line
Counts = Mapping[str, int]  # label -> how often it occurs


def label_counts(
    reader: Reader, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]
) -> dict[str, dict[str, int]]:
    """Of each split how often each label occurs; {} where there are no labels.

    Args:
        reader: of the head.
        vocabulary: what it learnt from train.
        splits: the encoded splits by name.
    """
    counts_by_split = {}
    for split, store in splits.items():
        counts = reader.label_counts(vocabulary, store)
        if counts:
            counts_by_split[split] = counts
    return counts_by_split


def label_lines(counts_by_split: Mapping[str, Counts]) -> list[str]:
    """A line a split, such as "train negative (30), positive (28)"."""
    return [f"{split} {count_line(counts)}" for split, counts in counts_by_split.items()]


def range_lines(reader: Reader, splits: Mapping[str, TokenStore]) -> list[str]:
    """A line a split where numbers are predicted, such as "train 0 to 5, mean 2.61"."""
    lines = []
    for split, store in splits.items():
        label_range = reader.label_range(store)
        if label_range is not None:
            lowest, mean, highest = label_range
            lines.append(f"{split} {lowest:g} to {highest:g}, mean {mean:.4g}")
    return lines


def count_line(counts: Counts) -> str:
    """Labels with their counts: few in their order, of many the most frequent ones."""
    labels = [label for label, count in counts.items() if count]
    if len(labels) <= SHOWN:
        return _joined(labels, counts)
    by_count = sorted(labels, key=lambda label: -counts[label])
    most_frequent = _joined(by_count[:SHOWN], counts)
    return f"{most_frequent} and {len(labels) - SHOWN:,} more"


def _joined(labels: list[str], counts: Counts) -> str:
    return ", ".join(f"{shown_label(label)} ({counts[label]:,})" for label in labels)
