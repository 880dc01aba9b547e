"""What preparation needs of a head: how it reads an example, and what it makes of a whole split."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from trainer.data.ledger import Ledger
from trainer.sources import Example

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.data.split import Split
    from trainer.data.store import TokenStore

Label = Any  # of an example, as a head reads it: a name, a number, tags, answers, …
Vocabulary = Mapping[str, Any]  # what a head learns from train, as JSON has it
TokenColumns = dict[str, tuple[np.ndarray, np.ndarray]]  # flat (tokens,) and row lengths (rows,)
Columns = dict[str, np.ndarray]


class RowKind(enum.Enum):
    """How examples become rows of tokens."""

    ONE = "an example is one row"
    WINDOWS = "a long example is several rows, so that none of its tokens is lost"
    RECUT = "rows begin anywhere in the tokens of the split"


class Reader(Protocol):
    """The part of a head that works on the host.

    Attributes:
        text_names: of the texts that the graph takes of an example, such as ("text", "text_pair").
        fields: of an example, that these texts are read from.
        rows: how examples become rows.
        overflows: values of data.overflow that the head takes, its own default first.
        grouping: which of the texts decide whether an example is held out of train.
        keeps_texts: whether `align` needs the last text of each example.
        scored_share: the largest share of the tokens at which something is predicted.
        streams: whether nothing is learnt from train as a whole, so that it may come in blocks.
    """

    text_names: tuple[str, ...]
    fields: Sequence[str]
    rows: RowKind
    overflows: tuple[str, ...]
    grouping: slice
    keeps_texts: bool
    scored_share: float
    streams: ClassVar[bool]

    def preparation_settings(self) -> dict[str, Any]:
        """The settings on which the stored examples depend."""
        ...

    def texts(self, example: Example) -> tuple[str, ...]:
        """The raw texts of an example. Raises DataError where one is missing or no text."""
        ...

    def asked(self, example: Example) -> tuple[str, ...]:
        """The raw texts that predict answers. Raises DataError where one is missing or no text."""
        ...

    def label(self, example: Example) -> Label:
        """The raw label of an example. Raises DataError where it is none."""
        ...

    def shown(self, example: Example, texts: Sequence[str], label: Label) -> list[tuple[str, str]]:
        """Names and contents by which a person sees whether an example was read as it was meant."""
        ...

    def long_words(self, texts: Sequence[str]) -> int:
        """How many words of an example the tokenizer makes unknown for their length."""
        ...

    def encode(
        self, *texts: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor | tf.RaggedTensor], dict[str, tf.Tensor]]:
        """Texts as token columns and counts of what was lost, in the graph.

        Args:
            texts: (B,) string each, one for each of `text_names`.
        Returns:
            ragged (rows, None) int32 columns, and for several rows a text `example` (rows,) int32;
            counts by the ledger's kinds, (B,) int32.
        """
        ...

    def learn(
        self, labels: Iterable[Label], names: list[str] | None, origin: Callable[[int], str]
    ) -> dict[str, Any]:
        """What train teaches, such as the names of the labels.

        Args:
            labels: of the examples of train.
            names: of the labels, where the source knows them.
            origin: of an example, by its number.
        Raises:
            DataError: nothing can be learnt from them.
        """
        ...

    def label_columns(
        self, split: Split, vocabulary: Vocabulary, ledger: Ledger
    ) -> tuple[Columns, Columns]:
        """Columns of the examples, and extras for the metrics; of RowKind.ONE alone."""
        ...

    def kept(self, split: Split) -> Columns:
        """Further extras of a split, for a head that judges; of RowKind.ONE alone."""
        ...

    def finish_rows(
        self, tokens: TokenColumns, example: np.ndarray, labels: Sequence[Label]
    ) -> TokenColumns:
        """Completes some encoded rows; of RowKind.RECUT alone.

        Args:
            example: (rows,) int32, which of the labels' examples each row is of.
        """
        ...

    def recut(self, split: Split) -> None:
        """Lets the rows of a split begin elsewhere; of RowKind.RECUT alone."""
        ...

    def align(
        self, split: Split, vocabulary: Vocabulary, ledger: Ledger
    ) -> tuple[Columns, Columns, Columns]:
        """Finds the tokens of the labels; not of RowKind.ONE.

        Returns:
            columns of the rows, columns of the tokens, and extras for the metrics.
        """
        ...


@runtime_checkable
class ReadsClasses(Protocol):
    """A reader of labels that are names, or None where there is no gold label.

    Attributes:
        given_labels: those that the settings name, if they do.
    """

    @property
    def given_labels(self) -> Sequence[str] | None:
        """See above."""
        ...

    def plain_name(self, name: str) -> str:
        """How a label is known, however it is written."""
        ...


@runtime_checkable
class Draws(Protocol):
    """A reader that makes token columns anew at each step, such as masks."""

    def draw(self, seed: int, store: TokenStore, index: int, step: int) -> Columns:
        """Token columns of one row.

        Args:
            seed: of the run; index: the row; step: the optimizer step, -1 in evaluation.
        """
        ...
