"""Which lines of CoNLL columns are comments, and which are words that begin with "#"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

NUMBER = re.compile(r"\d+([-.]\d+)?")  # of a word: 1, 1-2 or 1.1
URL = re.compile(r"(https?|ftp)://|www\.", re.IGNORECASE)
OF_DOCUMENTS = ("newdoc", "newpar")  # what CoNLL-U's comments say without a "="


class Shape(NamedTuple):
    """What the lines look like that are surely words.

    Attributes:
        width: their columns.
        numbered: whether the first column has their numbers, and another one the words.
    """

    width: int
    numbered: bool


def shape_of(lines: Sequence[list[str]], word_column: int) -> Shape | None:
    """The shape of the words among some lines; None where each line begins with "#"."""
    words = [cells for cells in lines if not cells[0].startswith("#")]
    if not words:
        return None
    width = len(words[0])
    if word_column in (0, -width):
        return Shape(width, numbered=False)
    numbered = all(NUMBER.fullmatch(cells[0]) for cells in words)
    return Shape(width, numbered)


def words_of(lines: Sequence[list[str]], shape: Shape) -> list[int]:
    """The places of those lines of a sentence that are words.

    Comments stand above a sentence; behind its first word "#" begins a word, too, unless the first
    column is of numbers.
    """
    words = []
    for place, cells in enumerate(lines):
        if not cells[0].startswith("#") or not _is_comment(cells, shape):
            words.append(place)
    if shape.numbered or not words:
        return words
    return list(range(words[0], len(lines)))


def _is_comment(cells: list[str], shape: Shape) -> bool:
    """Whether a line that begins with "#" is a comment, if it stands where one may."""
    if shape.numbered or len(cells) != shape.width:
        return True
    if "=" in cells:
        return True
    if cells[0] != "#":
        return False
    rest = cells[1:]
    if rest and rest[0] in OF_DOCUMENTS:
        return True
    return any("=" in cell or URL.match(cell) for cell in rest)
