"""Settings that no language model takes."""

from __future__ import annotations

from trainer.errors import ConfigError
from trainer.settings.schema import DataSettings, HeadSettings


def text_field(settings: HeadSettings, data: DataSettings) -> str:
    """The one field of text. Raises ConfigError where there are two."""
    if not isinstance(data.text, str):
        raise ConfigError(
            f"data.text: head {settings.name} takes one field. Received {data.text!r}."
        )
    return data.text


def refuse_window_overlap(settings: HeadSettings, data: DataSettings) -> None:
    """Raises ConfigError where data.window_overlap is given."""
    if data.window_overlap is not None:
        raise ConfigError(
            f"data.window_overlap: head {settings.name} has no windows that overlap, as each"
            f" token counts once. Received {data.window_overlap}. Leave it out."
        )
