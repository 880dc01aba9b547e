"""The tensors of a checkpoint: taken from the variables, written, and read again."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer.files.checksums import DamagedError, reason
from trainer.run.checkpoint_folder import WEIGHTS

Variables = Mapping[str, tf.Variable]


def current_values(variables: Variables) -> dict[str, tf.Tensor]:
    """The values now, in the host's memory.

    On a CPU they are no copies: TensorFlow writes elsewhere while a value is held.
    """
    with tf.device("CPU:0"):
        return {
            name: tf.identity(_one_copy(variable).read_value())
            for name, variable in variables.items()
        }


def _one_copy(variable: tf.Variable) -> tf.Variable:
    """Of a variable that each replica has a copy of, one: they are equal."""
    if isinstance(variable, tf.distribute.DistributedValues):
        return variable.values[0]
    return variable


def write_values(folder: pathlib.Path, values: Mapping[str, tf.Tensor]) -> list[pathlib.Path]:
    """Writes tensors in TensorFlow's format; returns the files."""
    with tf.device("CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=str(folder / WEIGHTS),
            tensor_names=list(values),
            shape_and_slices=[""] * len(values),
            tensors=list(values.values()),
        )
    return sorted(folder.glob(f"{WEIGHTS}.*"))


def read_values(folder: pathlib.Path, variables: Variables) -> dict[str, np.ndarray]:
    """The values that a checkpoint has for variables.

    Raises:
        DamagedError: it cannot be read, one is missing, or one has another shape.
    """
    path = folder / WEIGHTS
    try:
        reader = tf.train.load_checkpoint(str(path))
        values = {name: reader.get_tensor(name) for name in variables}
    except (OSError, ValueError, KeyError, tf.errors.OpError, RuntimeError) as error:
        raise DamagedError(path, reason(error)) from None
    for name, variable in variables.items():
        if tuple(values[name].shape) != tuple(variable.shape):
            raise DamagedError(path, f"{name} has another shape than the model's")
    return values
