"""What --mode=predict is asked; what is wrong with a question is kept in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from trainer.errors import DataError
from trainer.serve.question_lines import Fields, Items, Progress, is_typed, open_items
from trainer.settings.schema import DataSettings
from trainer.sources import Example
from trainer.sources._json_lines import Parsed


class Asked(Protocol):
    """A head, as far as it matters what it is asked."""

    fields: Sequence[str]  # where its texts stand in the examples of training
    text_names: Sequence[str]  # the inputs of the SavedModel

    def asked(self, example: Example) -> tuple[str, ...]:
        """The raw texts that predict answers."""


class Question(NamedTuple):
    """What stands in one place of the input.

    Attributes:
        value: the fields as they are written, which the answer keeps.
        example: the same, flattened; None where it cannot be read.
        texts: what the model is asked; none where there is an error.
        error: why it cannot be asked; "" where it can.
    """

    value: dict[str, object]
    example: Example | None
    texts: tuple[str, ...] = ()
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Questions:
    """The questions of an input in their order, read as they are asked for.

    Attributes:
        typed: whether a person types the lines, and waits for each answer.
        progress: how much of the input is read.
    """

    typed: bool
    progress: Progress
    _items: Items
    _head: Asked
    _label_fields: Sequence[str]

    def __iter__(self) -> Iterator[Question]:
        for item in self._items:
            if isinstance(item, DataError):
                yield Question({}, None, error=str(item))
            else:
                yield self._question(item)

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
            return Question(value, example, self._head.asked(example))
        except DataError as error:
            return Question(value, example, error=f"{error}{self._other_names(example)}")

    def _by_field(self, features: dict[str, object]) -> dict[str, object]:
        """The texts that are named as the SavedModel names them, by the fields of training."""
        names = zip(self._head.fields, self._head.text_names, strict=False)
        return {field: features[name] for field, name in names if name in features}

    def _other_names(self, example: Example) -> str:
        """How missing fields may be named as well."""
        names = [
            repr(name)
            for field, name in zip(self._head.fields, self._head.text_names, strict=False)
            if field not in example.features and field != name
        ]
        if not names:
            return ""
        return f" Where a model is asked, {' and '.join(names)} will do as well."


def open_questions(source: str, settings: DataSettings, head: Asked) -> Questions:
    """Finds the questions of an input; they are read later.

    Args:
        source: a path, a glob, or "-" for standard input.
        settings: the data section of the job.
        head: of the model.
    Raises:
        ConfigError: there is no such input, or it cannot be read.
    """
    text = head.text_names[0] if len(head.text_names) == 1 else None
    fields = Fields(tuple(dict.fromkeys([*head.fields, *head.text_names])), text)
    progress = Progress()
    typed = is_typed(source)
    items = open_items(source, settings, fields, progress)
    return Questions(typed, progress, items, head, settings.label_fields)
