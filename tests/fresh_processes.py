"""Fresh processes for the proofs of exports, without paying TensorFlow's import for each.

Run as a file it imports what `trainer.serve.prove` does and nothing else, then forks a child for
each request, a JSON line of {"arguments", "errors"}, and answers with its return code. No
TensorFlow op has run before the fork.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence


def run_forked(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """As `trainer.serve.proof.run_fresh`."""
    server = _server()
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as errors:
        request = {"arguments": list(arguments), "errors": errors.name}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(list(arguments), code, "", errors.read())


@functools.cache
def _server() -> subprocess.Popen:
    from trainer.serve import proof, prove

    server = subprocess.Popen(
        [sys.executable, "-I", __file__, prove.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=proof._cpu_environment(os.environ),
    )
    atexit.register(server.stdin.close)
    return server


def _serve(program: str) -> None:
    prove = runpy.run_path(program)
    prove["forbid_imports"]()
    prove["load_text_ops"]()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            errors = os.open(request["errors"], os.O_WRONLY)
            os.dup2(errors, 2)
            sys.argv = [program, *request["arguments"]]
            runpy.run_path(program, run_name="__main__")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
