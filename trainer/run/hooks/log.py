"""The log lines of training and of validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from trainer.console.display import Display
from trainer.run.hooks.hook import Every, Moment
from trainer.run.meter import Meter
from trainer.run.metric_logs import MetricLogs
from trainer.run.run_state import RunState
from trainer.run.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class LogTraining:
    """Logs the mean loss since the last log line.

    Attributes:
        logs: where the line goes.
        schedule: the learning rate of each step.
        steps_per_epoch: of stored data.
        meter: the speed so far.
        objectives: names of what is minimised.
    """

    every: Every
    logs: MetricLogs
    schedule: Schedule
    steps_per_epoch: int
    meter: Meter
    objectives: Sequence[str]

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        state = moment.state
        metrics = {
            **self._losses(state),
            "learning_rate": float(self.schedule(state.step - 1)),
            "gradient_norm": state.gradient_norm,
            **self._position(state),
        }
        state.start_log_interval()
        speed = {"real_tokens_per_s": self.meter.real_tokens_per_s(state)}
        self.logs.write(state.step, "train", metrics, unrepeatable=speed)

    def _losses(self, state: RunState) -> dict[str, float]:
        """The loss; where it is the sum of several objectives, each of them, too."""
        means = state.mean_losses()
        by_objective = {}
        if len(means) > 1:
            names = (f"loss_{name}" for name in self.objectives)
            by_objective = dict(zip(names, means, strict=True))
        return {"loss": sum(means), **by_objective}

    def _position(self, state: RunState) -> dict[str, float]:
        if state.stream is not None:
            return {"passes": state.stream["passes"]}
        return {"epoch": state.step / self.steps_per_epoch}


@dataclasses.dataclass(frozen=True)
class LogValidation:
    """Logs and shows the metrics of an evaluation.

    Attributes:
        logs: where the line goes.
        display: where it is shown.
    """

    every: Every
    logs: MetricLogs
    display: Display

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        if moment.metrics is None:
            return
        step = moment.state.step
        self.logs.write(step, "validation", moment.metrics)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in moment.metrics.items())
        self.display.line(f"step {step:,}: validation {shown}", step=step)
