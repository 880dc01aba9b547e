"""How much a run has trained, in which time: what throughput is made of."""

from __future__ import annotations

import dataclasses
import math

from trainer.backbones.config import BackboneConfig
from trainer.console.timeline import Timeline
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
        flops_per_weight: the head's, for each unit of the loss's weight.
    """

    backbone: BackboneConfig
    frozen_embeddings: bool
    frozen_layers: int
    flops_per_weight: float

    def of_backbone(self, step: LaidOutStep) -> float:
        """Operations of the backbone over a step's examples."""
        return training_flops(
            self.backbone,
            step.lengths,
            frozen_embeddings=self.frozen_embeddings,
            frozen_layers=self.frozen_layers,
        )


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
        weight = sum(row.weights[0] for row in outcome.rows)
        state.model_flops += weight * self.cost.flops_per_weight
        for step in outcome.laid_out:
            state.examples += len(step.lengths)
            state.real_tokens += int(step.lengths.sum())
            state.model_flops += self.cost.of_backbone(step)

    def real_tokens_per_s(self, state: RunState) -> float:
        """Real tokens per second of training, the wait for them included."""
        return state.real_tokens / max(self._training_s(), 1e-9)

    def seconds_left(self, state: RunState, steps: int) -> float:
        """Of training, by the time of a full step so far; infinite before one was timed."""
        if not state.examples:
            return math.inf
        step_s = self._training_s() / state.examples * self.global_batch_size
        return step_s * (steps - state.step)

    def _training_s(self) -> float:
        """Seconds of training, the wait for its examples included."""
        return self.timeline.seconds("train_s") + self.timeline.seconds("input_wait_s")
