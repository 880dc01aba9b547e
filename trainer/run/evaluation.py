"""How good a model is on a split: every example once, metrics on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.example_rows import rows_of
from trainer.data.store import TokenStore
from trainer.heads.contract import Calibrates, Calibration, Head, Judged, Judges, Results, Scorer
from trainer.run.model import Model
from trainer.run.replica_calls import use_xla
from trainer.run.split_results import EvaluationPlan, make_results_call, split_results
from trainer.settings.schema import Config


class Evaluated(NamedTuple):
    """What training has just found on validation with the weights of `step`; `judged` is None where
    no checkpoint is picked by it.
    """

    step: int
    results: dict[str, np.ndarray]
    judged: Judged | None


class Evaluator:
    """Evaluates splits with one compiled function.

    Args:
        config: of the run.
        strategy: where the model's copies are.
        model: that is evaluated.
        head: of the model.
        lanes: of the backbone, see `Execution`.
    """

    def __init__(
        self,
        config: Config,
        strategy: tf.distribute.Strategy,
        model: Model,
        head: Head,
        *,
        lanes: int = 1,
    ) -> None:
        self._strategy = strategy
        self._model = model
        self._head = head
        xla = use_xla(config.train)
        self._plan = EvaluationPlan(
            examples=rows_of(head.reader, config.train.seed),
            batching=config.data.batching,
            seq_len=config.data.seq_len,
            batch_size=config.train.evaluation_batch_size,
            shards=strategy.num_replicas_in_sync,
            static_shapes=xla,
        )
        self._results_call = make_results_call(strategy, model, xla=xla, lanes=lanes)

    @property
    def scorer(self) -> Scorer:
        """Says how good the model's answers are, as it is calibrated now."""
        return self._head.scorer(self._model.graph)

    def results(
        self,
        store: TokenStore,
        on_batch: Callable[[int, int], None] | None = None,
        *,
        first: int | None = None,
    ) -> dict[str, np.ndarray]:
        """The head's results, a row an example or a token, in the store's order.

        Args:
            store: the split.
            on_batch: called after each batch with (batches done, batches in all).
            first: only so many examples.
        """
        return split_results(
            self._strategy,
            self._model,
            self._results_call,
            store,
            self._plan,
            first=first,
            between=on_batch,
        )

    def calibrate(self, results: Results, store: TokenStore) -> Calibration:
        """Lets validation decide what it decides, such as a threshold; empty where that is nothing.

        Args:
            results: of validation.
            store: that split.
        """
        if not isinstance(self._model.graph, Calibrates):
            return {}
        calibration = self._model.graph.calibration(results, store)
        self._model.calibrate(calibration)
        return calibration

    def judged(self, store: TokenStore, on_batch: Callable[[int, int], None]) -> Judged:
        """The metrics that take more than results, such as those of generated texts."""
        if not isinstance(self._model.graph, Judges):
            return Judged({}, ())
        return self._model.graph.judge(store, self._plan.batch_size, on_batch)


def is_better(value: float, best: float | None, min_delta: float, *, lower: bool) -> bool:
    """Whether a metric has improved; NaN never has.

    Args:
        value: of now.
        best: so far; None: there is none.
        min_delta: by more than this.
        lower: it improves downward.
    """
    if not np.isfinite(value):
        return False
    if best is None:
        return True
    return value < best - min_delta if lower else value > best + min_delta
