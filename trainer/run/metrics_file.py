"""metrics.jsonl: one object a log point; only numbers that a repeated run gives again."""

from __future__ import annotations

import contextlib
import io
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
    """The file of a run that writes; `open` opens it.

    Args:
        path: its path.
        file: open for writing, at its end.
        crc32c: the checksum of what it has.
    """

    def __init__(self, path: pathlib.Path, file: io.FileIO, crc32c: int) -> None:
        self._path = path
        self._file = file
        self._crc32c = crc32c

    @classmethod
    def open(
        cls,
        path: pathlib.Path,
        at_checkpoint: Fingerprint,
        earlier: Mapping[int, Fingerprint] | None = None,
    ) -> MetricsFile:
        """Opens the file of a run that goes on from a checkpoint, or begins.

        Args:
            path: its path.
            at_checkpoint: what it was at the checkpoint. What was written after that is cut off.
            earlier: what it was at every checkpoint there is, by step: so that the message can say
                which of them it fits.
        Raises:
            JobDirError: it has lost what it had, or that has changed; or it cannot be written.
        """
        try:
            _require(path, at_checkpoint)
        except DamagedError as error:
            raise JobDirError(_explained(error, earlier or {})) from None
        try:
            path.touch()
            file = _opened(path)
            file.truncate(at_checkpoint.bytes)
            file.seek(0, os.SEEK_END)
        except OSError as error:
            raise _refused(path, error) from None
        return cls(path, file, at_checkpoint.crc32c)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Appends one object.

        Args:
            step: of the optimizer.
            split: train or validation.
            values: by their names.
        Raises:
            JobDirError: the disk is full, or cannot be written.
        """
        entry: dict[str, object] = {"step": step, "split": split}
        for name, value in values.items():
            entry[name] = value if math.isfinite(value) else None  # JSON has no NaN
        line = json.dumps(entry).encode() + b"\n"
        left = memoryview(line)
        try:
            while left:
                written = self._file.write(left)
                left = left[written:]
        except OSError as error:
            raise _refused(self._path, error) from None
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
        self._file = _opened(self._path)
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
            raise _refused(self._path, error) from None

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _opened(path: pathlib.Path) -> io.FileIO:
    """The file, at its end.

    It has no buffer: what a full disk has refused would be tried again when Python ends.
    """
    file = io.FileIO(path, "r+")
    file.seek(0, os.SEEK_END)
    return file


def _refused(path: pathlib.Path, error: OSError) -> JobDirError:
    return JobDirError(
        f"cannot write {mirror.shown(path)}: {error.strerror}. Free some space, or "
        "give a folder that you may write to, "
        "and start again: the run goes on from its last checkpoint."
    )


def _require(file: pathlib.Path, expected: Fingerprint) -> None:
    """Raises DamagedError where the file does not begin with what it was."""
    if not expected.bytes:
        return
    if not file.exists():
        raise DamagedError(file, MISSING)
    beginning = fingerprint(file, first=expected.bytes)
    if beginning.bytes < expected.bytes:
        raise DamagedError(
            file,
            f"{beginning.bytes:,} bytes, and at the checkpoint to go on from it had"
            f" {expected.bytes:,}",
        )
    if beginning != expected:
        raise DamagedError(
            file,
            f"its first {expected.bytes:,} bytes are not what was written: the checksum differs",
        )


def _explained(error: DamagedError, earlier: Mapping[int, Fingerprint]) -> str:
    """What is wrong with the file, and what to do; names the newest checkpoint that fits it."""
    fitting = [step for step, expected in earlier.items() if _fits(error.path, expected)]
    remedy = ""
    if fitting:
        remedy = (
            f", or remove the checkpoints after step {fitting[-1]:,}, so that the run goes on from"
            " there"
        )
    return f"{error} Put back a copy of it{remedy}, or start anew in another --job_dir."


def _fits(file: pathlib.Path, expected: Fingerprint) -> bool:
    try:
        _require(file, expected)
    except DamagedError:
        return False
    return True
