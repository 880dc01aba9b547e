"""What the config says of a tagger."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.settings.schema import HeadSettings


class Settings(HeadSettings):
    """Tags of words: entities, slots, parts of speech."""

    name: Literal["token_classification"] = "token_classification"
    scheme: Literal["auto", "bio", "iob1", "bioes", "bmes", "bilou", "none"] = Field(
        "auto",
        description=(
            "how tags mark spans: as train shows; one of the usual ways; none: a tag a word, such"
            " as parts of speech"
        ),
    )
    word_separator: str = Field(
        " ", description='between the words of a sentence that comes as words; "" for Chinese'
    )
    crf: bool = Field(
        False,
        description=(
            "score whole sequences of tags with a linear-chain CRF instead of each tag alone"
        ),
    )
