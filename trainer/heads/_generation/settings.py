"""What the config says of how texts are written."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.errors import ConfigError
from trainer.settings.schema import HeadSettings

if TYPE_CHECKING:
    from trainer.backbones.config import BackboneConfig

NEW_TOKENS = 64  # written unless the config says how many
OF_BEAMS = ("length_penalty", "early_stopping")
OF_DRAWING = ("temperature", "top_k", "top_p")


class GenerationSettings(HeadSettings):
    """What every head that writes texts has."""

    prompt: str = Field(
        "{text}",
        description=(
            "what is continued, with {text} for data.text, such as 'German: {text} English:'"
        ),
    )
    max_new_tokens: int | None = Field(
        None,
        ge=1,
        description=(
            f"of a generated text; null: {NEW_TOKENS}, or half the backbone's positions if that is"
            " less"
        ),
    )
    num_beams: int = Field(
        1,
        ge=1,
        description=(
            "texts that are followed at once; 1: the likeliest token each time, or a drawn one"
        ),
    )
    do_sample: bool = Field(False, description="draw tokens")
    temperature: float = Field(
        1.0, gt=0, le=100, description="of drawing: below 1 likelier ones are preferred"
    )
    top_k: int | None = Field(None, ge=1, description="draw from the k likeliest tokens only")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="draw from the likeliest tokens that have this share together"
    )
    sampling_seed: int = Field(0, ge=0, lt=2**31, description="of drawing")
    repetition_penalty: float = Field(
        1.0,
        gt=0,
        le=10,
        description="above 1, tokens of the prompt and the text so far are less likely",
    )
    no_repeat_ngram_size: int | None = Field(
        None, ge=1, description="no so many tokens in a row come twice in the prompt and the text"
    )
    min_new_tokens: int = Field(
        0, ge=0, description="the end-of-text token comes no earlier; a text of `stop` may"
    )
    length_penalty: float = Field(1.0, description="of beams: above 0 longer texts are preferred")
    early_stopping: bool | Literal["never"] = Field(
        False,
        description=(
            "of beams: true: end when as many have ended as are followed; false: when no better one"
            " is likely; never: when none can be"
        ),
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="texts at which a generated text ends, themselves left out"
    )


@dataclasses.dataclass(frozen=True)
class Room:
    """Tokens that there is room for.

    Attributes:
        positions: of the backbone.
        new_tokens: of a written text at most.
    """

    positions: int
    new_tokens: int

    @property
    def prompt(self) -> int:
        """Tokens of a prompt at most."""
        return self.positions - self.new_tokens


def refuse_other_names(prompt: str) -> None:
    """Raises ConfigError where a prompt has not {text} once, or another name in braces."""
    if re.findall(r"\{\w+\}", prompt) != ["{text}"]:
        raise ConfigError(
            "head.prompt: expected a text with {text} once, where data.text goes, and no"
            f" other name in braces. Received {prompt!r}."
        )


def refuse_contradictions(settings: GenerationSettings) -> None:
    """Raises ConfigError where settings are given of a way of choosing that is not taken."""
    if settings.num_beams == 1:
        without_beams = "is of beams, and head.num_beams is 1. Raise that, or leave it out."
        _refuse_given(settings, OF_BEAMS, without_beams)
    if not settings.do_sample:
        without_drawing = (
            "is of drawing, and head.do_sample is false. Set that to true, or leave it out."
        )
        _refuse_given(settings, OF_DRAWING, without_drawing)
    if settings.do_sample and settings.num_beams > 1:
        raise ConfigError(
            f"head.num_beams: {settings.num_beams} beams are not drawn. Set head.do_sample to"
            " false, or head.num_beams to 1."
        )


def room_of(settings: GenerationSettings, config: BackboneConfig) -> Room:
    """How long prompts and texts may be.

    Args:
        settings: of the head.
        config: of the backbone.
    Raises:
        ConfigError: the backbone has fewer positions than a text.
    """
    positions = config.max_positions
    new_tokens = settings.max_new_tokens
    if new_tokens is None:
        new_tokens = min(NEW_TOKENS, positions // 2)
    if new_tokens >= positions:
        raise ConfigError(
            f"head.max_new_tokens: expected less than {positions}, the positions of the"
            f" backbone. Received {new_tokens}."
        )
    if settings.min_new_tokens > new_tokens:
        raise ConfigError(
            f"head.min_new_tokens: expected at most {new_tokens}, head.max_new_tokens."
            f" Received {settings.min_new_tokens}."
        )
    return Room(positions, new_tokens)


def _refuse_given(settings: GenerationSettings, keys: tuple[str, ...], problem: str) -> None:
    fields = type(settings).model_fields
    for key in keys:
        if getattr(settings, key) != fields[key].default:
            raise ConfigError(f"head.{key}: {problem}")
