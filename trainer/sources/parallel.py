"""A folder of files that go line by line together, such as seq.in and seq.out: a field is a file's name."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from trainer.config import DataSettings
from trainer.errors import ConfigError, DataError
from trainer.mirror import shown
from trainer.sources import Example, Source
from trainer.sources._files import Lines, fingerprint, open_bytes
from trainer.storage import expand


class Settings(DataSettings):
    """The data section for line-aligned files."""

    source: Literal["parallel"] = Field("parallel", description="a folder of line-aligned files; data.text and data.label are their names")


def open(settings: Settings, split: str, spec: str) -> Source:
    """The examples of a folder.

    Args:
        settings: the data section.
        split: names the setting in messages.
        spec: the folder.
    Raises:
        ConfigError: no such folder, or no such file in it.
    """
    key = f"data.{split}"
    folders = [path for path in expand(spec, key=key) if path.is_dir()]
    if len(folders) != 1:
        raise ConfigError(f"{key}: expected one folder of line-aligned files, {spec!r} names {len(folders)} folders.")
    texts = [settings.text] if isinstance(settings.text, str) else settings.text
    paths = {name: folders[0] / name for name in (*texts, settings.label)}
    if missing := [name for name, path in paths.items() if not path.is_file()]:
        there = ", ".join(sorted(path.name for path in folders[0].iterdir() if path.is_file())[:12]) or "none"
        raise ConfigError(f"{key}: no file {', '.join(map(repr, missing))} in {folders[0]}; files there: {there}. Correct data.text or data.label.")
    return ParallelSource(paths)


class ParallelSource:
    """A Source over line-aligned files."""

    def __init__(self, paths: dict[str, pathlib.Path]):
        """`paths`: field -> file; the first gives the examples their origin."""
        self._paths = paths
        self._lines: list[Lines] = []

    def examples(self) -> Iterator[Example]:
        """One a line; see `Source`.

        Raises:
            DataError: one file ends before another.
        """
        with contextlib.ExitStack() as stack:
            self._lines = [Lines(stack.enter_context(open_bytes(path))[0], shown(path)) for path in self._paths.values()]
            readers = [iter(lines) for lines in self._lines]
            while True:
                row = [next(reader, None) for reader in readers]
                if ended := [lines for lines, line in zip(self._lines, row, strict=True) if line is None]:
                    if len(ended) < len(row):
                        longer = next(lines for lines, line in zip(self._lines, row, strict=True) if line is not None)
                        raise DataError(f"{longer.origin}: {ended[0].name} ends before this line. Line-aligned files have as many lines each.")
                    return
                yield Example({name: line.rstrip("\r\n") for name, line in zip(self._paths, row, strict=True)}, self._lines[0].origin)

    def fingerprint(self) -> str:
        """Of contents and names; see `Source`."""
        return fingerprint(self._paths.items(), {"source": "parallel"})

    def label_names(self) -> None:
        """Lines of text declare no labels."""

    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._paths.values())

    def progress(self) -> int:
        """Bytes read so far."""
        return sum(lines.position for lines in self._lines)
