"""Where the steps run: the table of strategies, the automatic choice, and what hosts tell each
other.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from trainer.console import on_vertex
from trainer.errors import ConfigError, JobDirError, shown_value
from trainer.run.cluster import read_cluster, tpu_named, workers_named
from trainer.settings.schema import DistributionSettings

TPU_RETRY_SECONDS = 15.0
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)
SIGNS_OF_LOSS = re.compile(
    "collective|socket|connect|peer|worker|nccl|coordination|heartbeat", re.IGNORECASE
)
SHARED = "All workers must see the same job_dir: a shared folder or gs://."
MOST_VIRTUAL_CPUS = 64  # to try a replicated run; each has a copy of the weights
BFLOAT16_CAPABILITY = (8, 0)  # of an NVIDIA GPU: Ampere, Ada, Hopper and later
# Nothing is wrong with the job, it should be started again. Vertex AI does so after SIGABRT and
# takes other codes for the program's own failure.
LOST_EXIT_CODES = {False: 143, True: 134}  # by whether this is a job there


def _one_device(settings: DistributionSettings) -> tf.distribute.Strategy:
    accelerators = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy(accelerators[0].name if accelerators else "CPU:0")


def _mirrored(settings: DistributionSettings) -> tf.distribute.Strategy:
    gpus = bool(tf.config.list_physical_devices("GPU"))
    if not gpus and (settings.replicas or 1) > MOST_VIRTUAL_CPUS:
        raise ConfigError(
            f"distribution.replicas: expected at most {MOST_VIRTUAL_CPUS} virtual CPUs, as there is"
            f" no GPU. Received {settings.replicas:,}."
        )
    if not gpus:
        _split_cpu(settings.replicas or 1)
    devices = tf.config.list_logical_devices("GPU" if gpus else "CPU")
    _require(settings, len(devices))
    operations = {
        "nccl": tf.distribute.NcclAllReduce,
        "hierarchical": tf.distribute.HierarchicalCopyAllReduce,
        "reduce_to_one": tf.distribute.ReductionToOneDevice,
    }
    choice = _collectives(settings, operations) or operations["nccl" if gpus else "reduce_to_one"]
    return tf.distribute.MirroredStrategy(
        [device.name for device in devices[: settings.replicas]], cross_device_ops=choice()
    )


def _multi_worker(settings: DistributionSettings) -> tf.distribute.Strategy:
    cluster = read_cluster()
    if cluster is None:
        raise ConfigError(
            "distribution.strategy: multi_worker needs TF_CONFIG or CLUSTER_SPEC in the"
            " environment, which name the workers. Neither is set. Set one, or"
            " --distribution.strategy=auto."
        )
    gpus = tf.config.list_physical_devices("GPU")
    _require(settings, len(gpus) or 1)
    if settings.replicas and gpus:
        tf.config.set_visible_devices(gpus[: settings.replicas], "GPU")
    implementation = tf.distribute.experimental.CommunicationImplementation
    choice = _collectives(settings, {"nccl": implementation.NCCL, "ring": implementation.RING})
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=choice or (implementation.NCCL if gpus else implementation.RING)
    )
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    return tf.distribute.MultiWorkerMirroredStrategy(
        tf.distribute.cluster_resolver.TFConfigClusterResolver(), communication_options=options
    )


def _tpu(settings: DistributionSettings) -> tf.distribute.Strategy:
    _collectives(settings, {})
    node = {} if settings.tpu or os.environ.get("TPU_NAME") else _tpu_node()
    name = settings.tpu or os.environ.get("TPU_NAME") or node.get("tpu_node_name") or "local"
    deadline = time.monotonic() + 60 * settings.tpu_wait_minutes
    while True:
        try:
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
                tpu=name, zone=node.get("zone"), project=node.get("project")
            )
            if name != "local":
                tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
            return tf.distribute.TPUStrategy(resolver)
        except (tf.errors.OpError, ValueError, OSError, ImportError) as error:
            busy = isinstance(
                error,
                (
                    tf.errors.UnavailableError,
                    tf.errors.AbortedError,
                    tf.errors.ResourceExhaustedError,
                ),
            )
            if not busy or time.monotonic() > deadline:
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                stayed = (
                    f"It stayed busy for {settings.tpu_wait_minutes:g} minutes; raise"
                    " --distribution.tpu_wait_minutes. "
                    if busy
                    else ""
                )
                raise ConfigError(
                    f"distribution.strategy: tpu: no TPU answers at {shown_value(name)}"
                    f" ({first[:300]}). {stayed}Run on a TPU VM with tensorflow-tpu installed, name"
                    " the TPU with --distribution.tpu or TPU_NAME, or set"
                    " --distribution.strategy=auto."
                ) from None
            time.sleep(min(TPU_RETRY_SECONDS, max(0.0, deadline - time.monotonic())))


def _tpu_node() -> dict[str, str]:
    """The TPU node that Vertex AI names in TPU_CONFIG: project, zone, tpu_node_name.

    Raises ConfigError where it cannot be read.
    """
    text = os.environ.get("TPU_CONFIG") or "{}"
    try:
        return {key: str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, RecursionError):
        raise ConfigError(
            'TPU_CONFIG: cannot be read. Expected {"project": "…", "zone": "…", "tpu_node_name":'
            f' "…"}}. Received {shown_value(text, 200)}. On a TPU VM of its own:'
            " --distribution.tpu=local."
        ) from None


STRATEGIES: dict[str, Callable[[DistributionSettings], tf.distribute.Strategy]] = {
    "tpu": _tpu,
    "multi_worker": _multi_worker,
    "mirrored": _mirrored,
    "one_device": _one_device,
}


def make_strategy(settings: DistributionSettings) -> tuple[tf.distribute.Strategy, str]:
    """The strategy, and one line on what was chosen and why.

    Call it before TensorFlow's first operation.

    Raises:
        ConfigError: the devices, workers or TPU that it needs are not there.
    """
    name, reason = (
        choose(settings)
        if settings.strategy == "auto"
        else (settings.strategy, "as the config says")
    )
    if name in ("mirrored", "one_device") and workers_named() > 1:
        raise ConfigError(
            f"distribution.strategy: {name} runs in one process, and the environment names"
            f" {workers_named()} workers: each would take the job_dir for its own. Set"
            " --distribution.strategy=multi_worker or auto, or give the job one worker."
        )
    strategy = STRATEGIES[name](settings)
    replicas = strategy.num_replicas_in_sync
    workers = hosts(strategy)
    where = f" on {workers} workers, this one is number {host(strategy)}" if workers > 1 else ""
    return (
        strategy,
        f"distribution: {name}, {replicas} replica{'s' if replicas > 1 else ''}{where} ({reason})",
    )


def set_precision(precision: str) -> None:
    """Makes float32 be float32 on GPUs too; call it when the devices are set up.

    Raises ConfigError where they cannot compute in `precision`.
    """
    # TensorFlow's own choice keeps 10 of a product's 23 bits
    tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
    if precision == "mixed_float16" and tf.config.list_logical_devices("TPU"):
        raise ConfigError(
            "train.precision: a TPU computes in bfloat16. Received 'mixed_float16'. Set"
            " --train.precision=mixed_bfloat16."
        )
    for device in tf.config.list_physical_devices("GPU") if precision == "mixed_bfloat16" else ():
        facts = tf.config.experimental.get_device_details(device)
        if facts.get("compute_capability", BFLOAT16_CAPABILITY) < BFLOAT16_CAPABILITY:
            raise ConfigError(
                f"train.precision: {facts.get('device_name', device.name)} has no bfloat16 (compute"
                f" capability {'.'.join(map(str, facts['compute_capability']))}, from"
                f" {'.'.join(map(str, BFLOAT16_CAPABILITY))} on). Received 'mixed_bfloat16'. Set"
                " --train.precision=mixed_float16, which scales the loss."
            )


def choose(settings: DistributionSettings) -> tuple[str, str]:
    """The row of STRATEGIES for this environment, and why."""
    if reason := tpu_named(settings):
        return "tpu", reason
    if workers_named() > 1:
        return (
            "multi_worker",
            (
                f"{'TF_CONFIG' if os.environ.get('TF_CONFIG') else 'CLUSTER_SPEC'} names several"
                " workers"
            ),
        )
    gpus = len(tf.config.list_physical_devices("GPU"))
    found = f"found {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "found no GPU"
    if gpus > 1:
        return "mirrored", found
    if settings.replicas and settings.replicas > 1:
        return "mirrored", f"{found}, distribution.replicas is {settings.replicas}"
    return "one_device", found


def _split_cpu(replicas: int) -> None:
    """Makes so many virtual CPUs, to try a replicated run without a GPU."""
    try:
        if replicas > 1:
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0],
                [tf.config.LogicalDeviceConfiguration()] * replicas,
            )
    except RuntimeError:
        pass  # TensorFlow has started: what there is must do, and is counted next


def _require(settings: DistributionSettings, devices: int) -> None:
    if settings.replicas and settings.replicas > devices:
        raise ConfigError(
            f"distribution.replicas: expected at most {devices}, the devices of this host. Received"
            f" {settings.replicas}."
        )


def _collectives(settings: DistributionSettings, choices: Mapping[str, Any]) -> Any | None:
    if settings.collectives == "auto":
        return None
    if settings.collectives not in choices:
        raise ConfigError(
            f"distribution.collectives: expected one of {', '.join(['auto', *choices])} here."
            f" Received {settings.collectives!r}."
        )
    return choices[settings.collectives]


def on_tpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas are TPU cores; XLA then compiles the whole of `strategy.run`."""
    return isinstance(strategy, tf.distribute.TPUStrategy)


