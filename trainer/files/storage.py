"""Where files are: local paths, globs, gs:// (Cloud Storage), pkg:// (an installed package), hf://
(the Hugging Face hub); writing them whole or not at all.
"""

import contextlib
import difflib
import errno
import glob
import importlib.machinery
import importlib.util
import itertools
import json
import math
import os
import pathlib
import pkgutil
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import IO, Any, Literal

from trainer.errors import ConfigError, JobDirError, UserError, shown_value
from trainer.files import gcs, hub_names, mirror
from trainer.files.paths import from_text, matching, refuse_unusable

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
HUB_NAME = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^@\s]+))?")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # weights and tokenizer; never pickles
# Errors of the device, which say nothing about the file's name.
DEVICE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
NAMES_SHOWN = 5
WEIGHTS_SECTION = "backbone."  # whose settings may name what is on the Hugging Face hub
NAMES_SEARCHED = 2000


def local_folder(path: str, *, key: str = "backbone.weights") -> pathlib.Path:
    """A folder of this machine for `path`: a folder, `pkg://module/folder`, `gs://…` or
    `hf://org/name[@revision]` (both fetched once).

    Args:
        path: as written in the config.
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: there is no such folder, package or repository, or it cannot be fetched.
    """
    if path.startswith("hf://"):
        return _hub_folder(path, key)
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
    """The existing files and folders that a path or a glob (`*`, `?`, `[…]`, `**`; also below
    pkg:// and gs://) names, sorted.

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
    found = matching(path, key=key)
    if not found:
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        raise ConfigError(
            f"{key}: no file matches {pattern!r}{_looked_in(pattern)}."
            f" {_near(pathlib.Path(*fixed))}"
        )
    return found


def config_file(path: str) -> pathlib.Path:
    """The file that --config names, fetched where it is in Cloud Storage; whether it exists here is
    not asked.
    """
    return (
        mirror.fetch(path, key="--config")[0]
        if path.startswith(mirror.SCHEME)
        else pathlib.Path(path)
    )


def local_path(path: str, key: str) -> pathlib.Path:
    """Where a path or glob of this machine, or one below pkg://, points to, whether or not
    something is there. Raises ConfigError for other schemes.
    """
    if not path.strip():
        raise ConfigError(f"{key}: the path is empty. Give a folder, a file or a glob.")
    match = SCHEME.fullmatch(path)
    if match is None:
        return from_text(path, key=key)
    scheme, rest = match.groups()
    if scheme == "pkg":
        return _package_path(path, rest, key)
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


def _package_path(path: str, rest: str, key: str) -> pathlib.Path:
    module, _, inside = rest.partition("/")
    spec = _find_package(module)
    if spec is None:
        near = difflib.get_close_matches(
            module, [info.name for info in pkgutil.iter_modules()], n=1
        )
        hint = f"Did you mean pkg://{near[0]}/{inside}? " if near else ""
        install = module.split(".")[0].replace("_", "-") or "NAME"
        raise ConfigError(
            f"{key}: no package {module!r} is installed, asked for by {path!r}. {hint}To install"
            f" it: pip install {install}"
        )
    folders = [pathlib.Path(folder) for folder in spec.submodule_search_locations or []]
    if not folders:
        raise ConfigError(
            f"{key}: {module!r} in {path!r} is a single-file module: it holds no folders. Name a"
            " package."
        )
    # a namespace package has several folders
    matching = [folder for folder in folders if os.path.exists(folder / inside)]
    return (matching or folders)[0] / inside


def _find_package(module: str) -> importlib.machinery.ModuleSpec | None:
    # A step at a time: find_spec("a.b") would execute a/__init__.py.
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top) if top else None
    except ValueError:  # a module made by hand, like __main__
        return None
    for part in below:
        if spec is not None:
            spec = importlib.machinery.PathFinder.find_spec(
                part, spec.submodule_search_locations or []
            )
    return spec


def _gs_folder(path: str, key: str) -> pathlib.Path:
    # Beside safetensors, the same weights in other formats would be fetched for nothing; alone,
    # they are there to be refused.
    folder = gcs.parse(path, key=key)[1].rstrip("/")
    names = [item.name.removeprefix(folder).lstrip("/") for item in gcs.find(path, key=key)]
    safe = any(name.endswith(".safetensors") and "/" not in name for name in names)
    found = mirror.fetch(path, key=key, only=HUB_FILES if safe else ("*",))
    if len(found) > 1:
        raise ConfigError(
            f"{key}: expected one folder, {path!r} names {len(found)} files. Give the folder."
        )
    return found[0]


def _hub_folder(path: str, key: str) -> pathlib.Path:
    match = HUB_NAME.fullmatch(path.removeprefix("hf://"))
    if match is None:
        raise ConfigError(f"{key}: expected hf://org/name or hf://org/name@revision, got {path!r}.")
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError(
            f"{key}: {path!r} needs the Hugging Face client. To install it: pip install"
            " huggingface_hub"
        ) from None
    try:
        folder = huggingface_hub.snapshot_download(
            match["name"],
            revision=match["revision"],
            allow_patterns=HUB_FILES,
            ignore_patterns=["*/*"],
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}: {path!r}: {_hub_problem(error, match)}") from None
    return pathlib.Path(folder)


def _hub_problem(error: Exception, match: re.Match[str]) -> str:
    page = f"https://huggingface.co/{match['name']}"
    by_class = {
        "GatedRepoError": f"access has to be asked for, at {page}; then log in: hf auth login",
        "RepositoryNotFoundError": (
            f"the hub has no such repository, or it is private. Check {page}; a private one needs:"
            " hf auth login"
        ),
        "RevisionNotFoundError": (
            f"the repository has no branch, tag or commit {match['revision']!r}. They are listed at"
            f" {page}/tree/main"
        ),
        "LocalEntryNotFoundError": (
            "the hub cannot be reached and there is no copy in the local cache. On a machine with"
            f" a connection: hf download {match['name']} --local-dir FOLDER, copy FOLDER here and"
            " give its path"
        ),
    }
    by_class["OfflineModeIsEnabled"] = by_class["LocalEntryNotFoundError"]
    # by name: the classes have moved between versions of the client
    for cls in type(error).__mro__:
        if cls.__name__ in by_class:
            return by_class[cls.__name__]
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"the download failed: {reason}. Try again, or download it elsewhere and give the local"
        " folder"
    )


def _offered(path: str, key: str) -> str:
    return hub_names.offer(path) if key.startswith(WEIGHTS_SECTION) else ""


def _instead(written: str, path: pathlib.Path, key: str) -> str:
    """A name like it on this machine, and what may be meant of the hub; else what there is."""
    near, offered = _near(path), _offered(written, key)
    return f"{near} {offered}".rstrip() if near.startswith("Did you mean") else offered or near


def _looked_in(path: str) -> str:
    return (
        ""
        if SCHEME.match(path) or os.path.isabs(os.path.expanduser(path))
        else f" in {os.getcwd()}"
    )


def _near(path: pathlib.Path) -> str:
    """What there is instead: names like the first part of `path` that is missing, else what its
    folder holds.
    """
    missing = None
    while not os.path.isdir(path):
        missing, path = path.name, path.parent
    with contextlib.suppress(OSError):
        names = sorted(
            entry.name
            for entry in itertools.islice(os.scandir(path), NAMES_SEARCHED)
            if not entry.name.startswith(".")
        )
        close = difflib.get_close_matches(missing, names, n=3) if missing else []
        if close:
            return f"Did you mean {' or '.join(str(path / name) for name in close)}?"
        shown = ", ".join(names[:NAMES_SHOWN]) + (
            f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        )
        return f"{path.absolute()} holds: {shown}." if names else f"{path.absolute()} is empty."
    return f"{path.absolute()} cannot be listed."


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Yields a file that takes the place of `path` when the block ends well, and vanishes when it
    does not.

    The new content is on the disk before it gets the name, so that a reader, or a run killed at any
    instant, sees the old file or the new one whole. Missing folders are made. Below gs://, the
    object follows, whole or not at all.

    Args:
        path: what to write; a symbolic link is followed.
        mode: "w" for UTF-8 text, "wb" for bytes.
    Raises:
        JobDirError: the operating system refuses: no permission, disk full, …
    """
    named = writable_path(path)
    target = pathlib.Path(os.path.realpath(named))
    # hidden, so that no glob picks it up
    temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        file = open(temporary, mode.replace("w", "x"), **text)  # noqa: SIM115 - its errors are not those of the block
    except OSError as error:
        raise _refused(path, error) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        # The block may have failed on a file of its own: that is not this file's refusal.
        ours = (
            error.errno in DEVICE_ERRORS
            if error.filename is None
            else error.filename == str(temporary)
        )
        if ours:
            raise _refused(path, error) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)
    mirror.add(named)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all.

    Raises:
        JobDirError: the operating system refuses.
    """
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all; NaN and infinities, which JSON lacks,
    become null.

    Args:
        path: what to write.
        value: dicts, lists, numbers (numpy's too), strings, paths.
    Raises:
        JobDirError: the operating system refuses.
        TypeError: `value` holds something else.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def probe_writable(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Makes the folder and proves that a file can be written there, before hours of work rely on
    it.

    Raises:
        JobDirError: it cannot.
    """
    path = writable_path(folder)
    probe = path / f".probe.{secrets.token_hex(6)}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"\0" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(folder, error) from None
    mirror.probe(path)
    return path


