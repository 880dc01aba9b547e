"""Which hooks a run has, in which order, and when each is due."""

from __future__ import annotations

import dataclasses

from trainer.console.on_vertex import TrialMetrics
from trainer.run.assembly import best_metric
from trainer.run.hooks.early_stopping import EarlyStopping
from trainer.run.hooks.evaluate import Evaluate
from trainer.run.hooks.hook import Every, Hook
from trainer.run.hooks.log import LogTraining, LogValidation
from trainer.run.hooks.profile import profile_of
from trainer.run.hooks.tell import TellTrackers
from trainer.run.hooks.trial import ReportTrial
from trainer.run.training import TrainingInputs
from trainer.settings.schema import TrainSettings


@dataclasses.dataclass(frozen=True)
class Cadence:
    """After which steps things are due.

    A checkpoint is due after each evaluation too, which then is not made again after a restart.
    """

    log: Every
    evaluate: Every
    checkpoint: Every


def cadence(settings: TrainSettings, steps: int, steps_per_epoch: int) -> Cadence:
    """When things are due by the settings.

    Args:
        settings: of the run.
        steps: of the whole run.
        steps_per_epoch: after so many is evaluated where the settings do not say.
    """
    evaluate_every = settings.evaluate_every_steps or steps_per_epoch
    return Cadence(
        log=Every((settings.log_every_steps,), steps),
        evaluate=Every((evaluate_every,), steps),
        checkpoint=Every((settings.checkpoint_every_steps, evaluate_every), steps),
    )


def hooks_after_steps(
    inputs: TrainingInputs, log_training: LogTraining, evaluate: Evaluate | None
) -> list[Hook]:
    """The hooks of a run, in their order; the checkpoint, which is the loop's, comes after them.

    Args:
        inputs: of the run.
        log_training: the training's log lines.
        evaluate: the evaluation; None where there is no validation.
    """
    logs, display = log_training.logs, inputs.parts.display
    profile = profile_of(
        inputs.parts.config.log.profile_steps,
        log_training.every.last_step,
        inputs.job.logs,
        display,
        writes=inputs.job.writes,
    )
    if evaluate is None:
        return [*profile, log_training, TellTrackers(log_training.every, logs)]
    every = evaluate.every
    hooks: list[Hook] = [
        *profile,
        evaluate,
        log_training,
        LogValidation(every, logs, display),
        TellTrackers(_either(log_training.every, every), logs),
    ]
    if inputs.job.writes:
        hooks.append(ReportTrial(every, TrialMetrics()))
    metric = best_metric(inputs.parts.config, inputs.available_metrics)
    if metric is not None:
        settings = inputs.parts.config.train
        early_stopping = EarlyStopping(
            every=every,
            metric=metric.name,
            lower_is_better=metric.lower_is_better,
            min_delta=settings.early_stopping_min_delta,
            patience=settings.early_stopping_patience,
            display=display,
        )
        hooks.append(early_stopping)
    return hooks


def _either(one: Every, other: Every) -> Every:
    """After the steps of both."""
    return Every((*one.periods, *other.periods), one.last_step)
