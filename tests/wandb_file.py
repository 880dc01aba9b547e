"""What is in the files that wandb writes offline: records of its own protocol, in LevelDB's log
format.
"""

from __future__ import annotations

import json
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

BLOCK = 32_768  # bytes; no part of a record crosses a block's end
HEADER = struct.Struct("<IHB")  # checksum, length, kind of the part
FILE_HEADER_BYTES = 7
LAST_PARTS = (1, 4)  # a whole record, or the last part of one


def records(file: pathlib.Path) -> Iterator[Any]:
    """wandb's messages, in order; the last one of a killed run may be cut."""
    from wandb.proto import wandb_internal_pb2

    content = file.read_bytes()
    assert content.startswith(b":W&B")
    place, parts = FILE_HEADER_BYTES, b""
    while place + HEADER.size <= len(content):
        if BLOCK - place % BLOCK < HEADER.size:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(content, place)
        place += HEADER.size
        parts += content[place : place + length]
        place += length
        if kind in LAST_PARTS:
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


class OfflineRun:
    """One process's part of a run.

    Attributes:
        run: its first message: id, project, name, config.
        config: by section.
        history: (step, values by name), in order.
        summary: the last value of each name.
        files: that are to be sent.
        exit_code: None where it did not end.
    """

    def __init__(self, file: pathlib.Path) -> None:
        self.run = None
        self.config: dict[str, Any] = {}
        self.history: list[tuple[int, dict[str, float]]] = []
        self.summary: dict[str, Any] = {}
        self.files: list[str] = []
        self.exit_code: int | None = None
        for record in records(file):
            self._take(record)

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self.config = _values(record.run.config.update)
        elif kind == "history":
            row = _values(record.history.item)
            values = {name: value for name, value in row.items() if not name.startswith("_")}
            self.history.append((row["_step"], values))
        elif kind == "summary":
            self.summary |= _values(record.summary.update)
        elif kind == "files":
            self.files += [file.path for file in record.files.files]
        elif kind == "exit":
            self.exit_code = record.exit.exit_code


def _values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def offline_runs(folder: pathlib.Path) -> list[OfflineRun]:
    """Those below a folder, in the order of their start."""
    files = folder.glob("wandb/offline-run-*/run-*.wandb")
    return [OfflineRun(file) for file in sorted(files, key=lambda file: file.parent.name)]
