"""What a person sees while a run goes on: a live line on a terminal, plain lines elsewhere, on stderr; in a job on Vertex AI, entries of its log."""

from __future__ import annotations

import sys
import time
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from trainer.mirror import shown
from trainer.on_vertex import log_entry

PLAIN_COLUMNS = 160
PLAIN_SECONDS = 10.0  # between plain progress lines


class Display:
    """Prints lines, tables and progress.

    Args:
        log: where each is a line of JSON for Cloud Logging, instead.
    """

    def __init__(self, log: IO[str] | None = None) -> None:
        self._log = log
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = PLAIN_COLUMNS
        self._progress: Progress | None = None
        self._last_plain = 0.0
        self.quiet = False  # but for warnings: on several workers, one speaks

    @property
    def live(self) -> bool:
        """Whether progress is a bar, which tells the time left itself."""
        return self.console.is_terminal and self._log is None

    def line(self, text: str, **fields: Any) -> None:
        """One line of news; `fields`, such as step, are for the log."""
        if not self.quiet:
            self._print(text, "INFO", **fields)

    def warn(self, text: str) -> None:
        """One line that should not be missed."""
        self._print(text if self._log else f"warning: {text}", "WARNING", style="yellow")

    def _print(self, text: str, severity: str, *, style: str | None = None, **fields: Any) -> None:
        if self._log:
            self._log.write(log_entry(shown(text), severity=severity, **fields) + "\n")
            self._log.flush()
        else:
            self.console.print(shown(text), markup=False, style=style)

    def table(self, title: str, rows: list[tuple[str, Any]]) -> None:
        """Two columns: names and values."""
        if self.quiet:
            return
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(str(name), str(value))
        if self._log:
            self._print("\n".join([title, *(f"{name}: {value}" for name, value in rows)]), "INFO")
        else:
            self.console.print(table, markup=False)

    def progress(self, label: str, done: float, total: float | None, note: str = "") -> None:
        """Shows how far `label` is. On a terminal a bar; elsewhere a line now and then."""
        if self.quiet:
            return
        if not self.live:
            if time.monotonic() - self._last_plain >= PLAIN_SECONDS:
                self._last_plain = time.monotonic()
                share = f" {done / total:.0%}" if total else ""
                self.line(f"{label}{share} {note}".rstrip(), step=done if label == "training" else None)
            return
        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[note]}"),
                       TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._progress.start()
        tasks = {task.description: task.id for task in self._progress.tasks}
        if label not in tasks:
            tasks[label] = self._progress.add_task(label, total=total, note=note)
        self._progress.update(tasks[label], completed=done, total=total, note=note)

    def fetched(self, done: int, total: int) -> None:
        """Progress of what comes from Cloud Storage, in bytes."""
        self.progress("fetching", done, total, f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        if done >= total:
            self.done("fetching")

    def done(self, label: str | None = None) -> None:
        """Removes the bar of `label`, or every bar."""
        if self._progress is None:
            return
        for task in list(self._progress.tasks):
            if label in (None, task.description):
                self._progress.remove_task(task.id)
        if not self._progress.tasks:
            self._progress.stop()
            self._progress = None


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
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
