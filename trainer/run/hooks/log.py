"""The log lines of training and of validation."""

from __future__ import annotations

import dataclasses

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
    """

    every: Every
    logs: MetricLogs
    schedule: Schedule
    steps_per_epoch: int
    meter: Meter

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        state = moment.state
        metrics = {
            "loss": state.mean_loss(),
            "learning_rate": float(self.schedule(state.step - 1)),
            "gradient_norm": state.gradient_norm,
            **self._position(state),
        }
        state.start_log_interval()
        speed = {"real_tokens_per_s": self.meter.real_tokens_per_s(state)}
        self.logs.write(state.step, "train", metrics, unrepeatable=speed)

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
