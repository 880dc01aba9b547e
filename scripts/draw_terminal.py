"""Draws what a terminal showed as an SVG: draw_terminal.py OUT.svg TITLE < what `script` recorded.

The colours are those of the recording. No font or other file is fetched to show it.
"""

from __future__ import annotations

import io
import pathlib
import re
import sys

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

COLUMNS = 100
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def drawn(recorded: str, title: str) -> str:
    """An SVG of the recording, COLUMNS wide."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    for line in recorded.splitlines():
        shown = line.rsplit("\r", 1)[-1]  # a line that was drawn anew: as it was at last
        console.print(Text.from_ansi(shown), soft_wrap=False)
    svg = console.export_svg(title=title, theme=DIMMED_MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: Fira Code, monospace", f"font-family: {FONT}", svg)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


if __name__ == "__main__":
    file, title = sys.argv[1:]
    pathlib.Path(file).write_text(drawn(sys.stdin.read(), title), encoding="utf-8")
