"""JSON that holds the examples, but not as an object each: the one command that writes them so."""

import json
import shlex
from collections.abc import Mapping, Sequence

from trainer.errors import shown_value
from trainer.sources import FieldValue

# Python for the content of a file: an object a line, or one value
LINES = "map(json.loads, sys.stdin.buffer)"
WHOLE = "json.load(sys.stdin.buffer)"
KEY_LENGTH = 60  # characters of a key in a command
NESTED_LEVELS = 3  # of keys above a list of examples
NEW_FILE = "NEW.jsonl"


def conversion_of_rows(row: object, names: Sequence[str], file: str, *, in_array: bool) -> str:
    """What to do about rows that are no objects; "" where nothing is known.

    Args:
        row: the first of them.
        names: what the values of a list are, in order: the fields of text, then the label.
        file: its name, for the command.
        in_array: of the file, which then is one array; else each row is on a line of its own.
    """
    item = _item(row, names)
    if not item:
        return ""
    rows = WHOLE if in_array else LINES
    return _command(item, f"row in {rows}", file)


def conversion_of_object(value: Mapping[str, FieldValue], names: Sequence[str], file: str) -> str:
    """What to do about a file that is one object, whose lists hold the examples.

    Args:
        value: the object.
        names: the fields that are asked for.
        file: its name, for the command.
    Returns:
        "" where it is not so.
    """
    path = _path_to_examples(value, NESTED_LEVELS)
    if path and max(map(len, path)) <= KEY_LENGTH:
        advice = _conversion_of_lists(value, path, names, file)
        if advice:
            return advice
    inner = list(value.values())
    if not inner or not all(isinstance(each, dict) for each in inner):
        return ""
    asked = set(names)
    if not any(asked.isdisjoint(each) for each in inner):  # an object of objects, by their ids
        return _command("row", f"row in {WHOLE}.values()", file)
    keys = set(map(tuple, inner))
    if len(keys) == 1 and not asked.isdisjoint(value):  # as pandas writes columns
        rows = "zip(*(column.values() for column in table.values()))"
        rows_of_table = f"table in [{WHOLE}] for row in {rows}"
        return _command("dict(zip(table, row))", rows_of_table, file)
    return ""


def _conversion_of_lists(
    value: Mapping[str, FieldValue], path: Sequence[str], names: Sequence[str], file: str
) -> str:
    """What to do where a list in an object holds the examples; "" where they are of no known kind.

    Args:
        value: the object.
        path: the keys to the list.
        names: the fields that are asked for.
        file: its name, for the command.
    """
    rows: FieldValue = value
    for key in path:
        rows = rows[key]
    first = rows[0]
    if isinstance(first, dict) and "paragraphs" in first:
        return "It has the shape of SQuAD's files: set data.source: squad."
    item = _item(first, names)
    if not item:
        return ""
    keys = "".join(f"[{_literal(key)}]" for key in path)
    command = _command(item, f"row in {WHOLE}{keys}", file)
    others = []
    for key, other in value.items():
        if isinstance(other, list) and key != path[0]:
            others.append(shown_value(key, KEY_LENGTH))
    if not others:
        return command
    shown = ", ".join(others[:6])
    return f"{command} ({shown} stand beside {path[0]!r}: name one of them in its place.)"


def _path_to_examples(value: object, levels: int) -> list[str]:
    """The keys to a list of objects or lists; that of train, where there are several."""
    if not isinstance(value, dict) or levels == 0:
        return []
    for key in sorted(value, key=lambda key: key != "train"):
        rows = value[key]
        if isinstance(rows, list) and rows:
            first = rows[0]
            if isinstance(first, dict | list):
                return [key]
        inner = _path_to_examples(rows, levels - 1)
        if inner:
            return [key, *inner]
    return []


def _item(row: object, names: Sequence[str]) -> str:
    """Python for the object that a row makes; "" where it makes none."""
    if isinstance(row, dict):
        return "row"
    if isinstance(row, list) and 0 < len(row) <= len(names):
        keys = list(names[: len(row)])
        return f"dict(zip({_literal(keys)}, row))"
    if isinstance(row, str) and names:
        return f"{{{_literal(names[0])}: row}}"
    return ""


def _literal(value: str | list[str]) -> str:
    """As Python reads it, in double quotes, which a shell leaves alone between single ones."""
    return json.dumps(value, ensure_ascii=False)


def _command(item: str, each: str, file: str) -> str:
    """A command that writes an object a line.

    Args:
        item: Python for each object.
        each: what goes through the rows, as behind `for`.
        file: its name.
    """
    code = shlex.quote(f"import json, sys; [print(json.dumps({item})) for {each}]")
    run = f"python3 -c {code}"
    quoted = shlex.quote(file)
    if file.endswith(".gz"):
        run = f"zcat {quoted} | {run}"
    elif file == "standard input":
        run = f"{run} < OLD"
    else:
        run = f"{run} < {quoted}"
    return f"To write an object a line: {run} > {NEW_FILE}"
