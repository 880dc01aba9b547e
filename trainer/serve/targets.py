"""Where an export goes, judged before training begins.

Nothing that the run reads, and nothing that is not ours, is replaced.
"""

from __future__ import annotations

import glob
import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from trainer.errors import ConfigError, shown_name
from trainer.files import mirror, ownership
from trainer.files.gcs import MAGIC
from trainer.files.storage import local_path
from trainer.files.writing import probe_writable, writable_path
from trainer.run.job import SHARED_PREPARATION, Job
from trainer.settings.schema import Config

HUGGINGFACE = "huggingface"  # in the job_dir
SHOWN_CHARACTERS = 300  # of a path in a message
ELSEWHERE = ("hf://", "s3://")  # never below a folder that is written
GIVE_ANOTHER = (
    "Give another --export.directory: a folder that does not exist yet, an empty one, or an earlier"
    " export."
)
OWN_REMEDY = "Move it away, give another folder as --export.directory, or set --export.format=none."


class Protected(NamedTuple):
    """A file or folder that an export may not replace.

    Attributes:
        place: a path without symbolic links, or a URL.
        description: how messages call it.
        closed: whether nothing may be written inside it either.
    """

    place: str
    description: str
    closed: bool = False


def export_folder(config: Config, job: Job) -> pathlib.Path:
    """The folder that export.directory, or the job, gives to an export; it holds the versions."""
    if config.export.directory:
        return writable_path(config.export.directory)
    return job.model if config.export.format == "savedmodel" else job.folder / HUGGINGFACE


def version_folder(folder: pathlib.Path, version: int | str | None) -> pathlib.Path:
    """The folder of a version in the folder that TensorFlow Serving watches.

    Args:
        folder: that is watched.
        version: a number, "next", or None for the folder itself.
    """
    if version is None:
        return folder
    if version == "next":
        names = [child.name for child in mirror.folders(folder)]
        numbers = [int(name) for name in names if name.isdigit()]
        version = max(numbers, default=0) + 1
    return folder / str(version)


def require_export_target(config: Config, job: Job) -> None:
    """Refuses, before hours of training, a folder that an export could not or must not replace.

    Raises:
        ConfigError: it is, holds or lies in what the run reads or keeps.
        JobDirError: it holds what is not ours, or cannot be written.
    """
    if config.export.format == "none" or not job.writes:
        return
    target = export_folder(config, job)
    if config.export.version is not None and config.export.format == "savedmodel":
        _require_folder(target)
        target = version_folder(target, config.export.version)
    for protected in _protected(config, job):
        _require_apart(target, protected)
    _require_writable(target, GIVE_ANOTHER if config.export.directory else OWN_REMEDY)


def _require_writable(target: pathlib.Path, remedy: str) -> None:
    """Raises JobDirError where what is there may not be replaced, or the disk refuses."""
    real = target
    if mirror.url_of(target) is None:
        real = pathlib.Path(os.path.realpath(target))
    ownership.require_replaceable(real, named=target, remedy=remedy)
    is_mount = os.path.ismount(real) and os.path.isdir(real)
    probe_writable(real if is_mount else real.parent)


def writes_in_job_dir(config: Config, job: Job) -> bool:
    """Whether an export goes into the job's own folders."""
    target = place_of(export_folder(config, job))
    own_places = (place_of(job.folder), place_of(job.model))
    return any(is_within(target, place) for place in own_places)


def _require_folder(folder: pathlib.Path) -> None:
    """Raises JobDirError where the folder of the versions is a file."""
    if mirror.url_of(folder) is not None:
        return
    if os.path.lexists(folder) and not os.path.isdir(folder):
        ownership.require_replaceable(folder, remedy=GIVE_ANOTHER)


def _require_apart(target: pathlib.Path, protected: Protected) -> None:
    """Raises ConfigError where an export would replace what is protected, or write into it."""
    place = place_of(target)
    shown_target = _shown(target)
    shown_place = _shown(protected.place)
    if is_within(protected.place, place):
        relation = "is" if protected.place == place else f"holds {shown_place},"
        raise ConfigError(
            f"export.directory: {shown_target} {relation} {protected.description}: an export"
            f" replaces its folder whole. {GIVE_ANOTHER}"
        )
    if protected.closed and is_within(place, protected.place):
        raise ConfigError(
            f"export.directory: {shown_target} lies in {protected.description}, {shown_place}."
            f" {GIVE_ANOTHER}"
        )


def _shown(place: str | pathlib.Path) -> str:
    return shown_name(mirror.shown(place), SHOWN_CHARACTERS)


def _protected(config: Config, job: Job) -> Iterator[Protected]:
    yield Protected(place_of(job.folder), "the job_dir")
    parts = {
        "the job's checkpoints": job.checkpoints,
        "the job's logs": job.logs,
        "the job's encoded data": job.folder / SHARED_PREPARATION,
    }
    for description, folder in parts.items():
        yield Protected(place_of(folder), description, closed=True)
    for setting, spec in read_specs(config).items():
        place = place_of_spec(spec)
        if place is None:
            continue
        is_data = setting.startswith("data.") and not MAGIC.search(spec)
        is_data_folder = is_data and os.path.isdir(place)
        yield Protected(place, f"what {setting} names", closed=is_data_folder)
    yield Protected(place_of(mirror.cache_folder()), "the cache of encoded data")


def read_specs(config: Config) -> dict[str, str]:
    """The paths, globs and URLs that a run reads, by the setting that names them."""
    named = {
        "backbone.weights": config.backbone.weights,
        "backbone.tokenizer": config.backbone.tokenizer,
    }
    if config.data.source != "tfds":  # whose splits are names, not places
        for split in ("train", "validation", "test"):
            named[f"data.{split}"] = getattr(config.data, split)
    return {setting: spec for setting, spec in named.items() if isinstance(spec, str)}


def place_of_spec(spec: str) -> str | None:
    """The place that a path names, or the folder that all matches of a glob are in.

    None where that is not known.
    """
    if spec.startswith(ELSEWHERE) or not spec.strip():
        return None
    if spec.startswith(mirror.SCHEME):
        fixed = MAGIC.split(spec)[0]
        if fixed != spec:
            fixed, _, _ = fixed.rpartition("/")
        return fixed.rstrip("/")
    try:
        path = local_path(spec, "")
    # of another scheme, or of a package that is not here: who needs it will say so
    except ConfigError:
        return None
    if not os.path.exists(path):
        path = _before_magic(path)
    return os.path.realpath(path)


def _before_magic(path: pathlib.Path) -> pathlib.Path:
    """The folder that all matches of a glob are in; a path that is none stays."""
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
    return pathlib.Path(*fixed)


def place_of(path: pathlib.Path) -> str:
    """A path without symbolic links, or the URL that it stands for; such places compare."""
    return mirror.url_of(path) or os.path.realpath(path)


def is_within(place: str, folder: str) -> bool:
    """Whether a place is that folder, or in it."""
    return place == folder or place.startswith(folder.rstrip("/") + "/")
