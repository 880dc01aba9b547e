"""Markdown that others read. What comes from outside is shown as text, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainer.errors import shown_name

MARKS = re.compile(r"([!-/:-@\[-`{-~])")  # all that may mean something to Markdown
TICKS = re.compile("`+")


def plain(text: str) -> str:
    """Text on one line in which nothing is a mark."""
    return MARKS.sub(r"\\\1", shown_name(text))


def code(text: str) -> str:
    """Text on one line in a code span, whatever backticks are in it."""
    shown = shown_name(text)
    runs = TICKS.findall(shown)
    longest = max(map(len, runs), default=0)
    around = "`" * (longest + 1)
    if "`" in (shown[:1], shown[-1:]):
        shown = f" {shown} "
    return around + shown + around


def block(language: str, lines: str) -> str:
    """Lines of code, none of which begins with three backticks."""
    return f"```{language}\n{lines.rstrip()}\n```"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, but may hold bars.

    Args:
        heading: of each column.
        rows: as many cells each.
    """
    rule = ["---"] * len(heading)
    return "\n".join(map(_row, [heading, rule, *rows]))


def _row(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
