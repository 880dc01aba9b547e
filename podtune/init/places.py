"""What a path names: one file, the splits of a data set, folders of classes, or aligned files."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from trainer.errors import ConfigError, shown_name

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval"),
}
SHOWN = 8
# What lies beside data and is none.
NOT_DATA = re.compile(
    r"(readme|license|licence|changelog|citation|notice|requirements|makefile)"
    r"|\.(md|rst|py|sh|yaml|yml|sqlite|db|model|pdf|png|jpg|zip|tar|bin|pkl|pt|npz|npy|ipynb)$"
)
CLASS_FOLDERS = 2  # at least


class Place(NamedTuple):
    """Where the examples are.

    Attributes:
        kind: "file", "folders" of classes, or "parallel" files of one folder.
        splits: paths of train, validation and test, as far as there are such.
        files: of parallel: the names of the aligned files.
    """

    kind: str
    splits: dict[str, pathlib.Path]
    files: tuple[str, ...] = ()


def find(path: pathlib.Path) -> Place:
    """Looks at a path.

    Raises:
        ConfigError: nothing is there, or several files of which any may be the one to train on.
    """
    if not path.exists():
        raise ConfigError(f"{shown_name(path)}: there is no such file or folder.")
    if not path.is_dir():
        return Place("file", {"train": path, **_siblings(path)})
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if entry.is_file() and not _is_other(entry)]
    by_split = {split: own for split in SPLITS if (own := _of_split(folders, split))}
    if "train" in by_split:
        inner = find(by_split["train"])
        if inner.kind != "file":
            return inner._replace(splits=by_split)
    if len(folders) >= CLASS_FOLDERS and not files:
        return Place("folders", {"train": path})
    if aligned := _aligned(files):
        return Place("parallel", {"train": path}, aligned)
    return _of_files(path, files)


def _of_files(folder: pathlib.Path, files: Sequence[pathlib.Path]) -> Place:
    if len(files) == 1:
        return Place("file", {"train": files[0]})
    for file in files:
        if split_of(file) == "train":
            same = [other for other in files if split_of(other) == "train"]
            if len(same) == 1:
                return Place("file", {"train": file, **_siblings(file)})
    names = ", ".join(shown_name(file.name) for file in files[:SHOWN]) or "none"
    raise ConfigError(
        f"{shown_name(folder)}: which file is to be trained on cannot be told. There are: {names}."
        " Name one: podtune init FILE."
    )


def split_of(path: pathlib.Path) -> str | None:
    """The split that a file's name says, such as of stsb-en-dev.csv."""
    words = re.split(r"[^a-z]+", path.name.lower())
    found = [split for split, names in SPLITS.items() if set(words) & set(names)]
    return found[0] if len(found) == 1 else None


def _siblings(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """Files beside one of train that are called alike but for the split."""
    if split_of(path) != "train":
        return {}
    found: dict[str, list[pathlib.Path]] = {}
    for other in path.parent.iterdir():
        split = split_of(other)
        if split not in (None, "train") and _without_split(other) == _without_split(path):
            found.setdefault(split, []).append(other)
    return {split: files[0] for split, files in found.items() if len(files) == 1}


def _without_split(path: pathlib.Path) -> str:
    names = "|".join(name for names in SPLITS.values() for name in sorted(names, key=len)[::-1])
    return re.sub(rf"(?<![a-z])({names})(?![a-z])", "*", path.name.lower(), count=1)


def _of_split(folders: Sequence[pathlib.Path], split: str) -> pathlib.Path | None:
    named = [folder for folder in folders if folder.name.lower() in SPLITS[split]]
    return named[0] if len(named) == 1 else None


def _is_other(file: pathlib.Path) -> bool:
    return bool(NOT_DATA.search(file.name.lower()))


def _aligned(files: Sequence[pathlib.Path]) -> tuple[str, ...]:
    """The names of files that have as many lines as each other, and the same stem or none."""
    if not 2 <= len(files) <= 4 or len({file.suffix for file in files}) < len(files):
        return ()
    counts = {file.name: _lines(file) for file in files}
    if len(set(counts.values())) == 1:
        return tuple(counts)
    return ()


def _lines(file: pathlib.Path) -> int:
    with file.open("rb") as opened:
        return sum(block.count(b"\n") for block in iter(lambda: opened.read(1 << 20), b""))
