"""The settings of masked_lm."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.heads._language_model.documents import DocumentSettings


class Settings(DocumentSettings):
    """Masked language modelling."""

    name: Literal["masked_lm"] = Field("masked_lm")
    mask_probability: Annotated[float, Field(gt=0, lt=0.9)] = Field(
        0.15, description="share of the tokens that are hidden and predicted"
    )
    whole_words: bool = Field(False, description="hide all tokens of a word, or none")
    top_k: int = Field(5, ge=1, description="words to give for each mask, likeliest first")
