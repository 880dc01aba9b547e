"""The table of optimizers: what each remembers of a weight, and how far it moves it.

A rule is plain tensor arithmetic on one weight, for XLA to compile. Where TensorFlow has the same
as one operation, it is the rule's kernel: as fast, and nothing is compiled before the first step.
What all rules share, such as clipping and decay, is in optimization.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.settings.schema import TrainSettings

Shape = tuple[int, ...]
Slots = dict[str, tf.Tensor]  # what is remembered of a weight, by name
# of a weight, its gradient as in `WeightStep`, and its slots
Kernel = Callable[[tf.Variable, tf.Tensor, dict[str, tf.Variable]], None]


class WeightStep(NamedTuple):
    """What one update of a weight is made of, beside its value.

    Attributes:
        gradient: of the mean loss, clipped; shaped like the weight, float32.
        rate: () float32, the learning rate.
        count: () float32, the updates made, with this one.
    """

    gradient: tf.Tensor
    rate: tf.Tensor
    count: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Rule:
    """One optimizer.

    Attributes:
        slots: shape of a weight -> shapes of its slots, by name; all start at 0.
        update: (settings, step, weight, slots) -> what is subtracted from the weight, and the new
            slots.
        kernel: (settings, rate, count) -> what changes a weight and its slots in one pass over
            memory; `rate` and `count` are those of a `WeightStep`.
    """

    slots: Callable[[Shape], dict[str, Shape]]
    update: Callable[[TrainSettings, WeightStep, tf.Tensor, Slots], tuple[tf.Tensor, Slots]]
    kernel: Callable[[TrainSettings, tf.Tensor, tf.Tensor], Kernel] | None = None


def _moments(shape: Shape) -> dict[str, Shape]:
    return {"first_moment": shape, "second_moment": shape}


def _adam(
    settings: TrainSettings, step: WeightStep, weight: tf.Tensor, slots: Slots
) -> tuple[tf.Tensor, Slots]:
    # Source: Kingma & Ba 2015, algorithm 1. Keras adds epsilon before the second moment's bias is
    # corrected, which makes it up to 30 times larger in the first steps.
    beta_1 = settings.beta_1
    beta_2 = settings.beta_2
    square = tf.square(step.gradient)
    first = _moving_average(slots["first_moment"], step.gradient, decay=beta_1)
    second = _moving_average(slots["second_moment"], square, decay=beta_2)
    mean = first / _share_after(beta_1, step.count)
    variance = second / _share_after(beta_2, step.count)
    update = step.rate * mean / (tf.sqrt(variance) + settings.epsilon)
    return update, {"first_moment": first, "second_moment": second}


def _adam_in_place(settings: TrainSettings, rate: tf.Tensor, count: tf.Tensor) -> Kernel:
    # The kernel subtracts its float32 betas from 1, which makes the second 1e-5 smaller.
    beta_1 = np.float32(settings.beta_1)
    beta_2 = np.float32(settings.beta_2)
    # It corrects by 1 minus powers of the betas, which in float32 is far from exact in the first
    # steps. So the rate is corrected beforehand, and epsilon as it is added to the root of the
    # second moment before that is corrected.
    root = tf.sqrt(_share_after(beta_2, count))
    corrected_rate = rate * root / _share_after(beta_1, count)
    epsilon = settings.epsilon * root

    def move(weight: tf.Variable, gradient: tf.Tensor, slots: dict[str, tf.Variable]) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=slots["first_moment"].handle,
            v=slots["second_moment"].handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=corrected_rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=gradient,
        )

    return move


def _share_after(decay: float | np.float32, count: tf.Tensor) -> tf.Tensor:
    """1 - decay^count, () float32: how much of a moving average that began at 0 is of values.

    Args:
        decay: in [0, 1).
        count: () float32, of the values.
    """
    if not decay:
        return tf.ones_like(count)
    return -tf.math.expm1(count * math.log(decay))


def _moving_average(old: tf.Tensor, new: tf.Tensor, *, decay: float | tf.Tensor) -> tf.Tensor:
    return decay * old + (1 - decay) * new


def _momentum(shape: Shape) -> dict[str, Shape]:
    return {"momentum": shape}


def _sgd(
    settings: TrainSettings, step: WeightStep, weight: tf.Tensor, slots: Slots
) -> tuple[tf.Tensor, Slots]:
    # Source: Sutskever et al. 2013, with the rate inside the momentum, as in Keras.
    momentum = settings.momentum * slots["momentum"] + step.rate * step.gradient
    return momentum, {"momentum": momentum}


def _mean_square_and_momentum(shape: Shape) -> dict[str, Shape]:
    return {"mean_square": shape, "momentum": shape}


def _rmsprop(
    settings: TrainSettings, step: WeightStep, weight: tf.Tensor, slots: Slots
) -> tuple[tf.Tensor, Slots]:
    # Source: Hinton 2012, lecture 6e; momentum as in Keras.
    square = tf.square(step.gradient)
    mean_square = _moving_average(slots["mean_square"], square, decay=settings.beta_2)
    inverse_root = tf.math.rsqrt(mean_square + settings.epsilon)
    scaled = step.rate * step.gradient * inverse_root
    momentum = settings.momentum * slots["momentum"] + scaled
    return momentum, {"mean_square": mean_square, "momentum": momentum}


def _rows_and_columns(shape: Shape) -> dict[str, Shape]:
    """Of a matrix the means of its rows and columns, in place of all its entries."""
    if len(shape) < 2:
        return {"mean_square": shape}
    return {"rows": shape[:-1], "columns": (*shape[:-2], shape[-1])}


def _adafactor(
    settings: TrainSettings, step: WeightStep, weight: tf.Tensor, slots: Slots
) -> tuple[tf.Tensor, Slots]:
    # Source: Shazeer & Stern 2018, algorithms 4 to 6, with their constants.
    second, slots = _factored_second_moment(step, slots)
    update = step.gradient * tf.math.rsqrt(second)
    relative_rate = tf.minimum(step.rate, tf.math.rsqrt(step.count))
    scale = tf.maximum(1e-3, _root_mean_square(weight))
    clipping = tf.maximum(1.0, _root_mean_square(update))
    return relative_rate * scale * update / clipping, slots


def _factored_second_moment(step: WeightStep, slots: Slots) -> tuple[tf.Tensor, Slots]:
    decay = 1 - tf.pow(step.count, -0.8)
    square = tf.square(step.gradient) + 1e-30
    if "rows" not in slots:
        second = _moving_average(slots["mean_square"], square, decay=decay)
        return second, {"mean_square": second}
    row_means = tf.reduce_mean(square, axis=-1)
    column_means = tf.reduce_mean(square, axis=-2)
    rows = _moving_average(slots["rows"], row_means, decay=decay)
    columns = _moving_average(slots["columns"], column_means, decay=decay)
    relative_rows = rows / tf.reduce_mean(rows, axis=-1, keepdims=True)
    second = relative_rows[..., None] * columns[..., None, :]  # (..., rows, columns)
    return second, {"rows": rows, "columns": columns}


def _root_mean_square(values: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(values)))


OPTIMIZERS: dict[str, Rule] = {
    "adamw": Rule(_moments, _adam, _adam_in_place),
    "adam": Rule(_moments, _adam, _adam_in_place),
    "sgd": Rule(_momentum, _sgd),
    "rmsprop": Rule(_mean_square_and_momentum, _rmsprop),
    "adafactor": Rule(_rows_and_columns, _adafactor),
}
