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
        if not len(rows):
            return
        first = int(rows.min())
        if self.first < 0 or first < self.first:
            self.first = first
        self.count += len(rows)


def duplicates(hashes: Numbers, folder: pathlib.Path) -> Found:
    """Of a split: the rows whose hash another row has before."""
    found = Found()
    for (rows,) in by_hash([hashes], folder):
        _, first = np.unique(rows["hash"], return_index=True)
        again = np.ones(len(rows), bool)
        again[first] = False
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
        of_train = np.isin(rows["hash"], train_rows["hash"])
        found.add(rows["row"][of_train])
    return found


def by_hash(columns: Sequence[Numbers], folder: pathlib.Path) -> Iterator[tuple[np.ndarray, ...]]:
    """The rows of some columns of hashes in parts, so that equal hashes are in the same part.

    Args:
        columns: (n,) uint64 each.
        folder: on the disk where large columns are parted.
    Yields:
        of each column the part's HASHED_ROWs, in the column's order.
    """
    longest = max(map(len, columns))
    parts = min(MOST_PARTS, -(-longest // PART_ROWS))
    if parts <= 1:
        yield tuple(_hashed_rows(column[:], 0) for column in columns)
        return
    with contextlib.ExitStack() as stack:
        files = []
        for column in columns:
            of_column = []
            for _ in range(parts):
                part = Numbers(folder, HASHED_ROW)
                stack.callback(part.close)
                of_column.append(part)
            _part(column, of_column)
            files.append(of_column)
        for parts_alike in zip(*files, strict=True):
            yield tuple(part[:] for part in parts_alike)


def _hashed_rows(hashes: np.ndarray, first: int) -> np.ndarray:
    rows = np.empty(len(hashes), HASHED_ROW)
    rows["hash"] = hashes
    rows["row"] = np.arange(first, first + len(hashes))
    return rows


def _part(column: Numbers, files: Sequence[Numbers]) -> None:
    first = 0
    for hashes in column.blocks():
        rows = _hashed_rows(hashes, first)
        part = hashes % np.uint64(len(files))  # the fractions held out go by the highest bits
        by_part = np.argsort(part, kind="stable")
        edges = np.searchsorted(part[by_part], np.arange(1, len(files)))
        for file, members in zip(files, np.split(by_part, edges), strict=True):
            file.extend(rows[members])
        first += len(hashes)
