"""Results of evaluation as the serving graph has them, so that one rule answers both."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from trainer.data.checked import CheckedTokens
from trainer.data.store import TokenStore
from trainer.lazy import tf

BLOCK_TEXTS = 512  # answered at a time


def blocks_of_texts(store: TokenStore, texts: int = BLOCK_TEXTS) -> Iterator[tuple[range, range]]:
    """Some whole texts at a time, and the rows that they have.

    Args:
        store: the split.
        texts: of a block, at most.
    """
    for first in range(0, store.meta["examples"], texts):
        last = min(first + texts, store.meta["examples"])
        yield range(first, last), range(store.rows_of(first), store.rows_of(last))


def stored_results(
    results: Mapping[str, np.ndarray],
    store: TokenStore,
    rows: range,
    per_token: Collection[str],
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """The results of some rows; those of tokens ragged.

    Args:
        results: of evaluation, in the store's order.
        store: the split.
        rows: which of it.
        per_token: names of the results that have a value a token.
    """
    tensors = {}
    for name, values in results.items():
        if name in per_token:
            tensors[name] = _ragged(values, store, rows)
        else:
            tensors[name] = tf.constant(values[rows.start : rows.stop])
    return tensors


def stored_columns(
    store: TokenStore, rows: range, first_text: int = 0
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """The token columns of some rows, and which text each row is of.

    Args:
        store: the split.
        rows: which of it.
        first_text: that is text 0 of the rows.
    """
    columns = {}
    for name, values in store.tokens.items():
        columns[name] = _ragged(values, store, rows)
    if "example" in store.columns:
        example = store.columns["example"][rows.start : rows.stop]
        columns["example"] = tf.constant(example - first_text)
    return columns


def _ragged(values: np.ndarray | CheckedTokens, store: TokenStore, rows: range) -> tf.RaggedTensor:
    """Values of all tokens, (tokens, …), as those of some rows."""
    splits = store.row_splits[rows.start : rows.stop + 1]
    of_rows = values[splits[0] : splits[-1]]
    return tf.RaggedTensor.from_row_splits(of_rows, splits - splits[0], validate=False)
