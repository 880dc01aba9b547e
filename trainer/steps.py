"""The train and evaluation steps, under any strategy.

One optimizer step: the denominator (the global weight of the step) is summed over the replicas, then the gradients, then
the norm is clipped, then the weights are updated once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.config import TrainSettings
from trainer.data.batching import Layout, lay_out
from trainer.data.pipeline import batches
from trainer.data.store import TokenStore
from trainer.model import Model

LOGGED = ("loss_sum", "weight", "gradient_norm", "input_wait_s")  # the columns of what a train call returns


def use_xla(settings: TrainSettings) -> bool:
    """Whether whole steps are compiled; then the plan keeps to few shapes."""
    return settings.xla == "on" or (settings.xla == "auto" and bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU")))


def make_train_call(strategy: tf.distribute.Strategy, model: Model, head: Any, optimizer: Any, settings: TrainSettings) -> Callable[..., tf.Tensor]:
    """The compiled function (iterator, steps) -> (steps, 4) float32, one row of LOGGED an optimizer step."""
    variables = model.trainable
    xla = use_xla(settings)

    def gradients_of(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            loss_sum, weight = head.loss(model.logits(batch, training=True, seed=seed), batch)
            total_weight = context.all_reduce("SUM", weight)  # labelled examples of the global batch
            loss = loss_sum / tf.maximum(total_weight, 1e-12)
        gradients = tape.gradient(loss, [variable.value for variable in variables], unconnected_gradients="zero")
        gradients = [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]  # sparse embedding rows summed
        return context.all_reduce("SUM", gradients), context.all_reduce("SUM", loss_sum), total_weight

    def update(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        norm = tf.linalg.global_norm(gradients)
        if settings.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, settings.clip_norm, norm)
        optimizer.apply(gradients, variables)
        return norm

    # Uncompiled, the update moves every weight and slot through memory a dozen times. Where replicas meet inside
    # optimizer.apply it must stay outside XLA.
    compiled_update = tf.function(update, jit_compile=True) if strategy.num_replicas_in_sync == 1 else update
    compiled_gradients = tf.function(gradients_of, jit_compile=True) if xla else gradients_of

    def replica_step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step = tf.cast(optimizer.iterations.value, tf.int32)
        seed = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(settings.seed, tf.int32), step]), replica)
        gradients, loss_sum, weight = compiled_gradients(batch, seed)
        return tf.stack([loss_sum, weight, compiled_update(gradients)])

    @tf.function(reduce_retracing=True)
    def train_call(iterator: Iterator[Any], steps: tf.Tensor) -> tf.Tensor:
        rows = tf.TensorArray(tf.float32, steps, element_shape=(len(LOGGED),))
        for index in tf.range(steps):
            asked = tf.timestamp()
            with tf.control_dependencies([asked]):
                batch = next(iterator)
            with tf.control_dependencies(tf.nest.flatten(strategy.experimental_local_results(batch)[0])):
                waited = tf.cast(tf.timestamp() - asked, tf.float32)
            per_replica = strategy.run(replica_step, args=(batch,))
            row = tf.concat([strategy.experimental_local_results(per_replica)[0], [waited]], 0)
            rows = rows.write(index, row)
        return rows.stack()

    return train_call


def make_logits_call(strategy: tf.distribute.Strategy, model: Model, *, xla: bool) -> Callable[[Any], Any]:
    """The compiled function batch -> logits (E, C) float32 of each replica."""
    forward = tf.function(model.logits, jit_compile=True) if xla else model.logits
    @tf.function(reduce_retracing=True, autograph=False)
    def logits_call(batch: dict[str, tf.Tensor]) -> Any:
        return strategy.run(forward, args=(batch,))

    return logits_call


def distribute(strategy: tf.distribute.Strategy, store: TokenStore, layouts: Callable[[], Iterator[Layout]]) -> Any:
    """The batches of `layouts`, one shard a replica."""
    if strategy.num_replicas_in_sync == 1:
        return batches(store, layouts)
    return strategy.distribute_datasets_from_function(lambda _: batches(store, layouts))


def split_logits(strategy: tf.distribute.Strategy, logits_call: Callable[[Any], Any], store: TokenStore, plan: Sequence[np.ndarray], *,
                 batching: str, seq_len: int, batch_size: int, xla: bool, between: Callable[[], None] | None = None) -> np.ndarray:
    """The logits of every example of a split, each computed exactly once.

    Args:
        plan: the examples of each batch; together the first n of the split, each once.
        between: called after each batch.
    Returns:
        (n, C) float32, in the store's order.
    """
    layouts = [lay_out(indices, store.lengths[indices], batching=batching, seq_len=seq_len, shards=strategy.num_replicas_in_sync,
                       capacity=batch_size, static_shapes=xla) for indices in plan]
    result: np.ndarray | None = None
    count = sum(map(len, plan))
    seen = np.zeros(count, np.int32)
    for layout, batch in zip(layouts, distribute(strategy, store, lambda: iter(layouts)), strict=True):
        shards = [part.numpy() for part in strategy.experimental_local_results(logits_call(batch))]
        for index, logits in zip(layout.index, shards, strict=True):
            if result is None:
                result = np.zeros((count, *logits.shape[1:]), np.float32)
            result[index[index >= 0]] = logits[index >= 0]
            seen[index[index >= 0]] += 1
        if between:
            between()
    if not (seen == 1).all():
        raise RuntimeError(f"{int((seen != 1).sum())} of {count} examples were not evaluated exactly once")
    return result
