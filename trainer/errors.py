"""Mistakes of the user, as exceptions: one message, no traceback, exit code 2.

Every message says what is wrong, where (file:line or key), the value met, what is allowed and what
to do. What comes from outside is shown by `shown_value` and `shown_name`, so that it can neither
move the cursor nor hide the message.
"""

from __future__ import annotations

import datetime
import itertools
import math
import reprlib
import unicodedata
from collections.abc import Sequence

VALUE_LENGTH = 100  # characters of a value in a message
MESSAGE_LENGTH = 8000
TAIL_LENGTH = 2000  # of a message that is cut: its end has the remedy
CUT = "…"
LABEL_LENGTH = 60  # characters of a label
SHOWN_LABELS = 30  # in a message
NESTED_PARTS = 6  # of a list or mapping in a message
NESTED_LEVELS = 4
LONGEST_NUMBER_BITS = 256
HIDDEN = (
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
)  # controls, invisible formats, lone surrogates, line and paragraph ends


class UserError(Exception):
    """A mistake in flags, config, data, weights or the job_dir.

    Attributes:
        exit_code: of the process that it ends.
    """

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show: the message; our frames would only hide it."""
        return [f"{type(self).__name__}: {shown_message(str(self))}"]


class ConfigError(UserError):
    """The config or a flag is wrong; lists every problem found."""


class DataError(UserError):
    """The data cannot be read or does not fit the config; names file:line."""


class WeightsError(UserError):
    """A checkpoint folder is missing, incomplete, damaged or of another architecture."""


class JobDirError(UserError):
    """The job_dir cannot be written, or belongs to another config."""


class UnmetError(UserError):
    """A run is not as good as report.require asks."""

    exit_code = 3


class TrainingError(UserError):
    """Training cannot go on, such as on a loss that is not a number."""


def shown_value(value: object, length: int = VALUE_LENGTH) -> str:
    """A value from outside as a message shows it: text in quotes; on one line, escaped and cut.

    Args:
        value: text, a number, a date, or lists and mappings of them, however large or deep.
        length: characters at most.
    """
    if isinstance(value, str):
        quote = '"' if "'" in value and '"' not in value else "'"
        return quote + _one_line(value, length - 2, escaped="\\" + quote) + quote
    if isinstance(value, datetime.date):  # a datetime is one too
        return value.isoformat()
    return _one_line(_Nested().repr(value), length)


def shown_name(name: object, length: int = VALUE_LENGTH) -> str:
    """A label, key or file name from outside, for a message: on one line, escaped and cut."""
    return _one_line(str(name), length)


def shown_label(name: str) -> str:
    """A label for people, cut to length.

    It stands between quotes where blanks, commas or characters that cannot be seen would deceive.
    """
    short = name if len(name) <= LABEL_LENGTH else name[:LABEL_LENGTH] + CUT
    has_odd_blanks = name != " ".join(name.split())
    has_marks = bool(set(name) & set(",;:'\""))
    deceives = not name or not name.isprintable() or has_odd_blanks or has_marks
    return repr(short) if deceives else short


def shown_labels(names: Sequence[str], most: int = SHOWN_LABELS) -> str:
    """Labels between commas; of many the first ones, and how many more there are."""
    shown = ", ".join(map(shown_label, names[:most]))
    left_out = len(names) - most
    return f"{shown} and {left_out:,} more" if left_out > 0 else shown


def shown_message(message: str) -> str:
    """A message as it is printed: what moves the cursor is escaped; a long one loses its middle."""
    if len(message) > MESSAGE_LENGTH:
        left_out = len(message) - MESSAGE_LENGTH
        head = message[: MESSAGE_LENGTH - TAIL_LENGTH]
        tail = message[-TAIL_LENGTH:]
        message = f"{head}{CUT}\n({left_out:,} characters left out)\n{CUT}{tail}"
    return "".join(
        _escape(ch) if unicodedata.category(ch) in HIDDEN and ch not in "\n\t" else ch
        for ch in message
    )


def _one_line(text: str, length: int, escaped: str = "") -> str:
    """Cut between two characters, never inside an escape."""
    pieces = [
        _escape(ch) if ch in escaped or not ch.isprintable() else ch for ch in text[: length + 1]
    ]
    if sum(map(len, pieces)) <= length:
        return "".join(pieces)
    while sum(map(len, pieces)) > length - len(CUT) and pieces:
        pieces.pop()
    return "".join(pieces) + CUT


def _escape(ch: str) -> str:
    return f"\\{ch}" if ch in "\\'\"" else ch.encode("unicode_escape").decode("ascii")


class _Nested(reprlib.Repr):
    """Lists and mappings cut in breadth and depth, so that neither size nor nesting costs time."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = NESTED_LEVELS
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = NESTED_PARTS

    def repr1(self, x: object, level: int) -> str:
        """Each part by its type; text and dates as they are shown alone."""
        return shown_value(x) if isinstance(x, str | datetime.date) else super().repr1(x, level)

    def repr_dict(self, x: dict[object, object], level: int) -> str:
        """In the order that was written; the base class sorts, which large mappings pay for."""
        if level <= 0:
            return "{...}"
        parts = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in itertools.islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join([*parts, *(["..."] if len(x) > self.maxdict else [])]) + "}"

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write numbers of more than some thousand digits."""
        if x.bit_length() < LONGEST_NUMBER_BITS:
            return repr(x)
        return f"a number of about {math.ceil(x.bit_length() * math.log10(2)):,} digits"
