"""Examples of Python objects: DataFrames, lists of dicts, datasets of Hugging Face or tf.data.

They become a file of JSON lines in the run's folder, so that a run can go on, be evaluated anew and
submitted as any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trainer.errors import ConfigError
from trainer.files.writing import atomic_write

KINDS = "a path, a pandas DataFrame, a list of dicts, a datasets.Dataset or a tf.data.Dataset"


def is_path(data: object) -> bool:
    """Whether data are named, not given."""
    return isinstance(data, str | os.PathLike)


def rows_of(data: object) -> list[dict[str, object]]:
    """The examples of an object, each with its fields.

    Args:
        data: one of KINDS but a path.
    Raises:
        ConfigError: it is of another kind, or has no example.
    """
    rows = [{str(name): _plain(value) for name, value in row.items()} for row in _rows(data)]
    if not rows:
        raise ConfigError(f"there is no example in {_kind(data)}.")
    return rows


def write_rows(rows: Iterable[Mapping[str, object]], folder: pathlib.Path, split: str) -> str:
    """Writes examples as JSON lines, once for the same content.

    Args:
        rows: the examples.
        folder: of the run.
        split: that they are.
    Returns:
        the file's path.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file = folder / "data" / f"{split}-{digest_of(lines)}.jsonl"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as opened:
            opened.writelines(lines)
    return file.as_posix()


def digest_of(lines: Iterable[str]) -> str:
    """A short name of a content."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]


def _rows(data: Any) -> Iterator[Mapping[str, object]]:
    if hasattr(data, "to_dict") and hasattr(data, "columns"):  # a DataFrame
        yield from data.to_dict(orient="records")
    elif hasattr(data, "element_spec"):  # a tf.data.Dataset
        yield from _elements(data)
    elif hasattr(data, "features") and hasattr(data, "column_names"):  # a datasets.Dataset
        yield from _named_classes(data)
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
        for number, row in enumerate(data):
            if not isinstance(row, Mapping):
                raise ConfigError(
                    f"example {number} is {_kind(row)}. Expected a dict of fields, such as"
                    ' {"text": …, "label": …}.'
                )
            yield row
    else:
        raise ConfigError(f"data: expected {KINDS}. Received {_kind(data)}.")


def _elements(data: Any) -> Iterator[Mapping[str, object]]:
    """Of a tf.data.Dataset: dicts, or pairs of a text and a label, also in batches."""
    spec = data.element_spec
    is_pair = isinstance(spec, tuple) and len(spec) == 2
    if not (isinstance(spec, Mapping) or is_pair):
        raise ConfigError(
            "data: expected a tf.data.Dataset of dicts, or of pairs (text, label). Received one of"
            f" {type(spec).__name__}."
        )
    named = data.map(lambda text, label: {"text": text, "label": label}) if is_pair else data
    if all(part.shape.rank for part in named.element_spec.values()):
        named = named.unbatch()
    yield from named.as_numpy_iterator()


def _named_classes(data: Any) -> Iterator[Mapping[str, object]]:
    """Of a datasets.Dataset, with the names of its classes, of single labels and of lists."""
    names = {}
    for column, feature in data.features.items():
        inner = getattr(feature, "feature", feature)
        if getattr(inner, "names", None):
            names[column] = list(inner.names)
    for row in data:
        named = {}
        for column, value in row.items():
            classes = names.get(column)
            named[column] = value if classes is None else _name_of(value, classes)
        yield named


def _name_of(value: object, classes: list[str]) -> object:
    if isinstance(value, list):
        return [_name_of(item, classes) for item in value]
    # -1 stands where there is no label
    return classes[value] if isinstance(value, int) and value >= 0 else None


def _plain(value: Any) -> object:
    """As JSON has it: numpy's numbers and arrays, bytes that are text, and what is missing."""
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if value != value else value  # pandas has NaN where nothing is
    return str(value)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
