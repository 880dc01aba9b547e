"""The learning rate of each step."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from trainer.settings.schema import TrainSettings


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then constant, linear or cosine decay to 0 after the last step.

    Attributes:
        peak: the rate at the end of warm-up.
        steps: optimizer steps in all; step 0 already moves, the step after the last would be at 0.
        warmup_steps: the rate is peak * (step + 1) / warmup_steps before.
        shape: constant, linear or cosine.
    """

    peak: float
    steps: int
    warmup_steps: int
    shape: str

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """() float32, the rate of optimizer step `step`, counted from 0."""
        step = tf.cast(step, tf.float32)
        warmup = (step + 1) / max(1, self.warmup_steps)
        decay = self._decay(step)
        share = tf.where(step < self.warmup_steps, warmup, decay)
        return self.peak * share

    def _decay(self, step: tf.Tensor) -> tf.Tensor:
        """() float32, the share of the peak after warm-up."""
        decay_steps = max(1, self.steps - self.warmup_steps)
        left = tf.clip_by_value((self.steps - step) / decay_steps, 0.0, 1.0)
        shares = {
            "constant": tf.ones_like(left),
            "linear": left,
            "cosine": 0.5 * (1 - tf.cos(math.pi * left)),
        }
        return shares[self.shape]


def make_schedule(settings: TrainSettings, steps: int) -> Schedule:
    """The schedule of a run of `steps` optimizer steps."""
    warmup_steps = round(settings.warmup_fraction * steps)
    return Schedule(settings.learning_rate, steps, warmup_steps, settings.schedule)
