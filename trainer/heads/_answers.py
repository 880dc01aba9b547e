"""How right an answer is: SQuAD's official figures, and MLQA's for Chinese.

Source: Rajpurkar et al. 2016 (v1.1), 2018 (v2.0) and their evaluation scripts; Lewis et al. 2020 (MLQA) for Chinese.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
MARKS = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("P")} | set(string.punctuation)
IDEOGRAPHS = re.compile(r"[\u4e00-\u9fa5]")


def normalize(text: str, language: str) -> str:
    """What is compared: lower case, without punctuation, in English without articles, one space between words."""
    text = text.lower()
    if language == "zh":
        return " ".join("".join(char for char in text if char not in MARKS).split())
    return " ".join(ARTICLES.sub(" ", "".join(char for char in text if char not in string.punctuation)).split())


def tokens(text: str, language: str) -> list[str]:
    """Words; in Chinese its characters, and the words between them."""
    text = normalize(text, language)
    return IDEOGRAPHS.sub(lambda match: f" {match[0]} ", text).split() if language == "zh" else text.split()


def exact_match(answer: str, gold: str, language: str) -> float:
    """1 where the normalized texts are the same, else 0."""
    return float(normalize(answer, language) == normalize(gold, language))


def f1(answer: str, gold: str, language: str, *, v2: bool) -> float:
    """The harmonic mean of precision and recall over the words. v2.0 has 1 where neither has a word, v1.1 has 0."""
    ours, theirs = tokens(answer, language), tokens(gold, language)
    if v2 and not (ours and theirs):
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def best(answer: str, golds: Sequence[str], language: str, *, v2: bool) -> tuple[float, float]:
    """exact_match and f1 against the gold answer that fits best; in v2.0 no gold answer means that there is none."""
    if v2:
        golds = [gold for gold in golds if normalize(gold, language)] or [""]
    return (max((exact_match(answer, gold, language) for gold in golds), default=0.0),
            max((f1(answer, gold, language, v2=v2) for gold in golds), default=0.0))
