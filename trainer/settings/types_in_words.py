"""What a setting accepts, in words."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from trainer.settings.annotations import Annotation

SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
WORDS: dict[object, str] = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    type(None): "null",
}


def describe_type(field: FieldInfo) -> str:
    """What a setting accepts: "number > 0", "one of linear, cosine", "integer or null"."""
    return _described(field.annotation, field.metadata)


def _described(annotation: Annotation, bounds: Sequence[object]) -> str:
    """A type in words.

    Args:
        annotation: the type; anything that may stand behind a colon.
        bounds: objects with gt, ge, lt, le, min_length or max_length.
    """
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        return _described(arguments[0], _bounds_within(arguments[1:]))
    if origin is Literal and len(arguments) == 1:
        return arguments[0]
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        parts = []
        for part in arguments:
            # of several types, bounds are those of the numbers
            own_bounds = bounds if part in (int, float) else []
            parts.append(_described(part, own_bounds))
        return " or ".join(parts)
    inner = [_described(argument, []) for argument in arguments]
    if origin is list:
        return f"list of {_exact_length(bounds)}{inner[0]}"
    if origin is dict:
        key, item = inner
        return f"mapping of {key} to {item}"
    name = WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return f"{name} {_limits(bounds)}".rstrip()


def _bounds_within(extras: Sequence[object]) -> list[object]:
    """The bounds of Annotated, which may stand inside of a pydantic Field."""
    bounds: list[object] = []
    for extra in extras:
        bounds += getattr(extra, "metadata", [extra])
    return bounds


def _limits(bounds: Sequence[object]) -> str:
    limits = []
    for bound in bounds:
        for name, sign in SIGNS.items():
            limit = getattr(bound, name, None)
            if limit is not None:
                limits.append(f"{sign} {limit:g}")
    return ", ".join(limits)


def _exact_length(bounds: Sequence[object]) -> str:
    """How long a list is, where only one length is allowed."""
    least = 0
    most = None
    for bound in bounds:
        least = getattr(bound, "min_length", least)
        most = getattr(bound, "max_length", most)
    return f"{least} " if least == most else ""
