"""The labels of a data set, on the host: what each head.kind has a class of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from trainer.data.ledger import Ledger
from trainer.data.reader import Aligned, Label, Vocabulary
from trainer.sources import Example, FieldValue, require_field

if TYPE_CHECKING:  # which preparation and evaluation alone need
    from trainer.data.split import Split
    from trainer.data.store import TokenStore


class Labels(Protocol):
    """How the labels of examples are read, learnt and made numbers.

    Attributes:
        given: those that the settings name, if they do.
    """

    @property
    def given(self) -> Sequence[str] | None:
        """See above."""
        ...

    def read(self, example: Example) -> Label:
        """See `Reader.label`; None where there is no gold label."""
        ...

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """See `Reader.learn`: `labels`, and how often train has each, `train_counts`."""
        ...

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """See `Reader.align`."""
        ...

    def notes(self, vocabulary: Vocabulary) -> list[str]:
        """See `Reader.notes`."""
        return []

    def counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split, also those that train does not have."""
        return {}

    def span(self, store: TokenStore) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split, where labels are numbers."""
        return None

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """See `Reader.warnings`."""
        ...

    def shown(self, label: Label) -> str:
        """The label of an example, for people."""
        ...


def value_of(example: Example, field: str) -> FieldValue:
    """The value of the field of the label; None for NaN, as tables write what is missing.

    Raises:
        DataError: the field is missing, or holds what cannot be used.
    """
    value = example.features.get(field, "")
    if isinstance(value, float) and math.isnan(value):
        return None
    return require_field(example, field, "data.label")
