"""Words in place of words: synonyms by WordNet, and characters that sound the same in Chinese."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wn import Wordnet

# GB 2312, level 1: the 3,755 frequent characters
FREQUENT_ROWS, CELLS = range(0xB0, 0xD8), range(0xA1, 0xFF)
LANGUAGE = "en"
IDEOGRAPHS = re.compile(r"[\u4e00-\u9fff]+")
SINGLE = re.compile(r"[\u4e00-\u9fff]+|(?s:.)")  # words in Chinese, and single other characters


@functools.cache
def synonyms(word: str) -> tuple[str, ...]:
    """Single words that mean the same as a word in its most frequent sense, written as it is.

    None where no English lexicon of the package wn is installed:
    `python -m wn download oewn:2024`.
    """
    lexicon = _lexicon()
    if lexicon is None:
        return ()
    senses = lexicon.synsets(word.lower())
    if not senses:
        return ()
    lemmas = [str(lemma) for lemma in senses[0].lemmas()]
    others = [lemma for lemma in lemmas if lemma.isalpha() and lemma.lower() != word.lower()]
    return tuple(_written_as(word, lemma) for lemma in dict.fromkeys(others))


@functools.cache
def _lexicon() -> Wordnet | None:
    import wn

    try:
        if wn.lexicons(lang=LANGUAGE):
            return wn.Wordnet(lang=LANGUAGE, expand="")
    except (OSError, sqlite3.Error):  # no place for its data, such as a HOME that is read only
        pass
    return None


def _written_as(word: str, other: str) -> str:
    """Another word with capital letters where the word has them."""
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other


def homophones(text: str) -> list[Sequence[str]]:
    """Of each character of a text the frequent ones that sound the same, tone included.

    A character is read as its word is: 行 of 银行 as háng.
    """
    from pypinyin import Style, pinyin

    by_sound = _by_sound()
    found: list[Sequence[str]] = []
    for part in SINGLE.findall(text):
        if not IDEOGRAPHS.fullmatch(part):
            found.append(())
            continue
        readings = pinyin(part, style=Style.TONE3)
        for character, (reading, *_) in zip(part, readings, strict=True):
            others = by_sound.get(reading, ())
            found.append([other for other in others if other != character])
    return found


@functools.cache
def _by_sound() -> Mapping[str, tuple[str, ...]]:
    from pypinyin import Style, pinyin

    by_sound: dict[str, list[str]] = defaultdict(list)
    for row in FREQUENT_ROWS:
        for cell in CELLS:
            character = bytes((row, cell)).decode("gb2312", "ignore")
            if character:
                by_sound[pinyin(character, style=Style.TONE3)[0][0]].append(character)
    return {sound: tuple(characters) for sound, characters in by_sound.items()}
