"""How the rows of a csv or tsv file are written.

As the config says, else as the whole file shows, where it shows that beyond doubt.
"""

import contextlib
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field, field_validator

from trainer.errors import DataError
from trainer.settings.schema import DataSettings
from trainer.sources._lines import Lines, without_end

if TYPE_CHECKING:
    from _csv import Reader

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


class _Signs(NamedTuple):
    """What a file has that may mean something."""

    quotes: bool = False
    escaped: bool = False  # a backslash before a quote
    spaced: bool = False  # a blank between delimiter and quote


def settled(lines: Lines, dialect: Dialect) -> Dialect:
    """The dialect without open questions.

    Args:
        lines: of the file, which is looked at where a question is open.
        dialect: may have open questions.
    """
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
    fitting = [
        candidate for candidate in _candidates(plain, dialect, signs) if _fits(lines, candidate)
    ]
    return _choose(lines, fitting) if fitting else plain


def _candidates(plain: Dialect, dialect: Dialect, signs: _Signs) -> Iterator[Dialect]:
    """The dialects that may be meant, plainer ones first.

    Args:
        plain: the plainest.
        dialect: with its open questions.
        signs: what the file has.
    """
    escapes = [plain.escape]
    if dialect.escape is None and signs.escaped:
        escapes.append("\\")
    skips = [plain.skip_initial_space]
    if dialect.skip_initial_space is None and signs.spaced and dialect.delimiter != " ":
        skips.append(True)
    for skip in skips:
        for escape in escapes:
            yield plain._replace(escape=escape, skip_initial_space=skip)


def _choose(lines: Lines, fitting: list[Dialect]) -> Dialect:
    """The first of the dialects that fit, or the first that skips blanks where it is meant."""
    first = fitting[0]
    skipping = [candidate for candidate in fitting if candidate.skip_initial_space]
    if first.skip_initial_space or not skipping:
        return first
    if _blanks_stand_before_whole_quotes(lines, first, skipping[0]):
        return skipping[0]
    return first


def rows(lines: Lines, dialect: Dialect) -> Iterator[Row]:
    """The rows that are not blank, in a dialect that is settled.

    Raises:
        DataError: quotes are wrong.
    """
    if dialect.quoting == "none":
        for number, line in enumerate(lines, 1):
            if content := without_end(line):
                yield number, content.split(dialect.delimiter)
        return
    hidden = _Hidden(lines, dialect)
    reader = _reader(hidden, dialect)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield start, [*map(_shown_again, fields)] if hidden.any else fields
            start = reader.line_num + 1  # the reader takes no line before it needs it
    except csv.Error as error:
        until = f" (read up to line {lines.number})" if lines.number > start else ""
        raise DataError(
            f"{lines.name}:{start}: wrong quotes: {error}{until}. A quote inside a quoted field is "
            "written twice; where a backslash stands before it, set data.escape: \\; where quotes "
            "are plain characters, set data.quoting: none"
        ) from None


def _fields(lines: Iterable[str], dialect: Dialect) -> Iterator[list[str]]:
    """Those of each row that is not blank, with what is hidden; raises csv.Error."""
    if dialect.quoting == "none":
        contents = filter(None, map(without_end, lines))
        return (content.split(dialect.delimiter) for content in contents)
    return filter(None, _reader(_Hidden(lines, dialect), dialect))


def _reader(lines: Iterable[str], dialect: Dialect) -> "Reader":
    if csv.field_size_limit() < sys.maxsize:
        csv.field_size_limit(sys.maxsize)  # 131,072 characters otherwise
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        strict=True,
        escapechar=dialect.escape or None,
        skipinitialspace=bool(dialect.skip_initial_space),
    )


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


def _whole_rows(lines: Lines, dialect: Dialect) -> Iterator[list[str]]:
    """The rows of the beginning of a file that fits the dialect."""
    with contextlib.suppress(csv.Error):  # where it is cut
        yield from _fields(_Beginning(lines), dialect)


