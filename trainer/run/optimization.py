"""Optimizers, learning-rate schedules, weight decay, the moving average of the weights and the loss
scale.

An update is plain tensor arithmetic on one replica's own copies: every replica applies the same
summed gradients, so the copies stay equal, no replica waits for another, and XLA compiles the whole
update under every strategy. Keras's optimizers meet at a merge call there, which XLA cannot
compile, and sum the gradients a second time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from trainer.settings.schema import TrainSettings

Slots = dict[str, tf.Tensor]
FIRST_LOSS_SCALE = 2.0**15
LOSS_SCALE_GROWS_AFTER = 2_000  # updates without an overflow


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
        left = tf.clip_by_value(
            (self.steps - step) / max(1, self.steps - self.warmup_steps), 0.0, 1.0
        )
        decay = {
            "constant": tf.ones_like(left),
            "linear": left,
            "cosine": 0.5 * (1 - tf.cos(math.pi * left)),
        }[self.shape]
        warmup = (step + 1) / max(1, self.warmup_steps)
        return self.peak * tf.where(step < self.warmup_steps, warmup, decay)


def make_schedule(settings: TrainSettings, steps: int) -> Schedule:
    """The schedule of a run of `steps` optimizer steps."""
    return Schedule(
        settings.learning_rate, steps, round(settings.warmup_fraction * steps), settings.schedule
    )


@dataclasses.dataclass(frozen=True)
class Rule:
    """One optimizer.

    Attributes:
        slots: shape of a weight -> shapes of what is remembered of it, by name; all start at 0.
        update: (settings, gradient, weight, slots, rate, count) -> what is subtracted from the
            weight, and the new slots; `rate` and `count`, the updates made with this one, are ()
            float32.
    """

    slots: Callable[[tuple[int, ...]], dict[str, tuple[int, ...]]]
    update: Callable[
        [TrainSettings, tf.Tensor, tf.Tensor, Slots, tf.Tensor, tf.Tensor], tuple[tf.Tensor, Slots]
    ]


def _adam(
    s: TrainSettings,
    gradient: tf.Tensor,
    weight: tf.Tensor,
    slots: Slots,
    rate: tf.Tensor,
    count: tf.Tensor,
) -> tuple[tf.Tensor, Slots]:
    # Source: Kingma & Ba 2015, algorithm 1. Keras adds epsilon before the second moment's bias is
    # corrected, which makes it up to 30 times larger in the first steps.
    first = s.beta_1 * slots["first_moment"] + (1 - s.beta_1) * gradient
    second = s.beta_2 * slots["second_moment"] + (1 - s.beta_2) * tf.square(gradient)
    corrected = tf.sqrt(second / (1 - tf.pow(s.beta_2, count)))
    return rate * (first / (1 - tf.pow(s.beta_1, count))) / (corrected + s.epsilon), {
        "first_moment": first,
        "second_moment": second,
    }


def _sgd(
    s: TrainSettings,
    gradient: tf.Tensor,
    weight: tf.Tensor,
    slots: Slots,
    rate: tf.Tensor,
    count: tf.Tensor,
) -> tuple[tf.Tensor, Slots]:
    # Source: Sutskever et al. 2013, with the rate inside the momentum, as in Keras.
    momentum = s.momentum * slots["momentum"] + rate * gradient
    return momentum, {"momentum": momentum}


def _rmsprop(
    s: TrainSettings,
    gradient: tf.Tensor,
    weight: tf.Tensor,
    slots: Slots,
    rate: tf.Tensor,
    count: tf.Tensor,
) -> tuple[tf.Tensor, Slots]:
    # Source: Hinton 2012, lecture 6e; momentum as in Keras.
    square = s.beta_2 * slots["mean_square"] + (1 - s.beta_2) * tf.square(gradient)
    momentum = s.momentum * slots["momentum"] + rate * gradient * tf.math.rsqrt(square + s.epsilon)
    return momentum, {"mean_square": square, "momentum": momentum}


def _adafactor(
    s: TrainSettings,
    gradient: tf.Tensor,
    weight: tf.Tensor,
    slots: Slots,
    rate: tf.Tensor,
    count: tf.Tensor,
) -> tuple[tf.Tensor, Slots]:
    # Source: Shazeer & Stern 2018, algorithms 4 to 6, with their constants.
    share = 1 - tf.pow(count, -0.8)
    square = tf.square(gradient) + 1e-30
    if "rows" in slots:
        rows = share * slots["rows"] + (1 - share) * tf.reduce_mean(square, axis=-1)
        columns = share * slots["columns"] + (1 - share) * tf.reduce_mean(square, axis=-2)
        second = (rows / tf.reduce_mean(rows, axis=-1, keepdims=True))[..., None] * columns[
            ..., None, :
        ]
        slots = {"rows": rows, "columns": columns}
    else:
        second = share * slots["mean_square"] + (1 - share) * square
        slots = {"mean_square": second}
    update = gradient * tf.math.rsqrt(second)
    size = tf.sqrt(tf.reduce_mean(tf.square(update)))
    rate = tf.minimum(rate, tf.math.rsqrt(count)) * tf.maximum(
        1e-3, tf.sqrt(tf.reduce_mean(tf.square(weight)))
    )
    return rate * update / tf.maximum(1.0, size), slots


def _factored(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return (
        {"rows": shape[:-1], "columns": (*shape[:-2], shape[-1])}
        if len(shape) > 1
        else {"mean_square": shape}
    )


OPTIMIZERS: dict[str, Rule] = {
    "adamw": Rule(lambda shape: {"first_moment": shape, "second_moment": shape}, _adam),
    "adam": Rule(lambda shape: {"first_moment": shape, "second_moment": shape}, _adam),
    "sgd": Rule(lambda shape: {"momentum": shape}, _sgd),
    "rmsprop": Rule(lambda shape: {"mean_square": shape, "momentum": shape}, _rmsprop),
    "adafactor": Rule(_factored, _adafactor),
}


def decays(shape: Sequence[int]) -> bool:
    """Whether weight decay applies: to matrices and embeddings, not to biases, gains and offsets of
    norms.
    """
    return len(shape) > 1


class Optimizer:
    """The update of a run's trainable weights; make it under the strategy's scope.

    Args:
        settings: rule, decay, clipping, precision and moving average.
        schedule: the learning rate of each step.
        weights: the trainable weights by name.

    Attributes:
        step: () int64, optimizer steps made.
        averages: the moving average of each weight, where ema_decay is set.
    """

    def __init__(
        self, settings: TrainSettings, schedule: Schedule, weights: Mapping[str, tf.Variable]
    ) -> None:
        self.settings = settings
        self.schedule = schedule
        self.weights = dict(weights)
        self.rule = OPTIMIZERS[settings.optimizer]
        self.step = _variable(tf.zeros((), tf.int64), "step")
        self.slots = {
            name: {
                slot: _variable(tf.zeros(shape), f"{name}/{slot}")
                for slot, shape in self.rule.slots(tuple(weight.shape)).items()
            }
            for name, weight in self.weights.items()
        }
        self.averages = (
            {
                name: _variable(weight.read_value(), f"{name}/average")
                for name, weight in self.weights.items()
            }
            if settings.ema_decay
            else {}
        )
        self.scaling: dict[str, tf.Variable] = {}
        if settings.precision == "mixed_float16":
            self.scaling = {
                "loss_scale": _variable(tf.constant(FIRST_LOSS_SCALE), "loss_scale"),
                "finite_updates": _variable(tf.zeros((), tf.int64), "finite_updates"),
                "skipped_updates": _variable(tf.zeros((), tf.int64), "skipped_updates"),
            }

    def variables(self) -> dict[str, tf.Variable]:
        """Everything a checkpoint must hold beside the model's weights, by name."""
        slots = {
            f"optimizer/{name}/{slot}": variable
            for name, slots in self.slots.items()
            for slot, variable in slots.items()
        }
        averages = {f"average/{name}": variable for name, variable in self.averages.items()}
        return {
            "optimizer/step": self.step,
            **{f"optimizer/{name}": variable for name, variable in self.scaling.items()},
            **slots,
            **averages,
        }

    def loss_scale(self) -> tf.Tensor:
        """() float32: what the loss is multiplied by before its gradient is taken; 1 unless float16
        needs it.
        """
        return local(self.scaling["loss_scale"]).read_value() if self.scaling else tf.ones(())

    def apply(self, gradients: Sequence[tf.Tensor], weight: tf.Tensor) -> tf.Tensor:
        """One update of this replica's copies.

        Args:
            gradients: of loss_scale x the sum of the weighted losses, summed over the replicas, one
                a weight, float32.
            weight: () float32, the global weight of the step: what the sum is divided by.
        Returns:
            () float32, the global norm of the mean loss's gradient, before clipping.
        """
        scale = 1 / (tf.maximum(weight, 1e-12) * self.loss_scale())
        norm = tf.linalg.global_norm(gradients) * scale
        if self.settings.clip_norm is not None:
            scale *= self.settings.clip_norm / tf.maximum(norm, self.settings.clip_norm)
        finite = tf.math.is_finite(norm)
        step = local(self.step)
        rate = self.schedule(step.read_value())
        count = tf.cast(
            step.read_value()
            + 1
            - (local(self.scaling["skipped_updates"]).read_value() if self.scaling else 0),
            tf.float32,
        )
        for name, gradient in zip(self.weights, gradients, strict=True):
            self._move(name, gradient * scale, rate, count, finite)
        self._rescale(finite)
        step.assign_add(1)
        return norm

    def _move(
        self, name: str, gradient: tf.Tensor, rate: tf.Tensor, count: tf.Tensor, finite: tf.Tensor
    ) -> None:
        weight = local(self.weights[name])
        slots = {slot: local(variable) for slot, variable in self.slots[name].items()}
        before = weight.read_value()
        moved, kept = self.rule.update(
            self.settings,
            gradient,
            before,
            {slot: variable.read_value() for slot, variable in slots.items()},
            rate,
            count,
        )
        if self.settings.optimizer == "adamw" and decays(weight.shape):
            # decoupled: Loshchilov & Hutter 2019, algorithm 2
            moved += rate * self.settings.weight_decay * before

        def choose(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
            return tf.where(finite, new, old) if self.scaling else new

        after = choose(before - moved, before)
        for slot, variable in slots.items():
            variable.assign(choose(kept[slot], variable.read_value()))
        weight.assign(after)
        if self.averages:
            average = local(self.averages[name])
            old = average.read_value()
            average.assign(choose(old + (1 - self.settings.ema_decay) * (after - old), old))

    def _rescale(self, finite: tf.Tensor) -> None:
        """Halves the loss scale after an overflow, doubles it after a long time without one."""
        if not self.scaling:
            return
        scale, good, skipped = (
            local(self.scaling[name])
            for name in ("loss_scale", "finite_updates", "skipped_updates")
        )
        run = tf.where(finite, good.read_value() + 1, 0)
        grows = run >= LOSS_SCALE_GROWS_AFTER
        scale.assign(
            tf.maximum(1.0, scale.read_value() * tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5))
        )
        good.assign(tf.where(grows, tf.zeros_like(run), run))
        skipped.assign_add(tf.where(finite, tf.zeros_like(run), tf.ones_like(run)))

    def swap_averages(self) -> None:
        """Exchanges this replica's weights and their moving averages."""
        for name, average in self.averages.items():
            weight = local(self.weights[name])
            average = local(average)
            values = tf.identity(weight.read_value()), tf.identity(average.read_value())
            with tf.control_dependencies(values):
                weight.assign(values[1])
                average.assign(values[0])


def _variable(value: tf.Tensor, name: str) -> tf.Variable:
    return tf.Variable(value, trainable=False, name=name.replace("/", "_"))


def local(variable: tf.Variable) -> tf.Variable:
    """The replica's own copy of a variable; the variable itself on a TPU, where TensorFlow picks
    the copy, and outside a replica.
    """
    context = tf.distribute.get_replica_context()
    if (
        context is None
        or not isinstance(variable, tf.distribute.DistributedValues)
        or isinstance(context.strategy, tf.distribute.TPUStrategy)
    ):
        return variable
    copies = context.strategy.experimental_local_results(variable)
    return copies[replica_number() % len(copies)]  # replicas are numbered worker by worker


def replica_number() -> int:
    """Which replica is being traced; not for TPUs, where one trace serves all."""
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
