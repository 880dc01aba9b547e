"""Where the steps run: the table of strategies, and the automatic choice among them."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable

import tensorflow as tf

from trainer.errors import ConfigError, shown_value
from trainer.run.cluster import read_cluster, tpu_named, workers_named
from trainer.run.workers import host, hosts
from trainer.settings.schema import DistributionSettings

TPU_RETRY_SECONDS = 15.0
MOST_VIRTUAL_CPUS = 64  # to try a replicated run; each has a copy of the weights
TPU_BUSY = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.ResourceExhaustedError,
)
BFLOAT16_CAPABILITY = (8, 0)  # of an NVIDIA GPU: Ampere, Ada, Hopper and later


def _one_device(settings: DistributionSettings) -> tf.distribute.Strategy:
    accelerators = tf.config.list_logical_devices("GPU")
    device = accelerators[0].name if accelerators else "CPU:0"
    return tf.distribute.OneDeviceStrategy(device)


def _mirrored(settings: DistributionSettings) -> tf.distribute.Strategy:
    has_gpus = bool(tf.config.list_physical_devices("GPU"))
    if not has_gpus:
        _split_cpu(settings.replicas or 1)
    devices = tf.config.list_logical_devices("GPU" if has_gpus else "CPU")
    _require_devices(settings, len(devices))
    operations = {
        "nccl": tf.distribute.NcclAllReduce,
        "hierarchical": tf.distribute.HierarchicalCopyAllReduce,
        "reduce_to_one": tf.distribute.ReductionToOneDevice,
    }
    collectives = _collectives(settings, operations)
    if collectives is None:
        collectives = "nccl" if has_gpus else "reduce_to_one"
    names = [device.name for device in devices[: settings.replicas]]
    return tf.distribute.MirroredStrategy(names, cross_device_ops=operations[collectives]())


def _split_cpu(replicas: int) -> None:
    """Makes so many virtual CPUs, to try a replicated run without a GPU.

    Raises:
        ConfigError: too many.
    """
    if replicas > MOST_VIRTUAL_CPUS:
        raise ConfigError(
            f"distribution.replicas: expected at most {MOST_VIRTUAL_CPUS} virtual CPUs, as there is"
            f" no GPU. Received {replicas:,}."
        )
    if replicas == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    virtual_cpus = [tf.config.LogicalDeviceConfiguration()] * replicas
    # else TensorFlow has started: what there is must do, and is counted next
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(cpu, virtual_cpus)


def _multi_worker(settings: DistributionSettings) -> tf.distribute.Strategy:
    cluster = read_cluster()
    if cluster is None:
        raise ConfigError(
            "distribution.strategy: multi_worker needs TF_CONFIG or CLUSTER_SPEC in the"
            " environment, which name the workers. Neither is set. Set one, or"
            " --distribution.strategy=auto."
        )
    gpus = tf.config.list_physical_devices("GPU")
    _require_devices(settings, len(gpus) or 1)
    if settings.replicas and gpus:
        tf.config.set_visible_devices(gpus[: settings.replicas], "GPU")
    implementation = tf.distribute.experimental.CommunicationImplementation
    implementations = {"nccl": implementation.NCCL, "ring": implementation.RING}
    collectives = _collectives(settings, implementations)
    if collectives is None:
        collectives = "nccl" if gpus else "ring"
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementations[collectives]
    )
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return tf.distribute.MultiWorkerMirroredStrategy(resolver, communication_options=options)


def _tpu(settings: DistributionSettings) -> tf.distribute.Strategy:
    _collectives(settings, ())
    named = settings.tpu or os.environ.get("TPU_NAME")
    node = {} if named else _tpu_node()
    name = named or node.get("tpu_node_name") or "local"
    deadline = time.monotonic() + 60 * settings.tpu_wait_minutes
    while True:
        try:
            return _connect_to_tpu(name, zone=node.get("zone"), project=node.get("project"))
        except TPU_BUSY as error:
            if time.monotonic() > deadline:
                raise _no_tpu(name, error, settings.tpu_wait_minutes) from None
            left = max(0.0, deadline - time.monotonic())
            time.sleep(min(TPU_RETRY_SECONDS, left))
        except (tf.errors.OpError, ValueError, OSError, ImportError) as error:
            raise _no_tpu(name, error, wait_minutes=None) from None


def _connect_to_tpu(name: str, *, zone: str | None, project: str | None) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
        tpu=name, zone=zone, project=project
    )
    if name != "local":
        tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def _no_tpu(name: str, error: Exception, wait_minutes: float | None) -> ConfigError:
    """Says why no TPU answers; `wait_minutes` where one was busy for so long."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    stayed = ""
    if wait_minutes is not None:
        stayed = (
            f"It stayed busy for {wait_minutes:g} minutes; raise --distribution.tpu_wait_minutes. "
        )
    return ConfigError(
        f"distribution.strategy: tpu: no TPU answers at {shown_value(name)}"
        f" ({first_line[:300]}). {stayed}Run on a TPU VM with tensorflow-tpu installed, name"
        " the TPU with --distribution.tpu or TPU_NAME, or set"
        " --distribution.strategy=auto."
    )


