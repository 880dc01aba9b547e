"""Fresh processes for the proofs of exports, without paying TensorFlow's import for each.

Run as a file it imports what `trainer.serve.prove` does and nothing else, then answers requests of
{"arguments", "errors"}, see `tests.forking`. No TensorFlow op has run before the fork.
"""

from __future__ import annotations

import atexit
import functools
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.forking import ForkServer


def run_forked(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """As `trainer.serve.proof.run_fresh`."""
    server = _server()
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as errors:
        process = server.start({"arguments": list(arguments), "errors": errors.name})
        return subprocess.CompletedProcess(list(arguments), server.wait(process), "", errors.read())


@functools.cache
def _server() -> ForkServer:
    from tests.forking import ForkServer
    from trainer.serve import proof, prove

    server = ForkServer(
        [sys.executable, "-I", __file__, prove.__file__], env=proof._cpu_environment(os.environ)
    )
    atexit.register(server.close)
    return server


def _serve(program: str) -> None:
    forking = runpy.run_path(str(pathlib.Path(__file__).with_name("forking.py")))
    prove = runpy.run_path(program)
    prove["forbid_imports"]()
    prove["load_text_ops"]()

    def child(request: dict) -> None:
        errors = os.open(request["errors"], os.O_WRONLY)
        os.dup2(errors, 2)
        sys.argv = [program, *request["arguments"]]
        runpy.run_path(program, run_name="__main__")

    forking["answer_requests"](child)


if __name__ == "__main__":
    _serve(sys.argv[1])
