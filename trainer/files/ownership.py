"""Whose a folder is: only what we have written is ever replaced.

What we export has a marker that names its files.

A folder may be replaced where it is missing, empty, or holds an export of ours and nothing else.
Exports that were written before there were markers are known by their files.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import json
import os
import pathlib
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence

from trainer.errors import JobDirError, shown_name
from trainer.files import gcs, mirror

MARKER = "podtune_files.json"
CARD = "README.md"  # of a model, which people complete by hand
ABOUT = "what podtune wrote here; the next export replaces these files, and no others"
NAMES_SHOWN = 3
# more than an export ever has: of a home folder it is enough to know that it is none
FILES_LOOKED_AT = 10_000
# What operating systems leave in folders that they show; nobody misses it.
OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini", ".nfs*")
# The folder of an exchange (see trainer.files.replacing), inside a folder that cannot be renamed,
# and what it may hold.
UNFINISHED = ".partial.*"
LOCK, NEW, OLD, EMPTIED = "lock", "new", "old", "emptied"
# Exports without a marker, of earlier versions: what they have, and what they may have.
SAVED_MODEL = (
    "saved_model.pb",
    "assets.extra/labels.json",
    "assets.extra/tf_serving_warmup_requests",
)
SAVED_MODEL_FILES = (
    *SAVED_MODEL,
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-*",
)
SHARED_PREPARATION = ("ledger.json", "train/meta.json")
SHARED_PREPARATION_FILES = (
    "ledger.json",
    *(
        f"{split}/{name}"
        for split in ("train", "validation", "test")
        for name in ("meta.json", "*.npy", "tokens.*.int32")
    ),
)
BEFORE_MARKERS = ((SAVED_MODEL, SAVED_MODEL_FILES), (SHARED_PREPARATION, SHARED_PREPARATION_FILES))


@dataclasses.dataclass(frozen=True)
class Standing:
    """What stands in a folder.

    Attributes:
        files: name -> size in bytes; None for what is no regular file.
        marker: name -> (size, crc32c) of what we wrote, or None where neither is known yet; None
            without a marker.
    """

    files: Mapping[str, int | None]
    marker: Mapping[str, tuple[int, str] | None] | None

    def foreign(self) -> list[str]:
        """The names of what we did not write, or that has another size than what we wrote."""
        if self.marker is None:
            known = _before_markers(self.files)
            return sorted(name for name in self.files if name not in known)
        noted = self.marker
        return sorted(
            name
            for name, size in self.files.items()
            if name != MARKER and not _is_as_noted(name, size, noted)
        )


def _is_as_noted(name: str, size: int | None, marker: Mapping[str, tuple[int, str] | None]) -> bool:
    """Whether a marker names a file, in this size where it knows one."""
    if size is None or name not in marker:
        return False
    noted = marker[name]
    return noted is None or noted[0] == size


def require_replaceable(
    folder: pathlib.Path, *, remedy: str, named: pathlib.Path | None = None, contents: bool = True
) -> None:
    """Refuses to replace a folder that holds what we did not write.

    The folder may be here, or in the bucket that it stands for.

    Args:
        folder: the target, whether or not it exists.
        remedy: what to do instead, the end of the message.
        named: how messages call it, if not by its own name.
        contents: compare the files' checksums too, and not only names and sizes.
    Raises:
        JobDirError: it is a file, cannot be listed, or holds something that we did not write or
            that was changed since.
    """
    shown = shown_name(mirror.shown(named or folder), 300)
    url = mirror.url_of(folder)
    if url is None and _is_missing(folder, shown, remedy):
        return
    if url is None and not os.path.isdir(folder):
        raise JobDirError(
            f"{shown} is {_kind(folder)}, and a folder is to be written there. {remedy}"
        )
    try:
        standing = _standing_remote(url) if url else _standing_here(folder)
    except OSError as error:
        raise JobDirError(
            f"{shown} cannot be listed ({error.strerror}): whether it may be replaced is not known."
            f" {remedy}"
        ) from None
    if foreign := standing.foreign():
        raise JobDirError(
            f"{shown} holds {_few(foreign)}, which podtune did not"
            f" write{_or_changed(standing, foreign)}: it is not replaced. {remedy}"
        )
    if contents and (changed := sorted(_changed(folder, url, standing))):
        raise JobDirError(
            f"{shown}: {_few(changed)} changed since podtune wrote this export: it is not replaced."
            f" {remedy}"
        )


def require_whole(folder: pathlib.Path) -> dict[str, int]:
    """Refuses a folder that is not, whole and unaltered, what we have exported.

    A card may be another one: people complete it.

    Args:
        folder: on this machine.
    Returns:
        the files, name -> bytes; the marker is one.
    Raises:
        JobDirError: it is no export, or files are missing, changed or another's.
    """
    shown = shown_name(mirror.shown(folder), 300)
    try:
        standing = _standing_here(folder)
        altered = set(_changed(folder, None, standing))
    except OSError as error:
        raise JobDirError(f"{shown} cannot be read: {error.strerror}.") from None
    if standing.marker is None:
        raise JobDirError(
            f"{shown} has no {MARKER}, which each export has. To make one: podtune export JOB_DIR"
        )
    changed = {*standing.foreign(), *altered} - {CARD}
    added = [name for name in changed if name not in standing.marker]
    missing = [name for name in standing.marker if name not in standing.files]
    problems = {
        "missing": missing,
        "changed since podtune wrote it": sorted(changed - {*added}),
        "not written by podtune": sorted(added),
    }
    for problem, names in problems.items():
        if names:
            raise JobDirError(
                f"{shown}: {problem}: {_few(names)}. Only a whole and unaltered export is taken:"
                " export again, into another folder with --export.directory."
            )
    return {name: size for name, size in standing.files.items() if size is not None}


def is_export(folder: pathlib.Path) -> bool:
    """Whether a folder, here or in the bucket that it stands for, is marked as an export."""
    if mirror.url_of(folder) is not None:
        return MARKER in mirror.names_there(folder)
    return (folder / MARKER).is_file()


def _is_missing(folder: pathlib.Path, shown: str, remedy: str) -> bool:
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise JobDirError(f"{shown} cannot be written: {error.strerror}. {remedy}") from None
    return False


def is_exchange(place: pathlib.Path) -> bool:
    """Whether that is the folder of an exchange, of a process that may or may not live."""
    return (
        place.is_dir()
        and not place.is_symlink()
        and (place / LOCK).is_file()
        and {child.name for child in place.iterdir()} <= {LOCK, NEW, OLD, EMPTIED}
    )


def mark(folder: pathlib.Path) -> None:
    """Notes in a finished folder what we wrote."""
    files = {
        name: (size, gcs.crc32c(folder / name))
        for name, size in _walk(folder)
        if size is not None and name != MARKER
    }
    _write_marker(folder, files)


def publish(folder: pathlib.Path, *, last: Sequence[str] = ()) -> None:
    """As `mirror.publish`, of a marked folder.

    In the bucket, only what is ours is replaced or removed.

    While it is under way the marker there names the files without their contents, so that whoever
    is started again after a kill finds all that is there to be ours.

    Raises:
        JobDirError: the bucket's folder has come to hold what we did not write.
        ConfigError: it cannot be written.
    """
    url = mirror.url_of(folder)
    if url is None:
        return
    require_replaceable(folder, remedy="Give another --export.directory.")
    replaced = {name for name in _standing_remote(url).files if name != MARKER}
    final = _read_marker((folder / MARKER).read_bytes())
    _write_marker(folder, dict.fromkeys({*final, *replaced}))
    mirror.add(folder / MARKER)
    mirror.publish(folder, last=last, removable=replaced)
    _write_marker(folder, final)
    mirror.add(folder / MARKER)


def _standing_here(folder: pathlib.Path) -> Standing:
    unfinished = {place.name for place in folder.glob(UNFINISHED) if is_exchange(place)}
    looked_at = itertools.islice(_walk(folder), FILES_LOOKED_AT)
    files = {
        name: size
        for name, size in looked_at
        if name.split("/")[0] not in unfinished and not _is_of_the_system(name)
    }
    marker = None
    if files.get(MARKER) is not None:
        marker = _read_marker((folder / MARKER).read_bytes())
    return Standing(files, marker)


def _standing_remote(url: str) -> Standing:
    items = _items_by_name(url)
    marker = None
    if MARKER in items:
        marker = _read_marker(gcs.content(items[MARKER], key=mirror.KEY))
    own_name = gcs.parse(url, key=mirror.KEY)[1]  # of an object in place of the folder
    return Standing({name or own_name: item.size for name, item in items.items()}, marker)


def _items_by_name(url: str) -> dict[str, gcs.RemoteObject]:
    """The objects below a folder of a bucket, by their names relative to it."""
    prefix = gcs.parse(url, key=mirror.KEY)[1]
    return {
        item.name.removeprefix(prefix).lstrip("/"): item
        for item in gcs.listing(url, key=mirror.KEY)
    }


def _walk(folder: pathlib.Path) -> Iterator[tuple[str, int | None]]:
    """All in a folder but folders: names relative to it, and sizes.

    The size is None for what is no regular file.
    """

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted([*names, *links]):
            path = pathlib.Path(parent, name)
            status = path.lstat()
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            yield path.relative_to(folder).as_posix(), size


def _is_of_the_system(name: str) -> bool:
    return any(fnmatch.fnmatch(name.rpartition("/")[2], pattern) for pattern in OF_THE_SYSTEM)


def _before_markers(files: Collection[str]) -> Collection[str]:
    """The names of an export that has no marker; none where it is not recognised by what it has."""
    for needed, allowed in BEFORE_MARKERS:
        if all(name in files for name in needed):
            return [
                name for name in files if any(fnmatch.fnmatch(name, pattern) for pattern in allowed)
            ]
    return []


def _changed(folder: pathlib.Path, url: str | None, standing: Standing) -> Iterator[str]:
    """The names of files whose content is not what the marker says."""
    remote = {} if url is None else _items_by_name(url)
    for name, noted in (standing.marker or {}).items():
        if noted is None or name not in standing.files:
            continue
        if url is None:
            crc32c = gcs.crc32c(folder / name)
        else:
            crc32c = remote[name].crc32c if name in remote else ""
        if crc32c != noted[1]:
            yield name


def _read_marker(content: bytes) -> dict[str, tuple[int, str] | None]:
    try:
        noted = json.loads(content)["files"]
        return {
            str(name): (int(value["bytes"]), str(value["crc32c"])) if value else None
            for name, value in noted.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # it names nothing: all that is there counts as another's


def _write_marker(folder: pathlib.Path, files: Mapping[str, tuple[int, str] | None]) -> None:
    noted = {
        name: {"bytes": value[0], "crc32c": value[1]} if value else None
        for name, value in sorted(files.items())
    }
    marker = {"about": ABOUT, "files": noted}
    text = json.dumps(marker, indent=2, ensure_ascii=False) + "\n"
    (folder / MARKER).write_text(text, encoding="utf-8")


def _or_changed(standing: Standing, foreign: Sequence[str]) -> str:
    return (
        " or that changed since"
        if standing.marker is not None and any(name in standing.marker for name in foreign)
        else ""
    )


def _kind(path: pathlib.Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a symbolic link that leads nowhere"
    mode = path.stat().st_mode
    kinds = ((stat.S_ISREG, "a file"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for is_kind, words in kinds if is_kind(mode)), "a device")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(shown_name(name) for name in names[:NAMES_SHOWN])
    hidden = len(names) - NAMES_SHOWN
    if hidden <= 0:
        return shown
    is_counted = len(names) < FILES_LOOKED_AT // 2  # else there may be more than were looked at
    more = f"{hidden:,}" if is_counted else "thousands"
    return f"{shown} and {more} more"
