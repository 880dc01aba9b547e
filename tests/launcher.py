"""Runs the entry point in real processes that tests may kill, without paying TensorFlow's import for each.

Run as a file it imports everything once, then answers requests, a JSON line each: {"argv", "log", "environment"} forks a
child and gives its process id, {"wait": process id} its return code. No TensorFlow op has run before the fork.
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

    def start(self, *arguments: str, log: pathlib.Path, environment: dict[str, str] | None = None) -> int:
        """Starts `python -m trainer.task ARGUMENTS`; its output goes to `log`. Returns its process id."""
        self._last = int(self._ask({"argv": ["task.py", *arguments], "log": str(log), "environment": environment or {}}))
        return self._last

    def wait(self, process: int | None = None) -> int:
        """The return code of a process, by default of the one started last; -9 after kill -9."""
        return int(self._ask({"wait": process or self._last}))

    def _ask(self, request: dict) -> str:
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def close(self) -> None:
        """Ends the server."""
        self._server.stdin.close()
        self._server.wait(10)


def _child(request: dict) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["environment"])
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
        asked = json.loads(line)
        if "wait" in asked:
            print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _child(asked)
        print(pid, flush=True)
