"""Which processes a job has, and which of them this is: TF_CONFIG, or Vertex AI's CLUSTER_SPEC.

Read before TensorFlow is imported, so that a mistake there is told at once.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from trainer.errors import ConfigError, shown_name, shown_value
from trainer.settings.schema import DistributionSettings

VARIABLES = ("TF_CONFIG", "CLUSTER_SPEC")
TPU_VARIABLES = ("TPU_CONFIG", "TPU_NAME", "TPU_WORKER_HOSTNAMES")
TPU_DEVICE = pathlib.Path("/dev/accel0")
# Vertex AI's names in CLUSTER_SPEC.
POOLS = {
    "workerpool0": "chief",
    "workerpool1": "worker",
    "workerpool2": "ps",
    "workerpool3": "evaluator",
}
EXPECTED = (
    'Expected {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}.'
)
ADDRESS = re.compile(r"[^\s/]+:\d{1,5}")
KINDS_SHOWN = 5


def tpu_named(settings: DistributionSettings) -> str | None:
    """Why the steps of a strategy `auto` run on a TPU; None where nothing names one."""
    variable = next((name for name in TPU_VARIABLES if os.environ.get(name)), None)
    if named := (settings.tpu and "distribution.tpu") or variable:
        return f"{named} is set"
    return f"found {TPU_DEVICE}" if TPU_DEVICE.exists() else None


def require_readable(settings: DistributionSettings) -> None:
    """Raises ConfigError as `read_cluster` does, where the run would read the cluster."""
    if settings.strategy != "tpu" and not (settings.strategy == "auto" and tpu_named(settings)):
        read_cluster()


def workers_named() -> int:
    """How many processes the environment says the job has; 0 where it says nothing."""
    cluster = read_cluster()
    return sum(map(len, cluster["cluster"].values())) if cluster else 0


def read_cluster() -> dict[str, Any] | None:
    """The workers and which of them this is, as TF_CONFIG says it; None where nothing is set.

    Raises:
        ConfigError: it cannot be read, contradicts itself, or names parameter servers or an
            evaluator, which a synchronous run has not.
    """
    variable = next((name for name in VARIABLES if os.environ.get(name)), None)
    if variable is None:
        return None
    try:
        return _cluster(json.loads(os.environ[variable]))
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else f"not JSON ({error})"
        raise ConfigError(_unreadable(variable, said)) from None
    except _ClusterProblemError as problem:
        raise ConfigError(
            f"{variable}: {problem}" if problem.complete else _unreadable(variable, str(problem))
        ) from None


class _ClusterProblemError(Exception):
    """What is wrong; `complete` where the format need not be told,
    as the sentence says what to do.
    """

    def __init__(self, said: str, *, complete: bool = False) -> None:
        super().__init__(said)
        self.complete = complete


def _unreadable(variable: str, said: str) -> str:
    received = shown_value(os.environ[variable], 200)
    return f"{variable}: cannot be read: {said}. {EXPECTED} Received {received}."


def _cluster(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not isinstance(value.get("cluster", {}), dict):
        raise _ClusterProblemError("it is no mapping with a cluster")
    if not value.get("cluster"):
        return None  # a platform sets it so where the job has one process
    cluster = {POOLS.get(kind, kind): addresses for kind, addresses in value["cluster"].items()}
    kind, index = _task(value.get("task"))
    _refuse_others({*cluster, kind})
    _require_addresses(cluster)
    if kind not in cluster:
        raise _ClusterProblemError(
            f"task.type is {shown_value(kind)}, and the cluster has {' and '.join(cluster)}"
        )
    if index >= len(cluster[kind]):
        raise _ClusterProblemError(
            f"task.index is {index}, and the cluster has {len(cluster[kind])} of {kind}, "
            "counted from 0"
        )
    return {"cluster": cluster, "task": {"type": kind, "index": index}}


def _task(task: object) -> tuple[str, int]:
    if not isinstance(task, dict):
        raise _ClusterProblemError("task is missing, which says which of the processes this one is")
    kind, index = task.get("type"), task.get("index")
    if not isinstance(kind, str):
        raise _ClusterProblemError(f"task.type is {shown_value(kind)}, expected chief or worker")
    number = int(index) if isinstance(index, str) and re.fullmatch("[0-9]{1,6}", index) else index
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise _ClusterProblemError(
            f"task.index is {shown_value(index)}, expected a number from 0 on"
        )
    return POOLS.get(kind, kind), number


def _refuse_others(kinds: set[str]) -> None:
    """A run has a chief and workers only; the chief evaluates."""
    if "evaluator" in kinds:
        raise _ClusterProblemError(
            "it has an evaluator, and this trainer needs none: the chief and the workers evaluate "
            "while they train. "
            "Start the job without the evaluator (on Vertex AI: without the fourth worker pool).",
            complete=True,
        )
    if others := sorted(kinds - {"chief", "worker"}):
        names = ", ".join(shown_name(kind, 40) for kind in others[:KINDS_SHOWN])
        raise _ClusterProblemError(
            f"{names}: this trainer runs synchronously, on a chief and workers only. "
            "Give the job one or two worker pools.",
            complete=True,
        )


def _require_addresses(cluster: Mapping[str, object]) -> None:
    seen: set[str] = set()
    for kind, addresses in cluster.items():
        if not isinstance(addresses, list) or not all(
            isinstance(address, str) for address in addresses
        ):
            raise _ClusterProblemError(
                f"cluster.{kind} is {shown_value(addresses)}, expected a list of host:port"
            )
        for address in addresses:
            if not ADDRESS.fullmatch(address):
                raise _ClusterProblemError(
                    f"cluster.{kind} has {shown_value(address)}, expected host:port"
                )
            if address in seen:
                raise _ClusterProblemError(
                    f"cluster.{kind} has {shown_value(address)}, which is named twice: "
                    "each process has its own"
                )
            seen.add(address)
    if len(cluster.get("chief", [])) > 1:
        raise _ClusterProblemError(
            f"cluster.chief has {len(cluster['chief'])} addresses, and a job has one chief"
        )
