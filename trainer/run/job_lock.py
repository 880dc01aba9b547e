"""One process a job_dir: whoever writes there holds its lock, which is free again as soon as the
holder dies.

On a file system of this machine the kernel's lock does that. Where others may write too, in a
bucket or on a network's
file system, the holder gives a sign of life twice a minute, and one that gives none any more is
taken over: at once by the same job or machine that was started again, by others after
STALE_SECONDS.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import pathlib
import secrets
import socket
import threading
import time
from typing import IO, NamedTuple, Protocol

from trainer.errors import JobDirError, UserError, shown_name
from trainer.files import gcs, mirror

FILE = ".lock"
# beside it on a network's file system; in a bucket, where a copy of a job_dir may have brought the
# other
SIGN_FILE = ".lock.alive"
SIGN_SECONDS = 30.0
STALE_SECONDS = 180.0
# a stale holder is watched so long before it is taken over: clocks of two machines may differ
WATCH_SECONDS = 45.0
END_SECONDS = 5.0  # so long an end waits for a sign that is being given
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


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        host, process: where it runs; people look for it there.
        work: what it does, such as "train".
        since: seconds since 1970.
        machine: the boot and the process namespace in which `process` and `began` mean something.
        began: when the process began, in the kernel's ticks; tells it from a later one of the same
            number.
        job: the platform's name for the job, which stays when the job is started again.
    """

    host: str
    process: int
    work: str
    since: float
    machine: str = ""
    began: str = ""
    job: str = ""

    def __str__(self) -> str:
        """For people."""
        began = (
            datetime.datetime.fromtimestamp(self.since)
            .astimezone()
            .strftime("%Y-%m-%d %H:%M:%S %Z")
        )
        return (
            f"process {self.process} on {shown_name(self.host)} has been at work there since"
            f" {began} (--mode={shown_name(self.work)})"
        )

    def has_ended(self, now: Holder) -> bool:
        """Whether it is known to be over: the job was started again, or the process is no more on
        this machine.
        """
        if self.job and self.job == now.job:
            return True
        return (
            bool(self.machine)
            and self.machine == now.machine
            and _began(self.process) != self.began
        )

    @classmethod
    def read(cls, content: bytes | str) -> Holder | None:
        """None where that names nobody."""
        try:
            known = {field.name for field in dataclasses.fields(cls)}
            return cls(
                **{name: value for name, value in json.loads(content).items() if name in known}
            )
        except (ValueError, TypeError, AttributeError):
            return None


def this_process(work: str) -> Holder:
    """The holder of a lock that this process takes."""
    job = "/".join(
        filter(None, (os.environ.get("CLOUD_ML_JOB_ID"), os.environ.get("CLOUD_ML_TRIAL_ID")))
    )
    return Holder(
        socket.gethostname(), os.getpid(), work, time.time(), _machine(), _began(os.getpid()), job
    )


class JobLock:
    """The lock of one job_dir.

    Args:
        folder: the job_dir here, which exists; it may stand for one in a bucket.
        work: what it is held for, such as "train".
    Raises:
        JobDirError: another process holds it.
    """

    def __init__(self, folder: pathlib.Path, work: str) -> None:
        self._folder = folder
        self._me = this_process(work)
        self._file: IO[str] | None = None
        self._signs: _Signs | None = None
        url = mirror.url_of(folder)
        if url is not None:
            self._signs = _Signs(_Object(f"{url}/{SIGN_FILE}"), self._me, folder)
            return
        if not self._lock_file() or _is_of_a_network(folder):
            self._signs = _Signs(_File(folder / SIGN_FILE), self._me, folder)

    def release(self) -> None:
        """Lets others in."""
        if self._signs is not None:
            self._signs.end()
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def require(self, *, ask: bool = False) -> bool:
        """Looks whether this process still holds it, and takes it again where it has been removed.

        Args:
            ask: ask the bucket now, and not only what the last sign of life found.
        Returns:
            whether it was still there.
        Raises:
            JobDirError: another process has it now.
        """
        if self._signs is not None and not self._signs.require(ask=ask):
            return False
        if self._file is None or self._is_in_place():
            return True
        removed, self._file = self._file, None
        removed.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock_file()
        return False

    def _lock_file(self) -> bool:
        """Takes the kernel's lock; False where the file system knows none."""
        path = self._folder / FILE
        while True:
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held until the process ends
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in WITHOUT_LOCKS:
                    file.close()
                    return False
                with file:
                    raise _in_use(self._folder, _written(file), "") from None
            self._file = file
            if self._is_in_place():  # not one that was removed between the two calls
                break
            file.close()
        file.truncate(0)
        file.write(json.dumps(dataclasses.asdict(self._me)))
        file.flush()
        return True

    def _is_in_place(self) -> bool:
        try:
            there = os.stat(self._folder / FILE)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file.fileno()))


def _written(file: IO[str]) -> Holder | None:
    file.seek(0)
    return Holder.read(file.read())


def _in_use(folder: pathlib.Path, holder: Holder | None, sign: str) -> JobDirError:
    who = str(holder) if holder else "another process is at work there"
    return JobDirError(
        f"--job_dir={shown_name(mirror.shown(folder), 300)} is in use: {who}.{sign} "
        "Wait until it ends, or stop it; or give another --job_dir."
    )


class Sign(NamedTuple):
    """A sign of life: whose, which one, and how old in seconds."""

    holder: Holder | None
    version: int
    age: float


