"""Batches as tf.data: the plan's examples, read from the token store and set into rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from trainer.data.batching import Layout
from trainer.data.example_rows import ExampleRows, StoredRows
from trainer.data.reader import TARGET
from trainer.data.store import TokenStore, places_within

PREFETCHED = 4  # batches filled ahead
RELEASED_AFTER = 256  # batches, what was read of the store
# Columns of the store that every head has, and that serve people, not the model.
NOT_FED = ("content_hash", "origin_file", "origin_line", "example")
STORED_ROWS = StoredRows()


def _fed(store: TokenStore, names: Iterable[str]) -> list[str]:
    """Which of the columns go to the model as they are."""
    kept = {*NOT_FED, *store.meta.get("host_columns", ()), TARGET}
    return [name for name in names if name not in kept]


def fill(
    store: TokenStore,
    layout: Layout,
    shards: Sequence[int],
    rows: ExampleRows = STORED_ROWS,
) -> dict[str, np.ndarray]:
    """Sets some shards' examples into their rows.

    Args:
        store: the split.
        layout: where the examples stand.
        shards: which of the layout, K of them.
        rows: of the examples, at the layout's step.

    Returns:
        Each token column, `position_ids` (within the example) and `sequence_ids` (1, 2, … within
        the row; 0 is padding), all (K, R, L) int32; each example column (K, E, ...); `example_row`,
        `example_start`, `example_length` (K, E) int32; `sample_weight` (K, E) float32, 0 where a
        slot is empty. Where tokens have a `target`, 1 + the token to predict there, (K, M) each:
        `scored` int32, its place among the R * L; `scored_target` int32; `scored_example` int32;
        `scored_weight` float32, 0
        fills up: M is the most that the rows can have.
    """
    store = _store_of(layout, store)
    part = _part(layout, shards)
    of_tokens = _fed(store, store.tokens)
    of_examples = _fed(store, store.columns)
    batch = _empty_rows(part, (*of_tokens, "position_ids", "sequence_ids"))
    batch |= _stored_columns(store, part.index, of_examples)
    present = part.index >= 0
    shard, _ = np.nonzero(present)
    row = shard * part.rows + part.row[present]  # among those of all shards
    lengths = part.length[present]
    first = row.astype(np.int64) * part.row_length + part.start[present]
    within = places_within(lengths)
    places = np.repeat(first, lengths) + within  # among all tokens of all rows
    columns = rows.columns(store, part.index[present], part.step)
    for name in of_tokens:
        batch[name].reshape(-1)[places] = columns[name]
    for name in of_examples:
        if name in columns:  # drawn
            batch[name][present] = columns[name]
    batch["position_ids"].reshape(-1)[places] = within
    batch["sequence_ids"].reshape(-1)[places] = np.repeat(_number_in_row(row), lengths)
    if TARGET in store.tokens:
        batch |= _scored(store, part, places, columns[TARGET])
    batch["example_row"] = part.row
    batch["example_start"] = part.start
    batch["example_length"] = part.length
    batch["sample_weight"] = present.astype(np.float32)
    return batch


def _number_in_row(row: np.ndarray) -> np.ndarray:
    """1, 2, … for the examples of a row, in their order.

    Args:
        row: (n,) of each example.
    """
    by_row = np.argsort(row, kind="stable")
    _, counts = np.unique(row, return_counts=True)
    numbers = np.empty(len(row), np.int32)
    numbers[by_row] = 1 + places_within(counts)
    return numbers


def _store_of(layout: Layout, store: TokenStore) -> TokenStore:
    """The store that the layout's examples are of: its own, or else the split's."""
    return store if layout.store is None else layout.store


def _part(layout: Layout, shards: Sequence[int]) -> Layout:
    """Some shards of a layout."""
    return dataclasses.replace(
        layout,
        index=layout.index[shards],
        row=layout.row[shards],
        start=layout.start[shards],
        length=layout.length[shards],
    )


def _empty_rows(layout: Layout, names: Iterable[str]) -> dict[str, np.ndarray]:
    """(K, R, L) int32 zeros for each token column."""
    shape = (len(layout.index), layout.rows, layout.row_length)
    return {name: np.zeros(shape, np.int32) for name in names}


def _stored_columns(
    store: TokenStore, index: np.ndarray, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """The example columns as they are stored, (K, E, …) each, 0 where a slot is empty."""
    present = np.nonzero(index >= 0)
    columns = {}
    for name in names:
        stored = store.columns[name]
        column = np.zeros((*index.shape, *stored.shape[1:]), stored.dtype)
        column[present] = stored[index[present]]
        columns[name] = column
    return columns


def _scored(
    store: TokenStore, layout: Layout, places: np.ndarray, target: np.ndarray
) -> dict[str, np.ndarray]:
    """The places of a batch at which a token is predicted; see `fill`.

    Args:
        store: the split.
        layout: of the batch.
        places: (tokens,) of the examples' tokens, among those of all rows.
        target: (tokens,) 1 + the token to predict, 0 where none is.
    """
    shards, slots = layout.index.shape
    of_a_shard = layout.rows * layout.row_length
    share = store.meta.get("scored_share", 1.0)
    most = min(of_a_shard, math.ceil(share * of_a_shard) + slots)  # each example rounds up
    present = layout.index >= 0
    _, slot = np.nonzero(present)
    scored = np.flatnonzero(target)
    shard, place = np.divmod(places[scored], of_a_shard)
    counts = np.bincount(shard, minlength=shards)
    number = places_within(counts)  # within the shard: examples are in its order
    batch = {
        "scored": np.zeros((shards, most), np.int32),
        "scored_target": np.zeros((shards, most), np.int32),
        "scored_example": np.zeros((shards, most), np.int32),
        "scored_weight": np.zeros((shards, most), np.float32),
    }
    batch["scored"][shard, number] = place
    batch["scored_target"][shard, number] = target[scored] - 1
    batch["scored_example"][shard, number] = np.repeat(slot, layout.length[present])[scored]
    batch["scored_weight"][shard, number] = 1
    return batch


def batches(
    store: TokenStore,
    layouts: Callable[[], Iterator[Layout]],
    shards: Sequence[int],
    rows: ExampleRows = STORED_ROWS,
) -> tf.data.Dataset:
    """A dataset with one element a layout: what `fill` returns, made in a thread ahead of the
    steps. It can be read once.

    The number of rows, slots and tokens are left open: they differ from step to step.

    Args:
        store: the split.
        layouts: begins to lay out the steps.
        shards: which of each layout.
        rows: of the examples.
    """
    source = [(store, layouts, rows)]

    def filled() -> Iterator[dict[str, np.ndarray]]:
        # once: TensorFlow keeps this function for as long as the process lives
        store, layouts, rows = source.pop()
        for number, layout in enumerate(layouts(), 1):
            yield fill(store, layout, shards, rows)
            if number % RELEASED_AFTER == 0:
                _store_of(layout, store).release()

    dataset = tf.data.Dataset.from_generator(
        filled,
        output_signature=_signature(store, len(shards)),
    )
    options = tf.data.Options()
    # its thread sleeps up to a minute at a time, and freeing an iterator may wait for it
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)


def _signature(store: TokenStore, shards: int) -> dict[str, tf.TensorSpec]:
    """What `fill` returns for so many shards; rows, slots and tokens are open."""
    nothing = Layout(
        row_length=1,
        rows=1,
        index=np.full((1, 1), -1),
        row=np.zeros((1, 1), np.int32),
        start=np.zeros((1, 1), np.int32),
        length=np.zeros((1, 1), np.int32),
    )
    of_tokens = {*store.tokens, "position_ids", "sequence_ids"}
    signature = {}
    for name, column in fill(store, nothing, [0]).items():
        shape = (shards, None, *column.shape[2:])
        if name in of_tokens:
            shape = (shards, None, None)
        signature[name] = tf.TensorSpec(shape, column.dtype)
    return signature
