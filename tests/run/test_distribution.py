"""Which strategy is chosen, and why; what is said where it cannot be made."""

import contextlib
import itertools
import json

import pytest
import tensorflow as tf

from tests import toy
from trainer.errors import ConfigError
from trainer.run import cluster, distribution, workers
from trainer.run.cluster import read_cluster
from trainer.run.distribution import (
    STRATEGIES,
    choose,
    make_strategy,
    set_precision,
)
from trainer.run.workers import host, hosts, local_replicas
from trainer.settings.schema import DistributionSettings

TWO = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}
VERTEX = {
    "cluster": {"workerpool0": ["a:2222"], "workerpool1": ["b:2222", "c:2222"]},
    "task": {"type": "workerpool1", "index": 1, "trial": "7"},
    "environment": "cloud",
    "job": "{}",
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*cluster.TPU_VARIABLES, "TF_CONFIG", "CLUSTER_SPEC"):
        monkeypatch.delenv(name, raising=False)


def named(cluster, index, kind="worker"):
    return json.dumps(
        {
            "cluster": cluster,
            **({"task": {"type": kind, "index": index}} if index is not None else {}),
        }
    )


def gpus(monkeypatch, count):
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: ["device"] * count if kind == "GPU" else [],
    )


@pytest.mark.parametrize(
    ("environment", "count", "expected"),
    [
        ({}, 0, ("one_device", "found no GPU")),
        ({}, 1, ("one_device", "found 1 GPU")),
        ({}, 4, ("mirrored", "found 4 GPUs")),
        ({"TPU_NAME": "t"}, 0, ("tpu", "TPU_NAME is set")),
        ({"TPU_CONFIG": "{}"}, 2, ("tpu", "TPU_CONFIG is set")),
        ({"TPU_WORKER_HOSTNAMES": "x"}, 0, ("tpu", "TPU_WORKER_HOSTNAMES is set")),
        ({"TPU_NAME": "t", "TF_CONFIG": json.dumps(TWO)}, 0, ("tpu", "TPU_NAME is set")),
        ({"TF_CONFIG": json.dumps(TWO)}, 4, ("multi_worker", "TF_CONFIG names several workers")),
        (
            {"CLUSTER_SPEC": json.dumps(VERTEX)},
            0,
            ("multi_worker", "CLUSTER_SPEC names several workers"),
        ),
        (
            {
                "TF_CONFIG": json.dumps(
                    {"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}
                )
            },
            0,
            ("one_device", "found no GPU"),
        ),
        ({"TF_CONFIG": "{}"}, 2, ("mirrored", "found 2 GPUs")),
    ],
)
def test_the_environment_decides(monkeypatch, environment, count, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    gpus(monkeypatch, count)
    assert choose(DistributionSettings()) == expected


def test_what_the_config_names_comes_first(monkeypatch):
    gpus(monkeypatch, 0)
    assert choose(DistributionSettings(tpu="my-tpu")) == ("tpu", "distribution.tpu is set")
    assert choose(DistributionSettings(replicas=2)) == (
        "mirrored",
        "found no GPU, distribution.replicas is 2",
    )


def test_every_strategy_of_the_schema_has_its_row():
    assert {"auto", *STRATEGIES} == set(
        DistributionSettings.model_fields["strategy"].annotation.__args__
    )


def test_vertex_pools_are_a_chief_and_workers(monkeypatch):
    monkeypatch.setenv("CLUSTER_SPEC", json.dumps(VERTEX))
    assert read_cluster() == {
        "cluster": {"chief": ["a:2222"], "worker": ["b:2222", "c:2222"]},
        "task": {"type": "worker", "index": 1},
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "TF_CONFIG: cannot be read: not JSON (Expecting property name"),
        ("null", "TF_CONFIG: cannot be read: it is no mapping with a cluster."),
        ("[" * 100_000, "TF_CONFIG: cannot be read: nested too deep."),
        (
            named({"worker": ["a:1"]}, None),
            (
                "cannot be read: task is missing, which says which of the processes this one is."
                " Expected {"
            ),
        ),
        (
            named({"worker": ["a:1"]}, 3),
            (
                "TF_CONFIG: cannot be read: task.index is 3, and the cluster has 1 of worker,"
                " counted from 0."
            ),
        ),
        (named({"worker": ["a:1"]}, -1), "task.index is -1, expected a number from 0 on."),
        (named({"worker": ["a:1"]}, True), "task.index is True"),
        (
            named({"worker": ["a:1"]}, 0, "chief"),
            "task.type is 'chief', and the cluster has worker.",
        ),
        (
            named({"worker": ["a:1"]}, 0, ["worker"]),
            "task.type is ['worker'], expected chief or worker.",
        ),
        (named({"worker": "a:1"}, 0), "cluster.worker is 'a:1', expected a list of host:port."),
        (named({"worker": ["a", "b:1"]}, 0), "cluster.worker has 'a', expected host:port."),
        (named({"worker": [1]}, 0), "cluster.worker is [1]"),
        (
            named({"chief": ["a:1"], "worker": ["a:1"]}, 0),
            "cluster.worker has 'a:1', which is named twice",
        ),
        (
            named({"chief": ["a:1", "b:1"], "worker": ["c:1"]}, 0),
            "cluster.chief has 2 addresses, and a job has one chief.",
        ),
        (
            named({"worker": ["a:1"], "ps": ["b:1"]}, 0),
            "TF_CONFIG: ps: this trainer runs synchronously",
        ),
        (
            named({"chief": ["a:1"]}, 0, "evaluator"),
            (
                "TF_CONFIG: it has an evaluator, and this trainer needs none: the chief and the"
                " workers evaluate"
            ),
        ),
        (
            named({"workerpool0": ["a:1"], "workerpool3": ["b:1"]}, 0, "workerpool0"),
            "Start the job without the evaluator",
        ),
        (named({"\x1b[2J": ["b:1"]}, 0), r"\x1b[2J: this trainer runs synchronously"),
    ],
    ids=itertools.count(),
)
def test_a_bad_cluster_is_refused(monkeypatch, tmp_path, toy_weights, capsys, value, said):
    monkeypatch.setenv("TF_CONFIG", value)
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 20),
        distribution={"strategy": "auto"},
    )
    assert toy.run_main(config, tmp_path / "job") == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"strategy": "multi_worker"},
            "multi_worker needs TF_CONFIG or CLUSTER_SPEC in the environment",
        ),
        (
            {"strategy": "mirrored", "replicas": 9},
            "distribution.replicas: expected at most 4, the devices of this host. Received 9.",
        ),
        (
            {"strategy": "mirrored", "collectives": "ring"},
            (
                "distribution.collectives: expected one of auto, nccl, hierarchical, reduce_to_one"
                " here."
            ),
        ),
        (
            {"strategy": "tpu", "collectives": "nccl"},
            "distribution.collectives: expected one of auto here. Received 'nccl'.",
        ),
        (
            {"strategy": "tpu", "tpu": "grpc://localhost:1", "tpu_wait_minutes": 0},
            "tpu: no TPU answers at 'grpc://localhost:1'",
        ),
    ],
)
def test_what_is_not_there_is_said(monkeypatch, settings, said):
    tf.config.list_logical_devices()  # TensorFlow has started: its CPU cannot be split anew
    connect = tf.errors.UnavailableError(None, None, "failed to connect to all addresses")
    monkeypatch.setattr(
        tf.config,
        "experimental_connect_to_cluster",
        lambda resolver: (_ for _ in ()).throw(connect),
    )
    with pytest.raises(ConfigError) as refused:
        make_strategy(DistributionSettings(**settings))
    assert said in str(refused.value)


