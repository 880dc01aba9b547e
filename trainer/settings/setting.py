"""One setting: its value, and where the value was given."""

from __future__ import annotations

from typing import Any, NamedTuple

DEFAULT = "default"


class Setting(NamedTuple):
    """A value and where it was given: "configs/sst2.yaml:12", "--train.epochs", "default"."""

    value: Any
    origin: str


Settings = dict[tuple[str, str], Setting]  # (section, key) -> setting
