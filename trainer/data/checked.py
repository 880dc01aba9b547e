"""Arrays mapped from disk whose parts are verified when they are first read."""

from __future__ import annotations

import contextlib
import pathlib

import numpy as np

from trainer.files.checksums import DamagedError, checksum

CHECKSUMS = "checksums.json"  # beside the tokens; a store without it is built anew
CHUNK_BYTES = 1 << 16  # what a disk reads ahead anyway
CHUNK_VALUES = CHUNK_BYTES // 4


def map_int32(path: pathlib.Path) -> np.ndarray:
    """The values of a raw file, read as they are asked for."""
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, np.int32)
    return np.memmap(path, np.int32, "r")


def chunk_checksums(path: pathlib.Path) -> np.ndarray:
    """(chunks,) uint32: the checksum of every `CHUNK_BYTES` of a file; the last may be shorter.

    It is read and not mapped, as mapped memory that was looked at once counts as the process's own.
    """
    checksums = []
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            checksums.append(checksum(chunk))
    return np.array(checksums, np.uint32)


class CheckedTokens(np.lib.mixins.NDArrayOperatorsMixin):
    """(n,) int32 values of a file, of which no damaged one is given out; otherwise as an array.

    Args:
        path: the raw file.
        checksums: of its chunks.
    """

    def __init__(self, path: pathlib.Path, checksums: np.ndarray) -> None:
        self._path = path
        self._values = map_int32(path)
        self._checksums = checksums
        self._unread = np.ones(len(checksums), bool)
        self._whole = not len(checksums)  # whether every chunk has been verified
        self.damage: DamagedError | None = None

    def __len__(self) -> int:
        return len(self._values)

    @property
    def _mmap(self) -> object | None:
        """The mapping, which trainer.files.mapped lets go, as np.memmap calls it."""
        return getattr(self._values, "_mmap", None)

    @property
    def shape(self) -> tuple[int]:
        """(n,)."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype:
        """int32."""
        return self._values.dtype

    def __getitem__(self, place: int | slice | np.ndarray) -> np.ndarray:
        if self._whole:
            return self._values[place]
        self._verify(self._chunks_of(place))
        return self._values[place]

    def _chunks_of(self, place: int | slice | np.ndarray) -> np.ndarray:
        """The numbers of the chunks that hold a place; all where that is not easily said."""
        if isinstance(place, np.ndarray) and place.dtype.kind in "iu":
            return np.unique(place // CHUNK_VALUES)
        start = 0
        stop = len(self)
        if isinstance(place, slice) and place.step in (None, 1):
            start, stop, _ = place.indices(len(self))
        return np.arange(start // CHUNK_VALUES, -(-stop // CHUNK_VALUES))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        self.verify()
        if copy:
            return np.array(self._values, dtype)
        return np.asarray(self._values, dtype)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **keywords: object
    ) -> object:
        arrays = map(np.asarray, inputs)
        return getattr(ufunc, method)(*arrays, **keywords)

    def tolist(self) -> list[int]:
        """All values."""
        return np.asarray(self).tolist()

    def verify(self) -> None:
        """Verifies all that was not yet read. Raises DamagedError."""
        if self._whole:
            return
        differs = chunk_checksums(self._path) != self._checksums
        if differs.any():
            first = int(np.argmax(differs))
            raise self._refuse(first)
        self._whole = True

    def _verify(self, chunks: np.ndarray) -> None:
        for chunk in chunks[self._unread[chunks]].tolist():
            begin = chunk * CHUNK_VALUES
            content = self._values[begin : begin + CHUNK_VALUES]
            if checksum(content) != self._checksums[chunk]:
                raise self._refuse(chunk)
            self._unread[chunk] = False

    def _refuse(self, chunk: int) -> DamagedError:
        with contextlib.suppress(OSError):
            self._path.with_name(CHECKSUMS).unlink(missing_ok=True)
        first = chunk * CHUNK_VALUES
        last = (chunk + 1) * CHUNK_VALUES
        said = (
            f"a value between {first:,} and {last:,} is not what was written: the checksum differs"
        )
        self.damage = DamagedError(self._path, said, "Start again: the data is then encoded anew.")
        return self.damage
