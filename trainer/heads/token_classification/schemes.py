"""Tagging schemes: found, read, and written as BIO. Shared by what deals with tags."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PREFIXES = {"bio": "BI", "iob1": "BI", "bioes": "BIES", "bmes": "BMES", "bilou": "BILU"}
MARKING_ENDS = ("bioes", "bmes", "bilou")
BEGIN, INSIDE, END, SINGLE = ("begin", "inside", "end", "single")
MEANING = {"B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
MARK = re.compile(r"([BIESMLU])(?:-(.+))?", re.DOTALL)
OUTSIDE = "O"
# the type of spans whose tags have none: B I O, or the B M E S of word segmentation
UNTYPED = "span"
# B_X and B:X; X-B and X_B; in any case
OTHER_SPELLINGS = (r"[BIESMLU][-_:.].+", r".+[-_:.][BIESMLU]")


class Mark(NamedTuple):
    """What a tag says of its word.

    Attributes:
        kind: BEGIN, INSIDE, END or SINGLE; "" outside of spans.
        type: of the span; "" outside.
    """

    kind: str
    type: str

    @property
    def goes_on(self) -> bool:
        """Whether the span is not at its end, as far as the tag says it."""
        return self.kind in (BEGIN, INSIDE)


NO_SPAN = Mark("", "")


def find_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme of some tags: a name of PREFIXES.

    "none" where they are no spans, such as parts of speech.
    """
    prefixes: set[str] = set()
    typed: set[bool] = set()
    opening_insides = 0  # I- that begin a span, which BIO has not
    lone_begins = 0  # B- that follow no span of their type, which IOB1 has not
    for tags in sentences:
        before = OUTSIDE
        for tag in tags:
            if tag != OUTSIDE:
                mark = MARK.fullmatch(tag)
                if mark is None:
                    return "none"
                prefixes.add(mark[1])
                typed.add(mark[2] is not None)
                follows = before != OUTSIDE and before[1:] == tag[1:]
                opening_insides += mark[1] == "I" and not follows
                lone_begins += mark[1] == "B" and not follows
            before = tag
    untyped_alone = typed == {False} and "B" not in prefixes
    if not prefixes or len(typed) == 2 or untyped_alone:
        return "none"
    if prefixes <= {"B", "I"}:
        return "iob1" if opening_insides > lone_begins else "bio"
    return next((scheme for scheme, known in PREFIXES.items() if prefixes <= set(known)), "none")


def odd_one_out(sentences: Iterable[Sequence[str]]) -> tuple[int, int] | None:
    """Sentence and place of what looks like a slip among the tags of spans.

    That is the first tag without prefix and type, where most have both or all the others without
    are the same; where every tag has both, the first with the prefix that is rarest. None where
    they may well be single tags.
    """
    typed: Counter[str] = Counter()  # prefix -> how many
    plain: Counter[str] = Counter()  # tag without a type -> how many
    first_typed: dict[str, tuple[int, int]] = {}
    first_plain: dict[str, tuple[int, int]] = {}
    for sentence, tags in enumerate(sentences):
        for place, tag in enumerate(tags):
            if tag == OUTSIDE:
                continue
            mark = MARK.fullmatch(tag)
            if mark and mark[2]:
                typed[mark[1]] += 1
                first_typed.setdefault(mark[1], (sentence, place))
            else:
                plain[tag] += 1
                first_plain.setdefault(tag, (sentence, place))
    if not typed:
        return None
    if not plain:
        return first_typed[min(typed, key=typed.__getitem__)]
    is_slip = typed.total() > plain.total() or len(plain) == 1
    return next(iter(first_plain.values())) if is_slip else None


def other_spelling(sentences: Iterable[Sequence[str]]) -> tuple[int, int] | None:
    """Sentence and place of the first tag of some that mark spans as B_X, X-B or b-x.

    None where they are none such.
    """
    first: dict[str, tuple[int, int]] = {}
    for sentence, tags in enumerate(sentences):
        for place, tag in enumerate(tags):
            first.setdefault(tag, (sentence, place))
    marks = map(MARK.fullmatch, first)
    if any(mark and mark[2] for mark in marks):
        return None
    others = [tag for tag in first if tag.upper() != OUTSIDE]
    if not others or len(others) == len(first):
        return None
    for spelling in OTHER_SPELLINGS:
        pattern = re.compile(spelling, re.IGNORECASE | re.DOTALL)
        if all(map(pattern.fullmatch, others)):
            return first[others[0]]
    return None


@functools.lru_cache(maxsize=1 << 12)  # there are few tags, and a split has them millions of times
def read_mark(tag: str, scheme: str) -> Mark:
    """What a tag says. Raises ValueError where it is none of the scheme's."""
    if tag == OUTSIDE:
        return NO_SPAN
    mark = MARK.fullmatch(tag)
    if mark is None or mark[1] not in PREFIXES[scheme]:
        raise ValueError(tag)
    return Mark(MEANING[mark[1]], mark[2] or UNTYPED)


def to_bio(tags: Sequence[str], scheme: str) -> tuple[list[str], list[int]]:
    """The tags of a sentence in BIO, and the places that break the scheme.

    Each of those is read as the nearest that does not.

    Raises:
        ValueError: a tag is none of the scheme's.
    """
    if scheme == "none":
        return list(tags), []
    bio: list[str] = []
    broken: list[int] = []
    before = NO_SPAN
    for place, tag in enumerate(tags):
        mark = read_mark(tag, scheme)
        continues = mark.kind in (INSIDE, END) and before.goes_on and mark.type == before.type
        if _breaks(scheme, mark, before, continues=continues):
            broken.append(place)
        prefix = "I" if continues else "B"
        bio.append(OUTSIDE if mark is NO_SPAN else f"{prefix}-{mark.type}")
        before = mark
    if scheme in MARKING_ENDS and before.goes_on:
        broken.append(len(tags) - 1)
    return bio, broken


def _breaks(scheme: str, mark: Mark, before: Mark, *, continues: bool) -> bool:
    """Whether a tag cannot stand behind the one before, in a scheme."""
    if scheme == "bio":
        return mark.kind == INSIDE and not continues
    if scheme == "iob1":
        return mark.kind == BEGIN and mark.type != before.type
    if mark.kind in (INSIDE, END):
        return not continues
    return before.goes_on