def writable_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path here that a path or a gs:// URL stands for; what is written there by `atomic_write`
    is written in the bucket too.

    Raises:
        JobDirError: it is of another scheme.
    """
    name = os.fspath(path)
    if "\0" in name:
        raise JobDirError(
            f"cannot write {shown_value(name)}: a name has no NUL character. Give another path."
        )
    # one slash: pathlib has eaten the other
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", name)
    if scheme and not name.startswith(mirror.SCHEME):
        raise JobDirError(f"cannot write {name!r}: expected a local path or gs://BUCKET/NAME.")
    return mirror.local(name)


def _refused(path: str | os.PathLike[str], error: OSError) -> UserError:
    remedies = {
        errno.ENOSPC: "Free some space, or give another folder",
        errno.EDQUOT: "Your quota is used up: free some space, or give another folder",
        errno.EROFS: "The file system is read-only: give another folder",
        errno.ENOTDIR: "A part of the path is a file: give another folder",
        errno.EEXIST: "A part of the path is a file: give another folder",
        errno.EISDIR: "There is a folder of that name: give another path",
    }
    remedy = remedies.get(error.errno, "Give a folder that you may write to")
    return JobDirError(f"cannot write {mirror.shown(path)!r}: {error.strerror or error}. {remedy}.")


def _sync_folder(folder: pathlib.Path) -> None:
    # The new name is durable only once the folder is; not every file system lets a folder be
    # synced.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        # a file name need not be Unicode
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if value is None or isinstance(value, int):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    raise TypeError(f"expected a value JSON can hold, got {type(value).__name__}: {value!r:.80}")
