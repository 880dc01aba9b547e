"""A training that has diverged is ended: what follows a NaN would be NaN."""

from __future__ import annotations

import dataclasses
import math

from trainer.errors import TrainingError
from trainer.run.checkpoints import Checkpoints
from trainer.run.job import Job
from trainer.run.metric_logs import MetricLogs
from trainer.run.optimization import Optimizer
from trainer.run.outcome import StepRow


@dataclasses.dataclass(frozen=True)
class DivergenceCheck:
    """Looks at each step's numbers.

    Attributes:
        optimizer: knows whether the loss scale made a gradient overflow.
        peak_rate: the highest learning rate, for the message.
        checkpoints, logs, job: what is published before the run ends.
    """

    optimizer: Optimizer
    peak_rate: float
    checkpoints: Checkpoints
    logs: MetricLogs
    job: Job

    def require_finite(self, step: int, row: StepRow) -> None:
        """Raises TrainingError where the loss or its gradient is not finite.

        Args:
            step: optimizer steps done, with this one.
            row: what it gave.
        """
        if not math.isfinite(row.loss):
            self._refuse(step, row)
        if not math.isfinite(row.gradient_norm) and not self.optimizer.skips_overflow():
            self._refuse(step, row)

    def _refuse(self, step: int, row: StepRow) -> None:
        self.checkpoints.wait()
        if self.logs.file is not None:
            self.job.publish_progress(self.logs.written().bytes)
        raise TrainingError(
            f"step {step}: the loss is {row.loss}, the gradient's norm {row.gradient_norm}. The"
            f" last checkpoint is {self.checkpoints.last_name()}. Lower --train.learning_rate (now"
            f" {self.peak_rate:g}), raise --train.warmup_fraction or set"
            " --train.clip_norm, in another --job_dir."
        )
