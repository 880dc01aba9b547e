"""Runs the entry point in real processes that tests may kill, without paying TensorFlow's import
for each.

Run as a file it imports everything once, then answers requests of {"argv", "log", "environment"},
see `tests.forking`. No TensorFlow op has run before the fork.

There are two of them, which take turns: children of one have its memory's addresses and its hashes
of strings in common, and what goes on, or trains together, has neither.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import pathlib
import pkgutil
import sys

from tests.forking import ForkServer, answer_requests

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Launcher:
    """The other side: used by tests. Children have the environment of when they are started."""

    def __init__(self) -> None:
        servers = [_server(seed) for seed in (1, 2)]
        self._servers = servers
        self._next = itertools.cycle(servers)
        self._server_of: dict[int, ForkServer] = {}

    def start(
        self, *arguments: str, log: pathlib.Path, environment: dict[str, str] | None = None
    ) -> int:
        """Starts `python -m trainer.task ARGUMENTS`; its output goes to `log`.

        Returns its process id.
        """
        server = next(self._next)
        self._last = server.start(
            {
                "argv": ["task.py", *arguments],
                "log": str(log),
                "environment": {**_environment(), **(environment or {})},
            }
        )
        self._server_of[self._last] = server
        return self._last

    def wait(self, process: int | None = None) -> int:
        """The return code of a process, by default of the one started last; -9 after kill -9."""
        process = process or self._last
        return self._server_of[process].wait(process)

    def close(self) -> None:
        """Ends the servers."""
        for server in self._servers:
            server.close()


def _server(seed: int) -> ForkServer:
    environment = {**_environment(), "PYTHONHASHSEED": str(seed)}
    return ForkServer([sys.executable, __file__], cwd=ROOT, env=environment)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
    }


def _child(request: dict) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    from trainer.task import main

    try:
        sys.exit(main(request["argv"]))
    except SystemExit as stop:
        code = stop.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _load_what_runs_need() -> None:
    """All modules, and the tables of BERT's normaliser, which no TensorFlow op makes."""
    import rouge_score.rouge_scorer  # noqa: F401
    import sacrebleu  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import tensorboard.plugins.scalar.summary  # noqa: F401

    import trainer
    from tests.quick_runs import measure_a_small_peak, repeat_requests_soon
    from trainer.text.normalization import Normalization, make_alphabet

    for module in pkgutil.walk_packages(trainer.__path__, "trainer."):
        importlib.import_module(module.name)
    measure_a_small_peak()
    repeat_requests_soon()
    make_alphabet("", Normalization())


if __name__ == "__main__":
    _load_what_runs_need()
    gc.freeze()  # a child then leaves the memory that it shares alone
    answer_requests(_child)
