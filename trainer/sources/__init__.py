"""Where examples come from: one module a format, each with a `Settings` and an `open(settings,
split, spec)`.

The value of `data.source` is the name of the module.
"""

import difflib
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from trainer.errors import ConfigError, DataError, shown_value
from trainer.settings.schema import DataSettings

OF_FIELDS = ("csv", "jsonl", "tfds", "tfrecord", "tsv")  # sources whose examples have any fields
# What may stand where there is no label, and may be a class elsewhere: SNLI has -1 and -, labels of
# sentiment are -1, 0 and 1.
UNLABELLED_MARKS = ("-1", "-", "nan", "NaN", "null", "NULL")
TO_PREDICT = "input"  # the split that --mode=predict reads, which needs no labels
FIELDS_SHOWN = 12
NAME_SHOWN = 40  # characters
VALUE_SHOWN = 80


class Origin(NamedTuple):
    """Where an example was found."""

    file: str
    line: int  # from 1; 0: the whole file is one example

    def __str__(self) -> str:
        """As "file:line", or "file"."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Example(NamedTuple):
    """One example as the source has it, before encoding."""

    features: dict[str, Any]  # str, int, float, bool, None, or lists of them
    origin: Origin
    # of each word of a sentence, where they stand on lines of their own
    lines: tuple[int, ...] | None = None
    ends: bool = True  # the document does: a long one comes in several examples
    # why it cannot be read, where others can; only of the split TO_PREDICT
    error: DataError | None = None
    doubts: tuple[tuple[str, int], ...] = ()  # for the ledger: kinds, and how often


class Source(Protocol):
    """One split of a data set."""

    def examples(self) -> Iterator[Example]:
        """The examples in their order, read as they are asked for; every call starts again.

        Raises:
            DataError: something cannot be read; names file:line.
        """

    def fingerprint(self) -> str:
        """Hash of the contents and of the settings that matter: changes whenever the examples
        would.
        """

    def label_names(self) -> list[str] | None:
        """The names of the labels in the order of their ids, where the format declares them."""

    def size(self) -> int | None:
        """What `progress` will have counted at the end: bytes on disk, or examples; None where that
        is not known.
        """

    def progress(self) -> int:
        """How much of `size` the latest `examples()` has read so far."""


def open_source(settings: DataSettings, split: str, spec: str) -> Source:
    """The examples of one split.

    Args:
        settings: the data section, as the Settings of its format.
        split: "train", "validation", "test" or TO_PREDICT.
        spec: path, glob, pkg://module/path, or a TFDS split.
    Raises:
        ConfigError: there is nothing at `spec`.
        DataError: what is there cannot be read.
    """
    if settings.source not in OF_FIELDS and not isinstance(settings.label, str):
        raise ConfigError(
            f"data.label: source {settings.source} has one field of labels. Received"
            f" {settings.label}. Name one, or use {', '.join(OF_FIELDS)}."
        )
    return importlib.import_module(f"trainer.sources.{settings.source}").open(settings, split, spec)


def setting_of(split: str) -> str:
    """The setting that says where a split is, for messages."""
    return "--input" if split == TO_PREDICT else f"data.{split}"


def require_field(example: Example, field: str, setting: str) -> Any:
    """The value of a field, which `setting` names; None is a value (an unlabelled example).

    Raises:
        DataError: the example has no such field (names those it has), or its value is unusable:
            bytes that are not text, NaN, an infinity.
    """
    try:
        value = example.features[field]
    except KeyError:
        raise _missing(example, field, setting) from None
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, bytes):
            raise DataError(
                f"{example.origin}: field {field!r} holds bytes that are not UTF-8 text:"
                f" {item[:20]!r}. Re-encode the data, or name another field."
            )
        if isinstance(item, float) and not math.isfinite(item):
            raise DataError(
                f"{example.origin}: field {field!r} is {item}, not a number. Leave the example out,"
                " or correct it."
            )
    return value


def require_text(example: Example, field: str, setting: str = "data.text") -> str:
    """The value of a field that holds text, which `setting` names; raises DataError where it is
    missing or something else.
    """
    text = require_field(example, field, setting)
    if text is None:
        raise DataError(
            f"{example.origin}: field {field!r} should be text, and is null."
            f" Give it a text, leave the example out, or name another field with --{setting}."
        )
    if not isinstance(text, str):
        remedy = f"Name the text field with --{setting}."
        raise DataError(
            f"{example.origin}: field {field!r} should be text. Received {text!r:.{VALUE_SHOWN}}"
            f" ({type(text).__name__}). {remedy}"
        )
    return text


def _missing(example: Example, field: str, setting: str) -> DataError:
    names = [str(name) for name in example.features]
    folded = {name.strip().casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(field.strip().casefold(), folded, n=1)
    hint = f"; did you mean {shown_value(folded[close[0]])}?" if close else f". Correct {setting}."
    return DataError(
        f"unknown field {shown_value(field)} at {example.origin}; fields there are:"
        f" {fields_shown(names)}{hint}"
    )


def fields_shown(names: Sequence[str]) -> str:
    """The names of fields for a message: some of them, cut."""
    more = f" and {len(names) - FIELDS_SHOWN} more" if len(names) > FIELDS_SHOWN else ""
    return (
        ", ".join(shown_value(name, NAME_SHOWN) for name in names[:FIELDS_SHOWN]) or "none"
    ) + more
