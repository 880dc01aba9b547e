"""What a text is measured by, whatever the tokenizer: its words and its bytes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

# of an example: whether a document ends with it, and how many words and bytes it has
Part: TypeAlias = tuple[bool, int, int]


def count_words(text: str) -> int:
    """As white space parts them; an ideograph is one of its own, as Chinese has no spaces."""
    if text.isascii():
        return len(text.split())
    return len(word_pattern().findall(text))


def count_bytes(text: str) -> int:
    """Of the text in UTF-8."""
    return len(text.encode("utf-8", "replace"))


def text_size(parts: Iterable[Part]) -> np.ndarray:
    """(2,) int64: the words and the bytes of all examples together."""
    total = np.zeros(2, np.int64)
    for _, words, size in parts:
        total += words, size
    return total


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """What `count_words` counts."""
    from trainer.text.characters import IDEOGRAPHS

    ranges = (f"{chr(first)}-{chr(stop - 1)}" for first, stop in IDEOGRAPHS)
    ideographs = "".join(ranges)
    return re.compile(rf"[{ideographs}]|[^\s{ideographs}]+")
