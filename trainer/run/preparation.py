"""Prepares the data of a training run, and keeps what predict and export need of it."""

from __future__ import annotations

import tensorflow as tf

from trainer.data.prepare import Prepared
from trainer.run.agreements import require_same_data
from trainer.run.assembly import Parts, prepare_data, require_best_metric, show_examples
from trainer.run.job import Job


def prepare_training(parts: Parts, strategy: tf.distribute.Strategy, job: Job) -> Prepared:
    """Encodes the splits, shows examples of them, and notes in the job_dir what they are.

    Args:
        parts: of the run.
        strategy: whose workers must all prepare the same.
        job: gets the ledger and the vocabulary.
    Raises:
        ConfigError: validation cannot give the metric that picks the checkpoint.
        DataError: the data cannot be read, or does not fit the config.
        JobDirError: workers have other data, or the job was trained on other data.
    """
    prepared = prepare_data(parts, strategy, job)
    show_examples(parts, prepared)
    require_best_metric(parts, prepared)
    require_same_data(strategy, parts, prepared)
    job.write_preparation(prepared)
    return prepared
