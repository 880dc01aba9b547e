"""Which evaluation was the best, and whether training should end as none is better any more."""

from __future__ import annotations

import dataclasses

from trainer.console.display import Display
from trainer.errors import ConfigError
from trainer.run.evaluation import is_better
from trainer.run.hooks.hook import Every, Moment
from trainer.run.run_state import RunState


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Notes the best evaluation, whose checkpoint is kept, and ends training by patience.

    Attributes:
        metric: of validation, by which evaluations are compared.
        lower_is_better: which way.
        min_delta: a smaller improvement does not count.
        patience: evaluations in a row without improvement that end training; None or 0: none do.
        display: where the end is said.
    """

    every: Every
    metric: str
    lower_is_better: bool
    min_delta: float
    patience: int | None
    display: Display

    def __call__(self, moment: Moment) -> None:
        """See the class.

        Raises:
            ConfigError: validation does not give the metric.
        """
        if moment.metrics is None:
            return
        if self.metric not in moment.metrics:
            raise ConfigError(
                f"train.best_metric: validation gives no {self.metric}. Expected one of"
                f" {', '.join(moment.metrics)}."
            )
        self._compare(moment.state, moment.metrics[self.metric])

    def _compare(self, state: RunState, value: float) -> None:
        if is_better(value, state.best_value, self.min_delta, lower=self.lower_is_better):
            state.best_value = value
            state.best_step = state.step
            state.evaluations_without_improvement = 0
            return
        state.evaluations_without_improvement += 1
        if self.patience and state.evaluations_without_improvement >= self.patience:
            state.stopped_early = True
            self._say_why(state)

    def _say_why(self, state: RunState) -> None:
        best = "none"
        if state.best_value is not None:
            best = f"{state.best_value:.4f} after step {state.best_step:,}"
        self.display.line(
            f"stopping early: {self.patience} evaluations without a better {self.metric} (best:"
            f" {best})"
        )
