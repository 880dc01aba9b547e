"""Folders of this machine that stand for folders of Cloud Storage.

They are brought from there, worked on here, and published there.

Below the cache, `gs/fetched/…/BUCKET/NAME` holds what was read, `gs/jobs/SLOT/BUCKET/NAME` what a
run reads and writes; a path tells its URL. The bucket is the truth: what a killed run left here and
not there is forgotten. All functions leave paths that stand for nothing in Cloud Storage alone, so
that callers need not ask.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import IO

from trainer.errors import ConfigError, JobDirError
from trainer.files import gcs
from trainer.files.paths import from_text

KEY = "job_dir"  # names the setting in messages: what is written belongs to a job
SCHEME = "gs://"
BRING_ATTEMPTS = 5
UNSEEN = (".probe.", ".lock")  # objects that mean something in the bucket only

_chosen: list[pathlib.Path] = []  # the cache that the config names
# size and mtime of the files that the bucket has as they are here
_published: dict[pathlib.Path, tuple[int, int]] = {}
_watchers: list[Callable[[int, int], None]] = []
_held: list[IO[str]] = []  # the lock of this process's slot


def use_cache(folder: str | None) -> None:
    """Keeps everything below this folder from now on; None: ~/.cache/podtune.

    Raises ConfigError where it is not of this machine.
    """
    if folder and "://" in folder:
        raise ConfigError(
            "data.cache_dir: expected a folder of this machine, as its files are mapped into"
            f" memory. Received {folder!r}."
        )
    chosen = []
    if folder:
        chosen.append(pathlib.Path(os.path.abspath(from_text(folder, key="data.cache_dir"))))
    if chosen != _chosen:
        _chosen[:] = chosen
        _jobs.cache_clear()


def watch(progress: Callable[[int, int], None]) -> None:
    """Has `progress` called whenever files are fetched from now on.

    It is given the bytes that are fetched, and those to fetch.
    """
    _watchers[:] = [progress]


def cache_folder() -> pathlib.Path:
    """Where encoded splits and what comes from Cloud Storage are kept."""
    if _chosen:
        return _chosen[0]
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return pathlib.Path(os.path.abspath(folder)) / "podtune"


def shown(text: str | os.PathLike[str]) -> str:
    """A path, or a text with paths, for people: with the gs:// URLs that paths stand for."""
    return re.sub(
        rf"{re.escape(str(cache_folder()))}/gs/(?:fetched|jobs)/[^/\s]+/(?=[^/\s])",
        SCHEME,
        os.fspath(text),
    )


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL that a path stands for; None for any other path."""
    url = shown(os.path.abspath(path))
    return url if url.startswith(SCHEME) else None


def fetch(url: str, *, key: str, only: Collection[str] = ()) -> list[pathlib.Path]:
    """Local files with the objects that a URL or a glob names, or the one folder that it names.

    Each is fetched once in each generation.

    Args:
        only: patterns, such as *.json; of a folder, what matches none of them is not fetched.
    Raises:
        ConfigError: there are none, or they cannot be read.
    """
    objects = gcs.find(url, key=key)
    name = gcs.parse(url, key=key)[1]
    is_folder = not gcs.MAGIC.search(name) and [item.name for item in objects] != [name]
    if is_folder and only:
        objects = _chosen_of_folder(objects, name, only)
    paths = gcs.fetch(objects, cache_folder() / "gs", key=key, progress=_tell_watchers)
    if not is_folder:
        return paths
    depth = len(_parts_below(objects[0], name))
    return [paths[0].parents[depth - 1]]


def _tell_watchers(done_bytes: int, total_bytes: int) -> None:
    for progress in _watchers:
        progress(done_bytes, total_bytes)


def _parts_below(item: gcs.RemoteObject, folder: str) -> Sequence[str]:
    """The parts of an object's name below a folder."""
    below = item.name.removeprefix(folder.rstrip("/")).lstrip("/")
    return pathlib.PurePosixPath(below).parts


def _chosen_of_folder(
    objects: list[gcs.RemoteObject], folder: str, patterns: Collection[str]
) -> list[gcs.RemoteObject]:
    """The objects directly in a folder that match a pattern.

    Where none does, all directly in it; where there are none, all below it.
    """
    direct = [item for item in objects if len(_parts_below(item, folder)) == 1]
    matching = [
        item
        for item in direct
        if any(pathlib.PurePath(item.name).match(pattern) for pattern in patterns)
    ]
    return matching or direct or objects


