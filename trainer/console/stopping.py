"""SIGTERM, SIGINT and a cloud's preemption notice end a run so that it can go on.

The step is finished, a checkpoint is saved, and the exit code has the platform start the job again.
"""

from __future__ import annotations

import http.client
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from trainer.console import standard_streams

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
# What Google Compute Engine (and Vertex AI on it) sets before it takes a machine away, and to what.
NOTICES = {
    "instance/preempted": "TRUE",
    "instance/maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE",
}
NOTICE_POLL_SECONDS = 60
NOTICE_RETRY_SECONDS = 5.0


class StoppedError(Exception):
    """Ends an evaluation after a signal."""


class StopSignal:
    """Notes that the process should stop.

    Outside the loop, where there is nothing to save, it stops at once.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._in_loop = False
        self.say: Callable[[str], None] = standard_streams.say  # the last line

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    def listen(self) -> None:
        """Takes the signals over; a second SIGINT stops at once.

        In a thread that is not the main one, such as of a notebook's server, none arrives.
        """
        _handle(self._receive)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Inside, a signal ends the process at once, as it would without us.

        Afterwards the signals are ours again.
        """
        _handle(signal.SIG_DFL)
        yield
        self.listen()

    def watch_for_preemption(self) -> None:
        """On Google's machines, takes the notice before a preemption for a SIGTERM."""
        if (host := metadata_host()) is None:
            return
        for path, notice in NOTICES.items():
            threading.Thread(
                target=self._watch, args=(host, path, notice), name=f"watch {path}", daemon=True
            ).start()

    def _watch(self, host: str, path: str, notice: str) -> None:
        """Waits until the machine's metadata has the notice, and sends SIGTERM then."""
        last_etag = None
        while not self.requested:
            try:
                response, content = _metadata(host, path, last_etag)
            except (OSError, http.client.HTTPException):
                time.sleep(NOTICE_RETRY_SECONDS)
                continue
            if response.status == http.client.NOT_FOUND:
                return  # this machine cannot be preempted
            is_told = response.status == http.client.OK and content == notice
            # Maintenance is announced an hour ahead: a job that was started again since then should
            # get on with it.
            is_old = last_etag is None and path.endswith("maintenance-event")
            if is_told and not is_old:
                if not self.requested:
                    os.kill(os.getpid(), signal.SIGTERM)
                return
            last_etag = response.headers.get("ETag", "0")

    def __enter__(self) -> StopSignal:
        """From here on a signal waits for the loop to look."""
        self._in_loop = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The loop is over; a signal that came too late for it is obeyed now."""
        self._in_loop = False
        if kind is None and self.requested:
            self.leave(
                "stopped by a signal after the last step; the checkpoint is written, start again to"
                " evaluate and export"
            )

    def leave(self, line: str) -> NoReturn:
        """Exits with the signal's code."""
        self.say(line)
        sys.exit(EXIT_CODES[signal.Signals(self._received or signal.SIGTERM)])

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = self.requested
        self._received = number
        # platforms send SIGTERM more than once; only a person is in a hurry
        if not self._in_loop or (again and number == signal.SIGINT):
            self.leave("stopped by a signal; finished work is kept, start again to go on")


def _metadata(host: str, path: str, last_etag: str | None) -> tuple[http.client.HTTPResponse, str]:
    """A value of the machine's metadata.

    After the first time, it comes once it has changed or a minute has passed.

    Args:
        host: that tells it.
        path: of the value.
        last_etag: of the answer before; None the first time.
    """
    wait = ""
    if last_etag is not None:
        wait = f"?wait_for_change=true&timeout_sec={NOTICE_POLL_SECONDS}&last_etag={last_etag}"
    connection = http.client.HTTPConnection(host, timeout=2 * NOTICE_POLL_SECONDS)
    address = f"/computeMetadata/v1/{path}{wait}"
    connection.request("GET", address, headers={"Metadata-Flavor": "Google"})
    response = connection.getresponse()
    return response, response.read().decode().strip()


def _handle(handler: signal.Handlers | Callable[[int, FrameType | None], None]) -> None:
    """Sets what happens on each signal, in the thread that may."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in EXIT_CODES:
        signal.signal(number, handler)


def metadata_host() -> str | None:
    """Where a Google machine tells what will become of it; None elsewhere.

    GCE_METADATA_HOST and NO_GCE_CHECK as in Google's libraries.
    """
    if host := os.environ.get("GCE_METADATA_HOST"):
        return host
    if os.environ.get("NO_GCE_CHECK", "").lower() == "true":
        return None
    try:
        product = pathlib.Path("/sys/class/dmi/id/product_name").read_text(encoding="utf-8")
    except OSError:
        return None
    return "metadata.google.internal" if "Google" in product else None
