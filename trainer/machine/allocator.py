"""Has glibc keep the memory that it was once given.

Else page faults take up to half of the time on a CPU. A step frees what it allocated, and the next
one allocates as much. By default, glibc returns large blocks to the kernel at once, and gets them
back page by page, each cleared anew. Other allocators (tcmalloc, jemalloc, mimalloc) know better,
and musl and macOS have no such settings: all those are left alone, and so is glibc where the
environment says how it is to work.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import re
import sys
from collections.abc import Mapping

# By the environment variable that sets the same: the number in glibc's malloc.h, and the value.
# - One arena: the others lie in heaps of 64 MB, where a larger block has no room, and which are
#   returned once they are empty. On many cores it is no bottleneck: small blocks come from a cache
#   of each thread, without a lock; of large ones a step takes some thousand, a microsecond each.
#   To return and fault in their pages would take a lock of the whole process, and far longer.
# - No block has a mapping of its own, and the heap's end is never returned.
# - The heap grows by 64 MB at a time. Pages that nobody touches take no memory.
SETTINGS = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_MAX_": (-4, 0),
    "MALLOC_TRIM_THRESHOLD_": (-1, -1),  # no end is larger
    "MALLOC_TOP_PAD_": (-2, 64 << 20),
}
# Where the environment has one of these, it decides, and we set nothing.
DECIDED_BY = (*SETTINGS, "MALLOC_ARENA_TEST", "MALLOC_MMAP_THRESHOLD_")
TUNABLE = re.compile(
    r"\bglibc\.malloc\.(arena_max|arena_test|mmap_max|mmap_threshold|top_pad|trim_threshold)="
)
OTHERS = re.compile(r"tcmalloc|jemalloc|mimalloc|hoard|rpmalloc|snmalloc|scalloc|libhugetlbfs")


@functools.cache
def keep_memory() -> str:
    """Sets this process's glibc, once; to be called before TensorFlow allocates.

    Returns:
        which allocator the process has, and how it works: "glibc 2.36 that keeps its memory",
        "tcmalloc", "glibc 2.36 as MALLOC_ARENA_MAX says", …
    """
    libc = ctypes.CDLL(None)
    other = _other(libc)
    if other is not None:
        return other
    libc.gnu_get_libc_version.restype = ctypes.c_char_p
    glibc = f"glibc {libc.gnu_get_libc_version().decode()}"
    decided_by = _decided(os.environ)
    if decided_by is not None:
        return f"{glibc} as {decided_by} says"
    accepted = [libc.mallopt(parameter, value) for parameter, value in SETTINGS.values()]
    return f"{glibc} that keeps its memory" if all(accepted) else f"{glibc} as it comes"


def release_memory() -> None:
    """Returns to the kernel what is free now: between phases of a run, of which one needs less."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # which works on glibc's own memory alone
        libc.malloc_trim(0)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment, with the same settings, of a process that has none of our code."""
    if _decided(variables) is not None:
        return dict(variables)
    # A process of musl or macOS does not look at them, nor does another allocator.
    ours = {name: str(value) for name, (_, value) in SETTINGS.items()}
    return {**variables, **ours}


def _decided(variables: Mapping[str, str]) -> str | None:
    """The variable by which the environment says how glibc is to work."""
    for name in DECIDED_BY:
        if variables.get(name):
            return name
    tunable = TUNABLE.search(variables.get("GLIBC_TUNABLES", ""))
    return f"GLIBC_TUNABLES ({tunable[1]})" if tunable else None


class _Symbol(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _other(libc: ctypes.CDLL) -> str | None:
    """The name of the allocator, where it is not glibc's own."""
    if not hasattr(libc, "gnu_get_libc_version"):
        return f"that of {sys.platform}" if sys.platform != "linux" else "musl"
    symbol = _Symbol()
    malloc = ctypes.cast(libc.malloc, ctypes.c_void_p)
    is_found = libc.dladdr(malloc, ctypes.byref(symbol))
    if not is_found or not symbol.file:
        return "unknown"
    file = os.fsdecode(symbol.file)
    file_name = pathlib.PurePath(file).name
    if re.match(r"libc[.-]", file_name):
        return None
    known = OTHERS.search(file)
    return known[0] if known else file_name
