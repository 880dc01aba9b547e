"""The facts of plan.json: steps, shapes, padding and memory of a run."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.data.batching import Layout
from trainer.data.store import TokenStore
from trainer.files.mapped import count_numbers
from trainer.planning import memory
from trainer.planning.memory import MemoryEstimate
from trainer.planning.planned_run import PlannedRun
from trainer.run import limits
from trainer.run.label_report import label_counts

COMMON_SHAPES = 8
PERCENTILES = (50, 90, 99, 100)


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """One split; `tokens` and lengths are of its rows."""

    examples: int
    rows: int
    tokens: int
    mean_length: float
    length_percentiles: dict[str, int]


@dataclasses.dataclass(frozen=True)
class CommonShape:
    """Rows of a micro-batch of one replica, and how many steps have that shape."""

    rows: int
    row_length: int
    steps: int


@dataclasses.dataclass(frozen=True)
class StepFacts:
    """The first steps of the run.

    Attributes:
        sampled_steps: how many were laid out.
        padding_share: of the tokens that are computed.
        tokens_per_step: real ones.
        shapes: how many different ones.
    """

    sampled_steps: int
    padding_share: float
    tokens_per_step: float
    shapes: int
    common_shapes: list[CommonShape]


@dataclasses.dataclass(frozen=True)
class PlannedMemory(MemoryEstimate):
    """The estimate of a replica, of an evaluation's largest batch, and what this machine has.

    Attributes:
        evaluation_mb: None where nothing is evaluated.
        machine_mb: None where the system does not say.
    """

    evaluation_mb: int | None
    machine_mb: int | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will do; shapes and memory are those of one micro-batch of one replica.

    Attributes:
        labels: of train, how often each occurs.
        label_counts: the same by split.
        steps_per_epoch, epochs: None where train is streamed.
        xla: whether each shape is compiled.
        ledger: what preparation changed or lost.
    """

    splits: dict[str, SplitFacts]
    labels: Mapping[str, int]
    label_counts: Mapping[str, Mapping[str, int]]
    steps: int
    steps_per_epoch: int | None
    epochs: float | None
    train: StepFacts
    replicas: int
    micro_batches: int
    xla: bool
    memory: PlannedMemory
    ledger: Mapping[str, object]

    def as_json(self) -> dict[str, object]:
        """As plan.json has it."""
        return dataclasses.asdict(self)


def make_plan(run: PlannedRun) -> Plan:
    """Foretells a run.

    Raises:
        ConfigError: a step's size does not go with the data.
    """
    parts = run.parts
    prepared = run.prepared
    settings = parts.config.train
    warnings = limits.require_sizes(
        settings,
        len(run.store),
        run.replicas,
        of_a_sample=run.of_a_sample,
    )
    for warning in warnings:
        parts.display.warn(warning)
    layouts = run.training_layouts()
    # then the splits have the first block of train
    streamed = bool(parts.config.data.stream_characters)
    steps_per_epoch = run.steps_plan.steps_per_epoch
    return Plan(
        splits={split: _split_facts(store) for split, store in prepared.splits.items()},
        labels=prepared.vocabulary.get("train_counts", {}),
        label_counts=label_counts(parts.head.reader, prepared.vocabulary, prepared.splits),
        steps=run.steps,
        steps_per_epoch=None if streamed else steps_per_epoch,
        epochs=None if streamed else round(run.steps / steps_per_epoch, 3),
        train=step_facts(layouts, run.store),
        replicas=run.replicas,
        micro_batches=settings.micro_batches,
        xla=run.static_shapes,
        memory=_planned_memory(run, layouts),
        ledger=prepared.ledger.entries,
    )


def _split_facts(store: TokenStore) -> SplitFacts:
    lengths = store.lengths
    return SplitFacts(
        examples=store.meta["examples"],
        rows=len(store),
        tokens=int(lengths.sum()),
        mean_length=round(float(lengths.mean()), 1),
        length_percentiles={
            str(percent): length_percentile(lengths, percent) for percent in PERCENTILES
        },
    )


def length_percentile(lengths: np.ndarray, percent: int) -> int:
    """As np.percentile, rounded down, but without a copy of all lengths.

    They are few different numbers, so that counting them suffices.

    Args:
        lengths: (n,) in tokens.
        percent: of 100.
    """
    counts = count_numbers(lengths, int(lengths.max()) + 1)
    ordered_until = np.cumsum(counts)
    place = percent / 100 * (len(lengths) - 1)
    before = math.floor(place)
    neighbours = [before, math.ceil(place)]
    low, high = np.searchsorted(ordered_until, neighbours, side="right")
    return int(low + (place - before) * (high - low))


def step_facts(layouts: Sequence[Layout], store: TokenStore) -> StepFacts:
    """Counts shapes and padding.

    Args:
        layouts: of some steps.
        store: that their examples are of.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    computed = 0
    real = 0
    for layout in layouts:
        shapes[layout.rows, layout.row_length] += 1
        computed += len(layout.index) * layout.rows * layout.row_length
        real += int(layout.length.sum())
    return StepFacts(
        sampled_steps=len(layouts),
        padding_share=round(1 - real / computed, 4),
        tokens_per_step=round(real / len(layouts), 1),
        shapes=len(shapes),
        common_shapes=[
            CommonShape(rows, row_length, steps)
            for (rows, row_length), steps in shapes.most_common(COMMON_SHAPES)
        ],
    )


def _planned_memory(run: PlannedRun, layouts: Sequence[Layout]) -> PlannedMemory:
    backbone = run.parts.backbone
    estimate = memory.estimate(backbone, layouts, run.parts.config.train)
    evaluation = [
        memory.evaluation_mb(backbone, layout) for layout in run.evaluation_layouts(largest=True)
    ]
    return PlannedMemory(
        **dataclasses.asdict(estimate),
        evaluation_mb=max(evaluation, default=None),
        machine_mb=limits.machine_memory_mb(),
    )
