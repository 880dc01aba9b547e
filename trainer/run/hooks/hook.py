"""The contract of a hook: when it is due, and what it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from trainer.run.evaluation import Evaluated
from trainer.run.run_state import RunState

NEVER = 2**31  # steps


class Due(Protocol):
    """After which steps something is due."""

    def is_due(self, step: int) -> bool:
        """Whether it is due when so many steps are done."""

    def steps_left(self, step: int) -> int:
        """How many steps may be made before it is due again."""


@dataclasses.dataclass(frozen=True)
class At(Due):
    """After some steps, each once.

    Attributes:
        steps: ascending.
    """

    steps: tuple[int, ...]

    def is_due(self, step: int) -> bool:
        """Whether it is due when so many steps are done."""
        return step in self.steps

    def steps_left(self, step: int) -> int:
        """How many steps may be made before it is due again."""
        return min((due - step for due in self.steps if due > step), default=NEVER)


@dataclasses.dataclass(frozen=True)
class Every(Due):
    """The steps after which something is due: the multiples of a period, and the last step.

    Attributes:
        periods: in steps, at least one.
        last_step: of the run.
    """

    periods: tuple[int, ...]
    last_step: int

    def is_due(self, step: int) -> bool:
        """Whether it is due when so many steps are done."""
        if step == self.last_step:
            return True
        return any(step % period == 0 for period in self.periods)

    def steps_left(self, step: int) -> int:
        """How many steps may be made before it is due again."""
        until_end = self.last_step - step
        until_due = [period - step % period for period in self.periods]
        return min(until_end, *until_due)


@dataclasses.dataclass
class Moment:
    """The moment after a step, which one hook after the other is given.

    Attributes:
        state: of the run; a hook changes what is its own there.
        evaluated: the evaluation of this step, once it is through.
        metrics: of validation, by name, from that evaluation.
    """

    state: RunState
    evaluated: Evaluated | None = None
    metrics: Mapping[str, float] | None = None


class Hook(Protocol):
    """Something that is done after some steps."""

    @property
    def every(self) -> Due:
        """After which steps."""

    def __call__(self, moment: Moment) -> None:
        """Does it.

        Raises:
            StoppedError: a signal ended it. Then nothing is changed, and it is done anew after the
                restart.
        """
