"""Tells a tracker in a thread what a run logs, so that the run waits for none."""

from __future__ import annotations

import json
import pathlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from trainer.run.trackers import module_of
from trainer.run.trackers.notes import Noted, Notes
from trainer.run.trackers.reasons import shown_reason
from trainer.run.trackers.tracker import Ending, Point, TrackedRun, Tracker

PAUSE_SECONDS = 2.0  # between looks at metrics.jsonl
Extra: TypeAlias = Mapping[tuple[str, int], Mapping[str, float]]


class Feed:
    """Follows metrics.jsonl, and tells one tracker what is new there.

    The file is the truth: what a tracker was not told, because it failed or is new, it is told at
    the end of the run, or when the run goes on. The thread ends with the process, whatever the
    tracker does.

    Args:
        name: of the tracker.
        run: what to show of the run.
        metrics_file: metrics.jsonl of the run.
        extra: by split and step, what is not in that file.
        notes: up to where the tracker was told.
        warn: says what is wrong.
    """

    def __init__(
        self,
        name: str,
        run: TrackedRun,
        metrics_file: pathlib.Path,
        extra: Extra,
        notes: Notes,
        warn: Callable[[str], None],
    ) -> None:
        self.name = name
        self._run = run
        self._metrics_file = metrics_file
        self._extra = extra
        self._notes = notes
        self._warn = warn
        self._tracker: Tracker | None = None
        self._told = notes.of(name)
        self._steps = dict(self._told.steps)  # by split, the last one that was read
        self._unsent: list[Point] = []
        self._read_bytes = 0
        self._ending: Ending | None = None
        self._readable_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether the tracker has begun the run, or goes on with it."""
        return self._tracker is not None

    def start(self) -> None:
        """Has the tracker open the run, which takes seconds."""
        self._thread.start()

    def may_read(self, size: int) -> None:
        """Lets it read so many bytes of metrics.jsonl, which hold all lines of each step."""
        self._readable_bytes = size

    def end(self, ending: Ending) -> None:
        """Has the tracker be told the rest, and the end."""
        self._ending = ending
        self._ended.set()

    def wait_until(self, deadline: float) -> bool:
        """Whether that is done by then, a time of `time.monotonic`."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _work(self) -> None:
        failed = self._failure_of(self._follow)
        if failed is not None:
            self._warn(
                f"{self.name}: {failed}. The run goes on without it; what it misses it is told at"
                " the end."
            )
        self._ended.wait()
        failed = self._failure_of(self._conclude)
        if failed is not None:
            self._warn(
                f"{self.name}: {failed}. What it misses is in {self._metrics_file.name}, and it is"
                " told when the run is started again, or evaluated."
            )

    def _failure_of(self, attempt: Callable[[], None]) -> str | None:
        """Why an attempt failed; None where it did not."""
        try:
            attempt()
        except (Exception, SystemExit) as error:  # of any kind: it is another's code
            return shown_reason(error)
        return None

    def _follow(self) -> None:
        """Until the end."""
        tracker = self._opened()
        while not self._ended.wait(PAUSE_SECONDS):
            self._send(tracker, self._readable_bytes)

    def _conclude(self) -> None:
        tracker = self._opened()
        self._send(tracker)
        if self._ending is not None:
            tracker.finish(self._ending)

    def _opened(self) -> Tracker:
        """The tracker, with the run that it is to log."""
        if self._tracker is None:
            # here, as it imports a package, which takes seconds
            tracker: Tracker = module_of(self.name).open_tracker()
            run_id = tracker.start(self._run, self._told.run)
            if run_id != self._told.run:
                self._told = Noted(run_id, {})
                self._steps = {}
                self._notes.write(self.name, self._told)
            self._tracker = tracker
        return self._tracker

    def _send(self, tracker: Tracker, size: int | None = None) -> None:
        """Tells what is in that much of the file, or all of it, and was not told.

        It is noted first: a run that is killed between the two must not tell it twice. What a
        tracker failed to take is sent again as the same points: it may have taken it after all.
        """
        steps = self._read(size)
        if not self._unsent:
            return
        self._notes.write(self.name, Noted(self._told.run, steps))
        try:
            tracker.log(self._unsent)
        except BaseException:
            self._notes.write(self.name, self._told)
            raise
        self._told = Noted(self._told.run, steps)
        self._unsent = []

    def _read(self, size: int | None) -> Mapping[str, int]:
        """Adds to the points to send; by split, the last step that is told once they are.

        A run that was killed repeats the steps since its last checkpoint: those are left out.
        """
        lines, self._read_bytes = _new_lines(self._metrics_file, self._read_bytes, size)
        for line in lines:
            split, step = str(line.pop("split")), int(line.pop("step"))
            if step > self._steps.get(split, -1):
                values = {**line, **self._extra.get((split, step), {})}
                self._unsent.append(Point(step, _under(split, values), time.time()))
                self._steps[split] = step
        return dict(self._steps)


def _new_lines(
    file: pathlib.Path, begin: int, end: int | None
) -> tuple[list[dict[str, float]], int]:
    """The objects of the whole lines from a place on, to another or the end, and where that is."""
    try:
        with file.open("rb") as opened:
            opened.seek(begin)
            content = opened.read(-1 if end is None else max(0, end - begin))
    except FileNotFoundError:  # removed: the run writes it anew
        return [], begin
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], begin + len(whole)


def _under(split: str, values: Mapping[str, float | None]) -> dict[str, float]:
    """Values as train/loss; what was no number is left out."""
    return {f"{split}/{name}": value for name, value in values.items() if value is not None}
