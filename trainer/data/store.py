"""The token store: one encoded split as flat arrays on disk, memory-mapped, any example reachable by index.

A folder with `row_splits.npy`, one raw file a token column (`tokens.NAME.int32`), one `.npy` an example column,
what else the head keeps for its metrics (`extra.NAME.npy`), and `meta.json`. Where long texts go through several
windows, what is called an example here is a window, and the column `example` says of which text.

Folders are built under another name and renamed when complete, so a half-written store is never read.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from trainer.errors import JobDirError

FORMAT = 10  # part of the fingerprint: raised when the files' meaning changes


class TokenStore:
    """Reads one split.

    Attributes:
        lengths: (examples,) int32, tokens of each example.
        columns: name -> (examples, ...) per-example values, such as the label.
        tokens: name -> (tokens,) int32, all examples' one after the other.
        extras: name -> what else the head keeps for its metrics.
        meta: what the writer noted: label names, samples of raw text, files.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.row_splits = np.load(folder / "row_splits.npy")
        self.lengths = np.diff(self.row_splits).astype(np.int32)
        self.columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in self.meta["columns"]}
        self.extras = {name: np.load(folder / f"extra.{name}.npy", mmap_mode="r") for name in self.meta["extras"]}
        self.tokens = {name: _map_int32(folder / f"tokens.{name}.int32") for name in self.meta["token_columns"]}

    def __len__(self) -> int:
        return len(self.lengths)

    def rows_of(self, texts: int) -> int:
        """How many rows the first so many texts have: one each, or their windows."""
        return int(np.searchsorted(self.columns["example"], texts)) if "example" in self.columns else texts


    def example(self, index: int) -> dict[str, np.ndarray]:
        """The token columns of one example, each (S,) int32."""
        start, end = self.row_splits[index], self.row_splits[index + 1]
        return {name: values[start:end] for name, values in self.tokens.items()}

    def origin(self, index: int) -> str:
        """Where the example came from: "file:line"."""
        line = int(self.columns["origin_line"][index])
        file = self.meta["files"][int(self.columns["origin_file"][index])]
        return f"{file}:{line}" if line else file


def _map_int32(path: pathlib.Path) -> np.ndarray:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, np.int32)
    return np.memmap(path, np.int32, "r")


class StoreWriter:
    """Writes one split, batch by batch."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._files: dict[str, Any] = {}
        self._lengths: list[np.ndarray] = []
        self._columns: dict[str, list[np.ndarray]] = {}

    def append(self, tokens: Mapping[str, tuple[np.ndarray, np.ndarray]], columns: Mapping[str, np.ndarray]) -> None:
        """Appends a batch: token columns as (flat values int32, row lengths), which agree in lengths; example columns (B, ...)."""
        for name, (values, _) in tokens.items():
            if name not in self._files:
                self._files[name] = open(self.folder / f"tokens.{name}.int32", "wb")  # noqa: SIM115  closed in close()
            self._files[name].write(np.ascontiguousarray(values, np.int32).data)
        self._lengths.append(next(iter(tokens.values()))[1])
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)

    def column(self, name: str) -> np.ndarray:
        """All values of an example column written so far."""
        return np.concatenate(self._columns[name]) if name in self._columns else np.zeros(0)

    def token_column(self, name: str) -> np.ndarray:
        """All values of a token column written so far."""
        self._files[name].flush()
        return _map_int32(self.folder / f"tokens.{name}.int32")

    def row_splits(self) -> np.ndarray:
        """(examples + 1,) int64: where the tokens of each begin."""
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int64)
        return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    def recut(self, row_splits: np.ndarray) -> None:
        """Lets rows begin elsewhere in the same tokens; each has the example columns of the one that its first token was in."""
        of = np.searchsorted(self.row_splits(), row_splits[:-1], side="right") - 1
        self._columns = {name: [self.column(name)[of]] for name in self._columns}
        self._lengths = [np.diff(row_splits)]

    def close(self, columns: Mapping[str, np.ndarray], token_columns: Mapping[str, np.ndarray], meta: Mapping[str, Any], *,
              extras: Mapping[str, np.ndarray] | None = None) -> None:
        """Adds whole columns (the labels, known only at the end) and extras, and finishes the files."""
        for file in self._files.values():
            file.close()
        for name, values in token_columns.items():
            (self.folder / f"tokens.{name}.int32").write_bytes(np.ascontiguousarray(values, np.int32).data)
        _save(self.folder / "row_splits.npy", self.row_splits())
        everything = {**{name: self.column(name) for name in self._columns}, **columns}
        for name, values in everything.items():
            _save(self.folder / f"{name}.npy", values)
        for name, values in (extras or {}).items():
            _save(self.folder / f"extra.{name}.npy", values)
        meta = {**meta, "extras": list(extras or {}), "columns": list(everything), "token_columns": list({**self._files, **token_columns})}
        (self.folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")


def _save(path: pathlib.Path, values: np.ndarray) -> None:
    """As np.save, whose tofile does not notice when the last of its buffers finds the disk full."""
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    path.write_bytes(content.getbuffer())


@contextmanager
def one_at_a_time(folder: pathlib.Path) -> Iterator[None]:
    """Waits while another process of this machine builds `folder`, so that the work is done once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.parent / f".{folder.name}.lock", "w")  # noqa: SIM115  closed below
    except OSError:  # a cache that cannot be written may still be read, and building says what is wrong
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        pathlib.Path(lock.name).unlink(missing_ok=True)
        lock.close()


@contextmanager
def building(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes `folder` if the block succeeds, and is removed if it does not."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise JobDirError(f"data.cache_dir: {folder.parent} cannot be written: {error.strerror}. Give another --data.cache_dir.") from None
    try:
        yield temporary
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.exists():  # else another run was first: its content is the same
                raise
    except OSError as error:
        raise JobDirError(f"data.cache_dir: writing below {folder.parent} failed: {error.strerror}. "
                          "Free some space or give another --data.cache_dir.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
