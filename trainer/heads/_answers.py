"""How right an answer is: SQuAD's official figures, and MLQA's for Chinese.

Source: Rajpurkar et al. 2016 (v1.1), 2018 (v2.0) and their evaluation scripts; Lewis et al. 2020
(MLQA) for Chinese.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
MARKS = {
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)).startswith("P")
} | set(string.punctuation)
IDEOGRAPHS = re.compile(r"[\u4e00-\u9fa5]")


def tokens(text: str, language: str) -> list[str]:
    """What is compared: words in lower case, without punctuation, in English without articles; in
    Chinese its characters, and the words between them.
    """
    text = text.lower()
    if language == "zh":
        return IDEOGRAPHS.sub(
            lambda match: f" {match[0]} ", "".join(char for char in text if char not in MARKS)
        ).split()
    return ARTICLES.sub(
        " ", "".join(char for char in text if char not in string.punctuation)
    ).split()


def exact_match(answer: str, gold: str, language: str) -> float:
    """1 where the words are the same, else 0."""
    return float(tokens(answer, language) == tokens(gold, language))


def f1(answer: str, gold: str, language: str, *, v2: bool) -> float:
    """The harmonic mean of precision and recall over the words. v2.0 has 1 where neither has a
    word, v1.1 has 0.
    """
    ours = tokens(answer, language)
    theirs = tokens(gold, language)
    if v2 and not (ours and theirs):
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def best(answer: str, golds: Sequence[str], language: str, *, v2: bool) -> tuple[float, float]:
    """exact_match and f1 against the gold answer that fits best; in v2.0 no gold answer means that
    there is none.
    """
    if v2:
        golds = [gold for gold in golds if tokens(gold, language)] or [""]
    return (
        max((exact_match(answer, gold, language) for gold in golds), default=0.0),
        max((f1(answer, gold, language, v2=v2) for gold in golds), default=0.0),
    )


def best_threshold(margin: np.ndarray, f1_answered: np.ndarray, f1_refused: np.ndarray) -> float:
    """The threshold with the highest f1, when questions whose margin is above it are refused.

    Args:
        margin: (N,) float64, how much better no answer is than the best one.
        f1_answered, f1_refused: (N,), of the best answer and of none.
    """
    order = np.argsort(margin, kind="stable")
    margin = margin[order]
    parts = np.append(margin[1:] > margin[:-1], True)  # a threshold cannot part equal margins
    gains = np.where(parts, np.cumsum((f1_answered - f1_refused)[order]), -np.inf)
    last = int(gains.argmax())  # the last that is answered
    if gains[last] <= 0:
        return float(margin[0] - 1)
    return float(
        margin[last] + 1 if last + 1 == len(margin) else (margin[last] + margin[last + 1]) / 2
    )
