"""The token store: one encoded split as flat arrays on disk, memory-mapped, any example reachable
by index.

A folder with `row_splits.npy`, one raw file a token column (`tokens.NAME.int32`), one `.npy` an
example column, what else the head keeps for its metrics (`extra.NAME.npy`), the names of the files
that the examples are from (`files.npy`, `file_splits.npy`), and `meta.json`. Where long texts go
through several windows, what is called an example here is a window, and the column `example` says
of which text.

`checksums.json` has the length and the checksum of every other file, and of itself;
`tokens.NAME.crc32c` those of each chunk of the tokens. Small stores are verified as they are
opened; of the tokens of large ones, each chunk as it is first read.

Folders are built under another name, and renamed when they are complete and on the disk, so a
half-written store is never read.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from trainer.data.checked import CHECKSUMS, CheckedTokens, chunk_checksums, map_int32
from trainer.errors import JobDirError
from trainer.files import spool
from trainer.files.checksums import (
    DamagedError,
    Fingerprint,
    fingerprint,
    read_sealed,
    reason,
    sync,
    sync_tree,
    verify,
    write_sealed,
)
from trainer.files.mapped import blocks, release
from trainer.files.spool import Ascending, Numbers, Records

FORMAT = 15  # part of the fingerprint: raised when the files' meaning changes
TEXT_ROWS = 1 << 12  # whose tokens are looked at together
# of tokens; larger stores are verified chunk by chunk, so that opening them costs nothing
VERIFIED_AT_ONCE_BYTES = 1 << 30


class TokenStore:
    """Reads one split.

    Attributes:
        lengths: (examples,) int32, tokens of each example.
        columns: name -> (examples, ...) per-example values, such as the label.
        tokens: name -> (tokens,) int32, all examples' one after the other.
        extras: name -> what else the head keeps for its metrics.
        meta: what the writer noted: label names, samples of raw text.

    Raises:
        DamagedError: a file is missing, or is not what was written.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._verify_files()
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.row_splits = np.load(folder / "row_splits.npy", mmap_mode="r")
        self.lengths = _lengths(folder / "row_splits.npy")
        self.columns = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in self.meta["columns"]
        }
        self.extras = {
            name: np.load(folder / f"extra.{name}.npy", mmap_mode="r")
            for name in self.meta["extras"]
        }
        self._files, self._file_splits = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("files", "file_splits")
        )
        self.tokens = {name: self._checked(name) for name in self.meta["token_columns"]}
        if sum(4 * len(values) for values in self.tokens.values()) <= VERIFIED_AT_ONCE_BYTES:
            for values in self.tokens.values():
                values.verify()

    def _verify_files(self) -> None:
        """Of the tokens, which may be large, the length only."""
        try:
            files = read_sealed(self.folder / CHECKSUMS)["files"]
            for name, (size, expected) in files.items():
                if expected is not None:
                    verify(self.folder / name, Fingerprint(size, expected))
                elif (found := (self.folder / name).stat().st_size) != size:
                    raise DamagedError(self.folder / name, f"{found:,} bytes instead of {size:,}")
        except OSError as error:
            raise DamagedError(self.folder / name, reason(error)) from None

    def _checked(self, name: str) -> CheckedTokens:
        return CheckedTokens(
            self.folder / f"tokens.{name}.int32",
            np.fromfile(self.folder / f"tokens.{name}.crc32c", np.uint32),
        )

    @property
    def damage(self) -> DamagedError | None:
        """What was found as tokens were read: raised there too, but of what TensorFlow's threads
        raise it passes on only the text.
        """
        return next((values.damage for values in self.tokens.values() if values.damage), None)

    def __len__(self) -> int:
        return len(self.lengths)

    def rows_of(self, texts: int) -> int:
        """How many rows the first so many texts have: one each, or their windows."""
        return (
            int(np.searchsorted(self.columns["example"], texts))
            if "example" in self.columns
            else texts
        )

    def example(self, index: int) -> dict[str, np.ndarray]:
        """The token columns of one example, each (S,) int32."""
        start = self.row_splits[index]
        end = self.row_splits[index + 1]
        return {name: values[start:end] for name, values in self.tokens.items()}

    def release(self) -> None:
        """Lets go what was read, so that it is no memory of this process; it is read again when it
        is asked for.
        """
        for values in (self.row_splits, *self.columns.values(), *self.tokens.values()):
            release(values)

    def origin(self, index: int) -> str:
        """Where the example came from: "file:line"."""
        line = int(self.columns["origin_line"][index])
        file = self.file(int(self.columns["origin_file"][index]))
        return f"{file}:{line}" if line else file

    def file(self, number: int) -> str:
        """The name of a file, of which the column `origin_file` has the number."""
        start, end = self._file_splits[number : number + 2].tolist()
        return self._files[start:end].tobytes().decode("utf-8", "surrogatepass")


