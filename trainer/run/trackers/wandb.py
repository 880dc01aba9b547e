"""Weights & Biases: https://wandb.ai.

WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME, WANDB_DIR and its other variables hold.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.errors import ConfigError
from trainer.run.trackers import require_package
from trainer.run.trackers.tracker import Ending, Point, Status, TrackedRun
from trainer.settings.schema import LogSettings

if TYPE_CHECKING:  # an optional package
    import wandb

LOCAL_MODES = ("offline", "disabled", "dryrun")
EXIT_CODES = {Status.FINISHED: 0, Status.FAILED: 1, Status.STOPPED: 143}
# What has not been sent by then stays in its folder, for `wandb sync`: a process that was told to
# stop has half a minute.
FINISH_SECONDS = 10.0
FLUSH_SECONDS = 1.0  # what a killed run loses of its file at most


def require(settings: LogSettings) -> None:
    """See the package; without credentials wandb would ask for them in the midst of the run."""
    require_package("wandb", "wandb")
    import wandb

    if wandb.setup().settings.mode in LOCAL_MODES:
        return
    if not wandb.login(verify=False, prompt=False):
        raise ConfigError(
            "log.trackers: wandb has no API key here. To give yours: wandb login, or WANDB_API_KEY."
            " To log to this machine alone, and send it later with wandb sync: WANDB_MODE=offline."
        )


def open_tracker() -> WandbTracker:
    """See the package."""
    return WandbTracker()


class WandbTracker:
    """A run of wandb; another one that is active in this process is left alone."""

    _run: wandb.Run

    def start(self, run: TrackedRun, run_id: str | None) -> str:
        """See `Tracker`."""
        import wandb

        given = os.environ.get("WANDB_FINISH_TIMEOUT")
        self._run = wandb.init(
            project=run.experiment or _unless_set("WANDB_PROJECT", "podtune"),
            name=_unless_set("WANDB_NAME", run.name),
            id=run_id,
            resume="allow",
            config={**run.config, "run": run.tags},
            reinit="create_new",
            settings=wandb.Settings(
                console="off",  # the terminal is the display's
                silent=True,
                finish_timeout=float(given or FINISH_SECONDS),
                x_transaction_log_flush_interval=FLUSH_SECONDS,
            ),
        )
        return str(self._run.id)

    def log(self, points: Sequence[Point]) -> None:
        """See `Tracker`; wandb takes each step once."""
        for step, of_step in itertools.groupby(points, key=lambda point: point.step):
            values = {name: value for point in of_step for name, value in point.values.items()}
            self._run.log(values, step=step, commit=True)

    def finish(self, ending: Ending) -> None:
        """See `Tracker`."""
        self._run.summary.update(dict(ending.results))
        for file in ending.files:
            # a copy, not wandb's link: the job_dir may be removed before it is sent
            copied = shutil.copy(file, self._run.dir)
            self._run.save(copied, base_path=self._run.dir, policy="now")
        self._run.finish(exit_code=EXIT_CODES[ending.status])


def _unless_set(variable: str, value: str) -> str | None:
    """A value for wandb; None leaves it to a variable."""
    return None if os.environ.get(variable) else value
