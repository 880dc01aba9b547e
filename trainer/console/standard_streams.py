"""Standard input, output and error: closed, full, or with nobody who reads any more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO

from trainer.errors import UserError

READER_GONE_CODE = 141  # 128 + SIGPIPE, as of programs that the signal ends
# Characters written at once: a pipe takes 4,096 bytes whole or not at all, and of an unbuffered
# stream (PYTHONUNBUFFERED) Python drops without a word what was not taken.
PIECE = 1000
NAMES = ("stdin", "stdout", "stderr")


class ReaderGoneError(Exception):
    """Nobody reads any more what is written, such as after `| head -1`."""


class OutputError(UserError):
    """Standard output, or what --output names, cannot be written."""


def open_closed() -> frozenset[str]:
    """Opens the null device for standard streams that are closed.

    Else the next file that is opened gets the number of one, and whatever a library prints goes
    into that file.

    Returns:
        the names of those that were closed.
    """
    closed = set()
    for number, name in enumerate(NAMES):
        try:
            os.fstat(number)
        except OSError:
            closed.add(name)
            # the lowest number that is free: this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            mode = "r" if name == "stdin" else "w"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    return frozenset(closed)


class Output:
    """Text that goes to someone else at once; what the system refuses is one line.

    Args:
        stream: where it goes, looked up at each write: tests and terminals replace standard output.
        name: what messages call it.
    """

    def __init__(self, stream: Callable[[], IO[str]], name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        """Writes, perhaps only into a buffer.

        Raises ReaderGoneError, and OutputError where the disk is full.
        """
        for start in range(0, len(text), PIECE):
            with self._refusals():
                self._stream().write(text[start : start + PIECE])
        return len(text)

    def flush(self) -> None:
        """Lets go what is in the buffer; raises as `write` does."""
        with self._refusals():
            self._stream().flush()

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise ReaderGoneError from None
        except OSError as error:
            raise OutputError(
                f"{self._name} cannot be written: {error.strerror}. What was to be written there is"
                " lost; give a place with room for it, and start again."
            ) from None


def standard_output() -> Output:
    """Standard output; what is written there should be flushed."""
    return Output(lambda: sys.stdout, "standard output")


def print_text(text: str) -> None:
    """Prints a text and a line end on standard output at once; raises as `Output` does."""
    output = standard_output()
    encoding = sys.stdout.encoding or "utf-8"
    # a terminal may have no …
    output.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    output.flush()


def give_up() -> None:
    """Sends what is still to be written to nowhere.

    Else the interpreter's end would meet the same error.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError, ReaderGoneError, OutputError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)


def say(text: str, stream: IO[str] | None = None) -> None:
    """Prints a line on standard error, where there is anybody to read it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=stream or sys.stderr, flush=True)
