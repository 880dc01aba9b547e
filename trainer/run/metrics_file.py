"""metrics.jsonl: one object a log point; only numbers that a repeated run gives again."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Mapping

from trainer.errors import JobDirError
from trainer.files import mirror
from trainer.files.checksums import MISSING, DamagedError, Fingerprint, checksum, fingerprint, sync
from trainer.files.writing import atomic_write


class MetricsFile:
    """The file of a run that writes.

    Args:
        file: its path.
        at_checkpoint: what it was at the checkpoint that the run goes on from. What was written
            after that is cut off.
        earlier: what it was at every checkpoint there is, by step: so that the message can say
            which of them it fits.

    Raises:
        JobDirError: it has lost what it had, or that has changed; or it cannot be written.
    """

    def __init__(
        self,
        file: pathlib.Path,
        at_checkpoint: Fingerprint,
        earlier: Mapping[int, Fingerprint] | None = None,
    ) -> None:
        self._path = file
        self._crc32c = at_checkpoint.crc32c
        try:
            _require(file, at_checkpoint)
        except DamagedError as error:
            raise JobDirError(_explained(error, earlier or {})) from None
        try:
            file.touch()
            self._open()
            self._file.truncate(at_checkpoint.bytes)
            self._file.seek(0, 2)
        except OSError as error:
            raise self._refused(error) from None

    def _open(self) -> None:
        # Without a buffer: what a full disk has refused would be tried again when Python ends.
        self._file = self._path.open("r+b", buffering=0)
        self._file.seek(0, 2)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Appends one object. Raises JobDirError where the disk is full or cannot be written."""
        clean = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"step": step, "split": split, **clean}).encode() + b"\n"
        left = memoryview(line)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._refused(error) from None
        self._crc32c = checksum(line, self._crc32c)

    def restore(self) -> bool:
        """Writes the file anew where it was removed or replaced since it was opened; whether so."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                return False
        self._file.seek(0)
        with atomic_write(self._path, "wb") as file:
            shutil.copyfileobj(self._file, file)  # which is there for as long as it is open
        self._file.close()
        self._open()
        return True

    def written(self) -> Fingerprint:
        """All that was written."""
        return Fingerprint(self._file.tell(), self._crc32c)

    def sync(self) -> None:
        """Waits until it is on the disk, from any thread. Raises JobDirError where it cannot be."""
        try:
            with contextlib.suppress(FileNotFoundError):  # `restore` writes it anew
                sync([self._path])
        except OSError as error:
            raise self._refused(error) from None

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _refused(self, error: OSError) -> JobDirError:
        return JobDirError(
            f"cannot write {mirror.shown(self._path)}: {error.strerror}. Free some space, or "
            "give a folder that you may write to, "
            "and start again: the run goes on from its last checkpoint."
        )


def _require(file: pathlib.Path, expected: Fingerprint) -> None:
    """Raises DamagedError where the file does not begin with what it was."""
    if not expected.bytes:
        return
    if not file.exists():
        raise DamagedError(file, MISSING)
    found = fingerprint(file, first=expected.bytes)
    if found.bytes < expected.bytes:
        raise DamagedError(
            file,
            f"{found.bytes:,} bytes, and at the checkpoint to go on from it had {expected.bytes:,}",
        )
    if found != expected:
        raise DamagedError(
            file,
            f"its first {expected.bytes:,} bytes are not what was written: the checksum differs",
        )


def _explained(error: DamagedError, earlier: Mapping[int, Fingerprint]) -> str:
    fitting = []
    for step, expected in earlier.items():
        try:
            _require(error.path, expected)
        except DamagedError:
            continue
        fitting.append(step)
    others = (
        f", or remove the checkpoints after step {fitting[-1]:,}, "
        "so that the run goes on from there"
        if fitting
        else ""
    )
    return f"{error} Put back a copy of it{others}, or start anew in another --job_dir."
