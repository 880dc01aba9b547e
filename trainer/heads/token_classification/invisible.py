"""Gold words of which the tokenizer leaves nothing: white space, zero-width characters.

No tagger can be right or wrong on them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

VARIATION_SELECTORS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Zs")  # categories: control and format characters, spaces


def invisible_words(words: Sequence[str]) -> tuple[int, ...]:
    """The places of the words that show nothing.

    What such a word shares with a token says nothing of it.
    """
    return tuple(place for place, word in enumerate(words) if all(map(_is_invisible, word)))


def _is_invisible(character: str) -> bool:
    # A printable ASCII character is by far the most frequent.
    if "!" <= character <= "~":
        return False
    return unicodedata.category(character) in INVISIBLE or ord(character) in VARIATION_SELECTORS
