"""The machine under a run, as far as its speed and its memory depend on it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import platform
import re

from trainer.machine.allocator import keep_memory

CPU_INFO = pathlib.Path("/proc/cpuinfo")
# Limits of the container, of versions 2 and 1 of cgroups; without a limit "max" or a huge number.
CGROUP_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
# Of the vector instructions, what a matrix product's speed depends on; the best first.
VECTOR_FLAGS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}


MODEL_LINE = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)
FLAGS_LINE = re.compile(r"^(?:flags|Features)\s*:\s*(.+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Machine:
    """What results.json says of it.

    Attributes:
        processor: its model, and its best vector instructions.
        cores: that this process may use.
        memory_gb: that this process may use, in 10^9 bytes; None where the system does not say.
        allocator: of this process's memory; see trainer/machine/allocator.py.
    """

    processor: str
    cores: int
    memory_gb: float | None
    allocator: str

    def __str__(self) -> str:
        memory = "" if self.memory_gb is None else f", {self.memory_gb:.0f} GB"
        return f"{self.cores} x {self.processor}{memory}; {self.allocator}"


def this_machine() -> Machine:
    """What this process runs on."""
    memory = memory_bytes()
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_gb=None if memory is None else round(memory / 1e9, 1),
        allocator=keep_memory(),
    )


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory that this process may use: the machine's, or less in a container that has a limit."""
    limits = [limit for limit in map(_limit, CGROUP_LIMITS) if limit is not None]
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _limit(file: pathlib.Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _processor() -> str:
    """The processor's model and its best vector instructions."""
    try:
        cpu_info = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    model_line = MODEL_LINE.search(cpu_info)
    model = model_line[1].strip() if model_line else platform.machine()
    flags_line = FLAGS_LINE.search(cpu_info)
    flags = flags_line[1].split() if flags_line else []
    for flag, instructions in VECTOR_FLAGS.items():
        if flag in flags:
            return f"{model} ({instructions})"
    return model
