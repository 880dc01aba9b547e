"""A profile of some steps, for TensorBoard's profile tab: where the time of a step goes."""

from __future__ import annotations

import dataclasses
import pathlib

import tensorflow as tf

from trainer.console.display import Display
from trainer.files import mirror
from trainer.run.hooks.hook import At, Moment


@dataclasses.dataclass
class Profile:
    """Watches the steps from one to another.

    Attributes:
        every: after the step before the first, and after the last.
        folder: of TensorBoard's logs.
        display: says where the profile is.
        writes: whether this process does; the others make steps in the same calls.
        is_on: whether steps are watched now.
    """

    every: At
    folder: pathlib.Path
    display: Display
    writes: bool
    is_on: bool = False

    def __call__(self, moment: Moment) -> None:
        """Begins, or ends."""
        if not self.writes:
            return
        if moment.state.step == self.every.steps[0]:
            tf.profiler.experimental.start(str(self.folder))
            self.is_on = True
        else:
            self.close(moment.state.step)

    def close(self, step: int) -> None:
        """Ends it, where it was begun; so does a run that ends between the two steps."""
        if not self.is_on:
            return
        tf.profiler.experimental.stop()
        self.is_on = False
        mirror.add(self.folder)
        self.display.line(
            f"profile: steps {self.every.steps[0] + 1:,} to {step:,}, in"
            f" {mirror.shown(self.folder)}; tensorboard --logdir of it, with"
            " tensorboard-plugin-profile"
        )


def profile_of(
    steps: list[int] | None,
    last_step: int,
    folder: pathlib.Path,
    display: Display,
    *,
    writes: bool,
) -> list[Profile]:
    """The hook, where `log.profile_steps` asks for it and the run has such steps.

    Args:
        steps: of the setting.
        last_step: of the run.
        folder: of TensorBoard's logs.
        display: says where the profile is.
        writes: whether this process does.
    """
    if steps is None or steps[0] > last_step:
        return []
    first, last = steps
    return [Profile(At((first - 1, min(last, last_step))), folder, display, writes)]
