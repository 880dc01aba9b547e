"""Schedules, decay, and the update: compiled or not, the same."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import TrainSettings
from trainer.optimization import OPTIMIZERS, decays, make_optimizer, make_schedule


@pytest.mark.parametrize(("shape", "middle", "last"), [
    ("linear", 0.5, 1 / 90), ("cosine", 0.5, 0.5 * (1 - math.cos(math.pi / 90))), ("constant", 1.0, 1.0)])
def test_the_rate_rises_to_its_peak_then_follows_its_shape(shape, middle, last):
    rate = make_schedule(TrainSettings(learning_rate=2.0, schedule=shape, warmup_fraction=0.1), 100)
    assert float(rate(0)) == pytest.approx(0.2) and float(rate(8)) == pytest.approx(1.8)
    assert float(rate(9)) == pytest.approx(2.0) and float(rate(10)) == pytest.approx(2.0)  # warm-up ends
    assert float(rate(55)) == pytest.approx(2 * middle)
    assert float(rate(99)) == pytest.approx(2 * last, rel=1e-4) and float(rate(99)) > 0
    assert float(rate(100)) == pytest.approx(0 if shape != "constant" else 2, abs=1e-7)


@pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
def test_without_warm_up_the_first_step_has_the_peak(shape):
    assert float(make_schedule(TrainSettings(learning_rate=0.3, schedule=shape, warmup_fraction=0), 7)(0)) == pytest.approx(0.3)
    assert float(make_schedule(TrainSettings(learning_rate=0.3, schedule=shape), 1)(0)) == pytest.approx(0.3)  # a run of one step moves


def test_warm_up_may_be_the_whole_run():
    rate = make_schedule(TrainSettings(learning_rate=1.0, warmup_fraction=1.0), 4)
    assert [float(rate(step)) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def variables():
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape).astype(np.float32), name=name) for name, shape in (("kernel", (4, 3)), ("bias", (3,)), ("scale", (4,)))]


def settings_of(optimizer, **keys):
    return TrainSettings(**{"optimizer": optimizer, "learning_rate": 0.05, "warmup_fraction": 0, "schedule": "constant", **keys})


def optimizer_of(settings, own):
    return make_optimizer(settings, make_schedule(settings, 100), own)


def test_every_optimizer_of_the_schema_is_made():
    assert set(OPTIMIZERS) == set(TrainSettings.model_fields["optimizer"].annotation.__args__)


def update_of(own, name, *, compiled):
    optimizer = optimizer_of(settings_of(name), own)
    return tf.function(lambda gradients: optimizer.apply(gradients, own), jit_compile=compiled)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_compiled_update_equals_the_uncompiled_and_reduces_the_loss(name):
    outcomes = []
    for compiled in (False, True):
        own, losses = variables(), []
        update = update_of(own, name, compiled=compiled)
        for _ in range(20):
            with tf.GradientTape() as tape:
                loss = tf.add_n([tf.reduce_sum(tf.square(variable.value - 1.0)) for variable in own])
            losses.append(float(loss))
            update(tape.gradient(loss, [variable.value for variable in own]))
        assert losses[-1] < 0.7 * losses[0]
        outcomes.append([variable.numpy() for variable in own])
    for plain, xla in zip(*outcomes, strict=True):
        np.testing.assert_allclose(xla, plain, rtol=1e-5, atol=1e-6)


def test_biases_and_norms_do_not_decay():
    own = variables()
    before = [variable.numpy() for variable in own]
    optimizer_of(settings_of("adamw", weight_decay=0.1), own).apply([tf.zeros(variable.shape) for variable in own], own)
    np.testing.assert_allclose(own[0].numpy(), before[0] * (1 - 0.05 * 0.1), rtol=1e-6)
    assert (own[1].numpy() == before[1]).all() and (own[2].numpy() == before[2]).all()
    assert [decays(variable) for variable in own] == [True, False, False]


def test_adamw_is_the_published_rule():
    own = variables()[:1]
    settings = settings_of("adamw", weight_decay=0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-3)
    optimizer = optimizer_of(settings, own)
    weight, m, v = own[0].numpy().astype(np.float64), 0.0, 0.0
    for step in range(1, 4):
        gradient = np.random.default_rng(step).normal(size=weight.shape)
        optimizer.apply([tf.constant(gradient, tf.float32)], own)
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient ** 2
        weight = weight * (1 - 0.05 * 0.1)
        weight -= 0.05 * (m / (1 - 0.8 ** step)) / (np.sqrt(v / (1 - 0.9 ** step)) + 1e-3)
    np.testing.assert_allclose(own[0].numpy(), weight, rtol=1e-5, atol=1e-6)


def test_every_optimizer_follows_the_schedule():
    for name in OPTIMIZERS:
        settings = settings_of(name, schedule="linear")
        optimizer = make_optimizer(settings, make_schedule(settings, 2), own := variables())
        rates = []
        for _ in range(3):
            rates.append(float(optimizer.learning_rate))
            optimizer.apply([tf.ones(variable.shape) for variable in own], own)
        assert rates == pytest.approx([0.05, 0.025, 0.0]), name
