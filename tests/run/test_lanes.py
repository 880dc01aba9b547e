"""Lanes: how many, the threads that go with them, and that they train as one does."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import toy
from tests.stepping import Setup, make_store
from trainer.run import lanes
from trainer.settings.schema import Config

BASE = {
    "head": {"name": "classification"},
    "backbone": {"weights": "w"},
    "data": {"source": "jsonl", "train": "t", "text": "text", "label": "label"},
}
# what a run finds as it starts; nothing of TensorFlow has been asked for
SCRIPT = """
import json, sys
import tensorflow as tf
from trainer.run import lanes
from trainer.settings.schema import Config
lanes.usable_cores = lambda: int(sys.argv[2])
found = lanes.share_cores(Config(**json.loads(sys.argv[1])))
tf.constant(1)
threads = tf.config.threading
print(found, threads.get_inter_op_parallelism_threads(), threads.get_intra_op_parallelism_threads())
print(lanes.share_cores(Config(**json.loads(sys.argv[1]))))
"""


def config_of(train=None, distribution=None):
    return {**BASE, "train": train or {}, "distribution": distribution or {}}


@pytest.mark.heavy
@pytest.mark.parametrize(
    "train, cores, expected",
    [({}, 2, "2 2 1\n2"), ({"lanes": 2}, 6, "2 2 3\n2"), ({"lanes": 3}, 2, "3 3 1\n3")],
)
def test_the_cores_are_dealt_to_the_lanes(train, cores, expected):
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(config_of(train)), str(cores)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ).stdout
    assert output.strip() == expected


@pytest.mark.parametrize(
    "train, distribution, cores, variables, expected",
    [
        ({}, {}, 2, {}, 2),
        ({}, {}, 1, {}, 1),
        ({}, {}, 8, {}, 1),
        ({"lanes": 4}, {}, 8, {}, 4),
        ({"lanes": 1}, {}, 2, {}, 1),
        ({"xla": "on"}, {}, 2, {}, 1),
        ({"xla": "on", "lanes": 2}, {}, 2, {}, 1),
        ({"global_batch_size": 1}, {}, 2, {}, 1),
        ({"global_batch_size": 8, "micro_batches": 8}, {}, 2, {}, 1),
        ({}, {"strategy": "mirrored", "replicas": 2}, 2, {}, 1),
        ({}, {"replicas": 2}, 2, {}, 1),
        ({}, {}, 2, {"TF_NUM_INTRAOP_THREADS": "2"}, 1),
    ],
)
def test_lanes_are_taken_where_they_were_measured(
    train, distribution, cores, variables, expected, monkeypatch
):
    monkeypatch.setattr(lanes, "usable_cores", lambda: cores)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert lanes.choose_lanes(Config(**config_of(train, distribution))) == expected


@pytest.mark.heavy
def test_lanes_train_and_evaluate_as_one_does(tmp_path):
    weights = toy.write_checkpoint(tmp_path / "weights", layers=2, hidden=16)
    store = make_store(tmp_path / "store", "single_label", 11)
    outcomes = []
    for count in (1, 3):
        setup = Setup(weights, lanes=count, train={"optimizer": "adamw", "learning_rate": 1e-3})
        rows, after = setup.train(store, 4, batch_size=4)
        outcomes.append((rows[:, :3], after, setup.logits(store)))
    (rows, after, logits), (found_rows, found_after, found_logits) = outcomes
    np.testing.assert_allclose(found_rows, rows, rtol=2e-5)
    for name, weight in after.items():
        np.testing.assert_allclose(found_after[name], weight, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found_logits, logits, rtol=0, atol=2e-5)
