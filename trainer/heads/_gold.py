"""Gold words and spans, read from examples. For token_classification.py."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.errors import DataError, shown_name, shown_value
from trainer.files.spool import Numbers
from trainer.heads._span_shapes import KEYS, Span, read_span
from trainer.heads._tags import OUTSIDE, PREFIXES, find_scheme, odd_one_out, other_spelling, to_bio

SHOWN = 30  # labels in a message


class Gold(NamedTuple):
    """The words of a text and their tags.

    Attributes:
        start, end: in characters of the text.
        lines: where in the source's file each word stands; None: all where the text does.
        spans: whether these are whole spans, not words: the words are still to be found.
        trimmed: spans that began or ended with white space, which is no part of them.
        invisible: the places of words that show nothing, such as a zero-width space.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]
    tags: tuple[str, ...]
    lines: tuple[int, ...] | None = None
    spans: bool = False
    trimmed: int = 0
    invisible: tuple[int, ...] = ()


def are_tags(value: Any) -> bool:
    """Whether a field holds a tag a word: text, or a list of text that is not empty."""
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(tag, str) for tag in value)
    )


def read_spans(
    text: str, spans: list[Any], where: str, keys: Mapping[str, Sequence[str]] = KEYS
) -> Gold:
    """The spans of a raw text, in any of the shapes of `_span_shapes`.

    Raises:
        DataError: they are none, leave the text, hold nothing, overlap or lie in each other.
    """
    rows, trimmed = [], 0
    for span in spans:
        found = read_span(span, keys, where)
        _check_place(found, text, where)
        inside = text[found.start : found.end]
        kept = (
            found.start + len(inside) - len(inside.lstrip()),
            found.end - len(inside) + len(inside.rstrip()),
        )
        trimmed += kept != (found.start, found.end)
        rows.append((*kept, found.label))
    rows.sort()
    for (start, end, name), (other_start, other_end, other) in itertools.pairwise(rows):
        if other_start < end:
            raise DataError(
                f"{where}: spans overlap: {shown_name(name)} {shown_value(text[start:end])}"
                f" ({start} to {end}) and {shown_name(other)}"
                f" {shown_value(text[other_start:other_end])} ({other_start} to {other_end}). A"
                " word has one tag: keep one of them."
            )
    start, end, names = zip(*rows, strict=True) if rows else ((), (), ())
    return Gold(start, end, tuple(f"B-{name}" for name in names), spans=True, trimmed=trimmed)


def _check_place(span: Span, text: str, where: str) -> None:
    """Raises DataError where a span does not stand in the text as it says, or has no name."""
    start, end = span.start, span.end
    if type(start) is not int or type(end) is not int:
        raise DataError(
            f"{where}: start and end of a span must be whole numbers, of characters of the text. "
            f"Received {shown_value(start)} and {shown_value(end)}."
        )
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{where}: a span must lie in the text, which has {len(text)} characters, and hold one"
            f" at least. Received {shown_value(start)} to {shown_value(end)}."
        )
    inside = text[start:end]
    if span.text is not None and span.text != inside:
        units = (
            text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * end].decode(
                "utf-16-le", "replace"
            )
            == span.text
        )
        advice = (
            "They count UTF-16 units, as JavaScript does: count characters."
            if units
            else "Correct its place, or its text."
        )
        raise DataError(
            f"{where}: the span from {start} to {end} says that its text is"
            f" {shown_value(span.text)}, and {shown_value(inside)} stands there. {advice}"
        )
    if not inside.strip():
        raise DataError(
            f"{where}: the span from {start} to {end} holds white space alone:"
            f" {shown_value(inside)}. Correct it, or leave it out."
        )
    if not isinstance(span.label, str) or not span.label:
        raise DataError(
            f"{where}: the span from {start} to {end} has no label. Received"
            f" {shown_value(span.label)}."
        )


def _scheme_of_split(labels: Sequence[Gold], scheme: str) -> str:
    """Train's scheme where it knows all tags of a split;
    else the split's own, as both become BIO.
    """
    tags = {tag for gold in labels if not gold.spans for tag in gold.tags} - {OUTSIDE}
    if scheme == "none" or all(tag[:1] in PREFIXES[scheme] for tag in tags):
        return scheme
    own = find_scheme(gold.tags for gold in labels if not gold.spans)
    return scheme if own == "none" else own


def bio_tags(
    gold: Gold,
    scheme: str,
    origin: Callable[[], str],
    advice: str = "Correct it, or set --head.scheme.",
) -> tuple[list[str], list[int]]:
    """The tags in BIO, and which break the scheme.

    Raises DataError, with the advice, where one is none of the scheme's.
    """
    if gold.spans:
        return list(gold.tags), []
    try:
        return to_bio(gold.tags, scheme)
    except ValueError as error:
        place = gold.tags.index(str(error))
        known = "O, " + ", ".join(f"{prefix}-…" for prefix in PREFIXES[scheme])
        raise DataError(
            f"{origin_of(gold, origin, place)}: tag {str(error)!r} is none of scheme {scheme}:"
            f" {known}. {advice}"
        ) from None


