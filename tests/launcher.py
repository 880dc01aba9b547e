"""Runs the entry point in real processes that tests may kill, without paying TensorFlow's import for each.

Run as a file it imports everything once, then forks a child for each request: one JSON line {"argv", "stdout", "stderr"}
in; the child's process id and, when it ended, its return code out, a line each. No TensorFlow op has run before the fork.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Launcher:
    """The other side: used by tests."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
        self._server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)

    def start(self, *arguments: str, log: pathlib.Path) -> int:
        """Starts `python -m trainer.task ARGUMENTS`; its output goes to `log`. Returns its process id."""
        self._server.stdin.write(json.dumps({"argv": ["task.py", *arguments], "log": str(log)}) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def wait(self) -> int:
        """The return code of the process started last; -9 after kill -9."""
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends the server."""
        self._server.stdin.close()
        self._server.wait(10)


def _child(request: dict) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from trainer.task import main

    try:
        sys.exit(main(request["argv"]))
    except SystemExit as stop:
        code = stop.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # What a run imports.
    from trainer import export, finish, plan, predict, train  # noqa: F401
    from trainer.heads import classification  # noqa: F401
    from trainer.sources import jsonl  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
