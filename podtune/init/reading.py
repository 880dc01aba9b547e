"""The first examples of a place, read by the source that training will read them with."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Mapping, Sequence

from podtune.init import columns as looks
from podtune.init.formats import Format
from podtune.init.questions import Asker
from podtune.init.samples import Sample
from trainer.settings import sections
from trainer.settings.schema import DataSettings
from trainer.sources import open_source

ROWS = 20_000  # looked at
HEADER_ROWS = 200


def settings_of(data: Mapping[str, object], place: str) -> DataSettings:
    """The data section that reads a place.

    Args:
        data: its settings, with the source.
        place: of train.
    """
    cls = sections.section_classes("data")[str(data["source"])]
    settings = cls.model_validate({**data, "train": place})
    if not isinstance(settings, DataSettings):
        raise TypeError(f"expected settings of data. Received {type(settings).__name__}")
    return settings


def rows_of(data: Mapping[str, object], place: str) -> list[dict[str, object]]:
    """The fields of the first examples.

    Args:
        data: settings of the data section, with the source.
        place: a path, glob or split.
    Raises:
        ConfigError, DataError: the source cannot read it.
    """
    source = open_source(settings_of(data, place), "train", place)
    return [example.features for example in itertools.islice(source.examples(), ROWS)]


def keys_of(sample: Sample, found: Format) -> dict[str, object]:
    """Fields that the objects of a JSON file have, for its source to look for; else nothing.

    Args:
        sample: of the file.
        found: its format.
    """
    if found.data["source"] != "jsonl":
        return {}
    start = sample.text.lstrip("\ufeff \t\n[")
    try:
        first, _ = json.JSONDecoder().raw_decode(start)
    except ValueError:
        return {}
    keys = list(first) if isinstance(first, dict) else []
    return {"text": keys[0], "label": keys[-1]} if keys else {}


def header_of(sample: Sample, found: Format, asker: Asker) -> dict[str, object]:
    """What the data section says of a header: nothing where the first row is one.

    Args:
        sample: of a csv or tsv file.
        found: its format.
        asker: where nothing shows whether there is a header.
    """
    delimiter = "\t" if found.data["source"] == "tsv" else str(found.data.get("delimiter", ","))
    lines = [line for line in sample.lines if line.strip()][:HEADER_ROWS]
    if delimiter == "\t":
        rows = [line.split("\t") for line in lines]
    else:
        rows = list(csv.reader(lines, delimiter=delimiter))
    has_header = looks.has_header(rows[0], rows[1:])
    if has_header is None:
        first = ", ".join(rows[0])
        answer = asker.choose(
            f"The first row is: {first[:100]}. What is it?",
            ["names of the columns", "an example"],
            "a first row that names the columns, or with data.header: false in a config by hand",
        )
        has_header = answer == "names of the columns"
    return {} if has_header else {"header": False}


def named_columns(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Names for the columns of a file without a header: text, label, text_1, …

    Args:
        rows: by the numbers of their columns.
    Returns:
        the new name of each.
    """
    found = looks.look_at(rows)
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    texts = sum(column.kind == "text" for column in found)
    labels = sum(column.kind in ("label", "number") for column in found)
    for column in found:
        kind = "label" if column.kind == "number" else column.kind
        counts[kind] = counts.get(kind, 0) + 1
        is_only = {"text": texts, "label": labels}.get(kind) == 1
        names[column.name] = kind if is_only else f"{kind}{counts[kind]}"
    return names
