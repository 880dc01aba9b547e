"""Arrays that are mapped from disk.

They are read so that no more than a part of them counts as this process's memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from trainer.files import spool


class Rows(Protocol):
    """An array, or what reads one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> np.ndarray: ...


def blocks(values: Rows, rows: int | None = None) -> Iterator[np.ndarray]:
    """An array in parts of BLOCK_ROWS numbers, or of so many rows.

    What was read of a mapped one is let go before the next part.
    """
    rows = rows or spool.rows_of_a_block(values.shape[1:])
    for start in range(0, len(values), rows):
        yield np.ascontiguousarray(values[start : start + rows])
        release(values)


def count_numbers(numbers: np.ndarray, size: int) -> np.ndarray:
    """(size,) int64: how often each of 0 to size - 1 occurs, as np.bincount says.

    No larger copy of the numbers is made.
    """
    counts = np.zeros(size, np.int64)
    for block in blocks(numbers):
        counts += np.bincount(block, minlength=size)
    return counts


def release(values: object) -> None:
    """Lets the pages of a mapped array go.

    They are read from disk, or from the system's cache, when they are asked for again.
    """
    mapped = getattr(values, "_mmap", None)  # np.memmap's
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)
