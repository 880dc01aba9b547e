"""What the benchmarks share: systems that take turns, their ratios, and the machine."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "benchmarks"
ALLOCATOR = "libtcmalloc_minimal.so.4"  # Debian: libtcmalloc-minimal4


def environment(
    allocator: str | None = None, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Of a system's process.

    Args:
        allocator: a library to preload; None: as it comes.
        more: variables.
    """
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **(more or {})}
    if allocator:
        variables["LD_PRELOAD"] = allocator
    return variables


def run(
    command: Sequence[str], folder: pathlib.Path | None = None, *, allocator: str | None = None
) -> tuple[str, int]:
    """Runs a process; its standard output and its peak memory in MB."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=errors,
            cwd=folder or ROOT,
            env=environment(allocator),
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-3000:]}")
        return output.read(), round(usage.ru_maxrss / 1024)


class Child:
    """A process that answers JSON lines; stopped while it is not asked, so that no thread of it
    spins beside another's.
    """

    def __init__(
        self, command: Sequence[str], *, variables: Mapping[str, str] | None = None
    ) -> None:
        # open as long as the process
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(more=variables),
        )
        self._read()  # ready
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, request: dict) -> dict:
        """Its answer."""
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._read())
        self._process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            sys.exit(f"{' '.join(self._process.args)} failed:\n{self._errors.read()[-3000:]}")
        return line


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times mine is theirs, turn by turn: the median, the least and the most.

    Of five turns the true median lies between the two with a probability of 94 %, whatever the
    distribution.
    """
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return {
        "median": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


def shown(found: dict[str, float]) -> str:
    """A ratio for people."""
    return f"{found['median']:.2f} ({found['least']:.2f} to {found['most']:.2f})"


def require(found: dict[str, float], least: float | None, what: str) -> None:
    """Ends the process where a ratio has fallen.

    Args:
        found: of `ratio`.
        least: that its median must reach; None: any will do.
        what: the ratio is of.
    """
    if least is not None and found["median"] < least:
        sys.exit(f"{what}: expected at least {least:g} times. Measured {shown(found)}")


def keep(name: str, facts: dict) -> None:
    """Writes docs/benchmarks/NAME.json, which the page and its plots are made of."""
    from trainer.machine.hardware import this_machine

    RESULTS.mkdir(exist_ok=True)
    content = {"machine": str(this_machine()), **facts}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
