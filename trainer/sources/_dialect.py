"""How the rows of a csv or tsv file are written: as the config says, else as the whole file shows
where it shows that beyond doubt.
"""

import contextlib
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import Field, field_validator

from trainer.errors import DataError
from trainer.settings.schema import DataSettings
from trainer.sources._lines import Lines, without_end

NO_ESCAPES = ('"', ",", " ", "\t", "\r", "\n")
LOOKED_AT_BYTES = 256 << 20  # of a file, to see how it is written
RETURN = "\udc0d"  # stands for \r where it ends no line; no text has it
NUL = "\udc00"  # likewise, as the csv module of Python 3.10 refuses it
Row = tuple[int, list[str]]  # the line it starts on, its fields
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


class DelimitedSettings(DataSettings):
    """What the data sections for csv and tsv have in common."""

    header: bool = Field(True, description="the first row names the columns")
    columns: list[str] | None = Field(
        None, min_length=1, description="names of the columns; null: the header's, else 0, 1, …"
    )
    escape: str | None = Field(
        None,
        description=(
            "what stands before a quote inside quotes, like \\; null: \\ where the file shows that,"
            ' "": nothing does'
        ),
    )
    skip_initial_space: bool | None = Field(
        None,
        description="blanks behind a delimiter do not count; null: where they stand before quotes",
    )

    @field_validator("columns")
    @classmethod
    def _refuse_repeated(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("two columns have the same name")
        return value

    @field_validator("escape")
    @classmethod
    def _refuse_odd_escape(cls, value: str | None) -> str | None:
        if value is not None and (len(value) > 1 or value in NO_ESCAPES):
            raise ValueError("expected one character, no quote, comma, white space or line end")
        return value


class Dialect(NamedTuple):
    """How rows are written.

    Attributes:
        quoting: "minimal", "none", or "auto" where the file shows it.
        escape: "" for none; None where the file shows it.
        skip_initial_space: None where the file shows it.
    """

    delimiter: str
    quoting: str
    escape: str | None = ""
    skip_initial_space: bool | None = False


class QuoteError(Exception):
    """Quotes that are wrong, as the csv module says, in a row that starts on `line`."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


class _Signs(NamedTuple):
    """What a file has that may mean something."""

    quotes: bool = False
    escaped: bool = False  # a backslash before a quote
    spaced: bool = False  # a blank between delimiter and quote


def settled(lines: Lines, dialect: Dialect) -> Dialect:
    """The dialect without open questions."""
    plain = dialect._replace(
        quoting="none" if dialect.quoting == "auto" else dialect.quoting,
        escape=dialect.escape or "",
        skip_initial_space=bool(dialect.skip_initial_space),
    )
    if plain == dialect:
        return dialect
    signs = _signs(lines, dialect.delimiter)
    if dialect.quoting == "auto":
        if not (signs.quotes and _shows_quoting(lines, plain)):
            return plain
        plain = plain._replace(quoting="minimal")
    if plain.quoting == "none" or not (signs.escaped or signs.spaced):
        return plain
    escapes = [""] + ["\\"] * signs.escaped if dialect.escape is None else [plain.escape]
    skips = (
        [False] + [True] * (signs.spaced and dialect.delimiter != " ")
        if dialect.skip_initial_space is None
        else [plain.skip_initial_space]
    )
    candidates = [
        plain._replace(escape=escape, skip_initial_space=skip)
        for skip in skips
        for escape in escapes
    ]
    fitting = [candidate for candidate in candidates if _fits(lines, candidate)]
    if not fitting:
        return plain
    skipping = [candidate for candidate in fitting if candidate.skip_initial_space]
    if skipping and (
        fitting[0].skip_initial_space
        or _blanks_stand_before_whole_quotes(lines, fitting[0], skipping[0])
    ):
        return skipping[0]
    return fitting[0]


def rows(lines: Iterable[str], dialect: Dialect) -> Iterator[Row]:
    """The rows that are not blank.

    Args:
        lines: physical lines with their ends.
        dialect: settled.
    Raises:
        QuoteError: quotes are wrong.
    """
    counted = _Counted(lines)
    if dialect.quoting == "none":
        for line in counted:
            if content := without_end(line):
                yield counted.number, content.split(dialect.delimiter)
        return
    if csv.field_size_limit() < sys.maxsize:
        csv.field_size_limit(sys.maxsize)  # 131,072 characters otherwise
    reader = csv.reader(
        _hidden(counted, dialect),
        delimiter=dialect.delimiter,
        strict=True,
        escapechar=dialect.escape or None,
        skipinitialspace=bool(dialect.skip_initial_space),
    )
    while True:
        start = counted.number + 1  # the reader takes no line before it needs it
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise QuoteError(str(error), start) from None
        if fields:
            yield start, [_shown_again(field) for field in fields]


class _Counted:
    """Lines, and the number of the last one."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        return line


class _Beginning:
    """The lines of the first LOOKED_AT_BYTES of a file.

    Attributes:
        is_cut: whether there are more; then the last row may have no end.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.is_cut = False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if self._lines.position > LOOKED_AT_BYTES:
                self.is_cut = True
                return
            yield line


def _whole_rows(lines: Lines, dialect: Dialect) -> Iterator[Row]:
    """The rows of the beginning of a file that fits the dialect."""
    with contextlib.suppress(QuoteError):  # where it is cut
        yield from rows(_Beginning(lines), dialect)


def _hidden(lines: Iterator[str], dialect: Dialect) -> Iterator[str]:
    r"""Lines whose lone \r and NUL the csv module takes for characters, and an escape only
    where it escapes something.
    """
    escape = dialect.escape
    special = (
        re.compile(f'{re.escape(escape)}([{re.escape(escape + dialect.delimiter)}"])?')
        if escape
        else None
    )
    for line in lines:
        content = without_end(line)
        end = line[len(content) :]
        if "\r" in content or "\0" in content:
            content = content.replace("\r", RETURN).replace("\0", NUL)
        if special is not None and escape in content:
            content = special.sub(lambda match: match[0] if match[1] else 2 * escape, content)
        yield content + end


def _shown_again(field: str) -> str:
    return (
        field.replace(RETURN, "\r").replace(NUL, "\0") if RETURN in field or NUL in field else field
    )


def _signs(lines: Lines, delimiter: str) -> _Signs:
    found = _Signs()
    spaced = f'{delimiter} "'
    with lines.again() as again:
        try:
            for line in _Beginning(again):
                if '"' in line:
                    found = _Signs(
                        True,
                        found.escaped or '\\"' in line,
                        found.spaced or spaced in line or line.startswith(' "'),
                    )
        except DataError:  # told when the rows are read
            return found
    return found


def _fits(lines: Lines, dialect: Dialect) -> bool:
    """Whether the whole file can be read so, with as many fields in each row."""
    with lines.again() as again:
        widths: set[int] = set()
        beginning = _Beginning(again)
        try:
            for _, fields in rows(beginning, dialect):
                widths.add(len(fields))
                if len(widths) > 1:
                    return False
        except QuoteError:
            return beginning.is_cut
        except DataError:
            return False
        return True


def _blanks_stand_before_whole_quotes(lines: Lines, keeping: Dialect, skipping: Dialect) -> bool:
    """Whether some fields are a blank and then quotes up to their end, and none only begins so:
    then neither is part of the text.
    """
    found = False
    with lines.again() as again, lines.again() as once_more:
        for (_, kept), (_, skipped) in zip(
            _whole_rows(again, keeping), _whole_rows(once_more, skipping), strict=False
        ):
            for field, other in zip(kept, skipped, strict=False):
                if field == other or not field.lstrip(" ").startswith('"'):
                    continue  # quoted as a whole, or without a quote
                if not _QUOTED.fullmatch(field.lstrip(" ")):
                    return False
                found = True
    return found


def _shows_quoting(lines: Lines, raw: Dialect) -> bool:
    """Whether the whole file is written as pandas and Excel write: quotes stand around fields
    only, all of them or such as hold quotes, doubled.
    """
    quoted = raw._replace(quoting="minimal")
    if not _fits(lines, quoted):
        return False
    if not _fits(lines, raw):
        return True
    all_quoted, doubled = True, False
    with lines.again() as again:
        for _, fields in _whole_rows(again, raw):
            for field in fields:
                if '"' not in field:
                    all_quoted = all_quoted and (not field or _NUMBER.fullmatch(field) is not None)
                elif not _QUOTED.fullmatch(field):
                    return False  # a quote is a character here
                else:
                    doubled = doubled or '""' in field[1:-1]
    return all_quoted or doubled
