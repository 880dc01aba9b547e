"""Words longer than a WordPiece tokenizer takes: each is unknown as a whole.

In Thai, where no space parts words, a clause is one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# Of one word to the tokenizer: no white space, no ASCII mark, no Chinese punctuation or ideograph.
RUN = "[^\\s!-/:-@\\[-`{-~\u2010-\u2027\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uff0f]"
MOST_CHARACTERS = 3  # that one becomes when it is normalised, as a syllable of Hangul


def long_words(text: str, limit: int, normalize: Callable[[str], str]) -> int:
    """How many words of a text have more than so many characters once it is normalised."""
    least = limit // MOST_CHARACTERS + 1
    # most texts, in no time
    if len(text) < least or max(map(len, text.split()), default=0) < least:
        return 0
    runs = re.findall(f"{RUN}{{{least},}}", text)
    return sum(length > limit for run in runs for length in _word_lengths(normalize(run)))


def _word_lengths(text: str) -> list[int]:
    parted = "".join(" " if _parts(character) else character for character in text)
    return [len(word) for word in parted.split()]


def _parts(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or unicodedata.name(
        character, ""
    ).startswith("CJK")
