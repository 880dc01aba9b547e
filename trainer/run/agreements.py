"""What all workers of a run must have alike before they train together."""

from __future__ import annotations

import tensorflow as tf

from trainer.data.prepare import Prepared
from trainer.run.assembly import Parts
from trainer.run.job import Job
from trainer.run.workers import SHARED, agree, hosts
from trainer.settings.schema import Config


def require_same_config(strategy: tf.distribute.Strategy, config: Config) -> None:
    """Raises JobDirError where a worker has another config, the cache's folder apart."""
    agree(
        strategy,
        "the config",
        config.model_dump_json(exclude={"data": {"cache_dir"}}),
        "Start all with the same config and flags.",
    )


def require_same_folder(strategy: tf.distribute.Strategy, job: Job) -> None:
    """Raises JobDirError where a worker's job_dir is another folder than the chief's."""
    if hosts(strategy) == 1:
        return
    mark = job.mark(lambda: agree(strategy, "the start", ""))
    agree(strategy, "the job_dir", mark, SHARED)


def require_same_data(strategy: tf.distribute.Strategy, parts: Parts, prepared: Prepared) -> None:
    """Raises JobDirError where a worker has prepared other data.

    Args:
        strategy: of the workers.
        parts: has the stream, if train is one.
        prepared: what this worker has.
    """
    digest = prepared.digest()
    if parts.stream:
        digest += parts.stream.fingerprint
    agree(
        strategy,
        "the prepared data",
        digest,
        "All workers must read the same files with the same config.",
    )
