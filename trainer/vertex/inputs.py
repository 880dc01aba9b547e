"""What a run reads from this machine goes to the bucket, once by content, and the settings name it
there.
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

REMOTE = ("gs://", "hf://")
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
    }
    if config.data.source == "tfds":
        named["data", "tfds_data_dir"] = config.data.tfds_data_dir
    else:
        named |= {
            ("data", split): getattr(config.data, split)
            for split in ("train", "validation", "test")
        }
    dataset = getattr(config.data, "tfds_name", "").partition(":")[0].partition("/")[0]
    return [
        _input(setting, path, dataset)
        for setting, path in named.items()
        if isinstance(path, str) and not path.startswith(REMOTE)
    ]


def _input(setting: tuple[str, str], path: str, dataset: str) -> Input:
    found = expand(path, key=".".join(setting))
    if len(found) == 1 and found[0].is_dir():
        files = sorted(
            file for file in found[0].rglob("*") if file.is_file() and not _hidden(file, found[0])
        )
        if setting == ("data", "tfds_data_dir"):  # which may hold other data sets, and downloads
            files = [file for file in files if file.relative_to(found[0]).parts[0] == dataset]
        if setting[0] == "backbone":
            files = [
                file
                for file in files
                if file.parent == found[0] and any(file.match(pattern) for pattern in HUB_FILES)
            ]
        return Input(setting, tuple(files), found[0], "")
    files = tuple(file for file in found if file.is_file())
    local = local_path(path, ".".join(setting))
    if local.exists():
        return Input(setting, files, local.parent, local.name)
    base = pathlib.Path(*itertools.takewhile(lambda part: not glob.has_magic(part), local.parts))
    return Input(setting, files, base, "/".join(local.parts[len(base.parts) :]))


def _hidden(file: pathlib.Path, folder: pathlib.Path) -> bool:
    return any(
        part.startswith(".") or part == "__pycache__" for part in file.relative_to(folder).parts
    )


def place(inputs: list[Input], bucket: str) -> dict[Input, str]:
    """The URL below the bucket's folder that each input will have."""
    return {
        found: "/".join(filter(None, (f"{bucket}/inputs/{found.digest()}", found.rest)))
        for found in inputs
    }


def settings(places: Mapping[Input, str]) -> Settings:
    """The settings, naming what is in the bucket."""
    return {
        found.setting: Setting(url, f"uploaded from {found.base}") for found, url in places.items()
    }


def upload(places: Mapping[Input, str]) -> int:
    """Uploads what the bucket has not yet. Returns the bytes that went.

    Raises:
        ConfigError: it cannot be written.
    """
    sent = 0
    for found, url in places.items():
        key = ".".join(found.setting)
        target = url.removesuffix(f"/{found.rest}") if found.rest else url
        there = {item.name: item for item in gcs.listing(target, key=key)}
        prefix = gcs.parse(target, key=key)[1]
        missing = [
            file
            for file in found.files
            if (name := f"{prefix}/{file.relative_to(found.base).as_posix()}") not in there
            or there[name].size != file.stat().st_size
        ]
        gcs.each(
            lambda file, target=target, found=found, key=key: gcs.upload(
                file, f"{target}/{file.relative_to(found.base).as_posix()}", key=key
            ),
            missing,
        )
        sent += sum(file.stat().st_size for file in missing)
    return sent


def check_remote(config: Config, *, uploaded: Collection[str]) -> None:
    """Finds what the config names in Cloud Storage, but for what is `uploaded` only now.

    Raises:
        ConfigError: lists all that is missing or may not be read.
    """
    problems = []
    for setting, path in {
        "backbone.weights": config.backbone.weights,
        "backbone.tokenizer": config.backbone.tokenizer,
        **{
            f"data.{split}": getattr(config.data, split)
            for split in ("train", "validation", "test")
        },
    }.items():
        if isinstance(path, str) and path.startswith(mirror.SCHEME) and path not in uploaded:
            try:
                gcs.find(path, key=setting)
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
