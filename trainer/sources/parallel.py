"""Files that go line by line together, such as seq.in and seq.out, or train.de and train.en: a
field is a file's name, or how it ends.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from trainer.errors import ConfigError, DataError
from trainer.files.mirror import shown
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, Source, setting_of
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
    with reading(spec, 0):
        files = [
            path
            for entry in named
            for path in (sorted(entry.iterdir()) if entry.is_dir() else [entry])
            if path.is_file() and not path.name.startswith(".")
        ]
    texts = [settings.text] if isinstance(settings.text, str) else settings.text
    paths = {}
    for name in (*texts, settings.label):
        found = _called(name, named, files)
        if not found and split == TO_PREDICT and name not in texts:  # to be predicted
            continue
        if len(found) != 1:
            there = ", ".join(path.name for path in (found or files)[:SHOWN_FILES]) or "none"
            remedy = (
                "Name those of one split, as with a glob such as PATH/train.*."
                if found
                else "Correct data.text or data.label."
            )
            what = "several files" if found else "no file"
            raise ConfigError(
                f"{key}: {spec!r} has {what} named {name!r} or ending in '.{name}': {there}."
                f" {remedy}"
            )
        paths[name] = found[0]
    for path in paths.values():
        refuse_irregular(path, key)
    return ParallelSource(paths, settings.fallback_encoding)


def _called(name: str, named: list[pathlib.Path], files: list[pathlib.Path]) -> list[pathlib.Path]:
    """The files that may be meant by a field: one of exactly that name, else all that end so; a
    compressed one only where it is not there unpacked.
    """
    for ending in ("", ".gz"):
        exact = [
            entry / (name + ending) for entry in named if (entry / (name + ending)).is_file()
        ] + [path for path in files if path.name == name + ending]
        if exact:
            return exact[:1]
    ending = [path for path in files if path.name.endswith((f".{name}", f".{name}.gz"))]
    return [path for path in ending if path.suffix != ".gz" or path.with_suffix("") not in ending]


class ParallelSource:
    """A Source over line-aligned files."""

    def __init__(self, paths: dict[str, pathlib.Path], fallback_encoding: str | None = None):
        """`paths`: field -> file; the first gives the examples their origin."""
        self._paths = paths
        self._fallback_encoding = fallback_encoding
        self._positions: list[Callable[[], int]] = []

    def examples(self) -> Iterator[Example]:
        """One a line; see `Source`.

        Raises:
            DataError: one file ends before another.
        """
        with contextlib.ExitStack() as stack:
            opened = [
                stack.enter_context(open_bytes(path, self._fallback_encoding))
                for path in self._paths.values()
            ]
            files = [
                Lines(stream, shown(path), path)
                for (stream, _), path in zip(opened, self._paths.values(), strict=True)
            ]
            self._positions = [
                compressed or functools.partial(getattr, lines, "position")
                for (_, compressed), lines in zip(opened, files, strict=True)
            ]
            readers = [iter(lines) for lines in files]
            while True:
                row = [next(reader, None) for reader in readers]
                if ended := [lines for lines, line in zip(files, row, strict=True) if line is None]:
                    if len(ended) < len(row):
                        longer = next(
                            lines
                            for lines, line in zip(files, row, strict=True)
                            if line is not None
                        )
                        raise DataError(
                            f"{longer.origin}: {ended[0].name} ends before this line. Line-aligned"
                            " files have as many lines each."
                        )
                    self._positions = [self.size]
                    return
                yield Example(
                    {name: without_end(line) for name, line in zip(self._paths, row, strict=True)},
                    files[0].origin,
                )

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
