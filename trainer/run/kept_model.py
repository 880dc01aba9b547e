"""The trained model that is kept: of the best checkpoint where one is picked, else of the last."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from trainer.data.prepare import Prepared
from trainer.errors import JobDirError
from trainer.machine.allocator import release_memory
from trainer.run.assembly import Parts, build_model
from trainer.run.checkpoints import Checkpoints
from trainer.run.evaluation import Evaluator
from trainer.run.job import RESULTS_FILE, Job
from trainer.run.model import Model
from trainer.run.workers import SHARED, agree

SHOWN_CHARACTERS = 120  # of what the model and the data say of their labels


@dataclasses.dataclass(frozen=True)
class KeptModel:
    """A trained model, ready to be evaluated, exported and asked.

    Attributes:
        strategy: where its copies are.
        evaluator: of this model.
        step: of its checkpoint.
    """

    parts: Parts
    job: Job
    strategy: tf.distribute.Strategy
    model: Model
    evaluator: Evaluator
    step: int

    def leave_together(self) -> None:
        """Has the other workers wait for the chief: one that leaves looks like one that died."""
        agree(self.strategy, "the end", "done")


def restore_kept(parts: Parts, job: Job, strategy: tf.distribute.Strategy, model: Model) -> int:
    """Gives a model the weights of the checkpoint that is kept.

    Args:
        parts: of the run.
        job: whose checkpoints they are.
        strategy: where the model's copies are; all workers must find the same checkpoint.
        model: gets the weights.
    Returns:
        the step of that checkpoint.
    Raises:
        JobDirError: there is no intact checkpoint.
    """
    # Only the model is read: the optimizer's slots are not needed, and need not fit in memory.
    checkpoints = Checkpoints(
        job.checkpoints,
        keep=1,
        warn=parts.display.warn,
        variables=_saved_variables(parts, model),
        writes=False,
    )
    newest = checkpoints.restore_latest()
    if newest is None:
        raise JobDirError(
            f"{job.checkpoints}: no intact checkpoint. Train first: --mode=train"
            f" --job_dir={job.folder}."
        )
    step = newest.step
    if newest.best_step is not None and newest.best_step != step:
        step = checkpoints.restore(newest.best_step).step
        parts.display.line(f"keeping the best checkpoint, of step {step:,}")
    else:
        parts.display.line(f"keeping the checkpoint of step {step:,}")
    agree(strategy, "the checkpoint to keep", str(step), SHARED)
    release_memory()  # which loading took
    return step


def load_kept(
    parts: Parts, job: Job, strategy: tf.distribute.Strategy, prepared: Prepared | None = None
) -> KeptModel:
    """Builds the model of an earlier training run, with what that run has left for it.

    Args:
        parts: of the run.
        job: of the training run.
        strategy: where the model will run.
        prepared: the data that it will meet; None for raw texts only.
    Raises:
        JobDirError: a file of the job is missing or damaged, or the data has other labels.
    """
    vocabulary = job.read_vocabulary()
    if prepared is not None:
        _require_same_labels(job, vocabulary, prepared.vocabulary)
    model = build_model(parts, strategy, vocabulary)
    step = restore_kept(parts, job, strategy, model)
    calibration = job.read_calibration()
    if calibration:
        model.calibrate(calibration)
    for line in job.damaged():
        parts.display.warn(line)
    _require_step_of_results(job, step)
    evaluator = Evaluator(parts.config, strategy, model, parts.head)
    return KeptModel(parts, job, strategy, model, evaluator, step)


def _saved_variables(parts: Parts, model: Model) -> dict[str, tf.Variable]:
    """The model's weights by their names in a checkpoint; of averaged ones the average."""
    averaged = model.trainable() if parts.config.train.ema_decay else {}
    return {
        f"{'average' if name in averaged else 'model'}/{name}": weight
        for name, weight in model.weights.items()
    }


def _require_same_labels(
    job: Job, trained: Mapping[str, object], prepared: Mapping[str, object]
) -> None:
    """Raises JobDirError where data.train teaches other labels than the model has.

    Numbers would mean other labels.
    """
    for key in trained:
        if key == "train_counts" or trained[key] == prepared.get(key):
            continue
        before = str(trained[key])[:SHOWN_CHARACTERS]
        now = str(prepared.get(key))[:SHOWN_CHARACTERS]
        raise JobDirError(
            f"--job_dir={job.folder}: its model was trained with {key} {before}, and"
            f" data.train now has {now}. Give --data.train as in training, and the data to"
            " evaluate as --data.validation or --data.test."
        )


def _require_step_of_results(job: Job, step: int) -> None:
    """Raises JobDirError where results.json tells of another checkpoint than the one found."""
    step_of_results: object = step
    with contextlib.suppress(JobDirError):  # a damaged results.json was reported already
        step_of_results = job.read_results().get("step", step)
    if step_of_results != step:
        raise JobDirError(
            f"{job.checkpoints}: the model whose results are in {job.folder / RESULTS_FILE} is of"
            f" step {step_of_results}, and the newest intact checkpoint leads to step {step}. Put"
            " back a copy of it, or let the training make it anew: --mode=train"
            f" --config={job.config_file} --job_dir={job.folder}"
        )
