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


class AdamW(keras.optimizers.Optimizer):
    """Adam with decoupled weight decay; weight_decay 0 is Adam.

    Keras's own adds epsilon before the second moment's bias is corrected, which in the first steps makes it up to 30
    times larger than asked for: small gradients then move their weights less than in PyTorch or the paper.

    Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """

    def __init__(self, learning_rate: Schedule, *, beta_1: float, beta_2: float, epsilon: float, weight_decay: float) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay or None, name="adamw")
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the two moments of each variable."""
        if self.built:
            return
        super().build(variables)
        self.first = [self.add_variable_from_reference(variable, "first_moment") for variable in variables]
        self.second = [self.add_variable_from_reference(variable, "second_moment") for variable in variables]

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        """Moves one variable; Keras calls it."""
        index = self._get_variable_index(variable)
        first, second = self.first[index], self.second[index]
        step = tf.cast(self.iterations.value + 1, tf.float32)
        self.assign(first, self.beta_1 * first.value + (1 - self.beta_1) * gradient)
        self.assign(second, self.beta_2 * second.value + (1 - self.beta_2) * tf.square(gradient))
        first_corrected = first.value / (1 - tf.pow(self.beta_1, step))
        second_corrected = second.value / (1 - tf.pow(self.beta_2, step))
        self.assign_sub(variable, tf.cast(learning_rate, tf.float32) * first_corrected / (tf.sqrt(second_corrected) + self.epsilon))


OPTIMIZERS: dict[str, Callable[[TrainSettings, Schedule], keras.optimizers.Optimizer]] = {
    "adamw": lambda s, rate: AdamW(rate, weight_decay=s.weight_decay, beta_1=s.beta_1, beta_2=s.beta_2, epsilon=s.epsilon),
    "adam": lambda s, rate: AdamW(rate, weight_decay=0.0, beta_1=s.beta_1, beta_2=s.beta_2, epsilon=s.epsilon),
    "sgd": lambda s, rate: keras.optimizers.SGD(rate, momentum=s.momentum),
    "rmsprop": lambda s, rate: keras.optimizers.RMSprop(rate, rho=s.beta_2, momentum=s.momentum, epsilon=s.epsilon),
    "adafactor": lambda s, rate: keras.optimizers.Adafactor(rate),
}


def make_optimizer(settings: TrainSettings, schedule: Schedule, variables: Sequence[Any]) -> keras.optimizers.Optimizer:
    """The optimizer, built for `variables`; biases and norms do not decay.

    Its gradients come already summed over the replicas (trainer/steps.py clips between the sum and the update). Keras
    would sum them again and has no public switch for that: hence the one private method that is replaced here.
    """
    optimizer = OPTIMIZERS[settings.optimizer](settings, schedule)
    optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if not decays(variable)])
    optimizer.build(variables)
    return optimizer


def optimizer_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, tf.Variable]:
    """What the optimizer must remember, by name: the step, and the moments of each weight."""
    return {f"{index:04d}_{variable.name}": variable.value for index, variable in enumerate(optimizer.variables)}


def decays(variable: Any) -> bool:
    """Whether weight decay applies: to matrices and embeddings, not to biases, gains and offsets of norms."""
    return len(variable.shape) > 1