def hosts(strategy: tf.distribute.Strategy) -> int:
    """How many processes run this job in step. A TPU pod is driven by one."""
    return sum(map(len, _addresses(strategy).values())) or 1


def host(strategy: tf.distribute.Strategy) -> int:
    """Which of the hosts this is, from 0; the chief is 0."""
    if not (addresses := _addresses(strategy)):
        return 0
    resolver = strategy.cluster_resolver
    return resolver.task_id + (
        len(addresses.get("chief", [])) if resolver.task_type == "worker" else 0
    )


def _addresses(strategy: tf.distribute.Strategy) -> dict[str, list[str]]:
    return (
        strategy.cluster_resolver.cluster_spec().as_dict()
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        else {}
    )


def local_replicas(strategy: tf.distribute.Strategy) -> range:
    """The replicas that this host feeds, numbered over all hosts."""
    count = strategy.num_replicas_in_sync // hosts(strategy)
    return range(host(strategy) * count, (host(strategy) + 1) * count)


def require_agreement(strategy: tf.distribute.Strategy, what: str, value: str, remedy: str) -> None:
    """Waits for every host, and checks that all have the same `value`.

    Raises:
        JobDirError: they have not: what follows would be different runs on different hosts.
    """
    if hosts(strategy) == 1:
        return
    number = int.from_bytes(hashlib.blake2b(value.encode(), digest_size=6).digest(), "little")
    if len(set(_gather(strategy)(tf.constant([number], tf.int64)).numpy().tolist())) > 1:
        raise JobDirError(
            f"the workers disagree on {what}: this one, number {host(strategy)}, has {value}."
            f" {remedy}"
        )


@functools.cache
def _gather(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(
        lambda number: strategy.gather(strategy.run(lambda own: own, args=(number,)), axis=0),
        autograph=False,
    )


@contextmanager
def stop_when_a_worker_is_lost() -> Iterator[None]:
    """Where another worker of the job died, says so and exits so that the job is started again; it
    goes on.
    """
    try:
        yield
    except LOST as error:
        if workers_named() < 2 or not SIGNS_OF_LOSS.search(error.message or ""):
            raise
        first = (
            error.message.strip().splitlines()[0][:300] if error.message else type(error).__name__
        )
        sys.stderr.write(
            f"stopped: another worker of the {workers_named()} is gone or cannot be reached"
            f" ({first}). Start the job again on all workers: it goes on from the last"
            " checkpoint.\n"
        )
        sys.stderr.flush()
        # an orderly end would wait for the worker that is gone
        os._exit(LOST_EXIT_CODES[on_vertex.is_job()])
