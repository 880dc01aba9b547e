"""JSON that holds the examples, but not as an object each: the one command that writes them so."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import shown_value

LINES, WHOLE = "map(json.loads, sys.stdin.buffer)", "json.load(sys.stdin.buffer)"
KEY_LENGTH = 60  # characters of a key in a command
NESTED_LEVELS = 3  # of keys above a list of examples
NEW_FILE = "NEW.jsonl"


def conversion_of_rows(row: Any, names: Sequence[str], file: str, *, in_array: bool) -> str:
    """What to do about rows that are no objects, of which `row` is the first; "" where nothing is
    known.

    Args:
        names: what the values of a list are, in order: the fields of text, then the label.
        in_array: of the file, which then is one array; else each row is on a line of its own.
    """
    item = _item(row, names)
    return _command(f"{item} for row in {WHOLE if in_array else LINES}", file) if item else ""


def conversion_of_object(value: Mapping[str, Any], names: Sequence[str], file: str) -> str:
    """What to do about a file that is one object, whose lists hold the examples; "" where it is
    not so.
    """
    path = _path_to_examples(value, NESTED_LEVELS)
    if path and max(map(len, path)) <= KEY_LENGTH:
        rows: Any = value
        for key in path:
            rows = rows[key]
        if isinstance(rows[0], dict) and "paragraphs" in rows[0]:
            return "It has the shape of SQuAD's files: set data.source: squad."
        if item := _item(rows[0], names):
            others = [
                key for key, other in value.items() if isinstance(other, list) and key != path[0]
            ]
            also = (
                f" ({', '.join(map(shown_value, others[:6], [KEY_LENGTH] * 6))} stand beside"
                f" {path[0]!r}: name one of them in its place.)"
                if others
                else ""
            )
            return (
                _command(
                    f"{item} for row in {WHOLE}{''.join(f'[{_literal(key)}]' for key in path)}",
                    file,
                )
                + also
            )
    columns = [column for column in value.values() if isinstance(column, dict)]
    if len(columns) < len(value) or not columns:
        return ""
    if all(set(names) & set(column) for column in columns):  # an object of objects, by their ids
        return _command(f"row for row in {WHOLE}.values()", file)
    if (
        set(names) & set(value) and len({tuple(column) for column in columns}) == 1
    ):  # as pandas writes columns
        return _command(
            f"dict(zip(table, row)) for table in [{WHOLE}] for row in zip(*(column.values() for"
            " column in table.values()))",
            file,
        )
    return ""


def _path_to_examples(value: Any, levels: int) -> list[str]:
    """The keys to a list of objects or lists; that of train, where there are several."""
    if not isinstance(value, dict) or levels == 0:
        return []
    for key in sorted(value, key=lambda key: key != "train"):
        rows = value[key]
        if isinstance(rows, list) and rows and isinstance(rows[0], dict | list):
            return [key]
        if inner := _path_to_examples(rows, levels - 1):
            return [key, *inner]
    return []


def _item(row: Any, names: Sequence[str]) -> str:
    if isinstance(row, dict):
        return "row"
    if isinstance(row, list):
        return (
            f"dict(zip({_literal([*names][: len(row)])}, row))"
            if 0 < len(row) <= len(names)
            else ""
        )
    return f"{{{_literal(names[0])}: row}}" if isinstance(row, str) and names else ""


def _literal(value: Any) -> str:
    """As Python reads it, in double quotes, which a shell leaves alone between single ones."""
    return json.dumps(value, ensure_ascii=False)


def _command(rows: str, file: str) -> str:
    item, _, each = rows.partition(" for ")
    code = f"import json, sys; [print(json.dumps({item})) for {each}]"
    given = f"< {shlex.quote(file)}" if file != "standard input" else "< OLD"
    unpacked = f"zcat {shlex.quote(file)} | " if file.endswith(".gz") else ""
    return (
        f"To write an object a line: {unpacked}python3 -c"
        f" {shlex.quote(code)}{'' if unpacked else ' ' + given} > {NEW_FILE}"
    )
