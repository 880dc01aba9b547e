"""Whose the files of a job_dir are, and copies of them for the case that they are removed while a
run goes on.
"""

from __future__ import annotations

import fnmatch
import json
import os
import pathlib
import re
from collections.abc import Iterable

from trainer.errors import JobDirError, shown_name
from trainer.files import mirror
from trainer.files.writing import atomic_write, write_text

MARKER = ".podtune"
METRICS = "metrics.jsonl"
# What runs write there, and would overwrite.
FILES = (
    "config.yaml",
    "plan.json",
    "ledger.json",
    METRICS,
    "results.json",
    "results_other_data.json",
    "vocabulary.json",
    "calibration.json",
    ".data",
    ".checksums.json",
)
CHECKPOINT = "step_[0-9]*"
NAMES_SHOWN = 3
COPIED_BYTES = 64 << 20  # of one file
# of a config.yaml of ours, before there were markers
RESOLVED_LINE = re.compile(r"\w+:|  \w+: .*  # .+")


def require_own(folder: pathlib.Path, checkpoints: pathlib.Path, logs: pathlib.Path) -> None:
    """Refuses a folder that is no job_dir and holds files by the names that a run writes.

    Raises:
        JobDirError: names them; or something is in the way of a file or folder of the job.
    """
    for path in (folder, checkpoints, logs, *(folder / name for name in FILES)):
        wants_file = path.parent == folder and path.name in FILES
        if os.path.lexists(path) and not (path.is_file() if wants_file else path.is_dir()):
            kind, other = ("file", "something else") if wants_file else ("folder", "a file")
            raise JobDirError(
                f"--job_dir={_shown(folder)}: {_shown(path)} should be a {kind} of the run, and is"
                f" {other}. Give another --job_dir."
            )
    if is_job_dir(folder):
        return
    there = [name for name in FILES if (folder / name).exists()]
    there += [
        f"{checkpoints.name}/{name}"
        for name in sorted(_folders(checkpoints))
        if fnmatch.fnmatchcase(name, CHECKPOINT)
    ]
    if there:
        more = f" and {len(there) - NAMES_SHOWN} more" if len(there) > NAMES_SHOWN else ""
        raise JobDirError(
            f"--job_dir={_shown(folder)} holds"
            f" {', '.join(map(shown_name, there[:NAMES_SHOWN]))}{more}, which no run of podtune"
            " wrote there: a run would overwrite that. Give another --job_dir, such as a new"
            " folder in this one."
        )


def _folders(path: pathlib.Path) -> set[str]:
    """The names of the folders in one; where it stands for one in a bucket, what an earlier run has
    left here does not count.
    """
    if mirror.url_of(path) is not None:
        return {name.split("/")[0] for name in mirror.names_there(path) if "/" in name}
    return {child.name for child in path.iterdir() if child.is_dir()} if path.is_dir() else set()


def is_job_dir(folder: pathlib.Path) -> bool:
    """Whether a run of ours has begun there."""
    return (
        (folder / MARKER).is_file()
        or _is_resolved_config(folder / "config.yaml")
        or _is_plan(folder / "plan.json")
    )


def mark(folder: pathlib.Path) -> None:
    """Notes that it is a job_dir."""
    if not (folder / MARKER).is_file():
        write_text(
            folder / MARKER,
            "The job_dir of a run of podtune, which writes and replaces its files here.\n",
        )


def _is_resolved_config(file: pathlib.Path) -> bool:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return bool(lines) and "head:" in lines and all(RESOLVED_LINE.fullmatch(line) for line in lines)


def _is_plan(file: pathlib.Path) -> bool:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"splits", "steps", "memory"} <= set(value)


class Copies:
    """What the small files of a job_dir hold, so that they can be written anew where someone
    removes them.

    Args:
        folder: the job_dir.
        names: of the files.
    """

    def __init__(self, folder: pathlib.Path, names: Iterable[str] = (*FILES, MARKER)) -> None:
        self._folder = folder
        self._contents = {
            name: (folder / name).read_bytes()
            for name in names
            if name != METRICS
            and (folder / name).is_file()
            and (folder / name).stat().st_size <= COPIED_BYTES
        }

    def add(self, name: str, content: bytes) -> None:
        """Keeps the content of one more."""
        self._contents[name] = content

    def restore(self, *, ask: bool = False) -> list[str]:
        """Writes anew those that are missing; their names.

        With `ask`, those that the bucket has lost too.
        """
        there = (
            mirror.names_there(self._folder)
            if ask and mirror.url_of(self._folder)
            else set(self._contents)
        )
        missing = [
            name
            for name in self._contents
            if name not in there or not (self._folder / name).is_file()
        ]
        for name in missing:
            with atomic_write(self._folder / name, "wb") as file:
                file.write(self._contents[name])
        return missing


def _shown(path: pathlib.Path) -> str:
    return shown_name(mirror.shown(path), 300)
