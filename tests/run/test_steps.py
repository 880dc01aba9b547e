"""The train and evaluation steps against plain references:
one example at a time, unpadded, eager.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from tests.stepping import KINDS, LOGGED, SEQ_LEN, Setup, make_store
from trainer.data.batch import Batch
from trainer.data.batching import lay_out
from trainer.data.example_rows import StoredRows
from trainer.data.store import TokenStore
from trainer.data.store_writer import StoreWriter
from trainer.run.replica_calls import feed
from trainer.run.split_results import EvaluationPlan, make_results_call, split_results

COUNT = 11


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1, hidden=16)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return {
        kind: make_store(tmp_path_factory.mktemp("store") / kind, kind, COUNT) for kind in KINDS
    }


@pytest.fixture(scope="module")
def single(weights):
    return Setup(weights)


@pytest.fixture(scope="module")
def mirrored(weights):
    return Setup(weights, strategy="mirrored", replicas=2)


def assert_near(found, expected, tolerance=1e-6):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


def lone_logits(setup, store, index):
    example = {name: values[None] for name, values in store.example(index).items()}
    return setup.model.logits(Batch.one_a_row(example))[0]


def reference(setup, store, example_loss, weights):
    """Loss and gradients of sum(weight * loss) / sum(weight), one unpadded example at a time."""
    variables = setup.model.trainable()
    with tf.GradientTape() as tape:
        losses = [
            weights[i] * example_loss(lone_logits(setup, store, i), store.columns["label"][i])
            for i in range(len(store))
        ]
        loss = tf.add_n(losses) / sum(weights)
    gradients = tape.gradient(loss, variables)
    return float(loss), {
        name: tf.convert_to_tensor(gradient).numpy() for name, gradient in gradients.items()
    }


def weighted_smoothed_cross_entropy(logits, label):
    probabilities = tf.exp(logits) / tf.reduce_sum(tf.exp(logits))
    target = [0.9 * (c == label) + 0.1 / 3 for c in range(3)]
    return -tf.add_n([t * tf.math.log(probabilities[c]) for c, t in enumerate(target)])


def mean_binary_cross_entropy(logits, label):
    p = 1 / (1 + tf.exp(-logits))
    return (
        -tf.add_n([tf.math.log(p[c]) if label[c] else tf.math.log(1 - p[c]) for c in range(3)]) / 3
    )


CASES = {
    "single_label": (
        {"class_weights": {"a": 0.5, "c": 4.0}, "label_smoothing": 0.1},
        weighted_smoothed_cross_entropy,
        [0.5, 1.0, 4.0],
    ),
    "multi_label": ({"kind": "multi_label"}, mean_binary_cross_entropy, None),
    "regression": ({"kind": "regression"}, lambda logits, label: (logits[0] - label) ** 2, None),
}


@pytest.mark.parametrize("kind", CASES)
def test_one_step_has_the_loss_and_the_gradients_of_lone_examples(weights, stores, kind):
    head, example_loss, class_weights = CASES[kind]
    setup, store = Setup(weights, head=head), stores[kind]
    example_weights = (
        [class_weights[label] for label in store.columns["label"]]
        if class_weights
        else [1.0] * COUNT
    )
    loss, gradients = reference(setup, store, example_loss, example_weights)
    before = setup.state()
    rows, after = setup.train(store, 1)
    loss_sum, weight, norm, *_ = rows[0]
    assert weight == pytest.approx(
        sum(example_weights), rel=1e-6
    ) and loss_sum / weight == pytest.approx(loss, rel=1e-6)
    assert norm == pytest.approx(
        np.sqrt(sum(np.square(g).sum() for g in gradients.values())), rel=1e-5
    )
    assert_near({name: (before[name] - after[name]) / 0.5 for name in gradients}, gradients, 2e-6)


def test_fixed_bucketed_and_packed_rows_train_alike(single, stores):
    outcomes = {}
    for batching in ("fixed", "bucketed", "packed"):
        single.reset()
        outcomes[batching] = single.train(
            stores["single_label"], 5, batching=batching, batch_size=4
        )
    for batching in ("bucketed", "packed"):
        assert_near(outcomes[batching][1], outcomes["fixed"][1])
        np.testing.assert_allclose(
            outcomes[batching][0][:, :3], outcomes["fixed"][0][:, :3], rtol=2e-6
        )
    # the last batch of an epoch is short
    assert outcomes["fixed"][0][:, LOGGED.index("weight")].tolist() == [4, 4, 3, 4, 4]


def test_several_steps_a_call_equal_single_ones(single, stores):
    single.reset()
    rows, expected = single.train(stores["single_label"], 4, batch_size=4)
    single.reset()
    rows_of_pairs, found = single.train(stores["single_label"], 4, batch_size=4, per_call=2)
    assert rows_of_pairs[:, :3].tolist() == rows[:, :3].tolist()
    assert all((found[name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
@pytest.mark.parametrize("batching", ["packed", "fixed"])
def test_evaluation_gives_each_example_its_own_logits(request, stores, strategy, batching):
    setup = request.getfixturevalue({"one_device": "single", "mirrored": "mirrored"}[strategy])
    setup.reset()
    store = stores["single_label"]
    logits = setup.logits(store, batching=batching)  # 11 examples in batches of 4
    expected = np.stack([lone_logits(setup, store, index) for index in range(COUNT)])
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_an_evaluation_is_traced_once_whatever_its_batches(single, stores, monkeypatch):
    call = make_results_call(single.strategy, single.model, xla=False)
    monkeypatch.setattr(single, "results_call", call)
    for batching in ("packed", "fixed"):
        single.logits(stores["single_label"], batching=batching)  # 11 examples in batches of 4
    assert call.experimental_get_tracing_count() == 1


class Twice(EvaluationPlan):
    """One that takes an example twice, and leaves another out."""

    def batches(self, store, first=None):
        return [np.array([0, 0]), np.array([1])]


def test_evaluation_of_a_part_or_of_an_example_twice(single, stores):
    store = stores["single_label"]
    facts = {
        "examples": StoredRows(),
        "batching": "packed",
        "seq_len": SEQ_LEN,
        "batch_size": 2,
        "shards": 1,
        "static_shapes": False,
    }
    single.reset()
    whole = single.logits(store)
    given = (single.strategy, single.model, single.results_call, store)
    part = split_results(*given, EvaluationPlan(**facts), first=3)["logits"]
    np.testing.assert_allclose(part, whole[:3], rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError, match="of 3 examples were not evaluated exactly once"):
        split_results(*given, Twice(**facts))


def test_eight_examples_are_learnt_by_heart(weights, stores, tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 12, 8)
    writer = StoreWriter(tmp_path / "eight")
    writer.append(
        {"token_ids": (rng.integers(5, 40, lengths.sum()).astype(np.int32), lengths)},
        {"label": (np.arange(8) % 3).astype(np.int32)},
    )
    writer.close({}, {}, {})
    store = TokenStore(writer.folder)
    setup = Setup(
        weights,
        train={"optimizer": "adamw", "learning_rate": 5e-3, "clip_norm": 1.0, "schedule": "linear"},
    )
    rows, _ = setup.train(store, 60, batch_size=8, per_call=20)
    metrics = setup.head.scorer(setup.model.graph).metrics(setup.results(store), store)
    assert metrics["accuracy"] == 1.0 and rows[-1, 0] < 0.2 * rows[0, 0]


def test_frozen_weights_stay_bit_identical(tmp_path, stores):
    folder = toy.write_checkpoint(tmp_path / "two", layers=2, hidden=16)
    setup = Setup(
        folder,
        frozen={"embeddings": True, "layers": 1},
        train={"optimizer": "adamw", "weight_decay": 0.1, "learning_rate": 1e-2},
    )
    before = setup.state()
    _, after = setup.train(stores["single_label"], 3, batch_size=4)
    frozen = {
        name for name in before if name.startswith(("encoder/embeddings/", "encoder/layer_0/"))
    }
    assert len(frozen) == 17 and len(before) == 17 + 12 + 4
    assert {name for name in before if (before[name] == after[name]).all()} == frozen


def test_clipping_bounds_the_global_norm(weights, stores):
    store = stores["single_label"]
    setup = Setup(weights, train={"clip_norm": 0.01, "learning_rate": 1.0})
    before = setup.state()
    rows, after = setup.train(store, 1)
    moved = np.sqrt(
        sum(np.square((before[name] - after[name]).astype(np.float64)).sum() for name in before)
    )
    assert rows[0, LOGGED.index("gradient_norm")] > 0.1  # what is logged is the norm before
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_nothing_is_computed_of_a_batch_before_its_wait_is_measured(single, stores):
    """Else a wait may have the step's own time in it: TensorFlow runs in any order what does not
    depend on each other.
    """
    store = stores["single_label"]
    iterator = iter(
        feed(
            single.strategy,
            store,
            lambda: iter(
                [
                    lay_out(
                        np.arange(4),
                        store.lengths[:4],
                        batching="packed",
                        seq_len=SEQ_LEN,
                        capacity=4,
                    )
                ]
            ),
            StoredRows(),
        )
    )
    graph = single.train_call.get_concrete_function(
        iterator, tf.constant(1), tf.constant(0.0)
    ).graph.as_graph_def()
    body = next(
        function
        for function in graph.library.function
        if any(node.op == "IteratorGetNext" for node in function.node_def)
    )
    nodes = {node.name: node for node in body.node_def}
    element = next(name for name, node in nodes.items() if node.op == "IteratorGetNext")
    [asked] = [name[1:] for name in nodes[element].input if name.startswith("^")]
    [received] = [
        name
        for name, node in nodes.items()
        if node.op == "Timestamp" and f"^{element}" in node.input
    ]
    assert nodes[asked].op == "Timestamp" and asked != received
    assert nodes[asked].input  # the step before is over
    users = [
        node for node in nodes.values() if any(name.split(":")[0] == element for name in node.input)
    ]
    assert len(users) > 5 and all(
        node.op == "Identity" and f"^{received}" in node.input for node in users
    )


LARGE_SUM = """
import tensorflow as tf
from trainer.run.steps import added_apart

