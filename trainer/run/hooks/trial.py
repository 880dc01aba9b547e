"""What a hyperparameter trial of Vertex AI is told."""

from __future__ import annotations

import dataclasses

from trainer.console.on_vertex import TrialMetrics
from trainer.run.hooks.hook import Every, Moment


@dataclasses.dataclass(frozen=True)
class ReportTrial:
    """Reports the metrics of an evaluation to the trial; outside trials nothing is written.

    Attributes:
        trial: takes them.
    """

    every: Every
    trial: TrialMetrics

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        if moment.metrics is not None:
            self.trial.report("validation", moment.metrics, moment.state.step)
