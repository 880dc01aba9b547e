"""Where examples come from: one module a format.

Each has a `Settings` and an `open(settings, split, spec)`; the value of `data.source` is the name
of the module. Modules whose names begin with _ are what formats share. What becomes of an example
is in `trainer.data` and `trainer.heads`.
"""

import difflib
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

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
# str, int, float, bool, None, bytes that are no text, or lists and objects of them
FieldValue: TypeAlias = Any


class Origin(NamedTuple):
    """Where an example was found."""

    file: str
    line: int  # from 1; 0: the whole file is one example

    def __str__(self) -> str:
        """As "file:line", or "file"."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Example(NamedTuple):
    """One example as the source has it, before encoding."""

    features: dict[str, FieldValue]
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
        """Hash of the contents and the settings: changes whenever the examples would."""

    def label_names(self) -> list[str] | None:
        """The names of the labels in the order of their ids, where the format declares them."""

    def size(self) -> int | None:
        """What `progress` will have counted at the end: bytes on disk, or examples.

        None where that is not known.
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
    module = importlib.import_module(f"trainer.sources.{settings.source}")
    return module.open(settings, split, spec)


def text_fields(settings: DataSettings) -> list[str]:
    """The fields of text: one, or two of a pair."""
    return [settings.text] if isinstance(settings.text, str) else settings.text


def setting_of(split: str) -> str:
    """The setting that says where a split is, for messages."""
    return "--input" if split == TO_PREDICT else f"data.{split}"


def require_field(example: Example, field: str, setting: str) -> FieldValue:
    """The value of a field; None is a value, of an unlabelled example.

    Args:
        example: has it.
        field: its name.
        setting: the setting that names the field, for messages.
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
    """The value of a field that holds text.

    Args:
        example: has it.
        field: its name.
        setting: the setting that names the field, for messages.
    Raises:
        DataError: the field is missing, or holds something else.
    """
    text = require_field(example, field, setting)
    if text is None:
        raise DataError(
            f"{example.origin}: field {field!r} should be text, and is null."
            f" Give it a text, leave the example out, or name another field with --{setting}."
        )
    if not isinstance(text, str):
        raise DataError(
            f"{example.origin}: field {field!r} should be text. Received {text!r:.{VALUE_SHOWN}}"
            f" ({type(text).__name__}). Name the text field with --{setting}."
        )
    return text


def _missing(example: Example, field: str, setting: str) -> DataError:
    names = [str(name) for name in example.features]
    name_of_folded = {name.strip().casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(field.strip().casefold(), name_of_folded, n=1)
    hint = f". Correct {setting}."
    if close:
        hint = f"; did you mean {shown_value(name_of_folded[close[0]])}?"
    return DataError(
        f"unknown field {shown_value(field)} at {example.origin}; fields there are:"
        f" {fields_shown(names)}{hint}"
    )


def fields_shown(names: Sequence[str]) -> str:
    """The names of fields for a message: some of them, cut."""
    if not names:
        return "none"
    shown = ", ".join(shown_value(name, NAME_SHOWN) for name in names[:FIELDS_SHOWN])
    left_out = len(names) - FIELDS_SHOWN
    return f"{shown} and {left_out} more" if left_out > 0 else shown
