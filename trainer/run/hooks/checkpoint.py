"""The checkpoints of a run, and what becomes of it where its job_dir is removed meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import NoReturn

from trainer.console.display import Display
from trainer.console.timeline import Timeline
from trainer.errors import JobDirError
from trainer.files.mirror import shown
from trainer.run.checkpoints import Checkpoints
from trainer.run.hooks.hook import Every, Moment
from trainer.run.job import Job
from trainer.run.job_files import Removal
from trainer.run.metric_logs import MetricLogs
from trainer.run.run_state import RunState


@dataclasses.dataclass(frozen=True)
class SaveCheckpoint:
    """Saves everything that the run needs to go on.

    It comes last: what a checkpoint says of the other files must be true before it is there.

    Attributes:
        checkpoints: where the weights and the state go.
        job: whose other files are looked after.
        logs: a checkpoint has their length.
    """

    every: Every
    checkpoints: Checkpoints
    job: Job
    logs: MetricLogs
    timeline: Timeline
    display: Display

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        self.save(moment.state)

    def save(self, state: RunState) -> None:
        """Saves the run as it is now.

        Raises:
            JobDirError: it cannot be written; or the job_dir was removed, and the run is saved for
                a new start.
        """
        removal = self.job.look_after(self.logs.file)
        with self.timeline.inside("checkpoint_s"):
            state.note_metrics(self.logs.written())
            state.timeline = self.timeline.as_dict()
            try:
                self.checkpoints.save(state, before_visible=self.publish_progress)
            except JobDirError:  # of the one before, which may have met the removal
                removal = removal if removal.whole else self.job.look_after(self.logs.file)
                if not removal.whole:
                    raise
        if removal.whole:
            self._save_for_a_new_start(state, removal)
        if removal.files:
            self.display.warn(
                f"{shown(self.job.folder)}: {', '.join(removal.files)} had been removed, and are"
                " written anew"
            )

    def save_and_wait(self, state: RunState) -> None:
        """Saves the run, unless it is saved as it is, and waits until that is written."""
        saved = self.checkpoints.saved
        if saved is None or (saved.step, saved.settled) != (state.step, state.settled):
            self.save(state)
        self.checkpoints.wait(last=True)

    def wait_for_last(self, state: RunState) -> None:
        """Waits until the last checkpoint is written, and looks whether it is still there.

        Raises:
            JobDirError: as `save` does.
        """
        try:
            self.checkpoints.wait(last=True)
            removal = self.job.look_after(self.logs.file, last=True)
        except JobDirError:
            removal = self.job.look_after(self.logs.file)
            if not removal.whole:
                raise
        if removal.whole:
            self._save_for_a_new_start(state, removal)

    def publish_progress(self, state: RunState) -> None:
        """Makes true what a checkpoint says of the other files; the writing thread calls it."""
        self.logs.sync()
        self.job.publish_progress(state.metrics_bytes)

    def _save_for_a_new_start(self, state: RunState, removal: Removal) -> NoReturn:
        """Saves what a new start needs after the job_dir was removed, and ends the run."""
        with contextlib.suppress(JobDirError):  # of a write that met the removal
            self.checkpoints.wait()
        self.checkpoints.forget()
        self.checkpoints.save(state, before_visible=self.publish_progress)
        self.checkpoints.wait(last=True)
        raise JobDirError(
            f"--job_dir={shown(self.job.folder)} was removed while the run was going on. Written"
            f" anew: {', '.join(removal.files)} and the checkpoint of step {state.step:,}. Lost:"
            " what else was there, such as earlier checkpoints and logs. Start again to go on."
        )
