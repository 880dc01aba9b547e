"""Reads what --mode=predict is asked from files and standard input, an item at a time."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import re
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

from trainer.errors import ConfigError, DataError
from trainer.files.mirror import shown
from trainer.files.storage import expand
from trainer.settings.schema import DataSettings
from trainer.sources import TO_PREDICT, Example, Origin, csv, jsonl, open_source, tsv
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

STANDARD_INPUT = "-"
# Pipes of a shell are read once, and have a writer.
PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
BEGINS_JSON = re.compile(r'\s*(\{|\[\s*([\[{"]|$))')  # a first line that does is no text
TEXT_ENDINGS = (".txt", ".txt.gz")
JSON_ENDINGS = (".jsonl", ".jsonl.gz")
SOURCES_OF_TXT = ("conll", "parallel", "squad", "text")  # whose files may well be called *.txt
# The formats that files are named after, in jobs whose data is not called so.
ENDINGS = {"csv": (".csv", ".csv.gz"), "tsv": (".tsv", ".tsv.gz"), "jsonl": (".json", ".json.gz")}
FORMATS = {"csv": csv.Settings, "tsv": tsv.Settings, "jsonl": jsonl.Settings}
DELIMITED = ("csv", "tsv")
Items: TypeAlias = Iterator[Parsed | DataError]


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields that a head looks for.

    Attributes:
        names: in an object: those of the job's data, and the inputs of the SavedModel.
        text: that of a line that is no object; None where a head takes two texts.
    """

    names: tuple[str, ...]
    text: str | None


@dataclasses.dataclass
class Progress:
    """How much of an input is read.

    Attributes:
        size: what `done` will have counted at the end; None where that is not known.
        finished: of whole files, in bytes.
        position: of the file that is being read.
    """

    size: int | None = None
    finished: int = 0
    position: Callable[[], int] = int  # 0 before anything is read

    def done(self) -> int:
        """How much of `size` is read."""
        return self.finished + self.position()

    def finish_file(self, size: int) -> None:
        """Counts a whole file."""
        self.finished += size
        self.position = int


def is_typed(source: str) -> bool:
    """Whether a person types the lines, and waits for each answer.

    Raises ConfigError where standard input is asked for, and closed.
    """
    if source != STANDARD_INPUT:
        return False
    if sys.stdin is None:
        raise ConfigError(
            "--input: - is standard input, and that is closed. Name a file, or pipe the lines in."
        )
    return sys.stdin.buffer.isatty()


def open_items(source: str, settings: DataSettings, fields: Fields, progress: Progress) -> Items:
    """What an input holds, in its order: objects or texts with their examples, and errors.

    JSON lines are what is named *.jsonl or *.jsonl.gz. For a head with one text, standard input and
    *.txt have plain lines, unless the first line is an object. *.csv, *.tsv and *.json are what
    they say in a job whose data is not called so. Anything else is read as data.source says.

    Args:
        source: a path, a glob, or "-" for standard input.
        settings: the data section of the job.
        fields: that are looked for.
        progress: is told how much is read.
    Raises:
        ConfigError: there is no such file, or it cannot be read.
    """
    if source == STANDARD_INPUT:
        return _of_standard_input(settings, fields)
    plain = _is_plain(source, settings, fields)
    settings = _settings_of(source, settings)
    if plain or settings.source == "jsonl" or source.endswith(JSON_ENDINGS):
        paths = expand(source, key="--input")
        for path in paths:
            _refuse_what_waits(path)
        return _of_files(paths, settings, fields, progress, plain=plain)
    return _of_source(source, settings, progress)


def _is_plain(source: str, settings: DataSettings, fields: Fields) -> bool:
    """Whether each line of a file is a text.

    It is not where the job was trained on files of that name in another format.
    """
    return (
        source.endswith(TEXT_ENDINGS)
        and fields.text is not None
        and settings.source not in SOURCES_OF_TXT
        and not str(settings.train).endswith(TEXT_ENDINGS)
    )


def _settings_of(source: str, settings: DataSettings) -> DataSettings:
    """The job's data section, or what of it holds for the format that a file's name says."""
    kind = _kind_by_name(source)
    if kind is None or settings.source in (kind, *SOURCES_OF_TXT):
        return settings
    if kind in DELIMITED and settings.source in DELIMITED:  # the job says which delimiter
        return settings
    if str(settings.train).endswith(ENDINGS[kind]):
        return settings
    keys = set(DataSettings.model_fields) - {"source"}
    return FORMATS[kind](**settings.model_dump(include=keys))


