"""What a setting may be, by its annotation in the schema."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

Annotation: TypeAlias = object  # what may stand behind a colon; or a tuple of such: any of them
PLAIN_KINDS = {int: "int", float: "float", bool: "bool", str: "str", type(None): "null"}


def members_of(annotation: Annotation) -> list[Annotation]:
    """The types that a type, or a tuple of types, is one of; without what Annotated adds."""
    if isinstance(annotation, tuple):
        return [member for part in annotation for member in members_of(part)]
    if get_origin(annotation) is Annotated:
        return members_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in members_of(part)]
    return [annotation]


def argument_of(annotation: Annotation, container: type, position: int) -> Annotation:
    """The type of what a list or dict holds; Any where the setting is neither.

    Args:
        annotation: of the setting.
        container: list or dict.
        position: of its type arguments.
    """
    for member in members_of(annotation):
        if get_origin(member) is container:
            return get_args(member)[position]
    return Any


def kinds_of(annotation: Annotation) -> tuple[set[str], set[str]]:
    """The kinds of scalar that a type takes, and the texts that it names."""
    members = members_of(annotation)
    texts = {
        value
        for member in members
        if get_origin(member) is Literal
        for value in get_args(member)
        if isinstance(value, str)
    }
    return {PLAIN_KINDS[member] for member in members if member in PLAIN_KINDS}, texts
