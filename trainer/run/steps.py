"""The train and evaluation steps, under any strategy.

One optimizer step: every replica sums the gradients of its micro-batches' weighted losses,
compiled; they are divided by what the objectives weigh in the global batch, which the replicas
have summed before. The gradients meet; then, compiled again, their norm is clipped and the weights
move.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.batch import Batch
from trainer.data.batching import Layout, evaluation_batches, lay_out
from trainer.data.example_rows import EVALUATION, ExampleRows
from trainer.data.pipeline import batches
from trainer.data.store import TokenStore
from trainer.run.distribution import on_tpu
from trainer.run.model import Model
from trainer.run.optimization import Optimizer
from trainer.run.outcome import StepRow
from trainer.run.replica_copies import local, replica_number
from trainer.run.workers import local_replicas
from trainer.settings.schema import TrainSettings

SMALLEST_WEIGHT = 1e-12  # of a step in which nothing is learnt
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


class StepGradients:
    """What one replica computes of a step, before and after the replicas meet.

    Dropout masks are a pure function of seed and shard, which is a micro-batch of a replica: 4
    replicas draw what 4 micro-batches of one do.

    Args:
        model: that is trained.
        optimizer: of its weights.
        micro_batches: M, of one replica.
    """

    def __init__(self, model: Model, optimizer: Optimizer, micro_batches: int) -> None:
        self._model = model
        self._optimizer = optimizer
        self._micro_batches = micro_batches
        self._trained = list(optimizer.weights.values())

    def weights(self, columns: Columns) -> tf.Tensor:
        """(O,) float32: what each objective weighs in this replica's micro-batches.

        Args:
            columns: (M, …) each.
        """
        batches = [micro_batch(columns, index) for index in range(self._micro_batches)]
        return tf.add_n([self._stacked(self._model.graph.weights(batch)) for batch in batches])

    def gradients(
        self, columns: Columns, seed: tf.Tensor, replica: tf.Tensor, weights: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The part of this replica in the gradient of the step's loss.

        Args:
            columns: (M, …) each.
            seed: (2,) int32.
            replica: () int32.
            weights: (O,) float32, of the global batch: what each objective's sum is divided by.
        Returns:
            the gradients, times the loss scale, one a weight in float32; and (O,) float32, the sum
            of each objective's weighted losses.
        """

        def part(index: int | tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
            shard = replica * self._micro_batches + index
            shard_seed = tf.random.experimental.stateless_fold_in(seed, shard)
            return self._of_micro_batch(micro_batch(columns, index), shard_seed, weights)

        if self._micro_batches == 1:
            return part(0)

        def add(
            index: tf.Tensor, summed: list[tf.Tensor], sums: tf.Tensor
        ) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
            more, values = part(index)
            return index + 1, [a + b for a, b in zip(summed, more, strict=True)], sums + values

        zeros = [tf.zeros(weight.shape) for weight in self._trained]
        _, summed, sums = tf.while_loop(
            lambda index, *_: index < self._micro_batches,
            add,
            (tf.constant(0), zeros, tf.zeros(weights.shape)),
            maximum_iterations=self._micro_batches,
            parallel_iterations=1,
        )
        return summed, sums

    def _of_micro_batch(
        self, batch: Batch, seed: tf.Tensor, weights: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = self._model.logits(batch, seed=seed)
            with tf.name_scope("loss"):
                sums = self._stacked(self._model.graph.losses(logits, batch))
                # means over the global batch  # (O,)
                loss = tf.reduce_sum(sums / tf.maximum(weights, SMALLEST_WEIGHT))
            scaled = loss * self._optimizer.loss_scale()
        gradients = tape.gradient(scaled, self._trained, unconnected_gradients="zero")
        # An embedding's gradient is a list of rows, of which a token has as many as it occurs:
        # dense, they are one.
        dense = [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]
        return dense, sums

    def _stacked(self, by_objective: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.stack([by_objective[name] for name in self._model.graph.objectives])


def make_train_call(
    strategy: tf.distribute.Strategy,
    model: Model,
    optimizer: Optimizer,
    settings: TrainSettings,
) -> Callable[..., tf.Tensor]:
    """The compiled function (iterator, steps, stop) -> (steps, 2 O + 3) float32.

    A row is what `StepRow.of` takes. `stop` is () float32, 1 where this host was told to stop:
    summed over the replicas, so that all hosts stop after the same step.

    Args:
        strategy: where it runs.
        model: that is trained.
        optimizer: of its weights.
        settings: of the training.
    """
    replica_step = _make_replica_step(strategy, model, optimizer, settings)
    width = StepRow.width(len(model.graph.objectives))

    @tf.function(reduce_retracing=True, autograph=False)
    def train_call(iterator: Iterator[Any], steps: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        def step(index: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            element, waited = _next_and_wait(iterator, after=rows.flow)
            columns = spread(strategy, element, settings.micro_batches)
            per_replica = _run(strategy, replica_step, columns, stop)
            row = strategy.experimental_local_results(per_replica)[0]
            return index + 1, rows.write(index, tf.concat([row, [waited]], 0))

        rows = tf.TensorArray(tf.float32, steps, element_shape=(width,))
        return tf.while_loop(
            lambda index, _: index < steps, step, (tf.constant(0), rows), parallel_iterations=1
        )[1].stack()

    return train_call


def _make_replica_step(
    strategy: tf.distribute.Strategy,
    model: Model,
    optimizer: Optimizer,
    settings: TrainSettings,
) -> Callable[[Columns, tf.Tensor], tf.Tensor]:
    """What each replica does of a step; the replicas meet twice.

    First they sum what the objectives weigh, so that losses are divided before the gradient; then
    the gradients.
    """
    # on a TPU all is compiled as one
    xla = use_xla(settings) and not on_tpu(strategy)
    step_gradients = StepGradients(model, optimizer, settings.micro_batches)
    gradients_of = _Compiled(step_gradients.gradients, xla)
    # Uncompiled, the update moves every weight and slot through memory a dozen times.
    update = _Compiled(optimizer.apply, not on_tpu(strategy))

    def replica_step(columns: Columns, stop: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        step = tf.cast(local(optimizer.step).read_value(), tf.int32)
        seed = tf.stack([tf.constant(settings.seed, tf.int32), step])
        known = tf.concat([step_gradients.weights(columns), [stop]], 0)
        *weights, stops = tf.unstack(context.all_reduce("SUM", known))
        replica = tf.convert_to_tensor(context.replica_id_in_sync_group)
        gradients, sums = gradients_of(columns, seed, replica, tf.stack(weights))
        *gradients, sums = context.all_reduce("SUM", [*gradients, sums])
        norm = update(gradients)
        return tf.concat([sums, weights, [norm, stops]], 0)

    return replica_step


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
    results_call: Callable[[Any], Mapping[str, tf.Tensor]],
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
    elements = feed(strategy, store, lambda: iter(layouts), plan.examples)
    for number, (layout, element) in enumerate(zip(layouts, elements, strict=True), 1):
        collected.add(layout, results_call(element))
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
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return (
        values[np.repeat(row, lengths), np.repeat(start, lengths) + within],
        np.repeat(store.row_splits[index], lengths) + within,
    )
