"""One process a job_dir: whoever writes there holds its lock.

It is free again as soon as the holder dies. On a file system of this machine the kernel's lock does
that. Where others may write too, in a bucket or on a network's file system, the holder gives signs
of life.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
from typing import IO

from trainer.files import mirror
from trainer.run.lock_holder import Holder, in_use, this_process
from trainer.run.signs_of_life import BucketPlace, FilePlace, SignsOfLife

FILE = ".lock"
# beside it on a network's file system; in a bucket, where a copy of a job_dir may have brought the
# other
SIGN_FILE = ".lock.alive"
# what file systems that know none answer
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
MOUNTS = pathlib.Path("/proc/self/mounts")
OF_A_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "gluster",
    "fuse",
)


class JobLock:
    """The lock of one job_dir; `take` takes it.

    Args:
        folder: the job_dir here, which exists; it may stand for one in a bucket.
        me: who takes it.
    """

    def __init__(self, folder: pathlib.Path, me: Holder) -> None:
        self._folder = folder
        self._me = me
        self._file: IO[str] | None = None
        self._signs: SignsOfLife | None = None

    @classmethod
    def take(cls, folder: pathlib.Path, work: str) -> JobLock:
        """Takes the lock of a job_dir.

        Args:
            folder: the job_dir.
            work: what it is held for, such as "train".
        Raises:
            JobDirError: another process holds it.
        """
        me = this_process(work)
        lock = cls(folder, me)
        url = mirror.url_of(folder)
        if url is not None:
            place = BucketPlace(f"{url}/{SIGN_FILE}")
            lock._signs = SignsOfLife.begin(place, me, folder)
            return lock
        locked = lock._lock_file()
        if not locked or _is_of_a_network(folder):
            lock._signs = SignsOfLife.begin(FilePlace(folder / SIGN_FILE), me, folder)
        return lock

    def release(self) -> None:
        """Lets others in."""
        if self._signs is not None:
            self._signs.end()
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def require(self, *, ask: bool = False) -> bool:
        """Looks whether this process still holds it, and takes it again where it was removed.

        Args:
            ask: ask the bucket now, and not only what the last sign of life found.
        Returns:
            whether it was still there.
        Raises:
            JobDirError: another process has it now.
        """
        if self._signs is not None and not self._signs.require(ask=ask):
            return False
        if self._file is None or self._is_in_place(self._file):
            return True
        self._file.close()
        self._file = None
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock_file()
        return False

    def _lock_file(self) -> bool:
        """Takes the kernel's lock; False where the file system knows none."""
        while True:
            path = self._folder / FILE
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held until the process ends
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                with file:
                    if error.errno in WITHOUT_LOCKS:
                        return False
                    raise in_use(self._folder, _written_holder(file)) from None
            if self._is_in_place(file):  # not one that was removed between the two calls
                break
            file.close()
        self._file = file
        file.truncate(0)
        file.write(self._me.to_json())
        file.flush()
        return True

    def _is_in_place(self, file: IO[str]) -> bool:
        try:
            there = os.stat(self._folder / FILE)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(file.fileno()))


def _written_holder(file: IO[str]) -> Holder | None:
    file.seek(0)
    return Holder.read(file.read())


def _is_of_a_network(folder: pathlib.Path) -> bool:
    """Whether other machines may write there: the kernel's lock does not keep these out."""
    place = os.path.realpath(folder)
    longest = ""
    file_system = ""
    with contextlib.suppress(OSError), MOUNTS.open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            _, mount_point, type_name, *_ = line.split(" ")
            mount_point = mount_point.replace("\\040", " ")
            if _is_below(place, mount_point) and len(mount_point) >= len(longest):
                longest = mount_point
                file_system = type_name
    return file_system.startswith(OF_A_NETWORK)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
