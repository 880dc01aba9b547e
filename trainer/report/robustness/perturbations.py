"""Changes of a text that leave its meaning: one function each, a row of PERTURBATIONS.

Each is a pure function of the text and of a generator; None where it changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from trainer.report.robustness.words import homophones, synonyms

Perturb: TypeAlias = Callable[[str, np.random.Generator], str]

WORD = re.compile(r"[^\W\d_]{4,}")
LETTERS = re.compile(r"[A-Za-z]{4,}")
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
SHARE = 0.1  # of the words that are changed, and at least one
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
HALF_WIDTH = {full: half for half, full in FULL_WIDTH.items()}
SENTENCES = {False: " It was a Wednesday.", True: "那天是星期三。"}


def typos(text: str, generator: np.random.Generator) -> str:
    """Two neighbouring letters within a word change places, in a tenth of the words."""
    places = [
        places for match in WORD.finditer(text) if (places := _swappable(*match.span(), text))
    ]
    if not places:
        return text
    count = max(1, round(SHARE * len(places)))
    letters = list(text)
    for word in generator.choice(len(places), size=count, replace=False).tolist():
        place = int(generator.choice(places[word]))
        letters[place : place + 2] = letters[place + 1], letters[place]
    return "".join(letters)


def _swappable(start: int, end: int, text: str) -> list[int]:
    """Where in a word two letters that differ stand side by side; the first letter stays."""
    if not text[start:end].isascii():
        return []
    return [place for place in range(start + 1, end - 1) if text[place] != text[place + 1]]


def swapped(word: str) -> list[str]:
    """A word with two neighbouring letters that have changed places, in all ways."""
    return [
        f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}"
        for place in _swappable(0, len(word), word)
    ]


def other_words(text: str, generator: np.random.Generator) -> str:
    """Synonyms in place of a tenth of the English words, where wn has a lexicon."""
    known = [match for match in LETTERS.finditer(text) if synonyms(match[0])]
    return _replaced(
        text, [(match.start(), match.end(), synonyms(match[0])) for match in known], generator
    )


def same_sound(text: str, generator: np.random.Generator) -> str:
    """Characters that sound the same in place of a tenth of the Chinese ones."""
    if not IDEOGRAPH.search(text):
        return text
    others = enumerate(homophones(text))
    return _replaced(text, [(place, place + 1, each) for place, each in others if each], generator)


def _replaced(
    text: str, places: Sequence[tuple[int, int, Sequence[str]]], generator: np.random.Generator
) -> str:
    """Another word in a tenth of some places, ascending."""
    if not places:
        return text
    count = max(1, round(SHARE * len(places)))
    chosen = set(generator.choice(len(places), size=count, replace=False).tolist())
    parts, end = [], 0
    for number, (start, limit, others) in enumerate(places):
        if number in chosen:
            parts += [text[end:start], str(generator.choice(list(others)))]
            end = limit
    return "".join([*parts, text[end:]])


def upper_case(text: str, generator: np.random.Generator) -> str:
    """All letters large."""
    return text.upper()


def lower_case(text: str, generator: np.random.Generator) -> str:
    """All letters small."""
    return text.lower()


def no_punctuation(text: str, generator: np.random.Generator) -> str:
    """Without marks, but for those inside words."""
    kept = [
        character
        for place, character in enumerate(text)
        if not unicodedata.category(character).startswith("P") or _is_inside_a_word(text, place)
    ]
    return " ".join("".join(kept).split()) if " " in text else "".join(kept)


def _is_inside_a_word(text: str, place: int) -> bool:
    around = text[place - 1 : place] + text[place + 1 : place + 2]
    return len(around) == 2 and around.isalnum() and around.isascii()


def other_width(text: str, generator: np.random.Generator) -> str:
    """Of a Chinese text: full-width forms as half-width ones; where there are none, the reverse."""
    if not IDEOGRAPH.search(text):
        return text
    half = text.translate(HALF_WIDTH)
    return text.translate(FULL_WIDTH) if half == text else half


def other_sentence(text: str, generator: np.random.Generator) -> str:
    """A sentence behind it, that says nothing about it."""
    return text + SENTENCES[bool(IDEOGRAPH.search(text))]


PERTURBATIONS: Mapping[str, Perturb] = {
    "typos": typos,
    "upper_case": upper_case,
    "lower_case": lower_case,
    "no_punctuation": no_punctuation,
    "other_width": other_width,
    "other_sentence": other_sentence,
    "other_words": other_words,
    "same_sound": same_sound,
}


def perturbed(name: str, text: str, seed: int) -> str | None:
    """A text changed; None where it stays as it is, or nothing is left.

    Args:
        name: of PERTURBATIONS.
        text: to change.
        seed: of what is drawn.
    """
    changed = PERTURBATIONS[name](text, np.random.default_rng(seed))
    return changed if changed != text and changed.strip() else None
