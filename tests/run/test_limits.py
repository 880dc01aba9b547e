"""What a run may ask for, by its data and by this machine's memory."""

import json
import types

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from trainer.data.batching import TrainingPlan, lay_out
from trainer.data.example_rows import StoredRows
from trainer.errors import ConfigError
from trainer.machine import hardware as machine
from trainer.planning import memory
from trainer.run import limits
from trainer.run.limits import exhausted_memory_is_told, require_memory, require_sizes
from trainer.run.split_results import EvaluationPlan
from trainer.run.step_layouts import total_steps
from trainer.settings.schema import TrainSettings

ESTIMATE = {
    "weights_mb": 100,
    "gradients_mb": 100,
    "optimizer_mb": 200,
    "activations_mb": 1600,
    "total_mb": 2000,
    "evaluation_mb": 300,
    "machine_mb": 4000,
}


@pytest.mark.parametrize(
    ("batch", "micro_batches", "replicas", "expected"),
    [
        (10**9, 1, 1, "train.global_batch_size: expected at most 240, the examples of train"),
        (24_001, 1, 1, "Received 24,001."),
    ],
)
def test_a_step_that_does_not_go_with_the_data(batch, micro_batches, replicas, expected):
    settings = TrainSettings(global_batch_size=batch, micro_batches=micro_batches)
    with pytest.raises(ConfigError) as refused:
        require_sizes(settings, 240, replicas)
    assert expected in str(refused.value)


def test_a_batch_over_the_data_is_said_and_a_usual_one_is_not():
    (warning,) = require_sizes(TrainSettings(global_batch_size=1024), 5, 1)
    assert warning.startswith("train.global_batch_size is 1,024, and train has 5 examples:")
    assert require_sizes(TrainSettings(), 240, 8) == []
    (warning,) = require_sizes(TrainSettings(global_batch_size=8, micro_batches=4), 240, 4)
    assert "a step has 16 parts (4 replicas x 4 micro-batches): some have no example" in warning
    assert len(require_sizes(TrainSettings(global_batch_size=400_000), 5, 1, of_a_sample=True)) == 1


def test_steps_that_cannot_be_counted():
    with pytest.raises(
        ConfigError, match=r"train.epochs: expected at most 2,147,483,647 optimizer"
    ):
        total_steps(TrainSettings(epochs=1e6, global_batch_size=1), TrainingPlan(10_000, 1, 0))


@pytest.mark.parametrize(
    ("changed", "replicas", "said"),
    [
        ({}, 1, []),
        ({}, 3, ["needs about 6.0 GB by the plan's estimate, and this machine has 4.0 GB"]),
        ({"machine_mb": None, "activations_mb": 10**9}, 1, []),
        ({"evaluation_mb": None}, 1, []),
    ],
)
def test_memory_that_may_be_short_is_said(changed, replicas, said):
    warnings = require_memory(types.SimpleNamespace(**{**ESTIMATE, **changed}), replicas)
    assert len(warnings) == len(said)
    assert all(part in warning for part, warning in zip(said, warnings, strict=True))


@pytest.mark.parametrize(
    ("changed", "replicas", "said"),
    [
        (
            {"activations_mb": 9000},
            1,
            "a training step needs at least 4.6 GB, and this machine has",
        ),
        ({}, 5, "4.5 GB, and this machine has 4.0 GB (activations 1.6 GB a replica). Raise"),
        ({"evaluation_mb": 5000}, 1, "a batch of an evaluation needs at least 5.0 GB, and this"),
    ],
)
def test_what_cannot_fit_is_refused(changed, replicas, said):
    with pytest.raises(ConfigError) as refused:
        require_memory(types.SimpleNamespace(**{**ESTIMATE, **changed}), replicas)
    assert said in str(refused.value)


def test_a_containers_limit_is_the_machines_memory(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("2000000000\n")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "memory.max",))
    assert limits.machine_memory_mb() == 2000


