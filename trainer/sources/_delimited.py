"""Rows of columns: what csv and tsv share. Quoted, where quotes protect delimiters and line ends; or raw, where a quote is a character."""

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trainer.errors import DataError
from trainer.sources import Example, Origin
from trainer.sources._lines import Lines, without_end

RETURN = "\udc0d"  # stands for \r where it ends no line; no text has it
Row = tuple[int, list[str]]  # the line it starts on, its fields


class Dialect(NamedTuple):
    """How rows are written."""

    delimiter: str
    quoting: str  # "minimal" or "none"
    header: bool
    columns: list[str] | None


def read(lines: Lines, dialect: Dialect) -> Iterator[Example]:
    """An example for each row; blank lines are skipped.

    Raises:
        DataError: a row has more or fewer columns than the first; columns of the same name; wrong quotes.
    """
    rows = _quoted_rows(lines, dialect.delimiter) if dialect.quoting == "minimal" else _raw_rows(lines, dialect.delimiter)
    first = next(rows, None)
    if first is None:
        return
    names = _column_names(first, dialect, lines.name)
    width = len(names)
    for line, fields in rows if dialect.header else itertools.chain([first], rows):
        if len(fields) != width:
            raise _wrong_width(Origin(lines.name, line), fields, width, lines.number, dialect)
        yield Example(dict(zip(names, fields, strict=True)), Origin(lines.name, line))


def _raw_rows(lines: Lines, delimiter: str) -> Iterator[Row]:
    for line in lines:
        content = without_end(line)
        if content:
            yield lines.number, content.split(delimiter)


def _quoted_rows(lines: Lines, delimiter: str) -> Iterator[Row]:
    if csv.field_size_limit() < sys.maxsize:
        csv.field_size_limit(sys.maxsize)  # 131,072 characters otherwise
    reader = csv.reader(map(_hide_returns, lines), delimiter=delimiter, strict=True)
    while True:
        start = lines.number + 1  # the reader takes no line before it needs it
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "NUL" in str(error):  # Python 3.10; later ones read it
                raise DataError(f"{lines.name}:{lines.number}: NUL byte. Remove it: tr -d '\\0' < OLD > NEW") from None
            until = f" (read up to line {lines.number})" if lines.number > start else ""
            raise DataError(f"{lines.name}:{start}: wrong quotes: {error}{until}. A quote inside a quoted field is written twice;"
                            " where quotes are plain characters, set data.quoting: none") from None
        if fields:
            yield start, [field.replace(RETURN, "\r") if RETURN in field else field for field in fields]


def _hide_returns(line: str) -> str:
    r"""A line whose lone \r the csv module takes for characters; it would end a row, or refuse it, at each."""
    if "\r" not in line:
        return line
    content = without_end(line)
    return content.replace("\r", RETURN) + line[len(content):]


def _column_names(first: Row, dialect: Dialect, file: str) -> list[str]:
    line, fields = first
    origin = Origin(file, line)
    if dialect.columns is not None:
        if len(dialect.columns) != len(fields):
            raise DataError(f"{origin}: data.columns names {len(dialect.columns)} columns, found {len(fields)}: {_start(fields, dialect)}."
                            f" Name all {len(fields)}, or check data.source and the delimiter.")
        return dialect.columns
    if not dialect.header:
        return [str(index) for index in range(len(fields))]
    names = [name or str(index) for index, name in enumerate(fields)]  # pandas leaves its index without a name
    twice = _first_repeated(names)
    if twice is not None:
        raise DataError(f"{origin}: two columns of the header are named {twice!r}: {_start(fields, dialect)}. Name the columns apart with"
                        " data.columns; for a file without a header set data.header: false")
    return names


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def _wrong_width(origin: Origin, fields: list[str], width: int, last_line: int, dialect: Dialect) -> DataError:
    quotes = any('"' in field for field in fields)
    spans = last_line - origin.line + 1
    if width == 1:
        advice = f"The first row has no {dialect.delimiter!r}: check data.source (csv, tsv) and, for csv, data.delimiter"
    elif dialect.quoting == "none":
        advice = ("Where quotes protect a delimiter or a line end, set data.quoting: minimal" if quotes else
                  f"A {dialect.delimiter!r} or a line end inside a field has to go, or be quoted with data.quoting: minimal")
    elif spans > 1 or quotes:
        advice = (f"An opening quote without its end joins lines (this row takes {spans});"
                  " where quotes are plain characters, set data.quoting: none")
    else:
        advice = f'A {dialect.delimiter!r} or a line end inside a field has to be quoted: "a{dialect.delimiter}b"'
    return DataError(f"{origin}: found {len(fields)} columns, expected {width}. The row starts: {_start(fields, dialect)}. {advice}")


def _start(fields: list[str], dialect: Dialect) -> str:
    row = dialect.delimiter.join(field[:81] for field in fields[:81])
    return repr(row[:80] + ("…" if len(row) > 80 else ""))
