"""Several workers for real: processes on this machine, with the environment that Vertex AI sets."""

import json
import os
import shutil
import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf

from tests import toy

STEPS = 60
ROUNDING = 1e-16  # a second moment: others here are 1e-11 and more


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Dropout on; a short last batch in every epoch."""
    folder = tmp_path_factory.mktemp("workers")
    weights = toy.write_checkpoint(folder / "weights", layers=1, dropout=0.1)
    return toy.write_config(
        folder,
        weights,
        toy.write_sentences(folder / "train.jsonl", 90),
        data={"validation": 0.2},
        distribution={"strategy": "auto"},
        export={"format": "savedmodel", "check_examples": 4},
        train={
            "steps": STEPS,
            "checkpoint_every_steps": 7,
            "log_every_steps": 3,
            "evaluate_every_steps": 25,
            "keep_checkpoints": 3,
        },
    )


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("localhost", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def environments(workers, name):
    """TF_CONFIG, or Vertex AI's CLUSTER_SPEC, of each worker; the chief first."""
    chief, *others = [f"localhost:{port}" for port in free_ports(workers)]
    pools = ("chief", "worker") if name == "TF_CONFIG" else ("workerpool0", "workerpool1")
    tasks = [
        {"type": pools[0], "index": 0},
        *({"type": pools[1], "index": index} for index in range(len(others))),
    ]
    return [
        {
            name: json.dumps(
                {
                    "cluster": {pools[0]: [chief], pools[1]: others},
                    "task": task,
                    "environment": "cloud",
                }
            )
        }
        for task in tasks
    ]


def start(launcher, config, job, *flags, workers=2, variable="TF_CONFIG"):
    return [
        launcher.start(
            f"--config={config}",
            f"--job_dir={job}",
            *flags,
            log=log_of(job, index),
            environment=environment,
        )
        for index, environment in enumerate(environments(workers, variable))
    ]


def log_of(job, worker):
    return job.with_name(f"{job.name}.{worker}.log")


def logs(job, workers=2):
    return "\n".join(log_of(job, index).read_text() for index in range(workers))


def finish(launcher, job, processes):
    codes = [launcher.wait(process) for process in processes]
    assert codes == [0] * len(processes), logs(job, len(processes))


def weights_of(job):
    prefix = str(job / "checkpoints" / f"step_{STEPS:08d}" / "weights")
    return {
        name: tf.train.load_variable(prefix, name) for name, _ in tf.train.list_variables(prefix)
    }


def metrics_of(job):
    return toy.read_jsonl(job / "metrics.jsonl")


@pytest.fixture(scope="module")
def whole(launcher, config):
    """Two workers, undisturbed."""
    job = config.parent / "whole"
    finish(launcher, job, start(launcher, config, job))
    return job


def assert_near(job, expected):
    for line, wanted in zip(metrics_of(job), metrics_of(expected), strict=True):
        assert line.pop("split") == wanted.pop("split")
        assert line == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    found, weights = weights_of(job), weights_of(expected)
    for name, value in weights.items():
        has_gradient = ~is_rounding(name, weights)
        np.testing.assert_allclose(
            found[name][has_gradient], value[has_gradient], rtol=1e-4, atol=1e-5, err_msg=name
        )


def is_rounding(name, weights):
    """Where a weight, or its moment, has no gradient but what rounding leaves.

    A softmax ignores a shift: so do a key's bias, and what shifts the scores of all tokens of a
    question alike. AdamW makes whole steps of it, which differ.
    """
    own = name.removeprefix("model/").removeprefix("optimizer/")
    own = own.removesuffix("/first_moment").removesuffix("/second_moment")
    moment = weights.get(f"optimizer/{own}/second_moment", np.ones_like(weights[name]))
    return (moment > 0) & (moment < ROUNDING)


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_workers_train_like_micro_batches_of_one_process(
    launcher, config, whole, tmp_path, workers
):
    """Dropout masks included: they belong to the shard."""
    alone = tmp_path / "alone"
    process = launcher.start(
        f"--config={config}",
        f"--job_dir={alone}",
        f"--train.micro_batches={workers}",
        log=log_of(alone, 0),
    )
    assert launcher.wait(process) == 0, logs(alone, 1)
    job = whole
    if workers == 3:
        job = tmp_path / "job"
        finish(launcher, job, start(launcher, config, job, workers=3, variable="CLUSTER_SPEC"))
        assert (
            "3 replicas on 3 workers, this one is number 2 (CLUSTER_SPEC names several workers)"
            in log_of(job, 2).read_text()
        )
    assert_near(job, alone)
    results = [json.loads((folder / "results.json").read_text()) for folder in (job, alone)]
    assert results[0]["validation"] == pytest.approx(results[1]["validation"], rel=1e-3)
    assert (job / "model" / "saved_model.pb").exists()


