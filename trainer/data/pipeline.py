"""Batches as tf.data: the plan's examples, read from the token store and set into rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from trainer.data.batching import Layout
from trainer.data.store import TokenStore

PREFETCHED = 4  # batches filled ahead
RELEASED_AFTER = 256  # batches, what was read of the store
# Columns of the store that serve people, not the model.
NOT_FED = ("content_hash", "origin_file", "origin_line", "example", "start", "end", "target")
# store, example, step -> its token columns that are made anew at each step
Draw = Callable[[TokenStore, int, int], Mapping[str, np.ndarray]]


def fill(
    store: TokenStore, layout: Layout, shards: Sequence[int], draw: Draw | None = None
) -> dict[str, np.ndarray]:
    """Sets some shards' examples into their rows.

    Args:
        shards: which of the layout, K of them.
        draw: what is drawn at each step, such as masks.

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
    fed = [name for name in store.tokens if name not in NOT_FED]
    index = layout.index[shards]
    row_of = layout.row[shards]
    start_of = layout.start[shards]
    batch = {
        name: np.zeros((len(index), layout.rows, layout.row_length), np.int32)
        for name in (*fed, "position_ids", "sequence_ids")
    }
    next_id = np.ones((len(index), layout.rows), np.int32)
    targets = _Targets(store, layout, len(index)) if "target" in store.tokens else None
    present = np.nonzero(index >= 0)
    for shard, slot in zip(*present, strict=True):
        row = row_of[shard, slot]
        start = start_of[shard, slot]
        tokens = store.example(int(index[shard, slot]))
        if draw is not None:
            tokens.update(draw(store, int(index[shard, slot]), layout.step))
        end = start + int(store.lengths[index[shard, slot]])
        for name in fed:
            batch[name][shard, row, start:end] = tokens[name]
        batch["position_ids"][shard, row, start:end] = np.arange(end - start)
        batch["sequence_ids"][shard, row, start:end] = next_id[shard, row]
        next_id[shard, row] += 1
        if targets:
            targets.add(shard, slot, row * layout.row_length + start, tokens["target"])
    for name, values in store.columns.items():
        if name not in NOT_FED:
            batch[name] = np.zeros((*index.shape, *values.shape[1:]), values.dtype)
            batch[name][present] = values[index[present]]
    batch["example_row"], batch["example_start"] = row_of, start_of
    batch["example_length"] = np.where(index >= 0, store.lengths[index], 0).astype(np.int32)
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
    draw: Draw | None = None,
) -> tf.data.Dataset:
    """A dataset with one element a layout: what `fill` returns, made in a thread ahead of the
    steps. It can be read once.

    The number of rows, slots and tokens are left open: they differ from step to step.
    """
    empty = fill(store, Layout(1, 1, np.full((1, 1), -1), *np.zeros((2, 1, 1), np.int32)), [0])
    rows = {*store.tokens, "position_ids", "sequence_ids"}
    signature = {
        name: tf.TensorSpec(
            (len(shards), None, None) if name in rows else (len(shards), None, *values.shape[2:]),
            values.dtype,
        )
        for name, values in empty.items()
    }
    source = [(store, layouts, draw)]

    def filled() -> Iterator[dict[str, np.ndarray]]:
        # once: TensorFlow keeps this function for as long as the process lives
        store, layouts, draw = source.pop()
        for number, layout in enumerate(layouts(), 1):
            yield fill(store, layout, shards, draw)
            if number % RELEASED_AFTER == 0:
                (store if layout.store is None else layout.store).release()

    dataset = tf.data.Dataset.from_generator(filled, output_signature=signature)
    options = tf.data.Options()
    # its thread sleeps up to a minute at a time, and freeing an iterator may wait for it
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)
