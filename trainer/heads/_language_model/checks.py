"""Settings that no language model takes."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.errors import ConfigError
from trainer.settings.schema import DataSettings, HeadSettings


def refuse_dropout(settings: HeadSettings) -> None:
    """Raises ConfigError where head.dropout is given: these heads have no layer behind one."""
    if settings.dropout is not None:
        raise ConfigError(
            f"head.dropout: head {settings.name} has no dropout before its output."
            f" Received {settings.dropout}. Leave it out, or set backbone.hidden_dropout."
        )


def text_field(settings: HeadSettings, data: DataSettings) -> str:
    """The one field of text. Raises ConfigError where there are two."""
    if not isinstance(data.text, str):
        raise ConfigError(
            f"data.text: head {settings.name} takes one field. Received {data.text!r}."
        )
    return data.text


def overflow_of(settings: HeadSettings, data: DataSettings, allowed: Sequence[str]) -> str:
    """What becomes of texts over data.seq_len.

    Args:
        settings: of the head.
        data: has data.overflow.
        allowed: the head's own default first.
    Raises:
        ConfigError: it is none of these.
    """
    overflow = data.overflow or allowed[0]
    if overflow not in allowed:
        *others, last = allowed
        choices = f"{', '.join(others)} or {last}" if others else last
        raise ConfigError(
            f"data.overflow: head {settings.name} takes {choices}. Received {overflow!r}."
        )
    return overflow


def refuse_window_overlap(settings: HeadSettings, data: DataSettings) -> None:
    """Raises ConfigError where data.window_overlap is given."""
    if data.window_overlap is not None:
        raise ConfigError(
            f"data.window_overlap: head {settings.name} has no windows that overlap, as each"
            f" token counts once. Received {data.window_overlap}. Leave it out."
        )
