"""What preparation needs of a head: how it reads an example, and what it makes of a whole split."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from trainer.data.ledger import Ledger
from trainer.sources import Example

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.data.split import Split
    from trainer.data.store import TokenStore
    from trainer.text.tokenizer import Tokenizer

Label: TypeAlias = Any  # of an example, as a head reads it: a name, a number, tags, answers, …
Value: TypeAlias = str | int | float  # of an input
Vocabulary: TypeAlias = Mapping[str, Any]  # what a head learns from train, as JSON has it
TokenColumns: TypeAlias = dict[
    str, tuple[np.ndarray, np.ndarray]
]  # flat (tokens,) and row lengths (rows,)
Columns: TypeAlias = dict[str, np.ndarray]
# of a graph that encodes: token columns, and counts of what was lost
EncodedTensors: TypeAlias = "tuple[dict[str, tf.Tensor | tf.RaggedTensor], dict[str, tf.Tensor]]"

TARGET = "target"  # the token column that becomes `Batch.predicted`


def characters(values: Sequence[Value]) -> int:
    """How many the texts of an example have."""
    return sum(len(value) for value in values if isinstance(value, str))


class RowKind(enum.Enum):
    """How examples become rows of tokens."""

    ONE = "an example is one row"
    WINDOWS = "a long example is several rows, so that none of its tokens is lost"
    RECUT = "rows begin anywhere in the tokens of the split"


@dataclasses.dataclass(frozen=True)
class Input:
    """What the graph takes of an example.

    Attributes:
        name: of the input of the graph, and of the SavedModel.
        field: of the example, from which it is read.
        dtype: string, int32, int64 or float32.
    """

    name: str
    field: str
    dtype: str = "string"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that the head adds to token_ids.

    Attributes:
        name: TARGET: 1 + the token to predict at each place, 0 where none is.
        per_token: a value a token; else a value, or a row of values, an example.
        fed: to the model; else it is kept for the host.
        encoded: `Reader.encode` makes it, so that a server has it as well; else `align` does.
    """

    name: str
    per_token: bool = True
    fed: bool = True
    encoded: bool = True


class Aligned(NamedTuple):
    """What a head makes of a whole split.

    Attributes:
        columns: of the rows, such as the labels.
        tokens: columns of the tokens, beside those that were appended to the split's writer.
        extras: for the metrics.
    """

    columns: Columns
    tokens: Columns
    extras: Columns


