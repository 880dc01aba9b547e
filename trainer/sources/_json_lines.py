"""The objects of a JSON file: one a line, the elements of an array, or over several lines.

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
from typing import NamedTuple

from trainer.errors import DataError, shown_value
from trainer.sources import Example, FieldValue, Origin
from trainer.sources._json_errors import excerpt, kind, not_json
from trainer.sources._json_shapes import conversion_of_object, conversion_of_rows
from trainer.sources._lines import Lines

INT64 = range(-(2**63), 2**63)
BLANK = " \t\r\n"  # white space, as JSON has it
KEYS_SHOWN = 6
_BLANKS = re.compile(f"[{BLANK}]*")
_HALF = re.compile("[\ud800-\udfff]")

# an object as it is written, and the example that it makes
Parsed = tuple[dict[str, FieldValue], Example]
Placed = tuple[str | DataError, Origin]  # a line, or what is wrong in its place


def read(lines: Lines, names: Sequence[str] = ()) -> Iterator[Example]:
    """An example for each object.

    Args:
        lines: of the file.
        names: the fields that are asked for.
    Raises:
        DataError: a line is not an object, or holds what JSON or a tensor cannot: NaN, integers
            over 64 bits, half of a surrogate pair, a field twice; the file is one object, whose
            lists hold the examples.
    """
    for parsed in read_objects(placed_lines(lines), names):
        if isinstance(parsed, DataError):
            raise parsed
        yield parsed[1]


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
    placed = (pair for pair in lines if isinstance(pair[0], DataError) or pair[0].strip(BLANK))
    waiting = list(itertools.islice(placed, 1))
    if waiting and _is_first_of_several(waiting[0][0], waiting, placed):
        yield from _read_whole([*waiting, *placed], names, text)
        return
    asked = names
    for line, origin in itertools.chain(waiting, placed):
        if isinstance(line, DataError):
            yield line
        else:
            yield parse_line(line, origin, asked, text)
        asked = ()  # which is checked once


def parse_line(
    line: str, origin: Origin, names: Sequence[str] = (), text: str | None = None
) -> Parsed | DataError:
    """The object on a line with its example, or what is wrong in its place.

    Args:
        line: with or without its end.
        origin: of the line.
        names: the fields that are asked for.
        text: the field that a text alone stands for, where it may.
    """
    try:
        value = _parse(line, origin)
        parsed = _as_parsed(value, origin, lambda: excerpt(line, 0), names, text)
        if "\\u" in line:
            refuse_half_characters(parsed[1].features, origin)
        return parsed
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


def _is_first_of_several(
    line: str | DataError, waiting: list[Placed], placed: Iterator[Placed]
) -> bool:
    """Whether a first line begins a value that ends on another, or is an array alone in its file.

    Args:
        line: the first.
        waiting: gets what is read for the answer.
        placed: the lines behind the first.
    """
    if isinstance(line, DataError):
        return False
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


class _Whole(NamedTuple):
    """A file in one piece.

    Attributes:
        content: all lines.
        starts: where each line begins in it, in characters.
        origins: of each line.
    """

    content: str
    starts: list[int]
    origins: list[Origin]

    def origin(self, position: int) -> Origin:
        """The line that a character is on."""
        lines_before = bisect.bisect(self.starts, position)
        return self.origins[lines_before - 1]

    def first_line(self) -> str:
        """The first line."""
        if len(self.starts) == 1:
            return self.content
        end = self.starts[1]
        return self.content[:end]


def _join(lines: Sequence[tuple[str, Origin]]) -> _Whole:
    starts = []
    origins = []
    length = 0
    for line, origin in lines:
        starts.append(length)
        origins.append(origin)
        length += len(line)
    content = "".join(line for line, _ in lines)
    return _Whole(content, starts, origins)


def _read_whole(
    placed: Iterable[Placed], names: Sequence[str], text: str | None
) -> Iterator[Parsed | DataError]:
    """The elements of an array, or objects over several lines. What cannot be read ends them.

    Args:
        placed: the lines, at least one.
        names: the fields that are asked for.
        text: the field that a text alone stands for, where it may.
    """
    lines: list[tuple[str, Origin]] = []
    for line, origin in placed:
        if isinstance(line, DataError):
            yield line
            return
        lines.append((line, origin))
    whole = _join(lines)
    in_array = whole.content.lstrip(BLANK).startswith("[")
    has_escapes = "\\u" in whole.content
    for number, (value, position) in enumerate(_values(whole.content, in_array=in_array)):
        origin = whole.origin(position)
        if isinstance(value, Exception):
            shown = whole.content if in_array or number else whole.first_line()
            yield not_json(value, shown, origin)
            return
        asked = names if number == 0 else ()
        show = functools.partial(shown_value, value, 60)
        try:
            parsed = _as_parsed(value, origin, show, asked, text, in_array=in_array)
            if has_escapes:
                refuse_half_characters(parsed[1].features, origin)
            yield parsed
        except DataError as error:
            yield error
            if number == 0 and not isinstance(value, dict):
                return


def _values(content: str, *, in_array: bool) -> Iterator[tuple[object, int]]:
    """The elements of an array, or values one after the other, each with where it begins.

    Where something is wrong it is the last, in place of a value.
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
        if not in_array:
            continue
        if content.startswith(",", position):
            position = _after(content, position + 1)
        elif not content.startswith("]", position):
            no_comma = json.JSONDecodeError("Expecting ',' delimiter", content, position)
            yield no_comma, min(position, len(content) - 1)
            return
    if in_array:
        yield from _wrong_end(content, position)


