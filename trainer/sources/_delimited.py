"""Rows of columns: what csv and tsv share.

Quoted, where quotes protect delimiters and line ends; or raw, where a quote is a character.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trainer.errors import DataError, shown_value
from trainer.sources import TO_PREDICT, Example, Origin, text_fields
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
    return Layout(
        header=settings.header,
        columns=settings.columns,
        text=tuple(text_fields(settings)),
        labels=tuple(settings.label_fields),
        to_predict=split == TO_PREDICT,
    )


def read(lines: Lines, dialect: Dialect, layout: Layout) -> Iterator[Example]:
    """An example for each row; blank lines are skipped.

    In a file to predict, a row of another width is an example's `error`.

    Args:
        lines: of the file.
        dialect: how rows are written; may have open questions.
        layout: what the columns are.
    Raises:
        DataError: a row has more or fewer columns than the first; columns of the same name; wrong
            quotes.
    """
    dialect = settled(lines, dialect)
    all_rows = rows(lines, dialect)
    first = next(all_rows, None)
    if first is None:
        return
    file = lines.name
    names = _column_names(first, dialect, layout, file)
    width = len(names)
    if not layout.header:
        all_rows = itertools.chain([first], all_rows)
    for line, fields in all_rows:
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
    """What the columns are called.

    Args:
        first: the first row.
        dialect: how it is written.
        layout: what the settings say of the columns.
        file: for messages.
    Raises:
        DataError: other columns are there than the settings say, or two have the same name.
    """
    line, fields = first
    origin = Origin(file, line)
    if layout.columns is not None:
        return _named_columns(layout.columns, fields, layout, origin, dialect)
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
    names: list[str], fields: list[str], layout: Layout, origin: Origin, dialect: Dialect
) -> list[str]:
    """Those that data.columns names.

    Args:
        names: all of them.
        fields: of the first row.
        layout: which of them are labels.
        origin: of the first row.
        dialect: how it is written.
    Raises:
        DataError: there are more or fewer.
    """
    unlabelled = [name for name in names if name not in layout.labels]
    if layout.to_predict and len(fields) == len(unlabelled):
        return unlabelled
    if len(names) != len(fields):
        raise DataError(
            f"{origin}: data.columns names {len(names)} columns, found {len(fields)}: "
            f"{_start(fields, dialect)}. Name all {len(fields)}, or check data.source and the "
            "delimiter."
        )
    return names


def _numbered_columns(width: int, layout: Layout) -> list[str]:
    """0, 1, …; without those of the labels where a file to predict is too narrow for its texts."""
    names = [str(index) for index in range(width)]
    if not layout.to_predict or set(layout.text) <= set(names):
        return names
    with_labels = [str(index) for index in range(width + len(layout.labels))]
    return [name for name in with_labels if name not in layout.labels][:width]


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _wrong_width(
    origin: Origin, fields: list[str], width: int, last_line: int, dialect: Dialect
) -> DataError:
    """The error for a row with more or fewer columns than the first.

    Args:
        origin: of its first line.
        fields: of the row.
        width: columns of the first row.
        last_line: of the row, from 1.
        dialect: how it is written.
    """
    advice = _advice_on_width(fields, width, last_line - origin.line + 1, dialect)
    return DataError(
        f"{origin}: found {len(fields)} columns, expected {width}. The row starts:"
        f" {_start(fields, dialect)}. {advice}"
    )


def _advice_on_width(fields: list[str], width: int, lines: int, dialect: Dialect) -> str:
    """What to do about such a row.

    Args:
        fields: of the row.
        width: columns of the first row.
        lines: how many the row takes.
        dialect: how it is written.
    """
    delimiter = dialect.delimiter
    has_quotes = any('"' in field for field in fields)
    if width == 1:
        return (
            f"The first row has no {delimiter!r}: check data.source (csv, tsv) and, for"
            " csv, data.delimiter"
        )
    if dialect.quoting == "none":
        if has_quotes:
            return "Where quotes protect a delimiter or a line end, set data.quoting: minimal"
        return (
            f"A {delimiter!r} or a line end inside a field has to go, or be quoted with"
            " data.quoting: minimal"
        )
    if lines > 1 or has_quotes:
        return (
            f"An opening quote without its end joins lines (this row takes {lines});"
            " where quotes are plain characters, set data.quoting: none"
        )
    return f'A {delimiter!r} or a line end inside a field has to be quoted: "a{delimiter}b"'


def _start(fields: list[str], dialect: Dialect) -> str:
    beginning = [field[:90] for field in fields[:90]]
    return shown_value(dialect.delimiter.join(beginning), 83)
