"""Rows without a gradient cost nothing: the weights are those of the dense update."""

import numpy as np
import pytest
import tensorflow as tf

from tests.run.test_optimization import optimizer_of, settings_of
from trainer.run import touched_rows
from trainer.run.touched_rows import may_be_sparse

ROWS, WIDTH = 23, 5
# of each step the looked up rows: some several times, some in several steps, new ones, and none
LOOKUPS = [[3, 3, 7], [7, 1, 3, 3], [], [22], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [3]]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(touched_rows, "SMALLEST", ROWS * WIDTH)
    monkeypatch.setattr(touched_rows, "BLOCK", 4)


def weights():
    rng = np.random.default_rng(0)
    shapes = {"encoder/embeddings/word": (ROWS, WIDTH), "head/output/kernel": (WIDTH, 2)}
    return {
        name: tf.Variable(rng.normal(size=shape), dtype=tf.float32)
        for name, shape in shapes.items()
    }


def gradients(step, *, sparse):
    rng = np.random.default_rng(10 + step)
    indices = LOOKUPS[step]
    slices = tf.IndexedSlices(
        tf.constant(rng.normal(size=(len(indices), WIDTH)), tf.float32),
        tf.constant(indices, tf.int32),
        tf.constant([ROWS, WIDTH]),
    )
    other = tf.constant(rng.normal(size=(WIDTH, 2)), tf.float32)
    return [slices if sparse else tf.convert_to_tensor(slices), other]


def update_of(optimizer):
    return tf.function(optimizer.apply_by_kernels, autograph=False)


def state_of(own, optimizer):
    return {name: value.numpy() for name, value in {**own, **optimizer.variables()}.items()}


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.5}, {"ema_decay": 0.9}, {"xla": "off"}])
@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_the_weights_are_those_of_the_dense_update(name, settings):
    outcomes = []
    for sparse in (True, False):
        own = weights()
        optimizer = optimizer_of(settings_of(name, weight_decay=0.1, **settings), own)
        update = update_of(optimizer)
        norms = [float(update(gradients(step, sparse=sparse))) for step in range(len(LOOKUPS))]
        outcomes.append((norms, state_of(own, optimizer)))
    (norms, found), (expected_norms, expected) = outcomes
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-6)
    assert set(found) == set(expected)
    for variable, value in expected.items():
        np.testing.assert_allclose(found[variable], value, rtol=2e-5, atol=1e-7, err_msg=variable)


def test_rows_without_a_gradient_are_not_touched():
    own = weights()
    before = own["encoder/embeddings/word"].numpy()
    optimizer = optimizer_of(settings_of("adam"), own)
    update = update_of(optimizer)
    for step in range(4):
        update(gradients(step, sparse=True))
    moved = (own["encoder/embeddings/word"].numpy() != before).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [1, 3, 7, 22]


def test_what_was_restored_goes_on_bit_for_bit():
    """Which rows were touched is in no checkpoint: it follows from what is remembered of them."""
    settings = settings_of("adamw", weight_decay=0.1)
    own = weights()
    optimizer = optimizer_of(settings, own)
    update = update_of(optimizer)
    again = weights()
    other = optimizer_of(settings, again)
    for step in range(len(LOOKUPS)):
        if step == 3:
            for name, value in {**again, **other.variables()}.items():
                value.assign({**own, **optimizer.variables()}[name])
            other.note_touched_rows()
        update(gradients(step, sparse=True))
        if step >= 3:
            update_of(other)(gradients(step, sparse=True))
    expected = state_of(own, optimizer)
    for name, value in state_of(again, other).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_only_large_tables_are_told_apart():
    assert may_be_sparse((ROWS, WIDTH)) and not may_be_sparse((ROWS - 1, WIDTH))
    assert not may_be_sparse((ROWS * WIDTH,))
