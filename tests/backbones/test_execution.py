"""What a step leaves out, computes at once, has compiled, or reads in lanes: the same numbers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.backbones.test_encoder import CONFIG, tokens
from trainer.backbones.attention import attend
from trainer.backbones.decoder import Decoder
from trainer.backbones.dropout import Masks, draw_kept, kept_scale
from trainer.backbones.encoder import Encoder
from trainer.backbones.execution import Execution
from trainer.backbones.layers import Rows
from trainer.backbones.parts import norm_part

SEED = tf.constant([3, 5])
DECODER = dataclasses.replace(CONFIG, architecture="gpt2", segment_types=0, activation="gelu_new")
BACKBONES = {
    "bert": lambda **options: Encoder(CONFIG, **options),
    "albert": lambda **options: Encoder(
        dataclasses.replace(CONFIG, architecture="albert", layers=3), **options
    ),
    "gpt2": lambda **options: Decoder(DECODER, **options),
}
PLACES = tf.constant([0, 7, 13, 7])


def packed_rows():
    """Two rows of eight tokens, with two examples in the first and padding in the second."""
    return {
        "token_ids": tokens(2, 8),
        "sequence_ids": tf.constant([[1] * 5 + [2] * 3, [1] * 6 + [0] * 2]),
        "position_ids": tf.constant([[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 4, 5, 0, 0]]),
    }


def outcome(backbone, inputs, read, **options):
    """What is read of the backbone's output, and the gradients of all weights."""
    weights = [weight.value for weight in backbone.trainable_variables]

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            y = read(backbone(inputs, **options))
            loss = tf.reduce_sum(tf.square(tf.cast(y, tf.float32)) * tf.range(1.0, 25.0))
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        return [y, *(tf.convert_to_tensor(gradient) for gradient in gradients)]

    return step()


def assert_alike(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        scale = max(1.0, float(tf.reduce_max(tf.abs(theirs))))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * scale)


def assert_runs_alike(name, places, executions, *, training):
    """Two ways to run a backbone give the same values and gradients."""
    backbone = BACKBONES[name]()
    key = "sequence_output" if places is None else "place_output"
    options = {"training": training, "dropout_seed": SEED, "places": places}
    found, expected = (
        outcome(
            backbone,
            packed_rows(),
            lambda outputs: outputs[key],
            execution=execution,
            **options,
        )
        for execution in executions
    )
    assert_alike(found, expected)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("training", [False, True])
def test_places_are_those_of_all(name, training):
    """A token's dropout masks do not depend on which others are read."""
    backbone = BACKBONES[name]()
    options = {"training": training, "dropout_seed": SEED}

    def at_places(outputs):
        return tf.gather(tf.reshape(outputs["sequence_output"], [16, 24]), PLACES)

    found = outcome(
        backbone,
        packed_rows(),
        lambda outputs: outputs["place_output"],
        places=PLACES,
        **options,
    )
    assert_alike(found, outcome(backbone, packed_rows(), at_places, **options))
    assert set(backbone(packed_rows(), places=PLACES)) == {"place_output"}
    with pytest.raises(ValueError, match=r"output_hidden_states or places\. Received both"):
        backbone(packed_rows(), places=PLACES, output_hidden_states=True)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("places", [None, PLACES], ids=["all", "places"])
def test_compiled_parts_are_those_that_are_not(name, training, places):
    """Dropout masks included."""
    executions = [Execution(compile_parts=compile_parts) for compile_parts in (True, False)]
    assert_runs_alike(name, places, executions, training=training)


def test_compiled_parts_keep_to_the_compute_dtype():
    encoder = Encoder(CONFIG, dtype="mixed_bfloat16")
    found, expected = (
        outcome(
            encoder,
            packed_rows(),
            lambda outputs: outputs["sequence_output"],
            execution=Execution(compile_parts=compile_parts),
        )
        for compile_parts in (True, False)
    )
    assert found[0].dtype == expected[0].dtype == tf.bfloat16
    assert_alike(
        [tf.cast(x, tf.float32) for x in found],
        [tf.cast(x, tf.float32) for x in expected],
        tolerance=0.05,
    )


@pytest.mark.parametrize("lanes", [2, 3])  # of two rows: one of three lanes is empty
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("places", [None, PLACES], ids=["all", "places"])
def test_lanes_read_what_one_reads(name, places, lanes):
    """Dropout masks included."""
    assert_runs_alike(name, places, [Execution(lanes=lanes), Execution(lanes=1)], training=True)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_lanes_give_all_outputs(name):
    backbone = BACKBONES[name]()
    inputs = {"token_ids": tokens(5, 7), "padding_mask": tf.constant([[1] * 4 + [0] * 3] * 5)}
    options = {"output_hidden_states": True, "output_attentions": True}
    found, expected = (
        backbone(inputs, execution=Execution(lanes=lanes), **options) for lanes in (3, 1)
    )
    assert set(found) == set(expected)
    assert_alike(tf.nest.flatten(found), tf.nest.flatten(expected))


@pytest.mark.parametrize("rate", [0.0, 0.2])
@pytest.mark.parametrize("compile_parts", [False, True])
def test_the_gradient_of_attention_is_the_derived_one(rate, compile_parts):
    generator = tf.random.Generator.from_seed(1)
    query, key, value = (generator.normal([2, 3, 5, 4]) for _ in range(3))
    upstream = generator.normal([10, 12])
    hidden = tf.constant([0.0, 0, 0, 0, -1e9])[None, None, None]
    rows = Rows([2, 5], hidden, Masks(SEED), compile_parts=compile_parts)

    def derived(query, key, value):
        probabilities = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + hidden)
        if rate:
            kept = draw_kept(tf.constant([2, 3, 5, 5]), rate, SEED, 4)
            probabilities *= tf.cast(kept, tf.float32) * kept_scale(rate)
        mixed = tf.matmul(probabilities, value)
        return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [10, 12])

    def ours(query, key, value):
        return attend(query, key, value, rows, rate=rate, site=4)[0]

    outcomes = []
    for function in (ours, derived):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            y = function(query, key, value)
        outcomes.append([y, *tape.gradient(y, [query, key, value], output_gradients=upstream)])
    assert_alike(*outcomes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gradient_of_a_norm_is_the_derived_one(dtype):
    generator = tf.random.Generator.from_seed(2)
    x = tf.cast(3 + 2 * generator.normal([5, 8]), dtype)
    scale, bias = generator.normal([8]), generator.normal([8])
    upstream = tf.cast(generator.normal([5, 8]), dtype)

    def derived(x, scale, bias):
        wide = tf.cast(x, tf.float32)
        mean, variance = tf.nn.moments(wide, [-1], keepdims=True)
        return tf.cast((wide - mean) / tf.sqrt(variance + 1e-5) * scale + bias, dtype)

    outcomes = []
    for function in (norm_part(1e-5, dtype), derived):
        with tf.GradientTape() as tape:
            tape.watch([x, scale, bias])
            y = function(x, scale, bias)
        gradients = tape.gradient(y, [x, scale, bias], output_gradients=upstream)
        assert [gradient.dtype for gradient in gradients] == [x.dtype, tf.float32, tf.float32]
        outcomes.append([tf.cast(found, tf.float32) for found in (y, *gradients)])
    assert_alike(*outcomes, tolerance=1e-5 if dtype == "float32" else 1e-2)
