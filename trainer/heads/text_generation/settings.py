"""The settings of text_generation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.heads._generation.settings import GenerationSettings


class Settings(GenerationSettings):
    """From a prompt to a text, such as a translation, a summary or an answer."""

    name: Literal["text_generation"] = Field("text_generation")
    target: str = Field(
        description="field with the text to write for data.text, which alone is learnt"
    )
    judged_examples: int | None = Field(
        500,
        ge=1,
        description=(
            "of validation and test, so many are generated and compared with their target;"
            " null: all"
        ),
    )
    judged_by: Literal["13a", "intl", "zh", "char", "none"] = Field(
        "13a", description="sacreBLEU's tokenizer: zh for Chinese targets"
    )
