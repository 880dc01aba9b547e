"""SIGTERM and SIGINT: finish the step, save a checkpoint, exit so that the platform starts the job again."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class StoppedError(Exception):
    """Ends an evaluation after a signal."""


class StopSignal:
    """Notes that the process should stop. Outside the loop, where there is nothing to save, it stops at once."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._in_loop = False

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    def listen(self) -> None:
        """Takes the signals over; a second one stops at once."""
        for number in EXIT_CODES:
            signal.signal(number, self._receive)

    def __enter__(self) -> StopSignal:
        """From here on a signal waits for the loop to look."""
        self._in_loop = True
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop = False

    def leave(self, line: str) -> NoReturn:
        """Exits with the signal's code."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        sys.exit(EXIT_CODES[signal.Signals(self._received or signal.SIGTERM)])

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self._received = self.requested, number
        if again or not self._in_loop:
            self.leave("stopped by a signal; finished work is kept, start again to go on")
