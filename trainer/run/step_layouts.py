"""How the examples of each step stand in rows: for training, and for --mode=plan to foretell it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from trainer.data.batching import Layout, TrainingPlan, lay_out
from trainer.data.example_rows import ExampleRows
from trainer.data.store import TokenStore
from trainer.run.limits import require_steps
from trainer.settings.schema import DEFAULT_EPOCHS, Config, TrainSettings

SHAPING_STEPS = 50  # with static shapes, the first steps of a run decide the rows of all
PLANNED_STEPS = 200  # steps that are laid out before training
PLANNED_STATIC_STEPS = 5000  # with static shapes, of which each new one costs a compilation


@dataclasses.dataclass(frozen=True)
class StepLayout:
    """Lays out the examples of one step; see `lay_out` for the fields.

    Attributes:
        longest: None unless shapes are static.
        examples: their rows at each step.
    """

    batching: str
    seq_len: int
    shards: int
    capacity: int
    longest: int | None
    examples: ExampleRows
    rows_at_least: int = 1

    def __call__(self, store: TokenStore, indices: np.ndarray, step: int) -> Layout:
        """Where the examples stand.

        Args:
            store: the split that has them.
            indices: (n,) the examples of the step.
            step: of the optimizer, from 0.
        """
        return lay_out(
            indices,
            self.examples.lengths(store, indices, step),
            batching=self.batching,
            seq_len=self.seq_len,
            shards=self.shards,
            capacity=self.capacity,
            longest=self.longest,
            rows_at_least=self.rows_at_least,
        )


def step_layout(
    config: Config,
    store: TokenStore,
    plan: TrainingPlan,
    examples: ExampleRows,
    *,
    shards: int,
    static_shapes: bool,
    of_a_sample: bool = False,
) -> StepLayout:
    """How the steps of a run are laid out.

    With static shapes every step has at least the rows that the largest of the first steps needs:
    most runs then have one shape.

    Args:
        store: train, or the first block of its stream.
        plan: which examples each step takes.
        examples: their rows at each step.
        shards: replicas x micro-batches.
        static_shapes: whether each new shape is compiled, so that there should be few.
        of_a_sample: `store` is a part of the data that will be trained on.
    """
    layout = StepLayout(
        batching=config.data.batching,
        seq_len=config.data.seq_len,
        shards=shards,
        capacity=_capacity(config, store, of_a_sample=of_a_sample),
        longest=_longest(config, store, examples) if static_shapes else None,
        examples=examples,
    )
    if not static_shapes:
        return layout
    shaping_steps = range(min(plan.steps_per_epoch, SHAPING_STEPS))
    rows = [layout(store, plan.indices(step), step).rows for step in shaping_steps]
    return dataclasses.replace(layout, rows_at_least=max(rows, default=1))


def _capacity(config: Config, store: TokenStore, *, of_a_sample: bool) -> int:
    """The most examples of a step; a block of a stream may be followed by a larger one."""
    batch_size = config.train.global_batch_size
    if config.data.stream_characters or of_a_sample:
        return batch_size
    return min(batch_size, len(store))


def _longest(config: Config, store: TokenStore, examples: ExampleRows) -> int:
    """Tokens of the longest example that may come."""
    if config.data.stream_characters:
        return config.data.seq_len
    return examples.longest(store)


def planned_layouts(
    config: Config,
    store: TokenStore,
    examples: ExampleRows,
    *,
    shards: int,
    static_shapes: bool,
    of_a_sample: bool = False,
) -> list[Layout]:
    """The layouts of the first steps, which foretell a run's shapes, padding and memory.

    Args:
        config: of the run.
        store, examples, shards, static_shapes, of_a_sample: as in `step_layout`.
    """
    plan = TrainingPlan(len(store), config.train.global_batch_size, config.train.seed)
    layout = step_layout(
        config,
        store,
        plan,
        examples,
        shards=shards,
        static_shapes=static_shapes,
        of_a_sample=of_a_sample,
    )
    most_steps = PLANNED_STATIC_STEPS if static_shapes else PLANNED_STEPS
    steps = range(min(total_steps(config.train, plan), most_steps))
    return [layout(store, plan.indices(step), step) for step in steps]


def total_steps(settings: TrainSettings, plan: TrainingPlan) -> int:
    """Optimizer steps of the whole run.

    Raises:
        ConfigError: more than can be counted.
    """
    if settings.steps is not None:
        return settings.steps
    epochs = settings.epochs or DEFAULT_EPOCHS
    steps = max(1, math.ceil(epochs * plan.steps_per_epoch))
    return require_steps(settings, steps)
