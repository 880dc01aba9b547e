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
    limits = [limit for file in CGROUP_LIMITS if (limit := _limit(file)) is not None]
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
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    vectors = next((name for flag, name in VECTOR_FLAGS.items() if flag in known), None)
    name = model[1].strip() if model else platform.machine()
    return f"{name} ({vectors})" if vectors else name
