"""What messages say of JSON that cannot be read."""

import json

from trainer.errors import DataError
from trainer.sources import Origin


def not_json(error: Exception, content: str, origin: Origin) -> DataError:
    """The error for what cannot be read.

    Args:
        error: what the decoder says.
        content: what it was given.
        origin: of what is wrong.
    """
    if isinstance(error, DataError):
        return DataError(f"{origin}: {error}")
    if not isinstance(error, json.JSONDecodeError):
        return DataError(
            f"{origin}: not usable JSON: {error}. The line starts: {excerpt(content, 0)}"
        )
    line = content
    if "\n" in content.rstrip("\r\n"):
        start = content.rfind("\n", 0, error.pos) + 1
        line = content[start:].partition("\n")[0]
    return DataError(
        f"{origin}: not JSON: {error.msg} at column {error.colno}, near"
        f" {excerpt(line, error.colno - 1)}. {_advice(content, error)}"
    )


def excerpt(line: str, position: int) -> str:
    """The characters around a place."""
    line = line.rstrip("\r\n")
    start = max(0, min(position, len(line)) - 20)
    end = start + 60
    before = "…" if start else ""
    behind = "…" if end < len(line) else ""
    return repr(before + line[start:end] + behind)


def _advice(line: str, error: json.JSONDecodeError) -> str:
    """What to do about a line, or a file."""
    if error.pos >= len(line.rstrip()):
        return "The line ends inside a value: write each object on one line, jq -c . OLD > NEW"
    if line.lstrip().startswith(("{", "[")):
        return "Correct the line, or write the file with a JSON library."
    return (
        'Each line has to be an object like {"text": "…", "label": "…"}; for other formats see'
        " data.source."
    )


def kind(value: object) -> str:
    """What a JSON value is that is no object."""
    kinds = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