def _tpu_node() -> dict[str, str]:
    """The TPU node that Vertex AI names in TPU_CONFIG: project, zone, tpu_node_name.

    Raises ConfigError where it cannot be read.
    """
    config = os.environ.get("TPU_CONFIG") or "{}"
    try:
        return {key: str(value) for key, value in json.loads(config).items()}
    except (ValueError, AttributeError, RecursionError):
        raise ConfigError(
            'TPU_CONFIG: cannot be read. Expected {"project": "…", "zone": "…", "tpu_node_name":'
            f' "…"}}. Received {shown_value(config, 200)}. On a TPU VM of its own:'
            " --distribution.tpu=local."
        ) from None


def _require_devices(settings: DistributionSettings, devices: int) -> None:
    if settings.replicas and settings.replicas > devices:
        raise ConfigError(
            f"distribution.replicas: expected at most {devices}, the devices of this host. Received"
            f" {settings.replicas}."
        )


def _collectives(settings: DistributionSettings, choices: Iterable[str]) -> str | None:
    """The choice of the config; None where it leaves it to the strategy."""
    if settings.collectives == "auto":
        return None
    if settings.collectives not in choices:
        raise ConfigError(
            f"distribution.collectives: expected one of {', '.join(['auto', *choices])} here."
            f" Received {settings.collectives!r}."
        )
    return settings.collectives


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
    name, reason = choose(settings)
    if name in ("mirrored", "one_device") and workers_named() > 1:
        raise ConfigError(
            f"distribution.strategy: {name} runs in one process, and the environment names"
            f" {workers_named()} workers: each would take the job_dir for its own. Set"
            " --distribution.strategy=multi_worker or auto, or give the job one worker."
        )
    strategy = STRATEGIES[name](settings)
    replicas = _plural(strategy.num_replicas_in_sync, "replica")
    workers = hosts(strategy)
    where = f" on {workers} workers, this one is number {host(strategy)}" if workers > 1 else ""
    return strategy, f"distribution: {name}, {replicas}{where} ({reason})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"


def choose(settings: DistributionSettings) -> tuple[str, str]:
    """The row of STRATEGIES for the config and this environment, and why."""
    if settings.strategy != "auto":
        return settings.strategy, "as the config says"
    tpu_reason = tpu_named(settings)
    if tpu_reason is not None:
        return "tpu", tpu_reason
    if workers_named() > 1:
        variable = "TF_CONFIG" if os.environ.get("TF_CONFIG") else "CLUSTER_SPEC"
        return "multi_worker", f"{variable} names several workers"
    gpus = len(tf.config.list_physical_devices("GPU"))
    reason = f"found {_plural(gpus, 'GPU')}" if gpus else "found no GPU"
    if gpus > 1:
        return "mirrored", reason
    if settings.replicas and settings.replicas > 1:
        return "mirrored", f"{reason}, distribution.replicas is {settings.replicas}"
    return "one_device", reason


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
    if precision == "mixed_bfloat16":
        for device in tf.config.list_physical_devices("GPU"):
            _require_bfloat16(device)


def _require_bfloat16(device: tf.config.PhysicalDevice) -> None:
    facts = tf.config.experimental.get_device_details(device)
    capability = facts.get("compute_capability", BFLOAT16_CAPABILITY)
    if capability >= BFLOAT16_CAPABILITY:
        return
    raise ConfigError(
        f"train.precision: {facts.get('device_name', device.name)} has no bfloat16 (compute"
        f" capability {_version(capability)}, from {_version(BFLOAT16_CAPABILITY)} on)."
        " Received 'mixed_bfloat16'. Set --train.precision=mixed_float16, which scales the loss."
    )


def _version(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))


def on_tpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas are TPU cores; XLA then compiles the whole of `strategy.run`."""
    return isinstance(strategy, tf.distribute.TPUStrategy)