def test_a_batch_size_over_the_split_costs_nothing():
    store = type("Store", (), {"lengths": np.full(10, 8)})
    plan = EvaluationPlan(
        examples=StoredRows(),
        batching="fixed",
        seq_len=8,
        batch_size=10**9,
        shards=2,
        static_shapes=True,
    )
    (layout,) = plan.layouts(store, [np.arange(10)])
    assert layout.index.shape == (2, 5) and layout.rows == 5


def test_the_estimate_of_an_evaluation_grows_with_its_batch(toy_weights):
    from trainer.backbones.huggingface import read_config

    config = read_config(toy_weights)
    small, large = (
        lay_out(np.arange(n), np.full(n, 8), batching="fixed", seq_len=64, capacity=n)
        for n in (1000, 4000)
    )
    assert memory.evaluation_mb(config, large) == pytest.approx(
        4 * memory.evaluation_mb(config, small), abs=4
    )


def test_the_plan_has_the_machines_memory_beside_its_estimate(tmp_path, capsys, monkeypatch):
    config = toy.write_config(
        tmp_path,
        toy.write_checkpoint(tmp_path / "weights", layers=2),
        toy.write_sentences(tmp_path / "train.jsonl", 40),
        data={"validation": 0.2},
    )
    assert (
        toy.run_main(config, tmp_path / "job", "--mode=plan", "--train.global_batch_size=100") == 0
    )
    estimate = json.loads((tmp_path / "job" / "plan.json").read_text())["memory"]
    said = " ".join(capsys.readouterr().err.split())  # a table's cells are wrapped
    assert f"memory (this machine) {estimate['machine_mb']:,} MB" in said
    assert "train.global_batch_size is 100, and train has" in said

    monkeypatch.setattr(limits, "machine_memory_mb", lambda: 0)
    assert toy.run_main(config, tmp_path / "other", "--export.format=none") == 2
    assert (
        "error: a training step needs at least 0.0 GB, and this machine has 0.0 GB"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.glob("other/checkpoints/*"))


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            "--train.global_batch_size=1000000000000",
            "expected at most 1,000,000,000. Received 1000000000000",
        ),
        (
            "--train.micro_batches=1000",
            "train.micro_batches: expected at most 16, the examples of a step",
        ),
        ("--train.epochs=1e300", "train.epochs: expected at most 1e+06. Received 1e+300"),
        ("--train.steps=1000000000000000000", "train.steps: expected at most 1,000,000,000."),
        ("--data.seq_len=1000000000", "data.seq_len: expected at most 1,048,576."),
        ("--train.evaluation_batch_size=1000000000000", "expected at most 1,000,000,000."),
        ("--distribution.replicas=1000000", "distribution.replicas: expected at most 4,096."),
        (
            "--train.keep_checkpoints=" + "9" * 300,
            "train.keep_checkpoints: expected at most 1,000,000,000.",
        ),
        (
            "--head.class_weights={pos: 1e300, neg: 1}",
            "head.class_weights: expected at most 3.4e+38.",
        ),
    ],
)
def test_a_size_that_no_run_can_mean_is_refused_before_anything_is_read(
    tmp_path, capsys, flag, said
):
    config = toy.write_config(tmp_path, tmp_path / "nowhere", tmp_path / "nowhere.jsonl")
    arguments = [flag, "--train.steps=null"] if "epochs" in flag else [flag]
    assert toy.run_main(config, tmp_path / "job", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.28 TiB for an array with shape (1, 1000000000000)"),
        MemoryError(),
        tf.errors.ResourceExhaustedError(
            None, None, "OOM when allocating tensor with shape[9,9]\nmore"
        ),
    ],
)
def test_memory_that_cannot_be_had_is_one_message(error):
    with (
        pytest.raises(
            ConfigError, match=r"there is not enough memory: .*\. Raise --train.micro_batches"
        ),
        exhausted_memory_is_told(),
    ):
        raise error


def test_a_full_disk_is_no_lack_of_memory():
    full = tf.errors.ResourceExhaustedError(None, None, "weights.data; No space left on device")
    with pytest.raises(tf.errors.ResourceExhaustedError), exhausted_memory_is_told():
        raise full
