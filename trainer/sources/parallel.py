"""Files that go line by line together, such as seq.in and seq.out, or train.de and train.en.

A field is a file's name, or how it ends.
"""

import contextlib
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from trainer.errors import ConfigError, DataError
from trainer.files.mirror import shown
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, Source, setting_of, text_fields
from trainer.sources._files import fingerprint
from trainer.sources._lines import Lines, without_end
from trainer.sources._reading import open_bytes, reading, refuse_irregular

SHOWN_FILES = 12


class Settings(DataSettings):
    """The data section for line-aligned files."""

    source: Literal["parallel"] = Field(
        "parallel",
        description=(
            "line-aligned files of a folder or a glob; data.text and data.label are their names, or"
            " their endings"
        ),
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of a folder, or of the files of a glob.

    Args:
        settings: the data section.
        split: names the setting in messages.
        spec: the folder or glob.
    Raises:
        ConfigError: nothing is there, or not one file of each field.
    """
    key = setting_of(split)
    named = expand(spec, key=key)
    files = []
    with reading(spec, 0):
        for entry in named:
            files += _files_at(entry)
    texts = text_fields(settings)
    paths = {}
    for field in (*texts, settings.label_fields[0]):
        candidates = _called(field, named, files)
        is_optional = split == TO_PREDICT and field not in texts  # it is to be predicted
        if is_optional and not candidates:
            continue
        if len(candidates) != 1:
            raise _not_one_file(field, candidates, files, where=f"{key}: {spec!r}")
        paths[field] = candidates[0]
    for path in paths.values():
        refuse_irregular(path, key)
    return ParallelSource(paths, settings.fallback_encoding)


def _files_at(entry: pathlib.Path) -> list[pathlib.Path]:
    """A file, or those in a folder."""
    paths = sorted(entry.iterdir()) if entry.is_dir() else [entry]
    return [path for path in paths if path.is_file() and not path.name.startswith(".")]


def _not_one_file(
    field: str, candidates: list[pathlib.Path], files: list[pathlib.Path], *, where: str
) -> ConfigError:
    """The error where several files may be meant by a field, or none.

    Args:
        field: the name of a file, or how it ends.
        candidates: those that may be meant.
        files: all that are there.
        where: the setting and its value.
    """
    number = "no file"
    remedy = "Correct data.text or data.label."
    if candidates:
        number = "several files"
        remedy = "Name those of one split, as with a glob such as PATH/train.*."
    shown_files = (candidates or files)[:SHOWN_FILES]
    names = ", ".join(path.name for path in shown_files)
    return ConfigError(
        f"{where} has {number} named {field!r} or ending in '.{field}': {names or 'none'}. {remedy}"
    )


def _called(name: str, named: list[pathlib.Path], files: list[pathlib.Path]) -> list[pathlib.Path]:
    """The files that may be meant by a field: one of exactly that name, else all that end so.

    A compressed one only where it is not there unpacked.

    Args:
        name: of the field.
        named: the folders and files that the setting names.
        files: those and the files in the folders.
    """
    for exact_name in (name, f"{name}.gz"):
        below = [entry / exact_name for entry in named]
        exact = [path for path in below if path.is_file()]
        exact += [path for path in files if path.name == exact_name]
        if exact:
            return exact[:1]
    endings = (f".{name}", f".{name}.gz")
    ending_so = [path for path in files if path.name.endswith(endings)]
    candidates = []
    for path in ending_so:
        is_copy = path.suffix == ".gz" and path.with_suffix("") in ending_so
        if not is_copy:
            candidates.append(path)
    return candidates


class ParallelSource:
    """A Source over line-aligned files."""

    def __init__(
        self, paths: Mapping[str, pathlib.Path], fallback_encoding: str | None = None
    ) -> None:
        """`paths` is the file of each field; the first gives the examples their origin."""
        self._paths = paths
        self._fallback_encoding = fallback_encoding
        self._positions: list[Callable[[], int]] = []

    def examples(self) -> Iterator[Example]:
        """One a line; see `Source`.

        Raises:
            DataError: one file ends before another.
        """
        with contextlib.ExitStack() as stack:
            files = []
            self._positions = []
            for path in self._paths.values():
                lines, position = self._open(path, stack)
                files.append(lines)
                self._positions.append(position)
            first = files[0]
            for row in itertools.zip_longest(*files):
                if None in row:
                    raise _ends_early(files, row)
                values = map(without_end, row)
                features = dict(zip(self._paths, values, strict=True))
                yield Example(features, first.origin)
            self._positions = [self.size]

    def _open(
        self, path: pathlib.Path, stack: contextlib.ExitStack
    ) -> tuple[Lines, Callable[[], int]]:
        """The lines of a file, and what says how many bytes were read of it."""
        opened = open_bytes(path, self._fallback_encoding)
        stream, compressed_position = stack.enter_context(opened)
        lines = Lines(stream, shown(path), path)
        position = compressed_position or functools.partial(getattr, lines, "position")
        return lines, position

    def fingerprint(self) -> str:
        """Of contents and names; see `Source`."""
        return fingerprint(
            self._paths.items(),
            {"source": "parallel", "fallback_encoding": self._fallback_encoding},
        )

    def label_names(self) -> None:
        """Lines of text declare no labels."""

    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._paths.values())

    def progress(self) -> int:
        """Bytes read so far."""
        return sum(position() for position in self._positions)


def _ends_early(files: Sequence[Lines], row: Sequence[str | None]) -> DataError:
    """The error where some files have a line and others are at their end."""
    is_ended = [line is None for line in row]
    ended = files[is_ended.index(True)]
    longer = files[is_ended.index(False)]
    return DataError(
        f"{longer.origin}: {ended.name} ends before this line. Line-aligned"
        " files have as many lines each."
    )
