"""Schedules, decay, and the update: compiled or not, the same."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.run.loss_scale import FIRST_LOSS_SCALE, LOSS_SCALE_GROWS_AFTER
from trainer.run.optimization import Optimizer, decays
from trainer.run.schedule import make_schedule
from trainer.run.update_rules import OPTIMIZERS
from trainer.settings.schema import TrainSettings


@pytest.mark.parametrize(
    ("shape", "middle", "last"),
    [
        ("linear", 0.5, 1 / 90),
        ("cosine", 0.5, 0.5 * (1 - math.cos(math.pi / 90))),
        ("constant", 1.0, 1.0),
    ],
)
def test_the_rate_rises_to_its_peak_then_follows_its_shape(shape, middle, last):
    rate = make_schedule(TrainSettings(learning_rate=2.0, schedule=shape, warmup_fraction=0.1), 100)
    assert float(rate(0)) == pytest.approx(0.2) and float(rate(8)) == pytest.approx(1.8)
    # warm-up ends
    assert float(rate(9)) == pytest.approx(2.0) and float(rate(10)) == pytest.approx(2.0)
    assert float(rate(55)) == pytest.approx(2 * middle)
    assert float(rate(99)) == pytest.approx(2 * last, rel=1e-4) and float(rate(99)) > 0
    assert float(rate(100)) == pytest.approx(0 if shape != "constant" else 2, abs=1e-7)


@pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
def test_without_warm_up_the_first_step_has_the_peak(shape):
    assert float(
        make_schedule(TrainSettings(learning_rate=0.3, schedule=shape, warmup_fraction=0), 7)(0)
    ) == pytest.approx(0.3)
    # a run of one step moves
    assert float(
        make_schedule(TrainSettings(learning_rate=0.3, schedule=shape), 1)(0)
    ) == pytest.approx(0.3)


def test_warm_up_may_be_the_whole_run():
    rate = make_schedule(TrainSettings(learning_rate=1.0, warmup_fraction=1.0), 4)
    assert [float(rate(step)) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def variables():
    """A kernel, a bias and a norm's scale."""
    rng = np.random.default_rng(0)
    return {
        name: tf.Variable(rng.normal(size=shape), dtype=tf.float32, name=name)
        for name, shape in {"kernel": (6, 4), "bias": (4,), "scale": (4,)}.items()
    }


def settings_of(optimizer, **keys):
    return TrainSettings(
        **{
            "optimizer": optimizer,
            "learning_rate": 0.05,
            "warmup_fraction": 0,
            "schedule": "constant",
            "clip_norm": None,
            **keys,
        }
    )


def optimizer_of(settings, own):
    return Optimizer(settings, make_schedule(settings, 100), own)


def random_gradients(own, step):
    rng = np.random.default_rng(100 + step)
    return [tf.constant(rng.normal(size=variable.shape), tf.float32) for variable in own.values()]


def test_every_optimizer_of_the_schema_is_made():
    assert set(OPTIMIZERS) == set(TrainSettings.model_fields["optimizer"].annotation.__args__)


# 1 - 0.999 is 0.000999987 to a kernel that subtracts in float32
SLOT_TOLERANCE = 2e-5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_way_to_update_is_the_same_and_reduces_the_loss(name):
    ways = [("apply", False), ("apply", True)]
    if OPTIMIZERS[name].kernel is not None:
        ways.append(("apply_by_kernels", False))
    outcomes = []
    for method, compiled in ways:
        own, losses = variables(), []
        optimizer = optimizer_of(settings_of(name, weight_decay=0.1), own)
        update = tf.function(getattr(optimizer, method), jit_compile=compiled)
        for _ in range(20):
            with tf.GradientTape() as tape:
                loss = tf.add_n(
                    [tf.reduce_sum(tf.square(variable - 1.0)) for variable in own.values()]
                )
            losses.append(float(loss))
            update(tape.gradient(loss, list(own.values())))
        assert losses[-1] < 0.7 * losses[0]
        assert int(optimizer.step) == 20
        slots = [slot for slots in optimizer.slots.values() for slot in slots.values()]
        outcomes.append([(own.values(), 1e-5), (slots, SLOT_TOLERANCE)])
    plain, *others = outcomes
    for other in others:
        for (found, _), (expected, tolerance) in zip(other, plain, strict=True):
            for mine, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"precision": "mixed_float16"}, {"optimizer": "sgd"}],
    ids=["an update may be left out", "there is none"],
)
def test_what_no_kernel_can_do_is_not_asked_of_one(settings):
    optimizer = optimizer_of(settings_of("adam").model_copy(update=settings), variables())
    assert not optimizer.has_kernels()
    with pytest.raises(ValueError, match="expected an optimizer with kernels"):
        optimizer.apply_by_kernels(random_gradients(variables(), 0))


KERAS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.05, rho=0.999, momentum=0.9, epsilon=1e-8),
    "adafactor": lambda: keras.optimizers.Adafactor(0.05),
}


@pytest.mark.parametrize("name", KERAS)
def test_the_rule_is_that_of_keras(name):
    own = variables()
    theirs = [keras.Variable(variable.numpy()) for variable in variables().values()]
    optimizer = optimizer_of(settings_of(name), own)
    reference = KERAS[name]()
    for step in range(4):
        gradients = random_gradients(own, step)
        optimizer.apply(gradients)
        reference.apply(gradients, theirs)
    for mine, expected in zip(own.values(), theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["apply", "apply_by_kernels"])
