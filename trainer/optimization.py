"""Optimizers, learning-rate schedules and weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.config import TrainSettings


@keras.saving.register_keras_serializable("podtune")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then constant, linear or cosine decay to 0 after the last step.

    Args:
        peak: the rate at the end of warm-up.
        steps: optimizer steps in all; step 0 already moves, the step after the last would be at 0.
        warmup_steps: the rate is peak * (step + 1) / warmup_steps before.
        shape: constant, linear or cosine.
    """

    def __init__(self, peak: float, steps: int, warmup_steps: int, shape: str) -> None:
        self.peak, self.steps, self.warmup_steps, self.shape = peak, steps, warmup_steps, shape

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """() float32, the rate of optimizer step `step`, counted from 0."""
        step = tf.cast(step, tf.float32)
        left = tf.clip_by_value((self.steps - step) / max(1, self.steps - self.warmup_steps), 0.0, 1.0)
        decay = {"constant": tf.ones_like(left), "linear": left, "cosine": 0.5 * (1 - tf.cos(math.pi * left))}[self.shape]
        warmup = (step + 1) / max(1, self.warmup_steps)
        return self.peak * tf.where(step < self.warmup_steps, warmup, decay)

    def get_config(self) -> dict[str, Any]:
        """For Keras."""
        return {"peak": self.peak, "steps": self.steps, "warmup_steps": self.warmup_steps, "shape": self.shape}


def make_schedule(settings: TrainSettings, steps: int) -> Schedule:
    """The schedule of a run of `steps` optimizer steps."""
    return Schedule(settings.learning_rate, steps, round(settings.warmup_fraction * steps), settings.schedule)


OPTIMIZERS: dict[str, Callable[[TrainSettings, Schedule], keras.optimizers.Optimizer]] = {
    "adamw": lambda s, rate: keras.optimizers.AdamW(rate, weight_decay=s.weight_decay, beta_1=s.beta_1, beta_2=s.beta_2, epsilon=s.epsilon),
    "adam": lambda s, rate: keras.optimizers.Adam(rate, beta_1=s.beta_1, beta_2=s.beta_2, epsilon=s.epsilon),
    "sgd": lambda s, rate: keras.optimizers.SGD(rate, momentum=s.momentum),
    "rmsprop": lambda s, rate: keras.optimizers.RMSprop(rate, rho=s.beta_2, momentum=s.momentum, epsilon=s.epsilon),
    "adafactor": lambda s, rate: keras.optimizers.Adafactor(rate),
}


def make_optimizer(settings: TrainSettings, schedule: Schedule, variables: Sequence[Any]) -> keras.optimizers.Optimizer:
    """The optimizer, built for `variables`; biases and norms do not decay.

    Its gradients come already summed over the replicas (trainer/loop.py clips between the sum and the update). Keras
    would sum them again and has no public switch for that: hence the one private method that is replaced here.
    """
    optimizer = OPTIMIZERS[settings.optimizer](settings, schedule)
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if not decays(variable)])
    optimizer.build(variables)
    return optimizer


def decays(variable: Any) -> bool:
    """Whether weight decay applies: to matrices and embeddings, not to biases, gains and offsets of norms."""
    return len(variable.shape) > 1