@pytest.mark.parametrize("strategy", ["mirrored", "one_device"])
def test_one_process_alone_does_not_run_beside_others_of_its_cluster(monkeypatch, strategy):
    monkeypatch.setenv("TF_CONFIG", json.dumps(TWO))
    with pytest.raises(
        ConfigError, match=f"{strategy} runs in one process, and the environment names 2 workers"
    ):
        make_strategy(DistributionSettings(strategy=strategy))


def test_a_plan_for_a_tpu_needs_none(tmp_path, toy_weights):
    config = toy.write_config(
        tmp_path,
        toy_weights,
        toy.write_sentences(tmp_path / "train.jsonl", 40),
        distribution={"strategy": "tpu"},
    )
    assert toy.run_main(config, tmp_path / "job", "--mode=plan", "--plan.replicas=8") == 0
    assert json.loads((tmp_path / "job" / "plan.json").read_text())["replicas"] == 8


@pytest.mark.parametrize(
    ("message", "code"),
    [("Collective ops is aborted by: Socket closed", 143), ("cuBLAS failed", None)],
)
def test_only_a_lost_worker_is_one(monkeypatch, capsys, message, code):
    monkeypatch.setenv("TF_CONFIG", json.dumps(TWO))
    left = []
    monkeypatch.setattr(workers.os, "_exit", left.append)
    try:
        with workers.stop_when_a_worker_is_lost():
            raise tf.errors.InternalError(None, None, message)
    except tf.errors.InternalError:
        left.append(None)
    assert left == [code] and ("another worker of the 2 is gone" in capsys.readouterr().err) == (
        code == 143
    )


