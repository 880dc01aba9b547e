"""The results of a split: every example once, whatever the replicas and the rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from trainer.backbones.execution import PLAIN, Execution
from trainer.data.batching import Layout, evaluation_batches, lay_out
from trainer.data.example_rows import EVALUATION, ExampleRows
from trainer.data.store import TokenStore, places_within
from trainer.run.distribution import on_tpu
from trainer.run.model import Model
from trainer.run.replica_calls import (
    Columns,
    Compiled,
    feed,
    micro_batch,
    run_on_replicas,
    spread,
)

ResultsCall: TypeAlias = "Callable[[Iterator[Columns]], Mapping[str, tf.Tensor]]"


def make_results_call(
    strategy: tf.distribute.Strategy, model: Model, *, xla: bool, lanes: int = 1
) -> ResultsCall:
    """The compiled function iterator -> results of all K replicas, in their order, on every host.

    An iterator, not an element: its sizes are open, so that the function is traced once. Results
    are (K x E, …) an example, or (K x R, L, …) a token.

    Args:
        strategy: where it runs.
        model: whose results they are.
        xla: whether XLA compiles it.
        lanes: of the backbone, see `Execution`; XLA has one.
    """
    execution = PLAIN if xla else Execution(lanes=lanes)
    forward = Compiled(
        lambda columns: model.results(micro_batch(columns, 0), execution),
        xla and not on_tpu(strategy),
    )

    @tf.function(reduce_retracing=True, autograph=False)
    def results_call(iterator: Iterator[Columns]) -> dict[str, tf.Tensor]:
        columns = spread(strategy, next(iterator), 1)
        per_replica = run_on_replicas(strategy, forward, columns)
        return {name: strategy.gather(values, axis=0) for name, values in per_replica.items()}

    return results_call


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """How a split is evaluated.

    Attributes:
        examples: the rows of its examples.
        batching, seq_len: of the data.
        batch_size: examples at once, over all shards.
        shards: replicas.
        static_shapes: whether each new shape is compiled, so that there should be few.
    """

    examples: ExampleRows
    batching: str
    seq_len: int
    batch_size: int
    shards: int
    static_shapes: bool

    def batches(self, store: TokenStore, first: int | None = None) -> list[np.ndarray]:
        """Every example of a split once; `first`: only so many."""
        lengths = self._lengths(store, np.arange(len(store))[:first])
        return evaluation_batches(lengths, self.batch_size)

    def layouts(self, store: TokenStore, batches: Sequence[np.ndarray]) -> list[Layout]:
        """Where the examples of each batch stand."""
        longest = self.examples.longest(store) if self.static_shapes else None
        capacity = min(self.batch_size, max(map(len, batches), default=1))
        return [
            lay_out(
                indices,
                self._lengths(store, indices),
                batching=self.batching,
                seq_len=self.seq_len,
                shards=self.shards,
                capacity=capacity,
                longest=longest,
            )
            for indices in batches
        ]

    def _lengths(self, store: TokenStore, indices: np.ndarray) -> np.ndarray:
        return self.examples.lengths(store, indices, EVALUATION)


def split_results(
    strategy: tf.distribute.Strategy,
    model: Model,
    results_call: ResultsCall,
    store: TokenStore,
    plan: EvaluationPlan,
    *,
    first: int | None = None,
    between: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """The results of every example of a split, each computed exactly once.

    Args:
        strategy: where it runs.
        model: whose results they are.
        results_call: of `make_results_call`.
        store: the split.
        plan: how it is evaluated.
        first: only so many examples.
        between: called after each batch with (batches done, batches in all).
    Returns:
        (n, …) in the store's order; per token (tokens of the n examples, …).
    """
    planned = plan.batches(store, first)
    layouts = plan.layouts(store, planned)
    count = sum(map(len, planned))
    collected = _Collected(store, count, model.graph.per_token)
    elements = iter(feed(strategy, store, lambda: iter(layouts), plan.examples))
    for number, layout in enumerate(layouts, 1):
        collected.add(layout, results_call(elements))
        if between:
            between(number, len(layouts))
    return collected.results()


class _Collected:
    """The results of a split's first examples, as they come in.

    Args:
        store: the split.
        count: n, of the examples.
        per_token: the names of the results that have a value a token.
    """

    def __init__(self, store: TokenStore, count: int, per_token: Collection[str]) -> None:
        self._store = store
        self._count = count
        self._per_token = per_token
        self._results: dict[str, np.ndarray] = {}
        self._seen = np.zeros(count, np.int32)

    def add(self, layout: Layout, results: Mapping[str, tf.Tensor]) -> None:
        """Takes in the results of a batch."""
        index = layout.index.reshape(-1)
        present = np.flatnonzero(index >= 0)
        for name, tensor in results.items():
            if name in self._per_token:
                values, places = _tokens(tensor.numpy(), layout, present, self._store)
                size = self._store.row_splits[self._count]
            else:
                values, places = tensor.numpy()[present], index[present]
                size = self._count
            if name not in self._results:
                self._results[name] = np.zeros((size, *values.shape[1:]), values.dtype)
            self._results[name][places] = values
        self._seen[index[present]] += 1

    def results(self) -> dict[str, np.ndarray]:
        """All of them. Raises RuntimeError where an example was not evaluated exactly once."""
        wrong = int((self._seen != 1).sum())
        if wrong:
            raise RuntimeError(f"{wrong} of {self._count} examples were not evaluated exactly once")
        return self._results


def _tokens(
    values: np.ndarray, layout: Layout, present: np.ndarray, store: TokenStore
) -> tuple[np.ndarray, np.ndarray]:
    """Of (K x R, L, …) the real tokens, one after the other, and where in the store they stand."""
    shards = np.arange(layout.index.size) // layout.index.shape[1]
    row = (shards * layout.rows + layout.row.reshape(-1))[present]
    start = layout.start.reshape(-1)[present]
    index = layout.index.reshape(-1)[present]
    lengths = store.lengths[index]
    within = places_within(lengths)
    return (
        values[np.repeat(row, lengths), np.repeat(start, lengths) + within],
        np.repeat(store.row_splits[index], lengths) + within,
    )
