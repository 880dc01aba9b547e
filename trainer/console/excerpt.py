"""Text from outside on one line of a terminal: escaped, and cut to its columns."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from trainer.errors import CUT, shown_name

LONGEST_ESCAPE = 10  # \U0010ffff


def excerpt(text: str, columns: int) -> str:
    """A text as one line that a terminal shows in so many columns; an ideograph takes two.

    Args:
        text: anything; what moves the cursor or does not show is escaped.
        columns: of the line. A text that is cut ends with its number of characters.
    """
    whole = _fitting(text, columns)
    if len(whole) == len(text):
        return "".join(whole)
    note = f"{CUT} ({len(text):,} characters)"
    return "".join(_fitting(text, columns - cell_len(note))) + note


def excerpt_lines(text: str, columns: int, most: int, *, whole: str = "") -> list[str]:
    """A text as at most so many lines of so many columns, torn between words.

    Args:
        text: anything; what moves the cursor or does not show is escaped.
        columns: of a line; an ideograph takes two.
        most: lines. A text that is cut ends with a note.
        whole: how much there is, for that note; "" stands for the number of characters.
    """
    # a line more than there is room for, so that one sees whether it is cut
    lines = _wrapped("".join(_fitting(text, columns * (most + 1))), columns)
    if len(lines) <= most:
        return lines
    whole = whole or f"{len(text):,} characters"
    note = f" {CUT} ({whole})"
    last = _wrapped(lines[most - 1], columns - cell_len(note))[0]
    return [*lines[: most - 1], last + note]


def _wrapped(text: str, columns: int) -> list[str]:
    """Lines torn between words; an ideograph is one."""
    return [line.plain.rstrip() for line in Text(text).wrap(Console(), columns)]


def short_place(place: str, columns: int = 40) -> str:
    """A file's place for a line of a terminal: "…/business/001.txt:3".

    Args:
        place: a path or URL, perhaps with a line.
        columns: up to which it stays whole. Of a longer one the last folder and the file stay.
    """
    if cell_len(place) <= columns:
        return place
    parts = place.split("/")
    return "/".join([CUT, *parts[-2:]]) if len(parts) > 3 else place


def _fitting(text: str, columns: int) -> list[str]:
    """The characters from the first on, each as it is shown, that have room."""
    shown: list[str] = []
    for character in text:
        piece = character if character.isprintable() else shown_name(character, LONGEST_ESCAPE)
        columns -= cell_len(piece)
        if columns < 0:
            break
        shown.append(piece)
    return shown
