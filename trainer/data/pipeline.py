"""Batches as tf.data: the plan's examples, read from the token store and set into rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from trainer.data.batching import Layout
from trainer.data.store import TokenStore

PREFETCHED = 4  # batches filled ahead
# Columns of the store that serve people, not the model.
NOT_FED = ("content_hash", "origin_file", "origin_line")


def fill(store: TokenStore, layout: Layout, shard: int) -> dict[str, np.ndarray]:
    """Sets one shard's examples into its rows.

    Returns:
        Each token column, `position_ids` (within the example) and `sequence_ids` (1, 2, … within the row; 0 is padding),
        all (R, L) int32; each example column (E, ...); `example_row`, `example_start` (E,) int32; `sample_weight` (E,)
        float32, 0 where a slot is empty.
    """
    index, row_of, start_of = layout.index[shard], layout.row[shard], layout.start[shard]
    shape = (layout.rows, layout.row_length)
    batch = {name: np.zeros(shape, np.int32) for name in (*store.tokens, "position_ids", "sequence_ids")}
    next_id = np.ones(layout.rows, np.int32)
    present = np.flatnonzero(index >= 0)
    for slot in present:
        row, start = row_of[slot], start_of[slot]
        tokens = store.example(int(index[slot]))
        end = start + int(store.lengths[index[slot]])
        for name, values in tokens.items():
            batch[name][row, start:end] = values
        batch["position_ids"][row, start:end] = np.arange(end - start)
        batch["sequence_ids"][row, start:end] = next_id[row]
        next_id[row] += 1
    for name, values in store.columns.items():
        if name not in NOT_FED:
            batch[name] = np.zeros((len(index), *values.shape[1:]), values.dtype)
            batch[name][present] = values[index[present]]
    batch["example_row"], batch["example_start"] = row_of, start_of
    batch["sample_weight"] = (index >= 0).astype(np.float32)
    return batch


def batches(store: TokenStore, layouts: Callable[[], Iterator[Layout]]) -> tf.data.Dataset:
    """A dataset with one element a shard of each layout, filled in a thread ahead of the steps; sizes are left open."""
    empty = fill(store, Layout(1, 1, np.full((1, 1), -1), *np.zeros((2, 1, 1), np.int32)), 0)
    rows = {*store.tokens, "position_ids", "sequence_ids"}
    signature = {name: tf.TensorSpec((None, None) if name in rows else (None, *values.shape[1:]), values.dtype)
                 for name, values in empty.items()}
    dataset = tf.data.Dataset.from_generator(
        lambda: (fill(store, layout, shard) for layout in layouts() for shard in range(len(layout.index))), output_signature=signature)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread sleeps up to a minute at a time, and freeing an iterator may wait for it
    return dataset.prefetch(PREFETCHED).with_options(options)
