"""Tagging schemes: found, read, and written as BIO. Shared by what deals with tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PREFIXES = {"bio": "BI", "iob1": "BI", "bioes": "BIES", "bmes": "BMES", "bilou": "BILU"}
BEGIN, INSIDE, END, SINGLE = ("begin", "inside", "end", "single")
MEANING = {"B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
TYPED = re.compile(r"([BIESMLU])-(.+)", re.DOTALL)
OUTSIDE = "O"


def find_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme of some tags: a name of PREFIXES, or "none" where they are no spans, such as parts of speech."""
    prefixes: set[str] = set()
    opens, after_own = 0, True  # I- that begin a span; whether every B- stands right after a span of its type
    for tags in sentences:
        before = OUTSIDE
        for tag in tags:
            if tag != OUTSIDE:
                if (match := TYPED.fullmatch(tag)) is None:
                    return "none"
                prefixes.add(match[1])
                same = before[1:] == tag[1:] and before != OUTSIDE
                opens += match[1] == "I" and not same
                after_own &= match[1] != "B" or same
            before = tag
    if not prefixes:
        return "none"
    if prefixes <= {"B", "I"}:
        return "iob1" if opens and after_own else "bio"
    return next((name for name, known in PREFIXES.items() if prefixes <= set(known)), "none")


def odd_one_out(sentences: Iterable[Sequence[str]]) -> tuple[int, int] | None:
    """Sentence and place of the first tag without a prefix, where most have one: a slip among spans. None where there is no such tag."""
    first, typed, plain = None, 0, 0
    for number, tags in enumerate(sentences):
        for place, tag in enumerate(tags):
            if tag != OUTSIDE and TYPED.fullmatch(tag):
                typed += 1
            elif tag != OUTSIDE:
                plain += 1
                first = first or (number, place)
    return first if typed > plain else None


def to_bio(tags: Sequence[str], scheme: str) -> tuple[list[str], list[int]]:
    """The tags of a sentence in BIO, and the places that break the scheme, each read as the nearest that does not.

    Raises:
        ValueError: a tag is none of the scheme's.
    """
    if scheme == "none":
        return list(tags), []
    result, broken = [], []
    kind_before, type_before = "", ""  # of the word before; an ended span has the kind END or SINGLE
    for place, tag in enumerate(tags):
        if tag == OUTSIDE:
            if scheme in ("bioes", "bmes", "bilou") and kind_before in (BEGIN, INSIDE):
                broken.append(place)
            kind_before, type_before = "", ""
            result.append(OUTSIDE)
            continue
        match = TYPED.fullmatch(tag)
        if match is None or match[1] not in PREFIXES[scheme]:
            raise ValueError(tag)
        kind, name = MEANING[match[1]], match[2]
        open_before = kind_before in (BEGIN, INSIDE)
        continues = kind in (INSIDE, END) and open_before and name == type_before
        if scheme == "bio":
            wrong = kind == INSIDE and not continues
        elif scheme == "iob1":
            wrong = kind == BEGIN and name != type_before
        else:
            wrong = (kind in (INSIDE, END) and not continues) or (kind in (BEGIN, SINGLE) and open_before)
        if wrong:
            broken.append(place)
        result.append(f"{'I' if continues else 'B'}-{name}")
        kind_before, type_before = kind, name
    if scheme in ("bioes", "bmes", "bilou") and kind_before in (BEGIN, INSIDE):
        broken.append(len(tags) - 1)
    return result, broken


def continued(tag: str, scheme: str) -> str:
    """The tag of what follows inside the same word."""
    return f"I-{tag[2:]}" if scheme != "none" and tag.startswith("B-") else tag


def repaired(tags: Sequence[str]) -> list[str]:
    """BIO tags in which no span begins with I-: such a one begins with B-."""
    result, before = [], OUTSIDE
    for tag in tags:
        result.append(f"B-{tag[2:]}" if tag.startswith("I-") and before[2:] != tag[2:] else tag)
        before = tag
    return result
