"""Text from outside on one line of a terminal: escaped, and cut to its columns."""

from __future__ import annotations

from rich.cells import cell_len

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