@contextlib.contextmanager
def borrowed(url: str, *, key: str) -> Iterator[pathlib.Path]:
    """A local file with an object's content, which is removed afterwards.

    Raises ConfigError where it cannot be read.
    """
    (item,) = gcs.find(url, key=key)
    with scratch(cache_folder() / "gs" / "fetched") as folder:  # where `shown` knows its URL
        path = folder / item.bucket / item.name
        path.parent.mkdir(parents=True)
        gcs.download({item: path}, key=key)
        yield path


@contextlib.contextmanager
def scratch(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder for a while; what killed processes left of theirs is removed.

    Raises JobDirError where the disk is full or cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(".scratch.*/lock"):
            # whose owner lives, is locked
            with contextlib.suppress(OSError), left.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left.parent, ignore_errors=True)
        with (
            tempfile.TemporaryDirectory(
                prefix=".scratch.", dir=parent, ignore_cleanup_errors=True
            ) as folder,
            open(f"{folder}/lock", "w") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield pathlib.Path(folder)
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: writing below {parent} failed: {error.strerror or error}. "
            "Free some space or give another --data.cache_dir."
        ) from error


def local(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path here for a gs:// URL; any other path as it is."""
    name = os.fspath(path)
    if not name.startswith(SCHEME):
        return from_text(name, key="the path to write")
    bucket, rest = gcs.parse(name, key=KEY)
    parts = rest.rstrip("/").split("/") if rest else []
    if not {"", ".", ".."}.isdisjoint(parts):
        raise ConfigError(
            f"cannot write {name!r}: expected gs://BUCKET/NAME, without empty parts, . and .."
        )
    return _jobs().joinpath(bucket, *parts)


@functools.cache
def _jobs() -> pathlib.Path:
    """A folder that no other process uses.

    The next process finds there what this one has brought, and need not bring it again.
    """
    folder = cache_folder() / "gs" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(10_000):
        lock = open(folder / f".{slot}.lock", "w")  # noqa: SIM115 - held until the process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return folder / str(slot)
    raise AssertionError("ten thousand processes")


def bring(path: pathlib.Path, *, names: Collection[str] = (), nested: bool = True) -> None:
    """Makes the file or folder here what the bucket has.

    What differs is fetched; what the bucket does not have is removed.

    Args:
        names: only files of these names; all where it is empty.
        nested: also what folders in the folder hold.
    Raises:
        ConfigError: it cannot be read.
    """
    for attempt in range(BRING_ATTEMPTS):
        try:
            _bring(path, names, nested)
            return
        except gcs.GoneError:  # another worker has replaced or removed it since it was listed
            if attempt == BRING_ATTEMPTS - 1:
                raise


def _bring(path: pathlib.Path, names: Collection[str], nested: bool) -> None:
    url = url_of(path)
    if url is None:
        return

    def is_meant(file: pathlib.Path) -> bool:
        is_near = nested or file.parent in (path, path.parent)
        return is_near and (not names or file.name in names)

    listed = {_file(item): item for item in gcs.listing(url, key=KEY)}
    wanted = {
        file: item
        for file, item in listed.items()
        if is_meant(file) and not file.name.startswith(UNSEEN)
    }
    for file in _files_of(path):
        if file not in wanted and is_meant(file):
            file.unlink()
    gcs.download({item: file for file, item in wanted.items() if not _is_copy(file, item)}, key=KEY)
    _published.update({file: _state(file) for file in wanted})


def _files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """A file itself; of a folder, all files below it."""
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file()]


def add(path: pathlib.Path) -> None:
    """Uploads a file, or the files of a folder that have changed.

    That is since this process last brought or published them.

    Raises:
        ConfigError: it cannot be written.
    """
    if url_of(path) is not None:
        files = [path] if path.is_file() else _visible(path)
        gcs.each(_publish, [file for file in files if _published.get(file) != _state(file)])


