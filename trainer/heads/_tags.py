"""Tagging schemes: found, read, and written as BIO. Shared by what deals with tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

PREFIXES = {"bio": "BI", "iob1": "BI", "bioes": "BIES", "bmes": "BMES", "bilou": "BILU"}
BEGIN, INSIDE, END, SINGLE = ("begin", "inside", "end", "single")
MEANING = {"B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
MARK = re.compile(r"([BIESMLU])(?:-(.+))?", re.DOTALL)
OUTSIDE = "O"
# the type of spans whose tags have none: B I O, or the B M E S of word segmentation
UNTYPED = "span"


def find_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme of some tags: a name of PREFIXES, or "none" where they are no spans, such as parts
    of speech.
    """
    prefixes: set[str] = set()
    typed: set[bool] = set()
    # I- that begin a span, which BIO has not; B- that follow no span of their type, which IOB1 has
    # not
    opens = apart = 0
    for tags in sentences:
        before = OUTSIDE
        for tag in tags:
            if tag != OUTSIDE:
                if (match := MARK.fullmatch(tag)) is None:
                    return "none"
                prefixes.add(match[1])
                typed.add(match[2] is not None)
                same = before[1:] == tag[1:] and before != OUTSIDE
                opens += match[1] == "I" and not same
                apart += match[1] == "B" and not same
            before = tag
    if not prefixes or len(typed) == 2 or (typed == {False} and "B" not in prefixes):
        return "none"
    if prefixes <= {"B", "I"}:
        return "iob1" if opens > apart else "bio"
    return next((name for name, known in PREFIXES.items() if prefixes <= set(known)), "none")


def odd_one_out(sentences: Iterable[Sequence[str]]) -> tuple[int, int] | None:
    """Sentence and place of what looks like a slip among the tags of spans; None where they may
    well be single tags.

    That is the first tag without prefix and type, where most have both or all the others without
    are the same; where every tag has both, the first with the prefix that is rarest.
    """
    typed: Counter[str] = Counter()  # prefix -> how many
    plain: Counter[str] = Counter()  # tag without a type -> how many
    first_typed: dict[str, tuple[int, int]] = {}
    first_plain: dict[str, tuple[int, int]] = {}
    for number, tags in enumerate(sentences):
        for place, tag in enumerate(tags):
            if tag != OUTSIDE:
                match = MARK.fullmatch(tag)
                kind, counts, first = (
                    (match[1], typed, first_typed)
                    if match and match[2]
                    else (tag, plain, first_plain)
                )
                counts[kind] += 1
                first.setdefault(kind, (number, place))
    if not typed:
        return None
    if not plain:
        return first_typed[min(typed, key=typed.__getitem__)]
    return (
        next(iter(first_plain.values()))
        if typed.total() > plain.total() or len(plain) == 1
        else None
    )


def other_spelling(sentences: Iterable[Sequence[str]]) -> tuple[int, int] | None:
    """Sentence and place of the first tag of some that mark spans as B_X, X-B or b-x; None where
    they are none such.
    """
    seen: dict[str, tuple[int, int]] = {}
    for number, tags in enumerate(sentences):
        for place, tag in enumerate(tags):
            seen.setdefault(tag, (number, place))
    if any((match := MARK.fullmatch(tag)) and match[2] for tag in seen):
        return None
    outside = [tag for tag in seen if tag.upper() == OUTSIDE]
    others = [tag for tag in seen if tag not in outside]
    for pattern in (r"[BIESMLU][-_:.].+", r".+[-_:.][BIESMLU]"):
        if (
            outside
            and others
            and all(re.fullmatch(pattern, tag, re.IGNORECASE | re.DOTALL) for tag in others)
        ):
            return seen[others[0]]
    return None


def to_bio(tags: Sequence[str], scheme: str) -> tuple[list[str], list[int]]:
    """The tags of a sentence in BIO, and the places that break the scheme, each read as the nearest
    that does not.

    Raises:
        ValueError: a tag is none of the scheme's.
    """
    if scheme == "none":
        return list(tags), []
    result, broken = [], []
    # of the word before; an ended span has the kind END or SINGLE
    kind_before, type_before = "", ""
    for place, tag in enumerate(tags):
        if tag == OUTSIDE:
            if scheme in ("bioes", "bmes", "bilou") and kind_before in (BEGIN, INSIDE):
                broken.append(place)
            kind_before, type_before = "", ""
            result.append(OUTSIDE)
            continue
        match = MARK.fullmatch(tag)
        if match is None or match[1] not in PREFIXES[scheme]:
            raise ValueError(tag)
        kind, name = MEANING[match[1]], match[2] or UNTYPED
        open_before = kind_before in (BEGIN, INSIDE)
        continues = kind in (INSIDE, END) and open_before and name == type_before
        if scheme == "bio":
            wrong = kind == INSIDE and not continues
        elif scheme == "iob1":
            wrong = kind == BEGIN and name != type_before
        else:
            wrong = (kind in (INSIDE, END) and not continues) or (
                kind in (BEGIN, SINGLE) and open_before
            )
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
