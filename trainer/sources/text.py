"""Plain text (also .gz): documents are files, lines, or what blank lines part.

For language models.
"""

import functools
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from trainer.errors import ConfigError
from trainer.settings.schema import DataSettings
from trainer.sources import Example, Origin, Source
from trainer.sources._files import FileSource, files_of
from trainer.sources._lines import Lines, without_end

# characters of a document that are read at once, about: longer ones come in several examples
PART = 1 << 18
LONGEST_LINE = 8  # parts
_LAST_SPACE = re.compile(r"(?s:.*)\S( )(?=\S)")  # of those that part two words


class Settings(DataSettings):
    """The data section for plain text."""

    source: Literal["text"] = Field("text", description="files of plain text")
    document: Literal["file", "line", "blank_line"] = Field(
        "file", description="what a document is: a file, a line, or lines up to a blank one"
    )


def open(settings: Settings, split: str, spec: str) -> Source:
    """The documents of text files; see `trainer.sources.open_source`.

    Raises:
        ConfigError: there is no file; two text fields.
    """
    if not isinstance(settings.text, str):
        raise ConfigError(
            f"data.text: source text has one text a document. Received {settings.text}. Use jsonl,"
            " csv or tsv for pairs."
        )
    read = {"file": _by_file, "line": _by_line, "blank_line": _by_blank_line}[settings.document]
    return FileSource(
        files_of(spec, split),
        functools.partial(read, settings.text),
        {"source": settings.source, "document": settings.document},
        fallback_encoding=settings.fallback_encoding,
    )


def _by_file(field: str, lines: Lines) -> Iterator[Example]:
    """Cuts a long file into parts before white space.

    Every tokenizer cuts there, so that the tokens of the parts are those of the whole.
    """
    origin = Origin(lines.name, 1)
    pieces: list[str] = []
    size = 0
    enough = PART
    for piece in _short_pieces(lines):
        pieces.append(piece)
        size += len(piece)
        if size < enough:
            continue
        text = "".join(pieces)
        kept = _cut(text)
        if 0 < kept < size:
            yield Example({field: text[:kept]}, origin, ends=False)
            origin = lines.origin
            text = text[kept:]
            enough = PART
        else:
            # Looked at anew when it has twice the length: white space without end would take time
            # by its square.
            enough = 2 * size
        pieces = [text]
        size = len(text)
    yield Example({field: "".join(pieces)}, origin)


def _short_pieces(lines: Lines) -> Iterator[str]:
    """The lines, long ones in several pieces."""
    longest = LONGEST_LINE * PART
    for line in lines:
        for start in range(0, len(line), longest):
            yield line[start : start + longest]


def _cut(text: str) -> int:
    """Where a part ends: before its last space, else before the white space at its end."""
    # A space is best: byte-level tokenizers that put one before each text put none before it. One
    # of several may be a token with others.
    space = _LAST_SPACE.match(text)
    return space.start(1) if space else len(text.rstrip())


def _by_line(field: str, lines: Lines) -> Iterator[Example]:
    for line in lines:
        if not line.isspace():
            yield Example({field: without_end(line)}, lines.origin)


def _by_blank_line(field: str, lines: Lines) -> Iterator[Example]:
    origin = Origin(lines.name, 1)
    text = ""
    for line in lines:
        if not line.isspace():
            origin = origin if text else lines.origin
            text += line
        elif text:
            yield Example({field: text.rstrip("\r\n")}, origin)
            text = ""
    if text:
        yield Example({field: text.rstrip("\r\n")}, origin)
