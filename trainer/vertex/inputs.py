"""What a run reads from this machine goes to the bucket, where the settings then name it.

The same content is uploaded once.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import itertools
import pathlib
from collections.abc import Collection, Mapping

from trainer.errors import ConfigError
from trainer.files import gcs, mirror
from trainer.files.hub import HUB_FILES
from trainer.files.storage import expand, local_path
from trainer.settings.schema import Config
from trainer.settings.setting import Setting, Settings
from trainer.sources.tfds import Settings as TfdsSettings

REMOTE = ("gs://", "hf://")
SPLITS = ("train", "validation", "test")
BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Input:
    """A setting that names files of this machine.

    Attributes:
        base: the folder below which their names are kept.
        rest: of the path, after `base`: a file's name, a glob, or nothing.
    """

    setting: tuple[str, str]
    files: tuple[pathlib.Path, ...]
    base: pathlib.Path
    rest: str

    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self.files)

    def described(self) -> str:
        """The setting, how many files it names, and how large they are."""
        return (
            f"{'.'.join(self.setting)}: {len(self.files)} files of {self.base},"
            f" {self.total_bytes() / 1e6:,.1f} MB"
        )

    def digest(self) -> str:
        """Of names and contents: the same files are the same folder in the bucket."""
        digest = hashlib.blake2b(digest_size=10)
        for file in self.files:
            digest.update(f"{file.relative_to(self.base)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while block := content.read(BLOCK_BYTES):
                    digest.update(block)
        return digest.hexdigest()


def find(config: Config) -> list[Input]:
    """The settings of a config that name files of this machine.

    Raises:
        ConfigError: one names nothing.
    """
    named = {
        ("backbone", "weights"): config.backbone.weights,
        ("backbone", "tokenizer"): config.backbone.tokenizer,
        ("report", "behaviour"): config.report.behaviour,
    }
    dataset = ""
    if isinstance(config.data, TfdsSettings):
        named["data", "tfds_data_dir"] = config.data.tfds_data_dir
        dataset = config.data.tfds_name.partition(":")[0].partition("/")[0]
    else:
        for split in SPLITS:
            named["data", split] = getattr(config.data, split)
    return [
        _input(setting, path, dataset)
        for setting, path in named.items()
        if isinstance(path, str) and not path.startswith(REMOTE)
    ]


def _input(setting: tuple[str, str], path: str, dataset: str) -> Input:
    """What a setting names.

    Args:
        setting: section and key.
        path: its value, a path or a glob.
        dataset: of TensorFlow Datasets, whose folder may hold others.
    """
    key = ".".join(setting)
    matches = expand(path, key=key)
    if len(matches) == 1 and matches[0].is_dir():
        folder = matches[0]
        files = [file for file in _files_below(folder) if _is_read(file, folder, setting, dataset)]
        return Input(setting, tuple(files), folder, "")
    named_files = tuple(file for file in matches if file.is_file())
    local = local_path(path, key)
    if local.exists():
        return Input(setting, named_files, local.parent, local.name)
    base = _before_magic(local)
    pattern = local.relative_to(base).as_posix()
    return Input(setting, named_files, base, pattern)


def _before_magic(pattern: pathlib.Path) -> pathlib.Path:
    """The folder that all matches of a glob are in."""
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)
    return pathlib.Path(*fixed)


def _files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files in a folder and its folders, but for hidden ones."""
    return sorted(
        file for file in folder.rglob("*") if file.is_file() and not _hidden(file, folder)
    )


def _is_read(
    file: pathlib.Path, folder: pathlib.Path, setting: tuple[str, str], dataset: str
) -> bool:
    """Whether a run reads that file of the folder that a setting names."""
    if setting == ("data", "tfds_data_dir"):  # which may hold other data sets, and downloads
        return file.relative_to(folder).parts[0] == dataset
    if setting[0] == "backbone":
        return file.parent == folder and any(file.match(pattern) for pattern in HUB_FILES)
    return True


def _hidden(file: pathlib.Path, folder: pathlib.Path) -> bool:
    return any(
        part.startswith(".") or part == "__pycache__" for part in file.relative_to(folder).parts
    )


def place(inputs: list[Input], bucket: str) -> dict[Input, str]:
    """The URL below the bucket's folder that each input will have."""
    places = {}
    for local in inputs:
        folder = f"{bucket}/inputs/{local.digest()}"
        places[local] = f"{folder}/{local.rest}" if local.rest else folder
    return places


def settings(places: Mapping[Input, str]) -> Settings:
    """The settings, naming what is in the bucket."""
    return {
        local.setting: Setting(url, f"uploaded from {local.base}") for local, url in places.items()
    }


def upload(places: Mapping[Input, str]) -> int:
    """Uploads what the bucket has not yet. Returns the bytes that went.

    Raises:
        ConfigError: it cannot be written.
    """
    return sum(_upload_missing(local, url) for local, url in places.items())


def _upload_missing(local: Input, url: str) -> int:
    key = ".".join(local.setting)
    folder = url.removesuffix(f"/{local.rest}") if local.rest else url
    sizes = {str(item): item.size for item in gcs.listing(folder, key=key)}
    names = {}
    sent_bytes = 0
    for file in local.files:
        name = f"{folder}/{file.relative_to(local.base).as_posix()}"
        size = file.stat().st_size
        if sizes.get(name) != size:
            names[file] = name
            sent_bytes += size
    gcs.each(lambda file: gcs.upload(file, names[file], key=key), list(names))
    return sent_bytes


def check_remote(config: Config, *, uploaded: Collection[str]) -> None:
    """Finds what the config names in Cloud Storage.

    Args:
        config: of the job.
        uploaded: URLs that are not looked for: what they name is sent later.
    Raises:
        ConfigError: lists all that is missing or may not be read.
    """
    named = {
        "backbone.weights": config.backbone.weights,
        "backbone.tokenizer": config.backbone.tokenizer,
        **{f"data.{split}": getattr(config.data, split) for split in SPLITS},
    }
    problems = []
    for setting, path in named.items():
        if isinstance(path, str) and path.startswith(mirror.SCHEME) and path not in uploaded:
            try:
                gcs.find(path, key=setting)
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
