"""Words longer than a WordPiece tokenizer takes: each is unknown as a whole.

In Thai, where no space parts words, a clause is one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# A character inside a word: no white space, no ASCII mark, no Chinese punctuation or ideograph.
RUN = "[^\\s!-/:-@\\[-`{-~\u2010-\u2027\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uff0f]"
MOST_CHARACTERS = 3  # of one that is normalised, as of a syllable of Hangul


def long_words(text: str, limit: int, normalize: Callable[[str], str]) -> int:
    """How many words of a text are too long.

    Args:
        text: as it is before it is normalised.
        limit: characters of a normalised word.
        normalize: how the tokenizer normalises a text.
    """
    least = limit // MOST_CHARACTERS + 1
    # Quick to say of most texts.
    if len(text) < least:
        return 0
    longest = max(map(len, text.split()), default=0)
    if longest < least:
        return 0
    count = 0
    for run in re.findall(f"{RUN}{{{least},}}", text):
        for word in _words(normalize(run)):
            if len(word) > limit:
                count += 1
    return count


def _words(text: str) -> list[str]:
    parted = "".join(" " if _stands_alone(character) else character for character in text)
    return parted.split()


def _stands_alone(character: str) -> bool:
    if unicodedata.category(character).startswith("P"):
        return True
    return unicodedata.name(character, "").startswith("CJK")