def test_only_the_chief_speaks_and_writes(whole):
    chief, worker = (log_of(whole, index).read_text() for index in range(2))
    assert "keeping the checkpoint of step 60" in chief and "Timeline" in chief
    assert (
        "this one is number 1" in worker and "validation" not in worker and "Timeline" not in worker
    )
    assert (
        sum(len(list((whole / "logs" / split).iterdir())) for split in ("train", "validation")) == 2
    )


def test_what_workers_trained_they_evaluate_and_export(launcher, whole, tmp_path):
    job = tmp_path / "job"
    shutil.copytree(whole, job)
    before = json.loads((job / "results.json").read_text())
    for mode in ("evaluate", "export"):
        shutil.rmtree(job / "model", ignore_errors=True)
        processes = [
            launcher.start(
                f"--job_dir={job}",
                f"--mode={mode}",
                log=log_of(job, index),
                environment=environment,
            )
            for index, environment in enumerate(environments(2, "TF_CONFIG"))
        ]
        finish(launcher, job, processes)
        assert ("validation: " if mode == "evaluate" else "model: ") in log_of(job, 0).read_text()
        assert not any(word in log_of(job, 1).read_text() for word in ("validation: ", "model: "))
    assert json.loads((job / "results.json").read_text())["validation"] == before["validation"]
    assert (job / "model" / "saved_model.pb").exists()
    prediction = launcher.start(
        f"--job_dir={job}",
        "--mode=predict",
        "--input=-",
        log=log_of(job, 0),
        environment=environments(2, "TF_CONFIG")[0],
    )
    assert launcher.wait(prediction) == 2
    assert (
        "error: --mode=predict: runs in one process, and the environment names 2 workers. Start it"
        " without TF_CONFIG" in log_of(job, 0).read_text()
    )


