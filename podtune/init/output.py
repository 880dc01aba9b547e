"""A new file, never in place of one that is there."""

from __future__ import annotations

import pathlib

from trainer.errors import ConfigError, shown_name


def write_new(target: pathlib.Path, text: str) -> None:
    """Writes a file that does not exist yet.

    Raises:
        ConfigError: it exists, or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{shown_name(target)}: exists already, and is left as it is. Give another place with"
            " --output=FILE."
        ) from None
    except OSError as error:
        raise ConfigError(f"{shown_name(target)}: cannot be written: {error.strerror}.") from None
