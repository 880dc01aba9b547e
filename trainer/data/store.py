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

import itertools
import json
import pathlib
from typing import Any

import numpy as np

from trainer.data.checked import CHECKSUMS, CheckedTokens
from trainer.files import spool
from trainer.files.checksums import DamagedError, Fingerprint, read_sealed, reason, verify
from trainer.files.mapped import release

FORMAT = 16  # part of the fingerprint: raised when the files' meaning changes
# of tokens; larger stores are verified chunk by chunk, so that opening them costs nothing
VERIFIED_AT_ONCE_BYTES = 1 << 30


INPUTS = "inputs"  # extras: the raw inputs of each example, as JSON, one after the other
INPUT_SPLITS = "input_splits"  # where each begins


def places_within(lengths: np.ndarray) -> np.ndarray:
    """0, 1, … for each example, one after the other: (tokens,) int64.

    Args:
        lengths: (n,) tokens of each example.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)


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
        meta_json = (folder / "meta.json").read_text(encoding="utf-8")
        self.meta: dict[str, Any] = json.loads(meta_json)
        self.row_splits = self._array("row_splits")
        self.lengths = _lengths(folder / "row_splits.npy")
        self._files = self._array("files")
        self._file_splits = self._array("file_splits")
        self.columns = {}
        for column in self.meta["columns"]:
            self.columns[column] = self._array(column)
        self.extras = {}
        for extra in self.meta["extras"]:
            self.extras[extra] = self._array(f"extra.{extra}")
        self.tokens = {}
        for column in self.meta["token_columns"]:
            self.tokens[column] = self._checked(column)
        self._verify_small()

    def _array(self, stem: str) -> np.ndarray:
        return np.load(self.folder / f"{stem}.npy", mmap_mode="r")

    def _verify_small(self) -> None:
        """Verifies the tokens now, unless they are so many that it would take long."""
        value_count = sum(map(len, self.tokens.values()))
        if 4 * value_count > VERIFIED_AT_ONCE_BYTES:
            return
        for column in self.tokens.values():
            column.verify()

    def _verify_files(self) -> None:
        """Of the tokens, which may be large, the length only."""
        path = self.folder / CHECKSUMS
        try:
            files = read_sealed(path)["files"]
            for file, (size, expected) in files.items():
                path = self.folder / file
                if expected is None:
                    _verify_size(path, size)
                else:
                    verify(path, Fingerprint(size, expected))
        except OSError as error:
            raise DamagedError(path, reason(error)) from None

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
        for column in self.tokens.values():
            if column.damage:
                return column.damage
        return None

    def __len__(self) -> int:
        return len(self.lengths)

    def rows_of(self, texts: int) -> int:
        """How many rows the first so many texts have: one each, or their windows."""
        if "example" not in self.columns:
            return texts
        first_beyond = np.searchsorted(self.columns["example"], texts)
        return int(first_beyond)

    def example(self, index: int) -> dict[str, np.ndarray]:
        """The token columns of one example, each (S,) int32."""
        start = self.row_splits[index]
        end = self.row_splits[index + 1]
        columns = {}
        for name, column in self.tokens.items():
            columns[name] = column[start:end]
        return columns

    def examples(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The token columns of some examples, one after the other, each (tokens,) int32.

        Args:
            indices: (n,) of the examples.
        """
        lengths = self.lengths[indices]
        places = np.repeat(self.row_splits[indices], lengths) + places_within(lengths)
        return {name: column[places] for name, column in self.tokens.items()}

    def release(self) -> None:
        """Lets go what was read, so that it is no memory of this process; it is read again when it
        is asked for.
        """
        release(self.row_splits)
        for column in self.columns.values():
            release(column)
        for tokens in self.tokens.values():
            release(tokens)

    def inputs(self, texts: range) -> list[list[str | int | float]]:
        """The raw inputs of some examples of a split that is evaluated, in the head's order.

        Raises ValueError where they are not kept: of train, and where rows begin anywhere.
        """
        if INPUTS not in self.extras:
            raise ValueError(f"{self.folder.name}: its store keeps no raw inputs")
        content = self.extras[INPUTS]
        splits = self.extras[INPUT_SPLITS][texts.start : texts.stop + 1]
        inputs = []
        for start, end in itertools.pairwise(splits.tolist()):
            written = content[start:end].tobytes()
            inputs.append(json.loads(written.decode("utf-8", "surrogatepass")))
        release(content)
        return inputs

    def origin(self, index: int) -> str:
        """Where the example came from: "file:line"."""
        line = int(self.columns["origin_line"][index])
        number = int(self.columns["origin_file"][index])
        file = self.file(number)
        return f"{file}:{line}" if line else file

    def file(self, number: int) -> str:
        """The name of a file, of which the column `origin_file` has the number."""
        start, end = self._file_splits[number : number + 2].tolist()
        encoded = self._files[start:end].tobytes()
        return encoded.decode("utf-8", "surrogatepass")


def _lengths(path: pathlib.Path) -> np.ndarray:
    """(examples,) int32: the differences of the row splits in a file,
    which need not be in memory.
    """
    splits = np.load(path, mmap_mode="r")
    row_count = len(splits) - 1
    lengths = np.empty(row_count, np.int32)
    for start in range(0, row_count, spool.BLOCK_ROWS):
        stop = min(row_count, start + spool.BLOCK_ROWS)
        # read and not mapped, so that it is no memory of this process
        edges = np.fromfile(
            path,
            splits.dtype,
            count=stop + 1 - start,
            offset=splits.offset + start * splits.itemsize,
        )
        lengths[start:stop] = np.diff(edges)
    return lengths


def _verify_size(path: pathlib.Path, expected: int) -> None:
    size = path.stat().st_size
    if size != expected:
        raise DamagedError(path, f"{size:,} bytes instead of {expected:,}")