def _kind_by_name(source: str) -> str | None:
    """The format that a file is named after."""
    for kind, endings in ENDINGS.items():
        if source.endswith(endings):
            return kind
    return None


def _of_standard_input(settings: DataSettings, fields: Fields) -> Items:
    typed = is_typed(STANDARD_INPUT)
    stream = sys.stdin.buffer
    if not typed:
        stream = piped(stream, "standard input", settings.fallback_encoding)
    lines = Lines(stream, "standard input")
    plain = fields.text is not None
    return _of_lines(lines, fields, plain=plain, strings=True, typed=typed)


def _of_files(
    paths: list[pathlib.Path],
    settings: DataSettings,
    fields: Fields,
    progress: Progress,
    *,
    plain: bool,
) -> Items:
    progress.size = sum(path.stat().st_size for path in paths) or None
    for path in paths:
        with open_bytes(path, settings.fallback_encoding) as (stream, position):
            lines = Lines(stream, shown(path), path)
            progress.position = position or _position_in(lines)
            yield from _of_lines(lines, fields, plain=plain)
        progress.finish_file(path.stat().st_size)


def _position_in(lines: Lines) -> Callable[[], int]:
    return lambda: lines.position


def _of_lines(
    lines: Lines, fields: Fields, *, plain: bool, strings: bool = False, typed: bool = False
) -> Items:
    """The items of some lines.

    Args:
        lines: of a file or of standard input.
        fields: that are looked for.
        plain: where no object begins them, they are texts.
        strings: a text may be written as a JSON string.
        typed: a person waits for the answer to each line, so that none is looked at before.
    """
    placed = placed_lines(lines)
    begins_json = False
    if not typed:
        first = next(filter(_says_something, placed), None)
        if first is not None:
            line, _ = first
            begins_json = isinstance(line, str) and BEGINS_JSON.match(line) is not None
            placed = itertools.chain([first], placed)
    if not plain or begins_json:
        yield from read_objects(placed, fields.names, fields.text)
        return
    for line, origin in filter(_says_something, placed):
        if isinstance(line, DataError):
            yield line
        else:
            yield _of_plain_line(line, origin, fields, strings=strings, typed=typed)


def _of_plain_line(
    line: str, origin: Origin, fields: Fields, *, strings: bool, typed: bool
) -> Parsed | DataError:
    """The text that a line is, or the object; what is typed and begins as one has to be one."""
    start = line.lstrip(BLANK)[0]
    is_object = start == "{"
    if is_object or (strings and start == '"'):
        parsed = parse_line(line, origin, fields.names, fields.text)
        is_wrong = isinstance(parsed, DataError)
        if not is_wrong or (typed and is_object):
            return parsed
    features = {str(fields.text): without_end(line)}
    return features, Example(features, origin)


def _of_source(source: str, settings: DataSettings, progress: Progress) -> Items:
    opened = open_source(settings, TO_PREDICT, source)
    progress.size = opened.size()
    progress.position = opened.progress
    return _of_examples(opened.examples())


def _of_examples(examples: Iterator[Example]) -> Items:
    try:
        for example in _whole(examples):
            yield example.error or (example.features, example)
    except DataError as error:  # its format says no more about where the next one begins
        yield error


def _whole(examples: Iterator[Example]) -> Iterator[Example]:
    """The parts of a long document as one; only its text has parts."""
    parts: list[Example] = []
    for example in examples:
        parts.append(example)
        if not example.ends:
            continue
        if len(parts) > 1:
            features = {}
            for name in example.features:
                features[name] = "".join(part.features[name] for part in parts)
            example = parts[0]._replace(features=features, ends=True)
        yield example
        parts = []


def _says_something(placed: Placed) -> bool:
    line, _ = placed
    return isinstance(line, DataError) or line.strip(BLANK) != ""


def _refuse_what_waits(path: pathlib.Path) -> None:
    """Raises ConfigError for a device or a pipe, but for those that a shell makes."""
    is_of_a_shell = str(path).startswith(PIPES) and stat.S_ISFIFO(path.stat().st_mode)
    if not is_of_a_shell:
        refuse_irregular(path, "--input")
