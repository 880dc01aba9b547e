"""The encoder itself: packing, XLA, precision, dropout, initial values, freezing."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer.backbones import dropout
from trainer.backbones.activations import ACTIVATIONS
from trainer.backbones.backbone import set_frozen
from trainer.backbones.config import BackboneConfig
from trainer.backbones.encoder import Encoder
from trainer.backbones.initial_values import initial_value
from trainer.errors import WeightsError

CONFIG = BackboneConfig(
    architecture="bert",
    vocabulary_size=53,
    embedding_size=24,
    hidden_size=24,
    layers=2,
    heads=3,
    intermediate_size=40,
    max_positions=20,
    segment_types=2,
    activation="gelu",
    layer_norm_epsilon=1e-12,
    hidden_dropout=0.1,
    attention_dropout=0.1,
    classifier_dropout=0.1,
    token_classifier_dropout=0.1,
    qa_dropout=0.0,
    initializer_range=0.3,
    pad_token_id=0,
    pooler=True,
)
ELECTRA = dataclasses.replace(CONFIG, architecture="electra", embedding_size=16, pooler=False)
DISTILBERT = dataclasses.replace(CONFIG, architecture="distilbert", segment_types=0, pooler=False)
SEED = tf.constant([3, 5], tf.int32)


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 53, shape, np.int32)


def test_weights_are_named_by_their_place():
    encoder = Encoder(ELECTRA)
    paths = [weight.path for weight in encoder.weights]
    assert (
        "encoder/layer_0/attention/query_key_value/kernel" in paths
        and "encoder/embeddings/project/kernel" in paths
    )
    assert len(set(paths)) == len(paths) == len(encoder.weights_by_path())
    assert "layer_1/feed_forward/norm/scale" in encoder.weights_by_path()


@pytest.mark.parametrize("config", [CONFIG, ELECTRA, DISTILBERT], ids=lambda c: c.architecture)
def test_packed_examples_equal_lone_ones(config):
    encoder, lengths = Encoder(config), (7, 4)
    first, second = tokens(1, 7), tokens(1, 4, seed=1)
    segments = [np.repeat([[0, 1]], [3, n - 3], axis=1) for n in lengths]
    alone = [
        encoder({"token_ids": ids, "segment_ids": s}, output_hidden_states=True)
        for ids, s in zip((first, second), segments, strict=True)
    ]
    row = {
        "token_ids": np.concatenate([first, second, [[0, 0]]], 1),
        "segment_ids": np.concatenate([*segments, [[0, 0]]], 1),
        "position_ids": np.array([[*range(7), *range(4), 0, 0]]),
        "sequence_ids": np.array([[1] * 7 + [2] * 4 + [0, 0]]),
    }
    packed = encoder(row, output_hidden_states=True)
    for layer, state in enumerate(packed["hidden_states"]):
        np.testing.assert_allclose(
            state[:, :7], alone[0]["hidden_states"][layer], atol=1e-5, rtol=0
        )
        np.testing.assert_allclose(
            state[:, 7:11], alone[1]["hidden_states"][layer], atol=1e-5, rtol=0
        )
    if config.pooler:
        both = encoder.pool(tf.gather(packed["sequence_output"][0], [[0, 7]]))  # (1, 2, H)
        np.testing.assert_allclose(both[0, 1], alone[1]["pooled_output"][0], atol=1e-5, rtol=0)


def test_padding_changes_nothing():
    encoder, ids = Encoder(CONFIG), tokens(2, 6)
    padded = {
        "token_ids": np.pad(ids, ((0, 0), (0, 5))),
        "padding_mask": np.pad(np.ones_like(ids), ((0, 0), (0, 5))),
    }
    plain = encoder({"token_ids": ids})["sequence_output"]
    np.testing.assert_allclose(encoder(padded)["sequence_output"][:, :6], plain, atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        encoder(padded | {"padding_mask": padded["padding_mask"] > 0})["sequence_output"][:, :6],
        plain,
        atol=1e-5,
    )


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("mask", ["padding_mask", "sequence_ids"])
def test_a_row_of_padding_gives_no_nan(mask, dtype):
    encoder = Encoder(CONFIG, dtype=dtype)
    with tf.GradientTape() as tape:
        y = encoder(
            {"token_ids": tokens(2, 6), mask: np.array([[0] * 6, [1] * 6])},
            training=True,
            dropout_seed=SEED,
        )["sequence_output"]
        loss = tf.reduce_sum(tf.square(tf.cast(y, tf.float32)))
    gradients = tape.gradient(
        loss,
        [
            weight.value
            for weight in encoder.weights_by_path().values()
            if "pooler" not in weight.path
        ],
    )
    assert all(np.isfinite(tf.convert_to_tensor(x)).all() for x in [y, *gradients])


@pytest.mark.parametrize("shape", [(2, 6), (None, None)], ids=["static", "dynamic"])
def test_xla_equals_plain(shape):
    encoder = Encoder(CONFIG)
    names = "token_ids", "segment_ids", "position_ids", "padding_mask", "sequence_ids"
    signature = [{name: tf.TensorSpec(shape, tf.int32) for name in names}]
    values = (
        tokens(2, 6),
        np.eye(2, 6),
        np.tile(np.arange(6), (2, 1)),
        np.eye(2, 6) + 1,
        [[1, 1, 2, 2, 3, 0], [1] * 6],
    )
    inputs = {name: tf.constant(value, tf.int32) for name, value in zip(names, values, strict=True)}

    def run(inputs):
        with tf.GradientTape() as tape:
            y = encoder(inputs)["sequence_output"]
            loss = tf.reduce_sum(tf.square(y[:, 0]))
        return y, tf.convert_to_tensor(
            tape.gradient(loss, encoder.weights_by_path()["embeddings/word"].value)
        )

    plain, compiled = (
        tf.function(run, jit_compile=jit, input_signature=signature)(inputs)
        for jit in (False, True)
    )
    assert plain[0].shape == (2, 6, 24)
    np.testing.assert_allclose(compiled[0], plain[0], atol=1e-5, rtol=0)
    np.testing.assert_allclose(compiled[1], plain[1], atol=1e-4, rtol=1e-4)


def test_xla_compiles_training_with_dropout():
    encoder = Encoder(CONFIG)
    run = tf.function(
        lambda seed: encoder({"token_ids": tokens(2, 6)}, training=True, dropout_seed=seed)[
            "sequence_output"
        ],
        jit_compile=True,
    )
    np.testing.assert_array_equal(run(SEED), run(SEED))
    assert np.abs(run(SEED) - run(SEED + 1)).max() > 0.01


def test_mixed_bfloat16_is_close_to_float32_and_keeps_float32_weights():
    ids = tokens(4, 16)
    config = dataclasses.replace(CONFIG, initializer_range=0.1)
    exact, mixed = (
        Encoder(config, dtype=dtype)({"token_ids": ids})["sequence_output"]
        for dtype in ("float32", "mixed_bfloat16")
    )
    assert mixed.dtype == tf.bfloat16
    mixed = np.asarray(tf.cast(mixed, tf.float32))
    cosine = (
        (exact * mixed).numpy().sum(-1)
        / np.linalg.norm(exact, axis=-1)
        / np.linalg.norm(mixed, axis=-1)
    )
    assert cosine.min() > 0.999
    assert {weight.dtype for weight in Encoder(CONFIG, dtype="mixed_bfloat16").weights} == {
        "float32"
    }
    assert (
        tf.keras.config.floatx() == "float32" and tf.keras.config.dtype_policy().name == "float32"
    )


def test_dropout_in_the_encoder():
    encoder = Encoder(CONFIG)
    inputs = {"token_ids": tokens(2, 6)}
    train = [
        encoder(inputs, training=True, dropout_seed=seed)["sequence_output"].numpy()
        for seed in (SEED, SEED, SEED + 1)
    ]
    np.testing.assert_array_equal(train[0], train[1])
    assert np.abs(train[0] - train[2]).max() > 0.01
    np.testing.assert_array_equal(
        encoder(inputs, dropout_seed=SEED)["sequence_output"], encoder(inputs)["sequence_output"]
    )


@pytest.mark.parametrize(
    "config, sites", [(CONFIG, 7), (DISTILBERT, 5)], ids=["bert", "distilbert"]
)
def test_every_dropout_site_is_its_own(config, sites, monkeypatch):
    seen = []
    draw = dropout.draw_kept

    def drawn(shape, rate, seed, site, **options):
        seen.append((site, rate))
        return draw(shape, rate, seed, site, **options)

    monkeypatch.setattr(dropout, "draw_kept", drawn)
    config = dataclasses.replace(config, attention_dropout=0.2)
    Encoder(config)({"token_ids": tokens(1, 4)}, training=True, dropout_seed=SEED)
    assert len({site for site, _ in seen}) == len(seen) == sites
    assert sum(rate == 0.2 for _, rate in seen) == config.layers


def test_training_without_a_dropout_seed_is_refused():
    with pytest.raises(
        ValueError,
        match=(
            r"expected dropout_seed, \(2,\) int32, for training with dropout rates \(0.1, 0.1\)."
            r" Received None"
        ),
    ):
        Encoder(CONFIG)({"token_ids": tokens(1, 4)}, training=True)
    still = dataclasses.replace(CONFIG, hidden_dropout=0.0, attention_dropout=0.0)
    Encoder(still)({"token_ids": tokens(1, 4)}, training=True)


def test_too_many_positions_are_refused():
    with pytest.raises(
        ValueError, match=r"expected token_ids of at most 20 positions. Received shape \(1, 21\)"
    ):
        Encoder(CONFIG)({"token_ids": tokens(1, 21)})


def test_pooling_without_a_pooler_is_refused():
    with pytest.raises(
        ValueError,
        match=r"expected a backbone with a pooler. Received one of architecture 'electra' without",
    ):
        Encoder(ELECTRA).pool(tf.zeros([1, 24]))


def test_initial_values_follow_the_seed_alone():
    one = Encoder(CONFIG, seed=1)
    same = Encoder(CONFIG, seed=1, dtype="mixed_bfloat16")
    other = Encoder(CONFIG, seed=2)
    for path, weight in one.weights_by_path().items():
        np.testing.assert_array_equal(weight, same.weights_by_path()[path])
        assert (
            path.endswith(("bias", "scale"))
            or np.abs(weight - other.weights_by_path()[path]).max() > 0
        )
    word = one.weights_by_path()["embeddings/word"].numpy()
    assert not word[0].any() and word[1:].any(axis=1).all()
    # a normal cut at 2 has deviation 0.88
    assert np.abs(word).max() <= 0.6 and abs(word[1:].std() / 0.3 - 0.88) < 0.05
    assert not one.weights_by_path()["pooler/bias"].numpy().any()
    assert (one.weights_by_path()["layer_0/feed_forward/norm/scale"].numpy() == 1).all()


def test_initial_values_are_the_same_on_every_replica():
    if len(devices := tf.config.list_logical_devices("CPU")) < 2:
        pytest.skip("one logical device")
    with tf.distribute.MirroredStrategy([device.name for device in devices[:2]]).scope():
        mirrored = Encoder(CONFIG, seed=1)
    for path, weight in mirrored.weights_by_path().items():
        for copy in weight.value.values:
            np.testing.assert_array_equal(copy, initial_value(CONFIG, path, tuple(weight.shape), 1))


def test_sinusoidal_positions():
    values = initial_value(
        dataclasses.replace(DISTILBERT, sinusoidal_positions=True),
        "embeddings/position",
        (20, 24),
        0,
    )
    assert (
        values[0].tolist() == [0, 1] * 12
        and values[3, 0] == pytest.approx(np.sin(3))
        and values[3, 5] == pytest.approx(np.cos(3 / 10000 ** (4 / 24)))
    )


def test_freezing_leaves_weights_out_of_training():
    encoder = Encoder(ELECTRA)
    set_frozen(encoder, embeddings=True, layers=1)
    assert {weight.path.split("/")[1] for weight in encoder.trainable_variables} == {"layer_1"}
    set_frozen(encoder)
    assert len(encoder.trainable_variables) == len(encoder.weights)
    with pytest.raises(
        WeightsError,
        match=(
            r"cannot freeze 3 layers of a backbone with 2: set backbone.freeze_layers to at most 2"
        ),
    ):
        set_frozen(encoder, layers=3)


def test_config_says_what_is_possible():
    with pytest.raises(
        WeightsError,
        match="activation 'gleu' is not implemented: expected one of gelu, gelu_accurate, ",
    ):
        dataclasses.replace(CONFIG, activation="gleu")
    with pytest.raises(
        WeightsError, match="hidden size 24 is not a multiple of the number of attention heads, 5"
    ):
        dataclasses.replace(CONFIG, heads=5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_a_gradient(name):
    x = tf.constant([-1.0, 0.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ACTIVATIONS[name](x)
    assert y.shape == x.shape and np.isfinite(tape.gradient(y, x)).all()


def test_gelu_and_its_written_gradient():
    x = tf.linspace(-6.0, 6.0, 101)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours = ACTIVATIONS["gelu"](x)
        reference = tf.nn.gelu(x)
    np.testing.assert_allclose(ours, reference, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(ours, x, x), tape.gradient(reference, x, x), atol=1e-5)
    assert ACTIVATIONS["gelu"](tf.cast(x, tf.bfloat16)).dtype == tf.bfloat16
