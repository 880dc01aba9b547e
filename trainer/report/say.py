"""Sentences of a report in the language that its reader has, both side by side in the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from trainer.report.page import Language

Say: TypeAlias = Callable[[str, str], str]  # (English, Chinese) -> the one that is read


def speaker(language: Language) -> Say:
    """A function that takes what is said in English and in Chinese, and chooses."""
    if language == "zh":
        return lambda english, chinese: chinese
    return lambda english, chinese: english
