"""The folder of a store comes into being, and goes: whole or not at all, built by one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from trainer.errors import JobDirError
from trainer.files.checksums import sync, sync_tree


@contextmanager
def one_at_a_time(folder: pathlib.Path) -> Iterator[None]:
    """Waits while another process of this machine builds `folder`,
    so that the work is done once.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder.parent / f".{folder.name}.lock")
    # a cache that cannot be written may still be read, and building says what is wrong
    except OSError:
        yield
        return
    try:
        yield
    finally:
        pathlib.Path(lock.name).unlink(missing_ok=True)
        lock.close()


def _locked(path: pathlib.Path) -> IO[str]:
    """The file of that name, which is locked; one that was removed while we waited for it locks
    nobody out.
    """
    while True:
        lock = open(path, "w")  # noqa: SIM115  closed by whoever asked
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            locked_inode = os.fstat(lock.fileno()).st_ino
            if locked_inode == os.stat(path).st_ino:
                return lock
        lock.close()


def discard(folder: pathlib.Path) -> None:
    """Removes a store that is damaged, so that it can be built anew, and what killed processes left
    of theirs.

    Those who have the store open keep it. Call it where `one_at_a_time` lets no other process build
    it.

    Raises:
        JobDirError: it cannot be removed.
    """
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: {folder} is damaged and cannot be removed: {error.strerror}. "
            "Remove it, or give another --data.cache_dir."
        ) from None


@contextmanager
def building(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes `folder` if the block succeeds, and is removed if it
    does not.
    """
    temporary = _temporary_beside(folder)
    try:
        yield temporary
        sync_tree(temporary)
        _rename(temporary, folder)
        sync([folder.parent])
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: writing below {folder.parent} failed: {error.strerror}. "
            "Free some space or give another --data.cache_dir."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_beside(folder: pathlib.Path) -> pathlib.Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        created = tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)
    except OSError as error:
        raise JobDirError(
            f"data.cache_dir: {folder.parent} cannot be written: {error.strerror}. Give another"
            " --data.cache_dir."
        ) from None
    return pathlib.Path(created)


def _rename(temporary: pathlib.Path, folder: pathlib.Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        # another run may have been first: its content is the same
        if not folder.exists():
            raise
