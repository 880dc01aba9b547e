"""The small files of a job_dir, and `.checksums.json`, by which a changed one is noticed.

A file and its checksum are two writes, and a run may be killed between them. Therefore the
checksum of the new content is noted first, beside that of the old one: either is then right. The
next write, or `settle`, forgets the old one.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from trainer.files import mirror
from trainer.files.checksums import (
    MISSING,
    DamagedError,
    Fingerprint,
    checksum,
    fingerprint,
    read_sealed,
    write_sealed,
)
from trainer.files.json_file import JsonObject
from trainer.files.writing import atomic_write, write_text

REGISTRY = ".checksums.json"

Noted = dict[str, list[Fingerprint | None]]  # name -> what it may be; None: not there


class NotedFiles:
    """Reads and writes them.

    Args:
        folder: the job_dir.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._file = folder / REGISTRY
        self._brought = False

    def problem(self) -> DamagedError | None:
        """Why nothing can be verified; None where it can."""
        try:
            self._read()
        except DamagedError as error:
            return error
        return None

    def known_config(self) -> JsonObject | None:
        """The values of the config that the run was begun with; None where nothing says so."""
        try:
            return self._read()["config"]
        except DamagedError:
            return None

    def note_config(self, values: Mapping[str, object]) -> None:
        """Keeps them: config.yaml is compared by its values, as people may add comments."""
        self._save(self._settled(self._noted()), values)

    def write(self, contents: Mapping[str, str]) -> None:
        """Writes files, each whole or not at all; one that is as it should be is left alone.

        Args:
            contents: name -> text.
        Raises:
            JobDirError: the operating system refuses.
        """
        noted = self._settled(self._noted())
        changed = []
        for name, text in contents.items():
            new = _fingerprint_of(text)
            known = noted.get(name, [self._current(name)])
            if noted.get(name) != [new]:
                noted[name] = list(dict.fromkeys([*known, new]))
                changed.append(name)
        self._save(noted)
        for name, text in contents.items():
            if name in changed or self._current(name) != _fingerprint_of(text):
                write_text(self._folder / name, text)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[IO[str]]:
        """Yields a file that takes the place of one when the block ends well: a large one, of which
        `write` would need the whole text.

        Raises JobDirError where the operating system refuses.
        """
        with atomic_write(self._folder / name) as file:
            yield file
            file.flush()
            noted = self._settled(self._noted())
            known = noted.get(name, [self._current(name)])
            noted[name] = list(dict.fromkeys([*known, fingerprint(pathlib.Path(file.name))]))
            self._save(noted)

    def write_beside(self, name: str, text: str) -> None:
        """Writes a file into a folder that need not be a job's: noted only where others are."""
        if self.problem():
            write_text(self._folder / name, text)
        else:
            self.write({name: text})

    def settle(self) -> None:
        """Forgets what files were before their last write."""
        self._save(self._settled(self._noted()))

    def is_noted(self, name: str, text: str) -> bool:
        """Whether this is what the file should hold; without a note, whether it does hold it."""
        known = self._noted().get(name)
        if known is None:
            path = self._folder / name
            return path.exists() and path.read_bytes() == text.encode()
        return _fingerprint_of(text) in known

    def read(self, name: str) -> str | None:
        """The text of a file; None where it is not there, and need not be.

        Raises:
            DamagedError: it is missing, or is not what was written.
        """
        self.verify(name)
        path = self._folder / name
        try:
            return path.read_text(encoding="utf-8") if path.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise DamagedError(path, f"it cannot be read: {error}") from None

    def verify(self, name: str) -> None:
        """Raises DamagedError where a file is missing, or is not what was written."""
        known = self._noted().get(name)
        current = self._current(name)
        if known is None or current in known:
            return
        if current is None:
            raise DamagedError(self._folder / name, MISSING)
        lengths = [each.bytes for each in known if each is not None]
        if current.bytes not in lengths:
            wanted = f"{lengths[-1]:,}" if lengths else "none"
            raise DamagedError(self._folder / name, f"{current.bytes:,} bytes instead of {wanted}")
        raise DamagedError(
            self._folder / name, "its content is not what was written: the checksum differs"
        )

    def changed(self) -> list[DamagedError]:
        """Every file that is not what was written."""
        damages = []
        for name in self._noted():
            try:
                self.verify(name)
            except DamagedError as error:
                damages.append(error)
        return damages

    def _current(self, name: str) -> Fingerprint | None:
        """Of a file as it is now; None where it is not there."""
        path = self._folder / name
        try:
            return fingerprint(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedError(path, f"it cannot be read: {error.strerror}") from None

    def _settled(self, noted: Noted) -> Noted:
        """What is there now, where that is right; damage stays noticed."""
        settled = {}
        for name, known in noted.items():
            current = self._current(name)
            settled[name] = [current] if current in known else known
        return settled

    def _noted(self) -> Noted:
        try:
            files = self._read()["files"]
        except DamagedError:
            return {}
        return {
            name: [None if each is None else Fingerprint(*each) for each in known]
            for name, known in files.items()
        }

    def _read(self) -> JsonObject:
        if not self._brought:
            mirror.bring(self._file)
            self._brought = True
        return read_sealed(self._file)

    def _save(self, noted: Noted, config: Mapping[str, object] | None = None) -> None:
        before = {} if self.problem() else self._read()
        after = {
            "config": before.get("config") if config is None else config,
            "files": {name: _as_lists(known) for name, known in noted.items()},
        }
        if before != after:
            write_sealed(self._file, after)


def _as_lists(known: Iterable[Fingerprint | None]) -> list[list[int] | None]:
    """As JSON reads them."""
    return [None if each is None else list(each) for each in known]


def _fingerprint_of(text: str) -> Fingerprint:
    content = text.encode()
    return Fingerprint(len(content), checksum(content))
