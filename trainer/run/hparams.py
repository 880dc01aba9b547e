"""What TensorBoard's HParams tab shows of a run: its settings, and how good it became.

One session a run, in the folder above those of the splits, whose metrics the tab finds too.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.files import mirror
from trainer.run.chosen_settings import chosen_settings
from trainer.run.job import Job
from trainer.run.kept_scores import REPORTED_SPLITS
from trainer.run.results import Results
from trainer.settings.schema import Config


def write_hparams(job: Job, config: Config) -> None:
    """Writes the settings that tell runs apart, where this process writes.

    A run that goes on writes them again, which changes nothing.
    """
    if not job.writes:
        return
    # which imports what few runs need
    from tensorboard.plugins.hparams.summary_v2 import hparams

    with _writer(job).as_default():
        hparams(chosen_settings(config))


def write_hparam_results(job: Job, results: Results) -> None:
    """Writes the kept model's metrics, and that the session is over."""
    if not job.writes:
        return
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.summary import session_end_pb

    with _writer(job).as_default(step=results.step):
        for name, value in results.numbers(REPORTED_SPLITS).items():
            # one that float32 has not becomes infinite, as in the logs of the splits
            tf.summary.scalar(name, np.float64(value))
        ended = session_end_pb(api_pb2.STATUS_SUCCESS)
        tf.summary.experimental.write_raw_pb(ended.SerializeToString())
    mirror.add(job.logs)


def _writer(job: Job) -> tf.summary.SummaryWriter:
    return tf.summary.create_file_writer(str(job.logs))