class Reader(Protocol):
    """The part of a head that works on the host. Heads inherit from it for its defaults.

    Attributes:
        tokenizer: of the texts.
        inputs: what the graph takes of an example.
        columns: what the head adds to token_ids; `segment_ids` is one.
        rows: how examples become rows.
        overflows: values of data.overflow that the head takes, its own default first.
        grouping: which of the inputs decide whether an example is held out of train.
        scored_share: the largest share of the tokens at which something is predicted.
        streams: whether nothing is learnt from train as a whole, so that it may come in blocks.
        losses_of_data: the head's own kinds of the ledger, and what each means, for people.
    """

    tokenizer: Tokenizer
    inputs: tuple[Input, ...]
    columns: tuple[Column, ...] = ()
    rows: RowKind = RowKind.ONE
    overflows: tuple[str, ...] = ("truncate", "head_tail", "error")
    grouping: slice = slice(None)
    scored_share: float = 1.0
    streams: bool = False
    losses_of_data: Mapping[str, str] = MappingProxyType({})

    def preparation_settings(self) -> dict[str, object]:
        """The settings on which the stored examples depend."""
        ...

    def values(self, example: Example) -> tuple[Value, ...]:
        """The raw inputs of an example. Raises DataError where one is missing or another type."""
        ...

    def asked(self, example: Example) -> tuple[Value, ...]:
        """The raw inputs that predict answers. Raises DataError as `values` does."""
        return self.values(example)

    def label(self, example: Example) -> Label:
        """The raw label of an example. Raises DataError where it is none."""
        ...

    def shown(
        self, example: Example, values: tuple[Value, ...], label: Label
    ) -> list[tuple[str, str]]:
        """Names and contents by which a person sees whether an example was read as it was meant.

        Args:
            example: as the source has it.
            values, label: what was read of it.
        """
        return [(item.field, str(value)) for item, value in zip(self.inputs, values, strict=True)]

    def encode(self, *inputs: tf.Tensor) -> EncodedTensors:
        """Inputs as token columns and counts of what was lost, in the graph.

        Args:
            inputs: (B,) each, one for each of `inputs`.
        Returns:
            columns of the tokens, ragged (rows, None) int32, and of the rows, dense (rows, …); for
            several rows an example `example` (rows,) int32. Counts by the ledger's kinds, (B,)
            int32.
        """
        ...

    def learn(
        self, labels: Sequence[Label], names: list[str] | None, origin: Callable[[int], str]
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

    def align(self, split: Split, vocabulary: Vocabulary, ledger: Ledger) -> Aligned:
        """The labels of a whole split as numbers, where the tokens are known.

        Args:
            split: what is being written: its `labels`, `origin` and `writer`.
            vocabulary: what `learn` returned.
            ledger: takes what is odd or lost.
        """
        ...

    def notes(self, vocabulary: Vocabulary) -> list[str]:
        """How the labels of train were understood, for people, such as the scheme of its tags."""
        return []

    def label_counts(self, vocabulary: Vocabulary, store: TokenStore) -> dict[str, int]:
        """How often each label occurs in a split, where there are labels."""
        return {}

    def label_range(self, store: TokenStore) -> tuple[float, float, float] | None:
        """The lowest, mean and highest number of a split, where numbers are predicted."""
        return None

    def warnings(self, vocabulary: Vocabulary, splits: Mapping[str, TokenStore]) -> list[str]:
        """What a person should know of the encoded splits before training on them."""
        return []


@runtime_checkable
class Recuts(Protocol):
    """A reader of RowKind.RECUT."""

    def finish_rows(
        self, tokens: TokenColumns, example: np.ndarray, labels: Sequence[Label]
    ) -> TokenColumns:
        """Completes some encoded rows.

        Args:
            tokens: of the rows.
            example: (rows,) int32, which of the labels' examples each row is of.
            labels: of these examples.
        """
        ...

    def recut(self, split: Split) -> None:
        """Lets the rows of a split begin elsewhere."""
        ...


@runtime_checkable
class PlacesTokens(Protocol):
    """A reader that knows which characters each token of its rows stands for."""

    def places(self, *inputs: tf.Tensor) -> tf.RaggedTensor:
        """Of the rows that `Reader.encode` makes of the same inputs, (U, None, 3) int32: of each
        token its first character, the one behind its last, and in which input; -1 where a token
        stands for none.

        Args:
            inputs: (B,) string each.
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


@dataclasses.dataclass(frozen=True)
class Draw:
    """By what is drawn.

    Attributes:
        seed: of the run.
        step: the optimizer step; -1 in evaluation, which draws the same each time.
    """

    seed: int
    step: int


@runtime_checkable
class Draws(Protocol):
    """A reader that makes rows anew at each step, such as masks or pairs.

    Unless it says otherwise, they are as long as the stored ones.
    """

    def drawn_lengths(self, store: TokenStore, indices: np.ndarray, draw: Draw) -> np.ndarray:
        """The tokens that the rows of some examples will have, (n,) int32.

        Args:
            store: the split.
            indices: (n,) the examples.
            draw: by what is drawn.
        """
        return store.lengths[indices]

    def longest(self, store: TokenStore) -> int:
        """The most tokens that a row may have."""
        return int(store.lengths.max())

    def draw(self, store: TokenStore, index: int, draw: Draw) -> Columns:
        """Of one example the columns that differ from the stored ones.

        Each is a pure function of the arguments: another process draws the same.

        Args:
            store: the split.
            index: of the example.
            draw: by what is drawn.
        Returns:
            columns of its tokens, (drawn length,) each, and of the example.
        """
        ...
