"""How much a run has trained, in which time: what throughput is made of."""

from __future__ import annotations

import dataclasses
import math

from trainer.backbones.config import BackboneConfig
from trainer.console.timeline import Timeline
from trainer.heads.contract import CountsOperations, Graph, ReadsPlaces
from trainer.run.compiled_shapes import CompiledShapes
from trainer.run.outcome import LaidOutStep, Outcome
from trainer.run.run_state import RunState
from trainer.run.throughput import training_flops


@dataclasses.dataclass(frozen=True)
class StepCost:
    """The operations of a training step.

    Attributes:
        backbone: its sizes.
        frozen_embeddings, frozen_layers: what is not trained of it.
        graph: of the head.
    """

    backbone: BackboneConfig
    frozen_embeddings: bool
    frozen_layers: int
    graph: Graph

    def of(self, step: LaidOutStep, weight: float) -> float:
        """Operations over a step's examples.

        Args:
            step: where they stand.
            weight: of the step's first objective.
        """
        graph = self.graph
        places = None
        if isinstance(graph, ReadsPlaces):
            places = graph.count_places(len(step.lengths), weight)
        of_backbone = training_flops(
            self.backbone,
            step.lengths,
            frozen_embeddings=self.frozen_embeddings,
            frozen_layers=self.frozen_layers,
            places=places,
        )
        if not isinstance(graph, CountsOperations):
            return of_backbone
        of_weight = graph.prediction_flops(self.backbone, frozen_embeddings=self.frozen_embeddings)
        return of_backbone + weight * of_weight


@dataclasses.dataclass(frozen=True)
class Meter:
    """Counts what was trained, without the calls that compiled: their time is no training time.

    Attributes:
        cost: of a step.
        shapes: which are compiled.
        timeline: where the seconds of each call are.
        global_batch_size: examples of a full step.
    """

    cost: StepCost
    shapes: CompiledShapes
    timeline: Timeline
    global_batch_size: int

    def count(self, state: RunState, outcome: Outcome) -> None:
        """Adds a call to the state's figures, and its seconds to the right phase."""
        if self.shapes.add(outcome.shapes):
            self.timeline.move(outcome.seconds, "compile_s")
            return
        input_wait_s = sum(row.input_wait_s for row in outcome.rows)
        self.timeline.move(input_wait_s, "input_wait_s")
        for row, step in zip(outcome.rows, outcome.laid_out, strict=True):
            state.examples += len(step.lengths)
            state.real_tokens += int(step.lengths.sum())
            state.model_flops += self.cost.of(step, row.weights[0])

    def real_tokens_per_s(self, state: RunState) -> float:
        """Real tokens per second of training, the wait for them included."""
        return state.real_tokens / max(self._training_s(), 1e-9)

    def examples_per_s(self, state: RunState) -> float:
        """Examples per second of training, the wait for them included."""
        return state.examples / max(self._training_s(), 1e-9)

    def seconds_left(self, state: RunState, steps: int) -> float:
        """Of training, by the time of a full step so far; infinite before one was timed."""
        if not state.examples:
            return math.inf
        step_s = self._training_s() / state.examples * self.global_batch_size
        return step_s * (steps - state.step)

    def _training_s(self) -> float:
        """Seconds of training, the wait for its examples included."""
        return self.timeline.seconds("train_s") + self.timeline.seconds("input_wait_s")
