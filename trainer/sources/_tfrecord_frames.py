"""The frames of TFRecord files: a length before each record.

TensorFlow asks the machine for that much memory, and ends the process where it is a lie.
"""

import gzip
import pathlib
import struct
from typing import BinaryIO

from trainer.files.mirror import shown
from trainer.sources._reading import BLOCK_BYTES, reading

LENGTH = struct.Struct("<Q")
HEADER_BYTES = 12  # the length, and its checksum
FOOTER_BYTES = 4  # the record's checksum


def whole_records(path: pathlib.Path) -> tuple[int, int | None]:
    """How many records of a file are whole.

    And the length that the first one claims that is not; None where all are.

    What is damaged without a wrong length TensorFlow notices by the checksums.
    """
    with reading(shown(path), 0), path.open("rb") as file:
        if path.suffix == ".gz" and file.read(2) == b"\x1f\x8b":
            file.seek(0)
            with gzip.open(file) as unzipped:
                return _count(unzipped, None)
        file.seek(0)
        return _count(file, path.stat().st_size)


def _count(file: BinaryIO | gzip.GzipFile, size: int | None) -> tuple[int, int | None]:
    """`size` in bytes; None where only reading shows the end."""
    count = position = 0
    while True:
        try:
            header = file.read(HEADER_BYTES)
        except (OSError, EOFError):  # damaged: TensorFlow says where
            return count, None
        if len(header) < HEADER_BYTES:
            return count, None
        (length,) = LENGTH.unpack_from(header)
        position += HEADER_BYTES + length + FOOTER_BYTES
        if not _skip(file, length + FOOTER_BYTES, None if size is None else size - position):
            return count, length
        count += 1


def _skip(file: BinaryIO | gzip.GzipFile, count: int, left: int | None) -> bool:
    """Goes on behind some bytes.

    Args:
        file: is read.
        count: how many.
        left: how many are behind those; None where that is not known.
    Returns:
        Whether they were all there.
    """
    if left is not None:
        if left >= 0:
            file.seek(count, 1)
        return left >= 0
    while count:
        try:
            block = file.read(min(count, BLOCK_BYTES))
        except (OSError, EOFError):
            return False
        if not block:
            return False
        count -= len(block)
    return True
