"""Writing files: whole or not at all, and in the bucket too where a path stands for one."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import pathlib
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import IO, Any, Literal, overload

from trainer.errors import JobDirError, UserError, shown_value
from trainer.files import mirror

# Errors of the device, which say nothing about the file's name.
DEVICE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
REMEDIES = {
    errno.ENOSPC: "Free some space, or give another folder",
    errno.EDQUOT: "Your quota is used up: free some space, or give another folder",
    errno.EROFS: "The file system is read-only: give another folder",
    errno.ENOTDIR: "A part of the path is a file: give another folder",
    errno.EEXIST: "A part of the path is a file: give another folder",
    errno.EISDIR: "There is a folder of that name: give another path",
}
# One slash is enough: pathlib leaves one of two.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["w"] = "w"
) -> contextlib.AbstractContextManager[IO[str]]: ...


@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["wb"]
) -> contextlib.AbstractContextManager[IO[bytes]]: ...


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Yields a file that takes the place of `path` when the block ends well.

    When the block fails, the file vanishes.

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
        file = _create(temporary, mode)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if _is_of_this_file(error, temporary):
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


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Writes `value` as indented JSON, whole or not at all.

    NaN and infinities, which JSON lacks, become null.

    Args:
        path: what to write.
        value: dicts, lists, numbers (numpy's too), strings, paths.
    Raises:
        JobDirError: the operating system refuses.
        TypeError: `value` holds something else.
    """
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """What `write_json` writes."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def probe_writable(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Makes the folder and proves that a file can be written there.

    This is done before hours of work rely on it.

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
    """The path here that a path or a gs:// URL stands for.

    What is written there by `atomic_write` is written in the bucket too.

    Raises:
        JobDirError: it is of another scheme.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise JobDirError(
            f"cannot write {shown_value(text)}: a name has no NUL character. Give another path."
        )
    if SCHEME.match(text) and not text.startswith(mirror.SCHEME):
        raise JobDirError(f"cannot write {text!r}: expected a local path or gs://BUCKET/NAME.")
    return mirror.local(text)


def _create(path: pathlib.Path, mode: Literal["w", "wb"]) -> IO[Any]:
    if mode == "wb":
        return path.open("xb")
    return path.open("x", encoding="utf-8", newline="\n")


def _is_of_this_file(error: OSError, temporary: pathlib.Path) -> bool:
    """Whether it is this file that cannot be written; the block may have failed on its own."""
    if error.filename is None:
        return error.errno in DEVICE_ERRORS
    return error.filename == str(temporary)


def _refused(path: str | os.PathLike[str], error: OSError) -> UserError:
    remedy = REMEDIES.get(error.errno or 0, "Give a folder that you may write to")
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


def _plain(value: object) -> object:
    """What JSON can hold of a value."""
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
