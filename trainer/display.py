"""What a person sees while a run goes on: a live line on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

PLAIN_COLUMNS = 160
PLAIN_SECONDS = 10.0  # between plain progress lines


class Display:
    """Prints lines, tables and progress."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = PLAIN_COLUMNS
        self._progress: Progress | None = None
        self._last_plain = 0.0
        self.quiet = False  # but for warnings: on several workers, one speaks

    def line(self, text: str) -> None:
        """One line of news."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that should not be missed."""
        self.console.print(f"warning: {text}", markup=False, style="yellow")

    def table(self, title: str, rows: list[tuple[str, Any]]) -> None:
        """Two columns: names and values."""
        if self.quiet:
            return
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(str(name), str(value))
        self.console.print(table, markup=False)

    def progress(self, label: str, done: float, total: float | None, note: str = "") -> None:
        """Shows how far `label` is. On a terminal a bar; elsewhere a line now and then."""
        if self.quiet:
            return
        if not self.console.is_terminal:
            if time.monotonic() - self._last_plain >= PLAIN_SECONDS:
                self._last_plain = time.monotonic()
                share = f" {done / total:.0%}" if total else ""
                self.line(f"{label}{share} {note}".rstrip())
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
