"""The rows of tokens that examples have at a step: as they are stored, or drawn anew."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from trainer.data.reader import Columns, Draw, Draws, Reader
from trainer.data.store import TokenStore

EVALUATION = -1  # the step of what is evaluated


class ExampleRows(Protocol):
    """The rows of a split's examples."""

    def lengths(self, store: TokenStore, indices: np.ndarray, step: int) -> np.ndarray:
        """The tokens of some examples in an optimizer step, (n,) int32.

        Args:
            store: the split.
            indices: (n,) the examples.
            step: from 0; EVALUATION is one, too.
        """
        ...

    def longest(self, store: TokenStore) -> int:
        """The most tokens that an example may have."""
        ...

    def columns(self, store: TokenStore, indices: np.ndarray, step: int) -> Columns:
        """Columns of some examples' tokens, one after the other, (tokens,) each, and what is drawn
        of the examples, (n, …) each.

        Args:
            store: the split.
            indices: (n,) the examples.
            step: as in `lengths`.
        """
        ...


class StoredRows:
    """As preparation has encoded them."""

    def lengths(self, store: TokenStore, indices: np.ndarray, step: int) -> np.ndarray:
        """See `ExampleRows`."""
        return store.lengths[indices]

    def longest(self, store: TokenStore) -> int:
        """See `ExampleRows`."""
        return int(store.lengths.max())

    def columns(self, store: TokenStore, indices: np.ndarray, step: int) -> Columns:
        """See `ExampleRows`."""
        return store.examples(indices)


@dataclasses.dataclass(frozen=True)
class DrawnRows:
    """As a reader draws them at each step.

    Attributes:
        reader: draws.
        seed: of the run.
    """

    reader: Draws
    seed: int

    def lengths(self, store: TokenStore, indices: np.ndarray, step: int) -> np.ndarray:
        """See `ExampleRows`."""
        draw = Draw(self.seed, step)
        return self.reader.drawn_lengths(store, indices, draw)

    def longest(self, store: TokenStore) -> int:
        """See `ExampleRows`."""
        return self.reader.longest(store)

    def columns(self, store: TokenStore, indices: np.ndarray, step: int) -> Columns:
        """See `ExampleRows`."""
        draw = Draw(self.seed, step)
        drawn = [self.reader.draw(store, int(index), draw) for index in indices]
        columns = store.examples(indices)
        for name in drawn[0] if drawn else ():
            join = np.concatenate if name in store.tokens else np.stack
            columns[name] = join([of_example[name] for of_example in drawn])
        return columns


def rows_of(reader: Reader, seed: int) -> ExampleRows:
    """The rows of the examples of a reader, in a run with this seed."""
    if isinstance(reader, Draws):
        return DrawnRows(reader, seed)
    return StoredRows()
