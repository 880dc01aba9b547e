"""Which texts of a split stand in it before, or in train as well: found by hash, a part of them at
a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from trainer.files.spool import Numbers

PART_ROWS = 1 << 18  # compared with each other in memory
MOST_PARTS = 256  # files open at a time
HASHED_ROW = np.dtype([("hash", np.uint64), ("row", np.int64)])


@dataclasses.dataclass
class Found:
    """How many examples, and the first of them."""

    count: int = 0
    first: int = -1

    def add(self, rows: np.ndarray) -> None:
        """Takes in (n,) rows."""
        if len(rows):
            first = int(rows.min())
            self.first = first if self.first < 0 else min(first, self.first)
            self.count += len(rows)


def duplicates(hashes: Numbers, folder: pathlib.Path) -> Found:
    """Of a split: the rows whose hash another row has before."""
    found = Found()
    for (rows,) in by_hash([hashes], folder):
        again = np.ones(len(rows), bool)
        again[np.unique(rows["hash"], return_index=True)[1]] = False
        found.add(rows["row"][again])
    return found


def duplicates_of(hashes: Numbers, train_hashes: Numbers, folder: pathlib.Path) -> Found:
    """Of a split: the rows whose hash train has as well.

    Args:
        hashes, train_hashes: (n,) and (m,) uint64, of the texts.
        folder: on the disk where large columns are parted.
    """
    found = Found()
    for rows, train_rows in by_hash([hashes, train_hashes], folder):
        found.add(rows["row"][np.isin(rows["hash"], train_rows["hash"])])
    return found


def by_hash(columns: Sequence[Numbers], folder: pathlib.Path) -> Iterator[tuple[np.ndarray, ...]]:
    """The rows of some columns of hashes in parts, so that equal hashes are in the same part.

    Args:
        columns: (n,) uint64 each.
        folder: on the disk where large columns are parted.
    Yields:
        of each column the part's HASHED_ROWs, in the column's order.
    """
    parts = min(MOST_PARTS, -(-max(map(len, columns)) // PART_ROWS))
    if parts <= 1:
        yield tuple(_hashed_rows(column[:], 0) for column in columns)
        return
    with contextlib.ExitStack() as stack:
        files = [
            [
                stack.enter_context(contextlib.closing(Numbers(folder, HASHED_ROW)))
                for _ in range(parts)
            ]
            for _ in columns
        ]
        for column, of_column in zip(columns, files, strict=True):
            _part(column, of_column)
        for number in range(parts):
            yield tuple(of_column[number][:] for of_column in files)


def _hashed_rows(hashes: np.ndarray, first: int) -> np.ndarray:
    rows = np.empty(len(hashes), HASHED_ROW)
    rows["hash"], rows["row"] = hashes, np.arange(first, first + len(hashes))
    return rows


def _part(column: Numbers, files: Sequence[Numbers]) -> None:
    first = 0
    for hashes in column.blocks():
        rows = _hashed_rows(hashes, first)
        part = hashes % np.uint64(len(files))  # the fractions held out go by the highest bits
        order = np.argsort(part, kind="stable")
        edges = np.searchsorted(part[order], np.arange(len(files) + 1))
        for number, file in enumerate(files):
            file.extend(rows[order[edges[number] : edges[number + 1]]])
        first += len(hashes)