class StoreWriter:
    """Writes one split, batch by batch."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._token_files: dict[str, Any] = {}
        self._scratch: list[Numbers | Records] = []
        self._lengths = self.scratch(np.int64)
        self._columns: dict[str, Numbers] = {}
        self._files = self.records()
        self._last_file = ""

    def file_number(self, name: str) -> int:
        """The number of a file that an example is from, for the column `origin_file`; sources read
        one after the other.
        """
        if name != self._last_file or not len(self._files):
            self._files.append(name.encode("utf-8", "surrogatepass"))
            self._last_file = name
        return len(self._files) - 1

    def file(self, number: int) -> str:
        """The name of a file by its number."""
        return self._files[number].decode("utf-8", "surrogatepass")

    def append(
        self, tokens: Mapping[str, tuple[np.ndarray, np.ndarray]], columns: Mapping[str, np.ndarray]
    ) -> None:
        """Appends a batch: token columns as (flat values int32, row lengths), which agree in
        lengths; example columns (B, ...).
        """
        for name, (values, _) in tokens.items():
            self.append_tokens(name, values)
        self._lengths.extend(next(iter(tokens.values()))[1])
        for name, values in columns.items():
            if name not in self._columns:
                self._columns[name] = self.scratch(values.dtype, values.shape[1:])
            self._columns[name].extend(values)

    def append_tokens(self, name: str, values: np.ndarray) -> None:
        """Appends (n,) values to one token column alone, such as one that is made of the others."""
        if name not in self._token_files:
            self._token_files[name] = open(self.folder / f"tokens.{name}.int32", "wb")  # noqa: SIM115  closed in close()
        self._token_files[name].write(np.ascontiguousarray(values, np.int32).data)

    def scratch(self, dtype: Any, shape: tuple[int, ...] = ()) -> Numbers:
        """Numbers on the disk, until the store is finished."""
        numbers = Numbers(self.folder, dtype, shape)
        self._scratch.append(numbers)
        return numbers

    def records(self) -> Records:
        """Byte strings on the disk, until the store is finished."""
        records = Records(self.folder)
        self._scratch.append(records)
        return records

    def token_column(self, name: str) -> np.ndarray:
        """All values of a token column written so far."""
        self._token_files[name].flush()
        return map_int32(self.folder / f"tokens.{name}.int32")

    def rows(self, count: int | None = None) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """All rows written so far, `count` at a time: (n + 1,) int64, where their tokens begin and
        the last one's end; and their columns.
        """
        end = np.zeros(1, np.int64)
        count = count or spool.BLOCK_ROWS
        columns = [values.blocks(count) for values in self._columns.values()]
        for lengths, *values in zip(self._lengths.blocks(count), *columns, strict=True):
            splits = np.concatenate([end, end + np.cumsum(lengths)])
            end = splits[-1:]
            yield splits, dict(zip(self._columns, values, strict=True))

    def whole_texts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All rows written so far, some at a time, of each text all or none: (n + 1,) int64, where
        their tokens begin and the last one's end; and (n,) int32, which text each is of.
        """
        splits = np.zeros(1, np.int64)
        example = np.zeros(0, np.int32)
        for more, columns in self.rows(TEXT_ROWS):
            splits = np.concatenate([splits, more[1:]])
            example = np.concatenate([example, columns["example"]])
            whole = int(np.searchsorted(example, example[-1]))  # the last text may go on
            if whole:
                yield splits[: whole + 1], example[:whole]
                splits = splits[whole:]
                example = example[whole:]
        if len(example):
            yield splits, example

    def recut(self, starts: Iterable[np.ndarray]) -> None:
        """Lets rows begin elsewhere in the same tokens; each has the example columns of the one
        that its first token was in.

        Args:
            starts: where they begin, in ascending order, a block at a time.
        """
        ahead = Ascending(starts)
        begun = np.zeros(0, np.int64)
        end = 0
        lengths = self.scratch(np.int64)
        columns = {
            name: self.scratch(values.dtype, values.shape) for name, values in self._columns.items()
        }
        for splits, values in self.rows():
            end = int(splits[-1])
            here = ahead.below(end)
            of = np.searchsorted(splits, here, side="right") - 1
            for name, column in columns.items():
                column.extend(values[name][of])
            begun = np.concatenate([begun[-1:], here])
            lengths.extend(np.diff(begun))
        lengths.extend(end - begun[-1:])
        self._lengths = lengths
        self._columns = columns

    def close(
        self,
        columns: Mapping[str, np.ndarray],
        token_columns: Mapping[str, np.ndarray],
        meta: Mapping[str, Any],
        *,
        extras: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Adds what is known only at the end, and finishes the files.

        Args:
            columns: (rows, …) each, such as the labels.
            token_columns: (tokens,) each.
            meta: facts of the split, as JSON has them.
            extras: arrays for the metrics.
        """
        for file in self._token_files.values():
            file.close()
        for name, values in token_columns.items():
            (self.folder / f"tokens.{name}.int32").write_bytes(
                np.ascontiguousarray(values, np.int32).data
            )
        splits = itertools.chain([np.zeros(1, np.int64)], (splits[1:] for splits, _ in self.rows()))
        _save(self.folder / "row_splits.npy", np.dtype(np.int64), (len(self._lengths) + 1,), splits)
        for name, column in self._columns.items():
            shape = (len(column), *column.shape)
            _save(self.folder / f"{name}.npy", column.dtype, shape, column.blocks())
        more = {
            **columns,
            **{f"extra.{name}": values for name, values in (extras or {}).items()},
            "files": self._files.content.mapped(),
            "file_splits": self._files.splits.mapped(),
        }
        for name, values in more.items():
            _save(self.folder / f"{name}.npy", values.dtype, values.shape, blocks(values))
        everything = {**self._columns, **columns}
        meta = {
            **meta,
            "extras": list(extras or {}),
            "columns": list(everything),
            "token_columns": list({**self._token_files, **token_columns}),
        }
        (self.folder / "meta.json").write_text(
            json.dumps(meta, ensure_ascii=False), encoding="utf-8"
        )
        for scratch in self._scratch:
            scratch.close()
        self._write_checksums(meta["token_columns"])

    def _write_checksums(self, token_columns: list[str]) -> None:
        for name in token_columns:
            chunks = chunk_checksums(self.folder / f"tokens.{name}.int32")
            (self.folder / f"tokens.{name}.crc32c").write_bytes(chunks.data)
        by_chunk = {f"tokens.{name}.int32" for name in token_columns}
        files = {
            path.name: (
                path.stat().st_size,
                None if path.name in by_chunk else fingerprint(path).crc32c,
            )
            for path in sorted(self.folder.iterdir())
        }
        write_sealed(self.folder / CHECKSUMS, {"files": files})


def _save(
    path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...], parts: Iterable[np.ndarray]
) -> None:
    """As np.save, whose tofile does not notice when the last of its buffers finds the disk full; of
    values that come in parts.
    """
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).tobytes())


def _lengths(path: pathlib.Path) -> np.ndarray:
    """(examples,) int32: the differences of the row splits in a file,
    which need not be in memory.
    """
    splits = np.load(path, mmap_mode="r")
    lengths = np.empty(len(splits) - 1, np.int32)
    for start in range(0, len(lengths), spool.BLOCK_ROWS):
        stop = min(len(lengths), start + spool.BLOCK_ROWS)
        lengths[start:stop] = np.diff(
            np.fromfile(
                path, splits.dtype, stop + 1 - start, offset=splits.offset + start * splits.itemsize
            )
        )
    return lengths


@contextmanager
def one_at_a_time(folder: pathlib.Path) -> Iterator[None]:
    """Waits while another process of this machine builds `folder`,
    so that the work is done once.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder.parent / f".{folder.name}.lock")
    # a cache that cannot be written may still be read, and building says what is wrong
    except OSError:
        yield
        return
    try:
        yield
    finally:
        pathlib.Path(lock.name).unlink(missing_ok=True)
        lock.close()


def _locked(path: pathlib.Path) -> IO[str]:
    """The file of that name, which is locked; one that was removed while we waited for it locks
    nobody out.
    """
    while True:
        lock = open(path, "w")  # noqa: SIM115  closed by whoever asked
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(lock.fileno()).st_ino == os.stat(path).st_ino:
                return lock
        lock.close()


def discard(folder: pathlib.Path) -> None:
    """Removes a store that is damaged, so that it can be built anew, and what killed processes left
    of theirs.

    Those who have the store open keep it. Call it where `one_at_a_time` lets no other process build
    it.

    Raises:
        JobDirError: it cannot be removed.
    """
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: {folder} is damaged and cannot be removed: {error.strerror}. "
            "Remove it, or give another --data.cache_dir."
        ) from None


@contextmanager
def building(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes `folder` if the block succeeds, and is removed if it
    does not.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: {folder.parent} cannot be written: {error.strerror}. Give another"
            " --data.cache_dir."
        ) from None
    try:
        yield temporary
        sync_tree(temporary)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.exists():  # else another run was first: its content is the same
                raise
        sync([folder.parent])
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: writing below {folder.parent} failed: {error.strerror}. "
            "Free some space or give another --data.cache_dir."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
