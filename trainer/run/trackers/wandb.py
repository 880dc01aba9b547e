"""Weights & Biases: https://wandb.ai.

WANDB_MODE, WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME, WANDB_DIR and its other variables hold.
"""

from __future__ import annotations

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

        own = {} if os.environ.get("WANDB_FINISH_TIMEOUT") else {"finish_timeout": FINISH_SECONDS}
        self._run = wandb.init(
            project=run.experiment or _unless_set("WANDB_PROJECT", "podtune"),
            name=_unless_set("WANDB_NAME", run.name),
            id=run_id,
            resume="allow",
            config={**run.config, "run": run.tags},
            reinit="create_new",
            # the terminal is the display's
            settings=wandb.Settings(console="off", silent=True, **own),
        )
        return str(self._run.id)

    def log(self, points: Sequence[Point]) -> None:
        """See `Tracker`."""
        for point in points:
            self._run.log(dict(point.values), step=point.step)

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
