"""Processes that import once and fork a child for each request: both sides.

A request is a JSON line; {"wait": process id} is answered with that child's return code, any other
one forks a child and is answered with its process id. Nothing here imports more than Python has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

Request = Mapping[str, object]


class ForkServer:
    """The side that asks."""

    def __init__(self, program: Sequence[str], **options: object) -> None:
        """Starts the other side; `options` are those of `subprocess.Popen`."""
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )

    def start(self, request: Request) -> int:
        """The process id of a child."""
        return self._ask(request)

    def wait(self, process: int) -> int:
        """The return code of a child; -9 after kill -9."""
        return self._ask({"wait": process})

    def close(self) -> None:
        """Ends the server."""
        self._process.stdin.close()
        self._process.wait(10)

    def _ask(self, request: Request) -> int:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def answer_requests(child: Callable[[Request], None]) -> None:
    """The side that forks: until no more is asked.

    Args:
        child: what a child does with a request; it has ended when this returns.
    """
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif (answer := os.fork()) == 0:
            child(request)
            os._exit(0)
        print(answer, flush=True)