def test_biases_and_norms_do_not_decay(way):
    own = variables()
    before = {name: variable.numpy() for name, variable in own.items()}
    update = getattr(optimizer_of(settings_of("adamw", weight_decay=0.1), own), way)
    update([tf.zeros(variable.shape) for variable in own.values()])
    np.testing.assert_allclose(
        own["kernel"].numpy(), before["kernel"] * (1 - 0.05 * 0.1), rtol=1e-6
    )
    assert (own["bias"].numpy() == before["bias"]).all() and (
        own["scale"].numpy() == before["scale"]
    ).all()
    assert [decays(variable.shape) for variable in own.values()] == [True, False, False]


@pytest.mark.parametrize("way", ["apply", "apply_by_kernels"])
@pytest.mark.parametrize(("name", "decay"), [("adamw", 0.1), ("adam", 0.0)])
def test_adam_is_the_published_rule(name, decay, way):
    own = {"kernel": variables()["kernel"]}
    optimizer = optimizer_of(
        settings_of(name, weight_decay=0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-3), own
    )
    weight = own["kernel"].numpy().astype(np.float64)
    m = 0.0
    v = 0.0
    for step in range(1, 4):
        gradient = np.random.default_rng(step).normal(size=weight.shape)
        getattr(optimizer, way)([tf.constant(gradient, tf.float32)])
        m = 0.8 * m + 0.2 * gradient
        v = 0.9 * v + 0.1 * gradient**2
        weight = weight * (1 - 0.05 * decay)
        weight -= 0.05 * (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.9**step)) + 1e-3)
    np.testing.assert_allclose(own["kernel"].numpy(), weight, rtol=1e-5, atol=1e-6)


def test_every_optimizer_follows_the_schedule():
    for name in OPTIMIZERS:
        settings = settings_of(name, schedule="linear", momentum=0.0)
        optimizer = Optimizer(settings, make_schedule(settings, 2), own := variables())
        moved = []
        for _ in range(3):
            before = own["kernel"].numpy()
            optimizer.apply([tf.ones(variable.shape) for variable in own.values()])
            moved.append(np.abs(own["kernel"].numpy() - before).max())
        assert moved[0] > 1.3 * moved[1] > 0 and moved[2] == 0, name
        assert optimizer.step.numpy() == 3


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_norm_is_that_before_clipping_without_the_loss_scale(precision):
    own = variables()
    before = {name: variable.numpy() for name, variable in own.items()}
    gradients = random_gradients(own, 0)
    expected = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients))
    settings = settings_of(
        "sgd", momentum=0.0, learning_rate=1.0, clip_norm=0.1, precision=precision
    )
    optimizer = optimizer_of(settings, own)
    norm = optimizer.apply([gradient * optimizer.loss_scale() for gradient in gradients])
    assert float(norm) == pytest.approx(expected, rel=1e-5) and expected > 0.1
    moved = np.sqrt(
        sum(np.square(before[name] - variable.numpy()).sum() for name, variable in own.items())
    )
    assert moved == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(("name", "way"), [("sgd", "apply"), ("adamw", "apply_by_kernels")])
def test_the_moving_average_follows_the_weights_and_changes_places_with_them(name, way):
    own = variables()
    optimizer = optimizer_of(settings_of(name, momentum=0.0, ema_decay=0.9), own)
    update = tf.function(getattr(optimizer, way))
    expected = own["kernel"].numpy()
    for step in range(3):
        update(random_gradients(own, step))
        expected = 0.9 * expected + 0.1 * own["kernel"].numpy()
    weight = own["kernel"].numpy()
    np.testing.assert_allclose(optimizer.averages["kernel"].numpy(), expected, rtol=1e-5)
    tf.function(optimizer.swap_averages)()
    np.testing.assert_allclose(own["kernel"].numpy(), expected, rtol=1e-5)
    assert (optimizer.averages["kernel"].numpy() == weight).all()


def test_an_overflow_changes_nothing_but_the_loss_scale():
    own = variables()
    optimizer = optimizer_of(settings_of("adamw", precision="mixed_float16", ema_decay=0.9), own)
    plain = optimizer_of(settings_of("adamw"), twin := variables())
    update = tf.function(optimizer.apply, jit_compile=True)

    def step(number, *, overflow=False):
        gradients = random_gradients(own, number)
        scaled = [gradient * optimizer.loss_scale() for gradient in gradients]
        if overflow:
            scaled[1] = tf.fill(scaled[1].shape, float("inf"))
        return gradients, update(scaled)

    for number in range(2):
        plain.apply(step(number)[0])
    before = {name: variable.numpy() for name, variable in {**own, **optimizer.variables()}.items()}
    _, norm = step(2, overflow=True)
    after = {name: variable.numpy() for name, variable in {**own, **optimizer.variables()}.items()}
    assert not np.isfinite(norm)
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {
        f"optimizer/{name}" for name in ("step", "loss_scale", "finite_updates", "skipped_updates")
    }
    assert (
        after["optimizer/loss_scale"] == before["optimizer/loss_scale"] / 2
        and after["optimizer/finite_updates"] == 0
    )
    plain.apply(step(3)[0])  # Adam counts the updates that were made
    for name, variable in twin.items():
        np.testing.assert_allclose(own[name].numpy(), variable.numpy(), rtol=1e-5, atol=1e-6)


def test_the_loss_scale_doubles_after_a_long_time_without_overflow():
    own = {"bias": variables()["bias"]}
    optimizer = optimizer_of(settings_of("sgd", precision="mixed_float16"), own)
    optimizer.scaling.finite_updates.assign(LOSS_SCALE_GROWS_AFTER - 1)
    optimizer.apply([tf.zeros(4)])
    assert (
        optimizer.scaling.scale.numpy() == 2 * FIRST_LOSS_SCALE
        and optimizer.scaling.finite_updates.numpy() == 0
    )
