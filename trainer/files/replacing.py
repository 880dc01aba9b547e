"""Replaces a folder by a new one, whole or not at all.

It is done only where nothing is lost that is not ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from trainer.errors import JobDirError, shown_name
from trainer.files import mirror, ownership
from trainer.files.ownership import EMPTIED, LOCK, NEW, OLD

REMEDY = "Move it away, or give another --export.directory."
CANNOT_BE_RENAMED = (errno.EBUSY, errno.EXDEV)  # a mount point; a folder of a container's image
FORGOTTEN_SECONDS = 3600.0
# of the target's name within that of the folder beside it, which must not grow over the system's
# limit
NAME_LENGTH = 50


@contextlib.contextmanager
def replaced_folder(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields an empty folder that takes the place of `folder` when the block ends well.

    When the block fails, it vanishes.

    Whoever is stopped on the way leaves the folder that was there before: what a kill has left half
    exchanged, the next call puts back. A symbolic link stays one. A folder that cannot be renamed,
    as it is a mount point or as the folder above cannot be written, keeps its place and gets the
    new content.

    Args:
        folder: the target; missing, empty, or an export of ours.
    Raises:
        JobDirError: it holds what is not ours, or another process has written it meanwhile.
        OSError: the operating system refuses.
    """
    remote = mirror.url_of(folder) is not None
    target = pathlib.Path(folder) if remote else pathlib.Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(target.parent):
        for left in _left_behind(target):
            _tidy(left, target)
    ownership.require_replaceable(target, remedy=REMEDY)
    before = _identity(target)
    inside = not remote and _stays_in_place(target)
    with _exchange(target, inside=inside) as place:
        (place / NEW).mkdir()
        yield place / NEW
        ownership.mark(place / NEW)
        _sync(place / NEW)
        with _one_at_a_time(place.parent):
            if not remote and _identity(target) != before:
                raise JobDirError(
                    f"{shown_name(target, 300)}: another process has written there meanwhile."
                    f" {REMEDY}"
                )
            (_fill if inside else _swap)(place, target, remote=remote)


def _swap(place: pathlib.Path, target: pathlib.Path, *, remote: bool) -> None:
    """By two renames.

    What came into the folder since it was looked at is seen once it is aside, where nobody adds
    more.
    """
    if target.exists():
        try:
            target.rename(place / OLD)
        except OSError as error:
            if error.errno not in CANNOT_BE_RENAMED:
                raise
            with _exchange(target, inside=True) as inner:
                shutil.copytree(place / NEW, inner / NEW)
                _fill(inner, target, remote=remote)
            return
        if not remote:
            try:
                ownership.require_replaceable(
                    place / OLD, remedy=REMEDY, named=target, contents=False
                )
            except JobDirError:
                (place / OLD).rename(target)
                raise
    (place / NEW).rename(target)


def _fill(place: pathlib.Path, target: pathlib.Path, *, remote: bool) -> None:
    """The same for the content of a folder that stays; `place` is inside it."""
    del remote
    ownership.require_replaceable(target, remedy=REMEDY, contents=False)
    (place / OLD).mkdir()
    _move_children(target, place / OLD, but=place)
    (place / EMPTIED).touch()
    _move_children(place / NEW, target)
    (place / NEW).rmdir()


def _move_children(
    source: pathlib.Path, target: pathlib.Path, *, but: pathlib.Path | None = None
) -> None:
    for child in sorted(source.iterdir()):
        if child != but and not ownership.is_exchange(child):
            shutil.move(child, target / child.name)


@contextlib.contextmanager
def _exchange(target: pathlib.Path, *, inside: bool) -> Iterator[pathlib.Path]:
    """The folder of an exchange, locked while this process lives, and tidied up afterwards."""
    place = pathlib.Path(
        tempfile.mkdtemp(
            prefix=".partial." if inside else _prefix(target),
            dir=target if inside else target.parent,
        )
    )
    with open(place / LOCK, "w", encoding="utf-8") as lock:
        try_to_lock(lock.fileno())
        lock.write(target.name)
        lock.flush()
        try:
            yield place
        finally:
            _take_away(place, target)


def _left_behind(target: pathlib.Path) -> list[pathlib.Path]:
    """Exchanges that are unfinished, of processes that may or may not live."""
    beside = target.parent.glob(glob.escape(_prefix(target)) + "*")
    return sorted(
        place
        for place in [*beside, *target.glob(ownership.UNFINISHED)]
        if place.is_dir() and not place.is_symlink()
    )


def _tidy(place: pathlib.Path, target: pathlib.Path) -> None:
    """Ends what a killed process has left.

    What another process is at, or what is not ours, stays.
    """
    if not ownership.is_exchange(place):
        is_without_lock = {child.name for child in place.iterdir()} <= {OLD, NEW}
        if is_without_lock and (place / OLD).is_dir() and not target.exists():
            (place / OLD).rename(target)  # of a version that kept no lock there
        # else its process may be about to make the lock
        if time.time() - place.stat().st_mtime > FORGOTTEN_SECONDS:
            with contextlib.suppress(OSError):
                place.rmdir()  # which only an empty one lets happen
        return
    with open(place / LOCK, "r+", encoding="utf-8") as lock:
        if lock.read() == target.name and try_to_lock(lock.fileno()):
            _take_away(place, target)


def _take_away(place: pathlib.Path, target: pathlib.Path) -> None:
    """Ends an exchange: puts back what was there before, and removes the rest.

    Where the new content is in its place, it stays.
    """
    old = place / OLD
    new = place / NEW
    if old.exists() and place.parent == target:
        if new.exists():
            _put_back_children(place, target)
    elif old.exists() and not target.exists():
        old.rename(target)
    for folder in (old, new, place):  # the lock last: by it the next call knows what a kill left
        shutil.rmtree(folder, ignore_errors=True)


def _put_back_children(place: pathlib.Path, target: pathlib.Path) -> None:
    if (place / EMPTIED).exists():  # what stands in the target is part of the new content
        _move_children(target, place / NEW, but=place)
    _move_children(place / OLD, target)


def _prefix(target: pathlib.Path) -> str:
    return f".{target.name[:NAME_LENGTH]}.partial."


def _stays_in_place(target: pathlib.Path) -> bool:
    return target.is_dir() and (os.path.ismount(target) or not os.access(target.parent, os.W_OK))


def _identity(folder: pathlib.Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _one_at_a_time(parent: pathlib.Path) -> Iterator[None]:
    """Lets two processes exchange one folder after the other.

    It does so where the file system can lock folders.
    """
    try:
        descriptor = os.open(parent, os.O_RDONLY)
    except OSError:  # a folder that one may go through, but not read
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_to_lock(descriptor: int) -> bool:
    """Whether this process has the kernel's lock on an open file now; it goes with the process."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync(folder: pathlib.Path) -> None:
    """Brings the files to the disk before they get their names.

    After a power cut the old folder is there, or the new one whole.
    """
    for path in [*folder.rglob("*"), folder]:
        with contextlib.suppress(OSError):  # not every file system lets a folder be synced
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
