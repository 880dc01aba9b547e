"""What --mode=predict is asked: JSON lines, plain lines, or a file in the format of data.source.
What is wrong with a line is kept in its place.
"""

from __future__ import annotations

import itertools
import pathlib
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from trainer.errors import ConfigError, DataError
from trainer.files.mirror import shown
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, Origin, Source, csv, jsonl, open_source, tsv
from trainer.sources._json_lines import (
    BLANK,
    Parsed,
    Placed,
    parse_line,
    placed_lines,
    read_objects,
)
from trainer.sources._lines import Lines, without_end
from trainer.sources._reading import open_bytes, piped, refuse_irregular

PIPES = (
    "/dev/fd/",
    "/dev/stdin",
    "/proc/self/fd/",
)  # of a shell, which are read once and have a writer
BEGINS_JSON = re.compile(r'\s*(\{|\[\s*([\[{"]|$))')  # a first line that does is no text
WRITTEN_SO = ("conll", "parallel", "squad", "text")  # sources whose files may well be called *.txt

# A file of another name, or of a format that may be called so, is read as the job says.
NAMED = {"csv": (".csv", ".csv.gz"), "tsv": (".tsv", ".tsv.gz"), "jsonl": (".json", ".json.gz")}
COLUMNS = ("csv", "tsv")
FORMATS = {"csv": csv.Settings, "tsv": tsv.Settings, "jsonl": jsonl.Settings}


class Asked(Protocol):
    """A head, as far as it matters what it is asked."""

    fields: Sequence[str]  # where its texts stand in the examples of training
    text_names: Sequence[str]  # the inputs of the SavedModel

    def asked(self, example: Example) -> tuple[str, ...]:
        """The raw texts that predict answers."""


class Question(NamedTuple):
    """What stands in one place of the input.

    Attributes:
        value: the fields as they are written, which the answer keeps.
        example: the same, flattened; None where it cannot be read.
        texts: what the model is asked; none where there is an error.
        error: why it cannot be asked; "" where it can.
    """

    value: dict[str, Any]
    example: Example | None
    texts: tuple[str, ...] = ()
    error: str = ""


