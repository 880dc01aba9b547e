"""Signs of life: how a process holds a job_dir where the kernel's lock does not keep others out.

They are given twice a minute, in an object of a bucket or in a file on a network's file system. A
holder that gives none any more is taken over: at once by the same job or machine that was started
again, by others after STALE_SECONDS.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import threading
import time
from typing import NamedTuple, Protocol

from trainer.errors import JobDirError, UserError
from trainer.files import gcs, mirror
from trainer.run.lock_holder import Holder, in_use

SIGN_SECONDS = 30.0
STALE_SECONDS = 180.0
# a stale holder is watched so long before it is taken over: clocks of two machines may differ
WATCH_SECONDS = 45.0
END_SECONDS = 5.0  # so long an end waits for a sign that is being given


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
        """Gives one.

        Args:
            content: who gives it.
            replaces: the version that it takes the place of; None: it is the first.
        Returns:
            its version, or None where another process was faster.
        """

    def remove(self, version: int) -> None:
        """Takes the last one away, if it is that version."""


class BucketPlace:
    """An object in a bucket; its generation is the version."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> Sign | None:
        """See Place."""
        note = gcs.read_note(self._url, key=mirror.KEY)
        if note is None:
            return None
        return Sign(Holder.read(note.content), note.generation, note.age)

    def write(self, content: bytes, replaces: int | None) -> int | None:
        """See Place."""
        return gcs.write_note(self._url, content, replaces=replaces or 0, key=mirror.KEY)

    def remove(self, version: int) -> None:
        """See Place."""
        gcs.remove_note(self._url, version, key=mirror.KEY)


class FilePlace:
    """A file on a network's file system; its time of change is the version."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def read(self) -> Sign | None:
        """See Place."""
        try:
            version = self._path.stat().st_mtime_ns
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return Sign(Holder.read(content), version, time.time() - version / 1e9)

    def write(self, content: bytes, replaces: int | None) -> int | None:
        """See Place."""
        temporary = self._path.with_name(f".lock.{secrets.token_hex(6)}.tmp")
        temporary.write_bytes(content)
        try:
            if replaces is None:
                os.link(temporary, self._path)  # only where there is none
            elif not self._has(replaces):
                return None
            else:
                os.replace(temporary, self._path)
            return self._path.stat().st_mtime_ns
        except FileExistsError:
            return None
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, version: int) -> None:
        """See Place."""
        if self._has(version):
            self._path.unlink(missing_ok=True)

    def _has(self, version: int) -> bool:
        sign = self.read()
        return sign is not None and sign.version == version


class SignsOfLife:
    """Gives signs of life from a thread of its own, for as long as nobody else does.

    Args:
        place: where.
        me: whose.
        folder: the job_dir, for messages.
        version: of the first sign, which is given.
    """

    def __init__(self, place: Place, me: Holder, folder: pathlib.Path, version: int) -> None:
        self._place = place
        self._me = me
        self._folder = folder
        self._version = version
        self._removed = False
        self._other: Holder | None = None
        self._lost = False
        self._ended = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._give, name="job_dir lock", daemon=True)

    @classmethod
    def begin(cls, place: Place, me: Holder, folder: pathlib.Path) -> SignsOfLife:
        """Gives the first one, and then one after the other.

        Args:
            place: where they are given.
            me: who gives them.
            folder: that is held.
        Raises:
            JobDirError: another process gives them.
        """
        signs = cls(place, me, folder, _first_version(place, me, folder))
        signs._thread.start()
        return signs

    def end(self) -> None:
        """Gives no more, and lets others in."""
        self._ended.set()
        self._thread.join(END_SECONDS)
        if not self._lost:
            with contextlib.suppress(UserError, OSError):  # it goes stale by itself
                self._place.remove(self._version)

    def require(self, *, ask: bool) -> bool:
        """Whether the last sign was found in its place.

        Args:
            ask: give one now, and see.
        Raises:
            JobDirError: another process gives them now.
        """
        if ask and not self._lost:
            with contextlib.suppress(UserError, OSError):
                self._give_one()
        if self._lost:
            raise JobDirError(
                f"{in_use(self._folder, self._other)} It has taken over from this process,"
                " which stops: it writes nothing there any more."
            )
        was_removed, self._removed = self._removed, False
        return not was_removed

    def _give(self) -> None:
        while not self._ended.wait(SIGN_SECONDS):
            # an outage: the next one may come through
            with contextlib.suppress(UserError, OSError):
                self._give_one()
            if self._lost:
                return

    def _give_one(self) -> None:
        with self._one_at_a_time:
            version = self._write(self._version)
            if version is None:
                version = self._write_after_loss()
            if version is not None and not self._ended.is_set():
                self._version = version

    def _write_after_loss(self) -> int | None:
        """Gives a sign where the last one is not in its place; None where another process's is."""
        sign = self._place.read()
        if sign is not None and sign.holder != self._me:
            self._other = sign.holder
            self._lost = True
            return None
        self._removed = self._removed or sign is None
        return self._write(sign.version if sign else None)

    def _write(self, replaces: int | None) -> int | None:
        return self._place.write(self._me.to_json().encode(), replaces)


def _first_version(place: Place, me: Holder, folder: pathlib.Path) -> int:
    """Gives the first sign; its version.

    Raises:
        JobDirError: another process gives signs there.
    """
    while True:
        sign = place.read()
        if sign is not None and not _may_take_over(place, sign, me):
            age = (
                f" Its last sign of life was {max(0, sign.age):.0f} s ago; {STALE_SECONDS:.0f}"
                " s after the last one its place is free."
            )
            raise in_use(folder, sign.holder, age)
        version = place.write(me.to_json().encode(), sign.version if sign else None)
        if version is not None:
            return version


def _may_take_over(place: Place, sign: Sign, me: Holder) -> bool:
    """Whether the process that gave a sign has ended, or seems to have."""
    if sign.holder == me:
        return True  # the answer to its own request was lost
    if sign.holder is not None and sign.holder.has_ended(me):
        return True
    if sign.age < STALE_SECONDS:
        return False
    time.sleep(WATCH_SECONDS)
    later = place.read()
    return later is None or later.version == sign.version
