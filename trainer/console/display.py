"""What a person sees while a run goes on, on standard error.

A live line on a terminal, a bar below a notebook's cell, plain lines elsewhere; in a job on Vertex
AI, entries of its log.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from rich.console import Console
from rich.table import Table

from trainer.console.live_line import LiveLine
from trainer.console.notebook import NotebookCell
from trainer.console.on_vertex import log_entry
from trainer.console.standard_streams import Output, ReaderGoneError, print_text
from trainer.errors import shown_message
from trainer.files.mirror import shown

PLAIN_COLUMNS = 160
PLAIN_SECONDS = 10.0  # between plain progress lines, at least
PLAIN_SHARE = 0.03  # and of the time so far: a run of a week has some 250 of them


class _Console(Console):
    """One whose reader may go, or whose disk may be full.

    The first ends the program as the signal would; the second does not stop a run.
    """

    def on_broken_pipe(self) -> None:
        """In place of an exit with code 1, which is for mistakes of ours."""
        raise ReaderGoneError

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:
            del self._buffer[:]


class _Live(Protocol):
    """Progress that is drawn anew in place."""

    def show(self, text: str, share: float | None, *, at_once: bool) -> None:
        """Draws how far something is."""

    def clear(self) -> None:
        """Removes what is drawn."""


class Display:
    """Prints lines, tables and progress.

    Args:
        log: where each is a line of JSON for Cloud Logging, instead.
    """

    def __init__(self, log: IO[str] | Output | None = None) -> None:
        self._log = log
        self.console, self._live = _places(log)
        self._tasks: dict[str, _Task] = {}
        self._began = time.monotonic()
        self._last_plain = -math.inf
        self.quiet = False  # but for warnings: on several workers, one speaks

    @property
    def narrow(self) -> bool:
        """Whether progress has one row of a terminal."""
        return isinstance(self._live, LiveLine)

    def line(self, text: str, **fields: object) -> None:
        """One line of news; `fields`, such as step, are for the log."""
        if not self.quiet:
            self._print(text, "INFO", fields=fields)

    def warn(self, text: str) -> None:
        """One line that should not be missed."""
        self._print(text if self._log else f"warning: {text}", "WARNING", style="yellow")

    def last_line(self, text: str) -> None:
        """Why the process ends, on whichever worker."""
        self.done()
        self._print(text, "INFO")

    def _print(
        self,
        text: str,
        severity: str,
        *,
        style: str | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self._make_room()
        message = shown_message(shown(text))
        if self._log:
            self._log.write(log_entry(message, fields, severity=severity) + "\n")
            self._log.flush()
        else:
            self.console.print(message, markup=False, style=style)

    def table(self, title: str, rows: Sequence[tuple[str, object]]) -> None:
        """Two columns: names and values."""
        if self.quiet:
            return
        if self._log:
            lines = [f"{name}: {value}" for name, value in rows]
            self._print("\n".join([title, *lines]), "INFO")
            return
        table = Table(
            title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0)
        )
        for name, value in rows:
            table.add_row(shown_message(str(name)), shown_message(str(value)))
        self._make_room()
        self.console.print(table, markup=False)

    def progress(
        self,
        label: str,
        done: float,
        total: float | None,
        note: str = "",
        *,
        seconds_left: float | None = None,
    ) -> None:
        """Shows how far `label` is.

        On a terminal one line, drawn anew; in a notebook a bar; elsewhere a line now and then.

        Args:
            label: what is going on.
            done: how much of it is done, in any unit.
            total: how much there is; None where nobody knows.
            note: what else there is to say; else how many are done, where it is not known of how
                many.
            seconds_left: where the caller knows better than by how fast it went so far; infinite:
                nobody knows yet.
        """
        if self.quiet:
            return
        now = time.monotonic()
        task = self._tasks.setdefault(label, _Task(done, now))
        text = task.text(label, done, total, note, now, seconds_left)
        if self._live:
            self._live.show(text, done / total if total else None, at_once=done == total)
        elif now - self._last_plain >= max(PLAIN_SECONDS, PLAIN_SHARE * (now - self._began)):
            self._last_plain = now
            self.line(text, step=done if label == "training" else None)

    def fetched(self, done: int, total: int) -> None:
        """Progress of what comes from Cloud Storage, in bytes."""
        self.progress("fetching", done, total, f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        if done >= total:
            self.done("fetching")

    def done(self, label: str | None = None) -> None:
        """Removes what is shown of `label`, or of all."""
        for ended in [label] if label else list(self._tasks):
            self._tasks.pop(ended, None)
        self._make_room()

    def _make_room(self) -> None:
        if self._live:
            self._live.clear()


def _places(log: IO[str] | Output | None) -> tuple[Console, _Live | None]:
    """Where lines go, and where progress is drawn anew, if it can be."""
    console = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    if log is None and console.is_jupyter:
        cell = NotebookCell()
        return cell.console, cell
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    if log or not console.file.isatty() or console.is_dumb_terminal:
        return console, None
    return console, LiveLine(console.file, lambda: console.width)


@dataclasses.dataclass
class _Task:
    """Where the progress of a label began: done, and by the clock."""

    first: float
    began: float

    def text(
        self,
        label: str,
        done: float,
        total: float | None,
        note: str,
        now: float,
        seconds_left: float | None,
    ) -> str:
        """One line: "training 12% step 12/100  loss 0.6931  about 2 min 10 s left"."""
        if not total:
            note = note or f"{done:,.0f}"
        elif seconds_left is None and done > self.first:
            seconds_left = (now - self.began) * max(0.0, total - done) / (done - self.first)
        share = f" {done / total:.0%}" if total else ""
        text = f"{label}{share} {note}".rstrip()
        is_done = total is not None and 0 < total <= done
        if seconds_left is None or not math.isfinite(seconds_left) or is_done:
            return text
        return f"{text}  about {seconds(seconds_left)} left"


def seconds(value: float) -> str:
    """A duration for people: "42 s", "3 min 05 s", "1 h 02 min"."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def print_result(text: str) -> None:
    """A result, on stdout: what a script may read."""
    print_text(text)