@pytest.mark.slow
def test_workers_pick_the_checkpoint_by_what_they_generate(launcher, tmp_path):
    config = toy.write_head_config(
        tmp_path,
        "target",
        120,
        distribution={"strategy": "auto"},
        train={
            "steps": STEPS,
            "evaluate_every_steps": 20,
            "best_metric": "rouge1",
            "learning_rate": 0.01,
        },
    )
    job, alone = tmp_path / "job", tmp_path / "alone"
    finish(launcher, job, start(launcher, config, job))
    process = launcher.start(
        f"--config={config}", f"--job_dir={alone}", "--train.micro_batches=2", log=log_of(alone, 0)
    )
    assert launcher.wait(process) == 0, logs(alone, 1)
    assert_near(job, alone)
    scores = {
        line["step"]: line["rouge1"] for line in metrics_of(job) if line["split"] == "validation"
    }
    assert len(scores) == 3 and json.loads((job / "results.json").read_text())["step"] == max(
        scores, key=lambda step: (scores[step], -step)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tags", "questions", "masked", "prompt", "questions, decoder"])
def test_workers_train_every_head_like_micro_batches_of_one_process(launcher, tmp_path, kind):
    config = toy.write_head_config(
        tmp_path,
        kind,
        90,
        dropout=0.1,
        distribution={"strategy": "auto"},
        train={"steps": STEPS, "evaluate_every_steps": 20},
    )
    job, alone = tmp_path / "job", tmp_path / "alone"
    finish(launcher, job, start(launcher, config, job))
    process = launcher.start(
        f"--config={config}", f"--job_dir={alone}", "--train.micro_batches=2", log=log_of(alone, 0)
    )
    assert launcher.wait(process) == 0, logs(alone, 1)
    assert_near(job, alone)
    results = [
        json.loads((folder / "results.json").read_text())["validation"] for folder in (job, alone)
    ]
    assert results[0] == pytest.approx(results[1], rel=1e-3)


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_worker_stops_the_others_and_the_job_goes_on(
    launcher, config, whole, tmp_path, victim
):
    job = tmp_path / "job"
    processes = start(launcher, config, job)
    for _ in range(6000):
        if (
            (job / "metrics.jsonl").exists()
            and len(metrics := (job / "metrics.jsonl").read_bytes().splitlines()) > 6
            and metrics
        ):
            break
        time.sleep(0.01)
    os.kill(processes[victim], signal.SIGKILL)
    killed = time.monotonic()
    assert launcher.wait(processes[victim]) == -signal.SIGKILL
    assert launcher.wait(processes[1 - victim]) == 143
    assert time.monotonic() - killed < 60
    said = log_of(job, 1 - victim).read_text()
    assert (
        "stopped: another worker of the 2 is gone or cannot be reached" in said
        and "Traceback" not in said
    )
    assert "Start the job again on all workers: it goes on from the last checkpoint." in said
    finish(launcher, job, start(launcher, config, job))
    assert "resuming after step" in log_of(job, 0).read_text()
    assert (job / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    found = weights_of(job)
    for name, value in weights_of(whole).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_signal_to_one_worker_stops_all_after_the_same_step(launcher, config, whole, tmp_path):
    job = tmp_path / "job"
    processes = start(launcher, config, job)
    while (
        not (job / "metrics.jsonl").exists()
        or len((job / "metrics.jsonl").read_bytes().splitlines()) < 6
    ):
        time.sleep(0.01)
    os.kill(processes[1], signal.SIGTERM)
    assert [launcher.wait(process) for process in processes] == [143, 143], logs(job)
    last = max(
        int(path.parent.name.split("_")[1]) for path in job.glob("checkpoints/step_*/state.json")
    )
    for worker in range(2):
        assert (
            f"stopped by a signal after step {last}; the checkpoint is written"
            in log_of(job, worker).read_text()
        )
    # On one process, with as many shards: the same run, to rounding.
    process = launcher.start(
        f"--config={config}", f"--job_dir={job}", "--train.micro_batches=2", log=log_of(job, 0)
    )
    assert (
        launcher.wait(process) == 0 and f"resuming after step {last}" in log_of(job, 0).read_text()
    )
    assert_near(job, whole)


def other_data(config, folder):
    return {
        "config": toy.write_config(
            folder,
            config.parent / "weights",
            toy.write_sentences(folder / "train.jsonl", 91),
            distribution={"strategy": "auto"},
        )
    }


@pytest.mark.parametrize(
    ("different", "said"),
    [
        (
            lambda config, folder: {"job": folder / "elsewhere"},
            "the workers disagree on the job_dir",
        ),
        (
            lambda config, folder: {"flag": "--train.learning_rate=1e-5"},
            "the workers disagree on the config",
        ),
        (other_data, "the workers disagree on the "),
    ],
)
def test_workers_that_would_run_apart_are_refused(launcher, config, tmp_path, different, said):
    environment = environments(2, "TF_CONFIG")
    job = tmp_path / "job"
    second = {
        "config": config,
        "job": job,
        "flag": "--train.learning_rate=3e-3",
        **different(config, tmp_path),
    }
    processes = [
        launcher.start(
            f"--config={config}",
            f"--job_dir={job}",
            "--train.learning_rate=3e-3",
            log=log_of(job, 0),
            environment=environment[0],
        ),
        launcher.start(
            f"--config={second['config']}",
            f"--job_dir={second['job']}",
            second["flag"],
            log=log_of(job, 1),
            environment=environment[1],
        ),
    ]
    codes = [launcher.wait(process) for process in processes]
    # who sees the other leave before it has spoken, says that
    assert 2 in codes and set(codes) <= {2, 143}, logs(job)
    assert f"error: {said}" in logs(job) and "Traceback" not in logs(job)
    assert not list(job.glob("checkpoints/*"))
