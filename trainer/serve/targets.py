"""Where a run will write, judged before it begins: nothing that the run reads, and nothing that is
not ours, is replaced.
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
from trainer.serve.export import version_folder
from trainer.settings.schema import Config

HUGGINGFACE = "huggingface"  # in the job_dir
ELSEWHERE = ("hf://", "s3://")  # never below a folder that is written
GIVE_ANOTHER = (
    "Give another --export.directory: a folder that does not exist yet, an empty one, or an earlier"
    " export."
)
OWN_REMEDY = "Move it away, give another folder as --export.directory, or set --export.format=none."


class Kept(NamedTuple):
    """What must stay as it is.

    Attributes:
        place: a path without symbolic links, or a URL.
        what: how messages call it.
        closed: whether nothing may be written inside it either.
    """

    place: str
    what: str
    closed: bool = False


def export_folder(config: Config, job: Job) -> pathlib.Path:
    """The folder that export.directory, or the job, gives to an export;
    versions are folders in it.
    """
    if config.export.directory:
        return writable_path(config.export.directory)
    return job.model if config.export.format == "savedmodel" else job.folder / HUGGINGFACE


def require_export_target(config: Config, job: Job) -> None:
    """Refuses, before hours of training, a folder that an export could not or must not replace.

    Raises:
        ConfigError: it is, holds or lies in what the run reads or keeps.
        JobDirError: it holds what is not ours, or cannot be written.
    """
    if config.export.format == "none" or not job.writes:
        return
    folder = export_folder(config, job)
    versioned = config.export.version is not None and config.export.format == "savedmodel"
    if versioned:
        _require_folder(folder)
    target = version_folder(folder, config.export.version) if versioned else folder
    for kept in _kept(config, job):
        _require_apart(target, kept)
    real = target if mirror.url_of(target) else pathlib.Path(os.path.realpath(target))
    ownership.require_replaceable(
        real, named=target, remedy=GIVE_ANOTHER if config.export.directory else OWN_REMEDY
    )
    probe_writable(real if os.path.ismount(real) and os.path.isdir(real) else real.parent)


def writes_in_job_dir(config: Config, job: Job) -> bool:
    """Whether an export goes into the job's own folders."""
    target = place_of(export_folder(config, job))
    return any(is_within(target, place_of(folder)) for folder in (job.folder, job.model))


def _require_folder(folder: pathlib.Path) -> None:
    if mirror.url_of(folder) is None and os.path.lexists(folder) and not os.path.isdir(folder):
        ownership.require_replaceable(folder, remedy=GIVE_ANOTHER)


def _require_apart(target: pathlib.Path, kept: Kept) -> None:
    place = place_of(target)
    shown = shown_name(mirror.shown(target), 300)
    if is_within(kept.place, place):
        relation = (
            "is" if kept.place == place else f"holds {shown_name(mirror.shown(kept.place), 300)},"
        )
        raise ConfigError(
            f"export.directory: {shown} {relation} {kept.what}: an export replaces its folder"
            f" whole. {GIVE_ANOTHER}"
        )
    if kept.closed and is_within(place, kept.place):
        raise ConfigError(
            f"export.directory: {shown} lies in {kept.what},"
            f" {shown_name(mirror.shown(kept.place), 300)}. {GIVE_ANOTHER}"
        )


def _kept(config: Config, job: Job) -> Iterator[Kept]:
    yield Kept(place_of(job.folder), "the job_dir")
    yield Kept(place_of(job.checkpoints), "the job's checkpoints", closed=True)
    yield Kept(place_of(job.logs), "the job's logs", closed=True)
    yield Kept(place_of(job.folder / SHARED_PREPARATION), "the job's encoded data", closed=True)
    for setting, spec in read_specs(config).items():
        if (place := place_of_spec(spec)) is not None:
            is_data = setting.startswith("data.")
            yield Kept(
                place,
                f"what {setting} names",
                closed=is_data and not MAGIC.search(spec) and os.path.isdir(place),
            )
    yield Kept(place_of(mirror.cache_folder()), "the cache of encoded data")


def read_specs(config: Config) -> dict[str, str]:
    """What a run reads, by the setting that names it."""
    named = {
        "backbone.weights": config.backbone.weights,
        "backbone.tokenizer": config.backbone.tokenizer,
    }
    if config.data.source != "tfds":  # whose splits are names, not places
        named |= {
            f"data.{split}": getattr(config.data, split)
            for split in ("train", "validation", "test")
        }
    return {setting: spec for setting, spec in named.items() if isinstance(spec, str)}


def place_of_spec(spec: str) -> str | None:
    """The place that a path or glob names, or the folder that all its matches are in; None where
    that is not known.
    """
    if spec.startswith(ELSEWHERE) or not spec.strip():
        return None
    if spec.startswith(mirror.SCHEME):
        fixed = MAGIC.split(spec)[0]
        return (fixed if fixed == spec else fixed.rpartition("/")[0]).rstrip("/")
    try:
        path = local_path(spec, "")
    # of another scheme, or of a package that is not here: who needs it will say so
    except ConfigError:
        return None
    if not os.path.exists(path) and glob.has_magic(str(path)):
        path = pathlib.Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    return os.path.realpath(path)


def place_of(path: pathlib.Path) -> str:
    """A path without symbolic links, or the URL that it stands for: what can be compared."""
    return mirror.url_of(path) or os.path.realpath(path)


def is_within(place: str, folder: str) -> bool:
    """Whether a place is that folder, or in it."""
    return place == folder or place.startswith(folder.rstrip("/") + "/")
