"""A replica's own copy of a variable, inside a replica's step."""

from __future__ import annotations

import tensorflow as tf


def local(variable: tf.Variable) -> tf.Variable:
    """The replica's own copy of a variable.

    It is the variable itself on a TPU, where TensorFlow picks the copy, and outside a replica.
    """
    context = tf.distribute.get_replica_context()
    if context is None or isinstance(context.strategy, tf.distribute.TPUStrategy):
        return variable
    if not isinstance(variable, tf.distribute.DistributedValues):
        return variable
    copies = context.strategy.experimental_local_results(variable)
    return copies[replica_number() % len(copies)]  # replicas are numbered worker by worker


def replica_number() -> int:
    """Which replica is being traced; not for TPUs, where one trace serves all."""
    context = tf.distribute.get_replica_context()
    return int(tf.get_static_value(context.replica_id_in_sync_group))


def new_variable(value: tf.Tensor, name: str) -> tf.Variable:
    """A variable without a gradient; make it under the strategy's scope."""
    return tf.Variable(value, trainable=False, name=name.replace("/", "_"))
