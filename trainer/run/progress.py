"""What a person sees of the training while it goes on."""

from __future__ import annotations

import dataclasses
import math

from trainer.console.display import Display
from trainer.run.meter import Meter
from trainer.run.outcome import StepRow
from trainer.run.run_state import RunState
from trainer.run.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Progress:
    """The line that says how far the training is.

    Attributes:
        display: where it is shown.
        steps: of the whole run.
        schedule: the learning rate of each step.
        meter: how fast it goes.
    """

    display: Display
    steps: int
    schedule: Schedule
    meter: Meter

    def before_call(self, state: RunState) -> None:
        """Says that the first call, which takes long, compiles."""
        if self.meter.shapes.nothing_yet:
            self._show(state, [self._place(state), "compiling"], seconds_left=math.inf)

    def after_call(self, state: RunState, row: StepRow) -> None:
        """Shows the last step that was made."""
        loss = row.loss
        notes = [self._place(state), f"loss {loss:.4f}"]
        if not self.display.narrow:
            rate = float(self.schedule(state.step - 1))
            notes.append(f"rate {rate:.2e}")
        notes += self._speed(state)
        seconds_left = self.meter.seconds_left(state, self.steps)
        self._show(state, notes, seconds_left)

    def _place(self, state: RunState) -> str:
        return f"step {state.step:,}/{self.steps:,}"

    def _speed(self, state: RunState) -> list[str]:
        if not state.real_tokens:
            return ["compiled"]
        tokens = f"{self.meter.real_tokens_per_s(state):,.0f} tokens/s"
        if self.display.narrow:
            return [tokens]
        return [f"{self.meter.examples_per_s(state):,.1f} examples/s", tokens]

    def _show(self, state: RunState, notes: list[str], seconds_left: float) -> None:
        self.display.progress(
            "training",
            state.step,
            self.steps,
            "  ".join(notes),
            seconds_left=seconds_left,
        )
