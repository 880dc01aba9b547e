"""The YAML that init writes: ten lines, each with a word on why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trainer.settings.one_line_yaml import as_yaml


class Line(NamedTuple):
    """A setting of the new config.

    Attributes:
        name: SECTION.KEY.
        value: of it.
        why: a comment.
    """

    name: str
    value: object
    why: str = ""


def config_text(about: Sequence[str], head: Mapping[str, object], lines: Sequence[Line]) -> str:
    """The whole file.

    Args:
        about: lines of its heading.
        head: settings of the head, on one line.
        lines: all others, in their order.
    """
    text = [*(f"# {line}" for line in about)]
    inner = ", ".join(f"{key}: {as_yaml(value)}" for key, value in head.items())
    text.append(f"head: {{{inner}}}")
    section = "head"
    for line in lines:
        own, key = line.name.split(".")
        if own != section:
            section = own
            text.append(f"{own}:")
        why = f"  # {line.why}" if line.why else ""
        text.append(f"  {key}: {as_yaml(line.value)}{why}")
    return "\n".join(text) + "\n"
