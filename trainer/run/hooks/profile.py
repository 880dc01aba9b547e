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
        is_on: whether steps are watched now.
    """

    every: At
    folder: pathlib.Path
    display: Display
    is_on: bool = False

    def __call__(self, moment: Moment) -> None:
        """Begins, or ends."""
        step = moment.state.step
        if step == self.every.steps[0]:
            tf.profiler.experimental.start(str(self.folder))
            self.is_on = True
        elif self.is_on:  # a run that went on between the two has seen no beginning
            tf.profiler.experimental.stop()
            self.is_on = False
            mirror.add(self.folder)
            self.display.line(
                f"profile: steps {self.every.steps[0] + 1:,} to {step:,}, in"
                f" {mirror.shown(self.folder)}; tensorboard --logdir of it, with"
                " tensorboard-plugin-profile"
            )


def profile_of(
    steps: list[int] | None, last_step: int, folder: pathlib.Path, display: Display
) -> list[Profile]:
    """The hook, where `log.profile_steps` asks for it and the run has such steps.

    Args:
        steps: of the setting.
        last_step: of the run.
        folder: of TensorBoard's logs.
        display: says where the profile is.
    """
    if steps is None or steps[0] > last_step:
        return []
    first, last = steps
    return [Profile(At((first - 1, min(last, last_step))), folder, display)]
