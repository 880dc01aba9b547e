"""The spans of gold tags, where words are lost or cut: what is left of each.

Tags are places in O, B-x, I-x, B-y, I-y, …: B- is odd, I- of the same type comes next.
"""

from __future__ import annotations

import numpy as np


def goes_inside(tag: np.ndarray) -> np.ndarray:
    """(N,) bool: which tags begin with I-."""
    return (tag > 0) & (tag % 2 == 0)


def opened(tag: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Gold tags in which no span begins with I-: such a one begins with B-.

    Args:
        tag: (N,) of tokens or words.
        text: (N,), which text each is of.
    """
    span_type = (tag - 1) // 2
    follows = np.zeros(len(tag), bool)
    follows[1:] = text[1:] == text[:-1]
    follows[1:] &= span_type[1:] == span_type[:-1]
    is_opening = goes_inside(tag) & ~follows
    return tag - is_opening


def remaining_spans(
    tag: np.ndarray, text: np.ndarray, lost: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Spans without their lost words: the first word that remains begins the span.

    Args:
        tag: (W,) of each word; no span begins with I-.
        text: (W,) which text each word is of.
        lost: (W,) bool.
    Returns:
        the tags, those of lost words as they were; and the first words of spans of which nothing
        remains, (spans,) int64.
    """
    begins = tag % 2 == 1
    begins[:1] = True
    begins[1:] |= text[1:] != text[:-1]
    is_opening = begins & (tag > 0)
    span = np.cumsum(is_opening) - 1
    kept = np.flatnonzero((tag > 0) & ~lost)
    remaining, first_kept = np.unique(span[kept], return_index=True)
    result = tag.copy()
    opening = kept[first_kept]
    result[opening] -= goes_inside(tag[opening])
    is_gone = ~np.isin(span, remaining)
    return result, np.flatnonzero(is_opening & is_gone)
