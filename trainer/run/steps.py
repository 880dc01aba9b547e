"""The train and evaluation steps, under any strategy.

One optimizer step: every replica sums the gradients of its micro-batches' weighted losses,
compiled; the sums and the weights meet once, over all replicas; then, compiled again, the mean is
formed, its norm is clipped and the weights move.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.batch import Batch
from trainer.data.batching import Layout, lay_out
from trainer.data.pipeline import Draw, batches
from trainer.data.reader import Draws
from trainer.data.store import TokenStore
from trainer.run.distribution import on_tpu
from trainer.run.model import Model
from trainer.run.optimization import Optimizer
from trainer.run.outcome import StepRow
from trainer.run.replica_copies import local, replica_number
from trainer.run.workers import local_replicas
from trainer.settings.schema import TrainSettings

# the columns of what a train call returns
LOGGED = StepRow._fields
Columns = Mapping[str, tf.Tensor]  # by the names of `trainer.data.pipeline.fill`


def micro_batch(columns: Columns, index: int | tf.Tensor) -> Batch:
    """One of the micro-batches that the first dimension of the columns counts."""
    return Batch.of({name: values[index] for name, values in columns.items()})


def use_xla(settings: TrainSettings) -> bool:
    """Whether whole steps are compiled; then the plan keeps to few shapes.

    A TPU runs nothing else.
    """
    return (
        settings.xla == "on"
        or bool(tf.config.list_logical_devices("TPU"))
        or (settings.xla == "auto" and bool(tf.config.list_logical_devices("GPU")))
    )


def make_gradients(
    model: Model, head: Any, optimizer: Optimizer, micro_batches: int
) -> Callable[..., tuple[list[tf.Tensor], tf.Tensor]]:
    """What one replica computes of a step, before the replicas meet.

    Dropout masks are a pure function of seed and shard, which is a micro-batch of a replica: 4
    replicas draw what 4 micro-batches of one do.

    Returns:
        (columns, seed, replica) -> the gradients of the sum of the weighted losses, times the loss
        scale, one a weight in float32; and (2,) float32: that sum, and the weights'. The columns
        have the micro-batches as their first dimension; seed (2,) int32.
    """
    weights = list(optimizer.weights.values())

    def of_micro_batch(batch: Batch, seed: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model.logits(batch, training=True, seed=seed)
            with tf.name_scope("loss"):
                loss_sum, weight = head.loss(logits, batch)
            scaled = loss_sum * optimizer.loss_scale()
        gradients = tape.gradient(scaled, weights, unconnected_gradients="zero")
        # An embedding's gradient is a list of rows, of which a token has as many as it occurs:
        # dense, they are one.
        dense = [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]
        return dense, tf.stack([loss_sum, weight])

    def gradients(
        columns: Columns, seed: tf.Tensor, replica: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        def part(index: int | tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            shard_seed = tf.random.experimental.stateless_fold_in(
                seed, replica * micro_batches + index
            )
            return of_micro_batch(micro_batch(columns, index), shard_seed)

        if micro_batches == 1:
            return part(0)

        def add(
            index: tf.Tensor, summed: list[tf.Tensor], sums: tf.Tensor
        ) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
            more, values = part(index)
            return index + 1, [a + b for a, b in zip(summed, more, strict=True)], sums + values

        zeros = [tf.zeros(weight.shape) for weight in weights]
        _, summed, sums = tf.while_loop(
            lambda index, *_: index < micro_batches,
            add,
            (tf.constant(0), zeros, tf.zeros(2)),
            maximum_iterations=micro_batches,
            parallel_iterations=1,
        )
        return summed, sums

    return gradients


def make_train_call(
    strategy: tf.distribute.Strategy,
    model: Model,
    head: Any,
    optimizer: Optimizer,
    settings: TrainSettings,
) -> Callable[..., tf.Tensor]:
    """The compiled function (iterator, steps, stop) -> (steps, 5) float32, one row of LOGGED an
    optimizer step.

    `stop` is () float32, 1 where this host was told to stop: summed over the replicas, so that all
    hosts stop after the same step.
    """
    # on a TPU all is compiled as one
    xla = use_xla(settings) and not on_tpu(strategy)
    compiled_update = not on_tpu(strategy)
    gradients_of = _Compiled(make_gradients(model, head, optimizer, settings.micro_batches), xla)
    # Uncompiled, the update moves every weight and slot through memory a dozen times.
    update = _Compiled(
        lambda gradients, weight: optimizer.apply(gradients, weight), compiled_update
    )

    def replica_step(columns: Columns, stop: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        seed = tf.stack(
            [
                tf.constant(settings.seed, tf.int32),
                tf.cast(local(optimizer.step).read_value(), tf.int32),
            ]
        )
        gradients, sums = gradients_of(
            columns, seed, tf.convert_to_tensor(context.replica_id_in_sync_group)
        )
        *gradients, sums = context.all_reduce("SUM", [*gradients, tf.concat([sums, [stop]], 0)])
        loss_sum, weight, stops = tf.unstack(sums)
        return tf.stack([loss_sum, weight, update(gradients, weight), stops])

    @tf.function(reduce_retracing=True, autograph=False)
    def train_call(iterator: Iterator[Any], steps: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        def step(index: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            element, waited = _next_and_wait(iterator, after=rows.flow)
            per_replica = _run(
                strategy, replica_step, spread(strategy, element, settings.micro_batches), stop
            )
            return index + 1, rows.write(
                index, tf.concat([strategy.experimental_local_results(per_replica)[0], [waited]], 0)
            )

        rows = tf.TensorArray(tf.float32, steps, element_shape=(len(LOGGED),))
        return tf.while_loop(
            lambda index, _: index < steps, step, (tf.constant(0), rows), parallel_iterations=1
        )[1].stack()

    return train_call


def _next_and_wait(iterator: Iterator[Any], after: tf.Tensor) -> tuple[Columns, tf.Tensor]:
    """The next element, and () float32, the seconds until it was there.

    What is computed of the element waits until its time is taken, and the step before is over when
    it is asked for: else TensorFlow, which runs in any order what does not depend on each other,
    may take the time when the step is done. On one core it does.

    Args:
        after: a tensor of the step before.
    """
    with tf.control_dependencies([after]):
        asked = tf.timestamp()
    with tf.control_dependencies([asked]):
        element = next(iterator)
    with tf.control_dependencies(tf.nest.flatten(element)):
        received = tf.timestamp()
    with tf.control_dependencies([received]):
        element = tf.nest.map_structure(tf.identity, element)
    return element, tf.cast(received - asked, tf.float32)


class _Compiled:
    """A function, compiled by XLA apart for each replica, whose own copies of the weights it reads
    and writes.
    """

    def __init__(self, function: Callable[..., Any], xla: bool) -> None:
        self._function = function
        self._xla = xla
        self._of_replica: dict[int, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
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
    """A host's element of the dataset, dealt to its replicas: (replicas x micro-batches, …) ->
    (micro-batches, …) each.
    """
    first = local_replicas(strategy)[0]

    def part(context: tf.distribute.experimental.ValueContext) -> Columns:
        start = (context.replica_id_in_sync_group - first) * micro_batches
        return {name: values[start : start + micro_batches] for name, values in element.items()}

    return strategy.experimental_distribute_values_from_function(part)


def _run(strategy: tf.distribute.Strategy, function: Callable[..., Any], *args: Any) -> Any:
    # Rows are as long as the plan says, the same on every replica: TensorFlow need not pad them to
    # meet.
    options = (
        tf.distribute.RunOptions(experimental_enable_dynamic_batch_size=False)
        if on_tpu(strategy)
        else None
    )
    return strategy.run(function, args=args, options=options)


def make_results_call(
    strategy: tf.distribute.Strategy, model: Model, *, xla: bool
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """The compiled function element -> the model's results, (K x E, …) or (K x R, L, …), of all K
    replicas, in their order, on every host.
    """
    forward = _Compiled(
        lambda columns: model.results(micro_batch(columns, 0)),
        xla and not on_tpu(strategy),
    )

    @tf.function(reduce_retracing=True, autograph=False)
    def results_call(element: Columns) -> dict[str, tf.Tensor]:
        return {
            name: strategy.gather(values, axis=0)
            for name, values in _run(strategy, forward, spread(strategy, element, 1)).items()
        }

    return results_call


def drawer(head: Any, seed: int) -> Draw | None:
    """What the head draws of each example at each step; None where it draws nothing."""
    return functools.partial(head.draw, seed) if isinstance(head, Draws) else None


def feed(
    strategy: tf.distribute.Strategy,
    store: TokenStore,
    layouts: Callable[[], Iterator[Layout]],
    micro_batches: int = 1,
    draw: Draw | None = None,
) -> tf.data.Dataset:
    """What this host reads of each layout: the shards of its own replicas, and no others."""
    shards = [
        replica * micro_batches + index
        for replica in local_replicas(strategy)
        for index in range(micro_batches)
    ]
    return batches(store, layouts, shards, draw)


def evaluation_layouts(
    store: TokenStore,
    plan: Sequence[np.ndarray],
    *,
    batching: str,
    seq_len: int,
    batch_size: int,
    shards: int,
    static_shapes: bool,
) -> list[Layout]:
    """Where the examples of each evaluation batch stand."""
    longest = int(store.lengths.max()) if static_shapes else None
    batch_size = min(batch_size, max(map(len, plan), default=1))
    return [
        lay_out(
            indices,
            store.lengths[indices],
            batching=batching,
            seq_len=seq_len,
            shards=shards,
            capacity=batch_size,
            longest=longest,
        )
        for indices in plan
    ]


def split_results(
    strategy: tf.distribute.Strategy,
    results_call: Callable[[Any], Mapping[str, tf.Tensor]],
    store: TokenStore,
    plan: Sequence[np.ndarray],
    *,
    per_token: Collection[str],
    batching: str,
    seq_len: int,
    batch_size: int,
    xla: bool,
    draw: Draw | None = None,
    between: Callable[[], None] | None = None,
) -> dict[str, np.ndarray]:
    """The results of every example of a split, each computed exactly once.

    Args:
        plan: the examples of each batch; together the first n of the split, each once.
        per_token: the names of the results that have a value a token.
        draw: what is drawn of each example, such as masks.
        between: called after each batch.
    Returns:
        (n, …) in the store's order; per token (tokens of the n examples, …).
    """
    layouts = evaluation_layouts(
        store,
        plan,
        batching=batching,
        seq_len=seq_len,
        batch_size=batch_size,
        shards=strategy.num_replicas_in_sync,
        static_shapes=xla,
    )
    count = sum(map(len, plan))
    results: dict[str, np.ndarray] = {}
    seen = np.zeros(count, np.int32)
    for layout, element in zip(
        layouts, feed(strategy, store, lambda: iter(layouts), draw=draw), strict=True
    ):
        index = layout.index.reshape(-1)
        present = np.flatnonzero(index >= 0)
        index = index[present]
        for name, tensor in results_call(element).items():
            values = tensor.numpy()
            if name in per_token:
                values, places = _tokens(values, layout, present, store)
            else:
                values, places = values[present], index
            if name not in results:
                results[name] = np.zeros(
                    (store.row_splits[count] if name in per_token else count, *values.shape[1:]),
                    values.dtype,
                )
            results[name][places] = values
        seen[index] += 1
        if between:
            between()
    if not (seen == 1).all():
        raise RuntimeError(
            f"{int((seen != 1).sum())} of {count} examples were not evaluated exactly once"
        )
    return results


def _tokens(
    values: np.ndarray, layout: Layout, present: np.ndarray, store: TokenStore
) -> tuple[np.ndarray, np.ndarray]:
    """Of (K x R, L, …) the real tokens, one after the other, and where in the store they stand."""
    shards = np.arange(layout.index.size) // layout.index.shape[1]
    row = (shards * layout.rows + layout.row.reshape(-1))[present]
    start = layout.start.reshape(-1)[present]
    index = layout.index.reshape(-1)[present]
    lengths = store.lengths[index]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return (
        values[np.repeat(row, lengths), np.repeat(start, lengths) + within],
        np.repeat(store.row_splits[index], lengths) + within,
    )
