"""The loss scale of float16, whose small gradients would else be 0."""

from __future__ import annotations

import tensorflow as tf

from trainer.run.replica_copies import local, new_variable

FIRST_LOSS_SCALE = 2.0**15
LOSS_SCALE_GROWS_AFTER = 2_000  # updates without an overflow


class LossScale:
    """A factor of the loss, as large as the gradients allow; make it under the strategy's scope.

    Attributes:
        scale: () float32, the factor now.
        finite_updates: () int64, since the factor was last changed.
        skipped_updates: () int64, of all: those with a gradient that was not finite.
    """

    def __init__(self) -> None:
        first_scale = tf.constant(FIRST_LOSS_SCALE)
        zero = tf.zeros((), tf.int64)
        self.scale = new_variable(first_scale, "loss_scale")
        self.finite_updates = new_variable(zero, "finite_updates")
        self.skipped_updates = new_variable(zero, "skipped_updates")

    def variables(self) -> dict[str, tf.Variable]:
        """What a checkpoint must hold, by name."""
        return {
            "loss_scale": self.scale,
            "finite_updates": self.finite_updates,
            "skipped_updates": self.skipped_updates,
        }

    def value(self) -> tf.Tensor:
        """() float32: what the loss is multiplied by before its gradient is taken."""
        return local(self.scale).read_value()

    def skipped(self) -> tf.Tensor:
        """() int64: updates that were left out."""
        return local(self.skipped_updates).read_value()

    def adapt(self, finite: tf.Tensor) -> None:
        """Halves the factor after an overflow, doubles it after a long time without one.

        Args:
            finite: () bool, whether the last gradients were.
        """
        self._count_skipped(finite)
        scale = local(self.scale)
        finite_updates = local(self.finite_updates)
        in_a_row = tf.where(finite, finite_updates.read_value() + 1, 0)
        grows = in_a_row >= LOSS_SCALE_GROWS_AFTER
        growth = tf.where(grows, 2.0, 1.0)
        change = tf.where(finite, growth, 0.5)
        scale.assign(tf.maximum(1.0, scale.read_value() * change))
        finite_updates.assign(tf.where(grows, tf.zeros_like(in_a_row), in_a_row))

    def _count_skipped(self, finite: tf.Tensor) -> None:
        skipped = tf.cast(tf.logical_not(finite), tf.int64)
        local(self.skipped_updates).assign_add(skipped)
