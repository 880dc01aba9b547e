"""Whose the files of a job_dir are, and copies of them, as they may be removed during a run."""

from __future__ import annotations

import fnmatch
import json
import os
import pathlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from trainer.errors import JobDirError, shown_name
from trainer.files import mirror
from trainer.files.writing import atomic_write, write_text

MARKER = ".podtune"
MARKER_TEXT = "The job_dir of a run of podtune, which writes and replaces its files here.\n"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.jsonl"
OTHER_PREDICTIONS = "predictions_other_data.jsonl"
REPORT_PAGE = "report.html"
REPORT_JSON = "report.json"
SUSPECTS = "suspects.jsonl"
BASELINES = "baselines.json"
EXPLANATIONS = "explanations.json"
ROBUSTNESS = "robustness.json"
NEAR_DUPLICATES = "near_duplicates.json"
PROBE = "probe.json"
POSITIONS = "loss_by_position.json"
BEHAVIOUR = "behaviour.json"
# of the answers to each example: written at the end, and replaced by the next evaluation
EVIDENCE = (
    PREDICTIONS,
    OTHER_PREDICTIONS,
    REPORT_PAGE,
    REPORT_JSON,
    SUSPECTS,
    BASELINES,
    EXPLANATIONS,
    ROBUSTNESS,
    NEAR_DUPLICATES,
    PROBE,
    POSITIONS,
    BEHAVIOUR,
)
# What runs write there, and would overwrite.
FILES = (
    "config.yaml",
    "plan.json",
    "ledger.json",
    METRICS,
    *EVIDENCE,
    "results.json",
    "results_other_data.json",
    "vocabulary.json",
    "calibration.json",
    "trackers.json",
    ".data",
    ".checksums.json",
)
CHECKPOINT = "step_[0-9]*"
NAMES_SHOWN = 3
GENERATOR = '<meta name="generator" content="podtune">'  # of a page
BEGINNINGS = {".jsonl": b'{"split": "', ".json": b'{\n  "format": '}
LOOKED_AT_BYTES = 1 << 10
COPIED_BYTES = 64 << 20  # of one file
# of a config.yaml of ours, before there were markers
RESOLVED_LINE = re.compile(r"\w+:|  \w+: .*  # .+")


def require_own(folder: pathlib.Path, checkpoints: pathlib.Path, logs: pathlib.Path) -> None:
    """Refuses a folder that is no job_dir and holds files by the names that a run writes.

    Args:
        folder: the job_dir that is asked for.
        checkpoints, logs: its folders, which may be elsewhere.
    Raises:
        JobDirError: names them; or something is in the way of a file or folder of the job.
    """
    for path in (folder, checkpoints, logs):
        if os.path.lexists(path) and not path.is_dir():
            raise _in_the_way(folder, path, "folder", "a file")
    for name in FILES:
        path = folder / name
        if os.path.lexists(path) and not path.is_file():
            raise _in_the_way(folder, path, "file", "something else")
    if is_job_dir(folder):
        _require_own_evidence(folder)
        return
    names = [name for name in FILES if (folder / name).exists()]
    names += _checkpoint_names(checkpoints)
    if names:
        shown = ", ".join(map(shown_name, names[:NAMES_SHOWN]))
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        raise JobDirError(
            f"--job_dir={_shown(folder)} holds {shown}{more}, which no run of podtune wrote there:"
            " a run would overwrite that. Give another --job_dir, such as a new folder in this one."
        )


def _require_own_evidence(folder: pathlib.Path) -> None:
    """Refuses a job_dir in which a person keeps files by names that evaluation writes."""
    for name in EVIDENCE:
        if not is_evidence(folder / name):
            raise JobDirError(
                f"--job_dir={_shown(folder)} holds {name}, which podtune did not write, and"
                " evaluation would replace. Move it away, or keep no predictions and no report:"
                " --report.predictions=false."
            )


def is_evidence(file: pathlib.Path) -> bool:
    """Whether there is no such file, or it begins as evaluation writes it."""
    try:
        with file.open("rb") as opened:
            beginning = opened.read(LOOKED_AT_BYTES)
    except FileNotFoundError:
        return True
    if file.suffix == ".html":
        return GENERATOR.encode() in beginning
    return not beginning or beginning.startswith(BEGINNINGS[file.suffix])


def _in_the_way(folder: pathlib.Path, path: pathlib.Path, kind: str, other: str) -> JobDirError:
    return JobDirError(
        f"--job_dir={_shown(folder)}: {_shown(path)} should be a {kind} of the run, and is"
        f" {other}. Give another --job_dir."
    )


def _checkpoint_names(checkpoints: pathlib.Path) -> list[str]:
    return [
        f"{checkpoints.name}/{name}"
        for name in sorted(_folders(checkpoints))
        if fnmatch.fnmatchcase(name, CHECKPOINT)
    ]


def _folders(path: pathlib.Path) -> set[str]:
    """The names of the folders in a folder.

    Where it stands for one in a bucket, what an earlier run has left here does not count.
    """
    if mirror.url_of(path) is not None:
        return {name.split("/")[0] for name in mirror.names_there(path) if "/" in name}
    if not path.is_dir():
        return set()
    return {child.name for child in path.iterdir() if child.is_dir()}


def is_job_dir(folder: pathlib.Path) -> bool:
    """Whether a run of ours has begun there."""
    return (
        (folder / MARKER).is_file()
        or _is_resolved_config(folder / "config.yaml")
        or _is_plan(folder / "plan.json")
    )


def mark(folder: pathlib.Path) -> None:
    """Notes that it is a job_dir."""
    marker = folder / MARKER
    if not marker.is_file():
        write_text(marker, MARKER_TEXT)


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


class Removal(NamedTuple):
    """What was removed from a job_dir while a run was going on, and is written anew.

    Attributes:
        whole: whether the folder was removed, with all that was in it.
        files: the names of the small files.
    """

    whole: bool = False
    files: tuple[str, ...] = ()


class Copies:
    """What the small files of a job_dir hold, to write them anew where someone removes them.

    Args:
        folder: the job_dir.
        names: of the files.
    """

    def __init__(self, folder: pathlib.Path, names: Iterable[str] = (*FILES, MARKER)) -> None:
        self._folder = folder
        copied = set(names) - {METRICS, *EVIDENCE}
        files = {name: folder / name for name in names if name in copied}
        self._contents = {
            name: file.read_bytes() for name, file in files.items() if _is_small_file(file)
        }

    def add(self, name: str, content: bytes) -> None:
        """Keeps the content of one more."""
        self._contents[name] = content

    def restore(self, *, ask: bool = False) -> list[str]:
        """Writes anew those that are missing; their names.

        Args:
            ask: those that the bucket has lost are missing too.
        """
        present = {name for name in self._contents if (self._folder / name).is_file()}
        if ask and mirror.url_of(self._folder):
            present &= mirror.names_there(self._folder)
        missing = [name for name in self._contents if name not in present]
        for name in missing:
            with atomic_write(self._folder / name, "wb") as file:
                file.write(self._contents[name])
        return missing


def _is_small_file(file: pathlib.Path) -> bool:
    return file.is_file() and file.stat().st_size <= COPIED_BYTES


def _shown(path: pathlib.Path) -> str:
    return shown_name(mirror.shown(path), 300)
