"""How a function is run on every replica, compiled or not, and what each of them is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainer.data.batch import Batch
from trainer.data.batching import Layout
from trainer.data.example_rows import ExampleRows
from trainer.data.pipeline import batches
from trainer.data.store import TokenStore
from trainer.machine.xla import obstacle_here
from trainer.run.distribution import on_tpu
from trainer.run.replica_copies import replica_number
from trainer.run.workers import local_replicas
from trainer.settings.schema import TrainSettings

Columns = Mapping[str, tf.Tensor]  # by the names of `trainer.data.pipeline.fill`


def micro_batch(columns: Columns, index: int | tf.Tensor) -> Batch:
    """One of the micro-batches that the first dimension of the columns counts."""
    return Batch.of({name: values[index] for name, values in columns.items()})


def use_xla(settings: TrainSettings) -> bool:
    """Whether whole steps are compiled; then the plan keeps to few shapes.

    A TPU runs nothing else.
    """
    if settings.xla == "on" or tf.config.list_logical_devices("TPU"):
        return True
    has_gpus = bool(tf.config.list_logical_devices("GPU"))
    return settings.xla == "auto" and has_gpus and not obstacle_here()


class Compiled:
    """A function, compiled by XLA apart for each replica, whose own copies of the weights it reads
    and writes.
    """

    def __init__(self, function: Callable[..., Any], xla: bool) -> None:
        self._function = function
        self._xla = xla
        self._of_replica: dict[int, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """What the function returns."""
        if not self._xla:
            return self._function(*args)
        replica = replica_number()
        if replica not in self._of_replica:
            self._of_replica[replica] = tf.function(
                lambda *args: self._function(*args),
                jit_compile=True,
                reduce_retracing=True,
                autograph=False,
            )
        return self._of_replica[replica](*args)


def spread(strategy: tf.distribute.Strategy, element: Columns, micro_batches: int) -> Any:
    """An element of this host's dataset, dealt to its replicas.

    Args:
        strategy: whose replicas they are.
        element: (replicas x micro-batches, …) each.
        micro_batches: of each replica.
    Returns:
        a distributed value: (micro-batches, …) each.
    """
    first = local_replicas(strategy)[0]

    def part(context: tf.distribute.experimental.ValueContext) -> Columns:
        start = (context.replica_id_in_sync_group - first) * micro_batches
        return {name: values[start : start + micro_batches] for name, values in element.items()}

    return strategy.experimental_distribute_values_from_function(part)


def run_on_replicas(
    strategy: tf.distribute.Strategy, function: Callable[..., Any], *args: Any
) -> Any:
    """What a function returns on each replica, given its part of the arguments."""
    # Rows are as long as the plan says, the same on every replica: TensorFlow need not pad them to
    # meet.
    options = (
        tf.distribute.RunOptions(experimental_enable_dynamic_batch_size=False)
        if on_tpu(strategy)
        else None
    )
    return strategy.run(function, args=args, options=options)


def feed(
    strategy: tf.distribute.Strategy,
    store: TokenStore,
    layouts: Callable[[], Iterator[Layout]],
    examples: ExampleRows,
    micro_batches: int = 1,
) -> tf.data.Dataset:
    """What this host reads of each layout: the shards of its own replicas, and no others.

    Args:
        strategy: whose replicas they are.
        store: the split.
        layouts: begins to lay out the steps.
        examples: the rows of the split's examples.
        micro_batches: of each replica.
    """
    shards = [
        replica * micro_batches + index
        for replica in local_replicas(strategy)
        for index in range(micro_batches)
    ]
    return batches(store, layouts, shards, examples)
