"""Moments in bfloat16: right on average, the same on every replica, restored as they were."""

import numpy as np
import pytest
import tensorflow as tf

from tests.run.test_optimization import optimizer_of, random_gradients, settings_of, variables
from trainer.run.rounding import round_to_bfloat16
from trainer.run.update_rules import OPTIMIZERS

SEED = tf.constant([3, 5])


def test_the_mean_is_the_value_and_each_is_a_neighbour():
    for value in (1.001, -3.3e-5, 123456.7):
        rounded = round_to_bfloat16(tf.fill([200_000], value), SEED)
        found = tf.cast(rounded, tf.float32).numpy().astype(np.float64)
        lower, upper = np.unique(found)
        gap = upper - lower
        assert lower <= np.float32(value) <= upper and gap <= abs(value) * 2**-7
        error = gap / np.sqrt(12 * 200_000)  # of a mean; five of them are never met
        assert found.mean() == pytest.approx(np.float64(np.float32(value)), abs=5 * error)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 2.0**-30, np.inf, -np.inf])
def test_what_bfloat16_has_stays(value):
    rounded = round_to_bfloat16(tf.fill([1000], np.float32(value)), SEED)
    assert set(tf.cast(rounded, tf.float32).numpy().tolist()) == {value}


def test_nothing_that_is_no_number_becomes_one():
    assert np.isnan(tf.cast(round_to_bfloat16(tf.fill([1000], np.nan), SEED), tf.float32)).all()


def test_another_seed_rounds_otherwise():
    values = tf.linspace(0.1, 0.9, 999)
    one, again, other = (
        tf.cast(round_to_bfloat16(values, seed), tf.float32).numpy()
        for seed in (SEED, SEED, SEED + 1)
    )
    assert (one == again).all() and (one != other).any()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("compiled", [False, True])
def test_training_is_nearly_that_of_float32(name, compiled):
    outcomes = {}
    for moments in ("float32", "bfloat16"):
        own = variables()
        optimizer = optimizer_of(settings_of(name, moments=moments, weight_decay=0.1), own)
        dtypes = {slot.dtype for slots in optimizer.slots.values() for slot in slots.values()}
        assert dtypes == {tf.as_dtype(moments)}
        update = tf.function(optimizer.apply, jit_compile=compiled)
        for _ in range(60):
            update([2 * (variable - 1.0) for variable in own.values()])
        outcomes[moments] = [variable.numpy() for variable in own.values()]
    for mine, theirs in zip(*outcomes.values(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=0.06)


def test_a_small_change_is_not_lost():
    """1/1000 of a mean square is less than half of a bfloat16's last bit."""
    own = {"kernel": tf.Variable(tf.zeros([64, 64]))}
    optimizer = optimizer_of(settings_of("adam", moments="bfloat16"), own)
    second = optimizer.slots["kernel"]["second_moment"]
    second.assign(tf.ones_like(second))
    update = tf.function(optimizer.apply)
    for _ in range(100):
        update([tf.zeros([64, 64])])
    mean = float(tf.reduce_mean(tf.cast(second, tf.float32)))
    assert mean == pytest.approx(0.999**100, rel=2e-3)


def test_kernels_compute_in_float32():
    optimizer = optimizer_of(settings_of("adamw", moments="bfloat16"), variables())
    assert not optimizer.has_kernels()
    with pytest.raises(ValueError, match="expected an optimizer with kernels"):
        optimizer.apply_by_kernels(random_gradients(variables(), 0))
