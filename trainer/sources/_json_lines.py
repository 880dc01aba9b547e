"""The objects of a JSON file: one a line, the elements of an array, or written over several lines.
Shared by the formats, and by predict.
"""

import bisect
import functools
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from trainer.errors import DataError, shown_value
from trainer.sources import Example, Origin
from trainer.sources._json_shapes import conversion_of_object, conversion_of_rows
from trainer.sources._lines import Lines

INT64 = range(-(2**63), 2**63)
BLANK = " \t\r\n"  # white space, as JSON has it
KEYS_SHOWN = 6
_BLANKS = re.compile(f"[{BLANK}]*")
_HALF = re.compile("[\ud800-\udfff]")

Parsed = tuple[dict[str, Any], Example]  # an object as it is written, and the example that it makes
Placed = tuple[str | DataError, Origin]  # a line, or what is wrong in its place


def read(lines: Lines, names: Sequence[str] = ()) -> Iterator[Example]:
    """An example for each object; `names` are the fields that are asked for.

    Raises:
        DataError: a line is not an object, or holds what JSON or a tensor cannot: NaN, integers
            over 64 bits, half of a surrogate pair, a field twice; the file is one object, whose
            lists hold the examples.
    """
    for found in read_objects(placed_lines(lines), names):
        if isinstance(found, DataError):
            raise found
        yield found[1]


def read_objects(
    lines: Iterable[Placed], names: Sequence[str] = (), text: str | None = None
) -> Iterator[Parsed | DataError]:
    """Each object with its example, or what is wrong in its place.

    Nested objects are flattened: `{"review": {"body": "…"}}` has the field "review.body". Lists
    stay as they are. A file that begins with an array, or with an object of several lines, is held
    in memory in one piece.

    Args:
        lines: as `placed_lines` has them.
        names: the fields that are asked for; a first object that has none of them, but lists of
            examples, is refused.
        text: the field that a text alone stands for, where it may.
    """
    placed = (
        (line, origin) for line, origin in lines if isinstance(line, DataError) or line.strip(BLANK)
    )
    waiting = list(itertools.islice(placed, 1))
    if (
        waiting
        and isinstance(waiting[0][0], str)
        and _is_first_of_several(waiting[0][0], waiting, placed)
    ):
        yield from _read_whole([*waiting, *placed], names, text)
        return
    for number, (line, origin) in enumerate(itertools.chain(waiting, placed)):
        yield (
            line
            if isinstance(line, DataError)
            else parse_line(line, origin, names if number == 0 else (), text)
        )


def parse_line(
    line: str, origin: Origin, names: Sequence[str] = (), text: str | None = None
) -> Parsed | DataError:
    """The object on a line with its example, or what is wrong; see `read_objects`."""
    try:
        value = _parse(line, origin)
        found = _as_parsed(value, origin, lambda: _excerpt(line, 0), names, text)
        if "\\u" in line:
            refuse_half_characters(found[1].features, origin)
        return found
    except DataError as error:
        return error


def placed_lines(lines: Lines) -> Iterator[Placed]:
    """Each line with its place; in place of one that is not UTF-8, the error."""
    while True:
        try:
            for line in lines:
                yield line, lines.origin
            return
        except DataError as error:
            yield error, lines.origin


def _is_first_of_several(line: str, waiting: list[Placed], placed: Iterator[Placed]) -> bool:
    """Whether a first line begins a value that ends on another, or is an array alone in its
    file. What is read for it is `waiting`.
    """
    start = line.lstrip(BLANK)[0]
    if start == "[":
        waiting += itertools.islice(placed, 1)
        if len(waiting) == 1:
            return True
    elif start != "{" or not line.rstrip(BLANK).endswith(("{", "[", ",", ":")):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def _read_whole(
    placed: Iterable[Placed], names: Sequence[str], text: str | None
) -> Iterator[Parsed | DataError]:
    """The elements of an array, or objects over several lines. What cannot be read ends them."""
    pieces: list[str] = []
    starts: list[int] = []  # of the pieces, in characters
    origins: list[Origin] = []
    for piece, origin in placed:
        if isinstance(piece, DataError):
            yield piece
            return
        starts.append(starts[-1] + len(pieces[-1]) if pieces else 0)
        pieces.append(piece)
        origins.append(origin)
    content = "".join(pieces)
    in_array = content.lstrip(BLANK).startswith("[")
    escapes = "\\u" in content
    for number, (value, position) in enumerate(_values(content, in_array=in_array)):
        origin = origins[bisect.bisect(starts, position) - 1]
        try:
            if isinstance(value, Exception):
                raise _not_json(value, content if in_array or number else pieces[0], origin)
            found = _as_parsed(
                value,
                origin,
                functools.partial(shown_value, value, 60),
                names if number == 0 else (),
                text,
                in_array=in_array,
            )
            if escapes:
                refuse_half_characters(found[1].features, origin)
            yield found
        except DataError as error:
            yield error
            if isinstance(value, Exception) or (number == 0 and not isinstance(value, dict)):
                return


