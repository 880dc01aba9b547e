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
    if origin is Literal:
        return arguments[0] if len(arguments) == 1 else f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        # of several types, bounds are those of the numbers
        return " or ".join(
            _described(part, bounds if part in (int, float) else []) for part in arguments
        )
    if origin is list:
        return f"list of {_exact_length(bounds)}{_described(arguments[0], [])}"
    if origin is dict:
        return f"mapping of {_described(arguments[0], [])} to {_described(arguments[1], [])}"
    name = WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return f"{name} {_limits(bounds)}".rstrip()


def _bounds_within(extras: Sequence[object]) -> list[object]:
    """The bounds of Annotated, which may stand inside of a pydantic Field."""
    return [bound for extra in extras for bound in getattr(extra, "metadata", [extra])]


def _limits(bounds: Sequence[object]) -> str:
    return ", ".join(
        f"{sign} {limit:g}"
        for bound in bounds
        for name, sign in SIGNS.items()
        if (limit := getattr(bound, name, None)) is not None
    )


def _exact_length(bounds: Sequence[object]) -> str:
    """How long a list is, where only one length is allowed."""
    lengths = {
        name: length
        for bound in bounds
        for name in ("min_length", "max_length")
        if (length := getattr(bound, name, None)) is not None
    }
    if lengths.get("min_length", 0) != lengths.get("max_length"):
        return ""
    return f"{lengths['min_length']} "
