"""Writes a token store (see `trainer.data.store`): one split, batch by batch."""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

import numpy as np
import numpy.typing as npt

from trainer.data.checked import CHECKSUMS, chunk_checksums, map_int32
from trainer.files import spool
from trainer.files.checksums import fingerprint, write_sealed
from trainer.files.mapped import blocks
from trainer.files.spool import Ascending, Numbers, Records

TEXT_ROWS = 1 << 12  # whose tokens are looked at together


class StoreWriter:
    """Writes one split, batch by batch."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._token_files: dict[str, IO[bytes]] = {}
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
            encoded = name.encode("utf-8", "surrogatepass")
            self._files.append(encoded)
            self._last_file = name
        return len(self._files) - 1

    def file(self, number: int) -> str:
        """The name of a file by its number."""
        encoded = self._files[number]
        return encoded.decode("utf-8", "surrogatepass")

    def append(
        self, tokens: Mapping[str, tuple[np.ndarray, np.ndarray]], columns: Mapping[str, np.ndarray]
    ) -> None:
        """Appends a batch: token columns as (flat values int32, row lengths), which agree in
        lengths; example columns (B, ...).
        """
        for name, (token_ids, _) in tokens.items():
            self.append_tokens(name, token_ids)
        _, row_lengths = next(iter(tokens.values()))
        self._lengths.extend(row_lengths)
        for name, rows in columns.items():
            column = self._columns.get(name)
            if column is None:
                column = self.scratch(rows.dtype, rows.shape[1:])
                self._columns[name] = column
            column.extend(rows)

    def append_tokens(self, name: str, values: np.ndarray) -> None:
        """Appends (n,) values to one token column alone, such as one that is made of the others."""
        file = self._token_files.get(name)
        if file is None:
            file = self._token_path(name).open("wb")
            self._token_files[name] = file
        file.write(np.ascontiguousarray(values, np.int32).data)

    def _token_path(self, column: str) -> pathlib.Path:
        return self.folder / f"tokens.{column}.int32"

    def scratch(self, dtype: npt.DTypeLike, shape: tuple[int, ...] = ()) -> Numbers:
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
        return map_int32(self._token_path(name))

    def rows(self, count: int | None = None) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """All rows written so far, `count` at a time: (n + 1,) int64, where their tokens begin and
        the last one's end; and their columns.
        """
        end = np.zeros(1, np.int64)
        count = count or spool.BLOCK_ROWS
        column_blocks = []
        for numbers in self._columns.values():
            column_blocks.append(numbers.blocks(count))
        for lengths, *block in zip(
            self._lengths.blocks(count),
            *column_blocks,
            strict=True,
        ):
            row_ends = end + np.cumsum(lengths)
            splits = np.concatenate([end, row_ends])
            end = splits[-1:]
            columns = dict(zip(self._columns, block, strict=True))
            yield splits, columns

    def whole_texts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All rows written so far, some at a time, of each text all or none: (n + 1,) int64, where
        their tokens begin and the last one's end; and (n,) int32, which text each is of.
        """
        splits = np.zeros(1, np.int64)
        example = np.zeros(0, np.int32)
        for next_splits, columns in self.rows(TEXT_ROWS):
            splits = np.concatenate([splits, next_splits[1:]])
            example = np.concatenate([example, columns["example"]])
            last_text = example[-1]  # which may go on
            whole = int(np.searchsorted(example, last_text))
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
        columns = {}
        for name, numbers in self._columns.items():
            columns[name] = self.scratch(numbers.dtype, numbers.shape)
        for splits, old_rows in self.rows():
            end = int(splits[-1])
            new_starts = ahead.below(end)
            old_row = np.searchsorted(splits, new_starts, side="right") - 1
            for name, column in columns.items():
                column.extend(old_rows[name][old_row])
            begun = np.concatenate([begun[-1:], new_starts])
            lengths.extend(np.diff(begun))
        last_length = end - begun[-1:]
        lengths.extend(last_length)
        self._lengths = lengths
        self._columns = columns

    def close(
        self,
        columns: Mapping[str, np.ndarray],
        token_columns: Mapping[str, np.ndarray],
        meta: Mapping[str, object],
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
        extras = extras or {}
        self._write_tokens(token_columns)
        self._write_row_splits()
        self._write_columns()
        for name, column in columns.items():
            self._write_array(name, column)
        for name, extra in extras.items():
            self._write_array(f"extra.{name}", extra)
        self._write_array("files", self._files.content.mapped())
        self._write_array("file_splits", self._files.splits.mapped())
        all_tokens = list({**self._token_files, **token_columns})
        all_meta = {
            **meta,
            "extras": list(extras),
            "columns": list({**self._columns, **columns}),
            "token_columns": all_tokens,
        }
        meta_json = json.dumps(all_meta, ensure_ascii=False)
        (self.folder / "meta.json").write_text(meta_json, encoding="utf-8")
        for scratch in self._scratch:
            scratch.close()
        self._write_checksums(all_tokens)

    def _write_tokens(self, token_columns: Mapping[str, np.ndarray]) -> None:
        """Ends the token columns that were appended, and writes those that come at the end."""
        for file in self._token_files.values():
            file.close()
        for name, values in token_columns.items():
            contiguous = np.ascontiguousarray(values, np.int32)
            self._token_path(name).write_bytes(contiguous.data)

    def _write_row_splits(self) -> None:
        zero = np.zeros(1, np.int64)
        ends = (splits[1:] for splits, _ in self.rows())
        _save(
            self.folder / "row_splits.npy",
            np.dtype(np.int64),
            (len(self._lengths) + 1,),
            itertools.chain([zero], ends),
        )

    def _write_columns(self) -> None:
        """Writes the example columns that were appended."""
        for name, column in self._columns.items():
            _save(
                self.folder / f"{name}.npy",
                column.dtype,
                (len(column), *column.shape),
                column.blocks(),
            )

    def _write_array(self, stem: str, values: np.ndarray) -> None:
        path = self.folder / f"{stem}.npy"
        _save(path, values.dtype, values.shape, blocks(values))

    def _write_checksums(self, token_columns: list[str]) -> None:
        by_chunk = set()
        for column in token_columns:
            path = self._token_path(column)
            by_chunk.add(path.name)
            chunks = chunk_checksums(path)
            (self.folder / f"tokens.{column}.crc32c").write_bytes(chunks.data)
        files = {}
        for path in sorted(self.folder.iterdir()):
            size = path.stat().st_size
            expected = None
            if path.name not in by_chunk:
                expected = fingerprint(path).crc32c
            files[path.name] = (size, expected)
        write_sealed(self.folder / CHECKSUMS, {"files": files})


def _save(
    path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...], parts: Iterable[np.ndarray]
) -> None:
    """As np.save, whose tofile does not notice when the last of its buffers finds the disk full; of
    values that come in parts.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            contiguous = np.ascontiguousarray(part)
            file.write(contiguous.tobytes())
