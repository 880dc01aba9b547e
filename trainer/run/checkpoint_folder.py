"""The folder of one checkpoint: its name, and which of the files there are ours."""

from __future__ import annotations

import fnmatch
import pathlib
import re
import shutil
from collections.abc import Iterable

from trainer.files import mirror

STATE_FILE = "state.json"
WEIGHTS = "weights"  # of TensorFlow's files, the beginning of the name
# What a checkpoint's folder holds, also while it is written.
OURS = (STATE_FILE, ".state.json.*", "weights.index", "weights.data-*", "weights_temp*", ".*.part")


def folder_of(checkpoints: pathlib.Path, step: int) -> pathlib.Path:
    """The folder of the checkpoint of a step."""
    return checkpoints / f"step_{step:08d}"


def step_of(folder: pathlib.Path) -> int | None:
    """The step that a checkpoint's folder is of; None for any other folder, such as a copy."""
    match = re.fullmatch(r"step_(\d{8,})", folder.name)
    return int(match[1]) if match else None


def foreign(names: Iterable[str]) -> set[str]:
    """Of the names in a checkpoint's folder those that are not ours, such as notes."""
    return {name for name in names if not _is_ours(name)}


def _is_ours(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in OURS)


def has_foreign_files(folder: pathlib.Path) -> bool:
    """Whether someone has put something there."""
    return bool(foreign(mirror.names(folder)))


def remove(folder: pathlib.Path) -> None:
    """Makes a checkpoint invisible, then removes it; what someone has put there stays."""
    mirror.remove(folder, first=(STATE_FILE,), but=foreign(mirror.names(folder)))


def remove_here(folder: pathlib.Path) -> None:
    """Removes what was half written, on this machine only; what someone has put there stays."""
    names = mirror.names_here(folder)
    kept = foreign(names)
    for name in names - kept:
        (folder / name).unlink(missing_ok=True)
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
