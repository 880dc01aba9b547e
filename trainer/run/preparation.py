"""Prepares a training run: connects its workers, and encodes its data."""

from __future__ import annotations

import tensorflow as tf

from trainer.console.display import Display
from trainer.console.stopping import StopSignal
from trainer.data.prepare import Prepared
from trainer.run.agreements import require_same_config, require_same_data
from trainer.run.assembly import Parts, start_strategy
from trainer.run.job import Job
from trainer.run.prepared_data import prepare_data, require_best_metric, show_examples
from trainer.settings.schema import Config


def connect_workers(
    config: Config, job: Job, display: Display, stop: StopSignal
) -> tf.distribute.Strategy:
    """Starts the strategy of a training run, whose workers must have the same config.

    Args:
        config: of the run.
        job: learns whether this worker writes.
        display: speaks on the chief only.
        stop: is silent meanwhile: connecting blocks, and nothing is there yet to save.
    Raises:
        JobDirError: a worker has another config.
    """
    with stop.silent():
        strategy = start_strategy(config, job, display)
    stop.watch_for_preemption()  # TensorFlow has taken SIGTERM over as it connected
    require_same_config(strategy, config)
    return strategy


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
