"""Paths of this machine, as someone has written them: `~`, globs, and why one cannot be used."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from trainer.errors import CUT, ConfigError, shown_value

NAME_BYTES = 255  # of a file's name, on every usual file system
MISSING = (
    errno.ENOENT,
    errno.ENOTDIR,
)  # nothing is there, which is not to say that nothing could be


def from_text(text: str, *, key: str) -> pathlib.Path:
    """The path that a text names, with `~` and `~user` replaced.

    Args:
        key: the setting it comes from, for messages.
    Raises:
        ConfigError: no path can be so: NUL, bytes that are not UTF-8, the home of nobody.
    """
    if "\0" in text:
        raise ConfigError(f"{key}: a path has no NUL character. Received {shown_value(text)}.")
    if not text.isascii() and any("\ud800" <= ch <= "\udfff" for ch in text):
        pattern = "".join("?" if "\ud800" <= ch <= "\udfff" else ch for ch in text)
        raise ConfigError(
            f"{key}: the path {shown_value(text)} is not UTF-8, so that no config can hold it. "
            f"Rename the file, or name it by a glob: {shown_value(pattern)}."
        )
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0][1:]
        problem = (
            f"there is no user {shown_value(user)} on this machine"
            if user
            else "this user has no home directory"
        )
        raise ConfigError(
            f"{key}: {problem}, so that {shown_value(text)} names no folder. Write the whole path; "
            f"a file whose name begins with ~ is ./{text[:40]}."
        ) from None


def shareable(text: str) -> str:
    """A path as others may read it: below the working directory, or its last part alone.

    URLs stay as they are; file:// is a path.
    """
    path = text.removeprefix("file://")
    if "://" in path:
        return text
    whole = os.path.abspath(os.path.expanduser(path))
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        folder = os.sep
    if folder != os.sep and (whole + os.sep).startswith(folder + os.sep):
        return os.path.relpath(whole, folder)
    return os.path.join(CUT, os.path.basename(whole))


def refuse_unusable(path: pathlib.Path, *, key: str) -> None:
    """Raises a ConfigError where the system cannot say whether a path exists.

    Reasons are: no permission, too long a name, a loop of links.
    """
    try:
        os.stat(path)
        return
    except OSError as error:
        reason = error
    if reason.errno in MISSING:
        if path.is_symlink():
            raise ConfigError(
                f"{key}: {shown_value(str(path))} is a link to {shown_value(os.readlink(path))},"
                " where nothing is. Correct the link, or name what it should point to."
            )
        return
    raise ConfigError(
        f"{key}: {shown_value(str(path))} cannot be used: {reason.strerror}."
        f" {_remedy(path, reason.errno)}"
    )


def _remedy(path: pathlib.Path, number: int | None) -> str:
    if number == errno.ENAMETOOLONG:
        longest = max(path.parts, key=lambda part: len(os.fsencode(part)))
        return (
            f"A name has {NAME_BYTES} bytes at most; one of this path has"
            f" {len(os.fsencode(longest)):,}."
        )
    if number == errno.EACCES:
        closed = next(
            (parent for parent in reversed(path.parents) if not os.access(parent, os.X_OK)),
            path.parent,
        )
        return (
            f"You may not enter {shown_value(str(closed))}: ask its owner, or copy the files to a"
            " folder of yours."
        )
    if number == errno.ELOOP:
        return "Its symbolic links lead in a circle: correct them, or name the files themselves."
    return "Name another path."


def matching(pattern: pathlib.Path, *, key: str) -> list[pathlib.Path]:
    """What a glob (`*`, `?`, `[…]`, `**`) names, sorted.

    A part that exists as it is written is a name, even with a bracket.

    As `glob.glob` finds it: hidden names only where a part begins with a dot. But `**` enters each
    folder once, however many links lead there, so that links in a circle neither repeat files nor
    take for ever.

    Raises:
        ConfigError: a folder may not be listed, so that files might be missed.
    """
    start, *parts = pattern.parts if pattern.is_absolute() else (".", *pattern.parts)
    return sorted(set(_matching(pathlib.Path(start), parts, key)))


def _matching(folder: pathlib.Path, parts: Sequence[str], key: str) -> Iterator[pathlib.Path]:
    if not parts:
        yield folder
        return
    part, *rest = parts
    if part == "**":
        for below in _folders(folder, set(), key):
            yield from _matching(below, rest, key)
            if not rest:
                yield from (
                    pathlib.Path(entry) for entry in _entries(below, key) if not entry.is_dir()
                )
    elif os.path.lexists(folder / part):
        yield from _matching(folder / part, rest, key)
    elif glob.has_magic(part):
        for entry in _entries(folder, key, hidden=part.startswith(".")):
            if fnmatch.fnmatch(entry.name, part) and (not rest or entry.is_dir()):
                yield from _matching(folder / entry.name, rest, key)


def _folders(
    folder: pathlib.Path, entered: set[tuple[int, int]], key: str
) -> Iterator[pathlib.Path]:
    """A folder and all below it, those first that come first by name."""
    try:
        state = os.stat(folder)
    except OSError:  # gone, or a link to nothing
        return
    if (state.st_dev, state.st_ino) in entered:
        return
    entered.add((state.st_dev, state.st_ino))
    yield folder
    for entry in _entries(folder, key):
        if entry.is_dir():
            yield from _folders(folder / entry.name, entered, key)


def _entries(folder: pathlib.Path, key: str, *, hidden: bool = False) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry for entry in entries if hidden or not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except PermissionError:
        raise ConfigError(
            f"{key}: the folder {shown_value(str(folder))} may not be listed, and files in it would"
            " be missed. Ask its owner, or name the files one by one."
        ) from None
    except OSError:  # no folder
        return []
