"""Rows of a split that stand for all, and the same filled up as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainer.data.store import TokenStore


def spread(count: int, size: int) -> np.ndarray:
    """So many places of a list, or all, spread over it.

    Args:
        count: how many.
        size: of the list.
    """
    return np.unique(np.linspace(0, size - 1, min(count, size)).astype(int))


def batches_by_length(store: TokenStore, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows about as long as each other.

    Args:
        store: the split.
        rows: of it.
        size: so many at a time.
    """
    by_length = rows[np.argsort(store.lengths[rows], kind="stable")]
    for first in range(0, len(by_length), size):
        yield by_length[first : first + size]


def filled_up(store: TokenStore, rows: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """(R, L) int32 each: columns of tokens, 0 behind a row's end, and `padding_mask`.

    Args:
        store: the split.
        rows: of it.
        names: of the columns; those that it does not have are left out.
    """
    found, lengths = store.examples(rows), store.lengths[rows]
    mask = np.arange(lengths.max())[None] < lengths[:, None]
    columns = {"padding_mask": mask.astype(np.int32)}
    for name in names:
        if name in store.tokens:
            columns[name] = np.zeros(mask.shape, np.int32)
            columns[name][mask] = found[name]
    return columns
