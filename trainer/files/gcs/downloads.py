"""Objects are fetched once into a cache of this machine, keyed by their generation."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gzip
import hashlib
import os
import pathlib
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from trainer.errors import ConfigError
from trainer.files.gcs import connection
from trainer.files.gcs.connection import client, explained, retry
from trainer.files.gcs.objects import RemoteObject

if TYPE_CHECKING:
    from google.cloud.storage import Blob

LARGE_BYTES = 64 << 20  # from here on an object is fetched in ranges, several at once
RANGE_BYTES = 32 << 20
CONNECTIONS = 8
ATTEMPTS = 2  # where a checksum differs
BLOCK_BYTES = 1 << 20  # read at once

Item = TypeVar("Item")
Result = TypeVar("Result")


def fetch(
    objects: Sequence[RemoteObject],
    cache: pathlib.Path,
    *,
    key: str,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[pathlib.Path]:
    """Local files with the contents of the objects, in their order.

    Those that the cache does not have in this generation are fetched. The files stand in one folder
    below `cache`, by bucket and name, so that relative names are those of the bucket.

    Args:
        objects: what is fetched.
        cache: a folder of this machine.
        key: the setting that names the objects, for messages.
        progress: called with the bytes that are here, and those of all objects.
    Raises:
        ConfigError: an object cannot be read, or what arrived is not what Cloud Storage has, twice.
    """
    _refuse_unsafe(objects, key)
    folder = cache / "fetched" / _digest(objects)
    total_bytes = sum(item.size for item in objects)
    fetched_bytes = [0]  # appended to by several threads

    def fetch_one(item: RemoteObject) -> pathlib.Path:
        blob = _cached(item, cache / "objects", key)
        path = folder / item.bucket / item.name
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(blob, path)
        fetched_bytes.append(item.size)
        progress(sum(fetched_bytes), total_bytes)
        return path

    return _smaller_first(fetch_one, objects)


def download(targets: Mapping[RemoteObject, pathlib.Path], *, key: str) -> None:
    """Writes objects to files, each whole or not at all.

    Raises:
        ConfigError: as for `fetch`.
    """
    _refuse_unsafe(targets, key)
    _smaller_first(lambda item: _download_whole(item, targets[item], key), list(targets))


def content(item: RemoteObject, *, key: str, count: int | None = None) -> bytes:
    """What an object holds, without a file.

    Args:
        item: the object.
        key: the setting that names it, for the message.
        count: only so many bytes; None: all.
    Raises:
        ConfigError: it cannot be read.
    """
    if item.size == 0:
        return b""
    last_byte = None if count is None else min(count, item.size) - 1
    with explained(key, str(item), "storage.objects.get"):
        return _blob(item).download_as_bytes(
            end=last_byte,
            raw_download=True,
            checksum=None,
            retry=retry(),
            timeout=connection.TIMEOUT_SECONDS,
        )


def crc32c(path: pathlib.Path) -> str:
    """The file's checksum in base64, as Cloud Storage writes it."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def each(action: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What an action returns of each item, several at once."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(action, items))


def _smaller_first(
    action: Callable[[RemoteObject], Result], objects: Sequence[RemoteObject]
) -> list[Result]:
    """The action's results, in the order of the objects.

    A large object has all connections to itself.
    """
    small = [item for item in objects if item.size < LARGE_BYTES]
    results = dict(zip(small, each(action, small), strict=True))
    return [results[item] if item in results else action(item) for item in objects]


def _refuse_unsafe(objects: Iterable[RemoteObject], key: str) -> None:
    """Names are any text there, such as ../../x; here they say where a file is written."""
    names = {(item.bucket, item.name) for item in objects}
    for item in objects:
        parts = item.name.split("/")
        parents = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        inside = next((parent for parent in parents if (item.bucket, parent) in names), None)
        if inside:
            raise ConfigError(
                f"{key}: gs://{item.bucket}/{inside} is an object, and {item} lies in a folder of"
                " that name, which no file system of this machine has side by side. Rename one:"
                f" gcloud storage mv gs://{item.bucket}/{inside} gs://{item.bucket}/NAME"
            )
        if not {"", ".", ".."}.isdisjoint(parts):
            raise ConfigError(
                f"{key}: {item} has a name that no file of this machine can have. Rename it: gcloud"
                f" storage mv '{item}' gs://{item.bucket}/NAME"
            )


def _digest(objects: Sequence[RemoteObject]) -> str:
    generations = [(item.bucket, item.name, item.generation) for item in sorted(objects)]
    return hashlib.blake2b(repr(generations).encode(), digest_size=16).hexdigest()


def _cached(item: RemoteObject, folder: pathlib.Path, key: str) -> pathlib.Path:
    """The object's content by generation.

    Of several processes of a machine one fetches it, the others wait.
    """
    name = hashlib.blake2b(f"{item.bucket}/{item.name}".encode(), digest_size=16).hexdigest()
    path = folder / f"{name}.{item.generation}"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return path
    lock_path = folder / f".{path.name}.lock"
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _download_whole(item, path, key)
    with contextlib.suppress(OSError):
        lock_path.unlink()
    return path


def _download_whole(item: RemoteObject, path: pathlib.Path, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.part")
    try:
        _download_verified(item, temporary, key)
        if item.encoding == "gzip":
            _unzip(item, temporary, key)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _download_verified(item: RemoteObject, path: pathlib.Path, key: str) -> None:
    """Downloads an object, again where its checksum differs."""
    for _attempt in range(ATTEMPTS):
        with explained(key, str(item), "storage.objects.get"):
            # ranges of an encoded one cannot be had as they are stored
            if item.size >= LARGE_BYTES and not item.encoding:
                _download_in_ranges(item, path)
            else:
                _download_at_once(item, path)
        found = crc32c(path)
        if found == item.crc32c:
            return
    raise ConfigError(
        f"{key}: {item} arrived with crc32c {found}, twice, and Cloud Storage has {item.crc32c}: it"
        " is damaged on the way. Check the proxy between, or copy it by gcloud storage cp and give"
        " the local path."
    )


def _download_in_ranges(item: RemoteObject, path: pathlib.Path) -> None:
    from google.cloud.storage import transfer_manager

    blob = _blob(item)
    # The transfer manager takes the size from the blob.
    blob.reload(retry=retry(), timeout=connection.TIMEOUT_SECONDS)
    transfer_manager.download_chunks_concurrently(
        blob,
        str(path),
        chunk_size=RANGE_BYTES,
        worker_type=transfer_manager.THREAD,
        max_workers=CONNECTIONS,
        download_kwargs={"retry": retry(), "timeout": connection.TIMEOUT_SECONDS},
        crc32c_checksum=False,  # ours is of the file as it lies
    )


def _download_at_once(item: RemoteObject, path: pathlib.Path) -> None:
    _blob(item).download_to_filename(
        str(path),
        raw_download=True,
        checksum=None,  # ours also sees what an interrupted download has left
        retry=retry(),
        timeout=connection.TIMEOUT_SECONDS,
    )


def _blob(item: RemoteObject) -> Blob:
    return client().bucket(item.bucket).blob(item.name, generation=item.generation)


def _unzip(item: RemoteObject, path: pathlib.Path, key: str) -> None:
    unzipped = path.with_name(f"{path.name}.unzipped")
    try:
        with gzip.open(path) as packed, unzipped.open("wb") as file:
            shutil.copyfileobj(packed, file)
        os.replace(unzipped, path)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(
            f"{key}: {item} is marked as gzip (Content-Encoding) and cannot be unzipped: {error}."
            " Upload it again."
        ) from None
    finally:
        unzipped.unlink(missing_ok=True)