class _Hidden:
    r"""Lines as the csv module needs them.

    It then takes a lone \r and NUL for characters, and an escape only where it escapes something.

    Attributes:
        any: whether a line so far had a lone \r or NUL.
    """

    def __init__(self, lines: Iterable[str], dialect: Dialect) -> None:
        self._lines = lines
        self._escape = dialect.escape or ""
        self.any = False
        special = re.escape(self._escape + dialect.delimiter)
        self._escaped = re.compile(f'{re.escape(self._escape)}([{special}"])?')

    def __iter__(self) -> Iterator[str]:
        escape = self._escape
        for line in self._lines:
            if "\0" in line or ("\r" in line and "\r" in without_end(line)):
                self.any = True
                content = without_end(line)
                end = line[len(content) :]
                line = content.replace("\r", RETURN).replace("\0", NUL) + end
            if escape and escape in line:
                line = self._escaped.sub(self._doubled_unless_it_escapes, line)
            yield line

    def _doubled_unless_it_escapes(self, match: re.Match[str]) -> str:
        return match[0] if match[1] else 2 * self._escape


def _shown_again(field: str) -> str:
    if RETURN in field or NUL in field:
        return field.replace(RETURN, "\r").replace(NUL, "\0")
    return field


def _signs(lines: Lines, delimiter: str) -> _Signs:
    """Looks at bytes, which costs little: the lines of most files are then read only once."""
    last_byte = re.escape(delimiter.encode()[-1:])
    # Behind a delimiter, a line end or a byte-order mark, which ends in \xbf; then the lines are
    # asked.
    spaced = re.compile(rb'"(?<=[\n\r\xbf%b] ")' % last_byte)
    has_quotes = False
    has_escaped = False
    has_spaced = False
    before = b"\n"
    try:
        for block in lines.beginning(LOOKED_AT_BYTES):
            if b'"' in block:
                window = before + block
                has_quotes = True
                has_escaped = has_escaped or b'\\"' in window
                has_spaced = has_spaced or spaced.search(window) is not None
            before = (before + block[-2:])[-2:]
        has_spaced = has_spaced and _has_blanks_before_quotes(lines, delimiter)
        return _Signs(has_quotes, has_escaped, has_spaced)
    except DataError:  # told when the rows are read
        return _Signs()


def _has_blanks_before_quotes(lines: Lines, delimiter: str) -> bool:
    """Whether a field begins with one blank and a quote."""
    spaced = f'{delimiter} "'
    with lines.again() as again:
        beginning = _Beginning(again)
        return any(spaced in line or line.startswith(' "') for line in beginning)


def _fits(lines: Lines, dialect: Dialect) -> bool:
    """Whether the whole file can be read so, with as many fields in each row."""
    with lines.again() as again:
        beginning = _Beginning(again)
        widths = map(len, _fields(beginning, dialect))
        try:
            first = next(widths, 0)
            return all(width == first for width in widths)
        except csv.Error:
            return beginning.is_cut
        except DataError:
            return False


def _blanks_stand_before_whole_quotes(lines: Lines, keeping: Dialect, skipping: Dialect) -> bool:
    """Whether some fields are a blank and then quotes up to their end, and none only begins so.

    Then neither is part of the text.

    Args:
        lines: of the file.
        keeping: the dialect in which blanks count.
        skipping: the one in which they do not.
    """
    any_quoted = False
    with lines.again() as again, lines.again() as once_more:
        rows_kept = _whole_rows(again, keeping)
        rows_skipped = _whole_rows(once_more, skipping)
        for kept, skipped in zip(rows_kept, rows_skipped, strict=False):
            for field, other in zip(kept, skipped, strict=False):
                content = field.lstrip(" ")
                if field == other or not content.startswith('"'):
                    continue  # quoted as a whole, or without a quote
                if not _QUOTED.fullmatch(content):
                    return False
                any_quoted = True
    return any_quoted


def _shows_quoting(lines: Lines, raw: Dialect) -> bool:
    """Whether the whole file is written as pandas and Excel write.

    Quotes then stand around fields only: all of them, or such as hold quotes, doubled.
    """
    quoted = raw._replace(quoting="minimal")
    if not _fits(lines, quoted):
        return False
    if not _fits(lines, raw):
        return True
    any_quoted = False
    all_quoted = True
    any_doubled = False
    with lines.again() as again:
        for line in _Beginning(again):
            if '"' not in line and not all_quoted:
                continue
            for field in without_end(line).split(raw.delimiter):
                if '"' not in field:
                    needs_no_quotes = not field or _NUMBER.fullmatch(field) is not None
                    all_quoted = all_quoted and needs_no_quotes
                elif not _QUOTED.fullmatch(field):
                    return False  # a quote is a character here
                else:
                    any_quoted = True
                    any_doubled = any_doubled or '""' in field[1:-1]
    return any_quoted and (all_quoted or any_doubled)
