"""Labels that come as a list: of names, or of 0 and 1 for each label; also where a file has the
list as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer.errors import DataError, shown_value
from trainer.heads._labels import Label, Mentions, as_name, number_key, shown_labels, truth
from trainer.sources import Example, require_field

BRACKETS = {"[": "]", "(": ")", "{": "}"}
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
ITEM = re.compile(rf"\s*({QUOTED}|[^\s,'\"\[\](){{}}]+)\s*(?:,|(?<=\s)|$)")
BARE = re.compile(r"[+-]?\d+(?:\.\d*)?|true|false|none|null|nan", re.IGNORECASE)
LONGEST = 1_000_000  # characters of a list as text
Origin = Callable[[int], str]


def list_in_text(text: str) -> list[object] | None:
    """The list that a text is, as JSON, Python or NumPy write one: [1, 0, 1], ['a', 'b'], [1.

    0.]; None where it is none.
    """
    text = text.strip()
    if len(text) < 2 or len(text) > LONGEST or BRACKETS.get(text[0]) != text[-1]:
        return None
    try:
        found = json.loads(text)
        return (
            found
            if isinstance(found, list) and not any(isinstance(item, (list, dict)) for item in found)
            else None
        )
    except (ValueError, RecursionError):
        return _items(text[1:-1], quoted=text[0] != "[")


def _items(inside: str, *, quoted: bool) -> list[object] | None:
    """What stands between the brackets; None unless all of it is text between quotes or, where not
    `quoted`, numbers.
    """
    items, place = [], 0
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
            items.append(None if token.casefold() in ("none", "null", "nan") else token.rstrip("."))
    return items


def one_label(values: Sequence[object], where: str) -> str | None:
    """The label of a list of one; None of an empty one.

    Raises:
        DataError: there are several.
    """
    if len(values) > 1:
        vector = all(truth(str(value).removesuffix(".0")) is not None for value in values)
        advice = (
            "These are 0 and 1 for each label: for several labels an example set"
            " --head.kind=multi_label; for one, write its name or number."
            if vector
            else "For several labels an example set --head.kind=multi_label."
        )
        raise DataError(f"{where} has several labels: {shown_value(list(values))}. {advice}")
    return as_name(values[0], where) if values else None


def several_labels(value: object, separator: str, where: str) -> tuple[str, ...] | None:
    """The labels of a field: a list, a list as text, or names between separators; None where it has
    no gold label.

    Raises:
        DataError: one of the list is missing or no label.
    """
    if isinstance(value, str):
        text = value
        value = list_in_text(text)
        if value is None:
            inside = text.strip()
            if inside[:1] == "[" and inside[-1:] == "]" and "," in inside:  # [a, b]
                return _parts(inside[1:-1], ",")
            return _parts(text, separator)
    if not isinstance(value, (list, tuple)):
        name = as_name(value, where)
        return None if name is None else (name,)
    names = [as_name(part, where) for part in value if part != ""]
    if None in names and set(names) != {None}:
        raise DataError(
            f"{where}: one of its labels is empty: {shown_value(list(value))}. Leave it out of the"
            " list, or correct it."
        )
    return None if None in names else tuple(names)


def _parts(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part for part in map(str.strip, text.split(separator)) if part)


def labels_of_columns(example: Example, fields: Sequence[str]) -> tuple[str, ...] | None:
    """The names of the fields that hold 1 or true; None where one is empty or -1: nobody has
    labelled the example.

    Raises:
        DataError: a field holds something else, or is missing.
    """
    given = []
    for field in fields:
        where = f"{example.origin}: field {field!r}"
        name = as_name(require_field(example, field, "data.label"), where)
        key = None if name is None else number_key(name.strip()) or name.strip()
        if key is None or key == "-1":
            return None
        if truth(key) is None:
            raise DataError(
                f"{where} should be 0 or 1, as data.label names several fields, one for each label."
                f" Received {shown_value(name)}. Name only fields of 0 and 1, or one field that"
                " names the labels."
            )
        if truth(key):
            given.append(field)
    return tuple(given)


def are_vectors(mentions: Mentions, labels: Sequence[str] | None, origin: Origin) -> bool:
    """Whether each example has 0 or 1 for every label, in place of the labels' names or numbers.

    So it is where all lists are equally long, two or more, and hold nothing else. Class ids such as
    [0, 2] and [1] are not.

    Args:
        labels: head.labels.
    Raises:
        DataError: it cannot be told, or head.labels names more or fewer than the vectors have
            values.
    """
    values = [_vector_value(name) for name in mentions.names]
    if not values or None in values:
        _refuse_shares(mentions, origin)
        return False
    if mentions.shortest == mentions.longest >= 2:
        size = mentions.longest
        if labels is not None and len(labels) != size:
            raise DataError(
                f"{origin(0)}: its labels are {size} values of 0 and 1, and head.labels names"
                f" {len(labels)}: {shown_labels(labels)}. Name {size}, in the order of the values."
            )
        return True
    _refuse_uneven(mentions.labels, origin)
    return False


def _vector_value(name: str) -> bool | None:
    return truth(number_key(name) or name)


def _refuse_uneven(labels: Sequence[Label], origin: Origin) -> None:
    """Raises DataError where a list of 0 and 1 has one of them twice, which ids have not, and the
    lists differ in length.
    """
    twice = next(
        (index for index, label in enumerate(labels) if len(set(label)) < len(label)), None
    )
    if twice is not None:
        size = len(labels[twice])
        other = _first_of_another_size(labels, size)
        raise DataError(
            f"{origin(twice)}: its labels are {size} values of 0 and 1, and {origin(other)} has"
            f" {len(labels[other])}. Give every example a value for each label, or name its labels."
        )


def _first_of_another_size(labels: Sequence[Label], size: int) -> int:
    return next(index for index, label in enumerate(labels) if len(label) != size)


def _refuse_shares(mentions: Mentions, origin: Origin) -> None:
    """Raises DataError where all examples have as many numbers from 0 to 1: probabilities, which
    would become names.
    """
    keys = [number_key(name) for name in mentions.names]
    if not keys or None in keys or mentions.shortest < 2 or mentions.shortest < mentions.longest:
        return
    if all(0 <= float(key) <= 1 for key in keys):
        share = next(name for name, key in zip(mentions.names, keys, strict=True) if "." in key)
        raise DataError(
            f"{origin(mentions.first_of(share))}: its labels are numbers between 0 and 1, such as"
            f" {share}, and probabilities are no labels. Give 0 and 1 for each label, or the"
            " labels' names."
        )


def vectors(mentions: Mentions, size: int, origin: Origin) -> Iterator[np.ndarray]:
    """(n, C) float32 of 0 and 1, some rows at a time.

    Raises:
        DataError: an example has more or fewer values than train's have, or another value.
    """
    values = [_vector_value(name) for name in mentions.names]
    if None in values:
        name = mentions.names[values.index(None)]
        raise DataError(
            f"{origin(mentions.first_of(name))}: {shown_value(name)} is none of 0 and 1, which the"
            f" labels of train are, {size} for each example. Write the labels of all splits in the"
            " same way."
        )
    if not mentions.shortest == mentions.longest == size:
        odd = _first_of_another_size(mentions.labels, size)
        raise DataError(
            f"{origin(odd)}: has {len(mentions.labels[odd])} values of 0 and 1, and those of train"
            f" have {size}. Give every example a value for each label."
        )
    for name, _ in mentions.blocks(size):
        yield np.array(values, np.float32)[name].reshape(-1, size)
