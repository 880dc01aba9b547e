"""Whether a file still is what was written: lengths and CRC-32C, and JSON that carries its own.

Cloud Storage uses the same checksum. Processors have an instruction for it, so that verifying
costs less than reading.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from trainer.errors import UserError, shown_name
from trainer.files.json_file import JsonObject
from trainer.files.writing import DEVICE_ERRORS, json_text, write_text

BLOCK_BYTES = 1 << 20  # read at once
# The last line of a sealed file; the checksum is of every byte before it.
SEAL = re.compile(rb'(?P<content>.*),\n  "checksum": "(?P<checksum>[0-9a-f]{8})"\n}\n', re.DOTALL)
REASON_LENGTH = 300
MISSING = "missing"


class DamagedError(UserError):
    """A file that we wrote is missing, or is not what we wrote.

    Attributes:
        path: the file.
        said: what is wrong with it, without its name.
    """

    def __init__(self, path: pathlib.Path, said: str, remedy: str = "") -> None:
        problem = "is missing" if said == MISSING else f"is damaged ({said})"
        super().__init__(f"{path} {problem}. {remedy}".rstrip())
        self.path = path
        self.said = said


class Fingerprint(NamedTuple):
    """What tells a file from another: its length in bytes, and its CRC-32C."""

    bytes: int
    crc32c: int


def checksum(content: bytes | np.ndarray, before: int = 0) -> int:
    """The CRC-32C of bytes or of an array's memory.

    Args:
        content: what is checked.
        before: the checksum of what stands before it.
    """
    import google_crc32c

    return google_crc32c.extend(before, content)


def fingerprint(path: pathlib.Path, *, first: int | None = None) -> Fingerprint:
    """Of a file as it is now, or of its first bytes.

    Raises:
        OSError: it cannot be read.
    """
    length = 0
    crc32c = 0
    limit = math.inf if first is None else first
    with path.open("rb") as file:
        while block := file.read(int(min(BLOCK_BYTES, limit - length))):
            length += len(block)
            crc32c = checksum(block, crc32c)
    return Fingerprint(length, crc32c)


def verify(path: pathlib.Path, expected: Fingerprint) -> None:
    """Compares a file with what it was.

    Raises:
        DamagedError: it is missing, has another length or another content.
    """
    try:
        if (size := path.stat().st_size) != expected.bytes:
            raise DamagedError(path, f"{size:,} bytes instead of {expected.bytes:,}")
        if fingerprint(path) != expected:
            raise DamagedError(path, "its content is not what was written: the checksum differs")
    except OSError as error:
        raise DamagedError(path, reason(error)) from None


def reason(error: Exception) -> str:
    """An exception's text on one line."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    return shown_name(" ".join(text.split()), REASON_LENGTH)


def sealed(value: Mapping[str, object]) -> str:
    """A mapping, which is not empty, as JSON whose last entry is the checksum of all before it."""
    content = json_text(value).removesuffix("\n}\n")
    return f'{content},\n  "checksum": "{checksum(content.encode()):08x}"\n}}\n'


def write_sealed(path: pathlib.Path, value: Mapping[str, object]) -> None:
    """Writes `sealed(value)` whole, or raises JobDirError where the operating system refuses."""
    write_text(path, sealed(value))


def read_sealed(path: pathlib.Path) -> JsonObject:
    """What `write_sealed` wrote.

    Raises:
        DamagedError: the file is missing, or a byte of it has changed, or it never had a checksum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(path, reason(error)) from None
    seal = SEAL.fullmatch(content)
    if seal is None:
        raise DamagedError(
            path, "it has no checksum at its end: it was cut, or an older version wrote it"
        )
    if checksum(seal["content"]) != int(seal["checksum"], 16):
        raise DamagedError(path, "its content is not what was written: the checksum differs")
    value: JsonObject = json.loads(content)
    del value["checksum"]
    return value


def sync(paths: Iterable[pathlib.Path]) -> None:
    """Waits until files and folders are on the disk: a name given later never stands for less.

    Raises:
        OSError: the disk is full, or fails.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if (
                not path.is_dir() or error.errno in DEVICE_ERRORS
            ):  # some file systems do not let folders be synced
                raise
        finally:
            os.close(descriptor)


def sync_tree(folder: pathlib.Path) -> None:
    """`sync` for a folder and everything in it."""
    sync([*folder.rglob("*"), folder])