@pytest.mark.parametrize(
    ("kind", "precision", "capability", "said"),
    [
        (
            "GPU",
            "mixed_bfloat16",
            (7, 5),
            r"train.precision: Tesla T4 has no bfloat16 \(compute capability 7.5, from 8.0 on\)."
            r" Received 'mixed_bfloat16'. "
            "Set --train.precision=mixed_float16",
        ),
        ("GPU", "mixed_bfloat16", (8, 9), None),
        ("GPU", "mixed_float16", (7, 5), None),
        ("GPU", "float32", (6, 0), None),
        (
            "TPU",
            "mixed_float16",
            None,
            (
                "train.precision: a TPU computes in bfloat16. Received 'mixed_float16'. Set"
                " --train.precision=mixed_bfloat16"
            ),
        ),
        ("TPU", "mixed_bfloat16", None, None),
    ],
)
def test_a_precision_that_the_device_has_not_is_refused(
    monkeypatch, kind, precision, capability, said
):
    devices = [tf.config.PhysicalDevice(name=f"/physical_device:{kind}:0", device_type=kind)]
    for name in ("list_physical_devices", "list_logical_devices"):
        monkeypatch.setattr(tf.config, name, lambda asked: devices if asked == kind else [])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda _: {"device_name": "Tesla T4", "compute_capability": capability},
    )
    with pytest.raises(ConfigError, match=said) if said else contextlib.nullcontext():
        set_precision(precision)


@pytest.mark.parametrize(("precision", "rounded"), [("float32", False), ("mixed_bfloat16", True)])
def test_float32_is_not_rounded_to_ten_bits(precision, rounded):
    set_precision(precision)
    assert tf.config.experimental.tensor_float_32_execution_enabled() == rounded


def test_a_busy_tpu_is_waited_for(monkeypatch):
    tries, slept = [], []

    class Resolver:
        def __init__(self, tpu, **_):
            tries.append(tpu)
            if len(tries) < 3:
                raise tf.errors.UnavailableError(None, None, "the TPU is in use")
            raise ValueError("gone")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    monkeypatch.setattr(distribution.time, "sleep", slept.append)
    with pytest.raises(ConfigError, match=r"no TPU answers at 'local' \(gone\)\. Run on a TPU VM"):
        make_strategy(DistributionSettings(strategy="tpu"))
    assert tries == ["local"] * 3 and slept == [distribution.TPU_RETRY_SECONDS] * 2


def test_one_host_feeds_all_its_replicas():
    strategy, line = make_strategy(DistributionSettings(strategy="mirrored", replicas=3))
    assert line == "distribution: mirrored, 3 replicas (as the config says)"
    assert (hosts(strategy), host(strategy), list(local_replicas(strategy))) == (1, 0, [0, 1, 2])


def test_the_tpu_node_is_the_one_that_vertex_ai_names(monkeypatch):
    asked = []

    def resolver(**arguments):
        asked.append(arguments)
        raise ValueError("gone")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    monkeypatch.setenv(
        "TPU_CONFIG",
        json.dumps({"project": "p", "zone": "us-central1-b", "tpu_node_name": "node-3"}),
    )
    settings = DistributionSettings(strategy="tpu", tpu_wait_minutes=0)
    for given, name in (
        (settings, "node-3"),
        (settings.model_copy(update={"tpu": "local"}), "local"),
    ):
        with pytest.raises(ConfigError, match=f"no TPU answers at '{name}'"):
            make_strategy(given)
    assert asked == [
        {"tpu": "node-3", "zone": "us-central1-b", "project": "p"},
        {"tpu": "local", "zone": None, "project": None},
    ]
    monkeypatch.setenv("TPU_CONFIG", "node-3")
    with pytest.raises(
        ConfigError, match=r"TPU_CONFIG: cannot be read. Expected .* Received 'node-3'"
    ):
        make_strategy(settings)
