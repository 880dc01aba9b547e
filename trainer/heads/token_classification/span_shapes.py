"""The shapes in which spans of a text are written.

Ours, and those of Doccano, Label Studio, spaCy, Prodigy and Hugging Face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from trainer.errors import ConfigError, DataError, shown_value

SpanKeys: TypeAlias = Mapping[str, Sequence[str]]  # part of a span -> the names that it may have

# Where spans are found, if nothing else is said: Doccano, Label Studio, spaCy, Prodigy.
FIELDS = ("label", "labels", "entities", "spans")
# What a span has, under the names that are read by themselves; ours first.
KEYS: SpanKeys = {
    "start": ("start", "start_offset"),
    "end": ("end", "end_offset"),
    "label": ("label", "labels", "entity_group", "type"),
    "text": ("text",),
}
WRAPPED = "value"  # by Label Studio


class Span(NamedTuple):
    """A span as it is written; what it says is still to be checked.

    Attributes:
        start, end: characters of the text.
        label: its type.
        text: what it says to stand there; None where it does not.
    """

    start: object
    end: object
    label: object
    text: str | None


def span_keys(given: Mapping[str, str] | None) -> SpanKeys:
    """The names of a span's parts, those of data.span_keys in place of ours.

    Raises ConfigError where it names no part.
    """
    given = given or {}
    unknown = [part for part in given if part not in KEYS]
    if unknown:
        raise ConfigError(
            f"data.span_keys: expected names for {', '.join(KEYS)}. Received one for"
            f" {', '.join(map(shown_value, unknown))}."
        )
    own_names = {part: (key,) for part, key in given.items()}
    return {**KEYS, **own_names}


def read_span(span: object, keys: SpanKeys, where: str) -> Span:
    """One span.

    Args:
        span: {"start", "end", "label"}, also by the names of `keys`; a place of two numbers, where
            start and end have the same name; without an end that of its text; [start, end, label].
        keys: see `span_keys`.
        where: of the field, for messages.
    Raises:
        DataError: it has another shape, or several labels.
    """
    if isinstance(span, list) and len(span) == 3:
        start, end, label = span
        return Span(start, end, label, text=None)
    written = span.get(WRAPPED, span) if isinstance(span, dict) else None
    if not isinstance(written, dict):
        raise _other_shape(span, where)
    parts = {
        part: next((written[key] for key in names if key in written), None)
        for part, names in keys.items()
    }
    label = _only(parts["label"], where)
    text = parts["text"] if isinstance(parts["text"], str) else None
    start = parts["start"]
    end = parts["end"]
    if isinstance(start, list) and len(start) == 2 and keys["start"] == keys["end"]:
        start, end = start
    if end is None and type(start) is int and text is not None:
        end = start + len(text)
    if start is None or end is None or label is None:
        raise _other_shape(span, where)
    return Span(start, end, label, text)


def _only(label: object, where: str) -> object:
    """Label Studio lists the labels of a span; a word has one tag."""
    if not isinstance(label, list):
        return label
    if len(label) > 1:
        raise DataError(
            f"{where}: a span has several labels: {shown_value(label)}. A word has one tag: keep"
            " one of them."
        )
    return label[0] if label else ""


def _other_shape(span: object, where: str) -> DataError:
    advice = 'Write each so, or as [start, end, "label"]'
    if isinstance(span, dict) and span:
        advice += (
            ", or name its keys, such as --data.span_keys='{start: from, end: to, label: type}'"
        )
    return DataError(
        f'{where}: expected spans {{"start", "end", "label"}}. Received {shown_value(span)}.'
        f" {advice}."
    )