class Place(Protocol):
    """Where signs of life are given."""

    def read(self) -> Sign | None:
        """The last one; None where there is none."""

    def write(self, content: bytes, replaces: int | None) -> int | None:
        """Gives one in place of that version, or the first; its version, or None where another
        process was faster.
        """

    def remove(self, version: int) -> None:
        """Takes the last one away, if it is that version."""


class _Object:
    """An object in a bucket; its generation is the version."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> Sign | None:
        found = gcs.read_note(self._url, key=mirror.KEY)
        return Sign(Holder.read(found.content), found.generation, found.age) if found else None

    def write(self, content: bytes, replaces: int | None) -> int | None:
        return gcs.write_note(self._url, content, replaces=replaces or 0, key=mirror.KEY)

    def remove(self, version: int) -> None:
        gcs.remove_note(self._url, version, key=mirror.KEY)


class _File:
    """A file on a network's file system; its time of change is the version."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def read(self) -> Sign | None:
        try:
            version = self._path.stat().st_mtime_ns
            return Sign(Holder.read(self._path.read_bytes()), version, time.time() - version / 1e9)
        except FileNotFoundError:
            return None

    def write(self, content: bytes, replaces: int | None) -> int | None:
        temporary = self._path.with_name(f"{FILE}.{secrets.token_hex(6)}.tmp")
        temporary.write_bytes(content)
        try:
            if replaces is None:
                os.link(temporary, self._path)  # only where there is none
            elif (there := self.read()) is None or there.version != replaces:
                return None
            else:
                os.replace(temporary, self._path)
            return self._path.stat().st_mtime_ns
        except FileExistsError:
            return None
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, version: int) -> None:
        if (there := self.read()) is not None and there.version == version:
            self._path.unlink(missing_ok=True)


class _Signs:
    """Gives signs of life from a thread of its own, for as long as nobody else does."""

    def __init__(self, place: Place, me: Holder, folder: pathlib.Path) -> None:
        self._place = place
        self._folder = folder
        self._me = me
        self._content = json.dumps(dataclasses.asdict(me)).encode()
        self._version = self._begin()
        self._removed = False
        self._other: Holder | None = None
        self._lost = False
        self._ended = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._give, name="job_dir lock", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Gives no more, and lets others in."""
        self._ended.set()
        self._thread.join(END_SECONDS)
        if not self._lost:
            with contextlib.suppress(UserError, OSError):  # it goes stale by itself
                self._place.remove(self._version)

    def require(self, *, ask: bool) -> bool:
        """Whether the last sign was found in its place; raises JobDirError where another process
        gives them now.
        """
        if ask and not self._lost:
            with contextlib.suppress(UserError, OSError):
                self._give_one()
        if self._lost:
            raise JobDirError(
                f"{_in_use(self._folder, self._other, '')} It has taken over from this process,"
                " which stops: it writes nothing there any more."
            )
        was_removed, self._removed = self._removed, False
        return not was_removed

    def _begin(self) -> int:
        while True:
            there = self._place.read()
            if there is not None and not self._may_take_over(there):
                sign = (
                    f" Its last sign of life was {max(0, there.age):.0f} s ago; {STALE_SECONDS:.0f}"
                    " s after the last one its place is free."
                )
                raise _in_use(self._folder, there.holder, sign)
            version = self._place.write(self._content, there.version if there else None)
            if version is not None:
                return version

    def _may_take_over(self, there: Sign) -> bool:
        if there.holder is not None and (
            there.holder == self._me or there.holder.has_ended(self._me)
        ):
            return True  # itself, where the answer to its own request was lost
        if there.age < STALE_SECONDS:
            return False
        time.sleep(WATCH_SECONDS)
        later = self._place.read()
        return later is None or later.version == there.version

    def _give(self) -> None:
        while not self._ended.wait(SIGN_SECONDS):
            # an outage: the next one may come through
            with contextlib.suppress(UserError, OSError):
                self._give_one()
            if self._lost:
                return

    def _give_one(self) -> None:
        with self._one_at_a_time:
            self._give_now()

    def _give_now(self) -> None:
        version = self._place.write(self._content, self._version)
        if version is None:
            there = self._place.read()
            if there is not None and there.holder != self._me:
                self._other = there.holder
                self._lost = True
                return
            self._removed = self._removed or there is None
            version = self._place.write(self._content, there.version if there else None)
        if version is not None and not self._ended.is_set():
            self._version = version


def _machine() -> str:
    """What a process number belongs to: the boot of the machine, and a namespace of processes.

    Empty where it is not known.
    """
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _began(process: int) -> str:
    """When a process began, in ticks since the boot; empty where there is none, or it is over and
    only waited for.
    """
    try:
        after_name = (
            pathlib.Path(f"/proc/{process}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]


def _is_of_a_network(folder: pathlib.Path) -> bool:
    """Whether other machines may write there,
    whose processes the kernel's lock does not keep out.
    """
    place = os.path.realpath(folder)
    best, kind = "", ""
    with contextlib.suppress(OSError), MOUNTS.open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            _, point, type_name, *_ = line.split(" ")
            point = point.replace("\\040", " ")
            if (place == point or place.startswith(point.rstrip("/") + "/")) and len(point) >= len(
                best
            ):
                best, kind = point, type_name
    return kind.startswith(OF_A_NETWORK)
