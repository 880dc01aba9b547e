"""What a run shows below a cell of a notebook: its lines so far and a bar, drawn anew in place.

It is one output of the cell, and plain HTML: what is saved with the notebook is what was shown, and
no widgets are needed, as they are for rich's and tqdm's bars.
"""

from __future__ import annotations

import html
import io
import time
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

COLUMNS = 115  # as rich has them in a notebook
REDRAW_SECONDS = 0.25
LONGEST = 20_000  # characters of an output: with each redraw all of it is sent
LINES = '<pre style="white-space:pre-wrap;overflow-wrap:anywhere">{code}</pre>'


class NotebookCell(io.StringIO):
    """The stream of a console whose text is shown below the running cell, with progress below it.

    Attributes:
        console: writes into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(
            file=self,
            width=COLUMNS,
            record=True,  # with its styles
            color_system=None,  # the text itself has none; kernels ask for them
            force_jupyter=False,  # else each line is an output of its own
            highlight=False,
            soft_wrap=True,
            emoji=False,
        )
        self._output: DisplayHandle | None = None
        self._progress: tuple[str, float | None] | None = None
        self._since = 0.0

    def show(self, text: str, share: float | None = None, *, at_once: bool = False) -> None:
        """Draws a bar and a text, unless others were drawn just now.

        Args:
            text: what is done.
            share: how much of it is, from 0 to 1; None: nobody knows.
            at_once: draw it in any case.
        """
        if self._progress and not at_once and time.monotonic() - self._since < REDRAW_SECONDS:
            return
        self._progress = text, share
        self._draw()
        self._since = time.monotonic()

    def clear(self) -> None:
        """Removes the bar."""
        if self._progress:
            self._progress = None
            self._draw()

    def flush(self) -> None:
        """Shows what was written; what follows a long text is another output."""
        self._draw()
        if self.tell() > LONGEST:
            self.seek(0)
            self.truncate()
            self.console.export_text()  # which forgets it
            self._output = None

    def _draw(self) -> None:
        from IPython.display import display

        lines = self.console.export_html(clear=False, inline_styles=True, code_format="{code}")
        text = self.getvalue()
        if self._progress:
            said, share = self._progress
            known = "" if share is None else f' value="{share:.4f}"'
            lines += f"<progress{known}></progress> {html.escape(said)}"
            text += said
        shown = {"text/plain": text, "text/html": LINES.format(code=lines)}
        if self._output is None:
            self._output = display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)
