"""--flagfile=FILE: flags from a file, one a line, as absl has them.

Read here, so that a mistake in one is told like any other.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from trainer.errors import ConfigError, shown_value
from trainer.settings.settings_file import read_settings, shown_path

NAMES = ("--flagfile", "-flagfile")
MOST_FILES = 20  # that one command line reads, files named in files included
COMMENTS = ("#", "//")


def expanded(argv: Sequence[str]) -> list[str]:
    """The arguments with those of each flagfile in its place.

    Raises:
        ConfigError: a file cannot be read, names itself, or names too many others.
    """
    budget = [MOST_FILES]
    return _expanded(list(argv), (), budget)


def _expanded(
    arguments: list[str], inside: tuple[pathlib.Path, ...], budget: list[int]
) -> list[str]:
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, path = argument.partition("=")
        if name not in NAMES:
            result.append(argument)
            if argument == "--":
                break
            continue
        path = path if equals else next(rest, "")
        result += _expanded(_lines(path, inside), (*inside, pathlib.Path(path)), _spent(budget))
    return [*result, *rest]


def _lines(path: str, inside: tuple[pathlib.Path, ...]) -> list[str]:
    if not path.strip():
        raise ConfigError(
            "--flagfile: no path. Expected --flagfile=FILE, a file with one flag a line."
        )
    file = pathlib.Path(path)
    if file in inside:
        raise ConfigError(
            f"--flagfile={shown_path(file)}: names itself, by {shown_path(inside[-1])}. "
            "Remove that line."
        )
    lines = (line.strip() for line in read_settings(file, key="--flagfile").splitlines())
    flags = [line for line in lines if line and not line.startswith(COMMENTS)]
    for line in flags:
        if not line.startswith("-"):
            raise ConfigError(
                f"--flagfile={shown_path(file)}: expected a flag in each line, such as "
                f"--train.epochs=2. Received {shown_value(line)}."
            )
    return flags


def _spent(budget: list[int]) -> list[int]:
    if budget[0] == 0:
        raise ConfigError(f"--flagfile: more than {MOST_FILES} files. Put the flags into one.")
    budget[0] -= 1
    return budget
