"""What preparation notes of each example, on disk.

So memory stays the same however many examples there are.

The files have no name, so that whatever ends the process leaves nothing behind.
"""

from __future__ import annotations

import abc
import contextlib
import heapq
import itertools
import marshal
import math
import os
import pathlib
import tempfile
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

Label: TypeAlias = Any  # a name, a number, a tuple of them, or what a head makes of an example
BLOCK_ROWS = 1 << 16  # read at a time, of a number each
WAITING_ROWS = 1 << 12  # in memory before they are written
RECORDS_BYTES = 1 << 20  # of records: in memory before they are written, and read at a time


def rows_of_a_block(shape: tuple[int, ...]) -> int:
    """How many rows of such a shape are read at a time."""
    return max(1, BLOCK_ROWS // max(1, math.prod(shape)))


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
        # `close` closes it
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
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
        """All rows, in order, of BLOCK_ROWS numbers or so many at a time; (n, …) each."""
        rows = rows or rows_of_a_block(self.shape)
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

    def mapped(self) -> np.ndarray:
        """All rows, mapped from the file, so that only what is read of them takes memory."""
        self._flush()
        shape = (len(self), *self.shape)
        if math.prod(shape) == 0:  # an empty file cannot be mapped
            return np.zeros(shape, self.dtype)
        return np.memmap(self._file, self.dtype, "r", shape=shape)

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            rows = np.array(self._waiting, self.dtype).reshape(-1, *self.shape)
            self._waiting.clear()
            self._write(rows)

    def _write(self, rows: np.ndarray) -> None:
        if rows.size:  # else it has no bytes to cast
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


class Records:
    """Byte strings of any length, appended one by one, and read in their order.

    Attributes:
        splits: (n + 1,) int64, where each begins in `content`, and where the last one ends.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._content = Numbers(folder, np.uint8)
        self._waiting = bytearray()
        self.splits = Numbers(folder, np.int64)
        self.splits.append(0)

    def append(self, record: bytes) -> None:
        """Adds a record."""
        self._waiting += record
        self.splits.append(len(self._content) + len(self._waiting))
        if len(self._waiting) >= RECORDS_BYTES:
            self._flush()

    def __len__(self) -> int:
        return len(self.splits) - 1

    def __iter__(self) -> Iterator[bytes]:
        return self.part(0, len(self))

    def __getitem__(self, index: int) -> bytes:
        index = range(len(self))[index]
        return next(self.part(index, index + 1))

    @property
    def content(self) -> Numbers:
        """(bytes,) uint8 of all records, one after the other."""
        self._flush()
        return self._content

    def part(self, start: int, stop: int) -> Iterator[bytes]:
        """Some of them, of which RECORDS_BYTES or a single one are in memory at a time."""
        while start < stop:
            splits = self.splits[start : min(stop, start + WAITING_ROWS) + 1]
            fit = int(np.searchsorted(splits, splits[0] + RECORDS_BYTES, side="right")) - 1
            splits = splits[: max(1, fit) + 1]
            content = self.content[splits[0] : splits[-1]].tobytes()
            for first, end in itertools.pairwise((splits - splits[0]).tolist()):
                yield content[first:end]
            start += len(splits) - 1

    def close(self) -> None:
        """Lets the files go."""
        self._content.close()
        self.splits.close()

    def _flush(self) -> None:
        if self._waiting:
            self._content.extend(np.frombuffer(self._waiting, np.uint8))
            self._waiting = bytearray()


def in_order(names: Iterable[str], folder: pathlib.Path) -> Generator[str, None, None]:
    """The names of files sorted: of many, parts on the disk of `folder` are merged."""
    names = iter(names)
    part = sorted(itertools.islice(names, BLOCK_ROWS))
    if len(part) < BLOCK_ROWS:
        yield from part
        return
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        parts = []
        while part:
            parts.append(stack.enter_context(contextlib.closing(Records(folder))))
            for name in part:
                parts[-1].append(os.fsencode(name))
            part = sorted(itertools.islice(names, BLOCK_ROWS))
        yield from heapq.merge(*(map(os.fsdecode, part) for part in parts))


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

    Names are numbers in the file and once in memory; numbers and tuples, also named ones, are in
    the file.
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


class _Kept(abc.ABC):
    """Labels of one kind.

    Args:
        folder: on the disk where they are kept.
        first: the first label, which is not yet appended.
    """

    @abc.abstractmethod
    def __init__(self, folder: pathlib.Path, first: Label) -> None: ...

    @abc.abstractmethod
    def append(self, label: Label) -> None: ...

    @abc.abstractmethod
    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Label]:
        for start in range(0, len(self), BLOCK_ROWS):
            yield from self.part(start, min(len(self), start + BLOCK_ROWS))

    @abc.abstractmethod
    def part(self, start: int, stop: int) -> Iterator[Label]: ...

    @abc.abstractmethod
    def close(self) -> None: ...


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


class _KeptAsRecords(_Kept):
    """Tuples of Python's own values, such as several names, or what marks the spans of a text."""

    def __init__(self, folder: pathlib.Path, first: Label) -> None:
        self._records = Records(folder)
        self._made = getattr(type(first), "_make", tuple)  # which a named tuple has

    def append(self, label: Label) -> None:
        # marshal is the fastest there is; nobody else can have written to a file without a name.
        self._records.append(marshal.dumps(tuple(label)))

    def __len__(self) -> int:
        return len(self._records)

    def part(self, start: int, stop: int) -> Iterator[Label]:
        return (self._made(marshal.loads(record)) for record in self._records.part(start, stop))

    def close(self) -> None:
        self._records.close()


def _kept_as(label: Label) -> type[_Kept]:
    if label is None or isinstance(label, (str, int)):
        return _KeptAsNames
    if isinstance(label, float):
        return _KeptAsNumbers
    if not isinstance(label, tuple):
        raise TypeError(f"expected a name, a number or a tuple. Received {label!r:.80}.")
    whole_numbers = label and all(isinstance(part, int) for part in label)
    return _KeptAsNumbers if whole_numbers else _KeptAsRecords
