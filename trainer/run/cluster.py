"""Which processes a job has, and which of them this is: TF_CONFIG, or Vertex AI's CLUSTER_SPEC.

Read before TensorFlow is imported, so that a mistake there is told at once.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import TypedDict

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
TASK_INDEX = re.compile("[0-9]{1,6}")  # where it is given as text
KINDS_SHOWN = 5
Addresses = dict[str, list[str]]  # host:port, by kind of task


class Task(TypedDict):
    """Which of the processes this one is: its kind, and its number among those, from 0."""

    type: str
    index: int


class Cluster(TypedDict):
    """All processes of a job, in TensorFlow's form."""

    cluster: Addresses
    task: Task


def tpu_named(settings: DistributionSettings) -> str | None:
    """Why the steps of a strategy `auto` run on a TPU; None where nothing names one."""
    if settings.tpu:
        return "distribution.tpu is set"
    for variable in TPU_VARIABLES:
        if os.environ.get(variable):
            return f"{variable} is set"
    return f"found {TPU_DEVICE}" if TPU_DEVICE.exists() else None


def require_readable(settings: DistributionSettings) -> None:
    """Raises ConfigError as `read_cluster` does, where the run would read the cluster."""
    if settings.strategy == "tpu":
        return
    if settings.strategy == "auto" and tpu_named(settings):
        return
    read_cluster()


def workers_named() -> int:
    """How many processes the environment says the job has; 0 where it says nothing."""
    cluster = read_cluster()
    if cluster is None:
        return 0
    return sum(map(len, cluster["cluster"].values()))


def read_cluster() -> Cluster | None:
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
    except RecursionError:
        raise ConfigError(_unreadable(variable, "nested too deep")) from None
    except ValueError as error:
        raise ConfigError(_unreadable(variable, f"not JSON ({error})")) from None
    except _ClusterProblemError as problem:
        if problem.complete:
            raise ConfigError(f"{variable}: {problem}") from None
        raise ConfigError(_unreadable(variable, str(problem))) from None


class _ClusterProblemError(Exception):
    """What is wrong.

    It is `complete` where the sentence says what to do, so that the format need not be told.
    """

    def __init__(self, said: str, *, complete: bool = False) -> None:
        super().__init__(said)
        self.complete = complete


def _unreadable(variable: str, problem: str) -> str:
    received = shown_value(os.environ[variable], 200)
    return f"{variable}: cannot be read: {problem}. {EXPECTED} Received {received}."


def _cluster(value: object) -> Cluster | None:
    if not isinstance(value, dict) or not isinstance(value.get("cluster", {}), dict):
        raise _ClusterProblemError("it is no mapping with a cluster")
    if not value.get("cluster"):
        return None  # a platform sets it so where the job has one process
    given = {POOLS.get(kind, kind): addresses for kind, addresses in value["cluster"].items()}
    task = _task(value.get("task"))
    kind = task["type"]
    _refuse_others({*given, kind})
    cluster = _addresses(given)
    if kind not in cluster:
        raise _ClusterProblemError(
            f"task.type is {shown_value(kind)}, and the cluster has {' and '.join(cluster)}"
        )
    if task["index"] >= len(cluster[kind]):
        raise _ClusterProblemError(
            f"task.index is {task['index']}, and the cluster has {len(cluster[kind])} of {kind}, "
            "counted from 0"
        )
    return {"cluster": cluster, "task": task}


def _task(task: object) -> Task:
    if not isinstance(task, dict):
        raise _ClusterProblemError("task is missing, which says which of the processes this one is")
    kind = task.get("type")
    if not isinstance(kind, str):
        raise _ClusterProblemError(f"task.type is {shown_value(kind)}, expected chief or worker")
    index = _task_index(task.get("index"))
    return {"type": POOLS.get(kind, kind), "index": index}


def _task_index(index: object) -> int:
    number = index
    if isinstance(index, str) and TASK_INDEX.fullmatch(index):
        number = int(index)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise _ClusterProblemError(
            f"task.index is {shown_value(index)}, expected a number from 0 on"
        )
    return number


def _refuse_others(kinds: set[str]) -> None:
    """A run has a chief and workers only; the chief evaluates."""
    if "evaluator" in kinds:
        raise _ClusterProblemError(
            "it has an evaluator, and this trainer needs none: the chief and the workers evaluate "
            "while they train. "
            "Start the job without the evaluator (on Vertex AI: without the fourth worker pool).",
            complete=True,
        )
    others = sorted(kinds - {"chief", "worker"})
    if others:
        names = ", ".join(shown_name(kind, 40) for kind in others[:KINDS_SHOWN])
        raise _ClusterProblemError(
            f"{names}: this trainer runs synchronously, on a chief and workers only. "
            "Give the job one or two worker pools.",
            complete=True,
        )


def _addresses(cluster: Mapping[str, object]) -> Addresses:
    """The addresses of each kind of task, each checked and named once."""
    seen: set[str] = set()
    checked: Addresses = {}
    for kind, addresses in cluster.items():
        checked[kind] = _strings(kind, addresses)
        for address in checked[kind]:
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
    chiefs = len(checked.get("chief", []))
    if chiefs > 1:
        raise _ClusterProblemError(f"cluster.chief has {chiefs} addresses, and a job has one chief")
    return checked


def _strings(kind: str, addresses: object) -> list[str]:
    if isinstance(addresses, list):
        strings = [address for address in addresses if isinstance(address, str)]
        if len(strings) == len(addresses):
            return strings
    raise _ClusterProblemError(
        f"cluster.{kind} is {shown_value(addresses)}, expected a list of host:port"
    )
