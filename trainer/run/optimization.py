"""The update of the weights: mean, clipping, rule, decay, and the weights' moving averages.

An update changes one replica's own copies: every replica applies the same summed gradients, so the
copies stay equal and no replica waits for another. Keras's optimizers meet at a merge call there,
which XLA cannot compile, and sum the gradients a second time.

There are two ways. `apply` is plain tensor arithmetic, which XLA compiles under every strategy.
`apply_by_kernels` takes TensorFlow's own operation for each weight: on a CPU it is a little faster,
and it saves the seconds that XLA takes before the first step.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainer.machine.xla import obstacle_here
from trainer.run.loss_scale import LossScale
from trainer.run.replica_copies import local, new_variable
from trainer.run.rounding import round_to_bfloat16
from trainer.run.schedule import Schedule
from trainer.run.touched_rows import RowGradient, TouchedRows, may_be_sparse, tensor_of
from trainer.run.update_rules import OPTIMIZERS, WeightStep
from trainer.settings.schema import TrainSettings


def decays(shape: Sequence[int]) -> bool:
    """Whether weight decay applies: to matrices and embeddings, not to biases and norms."""
    return len(shape) > 1


class Optimizer:
    """The update of a run's trainable weights; make it under the strategy's scope.

    Args:
        settings: rule, decay, clipping, precision and moving average.
        schedule: the learning rate of each step.
        weights: the trainable weights by name.

    Attributes:
        step: () int64, optimizer steps made.
        slots: what the rule remembers of each weight, by its name.
        averages: the moving average of each weight, where ema_decay is set.
        scaling: of the loss, where float16 needs it.
        touched: the rows of large embeddings that ever had a gradient, by the weight's name.
    """

    def __init__(
        self, settings: TrainSettings, schedule: Schedule, weights: Mapping[str, tf.Variable]
    ) -> None:
        self.settings = settings
        self.schedule = schedule
        self.weights = dict(weights)
        self.rule = OPTIMIZERS[settings.optimizer]
        self.step = new_variable(tf.zeros((), tf.int64), "step")
        self.slots = {name: self._new_slots(name) for name in self.weights}
        self.averages = self._new_averages() if settings.ema_decay else {}
        self.scaling = LossScale() if settings.precision == "mixed_float16" else None
        self.touched = self._new_touched() if self.has_kernels() else {}
        update_rows = functools.partial(self.rule.update, settings)
        self._move_rows = update_rows
        if settings.xla != "off" and not obstacle_here():
            self._move_rows = tf.function(update_rows, jit_compile=True, autograph=False)

    def _new_slots(self, name: str) -> dict[str, tf.Variable]:
        weight = self.weights[name]
        shapes = self.rule.slots(tuple(weight.shape))
        dtype = tf.as_dtype(self.settings.moments)
        return {
            slot: new_variable(tf.zeros(shape, dtype), f"{name}/{slot}")
            for slot, shape in shapes.items()
        }

    def _new_averages(self) -> dict[str, tf.Variable]:
        return {
            name: new_variable(weight.read_value(), f"{name}/average")
            for name, weight in self.weights.items()
        }

    def _new_touched(self) -> dict[str, TouchedRows]:
        if tf.config.list_logical_devices("GPU"):
            return {}  # where it was never tried
        return {
            name: TouchedRows(weight.shape[0], f"{name}/touched")
            for name, weight in self.weights.items()
            if may_be_sparse(weight.shape)
        }

    def variables(self) -> dict[str, tf.Variable]:
        """Everything a checkpoint must hold beside the model's weights, by name."""
        variables = {"optimizer/step": self.step}
        if self.scaling is not None:
            for name, variable in self.scaling.variables().items():
                variables[f"optimizer/{name}"] = variable
        for name, slots in self.slots.items():
            for slot, variable in slots.items():
                variables[f"optimizer/{name}/{slot}"] = variable
        for name, average in self.averages.items():
            variables[f"average/{name}"] = average
        return variables

    def loss_scale(self) -> tf.Tensor:
        """() float32: what the loss is multiplied by before its gradient is taken."""
        return tf.ones(()) if self.scaling is None else self.scaling.value()

    def skips_overflow(self) -> bool:
        """Whether a gradient that is not finite is the loss scale's making, and is left out.

        At a scale of 1 it is not.
        """
        return self.scaling is not None and float(self.scaling.scale.numpy()) > 1

    def apply(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """One update of this replica's copies.

        Args:
            gradients: of loss_scale x the mean loss of the global batch, summed over the replicas,
                one a weight, float32.
        Returns:
            () float32, the global norm of the mean loss's gradient, before clipping.
        """
        norm, factor = self._norm_and_factor(gradients)
        finite = tf.math.is_finite(norm)
        step = local(self.step)
        rate = self.schedule(step.read_value())
        count = self._count_of_updates()
        for name, gradient in zip(self.weights, gradients, strict=True):
            weight_step = WeightStep(gradient * factor, rate, count)
            self._move(name, weight_step, finite)
        if self.scaling is not None:
            self.scaling.adapt(finite)
        step.assign_add(1)
        return norm

    def has_kernels(self) -> bool:
        """Whether `apply_by_kernels` may be called.

        A kernel cannot leave an update out, and computes in float32.
        """
        is_plain = self.scaling is None and self.settings.moments == "float32"
        return self.rule.kernel is not None and is_plain

    def note_touched_rows(self) -> None:
        """Finds out of which rows the slots remember something, once they have been restored."""
        for name, touched in self.touched.items():
            touched.note({slot: local(own) for slot, own in self.slots[name].items()})

    def apply_by_kernels(self, gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> tf.Tensor:
        """As `apply`, to rounding, by one operation a weight.

        Args:
            gradients: as for `apply`; that of an embedding in `touched` may be of some rows.
        Returns:
            As `apply`.
        Raises:
            ValueError: the rule has no kernel, see `has_kernels`.
        """
        if self.rule.kernel is None or not self.has_kernels():
            raise ValueError(f"expected an optimizer with kernels. Received {self.settings!r}")
        by_name: dict[str, tf.Tensor | RowGradient] = {}
        for name, gradient in zip(self.weights, gradients, strict=True):
            is_rows = isinstance(gradient, tf.IndexedSlices)
            by_name[name] = self.touched[name].gradient(gradient) if is_rows else gradient
        norm, factor = self._norm_and_factor([tensor_of(own) for own in by_name.values()])
        step = local(self.step)
        rate = self.schedule(step.read_value())
        count = self._count_of_updates()
        move = self.rule.kernel(self.settings, rate, count)
        kept_of_decayed = 1 - rate * self.settings.weight_decay
        for name, gradient in by_name.items():
            weight = local(self.weights[name])
            slots = {slot: local(variable) for slot, variable in self.slots[name].items()}
            if isinstance(gradient, RowGradient):
                kept = kept_of_decayed if self._decays(weight) else tf.ones(())
                row_step = WeightStep(gradient.values * factor, rate, count)
                gradient.move(weight, slots, row_step, self._move_rows, kept)
            else:
                if self._decays(weight):
                    weight.assign(weight.read_value() * kept_of_decayed)
                move(weight, gradient * factor, slots)
            if decay := self.settings.ema_decay:
                average = local(self.averages[name])
                distance = weight.read_value() - average.read_value()
                average.assign_add((1 - decay) * distance)
        step.assign_add(1)
        return norm

    def _norm_and_factor(self, gradients: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The global norm of the mean loss's gradient, and what makes a gradient of `gradients`.

        Args:
            gradients: of loss_scale x the mean loss.
        Returns:
            () float32 each; the factor takes the scale away, and clips.
        """
        factor = 1 / self.loss_scale()
        norm = tf.linalg.global_norm(gradients) * factor
        clip_norm = self.settings.clip_norm
        if clip_norm is not None:
            factor *= clip_norm / tf.maximum(norm, clip_norm)
        return norm, factor

    def _decays(self, weight: tf.Variable) -> bool:
        """Whether it decays apart from its gradient: Loshchilov & Hutter 2019, algorithm 2."""
        decoupled = self.settings.optimizer == "adamw" and bool(self.settings.weight_decay)
        return decoupled and decays(weight.shape)

    def _count_of_updates(self) -> tf.Tensor:
        """() float32, with this one; steps that were left out moved nothing, and do not count."""
        steps = local(self.step).read_value() + 1
        if self.scaling is not None:
            steps -= self.scaling.skipped()
        return tf.cast(steps, tf.float32)

    def _move(self, name: str, step: WeightStep, finite: tf.Tensor) -> None:
        """Updates one weight, its slots and its average.

        Args:
            name: of the weight.
            step: what it is made of.
            finite: () bool, whether all gradients are.
        """
        weight = local(self.weights[name])
        old_weight = weight.read_value()
        slots = {slot: local(variable) for slot, variable in self.slots[name].items()}
        old_slots = {
            slot: tf.cast(variable.read_value(), tf.float32) for slot, variable in slots.items()
        }
        update, new_slots = self.rule.update(self.settings, step, old_weight, old_slots)
        if self._decays(weight):
            update += step.rate * self.settings.weight_decay * old_weight
        moved = self._assign(weight, old_weight - update, finite)
        for slot, variable in slots.items():
            self._assign(variable, self._as_kept(new_slots[slot], f"{name}/{slot}"), finite)
        if decay := self.settings.ema_decay:
            average = local(self.averages[name])
            old_average = average.read_value()
            change = (1 - decay) * (moved - old_average)
            self._assign(average, old_average + change, finite)

    def _as_kept(self, values: tf.Tensor, name: str) -> tf.Tensor:
        """Of a slot, in the dtype that it is kept in.

        Args:
            values: float32.
            name: of the slot, which is rounded otherwise than all others.
        """
        if self.settings.moments == "float32":
            return values
        step = tf.cast(local(self.step).read_value(), tf.int32)
        seed = tf.stack([tf.constant(self.settings.seed, tf.int32), step])
        number = zlib.crc32(name.encode()) >> 1  # as int32
        return round_to_bfloat16(values, tf.random.experimental.stateless_fold_in(seed, number))

    def _assign(self, variable: tf.Variable, new: tf.Tensor, finite: tf.Tensor) -> tf.Tensor:
        """Sets a variable, unless the loss scale leaves this update out; returns its value."""
        if self.scaling is not None:
            new = tf.where(finite, new, variable.read_value())
        variable.assign(new)
        return new

    def swap_averages(self) -> None:
        """Exchanges this replica's weights and their moving averages."""
        for name, own_average in self.averages.items():
            weight = local(self.weights[name])
            average = local(own_average)
            old_weight = tf.identity(weight.read_value())
            old_average = tf.identity(average.read_value())
            with tf.control_dependencies([old_weight, old_average]):
                weight.assign(old_average)
                average.assign(old_weight)
