"""Where files are that someone names.

Local paths, globs, gs:// (Cloud Storage), pkg:// (an installed package) and hf:// (the Hugging Face
hub). Writing files is in `writing.py`.
"""

from __future__ import annotations

import difflib
import glob
import itertools
import os
import pathlib
import re

from trainer.errors import ConfigError
from trainer.files import gcs, hub_names, mirror
from trainer.files.hub import HUB_FILES, hub_folder
from trainer.files.packages import package_path
from trainer.files.paths import from_text, matching, refuse_unusable

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
NAMES_SHOWN = 5
NAMES_NEAR = 3
NAMES_SEARCHED = 2000
WEIGHTS_SECTION = "backbone."  # whose settings may name what is on the Hugging Face hub


def local_folder(path: str, *, key: str = "backbone.weights") -> pathlib.Path:
    """A folder of this machine for what the config names.

    That is a folder, `pkg://module/folder`, `gs://…` or `hf://org/name[@revision]`; the last two
    are fetched once.

    Args:
        path: as written in the config.
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: there is no such folder, package or repository, or it cannot be fetched.
    """
    if path.startswith("hf://"):
        return hub_folder(path, key=key)
    folder = _gs_folder(path, key) if path.startswith(mirror.SCHEME) else local_path(path, key)
    refuse_unusable(folder, key=key)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ConfigError(
            f"{key}: expected a folder, {path!r} is a file. Give the folder that holds it:"
            f" {mirror.shown(folder.parent)}"
        )
    raise ConfigError(
        f"{key}: there is no folder {path!r}{_looked_in(path)}. {_instead(path, folder, key)}"
    )


def expand(pattern: str, *, key: str) -> list[pathlib.Path]:
    """The existing files and folders that a path or a glob names, sorted.

    A glob has `*`, `?`, `[…]` and `**`; it may also be below pkg:// and gs://.

    Of gs://, these are local copies, fetched once; `mirror.shown` gives their URLs.

    A glob leaves hidden files out. What exists is taken as it is, even with a `[` in its name: the
    path, or a folder above a glob.

    Args:
        pattern: as written in the config.
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: nothing is there; names what is.
    """
    if pattern.startswith(mirror.SCHEME):
        return mirror.fetch(pattern, key=key)
    path = local_path(pattern, key)
    refuse_unusable(path, key=key)
    if os.path.exists(path):
        return [path]
    if not glob.has_magic(str(path)):
        raise ConfigError(
            f"{key}: there is no file or folder {pattern!r}{_looked_in(pattern)}."
            f" {_instead(pattern, path, key)}"
        )
    matches = matching(path, key=key)
    if not matches:
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        raise ConfigError(
            f"{key}: no file matches {pattern!r}{_looked_in(pattern)}."
            f" {_near(pathlib.Path(*fixed))}"
        )
    return matches


def config_file(path: str, key: str = "--config") -> pathlib.Path:
    """The file that a flag names, fetched where it is in Cloud Storage.

    Whether it exists on this machine is not asked.
    """
    if path.startswith(mirror.SCHEME):
        return mirror.fetch(path, key=key)[0]
    return pathlib.Path(path)


def local_path(path: str, key: str) -> pathlib.Path:
    """Where a path or glob of this machine, or one below pkg://, points to.

    Whether something is there is not asked. Raises ConfigError for other schemes.
    """
    if not path.strip():
        raise ConfigError(f"{key}: the path is empty. Give a folder, a file or a glob.")
    match = SCHEME.fullmatch(path)
    if match is None:
        return from_text(path, key=key)
    scheme, rest = match.groups()
    if scheme == "pkg":
        return package_path(path, key=key)
    if scheme == "file":
        return from_text("/" + rest.lstrip("/"), key=key)
    if scheme == "hf":
        raise ConfigError(
            f"{key}: hf:// names weights, not data: {path!r}. Download the data set and give its"
            " local path."
        )
    message = (
        f"{key}: unknown scheme {scheme}:// in {path!r}. Expected a local path, gs://BUCKET/NAME,"
        " pkg://module/folder or (weights only) hf://org/name[@revision]."
    )
    raise ConfigError(f"{message} {_offered(path, key)}".rstrip())


def _gs_folder(path: str, key: str) -> pathlib.Path:
    # Beside safetensors, the same weights in other formats would be fetched for nothing; alone,
    # they are there to be refused.
    folder = gcs.parse(path, key=key)[1].rstrip("/")
    names = [item.name.removeprefix(folder).lstrip("/") for item in gcs.find(path, key=key)]
    direct = [name for name in names if "/" not in name]
    has_safetensors = any(name.endswith(".safetensors") for name in direct)
    paths = mirror.fetch(path, key=key, only=HUB_FILES if has_safetensors else ("*",))
    if len(paths) > 1:
        raise ConfigError(
            f"{key}: expected one folder, {path!r} names {len(paths)} files. Give the folder."
        )
    return paths[0]


def _offered(path: str, key: str) -> str:
    return hub_names.offer(path) if key.startswith(WEIGHTS_SECTION) else ""


def _instead(written: str, path: pathlib.Path, key: str) -> str:
    """A name like it on this machine, and what may be meant of the hub; else what there is."""
    near = _near(path)
    offered = _offered(written, key)
    if near.startswith("Did you mean"):
        return f"{near} {offered}".rstrip()
    return offered or near


def _looked_in(path: str) -> str:
    """The folder that a relative path begins at."""
    if SCHEME.match(path) or os.path.isabs(os.path.expanduser(path)):
        return ""
    return f" in {os.getcwd()}"


def _near(path: pathlib.Path) -> str:
    """What there is instead of a path.

    Names like the first part of it that is missing, else what its folder holds.
    """
    missing = ""
    while not os.path.isdir(path):
        missing = path.name
        path = path.parent
    try:
        entries = list(itertools.islice(os.scandir(path), NAMES_SEARCHED))
    except OSError:
        return f"{path.absolute()} cannot be listed."
    names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if near := difflib.get_close_matches(missing, names, n=NAMES_NEAR):
        return f"Did you mean {' or '.join(str(path / name) for name in near)}?"
    if not names:
        return f"{path.absolute()} is empty."
    hidden = len(names) - NAMES_SHOWN
    more = f" and {hidden} more" if hidden > 0 else ""
    return f"{path.absolute()} holds: {', '.join(names[:NAMES_SHOWN])}{more}."
