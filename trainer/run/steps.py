"""The training step, under any strategy.

One optimizer step: the replicas sum what each objective weighs in the global batch. Every replica
sums the gradients of its micro-batches' losses, divided by that; this is compiled. The gradients
meet. Then, compiled again, their norm is clipped and the weights move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainer.backbones.execution import PLAIN, Execution
from trainer.data.batch import Batch
from trainer.machine.xla import obstacle_here
from trainer.run.distribution import on_tpu
from trainer.run.model import Model
from trainer.run.optimization import Optimizer
from trainer.run.outcome import StepRow
from trainer.run.replica_calls import (
    Columns,
    Compiled,
    micro_batch,
    run_on_replicas,
    spread,
    use_xla,
)
from trainer.run.replica_copies import local
from trainer.settings.schema import TrainSettings

SMALLEST_WEIGHT = 1e-12  # of a step in which nothing is learnt


class StepGradients:
    """What one replica computes of a step, before and after the replicas meet.

    Dropout masks are a pure function of seed and shard, which is a micro-batch of a replica: 4
    replicas draw what 4 micro-batches of one do.

    Args:
        model: that is trained.
        optimizer: of its weights.
        micro_batches: M, of one replica.
        execution: how the backbone is run.
        keep_lookups: whether gradients stay lists of rows where the optimizer takes them so.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        micro_batches: int,
        *,
        execution: Execution = PLAIN,
        keep_lookups: bool = False,
    ) -> None:
        self._model = model
        self._keep_lookups = keep_lookups
        self._execution = execution
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
            added = [added_apart(a, b) for a, b in zip(summed, more, strict=True)]
            return index + 1, added, sums + values

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
            logits = self._model.logits(batch, seed=seed, execution=self._execution)
            with tf.name_scope("loss"):
                sums = self._stacked(self._model.graph.losses(logits, batch))
                means = sums / tf.maximum(weights, SMALLEST_WEIGHT)  # over the global batch
                loss = tf.reduce_sum(means)
            scaled = loss * self._optimizer.loss_scale()
        gradients = tape.gradient(scaled, self._trained, unconnected_gradients="zero")
        # An embedding's gradient is a list of rows, of which a token has as many as it occurs:
        # dense, they are one.
        sparse = self._optimizer.touched if self._keep_lookups else {}
        pairs = zip(self._optimizer.weights, gradients, strict=True)
        return [own if name in sparse else _dense(own) for name, own in pairs], sums

    def _stacked(self, by_objective: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.stack([by_objective[name] for name in self._model.graph.objectives])


def added_apart(summed: tf.Tensor, more: tf.Tensor) -> tf.Tensor:
    """The sum of two, which TensorFlow does not make one with the additions behind them.

    In a step of more than 200 MB it makes a temporary variable of a sum of three. One that begins
    with a loop's own value is left over by the loop's end, and the next step fails on it.
    """
    return summed + tf.ensure_shape(more, more.shape)


def _dense(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(gradient), tf.float32)


def make_train_call(
    strategy: tf.distribute.Strategy,
    model: Model,
    optimizer: Optimizer,
    settings: TrainSettings,
    *,
    lanes: int = 1,
) -> Callable[..., tf.Tensor]:
    """The compiled function (iterator, steps, stop) -> (steps, 2 O + 3) float32.

    A row is what `StepRow.of` takes. `stop` is () float32, 1 where this host was told to stop:
    summed over the replicas, so that all hosts stop after the same step.

    Args:
        strategy: where it runs.
        model: that is trained.
        optimizer: of its weights.
        settings: of the training.
        lanes: of the backbone, see `Execution`.
    """
    replica_step = _make_replica_step(strategy, model, optimizer, settings, lanes)
    width = StepRow.width(len(model.graph.objectives))

    @tf.function(reduce_retracing=True, autograph=False)
    def train_call(iterator: Iterator[Any], steps: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        def step(index: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            element, waited = _next_and_wait(iterator, after=rows.flow)
            columns = spread(strategy, element, settings.micro_batches)
            per_replica = run_on_replicas(strategy, replica_step, columns, stop)
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
    lanes: int,
) -> Callable[[Columns, tf.Tensor], tf.Tensor]:
    """What each replica does of a step; the replicas meet twice.

    First they sum what the objectives weigh, so that losses are divided before the gradient; then
    the gradients.
    """
    # on a TPU all is compiled as one
    xla = use_xla(settings) and not on_tpu(strategy)
    by_kernels = optimizer.has_kernels() and not use_xla(settings)
    replicas = strategy.num_replicas_in_sync
    keep_lookups = by_kernels and replicas == settings.micro_batches == 1
    step_gradients = StepGradients(
        model,
        optimizer,
        settings.micro_batches,
        execution=_execution(settings, lanes),
        keep_lookups=keep_lookups,
    )
    gradients_of = Compiled(step_gradients.gradients, xla)
    if by_kernels:
        update = Compiled(optimizer.apply_by_kernels, xla=False)
    else:
        # Uncompiled, it would move every weight and slot through memory a dozen times.
        update = Compiled(optimizer.apply, not on_tpu(strategy) and not obstacle_here())

    def replica_step(columns: Columns, stop: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        step = tf.cast(local(optimizer.step).read_value(), tf.int32)
        seed = tf.stack([tf.constant(settings.seed, tf.int32), step])
        known = tf.concat([step_gradients.weights(columns), [stop]], 0)
        total = context.all_reduce("SUM", known)
        weights = total[:-1]
        stops = total[-1:]
        replica = tf.convert_to_tensor(context.replica_id_in_sync_group)
        gradients, sums = gradients_of(columns, seed, replica, weights)
        if replicas > 1:
            *gradients, sums = context.all_reduce("SUM", [*gradients, sums])
        norm = update(gradients)
        return tf.concat([sums, weights, [norm], stops], 0)

    return replica_step


def _execution(settings: TrainSettings, lanes: int) -> Execution:
    if use_xla(settings):
        return PLAIN
    return Execution(compile_parts=settings.xla == "parts", lanes=lanes)


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
