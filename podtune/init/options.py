"""The arguments of `podtune init`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trainer.errors import ConfigError, shown_name, shown_value
from trainer.settings import sections
from trainer.settings.suggestions import suggest


class Given(NamedTuple):
    """What the command line says.

    Attributes:
        data: where the examples are.
        output: where the config goes.
        text: columns of text.
        label: the column of the label.
        head: the task.
        weights: the pretrained model.
        example: a config that comes with podtune, in place of data.
        yes: ask nothing.
    """

    data: str | None = None
    output: str | None = None
    text: tuple[str, ...] = ()
    label: str | None = None
    head: str | None = None
    weights: str | None = None
    example: str | None = None
    yes: bool = False


VALUES = ("output", "text", "label", "head", "weights", "example")


def parse(arguments: Sequence[str]) -> Given:
    """Reads the arguments.

    Raises:
        ConfigError: one is not known, or has no value.
    """
    values: dict[str, str] = {}
    words = []
    yes = False
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, has_value, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            words.append(argument)
        elif name in ("yes", "y") and not has_value:
            yes = True
        elif name not in VALUES:
            raise ConfigError(_unknown(argument, name))
        else:
            if not has_value and rest:
                value = rest.pop(0)
            if not value.strip():
                raise ConfigError(f"--{name}: no value. podtune init -h says what it takes.")
            values[name] = value
    if len(words) > 1:
        shown = ", ".join(map(shown_name, words))
        raise ConfigError(f"podtune init: expected one DATA. Received {len(words)}: {shown}.")
    given = Given(
        data=words[0] if words else None,
        output=values.get("output"),
        text=tuple(values["text"].split(",")) if "text" in values else (),
        label=values.get("label"),
        head=values.get("head"),
        weights=values.get("weights"),
        example=values.get("example"),
        yes=yes,
    )
    _refuse_impossible(given)
    return given


def _unknown(argument: str, name: str) -> str:
    meant = suggest(name, [*VALUES, "yes"]).replace("mean ", "mean --")
    if "." in name:
        meant = " Settings go into the config, or behind podtune train."
    known = ", ".join(f"--{known}" for known in (*VALUES, "yes"))
    return f"unknown flag {shown_name(argument)}.{meant} podtune init takes {known}."


def _refuse_impossible(given: Given) -> None:
    heads = list(sections.section_classes("head"))
    if given.head is not None and given.head not in heads:
        raise ConfigError(
            f"--head: expected one of {', '.join(heads)}. Received {shown_value(given.head)}."
        )
    if len(given.text) > 2 or not all(given.text):
        raise ConfigError(
            f"--text: expected one column, or two with a comma. Received"
            f" {shown_value(','.join(given.text))}."
        )
