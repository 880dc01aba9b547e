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


def _reader(lines: Iterable[str], dialect: Dialect) -> "csv._reader":
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
    r"""Lines whose lone \r and NUL the csv module takes for characters, and an escape only where
    it escapes something.

    Attributes:
        any: whether a line so far had a lone \r or NUL.
    """

    def __init__(self, lines: Iterable[str], dialect: Dialect) -> None:
        self._lines = lines
        self._escape = dialect.escape
        self.any = False
        special = re.escape(f"{dialect.escape}{dialect.delimiter}")
        self._escaped = re.compile(f'{re.escape(dialect.escape)}([{special}"])?')

    def __iter__(self) -> Iterator[str]:
        escape = self._escape
        for line in self._lines:
            if "\0" in line or ("\r" in line and "\r" in without_end(line)):
                self.any = True
                content = without_end(line)
                end = line[len(content) :]
                line = content.replace("\r", RETURN).replace("\0", NUL) + end
            if escape and escape in line:
                line = self._escaped.sub(lambda match: match[0] if match[1] else 2 * escape, line)
            yield line


def _shown_again(field: str) -> str:
    return (
        field.replace(RETURN, "\r").replace(NUL, "\0") if RETURN in field or NUL in field else field
    )


def _signs(lines: Lines, delimiter: str) -> _Signs:
    """Looks at bytes, which costs little: the lines of most files are then read only once."""
    last_byte = re.escape(delimiter.encode()[-1:])
    # Behind a delimiter, a line end or a byte-order mark, which ends in \xbf; then the lines are
    # asked.
    spaced = re.compile(rb'"(?<=[\n\r\xbf%b] ")' % last_byte)
    found, before = _Signs(), b"\n"
    try:
        for block in lines.beginning(LOOKED_AT_BYTES):
            if b'"' in block:
                window = before + block
                escaped = found.escaped or b'\\"' in window
                found = _Signs(True, escaped, found.spaced or spaced.search(window) is not None)
            before = (before + block[-2:])[-2:]
        return found._replace(spaced=found.spaced and _has_blanks_before_quotes(lines, delimiter))
    except DataError:  # told when the rows are read
        return _Signs()


def _has_blanks_before_quotes(lines: Lines, delimiter: str) -> bool:
    """Whether a field begins with one blank and a quote."""
    spaced = f'{delimiter} "'
    with lines.again() as again:
        return any(spaced in line or line.startswith(' "') for line in _Beginning(again))


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
    """Whether some fields are a blank and then quotes up to their end, and none only begins so:
    then neither is part of the text.
    """
    found = False
    with lines.again() as again, lines.again() as once_more:
        for kept, skipped in zip(
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
    found, all_quoted, doubled = False, True, False
    with lines.again() as again:
        for line in _Beginning(again):
            if '"' not in line and not all_quoted:
                continue
            for field in without_end(line).split(raw.delimiter):
                if '"' not in field:
                    all_quoted = all_quoted and (not field or _NUMBER.fullmatch(field) is not None)
                elif not _QUOTED.fullmatch(field):
                    return False  # a quote is a character here
                else:
                    found = True
                    doubled = doubled or '""' in field[1:-1]
    return found and (all_quoted or doubled)
