"""The memory of a process that runs many tests."""

from __future__ import annotations

import gc
import pathlib
import resource

STATM = pathlib.Path("/proc/self/statm")
MUCH_BYTES = 200 << 20
_after_last = 0


def taken() -> int:
    """Bytes of this process; 0 where the system does not say."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def collect_where_much_was_taken() -> None:
    """Looks for garbage, if the process has grown since it did so last."""
    global _after_last
    if taken() - _after_last >= MUCH_BYTES:
        gc.collect()
        _after_last = taken()
