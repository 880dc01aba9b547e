"""Gold words and spans, as examples have them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trainer.errors import DataError, shown_name, shown_value
from trainer.heads.token_classification.span_shapes import KEYS, Span, SpanKeys, read_span


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


class _Place(NamedTuple):
    """Where a span stands in its text, without white space around it."""

    start: int
    end: int
    type: str


def are_tags(field: object) -> bool:
    """Whether a field holds a tag a word: text, or a list of text that is not empty."""
    if isinstance(field, str):
        return True
    return isinstance(field, list) and bool(field) and all(isinstance(tag, str) for tag in field)


def origin_of(gold: Gold, origin: Callable[[], str], word: int) -> str:
    """file:line of a word.

    Args:
        gold: the words of its text.
        origin: says it of the text.
        word: its place among the words.
    """
    if gold.lines is None or gold.spans:
        return origin()
    return f"{origin().rpartition(':')[0]}:{gold.lines[word]}"


def read_spans(text: str, spans: Sequence[object], where: str, keys: SpanKeys = KEYS) -> Gold:
    """The spans of a raw text.

    Args:
        text: that they are of.
        spans: in any of the shapes of `span_shapes`.
        where: of the field, for messages.
        keys: see `span_keys`.
    Raises:
        DataError: they are none, leave the text, hold nothing, overlap or lie in each other.
    """
    places: list[_Place] = []
    trimmed = 0
    for span in spans:
        written = _checked(read_span(span, keys, where), text, where)
        place = _without_space(written, text)
        trimmed += place != written
        places.append(place)
    places.sort()
    _refuse_overlaps(places, text, where)
    return Gold(
        start=tuple(place.start for place in places),
        end=tuple(place.end for place in places),
        tags=tuple(f"B-{place.type}" for place in places),
        spans=True,
        trimmed=trimmed,
    )


def _without_space(place: _Place, text: str) -> _Place:
    inside = text[place.start : place.end]
    leading = len(inside) - len(inside.lstrip())
    trailing = len(inside) - len(inside.rstrip())
    return _Place(place.start + leading, place.end - trailing, place.type)


def _refuse_overlaps(places: Sequence[_Place], text: str, where: str) -> None:
    """Raises DataError where one of some sorted spans begins before the one before it ends."""
    for place, other in itertools.pairwise(places):
        if other.start < place.end:
            raise DataError(
                f"{where}: spans overlap: {_shown(place, text)} and {_shown(other, text)}. A word"
                " has one tag: keep one of them."
            )


def _shown(place: _Place, text: str) -> str:
    words = shown_value(text[place.start : place.end])
    return f"{shown_name(place.type)} {words} ({place.start} to {place.end})"


def _checked(span: Span, text: str, where: str) -> _Place:
    """Raises DataError where a span does not stand in the text as it says, or has no name."""
    start = span.start
    end = span.end
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
        raise DataError(
            f"{where}: the span from {start} to {end} says that its text is"
            f" {shown_value(span.text)}, and {shown_value(inside)} stands there."
            f" {_advice(text, start, end, span.text)}"
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
    return _Place(start, end, span.label)


def _advice(text: str, start: int, end: int, said: str) -> str:
    units = text.encode("utf-16-le", "surrogatepass")
    if units[2 * start : 2 * end].decode("utf-16-le", "replace") == said:
        return "They count UTF-16 units, as JavaScript does: count characters."
    return "Correct its place, or its text."