class Questions:
    """The questions of an input in their order, read as they are asked for.

    JSON lines are what is named *.jsonl or *.jsonl.gz; a head with one text also takes standard
    input and *.txt whose first line is no object: each line is a text. On a terminal each line is
    either. *.csv, *.tsv and *.json are what they say in a job whose data is not called so. Anything
    else is read as data.source says.

    Args:
        source: a path, a glob, or "-" for standard input.
        settings: the data section of the job.

    Attributes:
        interactive: whether a person types the lines, and waits for each answer.
    """

    def __init__(self, source: str, settings: DataSettings, head: Asked) -> None:
        if source == "-" and sys.stdin is None:
            raise ConfigError(
                "--input: - is standard input, and that is closed. Name a file, or pipe the"
                " lines in."
            )
        self.interactive = source == "-" and sys.stdin.buffer.isatty()
        self._settings = settings
        self._head = head
        self._position: Callable[[], int] = lambda: 0
        self._size: int | None = None
        self._found = self._parsed(source)

    def __iter__(self) -> Iterator[Question]:
        for found in self._found:
            yield (
                Question({}, None, error=str(found))
                if isinstance(found, DataError)
                else self._question(found)
            )

    def size(self) -> int | None:
        """What `progress` will have counted at the end; None where that is not known."""
        return self._size

    def progress(self) -> int:
        """How much of `size` is read."""
        return self._position()

    @property
    def _text(self) -> str | None:
        """The field of the only text of the head; None where it has two."""
        return self._head.text_names[0] if len(self._head.text_names) == 1 else None

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self._head.fields, *self._head.text_names]))

    def _parsed(self, source: str) -> Iterator[Parsed | DataError]:
        if source == "-":
            return self._standard_input()
        plain = self._is_plain(source)
        settings = self._settings_of(source)
        if plain or settings.source == "jsonl" or source.endswith((".jsonl", ".jsonl.gz")):
            paths = expand(source, key="--input")
            for path in paths:
                _refuse_what_waits(path)
            return self._of_files(paths, plain=plain)
        opened = open_source(settings, TO_PREDICT, source)
        return self._of_source(opened)

    def _is_plain(self, source: str) -> bool:
        """Whether each line of a file is a text; not where the job was trained on files of
        that name in another format.
        """
        endings = (".txt", ".txt.gz")
        return (
            source.endswith(endings)
            and self._text is not None
            and self._settings.source not in WRITTEN_SO
            and not str(self._settings.train).endswith(endings)
        )

    def _settings_of(self, source: str) -> DataSettings:
        """The job's data section, or what of it holds for the format that a file's name says."""
        ours = self._settings
        named = (kind for kind, endings in NAMED.items() if source.endswith(endings))
        kind = next(named, ours.source)
        columns = kind in COLUMNS and ours.source in COLUMNS  # which delimiter, the job says
        if columns or ours.source in (kind, *WRITTEN_SO) or ours.train.endswith(NAMED[kind]):
            return ours
        shared = ours.model_dump(include=set(DataSettings.model_fields), exclude={"source"})
        return FORMATS[kind](**shared)

    def _standard_input(self) -> Iterator[Parsed | DataError]:
        stream = sys.stdin.buffer
        if not self.interactive:
            stream = piped(stream, "standard input", self._settings.fallback_encoding)
        return self._of_lines(
            Lines(stream, "standard input"), plain=self._text is not None, strings=True
        )

    def _of_files(self, paths: list[pathlib.Path], *, plain: bool) -> Iterator[Parsed | DataError]:
        finished = 0
        self._size = sum(path.stat().st_size for path in paths) or None
        for path in paths:
            with open_bytes(path, self._settings.fallback_encoding) as (stream, position):
                lines = Lines(stream, shown(path), path)
                here = position or (lambda lines=lines: lines.position)
                self._position = lambda done=finished, here=here: done + here()
                yield from self._of_lines(lines, plain=plain, strings=False)
            finished += path.stat().st_size
            self._position = lambda done=finished: done

    def _of_lines(
        self, lines: Lines, *, plain: bool, strings: bool
    ) -> Iterator[Parsed | DataError]:
        """`plain`: where no object begins them, they are texts; `strings`: a text may be
        written as a JSON string.
        """
        placed = placed_lines(lines)
        first = (
            []
            if self.interactive
            else list(itertools.islice((item for item in placed if _says_something(item)), 1))
        )
        if not plain or (first and isinstance(first[0][0], str) and BEGINS_JSON.match(first[0][0])):
            yield from read_objects(itertools.chain(first, placed), self._names, self._text)
            return
        for line, origin in filter(_says_something, itertools.chain(first, placed)):
            yield (
                line
                if isinstance(line, DataError)
                else self._of_plain_line(line, origin, strings=strings)
            )

    def _of_plain_line(self, line: str, origin: Origin, *, strings: bool) -> Parsed | DataError:
        """The text that a line is, or the object; on a terminal what begins as an object
        has to be one.
        """
        start = line.lstrip(BLANK)[0]
        if start == "{" or (strings and start == '"'):
            found = parse_line(line, origin, self._names, self._text)
            if not isinstance(found, DataError) or (self.interactive and start == "{"):
                return found
        text = without_end(line)
        return {self._text: text}, Example({self._text: text}, origin)

    def _of_source(self, opened: Source) -> Iterator[Parsed | DataError]:
        self._size = opened.size()
        self._position = opened.progress
        try:
            for example in _whole(opened.examples()):
                yield example.error or (example.features, example)
        except DataError as error:  # its format says no more about where the next one begins
            yield error

    def _question(self, found: Parsed) -> Question:
        value, example = found
        head = self._head
        gold = self._settings.label_fields  # a text with its gold tags is a text
        features = {field: item for field, item in example.features.items() if field not in gold}
        served = {
            field: features[name]
            for field, name in zip(head.fields, head.text_names, strict=False)
            if name in features
        }
        example = Example({**served, **features}, example.origin)
        try:
            return Question(value, example, head.asked(example))
        except DataError as error:
            others = [
                repr(name)
                for field, name in zip(head.fields, head.text_names, strict=False)
                if field not in example.features and field != name
            ]
            also = (
                f" Where a model is asked, {' and '.join(others)} will do as well."
                if others
                else ""
            )
            return Question(value, example, error=f"{error}{also}")


def _says_something(placed: Placed) -> bool:
    line, _ = placed
    return isinstance(line, DataError) or line.strip(BLANK) != ""


def _refuse_what_waits(path: pathlib.Path) -> None:
    if not (str(path).startswith(PIPES) and stat.S_ISFIFO(path.stat().st_mode)):
        refuse_irregular(path, "--input")


def _whole(examples: Iterator[Example]) -> Iterator[Example]:
    """The parts of a long document as one; only its text has parts."""
    parts: list[Example] = []
    for example in examples:
        parts.append(example)
        if example.ends:
            if len(parts) > 1:
                example = parts[0]._replace(
                    features={
                        name: "".join(part.features[name] for part in parts)
                        for name in example.features
                    },
                    ends=True,
                )
            yield example
            parts = []
