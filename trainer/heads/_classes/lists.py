"""Labels that come as a list, also where a file has the list as text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from trainer.errors import DataError, shown_value
from trainer.heads._classes.names import as_name, number_key, truth
from trainer.sources import Example, require_field

BRACKETS = {"[": "]", "(": ")", "{": "}"}
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
ITEM = re.compile(rf"\s*({QUOTED}|[^\s,'\"\[\](){{}}]+)\s*(?:,|(?<=\s)|$)")
BARE = re.compile(r"[+-]?\d+(?:\.\d*)?|true|false|none|null|nan", re.IGNORECASE)
NOTHING = ("none", "null", "nan")
LONGEST = 1_000_000  # characters of a list as text


def list_in_text(text: str) -> list[object] | None:
    """The list that a text is, as JSON, Python or NumPy write one; None where it is none.

    Such as [1, 0, 1], ['a', 'b'] or [1. 0.].
    """
    text = text.strip()
    if not 2 <= len(text) <= LONGEST:
        return None
    opening = text[0]
    if BRACKETS.get(opening) != text[-1]:
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return _items(text[1:-1], quoted=opening != "[")
    if not isinstance(items, list):
        return None
    is_nested = any(isinstance(item, (list, dict)) for item in items)
    return None if is_nested else items


def _items(inside: str, *, quoted: bool) -> list[object] | None:
    """What stands between the brackets; None unless all of it is items.

    Args:
        inside: the text between them.
        quoted: only text between quotes is an item; else numbers are, too.
    """
    items: list[object] = []
    place = 0
    while place < len(inside) and not inside[place:].isspace():
        match = ITEM.match(inside, place)
        if match is None or match.end() == place:
            return None
        token, place = match[1], match.end()
        if token[0] in "'\"":
            items.append(re.sub(r"\\(.)", r"\1", token[1:-1]))
        elif quoted or not BARE.fullmatch(token):
            return None
        else:
            items.append(None if token.casefold() in NOTHING else token.rstrip("."))
    return items


def one_label(items: Sequence[object], where: str) -> str | None:
    """The label of a list of one; None of an empty one.

    Args:
        items: of the list.
        where: the field and its place, for messages.
    Raises:
        DataError: there are several.
    """
    if len(items) <= 1:
        return as_name(items[0], where) if items else None
    advice = "For several labels an example set --head.kind=multi_label."
    if all(truth(str(item).removesuffix(".0")) is not None for item in items):
        advice = (
            "These are 0 and 1 for each label: for several labels an example set"
            " --head.kind=multi_label; for one, write its name or number."
        )
    raise DataError(f"{where} has several labels: {shown_value(list(items))}. {advice}")


def several_labels(value: object, separator: str, where: str) -> tuple[str, ...] | None:
    """The labels of a field; None where it has no gold label.

    Args:
        value: a list, a list as text, or names between separators.
        separator: between names.
        where: the field and its place, for messages.
    Raises:
        DataError: one of the list is missing or no label.
    """
    items = list_in_text(value) if isinstance(value, str) else value
    if isinstance(value, str) and items is None:
        return _parts(value, separator)
    if not isinstance(items, (list, tuple)):
        name = as_name(items, where)
        return None if name is None else (name,)
    names = [as_name(item, where) for item in items if item != ""]
    # A list: CPython keeps what it has freed of tuples that were made of a generator.
    known = [name for name in names if name is not None]
    if known and len(known) < len(names):
        raise DataError(
            f"{where}: one of its labels is empty: {shown_value(list(items))}. Leave it out of the"
            " list, or correct it."
        )
    return None if len(known) < len(names) else tuple(known)


def _parts(text: str, separator: str) -> tuple[str, ...]:
    """The names of a text that is no list; [a, b] has its brackets for nothing."""
    bare = text.strip()
    if bare[:1] == "[" and bare[-1:] == "]" and "," in bare:
        text = bare[1:-1]
        separator = ","
    parts = [part.strip() for part in text.split(separator)]
    return tuple([part for part in parts if part])


def labels_of_columns(example: Example, fields: Sequence[str]) -> tuple[str, ...] | None:
    """The names of the fields that hold 1 or true.

    Returns:
        None where one is empty or -1: nobody has labelled the example.
    Raises:
        DataError: a field holds something else, or is missing.
    """
    given = []
    for field in fields:
        where = f"{example.origin}: field {field!r}"
        name = as_name(require_field(example, field, "data.label"), where)
        if name is None:
            return None
        key = number_key(name.strip()) or name.strip()
        if key == "-1":
            return None
        is_given = truth(key)
        if is_given is None:
            raise DataError(
                f"{where} should be 0 or 1, as data.label names several fields, one for each label."
                f" Received {shown_value(name)}. Name only fields of 0 and 1, or one field that"
                " names the labels."
            )
        if is_given:
            given.append(field)
    return tuple(given)
