"""Settings that some heads refuse."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.errors import ConfigError
from trainer.settings.schema import DataSettings, HeadSettings


def overflow_of(
    settings: HeadSettings, data: DataSettings, overflows: Sequence[str], reason: str = ""
) -> str:
    """What becomes of texts over data.seq_len.

    Args:
        settings: of the head.
        data: its `overflow`, where it is given.
        overflows: values that the head takes, its own default first.
        reason: why no others, for the message.
    Raises:
        ConfigError: it is none of them.
    """
    overflow = data.overflow or overflows[0]
    if overflow not in overflows:
        *others, last = overflows
        allowed = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"data.overflow: head {settings.name} takes {allowed}{reason}. Received {overflow!r}."
        )
    return overflow


def refuse_dropout(settings: HeadSettings) -> None:
    """Raises ConfigError where head.dropout is given, for heads without layers of their own."""
    if settings.dropout is not None:
        raise ConfigError(
            f"head.dropout: head {settings.name} has no dropout before its output."
            f" Received {settings.dropout}. Leave it out, or set backbone.hidden_dropout."
        )
