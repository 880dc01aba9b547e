"""The evaluation of validation while training goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainer.console.display import Display
from trainer.console.timeline import Timeline
from trainer.data.store import TokenStore
from trainer.heads.contract import Judged
from trainer.run.evaluation import Evaluated, Evaluator
from trainer.run.hooks.hook import Every, Moment
from trainer.run.optimization import Optimizer
from trainer.run.workers import agree

Averages = Callable[[], contextlib.AbstractContextManager[None]]


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluates validation, for the hooks after it.

    It comes first: a signal may end it, and nothing must have changed until it is through.

    Attributes:
        validation: the split.
        evaluator: runs the model on it.
        judges: whether the checkpoint is picked by what only `evaluator.judged` finds.
        averages: inside, the weights are their moving averages.
        raise_if_stopped: called after each batch.
    """

    every: Every
    validation: TokenStore
    evaluator: Evaluator
    judges: bool
    averages: Averages
    raise_if_stopped: Callable[[], None]
    strategy: tf.distribute.Strategy
    timeline: Timeline
    display: Display

    def __call__(self, moment: Moment) -> None:
        """See the class."""
        with self.timeline.inside("evaluate_s"):
            with self.averages():
                self._evaluate(moment)
            self.display.done("evaluating")
            self.display.done("generating")

    def _evaluate(self, moment: Moment) -> None:
        step = moment.state.step
        on_batch = functools.partial(self._on_batch, "evaluating")
        results = self.evaluator.results(self.validation, on_batch)
        self.evaluator.calibrate(results, self.validation)
        metrics = self.evaluator.scorer.metrics(results, self.validation)
        judged = self._judge(step) if self.judges else None
        moment.metrics = {**metrics, **(judged.metrics if judged else {})}
        moment.evaluated = Evaluated(step, results, judged)

    def _judge(self, step: int) -> Judged:
        """The metrics that take more than results, such as those of generated texts."""
        on_batch = functools.partial(self._on_batch, "generating")
        judged = self.evaluator.judged(self.validation, on_batch)
        agree(
            self.strategy,
            f"what is generated after step {step}",
            str(judged.metrics),
            "Pick the checkpoint by another metric.",
        )
        return judged

    def _on_batch(self, doing: str, done: int, total: int) -> None:
        self.display.progress(doing, done, total)
        self.raise_if_stopped()


def averages_of(optimizer: Optimizer, strategy: tf.distribute.Strategy) -> Averages:
    """What puts the moving averages in the weights' place, where they are kept."""
    if not optimizer.averages:
        return contextlib.nullcontext
    swap = tf.function(lambda: strategy.run(optimizer.swap_averages))

    @contextlib.contextmanager
    def swapped() -> Iterator[None]:
        swap()
        try:
            yield
        finally:
            swap()

    return swapped
