"""How right an answer is: SQuAD's official figures, and MLQA's for Chinese.

Source: Rajpurkar et al. 2016 (v1.1), 2018 (v2.0) and their evaluation scripts; Lewis et al. 2020
(MLQA) for Chinese.
"""

from __future__ import annotations

import functools
import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
IDEOGRAPHS = re.compile(r"[\u4e00-\u9fa5]")
_DELETED_MARKS = str.maketrans("", "", string.punctuation)

Language: TypeAlias = Literal["en", "zh"]


class Figures(NamedTuple):
    """How right an answer is, each from 0 to 1."""

    exact_match: float
    f1: float


def figures(answer: str, golds: Sequence[str], language: Language, *, v2: bool) -> Figures:
    """Judges an answer by each gold answer, and takes the best of each figure.

    Args:
        answer: "" for none.
        golds: the gold answers; of v2.0 none where there is no answer.
        language: how words are found.
        v2: whether by SQuAD v2.0, which has 1 where neither has a word; v1.1 has 0.
    """
    ours = words(answer, language)
    of_golds = [words(gold, language) for gold in golds]
    if v2:
        of_golds = [theirs for theirs in of_golds if theirs] or [[]]
    exact_match = any(ours == theirs for theirs in of_golds)
    f1 = max((_f1(ours, theirs, v2=v2) for theirs in of_golds), default=0.0)
    return Figures(float(exact_match), f1)


def words(text: str, language: Language) -> list[str]:
    """What is compared: words in lower case without punctuation.

    English ones have no articles; Chinese ones are characters, and what stands between them.

    Args:
        text: an answer.
        language: how words are found.
    """
    text = text.lower()
    if language == "zh":
        text = text.translate(_deleted_marks_of_unicode())
        return IDEOGRAPHS.sub(r" \g<0> ", text).split()
    text = text.translate(_DELETED_MARKS)
    return ARTICLES.sub(" ", text).split()


def _f1(ours: Sequence[str], theirs: Sequence[str], *, v2: bool) -> float:
    """The harmonic mean of precision and recall over the words."""
    if not ours or not theirs:
        return float(v2 and ours == theirs)
    shared = Counter(ours) & Counter(theirs)
    common = sum(shared.values())
    if not common:
        return 0.0
    return 2 * common / (len(ours) + len(theirs))


@functools.cache
def _deleted_marks_of_unicode() -> dict[int, None]:
    """For str.translate: all punctuation is left out."""
    marks = map(ord, string.punctuation)
    deleted = dict.fromkeys(marks)
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith("P"):
            deleted[code] = None
    return deleted
