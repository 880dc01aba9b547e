"""What preparation notes of each example, on disk.

So memory stays the same however many examples there are.

The files have no name, so that whatever ends the process leaves nothing behind.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

Label: TypeAlias = Any  # a name, a number, a tuple of them, or what a head makes of an example
BLOCK_ROWS = 1 << 16  # read at a time
WAITING_ROWS = 1 << 12  # in memory before they are written


class Numbers:
    """Rows of numbers, appended one by one or many at a time, and read in blocks.

    Args:
        folder: on the disk where they are kept.
        dtype: of a number.
        shape: of a row.
    """

    def __init__(
        self, folder: pathlib.Path, dtype: npt.DTypeLike, shape: tuple[int, ...] = ()
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self._row_bytes = self.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  closed by close()
        self._written = 0
        self._waiting: list[npt.ArrayLike] = []

    def __len__(self) -> int:
        return self._written + len(self._waiting)

    def append(self, row: npt.ArrayLike) -> None:
        """Adds a row."""
        self._waiting.append(row)
        if len(self._waiting) >= WAITING_ROWS:
            self._flush()

    def extend(self, rows: np.ndarray) -> None:
        """Adds (n, …) rows."""
        self._flush()
        self._write(np.ascontiguousarray(rows, self.dtype))

    def blocks(self, rows: int | None = None) -> Iterator[np.ndarray]:
        """All rows, in order, BLOCK_ROWS or so many at a time; (n, …) each."""
        rows = rows or BLOCK_ROWS
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> np.ndarray: ...

    def __getitem__(self, index: int | slice) -> Any:
        """A row, or (n, …) rows of a slice without a step."""
        if not isinstance(index, slice):
            index = range(len(self))[index]
            return self[index : index + 1][0]
        self._flush()
        start, stop, _ = index.indices(len(self))
        count = max(0, stop - start)
        content = self._read(start * self._row_bytes, count * self._row_bytes)
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        return self[:].astype(dtype or self.dtype)

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            rows = np.array(self._waiting, self.dtype).reshape(-1, *self.shape)
            self._waiting.clear()
            self._write(rows)

    def _write(self, rows: np.ndarray) -> None:
        content = rows.reshape(-1).data.cast("B")
        while content:
            content = content[self._file.write(content) :]
        self._written += len(rows)

    def _read(self, start: int, count: int) -> bytes:
        parts = []
        while count and (part := os.pread(self._file.fileno(), count, start)):
            parts.append(part)
            start = start + len(part)
            count = count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Ascending:
    """Numbers that come in blocks, each after those before it, taken up to a limit."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = iter(blocks)
        self._waiting: np.ndarray | None = next(self._blocks, None)

    def below(self, limit: int) -> np.ndarray:
        """The next ones, all that are less than `limit`."""
        parts = []
        while self._waiting is not None:
            place = int(np.searchsorted(self._waiting, limit))
            parts.append(self._waiting[:place])
            self._waiting = self._waiting[place:]
            if len(self._waiting):
                break
            self._waiting = next(self._blocks, None)
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class Labels(Sequence[Label]):
    """The labels of a split, as a list of them would be.

    Names, and tuples of names, are numbers in the file and once in memory; numbers, and tuples of
    numbers, are in the file. Others, such as the spans of a text, stay in memory.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._kept: _Kept | None = None  # how, which the first label decides

    def append(self, label: Label) -> None:
        """Adds a label."""
        if self._kept is None:
            self._kept = _kept_as(label)(self._folder, label)
        self._kept.append(label)

    def __len__(self) -> int:
        return len(self._kept) if self._kept else 0

    def __iter__(self) -> Iterator[Label]:
        return iter(self._kept) if self._kept else iter(())

    def __getitem__(self, index: int | slice) -> Label:
        if self._kept is None:
            nothing: list[object] = []
            return nothing[index]
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return list(self._kept.part(start, stop))[::step]
        row = range(len(self))[index]
        return next(iter(self._kept.part(row, row + 1)))

    def close(self) -> None:
        """Lets the file go."""
        if self._kept:
            self._kept.close()


class _Kept:
    """Labels of one kind; this one keeps them in memory."""

    def __init__(self, folder: pathlib.Path, first: Label) -> None:
        self._labels: list[Label] = []

    def append(self, label: Label) -> None:
        self._labels.append(label)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Label]:
        for start in range(0, len(self), BLOCK_ROWS):
            yield from self.part(start, min(len(self), start + BLOCK_ROWS))

    def part(self, start: int, stop: int) -> Iterator[Label]:
        return iter(self._labels[start:stop])

    def close(self) -> None:
        pass


class _KeptAsNumbers(_Kept):
    """Floats, or tuples of whole numbers as long as the first one."""

    def __init__(self, folder: pathlib.Path, first: Label) -> None:
        self._tuples = isinstance(first, tuple)
        shape = (len(first),) if self._tuples else ()
        self._numbers = Numbers(folder, np.int64 if self._tuples else np.float64, shape)

    def append(self, label: Label) -> None:
        self._numbers.append(label)

    def __len__(self) -> int:
        return len(self._numbers)

    def part(self, start: int, stop: int) -> Iterator[Label]:
        rows = self._numbers[start:stop].tolist()
        return map(tuple, rows) if self._tuples else iter(rows)

    def close(self) -> None:
        self._numbers.close()


class _KeptAsNames(_Kept):
    """Labels of which there are few: each one's number."""

    def __init__(self, folder: pathlib.Path, first: Label) -> None:
        self._numbers = Numbers(folder, np.int32)
        self._number_of: dict[Hashable, int] = {}
        self._names: list[Label] = []

    def append(self, label: Label) -> None:
        known = len(self._number_of)
        # 1, 1.0 and True are equal
        number = self._number_of.setdefault((type(label), label), known)
        if number == known:
            self._names.append(label)
        self._numbers.append(number)

    def __len__(self) -> int:
        return len(self._numbers)

    def part(self, start: int, stop: int) -> Iterator[Label]:
        return map(self._names.__getitem__, self._numbers[start:stop].tolist())

    def close(self) -> None:
        self._numbers.close()


def _kept_as(label: Label) -> type[_Kept]:
    if label is None or isinstance(label, (str, int)):
        return _KeptAsNames
    if isinstance(label, float):
        return _KeptAsNumbers
    if isinstance(label, tuple) and all(isinstance(part, str) for part in label):
        return _KeptAsNames
    if isinstance(label, tuple) and all(isinstance(part, int) for part in label):
        return _KeptAsNumbers
    return _Kept
