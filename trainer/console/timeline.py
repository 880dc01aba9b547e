"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = (
    "startup_s",
    "prepare_s",
    "compile_s",
    "train_s",
    "input_wait_s",
    "evaluate_s",
    "checkpoint_s",
    "export_s",
)


class Timeline:
    """Seconds by phase; at any moment exactly one phase runs, so that they sum to the whole."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._phase = "startup_s"
        self._since = time.monotonic()

    def enter(self, phase: str) -> None:
        """From now on the time goes to `phase`."""
        now = time.monotonic()
        self._spent[self._phase] += now - self._since
        self._phase = phase
        self._since = now

    @contextmanager
    def inside(self, phase: str) -> Iterator[None]:
        """The block's time goes to `phase`, then again to the one before."""
        before = self._phase
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def move(self, seconds: float, phase: str) -> None:
        """Of the running phase's time, `seconds` were spent on `phase`."""
        self._spent[self._phase] -= seconds
        self._spent[phase] += seconds

    def add(self, spent: dict[str, float]) -> None:
        """Adds what earlier processes of the same run spent."""
        for phase, seconds in spent.items():
            self._spent[phase] += seconds

    def seconds(self, phase: str) -> float:
        """What `phase` took so far."""
        running = time.monotonic() - self._since if phase == self._phase else 0.0
        return self._spent[phase] + running

    def as_dict(self) -> dict[str, float]:
        """Seconds of every phase, to the millisecond."""
        return {phase: round(self.seconds(phase), 3) for phase in PHASES}
