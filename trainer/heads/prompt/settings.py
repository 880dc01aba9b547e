"""The settings of head prompt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.errors import ConfigError
from trainer.heads._classes.settings import ClassifierSettings


class Settings(ClassifierSettings):
    """Classification by words at the mask of a pattern."""

    name: Literal["prompt"] = "prompt"
    kind: Literal["single_label"] = Field("single_label", description="one of the labels")
    pattern: str = Field(
        description=(
            "with {text} and {mask}, of pairs {text_pair} too, such as '{text} It was {mask}.'"
        )
    )
    label_words: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        description="label: the word that stands for it, one token long"
    )


def check_settings(settings: Settings) -> None:
    """Raises ConfigError where settings are of other heads, or contradict each other."""
    own_defaults = {name: field.default for name, field in Settings.model_fields.items()}
    for name, value in (
        ("threshold", settings.threshold),
        ("label_separator", settings.label_separator),
    ):
        if value != own_defaults[name]:
            raise ConfigError(
                f"head.{name}: is of several labels an example, and a prompt gives one. Leave it"
                " out."
            )
    words = settings.label_words
    if settings.labels is not None and set(settings.labels) != set(words):
        raise ConfigError(
            "head.labels: others than those of head.label_words. Leave head.labels out: the"
            " words name all labels."
        )
    if len(words) < 2:
        raise ConfigError(
            f"head.label_words: expected a word for each of two labels or more. Received {words}."
        )
