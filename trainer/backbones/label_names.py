"""What config.json says of a fine-tuned checkpoint's task: its labels, by the rows of the output
layer, and its class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainer.errors import WeightsError, shown_value

_TASK = re.compile(r"For[A-Z][A-Za-z]*")
_ROW = re.compile(r"[0-9]{1,9}")


def read_id2label(content: Mapping[str, object], where: str) -> dict[int, str]:
    """Row -> label, in the order of the rows; {} where config.json names none.

    Raises:
        WeightsError: it is no mapping of rows to names.
    """
    named = content.get("id2label") or {}
    if not isinstance(named, dict):
        raise _damaged(where, "id2label", named)
    rows = {}
    for row, label in named.items():
        if not _ROW.fullmatch(row) or not isinstance(label, str | int | float):
            raise _damaged(where, "id2label", {row: label})
        rows[int(row)] = str(label)
    return dict(sorted(rows.items()))


def read_label2id(content: Mapping[str, object], where: str) -> dict[str, int]:
    """Label -> row; {} where config.json has none.

    Raises:
        WeightsError: it is no mapping of names to rows.
    """
    named = content.get("label2id") or {}
    if not isinstance(named, dict):
        raise _damaged(where, "label2id", named)
    rows = {}
    for label, row in named.items():
        if not _ROW.fullmatch(str(row)) or isinstance(row, bool):
            raise _damaged(where, "label2id", {label: row})
        rows[str(label)] = int(row)
    return rows


def task_of(content: Mapping[str, object]) -> str:
    """How the name of the checkpoint's class ends, such as ForTokenClassification; "" where it is a
    backbone alone, or none is named.
    """
    classes = content.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes else ""
    found = _TASK.search(name) if isinstance(name, str) else None
    return found[0] if found else ""


def _damaged(where: str, key: str, value: object) -> WeightsError:
    example = (
        '{"0": "negative", "1": "positive"}'
        if key == "id2label"
        else '{"negative": 0, "positive": 1}'
    )
    return WeightsError(
        f"{where}: {key} is {shown_value(value)}: expected labels by their rows, such as {example}."
        f" Correct it, or remove {key}"
    )
