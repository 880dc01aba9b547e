"""Who holds the lock of a job_dir, and whether that process has ended."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import socket
import time

from trainer.console import on_vertex
from trainer.errors import JobDirError, shown_name
from trainer.files import mirror

BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")
STATE_AFTER_NAME = 0  # the fields of /proc/PID/stat, counted from the one after the name
START_AFTER_NAME = 19
JOB_VARIABLES = (on_vertex.JOB_ID, on_vertex.TRIAL)


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
        since = datetime.datetime.fromtimestamp(self.since).astimezone()
        return (
            f"process {self.process} on {shown_name(self.host)} has been at work there since"
            f" {since:%Y-%m-%d %H:%M:%S %Z} (--mode={shown_name(self.work)})"
        )

    def has_ended(self, now: Holder) -> bool:
        """Whether it is known to be over, as another process sees it.

        Args:
            now: that process; it may be the same job, started again, or on the same machine.
        """
        if self.job and self.job == now.job:
            return True
        if not self.machine or self.machine != now.machine:
            return False
        return process_start(self.process) != self.began

    def to_json(self) -> str:
        """What `read` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def read(cls, content: bytes | str) -> Holder | None:
        """The holder that a lock names; None where its content names nobody."""
        names = {field.name for field in dataclasses.fields(cls)}
        try:
            values = json.loads(content)
            return cls(**{name: value for name, value in values.items() if name in names})
        except (ValueError, TypeError, AttributeError):
            return None


def this_process(work: str) -> Holder:
    """The holder of a lock that this process takes."""
    process = os.getpid()
    job_names = [os.environ.get(variable) for variable in JOB_VARIABLES]
    return Holder(
        host=socket.gethostname(),
        process=process,
        work=work,
        since=time.time(),
        machine=_this_machine(),
        began=process_start(process),
        job="/".join(filter(None, job_names)),
    )


def in_use(folder: pathlib.Path, holder: Holder | None, sign: str = "") -> JobDirError:
    """The error that a job_dir is in use.

    Args:
        folder: the job_dir.
        holder: who uses it, where that is known.
        sign: a sentence on its last sign of life.
    """
    who = str(holder) if holder else "another process is at work there"
    return JobDirError(
        f"--job_dir={shown_name(mirror.shown(folder), 300)} is in use: {who}.{sign} "
        "Wait until it ends, or stop it; or give another --job_dir."
    )


def _this_machine() -> str:
    """What a process number belongs to: the machine's boot, and a namespace of processes.

    Empty where it is not known.
    """
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_start(process: int) -> str:
    """When a process began, in ticks since the boot; empty where there is none.

    A process that is over, and only waited for, is none.
    """
    stat = pathlib.Path(f"/proc/{process}/stat")
    try:
        content = stat.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = content.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[STATE_AFTER_NAME] in "ZX" else fields[START_AFTER_NAME]