weight = tf.Variable(tf.zeros([30_000_000]))  # with what is added, over its 200 MB


@tf.function
def call(steps):
    total = tf.zeros([])
    for _ in tf.range(steps):

        def add(index, summed):
            part = tf.cast(index, tf.float32)
            of_lanes = tf.add_n([weight * part, tf.maximum(weight + part, 0.0)])
            return index + 1, added_apart(summed, of_lanes)

        start = (tf.constant(0), tf.zeros(weight.shape))
        _, summed = tf.while_loop(
            lambda index, _: index < 2, add, start, maximum_iterations=2, parallel_iterations=1
        )
        weight.assign_add(summed)
        total += tf.reduce_max(summed)
    return total


print([float(call(tf.constant(1))) for _ in range(3)])
"""


def test_micro_batches_of_a_large_model_are_added_in_every_call(tmp_path):
    """Of a sum of three large tensors TensorFlow makes a variable that outlives the loop.

    In a process of its own: with the several devices of the tests it does not.
    """
    file = tmp_path / "large_sum.py"
    file.write_text(LARGE_SUM)
    environment = {**os.environ, "PYTHONPATH": str(toy.ROOT)}
    python = [sys.executable, str(file)]
    done = subprocess.run(python, env=environment, capture_output=True, text=True, check=False)
    # 1 at first; then thrice what the weight is, and 1
    assert done.stdout.split("\n")[-2:-1] == ["[1.0, 4.0, 16.0]"], done.stderr[-1500:]
