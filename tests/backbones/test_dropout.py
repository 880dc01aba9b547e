"""Masks: their rate, that they are a pure function of seed and site, and independent of others."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainer.backbones.dropout import Masks, draw_kept, dropout, kept_scale, only_kept, threshold

SEED = tf.constant([3, 5])
RATES = [0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.9, 0.999]


@pytest.mark.parametrize("rate", RATES)
def test_a_rate_is_met_to_a_fiftieth_of_itself(rate):
    below, bits = threshold(rate)
    assert below / 2**bits == pytest.approx(rate, rel=0.02)
    dropped = 1 - draw_kept(tf.constant([300, 3001]), rate, SEED, 0).numpy().mean()
    deviation = np.sqrt(rate * (1 - rate) / (300 * 3001))
    assert abs(dropped - below / 2**bits) < 4 * deviation


def test_few_bits_are_drawn_where_they_will_do():
    assert [threshold(rate)[1] for rate in (0.1, 0.2, 0.5, 0.01, 1e-4)] == [8, 8, 8, 16, 16]
    assert threshold(0.99999) == (65535, 16)  # something is kept


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_expectation(rate):
    y = dropout(tf.ones([300, 301]), rate, SEED, 0).numpy()
    assert abs(y.mean() - 1) < 0.02 and abs((y == 0).mean() - rate) < 0.01
    np.testing.assert_allclose(y[y > 0], kept_scale(rate), rtol=1e-6)


def test_masks_of_other_seeds_and_sites_are_independent():
    """They agree as often as chance would have it, also one place further."""
    rate = 0.1
    masks = [
        draw_kept(tf.constant([1 << 18]), rate, seed, site).numpy()
        for seed in (SEED, SEED[::-1], tf.constant([3, 6]))
        for site in (0, 1, 2)
    ]
    kept = 1 - threshold(rate)[0] / 256
    expected = kept**2 + (1 - kept) ** 2
    deviation = np.sqrt(expected * (1 - expected) / (1 << 18))
    for one, other in itertools.combinations(masks, 2):
        for further in (0, 1, 4):
            agreed = (one == np.roll(other, further)).mean()
            assert abs(agreed - expected) < 5 * deviation
    for mask in masks:
        agreed = (mask == np.roll(mask, 1)).mean()  # neighbours
        assert abs(agreed - expected) < 5 * deviation


def test_a_mask_is_a_function_of_seed_and_site():
    one, again = (dropout(tf.ones([7, 3]), 0.5, SEED, 4).numpy() for _ in range(2))
    assert (one == again).all()
    assert dropout(tf.ones([3]), 0.5, None, 0).numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("size", [1, 3, 4, 1001])
def test_the_gradient_goes_where_values_are_kept(dtype, size):
    x = tf.cast(tf.range(1, size + 1), dtype)
    kept = draw_kept(tf.shape(x), 0.3, SEED, 1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = only_kept(x, kept)
    gradient = tape.gradient(y, x, output_gradients=2 * x)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), np.where(kept, x, 0))
    np.testing.assert_array_equal(gradient.numpy(), np.where(kept, 2 * x, 0))


@pytest.mark.parametrize("rate", [0.1, 0.01])  # of 8 bits and of 16
@pytest.mark.parametrize("shape", [(7, 5, 3), (6, 384), (4, 12, 33, 33)])
def test_some_rows_have_the_masks_that_they_have_among_all(rate, shape):
    rows, *of_a_row = shape
    whole = Masks(SEED).kept(shape, rate, 4).numpy()
    for before in range(rows + 1):
        masks = Masks(SEED, tf.constant(before))
        kept = masks.kept([rows - before, *of_a_row], rate, 4)
        assert (kept.numpy() == whole[before:]).all()
