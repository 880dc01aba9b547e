"""What --mode=predict is asked; what is wrong with a question is kept in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trainer.data.reader import Reader, Value
from trainer.errors import DataError
from trainer.serve.question_lines import (
    STANDARD_INPUT,
    Fields,
    Items,
    Progress,
    is_typed,
    open_items,
)
from trainer.settings.schema import DataSettings
from trainer.sources import Example
from trainer.sources._json_lines import Parsed

FILE_BATCHES = 8


class Question(NamedTuple):
    """What stands in one place of the input.

    Attributes:
        value: the fields as they are written, which the answer keeps.
        example: the same, flattened; None where it cannot be read.
        values: what the model is asked; none where there is an error.
        error: why it cannot be asked; "" where it can.
    """

    value: dict[str, object]
    example: Example | None
    values: tuple[Value, ...] = ()
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Questions:
    """The questions of an input in their order, read as they are asked for.

    Attributes:
        typed: whether a person types the lines, and waits for each answer.
        piped: whether they come from standard input.
        progress: how much of the input is read.
    """

    typed: bool
    piped: bool
    progress: Progress
    _items: Items
    _reader: Reader
    _label_fields: Sequence[str]

    def __iter__(self) -> Iterator[Question]:
        for item in self._items:
            if isinstance(item, DataError):
                yield Question({}, None, error=str(item))
            else:
                yield self._question(item)

    def at_once(self, batch_size: int) -> int:
        """How many are answered together; of a file many, so that long texts find long ones."""
        if self.typed:
            return 1
        return batch_size if self.piped else FILE_BATCHES * batch_size

    def _question(self, parsed: Parsed) -> Question:
        value, example = parsed
        # a text with its gold tags is a text
        features = {
            field: item
            for field, item in example.features.items()
            if field not in self._label_fields
        }
        example = Example({**self._by_field(features), **features}, example.origin)
        try:
            return Question(value, example, self._reader.asked(example))
        except DataError as error:
            return Question(value, example, error=f"{error}{self._other_names(example)}")

    def _by_field(self, features: dict[str, object]) -> dict[str, object]:
        """The texts that are named as the SavedModel names them, by the fields of training."""
        texts = {}
        for item in self._reader.inputs:
            if item.name in features:
                texts[item.field] = features[item.name]
        return texts

    def _other_names(self, example: Example) -> str:
        """How missing fields may be named as well."""
        names = [
            repr(item.name)
            for item in self._reader.inputs
            if item.field not in example.features and item.field != item.name
        ]
        if not names:
            return ""
        return f" Where a model is asked, {' and '.join(names)} will do as well."


def open_questions(source: str, settings: DataSettings, reader: Reader) -> Questions:
    """Finds the questions of an input; they are read later.

    Args:
        source: a path, a glob, or "-" for standard input.
        settings: the data section of the job.
        reader: of the head.
    Raises:
        ConfigError: there is no such input, or it cannot be read.
    """
    inputs = reader.inputs
    names = dict.fromkeys([*(item.field for item in inputs), *(item.name for item in inputs)])
    text = inputs[0].name if len(inputs) == 1 else None
    fields = Fields(tuple(names), text)
    progress = Progress()
    return Questions(
        is_typed(source),
        source == STANDARD_INPUT,
        progress,
        open_items(source, settings, fields, progress),
        reader,
        settings.label_fields,
    )
