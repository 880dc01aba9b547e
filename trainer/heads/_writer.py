"""The writer of a split, as far as heads are concerned; see trainer/data/store.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from trainer.files.spool import Numbers, Records


class Writer(Protocol):
    """Has what was encoded, and takes what is made of it, so that no split need fit in memory."""

    def scratch(self, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> Numbers:
        """Numbers on the disk, until the split is finished."""

    def records(self) -> Records:
        """Byte strings on the disk, until the split is finished."""

    def whole_texts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some rows at a time, of each text all or none: (n + 1,) where their tokens begin, and
        (n,) which text each is of.
        """

    def token_column(self, name: str) -> np.ndarray:
        """All values of a token column, mapped."""

    def append_tokens(self, name: str, values: np.ndarray) -> None:
        """Appends (n,) values to a token column."""