def origin_of(gold: Gold, origin: Callable[[], str], word: int) -> str:
    """file:line of a word."""
    if gold.lines is None or gold.spans:
        return origin()
    return f"{origin().rpartition(':')[0]}:{gold.lines[word]}"


def scheme_of(labels: Sequence[Gold], scheme: str, origin: Callable[[int], str]) -> str:
    """The scheme of train's tags: the one given, or "auto" found.

    Raises:
        DataError: a tag that looks like a slip among those of spans; spans, where the scheme is to
            be none; no tags, where others have one a word.
    """
    spans = next((index for index, gold in enumerate(labels) if gold.spans), None)
    if not any(gold.tags for gold in labels if gold.spans) and not all(
        gold.spans for gold in labels
    ):
        require_tags(labels, origin)
    if scheme == "none" and spans is not None:
        raise DataError(
            f"head.scheme: none is for a tag a word, and {origin(spans)} has spans. Leave"
            " head.scheme out."
        )
    if scheme != "auto":
        return scheme
    if spans is not None:
        return "bio"
    found = find_scheme(gold.tags for gold in labels)
    if found != "none":
        return found
    other = other_spelling(gold.tags for gold in labels)
    if odd := other or odd_one_out(gold.tags for gold in labels):
        sentence, place = odd
        where = origin_of(labels[sentence], lambda: origin(sentence), place)
        tag = labels[sentence].tags[place]
        if other:
            raise DataError(
                f"{where}: tag {tag!r} marks a span in another spelling than B-X, I-X and O. Write"
                " the tags so, or set --head.scheme=none for a tag a word."
            )
        known = ", ".join(f"{name} {' '.join(prefixes)}" for name, prefixes in PREFIXES.items())
        problem = (
            f"has a prefix that no scheme has beside the others ({known})"
            if tag[1:2] == "-"
            else "has no prefix, and most others have, such as B-… and I-…"
        )
        raise DataError(
            f"{where}: tag {tag!r} {problem}. Correct it (O is for words outside of spans), or set"
            " --head.scheme=none for a tag a word."
        )
    return found


def require_tags(labels: Sequence[Gold], origin: Callable[[int], str]) -> None:
    """Raises DataError where a text has [] in place of a tag a word: that says "no spans", in data
    that has none.
    """
    empty = next((index for index, gold in enumerate(labels) if gold.spans and not gold.tags), None)
    if empty is not None:
        raise DataError(
            f"{origin(empty)}: has no tags, and the other texts have one for each word. Give each"
            " word one, or leave the text out."
        )


def tag_numbers(
    split: Any, vocabulary: Mapping[str, Any], ledger: Any, *, held_out: bool, convert: bool
) -> tuple[Numbers, list[str]]:
    """The tags of all texts as numbers, and the names of those that train does not have, whose
    numbers come after the vocabulary's.

    Tags that break the scheme, and those that train does not have, go to the ledger.

    Args:
        convert: a split whose tags train's scheme does not know is read by its own.
    Raises:
        DataError: train has none of the split's tags, and it is not `held_out` of the same file.
    """
    # else [] says that a text has no spans
    if vocabulary["tagged"] == "words" and not any(
        gold.spans and gold.tags for gold in split.labels
    ):
        require_tags(split.labels, split.origin)
    spans = next((index for index, gold in enumerate(split.labels) if gold.spans), None)
    if vocabulary["scheme"] == "none" and spans is not None:
        raise DataError(
            f"{split.origin(spans)}: has spans, and train has a tag for each word. Give each word"
            " one, or leave the text out."
        )
    scheme = (
        _scheme_of_split(split.labels, vocabulary["scheme"]) if convert else vocabulary["scheme"]
    )
    labels = list(vocabulary["labels"])
    numbers = {tag: number for number, tag in enumerate(labels)}
    result, seen = split.writer.scratch(np.int32), False
    for index, gold in enumerate(split.labels):
        origin = functools.partial(split.origin, index)
        tags, broken = bio_tags(
            gold,
            scheme,
            origin,
            advice="Correct it." if convert else "Correct it, or set --head.scheme.",
        )
        if gold.trimmed:
            ledger.add(split.name, "spans_trimmed", origin(), gold.trimmed)
        for place in broken:
            ledger.add(split.name, "scheme_violations", origin_of(gold, origin, place))
        for place, tag in enumerate(tags):
            if tag not in numbers:
                names = [tag] if scheme == "none" else [f"B-{tag[2:]}", f"I-{tag[2:]}"]
                numbers |= {name: len(numbers) + further for further, name in enumerate(names)}
            if numbers[tag] >= len(labels):
                ledger.add(split.name, "unseen_tags", origin_of(gold, origin, place))
            seen |= tag != OUTSIDE and numbers[tag] < len(labels)
            result.append(numbers[tag])
    unseen = list(numbers)[len(labels) :]
    if unseen and not seen and not held_out:
        shown = [
            ", ".join(tags[:SHOWN]) + (", …" if len(tags) > SHOWN else "")
            for tags in (unseen, labels)
        ]
        raise DataError(
            f"data.{split.name}: its tags are none of those of train (first: {split.origin(0)})."
            f" Received {shown[0]}. Expected some of {shown[1]}. Is it the right file, and are text"
            " and tags the right fields or columns?"
        )
    return result, unseen
