"""How good a model is on a split: every example once, metrics on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.data.batching import evaluation_batches
from trainer.data.store import TokenStore
from trainer.run.model import Model
from trainer.run.steps import drawer, make_results_call, split_results, use_xla
from trainer.settings.schema import Config


class Evaluated(NamedTuple):
    """What training has just found on validation with the weights of `step`; `judged` is None where
    no checkpoint is picked by it.
    """

    step: int
    results: dict[str, np.ndarray]
    judged: dict[str, float] | None


class Evaluator:
    """Evaluates splits with one compiled function."""

    def __init__(
        self, config: Config, strategy: tf.distribute.Strategy, model: Model, head: Any
    ) -> None:
        self.config = config
        self.strategy = strategy
        self.model = model
        self.head = head
        self._xla = use_xla(config.train)
        self._results_call = make_results_call(strategy, model, xla=self._xla)

    def results(
        self,
        store: TokenStore,
        on_batch: Callable[[int, int], None] | None = None,
        *,
        first: int | None = None,
    ) -> dict[str, np.ndarray]:
        """The head's results, a row an example or a token, in the store's order.

        Args:
            on_batch: called after each batch with (batches done, batches in all).
            first: only so many examples.
        """
        plan = evaluation_batches(store.lengths[:first], self.config.train.evaluation_batch_size)
        done = iter(range(1, len(plan) + 1))
        return split_results(
            self.strategy,
            self._results_call,
            store,
            plan,
            per_token=self.head.per_token,
            batching=self.config.data.batching,
            seq_len=self.config.data.seq_len,
            batch_size=self.config.train.evaluation_batch_size,
            xla=self._xla,
            draw=drawer(self.head, self.config.train.seed),
            between=(lambda: on_batch(next(done), len(plan))) if on_batch else None,
        )

    def judged(self, store: TokenStore, on_batch: Callable[[int, int], None]) -> dict[str, float]:
        """The metrics that `head.judged` names."""
        return self.head.judge(
            self.model.backbone, store, self.config.train.evaluation_batch_size, on_batch
        )


def is_better(value: float, best: float | None, min_delta: float, *, lower: bool) -> bool:
    """Whether `value` improves on `best` by more than `min_delta`, downward where `lower` is
    better; NaN never does.
    """
    if not np.isfinite(value):
        return False
    if best is None:
        return True
    return value < best - min_delta if lower else value > best + min_delta
