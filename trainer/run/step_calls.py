"""Calls of the compiled training function, each for several steps, and what comes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainer.data.batching import Layout
from trainer.run.outcome import Outcome, StepRow
from trainer.run.replica_calls import Columns
from trainer.run.step_feed import StepFeed

# (batches, steps, whether this host was told to stop) -> (steps, …), one `StepRow` a step
TrainCall = Callable[[Iterator[Columns], tf.Tensor, tf.Tensor], tf.Tensor]


class StepCalls:
    """Makes optimizer steps.

    Args:
        train_call: the compiled function.
        step_feed: the examples of each step.
        batches: makes this host's batches of layouts.
    """

    def __init__(
        self,
        train_call: TrainCall,
        step_feed: StepFeed,
        batches: Callable[[Iterator[Layout]], Iterator[Columns]],
    ) -> None:
        self._train_call = train_call
        self._step_feed = step_feed
        self._make_batches = batches
        self._batches: Iterator[Columns] = iter(())

    def start(self, first_step: int) -> None:
        """Begins to read the examples of the steps from there on."""
        self._batches = self._make_batches(self._step_feed.start(first_step))

    def make(self, steps: range, *, told_to_stop: bool) -> Outcome:
        """Makes steps.

        Args:
            steps: that follow those made so far.
            told_to_stop: this host was; all hosts learn it with the last step.
        Raises:
            DataError, DamagedError: the examples cannot be read.
        """
        start = time.monotonic()
        rows = self._call(len(steps), told_to_stop=told_to_stop)
        seconds = time.monotonic() - start
        return Outcome(rows, self._step_feed.take(steps), seconds)

    def _call(self, count: int, *, told_to_stop: bool) -> list[StepRow]:
        stop = tf.constant(float(told_to_stop))
        try:
            rows = self._train_call(self._batches, tf.constant(count, tf.int32), stop).numpy()
        except tf.errors.OpError:
            failure = self._step_feed.failure()
            if failure is None:
                raise
            raise failure from None
        return [StepRow.of(row) for row in rows.tolist()]
