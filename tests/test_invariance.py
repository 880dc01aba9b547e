"""The same numbers everywhere: replicas, micro-batches and short batches change nothing but the
rounding.
"""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from tests.stepping import DECODER_KINDS, KINDS, LOGGED, SEQ_LEN, Setup, make_store
from trainer.backbones.dropout import dropout
from trainer.data.batching import lay_out
from trainer.data.pipeline import fill
from trainer.run.steps import StepGradients

STEPS, BATCH = 5, 8
EXAMPLES = {"full": 16, "short": 11}  # steps of 8 and 8, or of 8 and 3
CLIPPED = {"clip_norm": 0.05, "momentum": 0.9}
HEADS = {
    "single_label": {"class_weights": {"a": 0.5, "c": 4.0}, "label_smoothing": 0.1},
    "multi_label": {"kind": "multi_label"},
    "regression": {"kind": "regression"},
    "tags": {"name": "token_classification"},
    "crf": {"name": "token_classification", "crf": True},
    "questions": {
        "name": "question_answering",
        "max_question_tokens": 4,
        "max_answer_tokens": 4,
        "n_best": 2,
    },
    "causal": {"name": "causal_lm"},
    "target": {"name": "text_generation", "target": "en"},
    "prompt": {
        "name": "prompt",
        "pattern": "{text} it was {mask}.",
        "label_words": {"a": "great", "b": "awful", "c": "ordinary"},
    },
    "masked": {"name": "masked_lm", "mask_probability": 0.3},
    "last": {},
    "two": {"name": "two_objectives"},
}
SUMMED = slice(0, -2)  # of a row: not whether it was told to stop, and how long it waited
NORM = -3


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    encoder = toy.write_checkpoint(tmp_path_factory.mktemp("weights"), layers=1, hidden=16)
    decoder = toy.write_gpt2(
        tmp_path_factory.mktemp("weights"), layers=1, hidden=16, tokenizer=False
    )
    return {kind: decoder if kind in DECODER_KINDS else encoder for kind in KINDS}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        (kind, batches): make_store(folder / kind / batches, kind, count)
        for kind in KINDS
        for batches, count in EXAMPLES.items()
    }


def outcome(setup, store):
    """What is logged, the weights after 5 steps and the metrics of the trained model."""
    setup.reset()
    rows, after = setup.train(store, STEPS, batch_size=BATCH)
    return (
        rows[:, SUMMED],
        after,
        setup.head.scorer(setup.model.graph).metrics(setup.results(store), store),
    )


@pytest.fixture(scope="module")
def reference_of(weights, stores):
    """Of a kind: what one replica and one micro-batch do, by the batches."""

    @functools.cache
    def outcomes(kind):
        setup = Setup(weights[kind], head=HEADS[kind], train=CLIPPED)
        return {batches: outcome(setup, stores[kind, batches]) for batches in EXAMPLES}

    return outcomes


# The others differ from one of these in no more than the shape of a label or the rows' columns.
QUICK_KINDS = ("single_label", "crf", "questions", "masked", "prompt", "target", "two")


def cell(replicas, micro_batches, kind):
    """Where there is little time eight shards, of which a short batch leaves five without an
    example, for a head of each way to weigh, and the far end for one.
    """
    shards = (replicas, micro_batches)
    is_far_end = shards == (4, 4) and kind == "single_label"
    is_quick = (shards == (2, 4) and kind in QUICK_KINDS) or is_far_end
    return pytest.param(replicas, micro_batches, kind, marks=[] if is_quick else [pytest.mark.slow])


@pytest.mark.parametrize(
    ("replicas", "micro_batches", "kind"),
    [cell(*place) for place in itertools.product([1, 2, 4], [1, 4], KINDS)],
)
def test_replicas_micro_batches_and_short_batches_change_nothing(
    weights, stores, reference_of, replicas, micro_batches, kind
):
    if replicas == micro_batches == 1:
        setup = Setup(
            weights[kind], strategy="mirrored", replicas=1, head=HEADS[kind], train=CLIPPED
        )
    else:
        setup = Setup(
            weights[kind],
            strategy="mirrored" if replicas > 1 else "one_device",
            replicas=replicas,
            head=HEADS[kind],
            train={**CLIPPED, "micro_batches": micro_batches},
        )
    assert setup.strategy.num_replicas_in_sync == replicas
    for batches in EXAMPLES:
        rows, after, metrics = outcome(setup, stores[kind, batches])
        expected_rows, expected_after, expected_metrics = reference_of(kind)[batches]
        # every step is clipped
        assert (expected_rows[:, NORM] > CLIPPED["clip_norm"]).all()
        np.testing.assert_allclose(rows, expected_rows, rtol=2e-6)
        for name, value in expected_after.items():
            np.testing.assert_allclose(
                after[name], value, rtol=1e-6, atol=1e-7, err_msg=f"{name}, {batches} batches"
            )
        assert metrics == pytest.approx(expected_metrics, rel=1e-5)


