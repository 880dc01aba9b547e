"""Where the figures of a running training go: metrics.jsonl, TensorBoard, trackers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer.errors import JobDirError
from trainer.files.checksums import Fingerprint, reason
from trainer.run.checkpoints import Checkpoints
from trainer.run.job import Job
from trainer.run.metrics_file import MetricsFile
from trainer.run.run_state import RunState
from trainer.run.trackers.track import Trackers

NOTHING_WRITTEN = Fingerprint(0, 0)
TENSORBOARD_SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class MetricLogs:
    """The logs of one run; on several workers only the chief has any.

    Attributes:
        file: metrics.jsonl; None in a process that does not write.
        tensorboard: a writer for each split.
        trackers: follow the file.
    """

    file: MetricsFile | None
    tensorboard: Mapping[str, tf.summary.SummaryWriter]
    trackers: Trackers

    def write(
        self,
        step: int,
        split: str,
        metrics: Mapping[str, float],
        *,
        unrepeatable: Mapping[str, float] | None = None,
    ) -> None:
        """Adds what was measured after a step.

        Args:
            step: optimizer steps done.
            split: train or validation.
            metrics: by name, to all places.
            unrepeatable: what another run would not give again, such as a speed: not to the file.
        Raises:
            JobDirError: the disk is full or cannot be written.
        """
        if self.file is None:
            return
        if unrepeatable:
            self.trackers.add(step, split, unrepeatable)
        self.file.write(step, split, metrics)
        try:
            self._write_tensorboard(step, split, {**metrics, **(unrepeatable or {})})
        except tf.errors.OpError as error:
            raise JobDirError(
                f"cannot write TensorBoard's logs: {reason(error)}. Free some space, or give a"
                " folder that you may write to, and start again: the run goes on from its last"
                " checkpoint."
            ) from None

    def _write_tensorboard(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        writer = self.tensorboard[split]
        with writer.as_default(step=step):
            for name, value in metrics.items():
                # float32 has no room for every perplexity: infinite there
                tf.summary.scalar(name, np.float64(value))
        writer.flush()

    def tell(self) -> None:
        """Lets the trackers have what was written so far."""
        if self.file is not None:
            self.trackers.may_read(self.file.written().bytes)

    def written(self) -> Fingerprint:
        """What metrics.jsonl is now."""
        return NOTHING_WRITTEN if self.file is None else self.file.written()

    def sync(self) -> None:
        """Waits until metrics.jsonl is on the disk, from any thread."""
        if self.file is not None:
            self.file.sync()

    def close(self, job: Job) -> None:
        """Publishes all that was written; nothing more will be."""
        if self.file is None:
            return
        job.look_after(self.file)
        job.publish_progress(self.file.written().bytes)
        self.file.close()
        job.copy_files(metrics=job.metrics_file)


def open_metric_logs(
    job: Job, state: RunState, checkpoints: Checkpoints, trackers: Trackers
) -> MetricLogs:
    """The logs of a run that goes on from a checkpoint, or begins.

    Args:
        job: whose logs they are.
        state: of that checkpoint; what metrics.jsonl has beyond it is cut off.
        checkpoints: all that there are, so that a message can say which of them fits.
        trackers: that follow the logs.
    Raises:
        JobDirError: metrics.jsonl was changed since, or cannot be written.
    """
    if not job.writes:
        return MetricLogs(None, {}, trackers)
    file = MetricsFile.open(job.metrics_file, state.metrics, checkpoints.known_metrics())
    writers = {
        split: tf.summary.create_file_writer(str(job.logs / split)) for split in TENSORBOARD_SPLITS
    }
    logs = MetricLogs(file, writers, trackers)
    logs.tell()  # what there is up to the checkpoint
    return logs