def _wrong_end(content: str, position: int) -> Iterator[tuple[Exception, int]]:
    """What is wrong with the end of an array, if anything, and where."""
    end = len(content)
    behind = position + 1
    if position >= end:
        yield json.JSONDecodeError("Expecting ']'", content, end), end - 1
    elif _after(content, behind) < end:
        yield json.JSONDecodeError("Extra data", content, behind), position


def _after(content: str, position: int) -> int:
    """The place of the first character that is no white space."""
    blanks = _BLANKS.match(content, position)
    return blanks.end() if blanks else position


def _as_parsed(
    value: object,
    origin: Origin,
    show: Callable[[], str],
    names: Sequence[str],
    text: str | None,
    *,
    in_array: bool = False,
) -> Parsed:
    """An object with its example.

    Args:
        value: what was read.
        origin: of the value.
        show: gives an excerpt of it, for a message.
        names: the fields that are asked for.
        text: the field that a text alone stands for, where it may.
        in_array: whether the value stands in an array.
    Raises:
        DataError: it is no object, or makes no example.
    """
    if isinstance(value, str) and text is not None:
        value = {text: value}
    if not isinstance(value, dict):
        command = conversion_of_rows(value, names, origin.file, in_array=in_array)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            command = "To write an object a line: jq -c '.[]' OLD > NEW"
        problem = f"{origin}: expected a JSON object, found {kind(value)}: {show()}."
        raise DataError(f"{problem} {command}".rstrip())
    features: dict[str, FieldValue] = {}
    try:
        _flatten(value, "", features, origin)
    except RecursionError:
        raise DataError(
            f"{origin}: not usable JSON: objects are nested too deeply. The line starts: {show()}"
        ) from None
    if names and not set(names) & set(features):
        _refuse_lists_of_examples(value, names, origin)
    return value, Example(features, origin)


def _refuse_lists_of_examples(
    value: dict[str, FieldValue], names: Sequence[str], origin: Origin
) -> None:
    """Raises DataError where an object without the fields has lists that hold the examples.

    Args:
        value: the object.
        names: the fields that are asked for.
        origin: of the object.
    """
    command = conversion_of_object(value, names, origin.file)
    if command:
        keys = ", ".join(shown_value(key) for key in itertools.islice(value, KEYS_SHOWN))
        raise DataError(
            f"{origin}: expected an object with {' or '.join(map(repr, names))}, found one with"
            f" {keys}, which holds the examples. {command}"
        )


def _parse(line: str, origin: Origin) -> object:
    try:
        if line.startswith("\ufeff"):
            json.loads(line)  # names the byte-order mark
        return _DECODER.decode(line)
    except (ValueError, RecursionError, DataError) as error:
        raise not_json(error, line, origin) from None


def _object(pairs: list[tuple[str, FieldValue]]) -> dict[str, FieldValue]:
    value = dict(pairs)
    if len(value) < len(pairs):
        ((repeated, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise DataError(
            f"field {shown_value(repeated)} is there twice in one object. Keep one of them."
        )
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)  # made once: it takes as long as a line


def _flatten(
    value: dict[str, FieldValue], prefix: str, features: dict[str, FieldValue], origin: Origin
) -> None:
    """Adds the fields of an object, those of nested ones with dotted names.

    Args:
        value: the object.
        prefix: of the names.
        features: changed in place.
        origin: of the object, for messages.
    Raises:
        DataError: a field is there twice, or a number is none that a tensor holds.
    """
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


def _refuse_odd_numbers(value: object, field: str, origin: Origin) -> None:
    """Raises DataError where a number is none of JSON's, or has more than 64 bits; also in lists.

    Args:
        value: of the field.
        field: its name.
        origin: of the example.
    """
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


def refuse_half_characters(features: dict[str, FieldValue], origin: Origin | str) -> None:
    """Raises DataError where a text, also in a list or object, holds half of a surrogate pair."""
    for field, value in features.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if _HALF.search(field) or _HALF.search(text):
            raise DataError(
                f"{origin}: field {field!r} holds half of a surrogate pair (\\ud800 to \\udfff),"
                " which is no character. The text was cut inside a character: write it again from"
                " its original."
            )