def _values(content: str, *, in_array: bool) -> Iterator[tuple[Any, int]]:
    """The elements of an array, or values one after the other, each with where it begins; last,
    in place of one, what is wrong.
    """
    position = _after(content, 0)
    if in_array:
        position = _after(content, position + 1)
    while position < len(content) and not (in_array and content[position] == "]"):
        try:
            value, end = _DECODER.raw_decode(content, position)
        except (ValueError, RecursionError, DataError) as error:
            yield error, getattr(error, "pos", position)
            return
        yield value, position
        position = _after(content, end)
        if in_array and content[position : position + 1] == ",":
            position = _after(content, position + 1)
        elif in_array and content[position : position + 1] != "]":
            yield (
                json.JSONDecodeError("Expecting ',' delimiter", content, position),
                min(position, len(content) - 1),
            )
            return
    if in_array and position >= len(content):
        yield json.JSONDecodeError("Expecting ']'", content, len(content)), len(content) - 1
    elif in_array and _after(content, position + 1) < len(content):
        yield json.JSONDecodeError("Extra data", content, position + 1), position


def _after(content: str, position: int) -> int:
    """The place of the first character that is no white space."""
    return _BLANKS.match(content, position).end()


def _as_parsed(
    value: Any,
    origin: Origin,
    excerpt: Callable[[], str],
    names: Sequence[str],
    text: str | None,
    *,
    in_array: bool = False,
) -> Parsed:
    if isinstance(value, str) and text is not None:
        value = {text: value}
    if not isinstance(value, dict):
        command = conversion_of_rows(value, names, origin.file, in_array=in_array)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            command = "To write an object a line: jq -c '.[]' OLD > NEW"
        problem = f"{origin}: expected a JSON object, found {_kind(value)}: {excerpt()}."
        raise DataError(f"{problem} {command}".rstrip())
    features: dict[str, Any] = {}
    try:
        _flatten(value, "", features, origin)
    except RecursionError:
        raise DataError(
            f"{origin}: not usable JSON: objects are nested too deeply. The line starts:"
            f" {excerpt()}"
        ) from None
    if (
        names
        and not set(names) & set(features)
        and (command := conversion_of_object(value, names, origin.file))
    ):
        keys = ", ".join(shown_value(key) for key in itertools.islice(value, KEYS_SHOWN))
        raise DataError(
            f"{origin}: expected an object with {' or '.join(map(repr, names))}, found one with"
            f" {keys}, which holds the examples. {command}"
        )
    return value, Example(features, origin)


def _parse(line: str, origin: Origin) -> Any:
    try:
        if line.startswith("\ufeff"):
            json.loads(line)  # names the byte-order mark
        return _DECODER.decode(line)
    except (ValueError, RecursionError, DataError) as error:
        raise _not_json(error, line, origin) from None


def _not_json(error: Exception, content: str, origin: Origin) -> DataError:
    if isinstance(error, DataError):
        return DataError(f"{origin}: {error}")
    if not isinstance(error, json.JSONDecodeError):
        return DataError(
            f"{origin}: not usable JSON: {error}. The line starts: {_excerpt(content, 0)}"
        )
    line = (
        content[content.rfind("\n", 0, error.pos) + 1 :].partition("\n")[0]
        if "\n" in content.rstrip("\r\n")
        else content
    )
    column = error.colno
    return DataError(
        f"{origin}: not JSON: {error.msg} at column {column}, near {_excerpt(line, column - 1)}."
        f" {_advice(content, error)}"
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise DataError(
            f"field {shown_value(counts.most_common(1)[0][0])} is there twice in one object. Keep"
            " one of them."
        )
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)  # made once: it takes as long as a line


def _flatten(value: dict[str, Any], prefix: str, features: dict[str, Any], origin: Origin) -> None:
    for name, item in value.items():
        field = prefix + name
        if isinstance(item, dict):
            _flatten(item, field + ".", features, origin)
            continue
        if field in features:
            raise DataError(
                f"{origin}: field {field!r} is there twice, once nested and once with a dot in its"
                " name. Rename one of them."
            )
        if not isinstance(item, str):
            _refuse_odd_numbers(item, field, origin)
        features[field] = item


def _refuse_odd_numbers(value: Any, field: str, origin: Origin) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(
            f"{origin}: field {field!r} is {value}, which is no JSON number."
            " Write null for an unlabelled example, or leave it out."
        )
    if isinstance(value, int) and value not in INT64:
        raise DataError(
            f"{origin}: field {field!r} is {value}, more than 64 bits hold. Write it as a string."
        )
    if isinstance(value, list):
        for item in value:
            _refuse_odd_numbers(item, field, origin)
    elif isinstance(value, dict):  # inside a list
        for name, item in value.items():
            _refuse_odd_numbers(item, f"{field}.{name}", origin)


def refuse_half_characters(features: dict[str, Any], origin: Origin | str) -> None:
    """Raises DataError where a text, also in a list or object, holds half of a surrogate pair."""
    for field, value in features.items():
        text = (
            f"{field} {value}"
            if isinstance(value, str)
            else f"{field} {json.dumps(value, ensure_ascii=False)}"
        )
        if _HALF.search(text):
            raise DataError(
                f"{origin}: field {field!r} holds half of a surrogate pair (\\ud800 to \\udfff),"
                " which is no character. The text was cut inside a character: write it again from"
                " its original."
            )


def _excerpt(line: str, position: int) -> str:
    line = line.rstrip("\r\n")
    start = max(0, min(position, len(line)) - 20)
    return repr(
        ("…" if start else "") + line[start : start + 60] + ("…" if start + 60 < len(line) else "")
    )


def _advice(line: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(line.rstrip()):
        return "The line ends inside a value: write each object on one line, jq -c . OLD > NEW"
    if line.lstrip().startswith(("{", "[")):
        return "Correct the line, or write the file with a JSON library."
    return (
        'Each line has to be an object like {"text": "…", "label": "…"}; for other formats see'
        " data.source."
    )


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
