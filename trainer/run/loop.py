"""The loop on the host: steps, then what is due after them, until the last step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import NoReturn

import tensorflow as tf

from trainer.console.stopping import StoppedError, StopSignal
from trainer.console.timeline import Timeline
from trainer.run.divergence import DivergenceCheck
from trainer.run.evaluation import Evaluated
from trainer.run.hooks.checkpoint import SaveCheckpoint
from trainer.run.hooks.hook import Hook, Moment
from trainer.run.meter import Meter
from trainer.run.outcome import Outcome
from trainer.run.progress import Progress
from trainer.run.run_state import RunState
from trainer.run.step_calls import StepCalls
from trainer.run.step_feed import StepFeed
from trainer.run.workers import agree


@dataclasses.dataclass
class Loop:
    """Trains from where the state is to the last step.

    Attributes:
        state: what is known besides the weights; changes with every step.
        steps: of the whole run.
        steps_per_call: one call makes at most so many.
        calls: make the steps.
        step_feed: the examples of each step.
        check: ends a training that diverges.
        meter: counts what was trained.
        progress: shows how far it is.
        hooks: what is due after some steps, in this order.
        save_checkpoint: the last hook; by it the run also saves itself when it has to leave.
        stop: whether this process was told to stop.
        raise_if_stopped: raises StoppedError where it was and may leave without the others.
        timeline: where the time goes.
        strategy: where the steps run.
        evaluated: the last evaluation that this process made.
    """

    state: RunState
    steps: int
    steps_per_call: int
    calls: StepCalls
    step_feed: StepFeed
    check: DivergenceCheck
    meter: Meter
    progress: Progress
    hooks: Sequence[Hook]
    save_checkpoint: SaveCheckpoint
    stop: StopSignal
    raise_if_stopped: Callable[[], None]
    timeline: Timeline
    strategy: tf.distribute.Strategy
    evaluated: Evaluated | None = None

    def run(self) -> None:
        """Makes steps until the last one, an early stop, or a signal."""
        with self.stop, contextlib.closing(self.step_feed):
            self.calls.start(self.state.step)
            try:
                self._loop()
            except StoppedError:
                self._leave()
            self.timeline.enter("checkpoint_s")
            self.save_checkpoint.wait_for_last(self.state)

    def _loop(self) -> None:
        if not self.state.settled:
            self._settle()
        while self.state.step < self.steps and not self.state.stopped_early:
            outcome = self._make_steps()
            self._record(outcome)
            self._settle()
            if outcome.stop:
                raise StoppedError
            self.raise_if_stopped()

    def _make_steps(self) -> Outcome:
        """Makes as many steps as one call may, and as there are until something is due."""
        first = self.state.step
        due = (*self.hooks, self.save_checkpoint)
        until_due = [hook.every.steps_left(first) for hook in due]
        count = min(self.steps_per_call, *until_due)
        steps = range(first, first + count)
        self.timeline.enter("input_wait_s")
        self.step_feed.wait_for(steps.stop, on_wait=self.raise_if_stopped)
        self.timeline.enter("train_s")
        self.progress.before_call(self.state)
        return self.calls.make(steps, told_to_stop=self.stop.requested)

    def _record(self, outcome: Outcome) -> None:
        """Takes in the steps just made."""
        state = self.state
        last_step = outcome.laid_out[-1]
        self.meter.count(state, outcome)
        state.stream = self.step_feed.position(last_step)
        for row in outcome.rows:
            state.add(row)
            self.check.require_finite(state.step, row)
        self.progress.after_call(state, outcome.rows[-1])

    def _settle(self) -> None:
        """Does what is due after the step just made."""
        state = self.state
        moment = Moment(state)
        for hook in self.hooks:
            if hook.every.is_due(state.step):
                hook(moment)
        if moment.evaluated is not None:
            self.evaluated = moment.evaluated
        state.settled = True
        if self.save_checkpoint.every.is_due(state.step):
            self.save_checkpoint(moment)

    def _leave(self) -> NoReturn:
        """Saves everything after a signal, to this host or to another, and ends the process."""
        step = self.state.step
        self.save_checkpoint.save_and_wait(self.state)
        # the others stay until the chief has written it
        agree(self.strategy, "the last step", str(step))
        self.stop.leave(
            f"stopped by a signal after step {step:,}; the checkpoint is written, start again to go"
            " on"
        )
