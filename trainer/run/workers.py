"""What the processes of one job, one a host, tell each other; one drives a whole TPU pod."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import tensorflow as tf

from trainer.console import on_vertex
from trainer.errors import JobDirError
from trainer.run.cluster import workers_named

SHARED = "All workers must see the same job_dir: a shared folder or gs://."
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
# Nothing is wrong with the job, it should be started again. Vertex AI does so after SIGABRT and
# takes other codes for the program's own failure.
RESTART_EXIT_CODE = 143
RESTART_EXIT_CODE_ON_VERTEX = 134


def hosts(strategy: tf.distribute.Strategy) -> int:
    """How many processes run this job in step."""
    return sum(map(len, _addresses(strategy).values())) or 1


def host(strategy: tf.distribute.Strategy) -> int:
    """Which of the hosts this is, from 0; the chief is 0."""
    addresses = _addresses(strategy)
    if not addresses:
        return 0
    resolver = strategy.cluster_resolver
    chiefs = len(addresses.get("chief", []))
    before = chiefs if resolver.task_type == "worker" else 0
    return before + int(resolver.task_id)


def _addresses(strategy: tf.distribute.Strategy) -> Mapping[str, list[str]]:
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return {}
    addresses: Mapping[str, list[str]] = strategy.cluster_resolver.cluster_spec().as_dict()
    return addresses


def local_replicas(strategy: tf.distribute.Strategy) -> range:
    """The replicas that this host feeds, numbered over all hosts."""
    count = strategy.num_replicas_in_sync // hosts(strategy)
    first = host(strategy) * count
    return range(first, first + count)


def agree(strategy: tf.distribute.Strategy, what: str, value: str, remedy: str = "") -> None:
    """Waits for every host, and checks that all have the same value.

    Args:
        strategy: that the hosts run.
        what: names the value in the message.
        value: this host's.
        remedy: what to do where they differ.
    Raises:
        JobDirError: they differ: what follows would be different runs on different hosts.
    """
    if hosts(strategy) == 1:
        return
    digest = hashlib.blake2b(value.encode(), digest_size=6).digest()
    number = tf.constant([int.from_bytes(digest, "little")], tf.int64)
    numbers = _gather(strategy)(number).numpy().tolist()
    if len(set(numbers)) > 1:
        raise JobDirError(
            f"the workers disagree on {what}: this one, number {host(strategy)}, has {value}."
            f" {remedy}"
        )


def of_chief(strategy: tf.distribute.Strategy, *, decision: bool) -> bool:
    """What the chief has decided, which may know more than others; every host calls it.

    Args:
        strategy: that the hosts run.
        decision: this host's.
    """
    if hosts(strategy) == 1:
        return decision
    number = tf.constant([int(decision)], tf.int64)
    return bool(_gather(strategy)(number).numpy()[0])


@functools.cache
def _gather(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """The compiled function: a number of this host -> those of all hosts."""

    def gather(number: tf.Tensor) -> tf.Tensor:
        per_replica = strategy.run(lambda own: own, args=(number,))
        return strategy.gather(per_replica, axis=0)

    return tf.function(gather, autograph=False)


@contextmanager
def stop_when_a_worker_is_lost() -> Iterator[None]:
    """Exits where another worker of the job died, so that the job is started again and goes on."""
    try:
        yield
    except LOST as error:
        message = error.message or ""
        if workers_named() < 2 or not SIGNS_OF_LOSS.search(message):
            raise
        first_line = message.strip().splitlines()[0][:300]
        sys.stderr.write(
            f"stopped: another worker of the {workers_named()} is gone or cannot be reached"
            f" ({first_line}). Start the job again on all workers: it goes on from the last"
            " checkpoint.\n"
        )
        sys.stderr.flush()
        # an orderly end would wait for the worker that is gone
        os._exit(RESTART_EXIT_CODE_ON_VERTEX if on_vertex.is_job() else RESTART_EXIT_CODE)
