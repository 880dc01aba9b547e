"""The configs that come with podtune."""

from __future__ import annotations

import pathlib

import podtune
from podtune.init.output import write_new
from trainer.console import standard_streams
from trainer.errors import ConfigError, shown_value
from trainer.settings.suggestions import suggest

PACKAGE = pathlib.Path(podtune.__file__).parent
# in a wheel, or beside the package in a checkout
FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")


def folder() -> pathlib.Path:
    """Where they are."""
    for candidate in FOLDERS:
        if (candidate / "schema.json").exists():
            return candidate
    raise ConfigError("the example configs are not installed. Install podtune again.")


def names() -> list[str]:
    """What they are called."""
    return sorted(file.stem for file in folder().glob("*.yaml"))


def copy(name: str, output: str | None) -> None:
    """Writes an example where the user is, or lists them all.

    Raises:
        ConfigError: there is none of this name, or the file exists.
    """
    if name == "list":
        for own in names():
            standard_streams.print_text(f"{own:<18}{_title(folder() / f'{own}.yaml')}")
        return
    if name not in names():
        meant = suggest(name, names())
        raise ConfigError(
            f"--example: expected one of {', '.join(names())}. Received {shown_value(name)}.{meant}"
        )
    target = pathlib.Path(output or f"{name}.yaml")
    write_new(target, (folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    standard_streams.print_text(f"wrote {target}; its first lines say what it takes")
    standard_streams.print_text(f"next  podtune train {target}")


def _title(file: pathlib.Path) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "yaml-language-server" not in line:
            return line.removeprefix("# ").split(". ")[0].rstrip(":.")
    return ""
