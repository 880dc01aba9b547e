"""Gold words of which the tokenizer leaves nothing: white space, zero-width characters.

No tagger can be right or wrong on them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

VARIATION_SELECTORS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Zs")  # categories: control and format characters, spaces


def invisible_words(words: Sequence[str]) -> tuple[int, ...]:
    """The places of the words that show nothing: what such a word shares with a token says nothing
    of it.
    """
    return tuple(place for place, word in enumerate(words) if all(map(_is_invisible, word)))


def _is_invisible(character: str) -> bool:
    # A printable ASCII character is by far the most frequent.
    if "!" <= character <= "~":
        return False
    return unicodedata.category(character) in INVISIBLE or ord(character) in VARIATION_SELECTORS


def remaining_spans(
    tag: np.ndarray, text: np.ndarray, lost: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """Spans without their lost words: the first word that remains begins the span.

    Args:
        tag: (W,) of each word, a place in O, B-x, I-x, B-y, I-y, …; no span begins with I-.
        text: (W,) which text each word is of.
        lost: (W,) bool.
    Returns:
        The tags, those of lost words as they were; and the first words of spans of which nothing
        remains.
    """
    begins = (tag % 2 == 1) | np.concatenate([[True], text[1:] != text[:-1]])[: len(tag)]
    span = np.cumsum(begins & (tag > 0)) - 1
    kept = np.flatnonzero((tag > 0) & ~lost)
    of_kept, first = np.unique(span[kept], return_index=True)
    result = tag.copy()
    inside = (tag > 0) & (tag % 2 == 0)
    opening = kept[first]
    opening = opening[inside[opening]]
    result[opening] -= 1
    gone = np.setdiff1d(span[tag > 0], of_kept)
    return result, np.flatnonzero(begins & (tag > 0) & np.isin(span, gone)).tolist()
