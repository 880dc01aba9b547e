"""The reader of every head that classifies: texts, which it encodes, and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from trainer.data.ledger import Ledger
from trainer.data.reader import (
    Aligned,
    Column,
    EncodedTensors,
    Input,
    Label,
    Reader,
    Value,
    Vocabulary,
)
from trainer.heads._classes.labels import Labels
from trainer.heads._classes.names import plain_name
from trainer.lazy import tf
from trainer.settings.schema import DataSettings
from trainer.sources import Example, require_text, text_fields

if TYPE_CHECKING:  # which would import TensorFlow
    from trainer.data.split import Split
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer

INPUT_NAMES = ("text", "text_pair")
LABEL = Column("label", per_token=False, encoded=False)


class Encoding(Protocol):
    """How a head makes tokens of a text or a pair."""

    def encode(self, *texts: tf.Tensor) -> EncodedTensors:
        """See `Reader.encode`."""
        ...

    def places(self, *texts: tf.Tensor) -> tf.RaggedTensor:
        """See `PlacesTokens`."""
        ...

    def shown(self, values: Sequence[Value]) -> list[tuple[str, str]]:
        """Names and contents by which a person sees what the model is given."""
        ...


@dataclasses.dataclass(frozen=True)
class ClassReader(Reader):
    """Reads a text or a pair, and its labels.

    Attributes:
        tokenizer: of the texts.
        inputs: the text, or the two of a pair.
        encoding: of the texts.
        labels: of the examples.
        stored: the settings on which the stored examples depend.
        columns: what the encoding adds to token_ids, and the label.
        overflows: values of data.overflow that it takes.
    """

    tokenizer: Tokenizer
    inputs: tuple[Input, ...]
    encoding: Encoding
    labels: Labels
    stored: Mapping[str, object]
    columns: tuple[Column, ...]
    overflows: tuple[str, ...]

    @property
    def given_labels(self) -> Sequence[str] | None:
        """The labels that the settings name, if they do."""
        return self.labels.given

    def plain_name(self, name: str) -> str:
        """How a label is known, however it is written."""
        return plain_name(name)

    def preparation_settings(self) -> dict[str, object]:
        """The settings on which the stored examples depend."""
        return dict(self.stored)

    def values(self, example: Example) -> tuple[str, ...]:
        """The raw text, or the two of a pair.

        Raises:
            DataError: a field is missing, or no text.
        """
        return tuple([require_text(example, item.field) for item in self.inputs])

    def label(self, example: Example) -> Label:
        """The raw label: a name, a tuple of names, or a number; None where there is no gold label.

        Raises:
            DataError: the field is missing, or holds no label.
        """
        return self.labels.read(example)

    def shown(
        self, example: Example, values: tuple[Value, ...], label: Label
    ) -> list[tuple[str, str]]:
        """The texts and the label."""
        return [*self.encoding.shown(values), ("label", self.labels.shown(label))]

    def encode(self, *texts: tf.Tensor) -> EncodedTensors:
        """Texts as token columns, and counts of what was lost; the very function that serves."""
        return self.encoding.encode(*texts)

    def places(self, *texts: tf.Tensor) -> tf.RaggedTensor:
        """The characters that each token stands for; see `PlacesTokens`."""
        return self.encoding.places(*texts)

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """The names of the labels, and how often train has each."""
        return self.labels.learn(labels, names, origin)

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """The labels of a split as numbers."""
        return self.labels.align(split, vocabulary, ledger)

    def notes(self, vocabulary: Vocabulary) -> list[str]:
        """How the labels of train were understood."""
        return self.labels.notes(vocabulary)

    def label_counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split, also those that train does not have."""
        return self.labels.counts(vocabulary, store)

    def label_range(self, store: TokenStore) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split, for a regression."""
        return self.labels.span(store)

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """What a person should know of the labels before training on them."""
        return self.labels.warnings(vocabulary, splits)


def inputs_of(data: DataSettings) -> tuple[Input, ...]:
    """The text, or the two of a pair."""
    pairs = zip(INPUT_NAMES, text_fields(data), strict=False)
    return tuple(Input(name, field) for name, field in pairs)
