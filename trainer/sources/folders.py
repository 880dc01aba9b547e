"""One folder a class: each file in it is a text, the folder's name is the label."""

import contextlib
import fnmatch
import os
import pathlib
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from trainer.errors import ConfigError, DataError, shown_value
from trainer.files.mirror import cache_folder, shown
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin, Source, setting_of, text_fields
from trainer.sources._files import fingerprint
from trainer.sources._reading import decoded, read_bytes, reading, refuse_irregular


class Settings(DataSettings):
    """The data section for class folders."""

    source: Literal["folders"] = Field("folders", description="one folder a class, one file a text")
    pattern: str = Field(
        "*",
        min_length=1,
        description="names of the files to read, like *.txt; hidden files never are",
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of a folder that holds a folder for each class.

    Args:
        settings: the data section.
        split: names the setting in messages.
        spec: the folder that holds the class folders.
    Raises:
        ConfigError: no such folder; two text fields.
        DataError: the folder holds no class folders, or an empty one.
    """
    key = setting_of(split)
    texts = text_fields(settings)
    if len(texts) > 1:
        raise ConfigError(
            f"data.text: source: folders has one text a file, got two fields: {texts}. Use jsonl,"
            " csv or tsv for pairs."
        )
    if texts[0] == settings.label:
        raise ConfigError(
            f"data.label: the text and the label have the same name, {settings.label!r}. Name them"
            " apart."
        )
    source = FoldersSource(_folder_of_classes(spec, key), settings, texts[0], key)
    source.refuse_empty(key)
    return source


def _folder_of_classes(spec: str, key: str) -> pathlib.Path:
    folders = [path for path in expand(spec, key=key) if path.is_dir()]
    if len(folders) == 1:
        return folders[0]
    named = "no folder"
    if folders:
        named = f"{len(folders)} folders: " + ", ".join(shown(path) for path in folders[:3])
    raise ConfigError(
        f"{key}: expected one folder that holds the class folders, {spec!r} names {named}."
        " Give the folder above the classes."
    )


class FoldersSource:
    """A Source over class folders.

    Classes come in the order of their names, files in the order of theirs, nested ones included.
    """

    def __init__(self, folder: pathlib.Path, settings: Settings, text: str, key: str) -> None:
        """Reads nothing yet.

        Args:
            folder: holds the class folders.
            settings: the data section.
            text: the name of the feature with the text.
            key: the setting that names the folder, for messages.
        """
        self._key = key
        self._folder = folder
        self._pattern = settings.pattern
        self._text = text
        self._label = settings.label_fields[0]
        self._fallback_encoding = settings.fallback_encoding
        self._read_bytes = 0

    def examples(self) -> Iterator[Example]:
        """One for each file; see `Source`."""
        self._read_bytes = 0
        for name, path in self._files():
            content = read_bytes(path, self._fallback_encoding)
            text = decoded(content, shown(path), path)
            label, _, _ = name.partition(os.sep)
            self._read_bytes += path.stat().st_size
            yield Example({self._text: text, self._label: label}, Origin(shown(path), 0))

    def fingerprint(self) -> str:
        """Of contents, names below the folder and settings; see `Source`."""
        settings = {
            "source": "folders",
            "text": self._text,
            "label": self._label,
            "fallback_encoding": self._fallback_encoding,
        }
        return fingerprint(self._files(), settings)  # the pattern shows in the files

    def label_names(self) -> None:
        """Folders have no order of their own."""

    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for _, path in self._files())

    def progress(self) -> int:
        """Bytes read so far."""
        return self._read_bytes

    def refuse_empty(self, key: str) -> None:
        """Raises a DataError unless there are class folders, each with a file."""
        classes = self._classes()
        if not classes:
            inside = sum(entry.is_file() for entry in os.scandir(self._folder))
            raise DataError(
                f"{key}: expected a folder for each class in {shown(self._folder)}, found none"
                f" ({inside} files directly in it). Move each file into a folder named after its"
                " label."
            )
        for folder in classes:
            if next(_walk(folder, self._pattern), None) is None:
                raise DataError(
                    f"{key}: the class folder {shown(folder)} holds no file that matches"
                    f" data.pattern: {self._pattern!r}. Remove the folder, fill it, or correct the"
                    " pattern."
                )

    def _classes(self) -> list[pathlib.Path]:
        with reading(shown(self._folder), 0):
            entries = sorted(self._folder.iterdir())
            folders = [path for path in entries if path.is_dir() and not _is_hidden(path.name)]
        for folder in folders:
            if any("\ud800" <= character <= "\udfff" for character in folder.name):
                raise DataError(
                    f"{self._key}: the name of the class folder {shown_value(shown(folder))} is not"
                    " UTF-8, and names the label. Rename it."
                )
        return folders

    def _files(self) -> Iterator[tuple[str, pathlib.Path]]:
        for folder in self._classes():
            for path in _walk(folder, self._pattern):
                refuse_irregular(path, self._key)
                yield str(path.relative_to(self._folder)), path


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"  # found below pkg://


def _walk(folder: pathlib.Path, pattern: str) -> Iterator[pathlib.Path]:
    """The files below a folder whose names match, and then those of each folder inside, by name.

    A folder that cannot be listed is refused, as its texts would be missed.
    """
    from trainer.files.spool import in_order  # which imports NumPy

    inside: list[str] = []

    def names() -> Iterator[str]:
        with reading(shown(folder), 0), os.scandir(folder) as entries:
            for entry in entries:
                if _is_hidden(entry.name):
                    continue
                if not _leads_to_folder(entry):
                    if fnmatch.fnmatchcase(entry.name, pattern):
                        yield entry.name
                elif not entry.is_symlink():  # which may lead back here
                    inside.append(entry.name)

    with contextlib.closing(in_order(names(), cache_folder())) as ordered:
        for name in ordered:
            yield folder / name
    for name in sorted(inside):
        yield from _walk(folder / name, pattern)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # as os.walk does
        return False
