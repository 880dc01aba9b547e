"""Rows of columns: what csv and tsv share. Quoted, where quotes protect delimiters and line ends;
or raw, where a quote is a character.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trainer.errors import DataError, shown_value
from trainer.sources import TO_PREDICT, Example, Origin
from trainer.sources._dialect import DelimitedSettings, Dialect, Row, rows, settled
from trainer.sources._lines import Lines


class Layout(NamedTuple):
    """What the columns of a file are.

    Attributes:
        header: whether the first row names them.
        columns: their names, in place of a header's.
        text: the fields that are asked for.
        labels: the fields of labels.
        to_predict: such a file may lack the labels, and a row that is wrong does not end it.
    """

    header: bool
    columns: list[str] | None
    text: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    to_predict: bool = False


def layout_of(settings: DelimitedSettings, split: str) -> Layout:
    """The columns of a split's files."""
    text = (settings.text,) if isinstance(settings.text, str) else tuple(settings.text)
    labels = tuple(settings.label_fields)
    return Layout(settings.header, settings.columns, text, labels, split == TO_PREDICT)


def read(lines: Lines, dialect: Dialect, layout: Layout) -> Iterator[Example]:
    """An example for each row; blank lines are skipped. In a file to predict, a row of another
    width is an example's `error`.

    Raises:
        DataError: a row has more or fewer columns than the first; columns of the same name; wrong
            quotes.
    """
    dialect = settled(lines, dialect)
    found = rows(lines, dialect)
    first = next(found, None)
    if first is None:
        return
    names = _column_names(first, dialect, layout, lines.name)
    file, width = lines.name, len(names)
    for line, fields in found if layout.header else itertools.chain([first], found):
        origin = Origin(file, line)
        if len(fields) == width:
            # As many by now; `strict` would take as long as the rest of this line.
            yield Example(dict(zip(names, fields)), origin)  # noqa: B905
            continue
        error = _wrong_width(origin, fields, width, lines.number, dialect)
        if not layout.to_predict:
            raise error
        yield Example({}, origin, error=error)


def _column_names(first: Row, dialect: Dialect, layout: Layout, file: str) -> list[str]:
    line, fields = first
    origin = Origin(file, line)
    if layout.columns is not None:
        return _named_columns(fields, layout, origin, dialect)
    if not layout.header:
        return _numbered_columns(len(fields), layout)
    # pandas leaves its index without a name.
    names = [name or str(index) for index, name in enumerate(fields)]
    twice = _first_repeated(names)
    if twice is not None:
        raise DataError(
            f"{origin}: two columns of the header are named {shown_value(twice)}: "
            f"{_start(fields, dialect)}. Name the columns apart with data.columns; for a file "
            "without a header set data.header: false"
        )
    return names


def _named_columns(
    fields: list[str], layout: Layout, origin: Origin, dialect: Dialect
) -> list[str]:
    unlabelled = [name for name in layout.columns if name not in layout.labels]
    if layout.to_predict and len(fields) == len(unlabelled):
        return unlabelled
    if len(layout.columns) != len(fields):
        raise DataError(
            f"{origin}: data.columns names {len(layout.columns)} columns, found {len(fields)}: "
            f"{_start(fields, dialect)}. Name all {len(fields)}, or check data.source and the "
            "delimiter."
        )
    return layout.columns


def _numbered_columns(width: int, layout: Layout) -> list[str]:
    """0, 1, …; without those of the labels where a file to predict is too narrow for its texts."""
    names = [str(index) for index in range(width)]
    if not layout.to_predict or set(layout.text) <= set(names):
        return names
    every = (str(index) for index in range(width + len(layout.labels)))
    return [name for name in every if name not in layout.labels][:width]


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def _wrong_width(
    origin: Origin, fields: list[str], width: int, last_line: int, dialect: Dialect
) -> DataError:
    quotes = any('"' in field for field in fields)
    spans = last_line - origin.line + 1
    if width == 1:
        advice = (
            f"The first row has no {dialect.delimiter!r}: check data.source (csv, tsv) and, for"
            " csv, data.delimiter"
        )
    elif dialect.quoting == "none":
        advice = (
            "Where quotes protect a delimiter or a line end, set data.quoting: minimal"
            if quotes
            else (
                f"A {dialect.delimiter!r} or a line end inside a field has to go, or be quoted with"
                " data.quoting: minimal"
            )
        )
    elif spans > 1 or quotes:
        advice = (
            f"An opening quote without its end joins lines (this row takes {spans});"
            " where quotes are plain characters, set data.quoting: none"
        )
    else:
        advice = (
            f"A {dialect.delimiter!r} or a line end inside a field has to be quoted:"
            f' "a{dialect.delimiter}b"'
        )
    return DataError(
        f"{origin}: found {len(fields)} columns, expected {width}. The row starts:"
        f" {_start(fields, dialect)}. {advice}"
    )


def _start(fields: list[str], dialect: Dialect) -> str:
    return shown_value(dialect.delimiter.join(field[:90] for field in fields[:90]), 83)
