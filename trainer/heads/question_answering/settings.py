"""What the config says of the head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.settings.schema import HeadSettings


class Settings(HeadSettings):
    """Answers that are spans of a context."""

    name: Literal["question_answering"] = "question_answering"
    max_question_tokens: int = Field(
        64, ge=1, description="longer questions are cut; the ledger counts them"
    )
    max_answer_tokens: int = Field(30, ge=1, description="longer spans are no answers")
    n_best: int = Field(
        20, ge=1, description="candidates of each text, over which the score is a share"
    )
    top_k: int = Field(
        1,
        ge=1,
        description="answers to give to a question, best first; more than one: n_best lists them",
    )
    language: Literal["en", "zh"] = Field(
        "en", description="of the metrics: words without articles, or Chinese characters"
    )
