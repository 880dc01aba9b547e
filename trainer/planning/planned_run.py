"""A run that is planned: its parts, its data, and the rows of its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from trainer.data.batching import Layout, TrainingPlan
from trainer.data.prepare import Prepared
from trainer.data.store import TokenStore
from trainer.run.assembly import Parts
from trainer.run.replica_calls import use_xla
from trainer.run.split_results import EvaluationPlan
from trainer.run.step_layouts import planned_layouts, total_steps

EVALUATED_SPLITS = ("validation", "test")


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """What a plan is made of.

    Attributes:
        replicas: that share a step.
        of_a_sample: the run is for another machine, where there may be more examples.
    """

    parts: Parts
    prepared: Prepared
    replicas: int
    of_a_sample: bool = False

    @property
    def store(self) -> TokenStore:
        """Train, or the first block of its stream."""
        return self.prepared.splits["train"]

    @property
    def steps_plan(self) -> TrainingPlan:
        """Which examples each step takes."""
        settings = self.parts.config.train
        return TrainingPlan(len(self.store), settings.global_batch_size, settings.seed)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return total_steps(self.parts.config.train, self.steps_plan)

    @property
    def static_shapes(self) -> bool:
        """Whether steps are compiled, so that there are few shapes."""
        config = self.parts.config
        return bool(config.plan.tpu or config.plan.xla) or use_xla(config.train)

    def training_layouts(self) -> list[Layout]:
        """The rows of the first steps, by which shapes, padding and memory are foretold."""
        return planned_layouts(
            self.parts.config,
            self.store,
            self.parts.examples,
            shards=self.replicas * self.parts.config.train.micro_batches,
            static_shapes=self.static_shapes,
            of_a_sample=self.of_a_sample,
        )

    def evaluation_layouts(self, *, largest: bool = False) -> list[Layout]:
        """The rows of the evaluation batches of validation and test.

        Args:
            largest: only those of the largest batch of each split.
        """
        return [layout for store in self._evaluated() for layout in self._rows_of(store, largest)]

    def _evaluated(self) -> Iterator[TokenStore]:
        for split in EVALUATED_SPLITS:
            if split in self.prepared.splits:
                yield self.prepared.splits[split]

    def _rows_of(self, store: TokenStore, largest: bool) -> list[Layout]:
        config = self.parts.config
        plan = EvaluationPlan(
            examples=self.parts.examples,
            batching=config.data.batching,
            seq_len=config.data.seq_len,
            batch_size=config.train.evaluation_batch_size,
            shards=self.replicas,
            static_shapes=self.static_shapes,
        )
        batches = plan.batches(store)
        # the first one is the largest
        return plan.layouts(store, batches[:1] if largest else batches)
