"""Model FLOPs are those of the products in the graph that is trained."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from trainer.backbones import huggingface
from trainer.backbones.backbone import set_frozen
from trainer.heads._language_model.prediction import operations_of_prediction
from trainer.run.throughput import peak_flops, training_flops

LENGTH = 16


def products(graph):
    """2 a multiply-add of every matrix product that a graph's outputs need."""
    total = 0.0
    needed = set()
    left = [output.op for output in graph.outputs]
    while left:
        operation = left.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            left += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    for operation in map(graph.get_operation_by_name, needed):
        if operation.type not in ("MatMul", "BatchMatMulV2", "Einsum"):
            continue
        left, right = (operand.shape for operand in operation.inputs)
        if operation.type == "Einsum":
            terms = operation.get_attr("equation").decode().split("->")[0]
            sizes = {}
            for term, shape in zip(terms.split(","), (left, right), strict=True):
                sizes |= dict(zip(term, shape, strict=True))
            total += 2 * math.prod(sizes.values())
            continue
        transposed = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
        total += 2 * math.prod(operation.outputs[0].shape) * left[-2 if transposed else -1]
    return total


@pytest.mark.parametrize(
    "frozen",
    [{}, {"layers": 1}, {"embeddings": True, "layers": 1}, {"embeddings": True, "layers": 2}],
)
@pytest.mark.parametrize("hidden", [32, 48])
@pytest.mark.parametrize("places", [None, 3])
def test_flops_are_counted_as_the_graph_computes_them(tmp_path, frozen, hidden, places):
    encoder, _ = huggingface.load_backbone(toy.write_checkpoint(tmp_path, layers=3, hidden=hidden))
    set_frozen(encoder, **frozen)
    weights = [weight.value for weight in encoder.trainable_variables]

    @tf.function(autograph=False)
    def step():
        ids = tf.ones((2, LENGTH), tf.int32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(
                encoder(
                    {
                        "token_ids": ids,
                        "segment_ids": ids,
                        "padding_mask": ids,
                        "position_ids": tf.tile(tf.range(LENGTH)[None], (2, 1)),
                        "sequence_ids": ids,
                    },
                    places=None if places is None else tf.range(places),
                )["sequence_output" if places is None else "place_output"]
            )
        return tape.gradient(loss, weights, unconnected_gradients="zero")

    expected = products(step.get_concrete_function().graph)
    counted = training_flops(
        encoder.config,
        np.full(2, LENGTH),
        frozen_embeddings=frozen.get("embeddings", False),
        frozen_layers=frozen.get("layers", 0),
        places=places,
    )
    assert counted == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_predicted_token_costs_its_products_with_the_embeddings(frozen):
    config = SimpleNamespace(vocabulary_size=61, embedding_size=12)
    places = 7
    table = tf.Variable(tf.ones((61, 12)), trainable=not frozen)

    @tf.function(autograph=False)
    def step():
        x = tf.ones((places, 12)) * 2
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.nn.log_softmax(tf.matmul(x, table.value(), transpose_b=True)))
        return tape.gradient(loss, [x, *tape.watched_variables()])

    counted = operations_of_prediction(config, frozen_embeddings=frozen)
    assert places * counted == products(step.get_concrete_function().graph)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_the_peak_is_of_this_machine(lanes):
    peak = peak_flops(tf.distribute.OneDeviceStrategy("CPU:0"), "float32", lanes=lanes)
    assert 1e9 < peak < 1e13
