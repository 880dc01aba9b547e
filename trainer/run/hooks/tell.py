"""Up to where the trackers of a run may read its log."""

from __future__ import annotations

import dataclasses

from trainer.run.hooks.hook import Every, Moment
from trainer.run.metric_logs import MetricLogs


@dataclasses.dataclass(frozen=True)
class TellTrackers:
    """Lets the trackers have the log lines of a step, which are then complete.

    Attributes:
        logs: whose trackers they are.
    """

    every: Every
    logs: MetricLogs

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        self.logs.tell()
