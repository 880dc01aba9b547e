"""The settings of causal_lm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from trainer.heads._generation.settings import GenerationSettings
from trainer.heads._language_model.documents import DocumentSettings
from trainer.settings.schema import MovedKey


class Settings(DocumentSettings, GenerationSettings):
    """Causal language modelling, from random values or continued."""

    moved_keys: ClassVar[Mapping[str, MovedKey]] = {
        "target": MovedKey("text_generation", unused=None),
        "judged_examples": MovedKey("text_generation", unused=500),
        "judged_by": MovedKey("text_generation", unused="13a"),
    }

    name: Literal["causal_lm"] = Field("causal_lm")
