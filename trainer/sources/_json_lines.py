"""The fields of a line of JSON. Shared by the formats that are JSON lines, and by predict."""

import functools
import json
import math
from collections.abc import Iterator
from typing import Any

from trainer.errors import DataError
from trainer.sources import Example, Origin
from trainer.sources._lines import Lines

INT64 = range(-2**63, 2**63)


def read(lines: Lines) -> Iterator[Example]:
    """An example for each line that is not blank."""
    for _, example in read_lines(lines):
        yield example


def read_lines(lines: Lines) -> Iterator[tuple[dict[str, Any], Example]]:
    """Of each line that is not blank the object that stands there, and the example that it makes.

    Nested objects are flattened: `{"review": {"body": "…"}}` has the field "review.body". Lists stay as they are.

    Raises:
        DataError: a line is not an object, or holds what JSON or a tensor cannot: NaN, integers over 64 bits, half of a
            surrogate pair, a field twice.
    """
    for line in lines:
        if line and not line.isspace():
            value = _parse(line, lines.origin)
            features: dict[str, Any] = {}
            _flatten(value, "", features, lines.origin)
            if "\\u" in line:
                refuse_half_characters(features, lines.origin)
            yield value, Example(features, lines.origin)


def _parse(line: str, origin: Origin) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=functools.partial(_object, origin))
    except json.JSONDecodeError as error:
        where = f"at column {error.colno}, near {_excerpt(line, error.pos)}"
        raise DataError(f"{origin}: not JSON: {error.msg} {where}. {_advice(line, error)}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{origin}: not usable JSON: {error}. The line starts: {_excerpt(line, 0)}") from None
    if not isinstance(value, dict):
        array = " The file is one JSON array: write an object a line, jq -c '.[]' OLD > NEW" if isinstance(value, list) else ""
        raise DataError(f"{origin}: expected a JSON object, found {_kind(value)}: {_excerpt(line, 0)}.{array}")
    return value


def _object(origin: Origin, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{origin}: field {twice!r} is there twice in one object. Keep one of them.")
    return value


def _flatten(value: dict[str, Any], prefix: str, features: dict[str, Any], origin: Origin) -> None:
    for name, item in value.items():
        field = prefix + name
        if isinstance(item, dict):
            _flatten(item, field + ".", features, origin)
            continue
        if field in features:
            raise DataError(f"{origin}: field {field!r} is there twice, once nested and once with a dot in its name. Rename one of them.")
        _refuse_odd_numbers(item, field, origin)
        features[field] = item


def _refuse_odd_numbers(value: Any, field: str, origin: Origin) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{origin}: field {field!r} is {value}, which is no JSON number."
                        " Write null for an unlabelled example, or leave it out.")
    if isinstance(value, int) and value not in INT64:
        raise DataError(f"{origin}: field {field!r} is {value}, more than 64 bits hold. Write it as a string.")
    if isinstance(value, list):
        for item in value:
            _refuse_odd_numbers(item, field, origin)
    elif isinstance(value, dict):  # inside a list
        for name, item in value.items():
            _refuse_odd_numbers(item, f"{field}.{name}", origin)


def refuse_half_characters(features: dict[str, Any], origin: Origin | str) -> None:
    """Raises DataError where a text, also in a list or object, holds half of a surrogate pair."""
    for field, value in features.items():
        text = f"{field} {json.dumps(value, ensure_ascii=False)}"
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise DataError(f"{origin}: field {field!r} holds half of a surrogate pair (\\ud800 to \\udfff), which is no character."
                            " The text was cut inside a character: write it again from its original.")


def _excerpt(line: str, position: int) -> str:
    line = line.rstrip("\r\n")
    start = max(0, min(position, len(line)) - 20)
    return repr(("…" if start else "") + line[start:start + 60] + ("…" if start + 60 < len(line) else ""))


def _advice(line: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(line.rstrip()):
        return "The line ends inside a value: write each object on one line, jq -c . OLD > NEW"
    if line.lstrip().startswith(("{", "[")):
        return "Correct the line, or write the file with a JSON library."
    return "Each line has to be an object like {\"text\": \"…\", \"label\": \"…\"}; for other formats see data.source."


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
