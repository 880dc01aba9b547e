"""The examples of each step of a run: stored ones, or those of a stream's blocks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np

from trainer.data.batching import Layout, TrainingPlan
from trainer.data.store import TokenStore
from trainer.data.stream import Place, Stream
from trainer.run.outcome import LaidOutStep
from trainer.run.step_layouts import StepLayout

POLL_SECONDS = 0.02
Taken = tuple[Place | None, TokenStore, np.ndarray]  # block, its store, the examples of a step


class StepFeed:
    """The layouts of a run's steps, and what each of them was made of.

    Args:
        store: train, or the first block of its stream.
        plan: which examples of `store` each step takes.
        layout: where they stand.
        steps: of the whole run.
        stream: train as a stream, if it is one.
    """

    def __init__(
        self,
        store: TokenStore,
        plan: TrainingPlan,
        layout: StepLayout,
        steps: int,
        stream: Stream | None,
    ) -> None:
        self._store = store
        self._plan = plan
        self._layout = layout
        self._steps = steps
        self._stream = stream
        self._laid_out: dict[int, LaidOutStep] = {}  # by step

    def start(self, first_step: int) -> Iterator[Layout]:
        """The layouts from a step on; the same ones whatever came before.

        A stream is read from now on, not only when the first layout is asked for.
        """
        steps = range(first_step, self._steps)
        if self._stream is None:
            return self._lay_out(steps, self._stored(steps))
        return self._lay_out(steps, self._stream.steps(steps))

    def close(self) -> None:
        """Ends the reading of a stream."""
        if self._stream is not None:
            self._stream.close()

    def _stored(self, steps: range) -> Iterator[Taken]:
        for step in steps:
            yield None, self._store, self._plan.indices(step)

    def _lay_out(self, steps: range, taken: Iterator[Taken]) -> Iterator[Layout]:
        for step, (place, store, indices) in zip(steps, taken, strict=True):
            layout = self._layout(store, indices, step)
            self._laid_out[step] = LaidOutStep(
                shape=(layout.rows, layout.row_length),
                lengths=layout.length[layout.index >= 0],
                place=place,
            )
            yield dataclasses.replace(layout, step=step, store=store)

    def take(self, steps: range) -> list[LaidOutStep]:
        """What steps that were made had; each can be asked for once."""
        return [self._laid_out.pop(step) for step in steps]

    def wait_for(self, step: int, on_wait: Callable[[], None]) -> None:
        """Waits until the steps before this one need not wait for a block.

        Here a signal is seen, inside TensorFlow it would not be.

        Args:
            step: counted from 0.
            on_wait: called again and again meanwhile; may raise.
        """
        while self._stream is not None and not self._stream.ready(step):
            on_wait()
            time.sleep(POLL_SECONDS)

    def failure(self) -> Exception | None:
        """Why there are no more examples: TensorFlow, which asked for them, has only its text."""
        if self._stream is not None and self._stream.failure is not None:
            return self._stream.failure
        return self._store.damage

    def position(self, step: LaidOutStep) -> dict[str, object] | None:
        """What another process needs to go on in the step's block; None without a stream."""
        if self._stream is None or step.place is None:
            return None
        return self._stream.state(step.place)
