"""One line at the bottom of a terminal, drawn anew in place.

It never takes more than one row, hides no cursor and has no thread: whatever ends the process, the
terminal is as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO

from rich.cells import cell_len, set_cell_size

REDRAW_SECONDS = 0.1
CLEAR = "\r\x1b[K"  # to the row's beginning, and nothing behind it


class LiveLine:
    """Shows the last of many texts.

    Args:
        stream: of the terminal.
        columns: asks the terminal for its width, which may change.
    """

    def __init__(self, stream: IO[str], columns: Callable[[], int]) -> None:
        self._stream = stream
        self._columns = columns
        self._drawn = False
        self._since = 0.0

    def show(self, text: str, share: float | None = None, *, at_once: bool = False) -> None:
        """Draws the text, cut to one row, unless another was drawn just now.

        Args:
            text: what is done.
            share: how much of it is; the row has no room for a bar.
            at_once: draw it in any case.
        """
        if self._drawn and not at_once and time.monotonic() - self._since < REDRAW_SECONDS:
            return
        # with the last column filled, some terminals go to the next row
        room = max(1, self._columns() - 1)
        if cell_len(text) > room:
            text = set_cell_size(text, room - 1) + "…"
        self._write(CLEAR + text)
        self._drawn = True
        self._since = time.monotonic()

    def clear(self) -> None:
        """Leaves the row empty, for something else to be written there."""
        if self._drawn:
            self._drawn = False
            self._write(CLEAR)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
