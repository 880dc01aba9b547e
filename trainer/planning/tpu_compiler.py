"""The TPU's own compiler, in a process beside this one (trainer/planning/tpu_compile.py)."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping

from trainer.errors import ConfigError
from trainer.planning import tpu_compile
from trainer.planning.generations import Generation

SHOWN_ERROR = 600  # characters


@dataclasses.dataclass(frozen=True)
class Compilation:
    """What the compiler says of one module.

    Attributes:
        seconds: that it took.
        flops: operations of the step.
        bytes: that the step moves.
        memory: in bytes, by what takes it; see trainer/planning/tpu_compile.py.
        error: why it does not compile; None where it does.
    """

    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    memory: Mapping[str, int] = dataclasses.field(default_factory=dict)
    error: str | None = None

    def needed_bytes(self) -> int:
        """The memory of the step; what is both argument and output counts once."""
        parts = ("argument", "output", "temporary", "code")
        return sum(self.memory[part] for part in parts) - self.memory["alias"]


class TpuCompiler:
    """The process that compiles; it is started when it is first needed, and again if it ended.

    Args:
        topology: a slice of the generation that is compiled for.
        errors: a file for what the process says on standard error.
    """

    def __init__(self, topology: str, errors: pathlib.Path) -> None:
        self._topology = topology
        self._errors = errors
        self._process: subprocess.Popen[str] | None = None

    def compile(self, module: pathlib.Path) -> Compilation:
        """Compiles a module; where the compiler aborts its process, that is an error of it too."""
        self._process = self._process or self._start()
        line = _ask(self._process, str(module))
        if line:
            return Compilation(**json.loads(line))
        self.close()
        message = self._errors.read_text(encoding="utf-8", errors="replace").strip()
        return Compilation(error=f"the compiler ended: {message[-SHOWN_ERROR:]}")

    def _start(self) -> subprocess.Popen[str]:
        with self._errors.open("w") as stderr:
            return subprocess.Popen(
                [sys.executable, tpu_compile.__file__, self._topology],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
            )

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _ask(process: subprocess.Popen[str], question: str) -> str:
    """The line that a process answers; "" where it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{question}\n")
        process.stdin.flush()
        return process.stdout.readline()
    except BrokenPipeError:
        return ""


@contextlib.contextmanager
def tpu_compiler(generation: Generation) -> Iterator[TpuCompiler]:
    """The compiler for a generation, as long as it is needed.

    Raises:
        ConfigError: jax or libtpu is not installed.
    """
    missing = [name for name in ("jax", "libtpu") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"plan.tpu: needs {' and '.join(missing)}, which this Python has not. Install them: pip"
            " install jax libtpu (Python 3.11 or newer), or leave plan.tpu out."
        )
    with tempfile.TemporaryDirectory() as folder:
        compiler = TpuCompiler(generation.topology, pathlib.Path(folder, "stderr"))
        try:
            yield compiler
        finally:
            compiler.close()
