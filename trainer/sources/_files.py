"""The files of a split, one after the other: fingerprints, progress. Shared by the formats."""

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from trainer.errors import ConfigError
from trainer.files.gcs import RemoteObject
from trainer.files.mirror import shown
from trainer.files.storage import expand
from trainer.sources import Example, setting_of
from trainer.sources._lines import Lines
from trainer.sources._reading import BLOCK_BYTES, open_bytes, reading, refuse_irregular

READING = 2  # part of every fingerprint: raised when the same files give other examples


class FileSource:
    """A Source over files that are read one after the other, line by line.

    Args:
        paths: the files, in order.
        read: the format: turns the lines of a file into examples.
        settings: what else the examples depend on.
        fallback_encoding: of files that are not UTF-8.
    """

    def __init__(
        self,
        paths: list[pathlib.Path],
        read: Callable[[Lines], Iterator[Example]],
        settings: Mapping[str, object],
        *,
        fallback_encoding: str | None = None,
    ) -> None:
        self._paths = paths
        self._read = read
        self._settings = {**settings, "fallback_encoding": fallback_encoding}
        self._fallback_encoding = fallback_encoding
        self._finished = 0  # bytes
        self._position: Callable[[], int] = lambda: 0

    def examples(self) -> Iterator[Example]:
        """The examples of all files; see `Source`."""
        self._finished = 0
        for path in self._paths:
            with open_bytes(path, self._fallback_encoding) as (stream, position):
                lines = Lines(stream, shown(path), path, self._fallback_encoding)
                self._position = position or functools.partial(getattr, lines, "position")
                yield from self._read(lines)
            self._position = lambda: 0
            self._finished += path.stat().st_size

    def fingerprint(self) -> str:
        """Of contents, relative names and settings; see `Source`."""
        named_files = zip(relative_names(self._paths), self._paths, strict=True)
        return fingerprint(named_files, self._settings)

    def label_names(self) -> None:
        """Lines of text declare no labels."""

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._paths)

    def progress(self) -> int:
        """Bytes on disk read so far; exact to the line in files that are not compressed."""
        return self._finished + self._position()


def files_of(spec: str, split: str) -> list[pathlib.Path]:
    """The files that a path or glob names.

    Raises:
        ConfigError: there are none.
    """
    key = setting_of(split)
    paths = expand(spec, key=key)
    folders = []
    files = []
    for path in paths:
        if path.is_dir():
            folders.append(path)
        else:
            files.append(path)
    if not files:
        raise ConfigError(
            f"{key}: expected files, {spec!r} names folders only: {shown(paths[0])}. Name the files"
            f" in it: {spec.rstrip('/')}/* (or data.source: folders, where each folder is a class)"
        )
    names_everything = "." not in pathlib.PurePath(spec).name
    if folders and not names_everything:
        folder = shown(folders[0])
        raise ConfigError(
            f"{key}: {spec!r} names files, and also the folder {folder}, whose files would"
            f" be missed. Name those, as in {folder}/*, or rename the folder."
        )
    for path in files:
        refuse_irregular(path, key)
    return files


def relative_names(paths: Sequence[pathlib.Path]) -> list[str]:
    """The paths relative to the deepest folder that holds them all: these stay as data moves."""
    if not paths:
        return []
    places = [os.path.abspath(path) for path in paths]
    folder = os.path.commonpath(map(os.path.dirname, places))
    return [os.path.relpath(place, folder) for place in places]


def fingerprint(
    files: Iterable[tuple[str, pathlib.Path | RemoteObject]], settings: Mapping[str, object]
) -> str:
    """Hash of named contents, in order, and of settings.

    Of what stays in Cloud Storage, its checksum there stands for the content.

    Raises:
        DataError: a file cannot be read.
    """
    rules = json.dumps([READING, settings], sort_keys=True)
    digest = hashlib.blake2b(rules.encode(), digest_size=16)
    for relative_name, file in files:
        facts: list[object] = [relative_name]
        if isinstance(file, RemoteObject):
            facts += [file.crc32c, file.size]
        else:
            facts.append(_digest_of_content(file))
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _digest_of_content(path: pathlib.Path) -> str:
    digest = hashlib.blake2b()
    with reading(shown(path), 0), path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