def publish(path: pathlib.Path, *, last: Sequence[str] = (), removable: Collection[str]) -> None:
    """Makes the bucket's folder what is here: uploads what differs, removes what is not here.

    Args:
        last: names of files without which a reader takes the folder for absent: removed first,
            written last.
        removable: the objects, by names relative to the folder, that may be removed; another's
            stay.
    Raises:
        ConfigError: it cannot be written.
    """
    url = url_of(path)
    if url is None:
        return
    here = _visible(path)
    there = {
        file: item
        for item in gcs.listing(url, key=KEY)
        if (file := _file(item)) in here or file.relative_to(path).as_posix() in removable
    }
    changed = [file for file in here if file not in there or not _is_published(file, there[file])]
    gone = [file for file in there if file not in here]
    if not changed and not gone:
        return
    final = [file for file in here if file.name in last]
    gcs.delete([item for file, item in there.items() if file.name in last], key=KEY)
    gcs.delete([there[file] for file in gone if file.name not in last], key=KEY)
    gcs.each(_publish, [file for file in changed if file not in final])
    for file in sorted(final, key=lambda file: last.index(file.name)):
        _publish(file)


def _is_published(file: pathlib.Path, item: gcs.RemoteObject) -> bool:
    return _published.get(file) == _state(file) or _is_copy(file, item)


def publish_beginning(path: pathlib.Path, count: int) -> None:
    """Publishes the first `count` bytes of a file that is being written."""
    url = url_of(path)
    if url is None:
        return
    with path.open("rb") as file, tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as copy:
        copy.write(file.read(count))
        copy.flush()
        gcs.upload(pathlib.Path(copy.name), url, key=KEY)
    _published.pop(path, None)


def remove(path: pathlib.Path, *, first: Sequence[str] = (), but: Collection[str] = ()) -> None:
    """Removes a folder, in the bucket too; there, files named in `first` before the others.

    Args:
        but: names, relative to the folder, that stay; then the folder does, too.
    """
    removable = {name: item for name, item in _objects(path).items() if name not in but}
    for file_name in first:
        gcs.delete(
            [item for name, item in removable.items() if name.rpartition("/")[2] == file_name],
            key=KEY,
        )
    gcs.delete(
        [item for name, item in removable.items() if name.rpartition("/")[2] not in first],
        key=KEY,
    )
    for name in first:
        (path / name).unlink(missing_ok=True)
    if not but:
        shutil.rmtree(path, ignore_errors=True)
        return
    for name in names_here(path) - set(but):
        (path / name).unlink(missing_ok=True)


def names(path: pathlib.Path) -> set[str]:
    """What a folder holds besides folders, here and in the bucket, by names relative to it."""
    return names_here(path) | names_there(path)


def names_there(path: pathlib.Path) -> set[str]:
    """What the bucket's folder holds, by names relative to it."""
    return set(_objects(path))


def names_here(path: pathlib.Path) -> set[str]:
    """What a folder of this machine holds besides folders, by names relative to it."""
    return {
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }


def _objects(path: pathlib.Path) -> dict[str, gcs.RemoteObject]:
    """The objects below a folder of the bucket, by their names relative to it."""
    url = url_of(path)
    if url is None:
        return {}
    return {_file(item).relative_to(path).as_posix(): item for item in gcs.listing(url, key=KEY)}


def folders(path: pathlib.Path) -> list[pathlib.Path]:
    """The folders directly in `path`, here or in the bucket."""
    children = {path / name.split("/")[0] for name in _objects(path) if "/" in name}
    if path.is_dir():
        children.update(child for child in path.iterdir() if child.is_dir())
    return sorted(children)


def probe(path: pathlib.Path) -> None:
    """Proves that objects can be written, replaced and removed there.

    Raises ConfigError, which names what is missing.
    """
    url = url_of(path)
    if url is None:
        return
    with tempfile.NamedTemporaryFile(prefix=".probe.") as file:
        file.write(b"\0" * 4096)
        file.flush()
        name = f"{url}/{pathlib.Path(file.name).name}"
        for _ in range(2):
            gcs.upload(pathlib.Path(file.name), name, key=KEY)
        gcs.delete(gcs.listing(name, key=KEY), key=KEY)


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files below a folder, without those that are being written."""
    return sorted(
        file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")
    )


def _file(item: gcs.RemoteObject) -> pathlib.Path:
    return _jobs() / item.bucket / item.name


def _is_copy(file: pathlib.Path, item: gcs.RemoteObject) -> bool:
    return file.is_file() and file.stat().st_size == item.size and gcs.crc32c(file) == item.crc32c


def _publish(file: pathlib.Path) -> None:
    url = url_of(file)
    if url is None:
        return
    state = _state(file)
    gcs.upload(file, url, key=KEY)
    _published[file] = state


def _state(file: pathlib.Path) -> tuple[int, int]:
    """Size in bytes and time of the last change: enough to tell whether a file was written anew."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns
