"""Batches as tf.data: the plan's examples, read from the token store and set into rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from trainer.data.batching import Layout
from trainer.data.example_rows import ExampleRows, StoredRows
from trainer.data.reader import TARGET
from trainer.data.store import TokenStore

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
    store = store if layout.store is None else layout.store
    fed = _fed(store, store.tokens)
    index = layout.index[shards]
    row_of = layout.row[shards]
    start_of = layout.start[shards]
    length_of = layout.length[shards]
    batch = {
        name: np.zeros((len(index), layout.rows, layout.row_length), np.int32)
        for name in (*fed, "position_ids", "sequence_ids")
    }
    next_id = np.ones((len(index), layout.rows), np.int32)
    targets = _Targets(store, layout, len(index)) if TARGET in store.tokens else None
    present = np.nonzero(index >= 0)
    of_examples = _fed(store, store.columns)
    for name in of_examples:
        values = store.columns[name]
        batch[name] = np.zeros((*index.shape, *values.shape[1:]), values.dtype)
        batch[name][present] = values[index[present]]
    for shard, slot in zip(*present, strict=True):
        row = row_of[shard, slot]
        start = start_of[shard, slot]
        columns = rows.columns(store, int(index[shard, slot]), layout.step)
        end = start + int(length_of[shard, slot])
        for name in fed:
            batch[name][shard, row, start:end] = columns[name]
        for name in of_examples:
            if name in columns:  # drawn
                batch[name][shard, slot] = columns[name]
        batch["position_ids"][shard, row, start:end] = np.arange(end - start)
        batch["sequence_ids"][shard, row, start:end] = next_id[shard, row]
        next_id[shard, row] += 1
        if targets:
            targets.add(shard, slot, row * layout.row_length + start, columns[TARGET])
    batch["example_row"], batch["example_start"] = row_of, start_of
    batch["example_length"] = length_of
    batch["sample_weight"] = (index >= 0).astype(np.float32)
    return batch | (targets.batch if targets else {})


class _Targets:
    """The places of a batch at which a token is predicted."""

    def __init__(self, store: TokenStore, layout: Layout, shards: int) -> None:
        places = layout.rows * layout.row_length
        share = store.meta.get("scored_share", 1.0)
        most = (
            places if share >= 1 else min(places, math.ceil(share * places) + layout.index.shape[1])
        )
        self.count = np.zeros(shards, np.int64)
        self.batch = {
            name: np.zeros((shards, most), dtype)
            for name, dtype in (
                ("scored", np.int32),
                ("scored_target", np.int32),
                ("scored_example", np.int32),
                ("scored_weight", np.float32),
            )
        }

    def add(self, shard: int, slot: int, first: int, target: np.ndarray) -> None:
        """Those of one example, whose first token stands at place `first` of its shard."""
        found = np.flatnonzero(target)
        begin = self.count[shard]
        end = self.count[shard] + len(found)
        for name, values in (
            ("scored", first + found),
            ("scored_target", target[found] - 1),
            ("scored_example", slot),
            ("scored_weight", 1),
        ):
            self.batch[name][shard, begin:end] = values
        self.count[shard] = end


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
    empty = fill(store, Layout(1, 1, np.full((1, 1), -1), *np.zeros((3, 1, 1), np.int32)), [0])
    of_tokens = {*store.tokens, "position_ids", "sequence_ids"}
    signature = {
        name: tf.TensorSpec(
            (len(shards), None, None)
            if name in of_tokens
            else (len(shards), None, *values.shape[2:]),
            values.dtype,
        )
        for name, values in empty.items()
    }
    source = [(store, layouts, rows)]

    def filled() -> Iterator[dict[str, np.ndarray]]:
        # once: TensorFlow keeps this function for as long as the process lives
        store, layouts, rows = source.pop()
        for number, layout in enumerate(layouts(), 1):
            yield fill(store, layout, shards, rows)
            if number % RELEASED_AFTER == 0:
                (store if layout.store is None else layout.store).release()

    dataset = tf.data.Dataset.from_generator(filled, output_signature=signature)
    options = tf.data.Options()
    # its thread sleeps up to a minute at a time, and freeing an iterator may wait for it
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)