@pytest.mark.parametrize(
    ("replicas", "xla"),
    [
        (1, "parts"),
        (2, "parts"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(1, "on"), (2, "off"), (2, "on")]
        ),
    ],
)
def test_steps_under_xla_and_without_agree(weights, stores, reference_of, replicas, xla):
    setup = Setup(
        weights["single_label"],
        strategy="mirrored" if replicas > 1 else "one_device",
        replicas=replicas,
        head=HEADS["single_label"],
        train={**CLIPPED, "micro_batches": 2, "xla": xla},
    )
    rows, after, _ = outcome(setup, stores["single_label", "short"])
    expected_rows, expected_after, _ = reference_of("single_label")["short"]
    np.testing.assert_allclose(rows, expected_rows, rtol=1e-5)
    for name, value in expected_after.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory):
    return toy.write_checkpoint(
        tmp_path_factory.mktemp("weights"), layers=2, hidden=16, dropout=0.3
    )


@pytest.fixture(scope="module")
def dropped_by_one(with_dropout, stores):
    """Of one replica with four micro-batches."""
    setup = Setup(with_dropout, train={**CLIPPED, "micro_batches": 4})
    return setup.train(stores["single_label", "short"], STEPS, batch_size=BATCH)


@pytest.mark.parametrize(
    ("replicas", "micro_batches"), [(2, 2), pytest.param(4, 1, marks=pytest.mark.slow)]
)
def test_replicas_drop_what_four_micro_batches_of_one_do(
    with_dropout, stores, dropped_by_one, replicas, micro_batches
):
    """A mask is of a shard: which replica computes it, or when, does not matter."""
    setup = Setup(
        with_dropout,
        strategy="mirrored",
        replicas=replicas,
        train={**CLIPPED, "micro_batches": micro_batches},
    )
    rows, after = setup.train(stores["single_label", "short"], STEPS, batch_size=BATCH)
    expected_rows, expected_after = dropped_by_one
    np.testing.assert_allclose(rows[:, SUMMED], expected_rows[:, SUMMED], rtol=5e-6)
    for name, value in expected_after.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-6, atol=5e-7, err_msg=name)


def test_masks_differ_between_replicas_micro_batches_steps_and_seeds_and_repeat(
    with_dropout, stores
):
    store = stores["single_label", "full"]
    setup = Setup(with_dropout, train={"micro_batches": 2})
    layout = lay_out(
        np.arange(4), store.lengths[:4], batching="packed", seq_len=SEQ_LEN, capacity=4
    )
    once = {name: tf.constant(values) for name, values in fill(store, layout, [0]).items()}
    empty = {name: tf.zeros_like(values) for name, values in once.items()}
    gradients = StepGradients(setup.model, setup.optimizer, 2).gradients

    def loss(first, second, seed, replica):
        """Of the same examples, as first or as second micro-batch; an empty one adds nothing."""
        return float(
            gradients(
                {name: tf.concat([first[name], second[name]], 0) for name in first},
                tf.constant(seed),
                tf.constant(replica),
                tf.ones(1),
            )[1][0]
        )

    losses = [
        loss(once, empty, seed, replica) for seed in ([0, 0], [0, 1], [1, 0]) for replica in (0, 1)
    ] + [loss(empty, once, [0, 0], 0)]
    assert len(set(losses)) == len(losses)
    assert losses[0] == loss(once, empty, [0, 0], 0)


def test_each_step_of_a_run_draws_its_own_masks(with_dropout, tmp_path):
    """The same example and the same weights, which so low a rate leaves as they are."""
    store = make_store(tmp_path / "store", "single_label", 1)
    setup = Setup(with_dropout, train={"learning_rate": 1e-30})
    rows, after = setup.train(store, 4, batch_size=1)
    for name, value in after.items():
        np.testing.assert_allclose(value, setup.first[name], rtol=0, atol=1e-25)
    assert len(set(rows[:, LOGGED.index("loss_sum")])) == 4


def test_masks_differ_between_layers():
    seed, x = tf.constant([3, 4]), tf.ones((64, 64))
    masks = [dropout(x, 0.3, seed, site).numpy() > 0 for site in range(8)]
    for first in range(8):
        assert masks[first].mean() == pytest.approx(0.7, abs=0.03)
        for second in range(first):
            # as chance would have it
            assert (masks[first] == masks[second]).mean() == pytest.approx(
                0.7**2 + 0.3**2, abs=0.03
            )
